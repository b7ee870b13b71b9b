"""The folder of a site is written: pages, what scripts read, pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from unibench.errors import DataError, OutputError, UnknownNameError
from unibench.report import correlation, leaderboard, radar
from unibench.results.atomic import replace_file
from unibench.site import clips as clip_pages
from unibench.site import contents, pages
from unibench.site.clips import ClipPage
from unibench.site.contents import Contents
from unibench.site.pages import Head

ASSETS = ("clip.js", "icon.svg", "site.css", "tables.js", "theme.js")


@dataclass(frozen=True)
class Built:
    """What was written."""

    start: Path
    """The start page."""
    notes: tuple[str, ...]
    """What is not there, and why."""


def build(out: Path, folder: Path, *, data: Path | None = None, clips: int | None = 5, frames: bool = False) -> Built:
    """Write the site of a folder of results.

    Args:
        out: Root folder of the results.
        folder: Where to; files that the site has are replaced, others are left.
        data: Folder that holds the benchmarks' folders. Clips of those that are not there get no page.
        clips: So many of the worst clips of each setting get a page; None: all.
        frames: Whether frames of data sets are copied, which are often for research only. Those of rendered benchmarks
            always are.

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
    notes = []
    heads = pages.list_heads(site)
    copied: dict[Path, int] = {}
    for head in heads:
        written, note = _clips(environment, site, head, folder, data, clips, copied, frames=frames)
        notes += [f"{head.setting}: {note}"] if note else []
        shown = pages.task(site, head, heads, written, note)
        _page(environment, folder, "task.html", f"tasks/{head.file}.html", shown)
    start = _page(environment, folder, "index.html", "index.html", pages.start(site))
    return Built(start, tuple(notes))


def _clips(
    environment: jinja2.Environment, site: Contents, head: Head, folder: Path, data: Path | None, most: int | None,
    copied: dict[Path, int], *, frames: bool,
) -> tuple[dict[str, str], str]:  # fmt: skip
    """Write the pages of a setting's clips: name -> page, and why clips have none."""
    names = clip_pages.chosen(site, head.setting, most)
    if not names:
        return {}, ""
    try:
        written = list(clip_pages.write(site, head.setting, names, folder, data, copied, frames=frames))
    except (DataError, UnknownNameError) as error:  # of data that are elsewhere, or of another's plug-in
        return {}, f"no pages of clips: {error}"
    for index, page in enumerate(written):
        shown = {
            "page": page,
            "task_file": head.file,
            "headline": head.headline,
            "arrow": head.arrow,
            "direction": head.direction,
            "models": site.files.models,
            "previous": _link(written[index - 1]) if index else None,
            "next": _link(written[index + 1]) if index + 1 < len(written) else None,
        }
        _page(environment, folder, "clip.html", page.file, shown)
    missing = len(names) - len(written)
    return {page.name: page.file for page in written}, f"{missing} clips without stored predictions" if missing else ""


def _link(page: ClipPage) -> dict[str, str]:
    return {"name": page.name, "file": Path(page.file).name}


def _check_folders(out: Path, folder: Path) -> None:
    here, there = folder.resolve(), out.resolve()
    if here == there or there in here.parents:
        raise OutputError(f"{folder}: lies within the results in {out}, expected a folder of its own; choose another --to")


def _draw(site: Contents, folder: Path) -> None:
    pictures = folder / "pictures"
    radar.write(site.board, pictures)
    correlation.write(site.board, pictures)
    leaderboard.write(site.board, folder, site.ties)


def _page(
    environment: jinja2.Environment, folder: Path, template: str, name: str, shown: Mapping[str, Any]
) -> Path:
    text = environment.get_template(template).render(root="../" * name.count("/"), **shown)
    return replace_file(folder / name, text.encode())
