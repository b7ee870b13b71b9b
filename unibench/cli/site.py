"""The command that writes a site."""

from pathlib import Path

import click

from unibench.cli.options import DIRECTORY, OUT, PLUGIN, options


@click.command()
@options(
    OUT,
    click.option("--to", "folder", type=DIRECTORY, required=True, help="Folder of the site."),
    PLUGIN,
)  # fmt: skip
def site(out: Path, folder: Path) -> None:
    """Write a static site of the results: boards, clips with what was predicted, models, methods.

    It opens from the disk and from any web server, and asks nothing of any other place.
    """
    from unibench.site import build

    click.echo(f"site: {build.build(out, folder).resolve().as_uri()}")
