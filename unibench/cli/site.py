"""The command that writes a site."""

import re
from pathlib import Path

import click

from unibench.cli.options import DIRECTORY, OUT, PLUGIN, OneLine, options


def _clips(context: click.Context, parameter: click.Parameter, text: str) -> int | None:
    """How many clips of each task get a page; None: all."""
    if text in ("all", "none"):
        return None if text == "all" else 0
    if not (read := re.fullmatch(r"worst:([1-9][0-9]{0,8})", text)):
        raise OneLine(f"--clips {text!r}: expected worst:N, all or none; N is a number of clips of each task")
    return int(read[1])


@click.command()
@options(
    OUT,
    click.option("--to", "folder", type=DIRECTORY, required=True, help="Folder of the site."),
    click.option("--data", type=DIRECTORY, help="Folder with the benchmarks' folders, for pages of clips."),
    click.option("--clips", default="worst:5", show_default=True, metavar="worst:N|all|none", callback=_clips,
                 help="Clips of each task that get a page."),
    click.option("--frames", is_flag=True,
                 help="Copy frames of data sets, which are often for research only. Rendered ones are always shown."),
    PLUGIN,
)  # fmt: skip
def site(out: Path, folder: Path, data: Path | None, clips: int | None, frames: bool) -> None:
    """Write a static site of the results: boards, clips with what was predicted, models, methods.

    It opens from the disk and from any web server, and asks nothing of any other place.
    """
    from unibench.site import build

    built = build.build(out, folder, data=data, clips=clips, frames=frames)
    for note in built.notes:
        click.echo(note, err=True)
    click.echo(f"site: {built.start.resolve().as_uri()}")
