"""Commands that write boards and figures from the stored scores."""

from collections.abc import Callable
from pathlib import Path

import click

from unibench.cli.common import OUT


@click.command()
@OUT
def leaderboard(out: Path) -> None:
    """Write leaderboard.csv and long.csv from the stored scores, and print the table."""
    from unibench import listing, scores
    from unibench.report import facts
    from unibench.report import leaderboard as board

    stored = scores.read_scores(out)
    known = facts.collect(score.model for score in stored)
    paths = board.write(stored, known, out)
    listing.show(board.table(stored, known))
    listing.show_paths(paths)


@click.group()
def plot() -> None:
    """Draw figures from the stored scores."""


@plot.command("radar")
@OUT
def plot_radar(out: Path) -> None:
    """Write radar.svg and radar.png: ranks of the models, one axis a task."""
    from unibench.report import radar

    _plot(out, radar.write)


@plot.command("correlation")
@OUT
def plot_correlation(out: Path) -> None:
    """Write correlation.csv and correlation.svg: task against ImageNet accuracy, task against task."""
    from unibench.report import correlation

    _plot(out, correlation.write)


def _plot(out: Path, write: Callable[..., list[Path]]) -> None:
    from unibench import listing, scores
    from unibench.report import facts

    stored = scores.read_scores(out)
    listing.show_paths(write(stored, facts.collect(score.model for score in stored), out))
