"""One browser and one site for all tests of pages."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.site.made import store_run
from unibench.site.build import build

HOSTILE = "<script>alert(1)</script> \"q\" 's' & 🦊"
FRAMES = 5
TASKS = (
    "sot/synthetic-easy",
    "vos/synthetic-easy",
    "mot/synthetic-easy",
    "pose/synthetic-easy",
    "points/synthetic-easy",
)


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tasks; three models, of which one has an unkind name, one two layers."""
    out = tmp_path_factory.mktemp("results")
    for task in TASKS:
        store_run(out, "hog", task, 2.0, frames=FRAMES)
        store_run(
            out, "lab-colour", task, 5.0, layer="pooled", end="2026-03-05T00:00:00+00:00", frames=FRAMES
        )
    store_run(out, "hog", "mot/synthetic-easy", 3.0, layer="other", frames=FRAMES)
    store_run(out, "hog", "mot/synthetic-easy@bytetrack", 4.0, frames=FRAMES)
    store_run(out, "tdt-tiny", "mot/synthetic-easy", 1.0, swap_at=3, layer="joint", frames=FRAMES)
    store_run(out, HOSTILE, "mot/synthetic-easy", 0.0, swap_at=4, layer=HOSTILE, frames=FRAMES)
    return out


@pytest.fixture(scope="session")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(results, folder, clips=None)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, site: Path) -> Iterator[Callable[..., Page]]:
    """Open a page of the site. Whatever its scripts complain of, and whatever it asks outside its folder, fails."""
    contexts, problems = [], []

    def request(url: str, root: Path) -> None:
        if not url.startswith((root.as_uri() + "/", "data:")):
            problems.append(f"request to {url}")

    def open_page(path: str, *, root: Path = site, **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
        page.on("requestfailed", lambda failed: problems.append(f"not there: {failed.url}"))
        page.on("request", lambda asked: request(asked.url, root))
        page.goto(f"{root.as_uri()}/{path}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
