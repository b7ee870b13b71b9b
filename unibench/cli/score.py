"""Commands that read what runs have predicted."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unibench.cli.options import DIRECTORY, OUT, PLUGIN, OneLine, options

if TYPE_CHECKING:
    from unibench.results.store import RunKey

_MODELS = click.option("-m", "--model", "models", multiple=True,
                       help="Model, or a pattern ('random-*'). Repeatable. Default: all.")  # fmt: skip
_TASKS = click.option("-t", "--task", "tasks", multiple=True,
                      help="Task, task@protocol, or a pattern: 'vos/*'. Repeatable. Default: all.")  # fmt: skip
_DATA = click.option("--data", type=DIRECTORY, help="Folder with the benchmarks' folders.")


@click.command()
@click.argument("folder", required=False, type=DIRECTORY)
@options(
    OUT,
    _MODELS,
    _TASKS,
    click.option("--name", help="With FOLDER: what boards call the tracker."),
    _DATA,
    PLUGIN,
)  # fmt: skip
def score(
    folder: Path | None, out: Path, models: tuple[str, ...], tasks: tuple[str, ...], name: str | None,
    data: Path | None,
) -> None:  # fmt: skip
    """Score what was predicted, without any network, and write every board.

    Without FOLDER: the predictions that runs have kept, for instance after the scoring has changed. With FOLDER: files
    of any tracker in the format that `unibench export` writes for the task, one for each clip; -t and --name say what
    they are. They stand under the protocol `external`, in a column of their own.
    """
    from unibench.cli.boards import report
    from unibench.evaluation import external, score_again

    if folder is not None:
        if len(tasks) != 1 or not name or models:
            raise OneLine(f"{folder}: files of a tracker need one -t and a --name, and no -m")
        scores = external.score_files(folder, tasks[0], name, out, data)
        click.echo(
            f"{name} {scores[0].task}@{scores[0].protocol}: {scores[0].clips} clips, {scores[0].frames} frames"
        )
    else:
        if name:
            raise OneLine("--name goes with a FOLDER of files; leave it out")
        for one in score_again.score_runs(out, find_runs(out, models, tasks), data):
            run, what = one.run, f"{one.clips} clips, {one.changed} with other counts"
            click.echo(f"{run.model} {run.task}@{run.protocol} {run.layer}: {what}")
    report(out)


@click.command()
@options(
    OUT,
    click.option("-m", "--model", required=True, help="Model: its name as it stands on the board."),
    click.option("-t", "--task", required=True, help="Task or task@protocol."),
    click.option("--layers", "layer", help="One layer, where several were scored."),
    click.option("--to", "folder", type=DIRECTORY, required=True, help="Folder of the files."),
    _DATA,
    PLUGIN,
)  # fmt: skip
def export(
    out: Path, model: str, task: str, layer: str | None, folder: Path, data: Path | None
) -> None:  # fmt: skip
    """Write what a run has predicted in the benchmark's own format: for its server, or for TrackEval."""
    from unibench.datasets import exchange
    from unibench.evaluation import export as exporting

    run = find_run(out, model, task, layer)
    form = exchange.find(run.task)
    clips = exporting.export(out, run, folder, data)
    click.echo(f"{folder}: {len(clips)} clips as {form.name} ({form.layout}); not kept: {form.loss}")


def find_run(out: Path, model: str, task: str, layer: str | None) -> "RunKey":
    """Choose the only result in a folder that fits.

    Raises:
        OneLine: None fits, or several do.
    """
    found = [run for run in find_runs(out, [model], [task]) if layer in (None, run.layer)]
    if len(found) != 1:
        there = ", ".join(
            f"{run.model} ({run.fingerprint}) {run.task}@{run.protocol} {run.layer}" for run in found
        )
        raise OneLine(
            f"{len(found)} results fit, expected one; say which with -m, -t and --layers: {there or 'none'}"
        )
    return found[0]


def find_runs(out: Path, models: Sequence[str], tasks: Sequence[str]) -> "list[RunKey]":
    """Choose among the results in a folder.

    Args:
        out: Root folder of the results.
        models: Names or patterns; none: all.
        tasks: Names or patterns, with or without a protocol; none: all.

    Raises:
        OneLine: Nothing there fits.
    """
    from unibench.results import store

    runs = list(dict.fromkeys(map(store.run_of, store.read_scores(out))))
    found = [
        run
        for run in runs
        if _fits([run.model], models) and _fits([run.task, f"{run.task}@{run.protocol}"], tasks)
    ]
    if not found:
        there = ", ".join(sorted({f"{run.model} {run.task}@{run.protocol}" for run in runs}))
        raise OneLine(f"{out}: no result of {' '.join([*models, *tasks])!r}; there are: {there}")
    return found


def _fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
