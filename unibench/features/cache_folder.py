"""The folder of a feature cache: what lies where, how much it is, and what goes when it is too much. Loads no torch.

    <folder>/CACHEDIR.TAG                                               says what the folder is
             <model>@<fingerprint>@<layer>/<two digits>/<digest>.npz    one map of one image

Any number of processes may use one folder at once: an entry is there whole or not at all.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from unibench.errors import OutputError

TAG = "CACHEDIR.TAG"
SIGNATURE = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# Feature maps of unibench. Backups may leave them out.\n"
)
"""The convention by which backup programs know a cache."""
ABANDONED = 3600.0
"""Seconds after which a file that was not finished belongs to a process that was killed."""


@dataclass(frozen=True)
class Entry:
    """One map on disk."""

    path: Path
    model: str
    fingerprint: str
    layer: str
    bytes: int
    used: float
    """When it was last read or written, seconds since 1970."""


@dataclass(frozen=True)
class Holding:
    """The entries of one layer of one model."""

    model: str
    fingerprint: str
    layer: str
    maps: int
    bytes: int
    used: float
    """When one was last read or written, seconds since 1970."""


def make(folder: Path) -> None:
    """Make a cache of a folder that is empty or not there; one that is there is left as it is.

    Raises:
        OutputError: The folder holds something else, or cannot be made.
    """
    if (folder / TAG).is_file():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / TAG).is_file():
            raise OutputError(
                f"{folder}: not a feature cache, expected one, or an empty or new folder; choose another"
            )
        (folder / TAG).write_text(SIGNATURE)
    except OSError as error:
        raise OutputError(
            f"{folder}: no feature cache can be made here ({error.strerror or error}); choose another folder"
        ) from error


def require(folder: Path) -> None:
    """Demand that a folder is a feature cache.

    Raises:
        OutputError: It is not.
    """
    if not (folder / TAG).is_file():
        raise OutputError(f"{folder}: no feature cache; unibench cache build makes one")


def entries(folder: Path) -> Iterator[Entry]:
    """List what a cache holds, in no particular order; other files in the folder are ignored."""
    for kind in _folders(folder):
        names = [unquote(part) for part in kind.name.split("@")]
        if len(names) == 3:
            model, fingerprint, layer = names
            for shelf in _folders(kind):
                for path, state in _maps(shelf):
                    yield Entry(path, model, fingerprint, layer, state.st_size, state.st_mtime)


def used(folder: Path) -> int:
    """Bytes that the entries of a cache take."""
    return sum(entry.bytes for entry in entries(folder))


def holdings(folder: Path) -> list[Holding]:
    """What a cache holds of each model and layer, by name."""
    found: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries(folder):
        found.setdefault((entry.model, entry.fingerprint, entry.layer), []).append(entry)
    return [
        Holding(*kind, len(group), sum(entry.bytes for entry in group), max(entry.used for entry in group))
        for kind, group in sorted(found.items())
    ]


def describe(folder: Path) -> str:
    """What a cache holds, for people: `24.5 GiB in 1999 maps`."""
    found = list(entries(folder))
    return f"{human(sum(entry.bytes for entry in found))} in {len(found)} maps"


def prune(folder: Path, budget: int) -> list[Entry]:
    """Remove the entries that were not used for longest, until the others fit; a process may use the cache meanwhile.

    Args:
        folder: The cache.
        budget: Bytes that may stay.

    Returns:
        What was removed.
    """
    for part in folder.glob("*@*@*/??/.*.part"):
        with suppress(OSError):
            if time.time() - part.lstat().st_mtime > ABANDONED:
                part.unlink()
    there = sorted(entries(folder), key=lambda entry: (entry.used, entry.path))
    excess = sum(entry.bytes for entry in there) - budget
    removed = []
    for entry in there:
        if excess <= 0:
            break
        remove(entry.path)
        excess -= entry.bytes
        removed.append(entry)
    return removed


def human(size: int) -> str:
    """Bytes for people, in powers of 1024."""
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << power:
            return f"{size / (1 << power):.1f} {unit}"
    return f"{size} B"


def _folders(folder: Path) -> list[Path]:
    return [Path(one.path) for one in _scan(folder) if one.is_dir(follow_symlinks=False)]


def _maps(shelf: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for one in _scan(shelf):
        if one.name.endswith(".npz") and one.is_file(follow_symlinks=False):
            with suppress(FileNotFoundError):  # another process has just removed it
                yield Path(one.path), one.stat(follow_symlinks=False)


def _scan(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be read ({error.strerror or error}); check its permissions"
        ) from error


def path_of(folder: Path, model: str, fingerprint: str, layer: str, digest: str) -> Path:
    """Where the map of an image is, or would be; no name leads out of the folder."""
    kind = "@".join(quote(part, safe="") for part in (model, fingerprint, layer))
    return folder / kind / digest[:2] / f"{digest}.npz"


def remove(path: Path) -> None:
    """Take an entry away, if it is there and can be: a cache may be shared read-only."""
    with suppress(OSError):
        path.unlink()
