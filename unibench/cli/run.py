"""Commands that score models."""

import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import click

from unibench.cli.common import (
    ANY_PATH,
    BUDGET,
    DEVICE,
    DIRECTORY,
    OFFLINE,
    OUT,
    OVERWRITE,
    PLUGIN,
    OneLine,
    options,
    plugins_asked,
)
from unibench.errors import UnknownNameError

ASKED = (
    click.option("-m", "--model", "models", multiple=True,
                 help="Model card: its name, a pattern ('random-*'), or a file (DIR/NAME.toml). Repeatable."),
    click.option("-t", "--task", "tasks", multiple=True, required=True,
                 help="Task, task@protocol, or a pattern: '*/synthetic', 'vos/davis2016@*'. Repeatable."),
    click.option("--data", type=DIRECTORY, help="Folder with the benchmarks' folders."),
    click.option("--weights", type=ANY_PATH, help="Weights file, or the folder that holds the files the cards name."),
    click.option("--layers", default="", help="Layers to score, separated by commas. Default: the card's."),
    click.option("--frames", type=click.IntRange(min=2), help="First N frames of each clip; rows are marked partial."),
    click.option("--detections", help="Source of given detections: public, oracle, oracle+noise, or a folder."),
    click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]),
                 help="What networks compute in; changes scores a little. Default: the card's, usually float32."),
    click.option("--compile", "compiled", is_flag=True,
                 help="Compile networks first (torch.compile); changes scores in the last digits."),
)  # fmt: skip
"""What is to be scored."""


@click.command()
@options(
    *ASKED,
    OUT,
    DEVICE,
    OVERWRITE,
    click.option("--executor", default="local", show_default=True,
                 help="Who does the work: local, submitit (a Slurm cluster), ray, or another that is installed."),
    click.option("--workers", type=click.IntRange(min=1),
                 help="How many clips at a time, one thread each. Default: one a device."),
    click.option("--cache", type=DIRECTORY, metavar="DIR",
                 help="Keep feature maps there, as float16, and run no network for those that are there."),
    BUDGET,
    click.option("--checkpoint", type=ANY_PATH, help="Weights of a model without a card; needs --arch."),
    click.option("--arch", help="Its architecture, as torchvision or timm name it."),
    click.option("--save-card", metavar="NAME", help="Keep that model as model_cards/NAME.toml."),
    OFFLINE,
    PLUGIN,
)  # fmt: skip
def run(
    models: tuple[str, ...], tasks: tuple[str, ...], data: Path | None, out: Path, weights: Path | None, layers: str,
    frames: int | None, detections: str | None, dtype: str | None, compiled: bool, device: str, overwrite: str,
    executor: str, workers: int | None, cache: Path | None, budget: int, checkpoint: Path | None, arch: str | None,
    save_card: str | None,
) -> None:  # fmt: skip
    """Score models on tasks; running the same command again does only what is missing."""
    from unibench.cli import progress
    from unibench.features.cache import FeatureCache
    from unibench.models import cards, draft_card
    from unibench.tasks import registry as table

    chosen = [cards.find(name) for name in expand("model card", models, cards.paths(), "unibench models")]
    weights = weights or next((Path(name).parent for name in models if name.endswith(".toml")), None)
    if checkpoint or arch or save_card:
        if not checkpoint or not arch:
            raise OneLine("--checkpoint and --arch go together; give both")
        card, report = draft_card.draft(checkpoint, arch, save_card)
        progress.say(f"{card.name}: {report}")
        if save_card:
            progress.say(f"card written: {draft_card.save(card)}")
        chosen.append(card)
        weights = weights or checkpoint.parent
    if not chosen:
        raise OneLine("no model; name one with -m (see: unibench models) or give --checkpoint and --arch")
    asked = [table.find(name, detections) for name in expand_tasks(tasks)]
    wanted = tuple(name for name in layers.split(",") if name)
    running = [cards.running(card, dtype, compiled=compiled) for card in chosen]
    request = progress.Request(
        running, asked, out, sys.argv, data, weights, wanted, frames, device, always=overwrite == "always",
        executor=executor, workers=workers, plugins=plugins_asked(),
        features=FeatureCache(cache.resolve(), budget) if cache else None,
    )  # fmt: skip
    progress.perform(request)


def expand(kind: str, names: Iterable[str], known: Iterable[str], hint: str) -> list[str]:
    """Replace patterns by the names that they match, in the order in which these are known."""
    expanded: dict[str, None] = {}
    for name in names:
        matches = [one for one in known if fnmatchcase(one, name)] if set(name) & set("*?[") else [name]
        if not matches:
            raise UnknownNameError(kind, name, known, hint)
        expanded |= dict.fromkeys(matches)
    return list(expanded)


def expand_tasks(names: Iterable[str]) -> list[str]:
    """Replace patterns before and behind the @; one behind it stands for the presets of each task's family."""
    from unibench.datasets import BENCHMARKS
    from unibench.tasks.protocols import PROTOCOLS

    expanded: dict[str, None] = {}
    for name in names:
        pattern, at, protocol = name.partition("@")
        for task in expand("task", [pattern], BENCHMARKS, "unibench tasks"):
            if task not in BENCHMARKS:
                raise UnknownNameError("task", task, BENCHMARKS, "unibench tasks")
            family = task.partition("/")[0]
            matches = expand(f"protocol of {family!r}", [protocol], PROTOCOLS[family], "unibench tasks")
            expanded |= dict.fromkeys(task + at + preset for preset in matches)
    return list(expanded)


@click.command()
@options(
    click.option("-o", "--out", type=DIRECTORY, default=Path("results/quickstart"), show_default=True,
                 help="Folder of the results."),
    DEVICE,
    OVERWRITE,
)  # fmt: skip
def quickstart(out: Path, device: str, overwrite: str) -> None:
    """Run five models through all tasks on rendered clips: no data set, no download of weights."""
    from unibench.cli import progress

    progress.quickstart(out, device=device, always=overwrite == "always", command=sys.argv)
