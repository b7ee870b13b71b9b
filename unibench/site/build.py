"""The folder of a site is written: pages, what scripts read, pictures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from unibench.errors import DataError, OutputError, UnknownNameError
from unibench.report import correlation, leaderboard
from unibench.results.atomic import replace_file
from unibench.site import attributes, contents, methods, models, start, tasks
from unibench.site.clips import ClipPage, chosen, copy_frames, write
from unibench.site.contents import Contents
from unibench.site.tasks import Head
from unibench.tasks.registry import FAMILIES

ASSETS = ("clip.js", "icon.svg", "pareto.js", "radar.js", "site.css", "tables.js", "theme.js")


@dataclass(frozen=True)
class Built:
    """What was written."""

    start: Path
    """The start page."""
    notes: tuple[str, ...]
    """What is not there, and why."""


def build(
    out: Path, folder: Path, *, data: Path | None = None, clips: int | None = 5, frames: bool = False
) -> Built:
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
    page = partial(_page, _environment(), folder)
    for name in ASSETS:
        replace_file(folder / "assets" / name, files("unibench.site").joinpath("assets", name).read_bytes())
    replace_file(folder / ".nojekyll", b"")  # GitHub Pages takes the folder as it is
    _draw(site, folder)
    heads, notes, shown = tasks.list_heads(site), [], []
    for head in heads:
        of_clips, note = _read_clips(site, head, folder, data, clips, frames=frames)
        _write_clips(page, site, head, of_clips)
        links = {one.clip.name: one.file for one in of_clips}
        hard = attributes.table(site, head.setting, data)
        page("task.html", f"tasks/{head.file}.html", tasks.page(site, head, heads, links, note, hard))
        shown += of_clips
        notes += [f"{head.setting}: {note}"] if note else []
    copy_frames(shown, folder)
    for model in site.board.models:
        file = f"models/{site.files.models[model.name]}.html"
        page("model.html", file, models.page(site, model))
    page("methods.html", "methods/index.html", methods.index())
    for family in FAMILIES.values():
        page("family.html", f"methods/{family.name}.html", methods.family(family))
    return Built(page("index.html", "index.html", start.page(site)), tuple(notes))


def _read_clips(
    site: Contents, head: Head, folder: Path, data: Path | None, most: int | None, *, frames: bool
) -> tuple[list[ClipPage], str]:
    """The clips of a setting that get a page, and why others have none."""
    names = chosen(site, head.setting, most)
    try:
        found = list(write(site, head.setting, names, folder, data, frames=frames)) if names else []
    except (DataError, UnknownNameError) as error:  # the data, or the plug-in of the benchmark, are elsewhere
        return [], f"no pages of clips: {error}"
    missing = len(names) - len(found)
    return found, f"{missing} clips have no stored predictions, so no page" if missing else ""


def _write_clips(
    page: Callable[[str, str, Mapping[str, Any]], Path], site: Contents, head: Head, found: Sequence[ClipPage]
) -> None:
    for before, one, after in zip([None, *found], found, [*found[1:], None], strict=False):
        shown = {
            "page": one,
            "head": head,
            "models": site.files.models,
            "before": before and {"name": before.clip.name, "file": Path(before.file).name},
            "after": after and {"name": after.clip.name, "file": Path(after.file).name},
        }
        page("clip.html", one.file, shown)


def _check_folders(out: Path, folder: Path) -> None:
    here, there = folder.resolve(), out.resolve()
    if here == there or there in here.parents:
        raise OutputError(
            f"{folder}: lies within the results in {out}, expected a folder of its own; choose another --to"
        )
    if (folder / "index.html").exists() and not (folder / "assets" / "site.css").exists():
        raise OutputError(f"{folder}: holds an index.html of something else; choose another --to")


def _draw(site: Contents, folder: Path) -> None:
    correlation.write(site.board, folder / "pictures")
    leaderboard.write(site.board, folder, site.ties, site.costs)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unibench.site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {}  # rows stay in the order of the ranking
    return environment


def _page(
    environment: jinja2.Environment, folder: Path, template: str, name: str, shown: Mapping[str, Any]
) -> Path:
    text = environment.get_template(template).render(root="../" * name.count("/"), **shown)
    return replace_file(folder / name, text.encode())
