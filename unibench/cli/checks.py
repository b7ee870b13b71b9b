"""Commands that say what there is and whether it is sound."""

import sys
from pathlib import Path

import click

from unibench.cli.common import DIRECTORY


@click.command()
def tasks() -> None:
    """List the tasks, their protocols and sources of detections."""
    from unibench import listing, protocols
    from unibench.datasets import BENCHMARKS

    listing.show_tasks(BENCHMARKS, protocols.PROTOCOLS)


@click.group()
def data() -> None:
    """Look after data sets."""


@data.command("check")
@click.option(
    "--data", "folder", type=DIRECTORY, required=True, help="Folder that holds the benchmarks' folders."
)
def check_data(folder: Path) -> None:
    """Read every benchmark that is there: clips, frames, what is missing, damaged, and how to get it."""
    from unibench import listing
    from unibench.datasets import BENCHMARKS

    if not listing.check_data(BENCHMARKS, folder):
        sys.exit(1)
