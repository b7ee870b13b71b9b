"""The command that says whether one of two models is better."""

from pathlib import Path

import click

from unibench.cli.options import OUT


@click.command()
@click.argument("first")
@click.argument("second")
@OUT
@click.option(
    "-t",
    "--task",
    "tasks",
    multiple=True,
    help="Task, task@protocol, or a pattern. Default: all that both have.",
)
@click.option("--metric", default="", help="Compare this metric. Default: the headline of each task.")
def compare(first: str, second: str, out: Path, tasks: tuple[str, ...], metric: str) -> None:
    """Say whether FIRST or SECOND is better, from the stored results.

    FIRST and SECOND are models, or model:layer; without a layer, each task's better one. Every task is tested on the
    clips that both models have: paired bootstrap interval, sign-flip permutation test, Holm-adjusted over the tasks.
    """
    from unibench.cli import tables
    from unibench.report import compare as comparing
    from unibench.report import comparison

    found = comparing.compare(out, first, second, asked=tasks, metric=metric)
    tables.show(comparison.table(found))
    for line in comparison.notes(found):
        tables.say(line)
    tables.show_paths([comparison.write(found, out)])
