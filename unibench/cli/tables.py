"""Tables on the terminal: what models, tasks and data there are. Loads no torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unibench.datasets import own_clips
from unibench.datasets.benchmark import OWN, Benchmark, is_there
from unibench.errors import DataError
from unibench.evaluation.availability import Availability
from unibench.models.cards import ASIDE, JOINT, Card
from unibench.records import Clip
from unibench.report import card_facts
from unibench.report.boards import TRAINED
from unibench.report.terminal import WIDTH
from unibench.tasks.family import Family

NARROW = 120
"""Below so many characters a line, the list of models leaves out what `models show` tells."""


def width() -> int:
    """Characters of a line of what `show` prints to."""
    console = Console()
    return console.width if console.is_terminal else WIDTH


def show(*tables: object) -> None:
    """Print tables."""
    console = Console(width=width())
    for table in tables:
        console.print(table)


def say(line: str) -> None:
    """Print one line as it is."""
    Console(soft_wrap=True, highlight=False).print(line, markup=False)


def show_paths(paths: Iterable[Path]) -> None:
    """Say which files were written."""
    console = Console(soft_wrap=True, highlight=False)
    for path in paths:
        console.print(f"written: {path}", markup=False)


def _table(title: str, *columns: str) -> Table:
    """A table whose first column is not broken."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=not index)
    return table


def show_models(cards: Sequence[Card]) -> None:
    """Print the cards in groups, that with the best ImageNet accuracy first; the default layer comes first."""
    narrow = width() < NARROW
    table = _table("Models", *MODEL_COLUMNS[: 4 if narrow else None])
    groups: dict[str, list[Card]] = {group: [] for group in (*card_facts.GROUPS.values(), TRAINED)}
    for card in cards:
        group = TRAINED if card.kind == JOINT else card_facts.GROUPS[card.pretraining.supervision]
        groups[group].append(card)
    for group, found in groups.items():
        if found:
            table.add_section()
            table.add_row(f"[italic]{group}")
        for card in sorted(found, key=lambda card: -card.imagenet_top1.value if card.imagenet_top1 else 0):
            table.add_row(*_model(card)[: 4 if narrow else None])
    show(table)
    if narrow:
        say(
            "more of one: unibench models show NAME; more of all: a wider terminal, or unibench models --json"
        )


MODEL_COLUMNS = ("model", "ImageNet top-1", "weights", "pretraining", "layers", "description")


def _model(card: Card) -> list[str]:
    """What `MODEL_COLUMNS` name."""
    layers = sorted(card.layers, key=lambda name: name != card.default_layer) or [card.default_layer]
    top1 = f"{card.imagenet_top1.value:.1%}" if card.imagenet_top1 else ""
    seen = card.pretraining.method if card.pretraining.data == "none" else (
        f"{card.pretraining.method}, {card.pretraining.data}")  # fmt: skip
    weights = card.weights.source.partition(":")[0]
    return [card.name, top1, weights, seen, ", ".join(layers), card.description]


def show_card(card: Card, path: Path | str, weights: str) -> None:
    """Print every field of a card, where it stands and where its weights are."""
    table = _table(card.name, "field", "value")
    table.add_row("card", escape(str(path)))
    table.add_row("weights", escape(weights))
    table.add_section()
    for name, value in _fields(
        {key: one for key, one in asdict(card).items() if key not in ("name", *ASIDE)}
    ):
        table.add_row(name, escape(value) or "[dim]-")
    show(table)


def _fields(record: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and readable values; a table that is empty is one value."""
    for key, value in record.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping) and value:
            yield from _fields(value, f"{name}.")
        elif key == "rename":
            yield name, "\n".join(f"{pattern}  ->  {new!r}" for pattern, new in value)
        elif isinstance(value, tuple):
            yield name, ", ".join(map(str, value))
        elif isinstance(value, bool):
            yield name, "yes" if value else "no"
        else:
            yield name, "" if value in (None, {}) else f"{value:,}" if key == "parameters" else str(value)


def show_availability(found: Sequence[Availability]) -> None:
    """Print which cards can run here, and why not the others."""
    table = _table("Models on this machine", "model", "runs", "weights", "architecture")
    for one in found:
        weights = escape(one.weights)
        network = escape(one.architecture)
        table.add_row(
            one.model,
            "[green]yes" if one.runs else "no",
            f"[red]{weights}" if one.weights_problem and "sha256 is" in weights else weights,
            f"[red]{network}" if one.architecture_problem else network,
        )
    show(table)
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"{sum(one.runs for one in found)} of {len(found)} models can run here", markup=False)


def show_tasks(benchmarks: Mapping[str, Benchmark], families: Mapping[str, Family]) -> None:
    """Print the tasks and the protocols of each family; a model takes the first that it can run."""
    table = _table("Tasks", "task", "folder under --data", "detections")
    for name, benchmark in benchmarks.items():
        folder = {"": "(rendered)", OWN: "(your own clips)"}.get(benchmark.folder, benchmark.folder)
        table.add_row(name, folder, ", ".join(benchmark.detections))
    show(table)
    table = _table("Protocols (task@protocol)", "family", "protocol", "version", "models", "what it is")
    for family in families.values():
        for preset in family.presets.values():
            table.add_row(family.name, preset.name, preset.version, ", ".join(preset.kinds), preset.source)
        table.add_section()
    show(table)


def check_data(benchmarks: Mapping[str, Benchmark], data: Path) -> bool:
    """Read every clip's annotations and print what is there.

    Returns:
        Whether everything that is there can be read; a benchmark that is not there is no fault.
    """
    table = _table(f"Data in {data}", "task", "folder", "clips", "frames", "state")
    sound = True
    with Console(stderr=True).status("reading") as status:
        for name, benchmark in benchmarks.items():
            root = data / benchmark.folder
            if not benchmark.folder:
                continue
            if not is_there(benchmark, data):
                absent = "none" if benchmark.folder == OWN else "missing"
                table.add_row(name, benchmark.folder, "", "", f"{absent}; {benchmark.obtain}", style="dim")
                continue
            status.update(f"reading {name}")
            clips, read, problems = _read(benchmark, root)
            sound = sound and not problems
            state = (
                "[green]ok[/]"
                if not problems
                else f"[red]{len(problems)} unreadable[/]: {escape(problems[0])}"
            )
            if benchmark.folder == OWN and read:
                state += f"; {escape(own_clips.describe(read))}"
            frames = sum(clip.length for clip in read)
            table.add_row(name, benchmark.folder, str(clips), str(frames), state)
    show(table)
    return sound


def _read(benchmark: Benchmark, root: Path) -> tuple[int, list[Clip], list[str]]:
    """Number of clips, those that can be read, and what is wrong with the others."""
    try:
        names = benchmark.names(root)
    except DataError as error:
        return 0, [], [str(error)]
    clips, problems = [], []
    for name in names:
        try:
            clips.append(benchmark.load(root, name)[0])
        except DataError as error:
            problems.append(str(error))
    return len(names), clips, problems
