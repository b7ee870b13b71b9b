"""The command that says how much the choice of a protocol matters."""

from pathlib import Path

import click

from unibench.cli.options import OUT, options


@click.command()
@options(
    OUT,
    click.option("-t", "--task", "names", multiple=True,
                 help="Task, or a pattern such as 'vos/*'. Repeatable. Default: all run under several protocols."),
)  # fmt: skip
def sensitivity(out: Path, names: tuple[str, ...]) -> None:
    """Print and write how much scores and ranks move with the protocol: `run -t 'vos/davis2016@*'` first."""
    from unibench.cli import tables
    from unibench.cli.request import expand
    from unibench.report import boards, card_facts, stored
    from unibench.report import sensitivity as report

    scores = stored.scores(out)
    tasks = list(dict.fromkeys(score.task for score in scores))
    chosen = expand("task with results", names or tasks, tasks, f"unibench leaderboard -o {out}")
    kept = [score for score in scores if score.task in chosen]
    found = report.compute(boards.arrange(kept, card_facts.collect(score.model for score in kept), out))
    paths = report.write(found, out)
    for table in report.tables(found, tables.width()):
        tables.show(table)
    for line in report.notes(found) if found else []:
        tables.say(line)
    tables.show_paths(paths)
