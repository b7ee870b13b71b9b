"""Commands that score models."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unibench.cli.options import (
    ANY_PATH,
    BUDGET,
    DEVICE,
    DIRECTORY,
    OFFLINE,
    OUT,
    OVERWRITE,
    PLUGIN,
    PREDICTIONS,
    OneLine,
    options,
    plugins_asked,
)
from unibench.cli.request import SELECTION, scales_of, select

if TYPE_CHECKING:
    from unibench.models.cards import Card, Series


@click.command()
@options(
    *SELECTION,
    click.option("--scales", metavar="S,S,...", callback=scales_of, default="1",
                 help="Resize images by these factors before the network sees them, each a model of its own on boards: "
                      "'0.5,1,2'; then choose: unibench select."),
    OUT,
    DEVICE,
    OVERWRITE,
    PREDICTIONS,
    click.option("--executor", default="local", show_default=True,
                 help="Who does the work: local, submitit (a Slurm cluster), ray, or another that is installed."),
    click.option("--workers", type=click.IntRange(min=1),
                 help="How many clips at a time, one thread each. Default: one a device."),
    click.option("--cache", type=DIRECTORY, metavar="DIR",
                 help="Keep feature maps there, as float16, and run no network for those that are there."),
    BUDGET,
    click.option("--checkpoint", type=ANY_PATH,
                 help="Weights of a model without a card; needs --arch or --like. A pattern ('ckpt-*.pth') names a "
                      "series of one training, see: unibench plot series."),
    click.option("--arch", help="Its architecture, as torchvision or timm name it."),
    click.option("--like", metavar="CARD", help="A model of the same training: architecture, preprocessing and layers "
                                                "are its card's."),
    click.option("--allow-random", multiple=True, metavar="PATTERN",
                 help="Backbone tensors that may stay random where the checkpoint lacks them ('conv1.*'); rows say so. "
                      "Repeatable."),
    click.option("--save-card", metavar="NAME",
                 help="Keep that model, or the one of a library that -m names, as model_cards/NAME.toml."),
    OFFLINE,
    PLUGIN,
)  # fmt: skip
def run(
    models: tuple[str, ...], tasks: tuple[str, ...], data: Path | None, out: Path, weights_path: Path | None,
    layers: str, frames: int | None, classes: str, detections: str | None, windowing: str, dtype: str | None,
    compiled: bool, scales: tuple[float, ...],
    device: str, overwrite: str, keep_predictions: bool, executor: str, workers: int | None, cache: Path | None,
    budget: int, checkpoint: Path | None, arch: str | None, like: str | None, allow_random: tuple[str, ...],
    save_card: str | None,
) -> None:  # fmt: skip
    """Score models on tasks; running the same command again does only what is missing."""
    from unibench.cli import progress
    from unibench.models.cards import scaled

    if checkpoint and weights_path and weights_path.is_file():
        raise OneLine(f"--weights {weights_path}: the weights are those of --checkpoint; leave --weights out")
    asked = checkpoint or arch or like or allow_random or (save_card is not None and not models)
    drafted = _draft(checkpoint, arch, like, allow_random, save_card) if asked else []
    chosen = select(
        models,
        tasks,
        layers,
        detections,
        dtype,
        compiled=compiled,
        classes=classes,
        windowing=windowing,
        drafted=drafted,
    )
    _show_derived(chosen.cards, None if asked else save_card)
    chosen = replace(chosen, cards=[scaled(card, scale) for card in chosen.cards for scale in scales])
    progress.run(
        chosen, out, data=data, weights_path=weights_path, frames=frames, device=device,
        overwrite=overwrite == "always", executor=executor, workers=workers, plugins=plugins_asked(),
        cache=(cache, budget) if cache else None, keep_predictions=keep_predictions,
    )  # fmt: skip


def _show_derived(chosen: "Sequence[Card]", name: str | None) -> None:
    """Print the cards that were derived from a library, and save the one that is to be kept under a name."""
    derived = [card for card in chosen if card.derived_from]
    if not derived and name is None:
        return
    from unibench.cli import tables
    from unibench.models import draft_card  # loads torch

    for card in derived:
        tables.say(f"# {card.name}, derived from {card.derived_from}\n{draft_card.dump(card)}")
    if name is None:
        return
    if len(derived) != 1:
        raise OneLine(f"--save-card {name}: {len(derived)} cards were derived, expected one; name one model of a "
                      "library with -m, or give --checkpoint")  # fmt: skip
    tables.say(f"card written: {draft_card.save(replace(derived[0], name=name))}")


def _draft(
    checkpoint: Path | None,
    arch: str | None,
    like: str | None,
    allow_random: tuple[str, ...],
    name: str | None,
) -> "list[Card]":
    from unibench.cli import tables
    from unibench.models import cards, draft_card

    if not checkpoint or not (arch or like):
        raise OneLine("--checkpoint goes with --arch or --like; give both")
    moments = draft_card.find_series(checkpoint)
    if moments and name is not None:
        raise OneLine(
            f"--save-card {name}: --checkpoint {checkpoint} names a series, expected one file; name one"
        )
    drafted = []
    one: list[tuple[Path, Series | None]] = [(checkpoint, None)]
    for path, series in moments or one:
        card, report = draft_card.draft(
            path, arch, name, like=cards.find(like) if like else None, allow_random=allow_random
        )
        tables.say(
            f"{card.name}: {report}" + (f"; epoch {series.epoch:g} of {series.name}" if series else "")
        )
        drafted.append(replace(card, path=path.resolve(), series=series))  # its weights lie there
    if name is not None:
        tables.say(f"card written: {draft_card.save(drafted[0])}")
    return drafted


@click.command()
@options(
    click.option("-o", "--out", type=DIRECTORY, default=Path("results/quickstart"), show_default=True,
                 help="Folder of the results."),
    DEVICE,
    OVERWRITE,
)  # fmt: skip
def quickstart(out: Path, device: str, overwrite: str) -> None:
    """Run a few models through all tasks on rendered clips: no data set, no download of weights."""
    from unibench.cli import progress

    progress.quickstart(out, device=device, overwrite=overwrite == "always")
