"""Commands that share one sweep among machines: plan it, work on a shard of it, merge what came out."""

import sys
from pathlib import Path

import click

from unibench.cli.options import (
    ANY_PATH,
    DEVICE,
    DIRECTORY,
    OFFLINE,
    OUT,
    OVERWRITE,
    PLUGIN,
    PREDICTIONS,
    options,
)
from unibench.cli.request import SELECTION, select

FILE = click.Path(dir_okay=False, path_type=Path)


def one_of(text: str) -> tuple[int, int]:
    """Read `i/n`: the i-th of n shards, counted from 1."""
    first, _, last = text.partition("/")
    if first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last):
        return int(first), int(last)
    raise click.BadParameter(f"{text!r} is not I/N with 1 <= I <= N, such as 2/7")


@click.command()
@options(
    *SELECTION,
    click.option("-o", "--out", "path", type=FILE, required=True, help="The plan: a JSON file."),
    OFFLINE,
    PLUGIN,
)  # fmt: skip
def plan(
    models: tuple[str, ...], tasks: tuple[str, ...], data: Path | None, weights_path: Path | None, layers: str,
    frames: int | None, classes: str, detections: str | None, windowing: str, dtype: str | None,
    compiled: bool, path: Path,
) -> None:  # fmt: skip
    """Write down a sweep, so that many machines can share it: see `work` and `merge`."""
    from unibench.evaluation import plan_file
    from unibench.evaluation.units import list_units
    from unibench.results.atomic import replace_file

    chosen = select(
        models, tasks, layers, detections, dtype, compiled=compiled, classes=classes, windowing=windowing
    )
    units = list_units(
        chosen.cards, chosen.tasks, data, weights_path=weights_path, layers=chosen.layers, frames=frames
    )
    made = plan_file.make(units, data=data, weights_path=weights_path, dtype=dtype, compiled=compiled)
    replace_file(path, plan_file.dump(made))
    click.echo(f"{path}: {len(units)} clips to score; next, on machine I of N:")
    click.echo(f"  unibench work {path} --shard I/N -o DIR")


@click.command()
@click.argument("path", metavar="PLAN.JSON", type=FILE)
@options(
    click.option("--shard", type=one_of, default="1/1", show_default=True, metavar="I/N",
                 help="The I-th of N shards, counted from 1."),
    OUT,
    click.option("--data", type=DIRECTORY, help="Folder with the benchmarks' folders, if not the plan's."),
    click.option("--weights", "weights_path", type=ANY_PATH, help="Weights file or folder, if not the plan's."),
    DEVICE,
    OVERWRITE,
    PREDICTIONS,
    OFFLINE,
    PLUGIN,
)  # fmt: skip
def work(
    path: Path, shard: tuple[int, int], out: Path, data: Path | None, weights_path: Path | None, device: str,
    overwrite: str, keep_predictions: bool,
) -> None:  # fmt: skip
    """Score one shard of a plan, clip by clip; running the same command again does only what is missing."""
    from unibench.cli import progress
    from unibench.evaluation import plan_file

    progress.work(
        plan_file.read(path), shard, out,
        data=data, weights_path=weights_path, device=device, overwrite=overwrite == "always",
        keep_predictions=keep_predictions,
    )  # fmt: skip


@click.command()
@options(OUT, PLUGIN)
def merge(out: Path) -> None:
    """Pool what the shards of a plan left in a folder, and write the boards; needs neither data nor weights.

    Exits with code 1, and marks the rows as partial, where something is missing.
    """
    from unibench.cli import progress

    progress.merge(out, sys.argv)
