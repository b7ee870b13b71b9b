"""Weights files: found where they lie, fetched whole or not at all, never when the network is off."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants

from unibench.errors import WeightsError
from unibench.models import cards, download, fetch, weights
from unibench.models.cards import Card, Weights

CONTENT = np.random.default_rng(0).bytes(200_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """Serves CONTENT on this machine and notes what it is asked for."""

    address: str = ""
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path, Range header."""
    breaks: list[int] = field(default_factory=list)
    """Bytes after which the next connections break off."""
    ranges: bool = True
    content: bytes = CONTENT
    pause: float = 0.0
    """Seconds before each further 10,000 bytes."""
    statuses: list[int] = field(default_factory=list)
    """Statuses of the next answers, in place of 200."""
    heads: dict[str, str] = field(default_factory=dict)

    def ranges_asked(self) -> list[str | None]:
        return [one[2] for one in self.asked]


class Web(ThreadingHTTPServer):
    def __init__(self, state: Server) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.state = state


class Handler(BaseHTTPRequestHandler):
    server: Web

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        state, asked = self.server.state, self.headers["Range"]
        state.asked.append((self.command, self.path, asked))
        content = state.content
        same = self.headers["If-Range"] in (None, state.heads.get("ETag"))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and state.ranges and same else 0
        if state.statuses:
            self.head(state.statuses.pop(0), {"Content-Length": "0"})
        elif start >= len(content):
            self.head(416, {"Content-Length": "0", "Content-Range": f"bytes */{len(content)}"})
        else:
            there = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
            self.head(206 if start else 200, {"Content-Length": str(len(content) - start), **there})
            if body:
                stop = state.breaks.pop(0) if state.breaks else len(content)
                for first in range(start, min(start + stop, len(content)), 10_000):
                    time.sleep(state.pause)
                    self.wfile.write(content[first : min(first + 10_000, start + stop)])

    def head(self, status: int, heads: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**heads, **self.server.state.heads}.items():
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    with Web(state) as web:
        state.address = f"http://127.0.0.1:{web.server_address[1]}"
        thread = Thread(target=web.serve_forever)
        thread.start()
        yield state
        web.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches of our own, and a network that is on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def model(**fields: Any) -> Card:
    return replace(cards.find("udt"), name="mine", weights=Weights(**fields))


