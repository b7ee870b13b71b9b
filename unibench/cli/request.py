"""What a command asks for: `-m`, `-t`, `--layers` and their like are parsed here, once for all commands."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from unibench.cli.options import ANY_PATH, DIRECTORY, OneLine
from unibench.errors import UnknownNameError

if TYPE_CHECKING:
    from unibench.models.cards import Card
    from unibench.tasks.family import Task

LEAST = 0.125
"""Factor by which images are shrunk at most, and enlarged by its inverse."""

SELECTION: tuple[Callable[[Any], Any], ...] = (
    click.option("-m", "--model", "models", multiple=True,
                 help="Model card: its name, a pattern ('random-*'), or a file (DIR/NAME.toml). Or a library's model: "
                      "timm:NAME, torchvision:NAME, hf-hub:OWNER/NAME, hf:OWNER/NAME, ./FOLDER. Repeatable."),
    click.option("-t", "--task", "tasks", multiple=True, required=True,
                 help="Task, task@protocol, or a pattern: '*/synthetic', 'vos/davis2016@*'. Repeatable."),
    click.option("--data", type=DIRECTORY, help="Folder with the benchmarks' folders."),
    click.option("--weights", "weights_path", type=ANY_PATH,
                 help="Weights file, or the folder that holds the files the cards name."),
    click.option("--layers", default="", help="Layers to score, separated by commas, or all. Default: the card's."),
    click.option("--frames", type=click.IntRange(2, 2**31),
                 help="First N frames of each clip; rows are marked partial."),
    click.option("--classes", default="", metavar="NAME,NAME,...",
                 help="Look for these classes only, and score them; auto=car renames one. Default: all."),
    click.option("--detections",
                 help="Source of detections: public, oracle, oracle+noise, or a folder with <clip>.txt."),
    click.option("--windowing", type=click.Choice(["repeat", "causal", "centred"]), default="repeat", show_default=True,
                 help="What clip encoders are shown: the frame repeated, it and those before it, or it amid its "
                      "neighbours. Of no effect on image models."),
    click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]),
                 help="What networks compute in; changes scores a little. Default: the card's, usually float32."),
    click.option("--compile", "compiled", is_flag=True,
                 help="Compile networks first (torch.compile); changes scores in the last digits."),
)  # fmt: skip
"""What is to be scored."""


def scales_of(context: click.Context, parameter: click.Parameter, text: str) -> tuple[float, ...]:
    """Read factors separated by commas, each once."""
    try:
        found = tuple(dict.fromkeys(float(one) for one in text.split(",")))
    except ValueError:
        found = ()
    if not found or not all(LEAST <= one <= 1 / LEAST for one in found):
        raise click.BadParameter(
            f"{text!r}, expected factors from {LEAST:g} to {1 / LEAST:g}, such as 0.5,1,2"
        )
    return found


@dataclass(frozen=True)
class Selection:
    """What `SELECTION` says, looked up."""

    cards: "Sequence[Card]"
    tasks: "Sequence[Task]"
    layers: Sequence[str]


def select(
    models: Iterable[str],
    tasks: Iterable[str],
    layers: str,
    detections: str | None,
    dtype: str | None,
    *,
    compiled: bool,
    classes: str = "",
    windowing: str = "repeat",
    drafted: "Sequence[Card]" = (),
) -> Selection:
    """Look up models and tasks.

    Args:
        models: Names, patterns or files of cards.
        tasks: Names or patterns of tasks.
        layers: Names separated by commas.
        detections: Source of the detections; None: each benchmark's own.
        dtype: What networks compute in; None: as the cards say.
        compiled: Whether networks are compiled.
        classes: Names separated by commas, for all tasks; empty: as the tasks say.
        windowing: What clip encoders are shown.
        drafted: Further models.

    Raises:
        OneLine: There is no model.
        UnknownNameError: There is no such model or task.
    """
    from unibench.models import cards
    from unibench.tasks import registry

    chosen = [*find_cards(models), *drafted]
    if not chosen:
        raise OneLine("no model; name one with -m (see: unibench models)")
    found = [registry.find(name, detections, windowing) for name in expand_tasks(tasks, classes)]
    if detections and not any(task.protocol.detections for task in found):
        raise OneLine(f"--detections {detections!r}: none of the tasks is given detections; leave it out")
    return Selection(
        [cards.running(card, dtype, compiled=compiled) for card in chosen],
        found,
        tuple(name for name in layers.split(",") if name),
    )


def find_cards(names: Iterable[str]) -> "list[Card]":
    """Look up cards by names, patterns or files; those of a library's models are derived, and it is said if a card of
    the zoo is of the same weights.
    """
    from unibench.models import cards

    found = []
    for name in expand("model card", names, cards.paths(), "unibench models"):
        found.append(card := cards.find(name))
        if cards.is_by_name(name) and not name.endswith(".toml") and not card.derived_from:
            click.echo(f"{name}: the card {card.name} of the zoo is of these weights, and is used", err=True)
    return found


def expand(kind: str, names: Iterable[str], known: Iterable[str], hint: str) -> list[str]:
    """Replace patterns by the names that they match, in the order of the known names."""
    expanded: dict[str, None] = {}
    for name in names:
        matches = [one for one in known if fnmatchcase(one, name)] if set(name) & set("*?[") else [name]
        if not matches:
            raise UnknownNameError(kind, name, known, hint)
        expanded |= dict.fromkeys(matches)
    return list(expanded)


def expand_tasks(names: Iterable[str], classes: str = "") -> list[str]:
    """Replace patterns before and behind the @; one behind it stands for the presets of each task's family.

    Args:
        names: Names or patterns of tasks.
        classes: Put behind every one that has none of its own.
    """
    from unibench.datasets import BENCHMARKS
    from unibench.tasks.registry import family_of

    expanded: dict[str, None] = {}
    for name in names:
        asked, at, protocol = name.partition("@")
        pattern, _, own = asked.partition(":")
        some = f":{own or classes}" if own or classes else ""
        for task in expand("task", [pattern], BENCHMARKS, "unibench tasks"):
            if task not in BENCHMARKS:
                raise UnknownNameError("task", task, BENCHMARKS, "unibench tasks")
            family = family_of(task)
            matches = expand(f"protocol of {family.name!r}", [protocol], family.presets, "unibench tasks")
            expanded |= dict.fromkeys(task + some + at + preset for preset in matches)
    return list(expanded)
