"""Commands that write boards and figures from the stored scores."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unibench.cli.options import DIRECTORY, OUT, OneLine

if TYPE_CHECKING:
    from unibench.report.boards import Board
    from unibench.report.leaderboard import Ties

PUBLISHED = click.option(
    "--published",
    is_flag=True,
    help="Draw the paper's own figure from its printed tables, with no results of runs.",
)

CLEAN = click.option(
    "--clean",
    is_flag=True,
    help="Leave out models on benchmarks whose clips they were trained on, as their cards say.",
)


@click.command()
@click.option("-o", "--out", type=DIRECTORY, help="Folder of the results.")
@click.option("--published", is_flag=True, help="Show what papers printed: below the board, or alone.")
@click.option("--latex", is_flag=True, help="Write leaderboard.tex too.")
@click.option("--intervals", is_flag=True, help="With --latex: print the 95 % interval below each number.")
@CLEAN
@click.option(
    "-t",
    "--family",
    "families",
    multiple=True,
    help="Print this family alone (mot), with what papers printed.",
)
def leaderboard(
    out: Path | None, published: bool, latex: bool, intervals: bool, clean: bool, families: tuple[str, ...]
) -> None:
    """Write leaderboard.csv and long.csv from the stored scores, and print the table.

    With --published, what papers printed on the same tasks stands below, never ranked with it, and is written to
    published.csv. Without a folder that holds results, --published prints every table of the papers, and writes each
    as a CSV of its own where a folder is given.

    With -t, own scores and published ones of a family stand in one table a task, line by line with their protocols;
    nothing is written.
    """
    if families:
        _show_families(families, out)
        return
    from unibench.cli import tables
    from unibench.report import boards, card_facts, published_tables, stored
    from unibench.report import latex as tex
    from unibench.report import leaderboard as report
    from unibench.results import store

    if published and not latex and not (out and store.result_files(out)):
        _show_papers(out)
        return
    if not out:
        raise click.UsageError("Missing option '-o' / '--out'.")
    from unibench.report import compare  # pools tallies: slow to import

    scores = card_facts.clean(stored.scores(out)) if clean else stored.scores(out)
    board = boards.arrange(scores, card_facts.collect(score.model for score in scores), out)
    tied = compare.ties(board, out)
    paths = report.write(board, out, tied)
    if latex:
        paths.append(tex.write(board, out, tied, intervals=intervals))
    _show(board, tied)
    if published:
        tasks = [score.task for score in scores]
        for printed in published_tables.beside(tasks):
            tables.show(published_tables.table(printed))
        paths += published_tables.write_beside(tasks, out)
    tables.show_paths(paths)


def _show(board: "Board", tied: "Ties") -> None:
    """Print a board, and what its signs mean."""
    from unibench.cli import tables
    from unibench.report import leaderboard

    for one in leaderboard.tables(board, tied, tables.width()):
        tables.show(one)
    for line in [leaderboard.ABOUT, *leaderboard.notes(board, tied)]:
        tables.say(line)


def _show_families(families: Sequence[str], out: Path | None) -> None:
    from unibench.cli import tables
    from unibench.models.cards import JOINT
    from unibench.report import boards, card_facts, published_tables, stored
    from unibench.tasks.registry import family_of

    for name in families:
        family_of(name)
    found = stored.scores(out) if out else []
    scores = [one for one in found if one.task.partition("/")[0] in families]
    known = card_facts.collect(score.model for score in scores)
    for one in published_tables.lines(families, boards.arrange(scores, known, out) if scores else None):
        tables.show(published_tables.table(one))
    if any(score.layer == JOINT for score in scores):
        tables.say(boards.SIGN_NOTE)


def _show_papers(out: Path | None) -> None:
    from unibench.cli import tables
    from unibench.report import published_tables

    for one in published_tables.papers():
        tables.show(published_tables.table(one))
    tables.show_paths(published_tables.write_papers(out) if out else [])


@click.group()
def plot() -> None:
    """Draw figures from the stored scores."""


@plot.command("radar")
@OUT
@PUBLISHED
@CLEAN
def plot_radar(out: Path, published: bool, clean: bool) -> None:
    """Write radar.svg and radar.png: ranks of the models, one axis a task."""
    from unibench.report import radar

    _plot(out, radar.write, "1" if published else "", clean=clean)


@plot.command("correlation")
@OUT
@PUBLISHED
@CLEAN
def plot_correlation(out: Path, published: bool, clean: bool) -> None:
    """Write correlation.csv and correlation.svg: task against ImageNet accuracy, task against task."""
    from unibench.report import correlation

    _plot(out, correlation.write, "6" if published else "", clean=clean)


@plot.command("series")
@OUT
def plot_series(out: Path) -> None:
    """Write series.svg, series.png and series.csv: score against epoch, of the checkpoints of a training."""
    from unibench.cli import tables
    from unibench.report import boards, series, stored

    tables.show_paths(series.write(boards.arrange(stored.scores(out), out=out), out))


def _plot(out: Path, write: Callable[..., list[Path]], figure: str, *, clean: bool) -> None:
    """Draw from the stored scores; or a figure of UniTrack from the published ones."""
    from unibench.cli import tables
    from unibench.report import boards, card_facts, published, stored
    from unibench.results import store

    if figure:
        if store.result_files(out) or Path(out, "long.csv").exists():
            raise OneLine(
                f"{out}: holds boards of runs, whose figure this would replace; choose another folder"
            )
        tables.show_paths(write(boards.arrange(*published.figure(figure)), out))
        return
    scores = card_facts.clean(stored.scores(out)) if clean else stored.scores(out)
    known = card_facts.collect(score.model for score in scores)
    tables.show_paths(write(boards.arrange(scores, known, out), out))


def report(out: Path) -> None:
    """Write the boards from the stored scores and print the table."""
    from unibench.cli import tables
    from unibench.report import boards, card_facts, compare, correlation, leaderboard, radar, stored

    scores = stored.scores(out)
    board = boards.arrange(scores, card_facts.collect(score.model for score in scores), out)
    tied = compare.ties(board, out)
    paths = [
        *leaderboard.write(board, out, tied),
        *radar.write(board, out),
        *correlation.write(board, out),
    ]
    _show(board, tied)
    tables.show_paths(paths)
