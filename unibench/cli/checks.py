"""Commands that say what there is and whether it is sound."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unibench.cli.options import DIRECTORY, JSON, options

if TYPE_CHECKING:
    from unibench.evaluation.self_check import Outcome


@click.command()
@JSON
def tasks(as_json: bool) -> None:
    """List the tasks, their protocols and sources of detections."""
    from unibench.datasets import BENCHMARKS
    from unibench.tasks import registry

    if as_json:
        from unibench.cli import documents

        documents.show_tasks(BENCHMARKS, registry.FAMILIES)
    else:
        from unibench.cli import tables

        tables.show_tasks(BENCHMARKS, registry.FAMILIES)


@click.group()
def data() -> None:
    """Look after data sets."""


@data.command("check")
@click.option(
    "--data", "folder", type=DIRECTORY, required=True, help="Folder that holds the benchmarks' folders."
)
def check_data(folder: Path) -> None:
    """Read every benchmark that is there: clips, frames, what is missing, damaged, and how to get it."""
    from unibench.cli import tables
    from unibench.datasets import BENCHMARKS

    if not tables.check_data(BENCHMARKS, folder):
        sys.exit(1)


@click.command("check")
@options(
    click.option("-t", "--task", "names", multiple=True,
                 help="Task, or a pattern such as '*/synthetic'. Repeatable. Default: all whose data are there."),
    click.option("--data", "folder", type=DIRECTORY, help="Folder with the benchmarks' folders."),
)  # fmt: skip
def check_scores(names: tuple[str, ...], folder: Path | None) -> None:
    """Score predictions with known scores (the truth, nothing, other identities) and demand these scores."""
    from rich.console import Console

    from unibench.cli.request import expand
    from unibench.datasets import BENCHMARKS
    from unibench.evaluation import self_check

    chosen = self_check.choose(expand("task", names, BENCHMARKS, "unibench tasks"), folder)
    outcomes = []
    with Console(stderr=True).status("checking") as status:
        for benchmark, root in chosen:
            status.update(f"checking {benchmark.task}")
            outcomes.append(self_check.check(benchmark, root))
    _show(outcomes)
    if any(outcome.problems for outcome in outcomes):
        sys.exit(1)


def _show(outcomes: Sequence["Outcome"]) -> None:
    """Print one row a task, why a value is what it is, and every problem."""
    from rich.table import Table

    from unibench import plugins
    from unibench.cli import tables
    from unibench.tasks.registry import family_of

    table = Table(title="Predictions with known scores", title_justify="left")
    for column in ("task", "clips", "frames", "metric", "expected values", "all metrics"):
        table.add_column(column, overflow="fold")
    for one in outcomes:
        found = ", ".join(f"{case} {value:.3f}" for case, value in one.found.items())
        state = f"[red]{len(one.problems)} wrong" if one.problems else f"[green]ok[/] ({one.compared} values)"
        table.add_row(one.task, str(one.clips), str(one.frames), one.headline, found, state)
    tables.show(table)
    families: dict[str, list[str]] = {}
    for family in {family.name: family for one in outcomes for family in [family_of(one.task)]}.values():
        for note in plugins.resolve(family.known_answers).notes:
            families.setdefault(note, []).append(family.name)
    for note, names in families.items():
        click.echo(f"{', '.join(names)}: {note}")
    for one in outcomes:
        for problem in one.problems:
            click.echo(f"wrong: {one.task}: {problem}", err=True)
