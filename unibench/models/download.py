"""Downloads that are resumed where they stopped. Loads no torch.

The bytes go to a file that ends in `.part`; it takes its place only when it is whole and has the sha256 asked for.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from functools import lru_cache
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from unibench.errors import WeightsError

TRIES = 3
"""Connections that may break off before a download is given up."""
PATIENCE = 30.0
"""Seconds without an answer."""
LIMIT = 6 * 3600.0
"""Seconds that one file may take."""
CHUNK = 1 << 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def download(url: str, path: Path, expected: str = "") -> Path:
    """Fetch a file; what an interrupted download left behind is resumed, unless the file there has changed since.

    Args:
        url: An https address; http only on this machine.
        path: Gets the file when it is whole; until then it is `path` with `.part` appended.
        expected: sha256, hexadecimal; empty: not checked.

    Returns:
        `path`.

    Raises:
        WeightsError: The address cannot be read, takes too long, the connection breaks off again and again, or the file
            is another one, or a web page.
    """
    _require_safe(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    version = path.with_name(path.name + ".part.version")
    if not expected and not version.is_file():  # nothing would say that the rest is of the same file
        part.unlink(missing_ok=True)
    end = time.monotonic() + LIMIT
    for left in reversed(range(TRIES)):
        reason = _try(url, part, version, end)
        if not reason:
            break
        if not left or time.monotonic() > end:
            kept = "; what came so far is kept, the same command goes on" if part.is_file() else ""
            raise WeightsError(f"{url}: cannot be fetched ({reason}){kept}")
    version.unlink(missing_ok=True)
    if expected and (found := sha256(part)) != expected:
        part.unlink()
        raise WeightsError(
            f"{url}: sha256 is {found[:12]}..., expected {expected[:12]}...; the file there is damaged or another one"
        )
    if told := _text(part):
        part.unlink()
        raise WeightsError(
            f"{url}: the answer is {told}, expected weights; a proxy or a login page may be in between"
        )
    return part.replace(path)


def _text(path: Path) -> str:
    """What a file is that holds text, which no weights file is; empty: it holds other bytes."""
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        return "empty"
    if b"\0" in head or any(byte < 9 for byte in head):
        return ""
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return ""
    return "a web page" if head.lstrip()[:1] == b"<" else "a text"


def _require_safe(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise WeightsError(f"{url}: not an address ({error}); correct it in the card") from error
    if not host or (parts.scheme != "https" and not (parts.scheme == "http" and host in LOOPBACK)):
        raise WeightsError(f"{url}: not an https address; nothing else is fetched")


class _SafeRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        try:
            _require_safe(newurl)
        except WeightsError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _try(url: str, part: Path, version: Path, end: float) -> str:
    """Fetch what is missing, over one connection.

    Returns:
        Why it did not work; empty: the file is whole.
    """
    try:
        return "" if _append(url, part, version, end) else "the connection broke off"
    except HTTPError as error:
        error.close()
        reason = next(iter(str(error.reason).splitlines()), "")
        if error.code < 500:
            raise WeightsError(f"{url}: cannot be fetched (HTTP {error.code} {reason})") from error
        return f"HTTP {error.code} {reason}"
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a redirect to what is no address
        return " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__


def _append(url: str, part: Path, version: Path, end: float) -> bool:
    """Add what is missing to a file.

    Args:
        url: The address.
        part: The file.
        version: Holds what the server calls the version of the file that the part is of.
        end: When it has taken too long, as `time.monotonic` counts.

    Returns:
        Whether the file is whole.
    """
    have = part.stat().st_size if part.is_file() else 0
    known = version.read_text(encoding="latin-1") if version.is_file() else ""
    headers = {"User-Agent": "unibench", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        headers |= {"If-Range": known} if known else {}
    try:
        answer = build_opener(_SafeRedirects).open(Request(url, headers=headers), timeout=PATIENCE)  # noqa: S310
    except HTTPError as error:
        if have and error.code == 416:  # there is nothing behind the part: it is whole, or of another file
            error.close()
            if _total(error.headers) == have and (not known or _version(error.headers) in ("", known)):
                return True
            part.unlink()
            return False
        raise
    with answer:
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        )
        if (
            resumed and known and _version(answer.headers) not in ("", known)
        ):  # a server that ignores If-Range
            part.unlink()
            return False
        if not resumed:
            version.write_text(_version(answer.headers), encoding="latin-1", errors="replace")
        total = _total(answer.headers)
        with part.open("ab" if resumed else "wb") as stream, _progress(part, total) as advance:
            advance(have if resumed else 0)
            while chunk := answer.read1(CHUNK):
                stream.write(chunk)
                advance(len(chunk))
                if time.monotonic() > end:
                    raise TimeoutError(f"not whole after {LIMIT:g} s")
    size = part.stat().st_size
    if total is not None and size > total:
        part.unlink()
        return False
    return total is None or size == total


def _version(headers: Message) -> str:
    """What tells whether a file is still the same: a strong ETag, or else when it was changed; empty: neither."""
    tag = str(headers.get("ETag", ""))
    return tag if tag.startswith('"') else str(headers.get("Last-Modified", ""))


def _total(headers: Message) -> int | None:
    """Size of the whole file, if the answer says it."""
    said = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    return int(said) if said.isdecimal() else None


@contextmanager
def _progress(part: Path, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(part.stem, total=total)
        yield lambda count: progress.update(bar, advance=count)


def sha256(path: Path) -> str:
    """Hash of a file's bytes, hexadecimal; a file that has not changed is read once a process."""
    state = path.stat()
    return _sha256(path.resolve(), state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=256)
def _sha256(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    # Safe to keep: every write sets the time of change, and a file that takes another's place has another inode.
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
