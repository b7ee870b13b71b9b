"""Commands about the feature cache: fill it, look into it, make it smaller."""

from datetime import UTC, datetime
from pathlib import Path

import click

from unibench.cli.options import DEVICE, DIRECTORY, OFFLINE, PLUGIN, OneLine, options, size
from unibench.cli.request import SELECTION, select

FOLDER = click.argument("folder", metavar="DIR", type=DIRECTORY)


@click.group()
def cache() -> None:
    """Keep feature maps on disk, so that runs that change only heads need no network: see `run --cache`."""


@cache.command()
@options(
    FOLDER,
    *SELECTION,
    click.option("--budget", type=size, default="30G", show_default=True, help="What the folder may take."),
    DEVICE,
    OFFLINE,
    PLUGIN,
)  # fmt: skip
def build(
    folder: Path, models: tuple[str, ...], tasks: tuple[str, ...], data: Path | None, weights_path: Path | None,
    layers: str, frames: int | None, classes: str, detections: str | None, windowing: str, dtype: str | None,
    compiled: bool,
    budget: int, device: str,
) -> None:  # fmt: skip
    """Run networks ahead over the clips of tasks, and keep their maps; the size is said before it starts.

    What is there already is not computed again. Tasks of SOT are left out: their windows follow the tracker. So are
    joint trackers, which have no maps to keep.
    """
    from unibench import models as opening
    from unibench.evaluation import precompute_features
    from unibench.evaluation.units import list_units
    from unibench.features.cache import FeatureCache
    from unibench.features.cache_folder import describe, human
    from unibench.tasks import protocols

    chosen = select(
        models, tasks, layers, detections, dtype, compiled=compiled, classes=classes, windowing=windowing
    )
    cards = []
    for card in chosen.cards:
        if opening.open(card, weights_path).has_maps:
            cards.append(card)
        else:
            click.echo(f"{card.name}: left out, a joint tracker has no maps to keep")
    if not cards:
        raise OneLine("no frozen model; name one with -m (see: unibench models)")
    buildable = []
    for task in chosen.tasks:
        if precompute_features.can_build(task):
            buildable.append(task)
        else:
            click.echo(f"{task.name}@{task.protocol.name}: left out, its windows follow the tracker; a run keeps their "
                       "maps as it goes")  # fmt: skip
    units = list_units(cards, buildable, data, weights_path=weights_path, layers=chosen.layers, frames=frames)
    store = FeatureCache(folder, budget)
    needs = precompute_features.needs(units, weights_path, device)
    for need in needs:
        click.echo(
            f"{need.model}, {need.layer}: {need.clips} clips, {need.frames} frames, {human(need.bytes)}"
        )
    click.echo(f"to build: {human(sum(need.bytes for need in needs))}; there: {describe(folder)}; "
               f"budget: {human(budget)}")  # fmt: skip
    precompute_features.require_room(store, needs)
    for count, done in enumerate(precompute_features.build(units, store, weights_path, device), start=1):
        unit = done.unit
        name = f"{unit.card.name} {protocols.title(unit.task)} {unit.clip}"
        click.echo(f"[{count}/{len(units)}] {name}: {done.frames} frames, {done.seconds:.1f} s")
    click.echo(f"{folder}: {describe(folder)}")


@cache.command()
@FOLDER
def info(folder: Path) -> None:
    """Print what a cache holds, one model and layer a row."""
    from rich.table import Table

    from unibench.cli import tables
    from unibench.features import cache_folder

    cache_folder.require(folder)
    table = Table(title="Feature maps", title_justify="left")
    for column in ("model", "hash", "layer", "maps", "size", "last used (UTC)"):
        table.add_column(column, overflow="fold")
    for one in cache_folder.holdings(folder):
        used = datetime.fromtimestamp(one.used, UTC).isoformat(" ", "minutes")[:16]
        table.add_row(
            one.model, one.fingerprint, one.layer, str(one.maps), cache_folder.human(one.bytes), used
        )
    tables.show(table)
    click.echo(f"{folder}: {cache_folder.describe(folder)}")


@cache.command()
@options(
    FOLDER,
    click.option("--budget", type=size, required=True, help="What may stay: 20G; 0 removes everything."),
)
def prune(folder: Path, budget: int) -> None:
    """Remove the maps that were not used for longest, until the others fit into a budget."""
    from unibench.features import cache_folder

    cache_folder.require(folder)
    removed = cache_folder.prune(folder, budget)
    freed = cache_folder.human(sum(entry.bytes for entry in removed))
    click.echo(f"removed: {freed} in {len(removed)} maps; left: {cache_folder.describe(folder)}")
