"""The command that runs what a published table needs, and compares number by number."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unibench.cli.options import DEVICE, DIRECTORY, OneLine, options

if TYPE_CHECKING:
    from unibench.evaluation.evaluate import Evaluation
    from unibench.models.cards import Card
    from unibench.tasks.family import Task

NAMES = (
    "unitrack-table1",
    "unitrack-table2",
    "unitrack-figure6",
    "joint-retinatrack",
    "joint-tdt",
    "joint-unicorn",
    "joint-trivd",
)


@click.command()
@click.argument("name", metavar="NAME", type=click.Choice(NAMES))
@options(
    click.option("-m", "--model", "models", multiple=True,
                 help="With unitrack-...: a model of yours, drawn among the published ones as another run. "
                      "Repeatable."),
    click.option("--data", type=DIRECTORY, help="Folder with the benchmarks' folders."),
    click.option("--weights", "weights_path", type=DIRECTORY, help="Folder that holds the files the cards name."),
    click.option("--detections", type=DIRECTORY,
                 help="Folder of what the papers' detectors gave: mot16/, mots20/, posetrack18/ with <clip>.txt or "
                      "<clip>.json."),
    click.option("--frames", type=click.IntRange(2, 2**31),
                 help="First N frames of each clip; nothing can agree then."),
    click.option("-o", "--out", type=DIRECTORY,
                 help="Folder of the results. Default: results/reproduce; for joint-...: results/joint, where the "
                      "summaries of the experiments lie."),
    DEVICE,
)  # fmt: skip
def reproduce(
    name: str,
    models: tuple[str, ...],
    data: Path | None,
    weights_path: Path | None,
    detections: Path | None,
    frames: int | None,
    out: Path | None,
    device: str,
) -> None:
    """Run what the published table NAME needs and is here, and print published, ours, interval and verdict.

    NAME is unitrack-table1, unitrack-table2, unitrack-figure6, joint-retinatrack, joint-tdt, joint-unicorn or
    joint-trivd.

    A verdict is: agrees, differs, cannot be told, or not run, and why. Nothing is fetched.
    """
    from unibench.cli import pace, tables
    from unibench.evaluation.evaluate import evaluate
    from unibench.experiments import reproduce as report

    if models and not name.startswith("unitrack"):
        raise OneLine(f"-m: models of yours are drawn among UniTrack's, not with {name}; leave it out")
    for option, folder in {"--data": data, "--weights": weights_path, "--detections": detections}.items():
        if folder and not folder.is_dir():
            raise OneLine(f"{option} {folder}: no such folder; correct it, or leave it out")
    here = report.Here(data, weights_path, detections)
    out = out or Path("results", "reproduce" if name.startswith("unitrack") else "joint")

    def run(cards: "Sequence[Card]", tasks: "Sequence[Task]", layers: Sequence[str]) -> "Evaluation":
        with pace.shown(f"{', '.join(card.name for card in cards)} {' '.join(layers)}") as (end, step):
            return evaluate(
                cards, tasks, output=out, data=data, weights_path=weights_path, layers=layers, frames=frames,
                device=device, command=sys.argv, progress=end, on_step=step,
            )  # fmt: skip

    compared = report.reproduce(name, here, run, frames)
    if any(one.score for one in compared):
        tables.show(report.table(name, compared))
    for line in [*report.counts(compared), *report.directions(name, out)]:
        tables.say(line)
    paths = [report.write(name, compared, out)]
    if models:
        paths += report.draw_beside(models, here, run, out)
    tables.show_paths(paths)
