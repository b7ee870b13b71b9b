"""Commands about model cards and their weights."""

import sys
from pathlib import Path

import click

from unibench.cli.options import ANY_PATH, DIRECTORY, JSON, OFFLINE, PLUGIN, OneLine, options
from unibench.cli.request import find_cards

NAMES = click.argument("names", nargs=-1, metavar="[NAME]...")
WEIGHTS = click.option("--weights", type=ANY_PATH, help="Weights file, or the folder that holds the files.")


@click.group(invoke_without_command=True)
@JSON
@PLUGIN
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the model cards; show, check, download or convert one, or use a joint tracker's backbone as one."""
    if context.invoked_subcommand is not None:
        if as_json:
            raise OneLine("--json: is for the list of all models; leave it out")
        return
    from unibench.models import cards

    found = [cards.read(path) for path in cards.paths().values()]
    if as_json:
        from unibench.cli import documents

        documents.show_models(found)
    else:
        from unibench.cli import tables

        tables.show_models(found)


@models.command("show")
@click.argument("name")
@WEIGHTS
def show_model(name: str, weights: Path | None) -> None:
    """Print every field of a card, and where its weights are."""
    from unibench.cli import tables
    from unibench.models import cards, fetch

    card = cards.find(name)
    tables.show_card(
        card, card.derived_from or card.path or cards.paths()[card.name], fetch.status(card, weights).text
    )


@models.command("check")
@options(NAMES, WEIGHTS)
def check_models(names: tuple[str, ...], weights: Path | None) -> None:
    """Say which models can run here, and why not the others; with names, load their weights as well."""
    from unibench.cli import tables
    from unibench.evaluation import availability

    chosen = find_cards(names or ("*",))
    found = [availability.check(card, weights) for card in chosen]
    tables.show_availability(found)
    for card, one in zip(chosen, found, strict=True):
        if names and one.runs:
            tables.say(f"{card.name}: {availability.load(card, weights)}")


@models.command("download")
@options(
    click.argument("names", nargs=-1, required=True, metavar="NAME..."),
    click.option("--weights", type=DIRECTORY, help="Folder that gets the files. Default: the caches."),
    OFFLINE,
)
def download_models(names: tuple[str, ...], weights: Path | None) -> None:
    """Fetch the weights of models; an interrupted download goes on where it stopped."""
    from unibench.errors import WeightsError
    from unibench.models import fetch

    failed = 0
    for card in find_cards(names):
        try:
            path = fetch.obtain(card, weights)
            click.echo(f"{card.name}: {path or 'needs no file'}")
        except WeightsError as error:
            failed += 1
            click.echo(f"unibench: {error}", err=True)
    if failed:
        sys.exit(2)


@models.command("backbone")
@options(click.argument("name"), WEIGHTS, OFFLINE)
def freeze_backbone(name: str, weights: Path | None) -> None:
    """Write a card for the backbone of a joint tracker, which then runs all tasks as a frozen model."""
    from unibench.cli import tables
    from unibench.joint import backbone
    from unibench.models import cards, draft_card

    card = backbone.draft(cards.find(name), weights)
    tables.say(f"card written: {draft_card.save(card)}")
    layers = ", ".join(f"{layer} (stride {one.stride})" for layer, one in card.layers.items())
    tables.say(f"layers: {layers}; default: {card.default_layer}")


@models.command("convert")
@options(
    click.argument("kind", type=click.Choice(["byol"])),
    click.argument("source", type=ANY_PATH),
    click.argument("target", type=ANY_PATH),
)
def convert_model(kind: str, source: Path, target: Path) -> None:
    """Turn a checkpoint of another framework into safetensors with torchvision's names, without running code in it."""
    from unibench.models import convert

    count = convert.convert(kind, source, target)
    click.echo(f"{count} tensors written: {target}")