def reachable(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Let https addresses of a made-up host be answered by the local server."""
    real = download.download

    def redirected(url: str, path: Path, expected: str = "") -> Path:
        return real(url.replace("https://upstream.test", server.address), path, expected)

    monkeypatch.setattr(fetch, "download", redirected)


def test_a_file_is_fetched_whole(server: Server, tmp_path: Path) -> None:
    path = download.download(f"{server.address}/x.pth", tmp_path / "deep" / "x.pth", SHA256)
    assert path.read_bytes() == CONTENT
    assert [one.name for one in path.parent.iterdir()] == ["x.pth"]


def test_a_connection_that_breaks_off_is_resumed(server: Server, tmp_path: Path) -> None:
    server.breaks = [70_000, 50_000]
    path = download.download(f"{server.address}/x.pth", tmp_path / "x.pth", SHA256)
    assert path.read_bytes() == CONTENT
    assert server.ranges_asked() == [None, "bytes=70000-", "bytes=120000-"]


def test_what_came_so_far_is_kept_for_the_next_command(server: Server, tmp_path: Path) -> None:
    server.breaks = [10_000, 10_000, 10_000]
    with pytest.raises(
        WeightsError, match=r"x\.pth: cannot be fetched \(the connection broke off\); what came"
    ):
        download.download(f"{server.address}/x.pth", tmp_path / "x.pth", SHA256)
    assert not (tmp_path / "x.pth").exists()
    assert (tmp_path / "x.pth.part").stat().st_size == 30_000
    download.download(f"{server.address}/x.pth", tmp_path / "x.pth", SHA256)
    assert (tmp_path / "x.pth").read_bytes() == CONTENT
    assert server.ranges_asked()[-1] == "bytes=30000-"


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "x.pth.part").write_bytes(b"something else")
    path = download.download(f"{server.address}/x.pth", tmp_path / "x.pth")
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(("left", "asked"), [(len(CONTENT), 1), (len(CONTENT) + 5, 2)])
def test_a_part_that_is_whole_is_taken_and_one_that_is_too_long_is_not(
    server: Server, tmp_path: Path, left: int, asked: int
) -> None:
    (tmp_path / "x.pth.part").write_bytes((CONTENT + b"12345")[:left])
    path = download.download(f"{server.address}/x.pth", tmp_path / "x.pth", SHA256)
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == asked


def test_another_sha256_is_refused_and_nothing_is_left(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=rf"x\.pth: sha256 is {SHA256[:12]}\.\.\., expected 000000000000\.\.\.; "
    ):
        download.download(f"{server.address}/x.pth", tmp_path / "x.pth", "0" * 64)
    assert list(tmp_path.glob("x*")) == []


def test_404_is_one_line_and_not_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(WeightsError, match=r"x\.pth: cannot be fetched \(HTTP 404 Not Found\)") as caught:
        download.download(f"{server.address}/x.pth", tmp_path / "x.pth")
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 1


def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 500]
    assert download.download(f"{server.address}/x.pth", tmp_path / "x.pth", SHA256).is_file()
    server.statuses = [503, 503, 503]
    with pytest.raises(WeightsError, match=r"y\.pth: cannot be fetched \(HTTP 503 Service Unavailable\)$"):
        download.download(f"{server.address}/y.pth", tmp_path / "y.pth")


def test_a_redirect_away_from_https_is_not_followed(server: Server, tmp_path: Path) -> None:
    server.statuses, server.heads = [302], {"Location": "ftp://127.0.0.1/x"}
    with pytest.raises(WeightsError, match=r"ftp://127\.0\.0\.1/x: not an https address"):
        download.download(f"{server.address}/x", tmp_path / "x")


@pytest.mark.parametrize("url", ["http://example.org/x", "file:///etc/hostname", "ftp://127.0.0.1/x"])
def test_nothing_but_https_is_fetched(tmp_path: Path, url: str) -> None:
    with pytest.raises(WeightsError, match="not an https address; nothing else is fetched"):
        download.download(url, tmp_path / "x")


def test_no_connection_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"x: cannot be fetched \(.*refused\)$"):
        download.download("http://127.0.0.1:9/x", tmp_path / "x")


def test_a_card_is_fetched_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    reachable(monkeypatch, server)
    card = model(source="https://upstream.test/a/x.pth?dl=1", sha256=SHA256)
    first = weights.locate(card, None)
    assert first == fetch.cache() / "upstream.test" / "a" / "x.pth"
    assert weights.locate(card, None) == first
    assert len(server.asked) == 1


def test_mirrors_are_tried_in_order(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reachable(monkeypatch, server)
    server.statuses = [404, 403]
    mirrors = ("https://upstream.test/b.pth", "https://upstream.test/c.pth", "https://upstream.test/d.pth")
    card = model(source="https://upstream.test/a.safetensors", mirrors=mirrors)
    assert fetch.fetch(card, tmp_path) == tmp_path / "mine.pth"
    assert [one[1] for one in server.asked] == ["/a.safetensors", "/b.pth", "/c.pth"]
    server.statuses = [404] * 4
    with pytest.raises(
        WeightsError, match=r"model 'mine': no source gives the weights: .*a\.saf.*HTTP 404.*d\.pth"
    ):
        fetch.fetch(card, tmp_path)


def test_offline_nothing_is_asked_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reachable(monkeypatch, server)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    card = model(source="https://upstream.test/a/x.pth", mirrors=("hf:o/r/f.bin",))
    message = (
        r"the network is off .*; fetch https://upstream\.test/a/x\.pth elsewhere and give it as mine\.pth"
    )
    with pytest.raises(WeightsError, match=message):
        weights.locate(card, None)
    assert server.asked == []
    (tmp_path / "mine.pth").write_bytes(CONTENT)
    assert weights.locate(card, tmp_path) == tmp_path / "mine.pth"
    with pytest.raises(
        WeightsError, match=r"fetch https://huggingface\.co/o/r/resolve/main/f\.bin elsewhere"
    ):
        weights.locate(model(source="hf:o/r/f.bin"), None)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (
            "https://upstream.test/a/x.pth.tar?dl=1",
            ["mine.pth.tar", "mine.safetensors", "mine.pth", "x.pth.tar"],
        ),
        ("hf:owner/repo.v1/sub/model.safetensors", ["mine.safetensors", "mine.pth", "sub/model.safetensors"]),
        ("hf:owner/repo.v1/model.safetensors", ["mine.safetensors", "mine.pth", "repo.v1/model.safetensors"]),
        (
            "package:unibench/joint/unicorn/toy.safetensors",
            ["mine.safetensors", "mine.pth", "unicorn/toy.safetensors"],
        ),
        ("file:theirs.pkl", ["mine.pkl", "mine.safetensors", "mine.pth", "theirs.pkl"]),
    ],
)
def test_a_folder_is_searched_for_the_cards_name_then_for_upstreams(
    tmp_path: Path, source: str, names: list[str]
) -> None:
    card = model(source=source)
    assert fetch.names(card) == names
    assert fetch.find(card, tmp_path) == fetch.find(card, None)
    for name in reversed(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"1")
        assert fetch.find(card, tmp_path) == tmp_path / name


def test_no_two_cards_take_each_others_files() -> None:
    """In one folder, a name stands for one source only."""
    owners: dict[str, set[str]] = {}
    for path in cards.paths().values():
        card = cards.read(path)
        if card.weights.source.startswith(("hf:", "https:", "file:", "package:")):
            for name in fetch.names(card):
                owners.setdefault(name, set()).add(card.weights.source)
    assert {name: sources for name, sources in owners.items() if len(sources) > 1} == {}


SOURCES = [
    "https://upstream.test/a/x.pth",
    "hf:owner/repo/x.pth",
    "file:x.pth",
    "package:unibench/joint/unicorn/toy.safetensors",
]


@pytest.mark.parametrize("source", [*SOURCES, "random", "none"])
def test_what_is_given_and_is_not_there_is_named(tmp_path: Path, source: str) -> None:
    with pytest.raises(WeightsError, match=r"nowhere: no such file or folder; give one that is there"):
        weights.locate(model(source=source), tmp_path / "nowhere")


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_that_is_given_is_the_one_that_is_used(tmp_path: Path, source: str) -> None:
    own = tmp_path / "finetuned.pth"
    own.write_bytes(CONTENT)
    card = model(source=source)
    assert weights.locate(card, own) == own
    assert fetch.status(card, own).path == own
    with pytest.raises(WeightsError, match=r"finetuned\.pth: sha256 is .*, expected 0000"):
        weights.locate(model(source=source, sha256="0" * 64), own)


@pytest.mark.parametrize("source", SOURCES)
def test_a_folder_that_is_given_is_searched_first(tmp_path: Path, source: str) -> None:
    """Before the folder of a card that is given by its path, before package and caches."""
    for folder in ("given", "beside"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.safetensors").write_bytes(CONTENT)
    card = replace(model(source=source), path=tmp_path / "beside" / "mine.toml")
    assert weights.locate(card, tmp_path / "given") == tmp_path / "given" / "mine.safetensors"
    assert weights.locate(card, tmp_path) == tmp_path / "beside" / "mine.safetensors"


@pytest.mark.parametrize("source", ["random", "none"])
def test_a_file_for_a_model_without_weights_is_refused(tmp_path: Path, source: str) -> None:
    own = tmp_path / "finetuned.pth"
    own.write_bytes(CONTENT)
    with pytest.raises(WeightsError, match=r"finetuned\.pth: model 'mine' has no weights to load"):
        weights.locate(model(source=source), own)
    assert not fetch.status(model(source=source), own).here
    assert weights.locate(model(source=source), tmp_path) is None


def test_a_folder_gets_the_file_of_a_package(tmp_path: Path) -> None:
    card = cards.find("unicorn-tiny")
    found = fetch.obtain(card, tmp_path / "new")
    assert found == tmp_path / "new" / "unicorn-tiny.safetensors"
    assert fetch.obtain(card, None) == weights.locate(card, None) != weights.locate(card, found)


def test_how_to_get_a_file_is_said() -> None:
    card = model(source="file:x.pth", obtain="ask the authors")
    with pytest.raises(WeightsError, match=r"'x\.pth' not found; say .*FILE; to get them: ask the authors"):
        weights.locate(card, None)


def test_an_address_does_not_leave_the_cache(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="leads out of the cache"):
        fetch.fetch(model(source="https://upstream.test/../../../x.pth"))
    assert fetch.find(model(source="https://upstream.test/../../../x.pth"), None) is None


class TestHub:
    """The Hugging Face Hub, played by the local server."""

    @pytest.fixture(autouse=True)
    def endpoint(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        template = server.address + constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        server.heads = {"ETag": f'"{SHA256}"', "X-Repo-Commit": "0" * 40}

    CARD = model(source="hf:owner/repo/model.safetensors", sha256=SHA256)

    def test_a_file_is_fetched_once_and_then_found_offline(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = weights.locate(self.CARD, None)
        assert path is not None
        assert path.read_bytes() == CONTENT
        assert ("GET", "/owner/repo/resolve/main/model.safetensors", None) in server.asked
        count = len(server.asked)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert weights.locate(self.CARD, None) == path
        assert len(server.asked) == count

    def test_a_folder_gets_it_under_the_cards_name(self, tmp_path: Path) -> None:
        path = fetch.fetch(self.CARD, tmp_path / "weights")
        assert path == tmp_path / "weights" / "mine.safetensors"
        assert path.read_bytes() == CONTENT
        assert not path.is_symlink()

    @pytest.mark.parametrize(
        ("status", "heads", "message"),
        [
            (
                403,
                {"X-Error-Code": "GatedRepo"},
                r"hf:owner/.*: gated; ask for access at https://.*/owner/repo, then",
            ),
            (401, {"X-Error-Code": "RepoNotFound"}, r"no such repository, or a private one"),
            (404, {"X-Error-Code": "EntryNotFound"}, r"the repository has no such file; correct the card"),
            (418, {}, r"cannot be fetched \(.*418"),
        ],
    )
    def test_refusals_are_one_line(
        self, server: Server, status: int, heads: dict[str, str], message: str
    ) -> None:
        server.statuses = [status] * 9
        server.heads = {"X-Repo-Commit": "0" * 40, **heads}
        with pytest.raises(WeightsError, match=f"model 'mine': .*{message}") as caught:
            fetch.fetch(self.CARD)
        assert "\n" not in str(caught.value)


def test_finding_and_fetching_load_no_torch() -> None:
    code = "import sys, unibench.models.fetch; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONWARNINGS": "error"})


def test_a_file_that_changed_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    """Half of the old file and half of the new one were glued together."""
    server.heads, server.breaks = {"ETag": '"one"'}, [70_000]
    server.breaks += [0, 0]
    with pytest.raises(WeightsError, match="what came so far is kept"):
        download.download(f"{server.address}/x.pth", tmp_path / "x.pth")
    assert (tmp_path / "x.pth.part").stat().st_size == 70_000
    server.content, server.heads = bytes(reversed(CONTENT)), {"ETag": '"two"'}
    path = download.download(f"{server.address}/x.pth", tmp_path / "x.pth")
    assert path.read_bytes() == server.content
    assert [one.name for one in tmp_path.iterdir()] == ["x.pth"]


def test_a_part_of_an_unknown_version_is_not_resumed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.pth.part").write_bytes(b"1" * 100)
    assert download.download(f"{server.address}/x.pth", tmp_path / "x.pth").read_bytes() == CONTENT
    assert server.ranges_asked() == [None]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\n<!DOCTYPE html><html><body>Please sign in</body></html>", "a web page"),
        (b"<html>" + "é".encode() * 400, "a web page"),
        (b'{"error": "quota"}', "a text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a text"),
    ],
)
def test_a_web_page_is_no_weights_file(server: Server, tmp_path: Path, content: bytes, told: str) -> None:
    server.content = content
    with pytest.raises(WeightsError, match=rf"x\.pth: the answer is {told}, expected weights"):
        download.download(f"{server.address}/x.pth", tmp_path / "x.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_download_takes_a_limited_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LIMIT", 0.3)
    server.pause = 0.1
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"not whole after 0\.3 s\); what came so far is kept"):
        download.download(f"{server.address}/x.pth", tmp_path / "x.pth")
    assert time.monotonic() - start < 2


def test_a_redirect_loop_is_one_line(server: Server, tmp_path: Path) -> None:
    server.statuses, server.heads = [302] * 50, {"Location": f"{server.address}/x"}
    with pytest.raises(WeightsError, match=r"cannot be fetched \(HTTP 302 [^\n]*infinite loop[^\n]*\)$"):
        download.download(f"{server.address}/x", tmp_path / "x")


@pytest.mark.parametrize("url", ["https://[::1/", "https://h:99999/x", "https://", "https:///x", "//x", ""])
def test_what_is_no_address_is_one_line(server: Server, tmp_path: Path, url: str) -> None:
    with pytest.raises(WeightsError, match=r"not an (https )?address[^\n]*$"):
        download.download(url, tmp_path / "x")
    server.statuses, server.heads = [302] * 3, {"Location": url or "https://[::1/"}
    with pytest.raises(WeightsError, match=r"[^\n]+$"):
        download.download(f"{server.address}/x", tmp_path / "x")


def test_the_sha256_of_the_first_use_is_compared_from_then_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    reachable(monkeypatch, server)
    card = model(source="https://upstream.test/a/x.pth")
    path = weights.locate(card, None)
    assert path is not None
    assert json.loads((fetch.cache() / fetch.LOCK).read_bytes()) == {card.weights.source: SHA256}
    assert weights.locate(card, None) == path
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(WeightsError, match=r"sha256 is .*, expected .*sha256\.json, noted on first use"):
        weights.locate(card, None)
    path.unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(WeightsError, match=r"noted on first use"):
        weights.locate(card, None)


def test_a_file_in_a_folder_is_that_of_its_first_use(tmp_path: Path) -> None:
    card = model(source="https://upstream.test/a/x.pth")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "mine.pth").write_bytes(CONTENT)
    (tmp_path / "two" / "x.pth").write_bytes(CONTENT[::-1])
    assert weights.locate(card, tmp_path / "one") == tmp_path / "one" / "mine.pth"
    with pytest.raises(WeightsError, match=r"two/x\.pth: sha256 is .*, expected .*noted on first use"):
        weights.locate(card, tmp_path / "two")
    own = tmp_path / "finetuned.pth"
    own.write_bytes(CONTENT[::-1])
    assert weights.locate(card, own) == own


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(CONTENT[:9])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        fetch._copy(tmp_path / "x", tmp_path / "to" / "x.pth")
    assert not [*(tmp_path / "to").iterdir()]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": 1}', b"\xff", b"[" * 100_000])
def test_a_lock_that_cannot_be_read_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    reachable(monkeypatch, server)
    fetch.cache().mkdir(parents=True)
    (fetch.cache() / fetch.LOCK).write_bytes(content)
    with pytest.raises(
        WeightsError, match=r"sha256\.json: [^\n]*expected sources and their sha256; remove it$"
    ):
        weights.locate(model(source="https://upstream.test/a/x.pth"), None)


def test_a_file_is_hashed_once(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    download._sha256.cache_clear()
    first = download.sha256(tmp_path / "x")
    assert download.sha256(tmp_path / "x") == first
    assert download._sha256.cache_info().misses == 1
    (tmp_path / "x").write_bytes(b"22")
    assert download.sha256(tmp_path / "x") != first
