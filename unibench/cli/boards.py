"""Commands that write boards and figures from the stored scores."""

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unibench.cli.options import DIRECTORY, JSON, OUT, OneLine, options

if TYPE_CHECKING:
    from unibench.records import Score
    from unibench.report.boards import Board
    from unibench.report.costs import Costs
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
@options(
    click.option("-o", "--out", type=DIRECTORY, help="Folder of the results."),
    click.option("-t", "--task", "tasks", multiple=True,
                 help="Task, or a pattern such as 'mot/*': print these alone, with what papers printed. Repeatable."),
    click.option("--published", is_flag=True, help="Show what papers printed: below the board, or alone."),
    click.option("--latex", is_flag=True, help="Write leaderboard.tex too."),
    click.option("--intervals", is_flag=True, help="With --latex: print the 95 % interval below each number."),
    CLEAN,
    JSON,
)  # fmt: skip
def leaderboard(
    out: Path | None,
    tasks: tuple[str, ...],
    published: bool,
    latex: bool,
    intervals: bool,
    clean: bool,
    as_json: bool,
) -> None:
    """Write leaderboard.csv and long.csv from the stored scores, and print the table.

    With --published, what papers printed on the same tasks stands below, never ranked with it, and is written to
    published.csv. Without a folder that holds results, --published prints every table of the papers, and writes each
    as a CSV of its own where a folder is given.

    With -t, own scores and published ones stand in one table a task, line by line with their protocols; nothing is
    written.

    With --json, every metric is printed, as records, with how rows stand to the best; -t chooses tasks.
    """
    if as_json and (published or latex):
        raise OneLine("--json: goes with -o, -t and --clean alone; leave out --published and --latex")
    if tasks and not as_json:
        if latex:
            raise OneLine("--latex: writes whole boards; leave out -t")
        _show_tasks(tasks, out, clean=clean)
        return
    from unibench.cli import tables
    from unibench.report import costs, published_tables
    from unibench.report import latex as tex
    from unibench.report import leaderboard as report
    from unibench.results import store

    if published and not latex and not (out and store.result_files(out)):
        _show_papers(out)
        return
    if not out:
        raise click.UsageError("Missing option '-o' / '--out'.")
    board, tied = _read(out, tasks, clean=clean)
    known = costs.read(board, out)
    if as_json:
        from unibench.cli import documents

        documents.show_board(board, tied, known, report.notes(board, tied))
        return
    paths = report.write(board, out, tied, known)
    if latex:
        paths.append(tex.write(board, out, tied, intervals=intervals))
    _show(board, tied, known)
    if published:
        names = [setting.task for setting in board.settings]
        for printed in published_tables.beside(names):
            tables.show(*published_tables.tables(printed, tables.width()))
        paths += published_tables.write_beside(names, out)
    tables.show_paths(paths)


def _read(out: Path, patterns: Sequence[str] = (), *, clean: bool = False) -> "tuple[Board, Ties]":
    """The board of a folder, or of some of its tasks, and how its rows stand to the best."""
    from unibench.report import boards, card_facts, compare, stored

    scores = _chosen(stored.scores(out), patterns)
    scores = card_facts.clean(scores) if clean else scores
    board = boards.arrange(scores, card_facts.collect(score.model for score in scores), out)
    return board, compare.ties(board, out)


def _chosen(scores: "list[Score]", patterns: Sequence[str]) -> "list[Score]":
    """The scores of some tasks; no pattern: all."""
    from unibench.cli.request import expand

    tasks = list(dict.fromkeys(score.task for score in scores))
    chosen = expand("task with results", patterns, tasks, "unibench tasks") if patterns else tasks
    return [score for score in scores if score.task in chosen]


def _show(board: "Board", tied: "Ties", known: "Costs") -> None:
    """Print a board and what its rows cost, and what its signs mean."""
    from unibench.cli import tables
    from unibench.report import costs, leaderboard

    width = tables.width()
    tables.show(*leaderboard.tables(board, tied, width), *leaderboard.cost_tables(board, known, width))
    for line in [leaderboard.ABOUT, *leaderboard.notes(board, tied), *costs.notes(known)]:
        tables.say(line)


def _show_tasks(patterns: Sequence[str], out: Path | None, *, clean: bool) -> None:
    """Print what is known of some tasks: own scores, and below them those of papers."""
    from unibench.cli import tables
    from unibench.errors import UnknownNameError
    from unibench.models.cards import JOINT
    from unibench.report import boards, card_facts, published, published_tables, stored

    found = stored.scores(out) if out else []
    scores = [one for one in found if any(fnmatchcase(one.task, pattern) for pattern in patterns)]
    scores = card_facts.clean(scores) if clean else scores
    known = card_facts.collect(score.model for score in scores)
    laid = published_tables.lines(patterns, boards.arrange(scores, known, out) if scores else None)
    if not laid:
        there = {*(one.task for one in found), *published.TASKS.values()}
        raise UnknownNameError("task with results or published numbers", patterns[0], there, "unibench tasks")
    for one in laid:
        tables.show(*published_tables.tables(one, tables.width()))
    if any(score.layer == JOINT for score in scores):
        tables.say(boards.SIGN_NOTE)


def _show_papers(out: Path | None) -> None:
    from unibench.cli import tables
    from unibench.report import published_tables

    for one in published_tables.papers():
        tables.show(*published_tables.tables(one, tables.width()))
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

    _plot(
        out, lambda board, folder, _: correlation.write(board, folder), "6" if published else "", clean=clean
    )


@plot.command("series")
@OUT
def plot_series(out: Path) -> None:
    """Write series.svg, series.png and series.csv: score against epoch, of the checkpoints of a training."""
    from unibench.cli import tables
    from unibench.report import boards, series, stored

    tables.show_paths(series.write(boards.arrange(stored.scores(out), out=out), out))


@plot.command("pareto")
@OUT
@click.option("--cost", type=click.Choice(["ms", "GFLOPs", "MB", "parameters"]), default="ms", show_default=True,
              help="Of a frame; times of several machines are not put on one axis.")  # fmt: skip
@CLEAN
def plot_pareto(out: Path, cost: str, clean: bool) -> None:
    """Write pareto.svg and pareto.png: quality against cost; a front where the paired test tells its rows apart."""
    from unibench.cli import tables
    from unibench.report import costs, pareto

    board, _ = _read(out, clean=clean)
    tables.show_paths(pareto.write(board, costs.read(board, out), out, cost))


def _plot(out: Path, write: "Callable[[Board, Path, Ties], list[Path]]", figure: str, *, clean: bool) -> None:
    """Draw from the stored scores; or a figure of UniTrack from the published ones."""
    from unibench.cli import tables
    from unibench.report import boards, published
    from unibench.report.leaderboard import NO_TIES
    from unibench.results import store

    if figure:
        if store.result_files(out) or Path(out, "long.csv").exists():
            raise OneLine(
                f"{out}: holds boards of runs, whose figure this would replace; choose another folder"
            )
        tables.show_paths(write(boards.arrange(*published.figure(figure)), out, NO_TIES))
        return
    board, tied = _read(out, clean=clean)
    tables.show_paths(write(board, out, tied))


def report(out: Path) -> None:
    """Write the boards from the stored scores and print the table."""
    from unibench.cli import tables
    from unibench.report import correlation, costs, leaderboard, radar

    board, tied = _read(out)
    known = costs.read(board, out)
    paths = [
        *leaderboard.write(board, out, tied, known),
        *radar.write(board, out, tied),
        *correlation.write(board, out),
    ]
    _show(board, tied, known)
    tables.show_paths(paths)
