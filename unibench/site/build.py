"""The folder of a site is written: pages, what scripts read, pictures."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from unibench.errors import OutputError
from unibench.report import correlation, leaderboard, radar
from unibench.results.atomic import replace_file
from unibench.site import contents, pages
from unibench.site.contents import Contents

ASSETS = ("icon.svg", "site.css", "tables.js", "theme.js")


def build(out: Path, folder: Path) -> Path:
    """Write the site of a folder of results.

    Args:
        out: Root folder of the results.
        folder: Where to; files that the site has are replaced, others are left.

    Returns:
        The start page.

    Raises:
        UnibenchError: There are no results, they are damaged, or the folder lies within them or cannot be written.
    """
    _check_folders(out, folder)
    site = contents.read(out)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unibench.site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    for name in ASSETS:
        replace_file(folder / "assets" / name, files("unibench.site").joinpath("assets", name).read_bytes())
    _draw(site, folder)
    return _page(environment, folder, "index.html", pages.start(site))


def _check_folders(out: Path, folder: Path) -> None:
    here, there = folder.resolve(), out.resolve()
    if here == there or there in here.parents:
        raise OutputError(f"{folder}: lies within the results in {out}, expected a folder of its own; choose another --to")


def _draw(site: Contents, folder: Path) -> None:
    pictures = folder / "pictures"
    radar.write(site.board, pictures)
    correlation.write(site.board, pictures)
    leaderboard.write(site.board, folder, site.ties)


def _page(environment: jinja2.Environment, folder: Path, name: str, shown: Mapping[str, Any]) -> Path:
    root = "../" * name.count("/")
    template = environment.get_template(Path(name).name)
    return replace_file(folder / name, template.render(root=root, **shown).encode())
