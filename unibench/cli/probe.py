"""The command that gives a model a place on the x-axis of the correlation study."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from unibench.cli.options import ANY_PATH, DEVICE, DIRECTORY, options


@click.command()
@options(
    click.option("-m", "--model", "name", required=True, help="Model card."),
    click.option("--data", "folder", type=DIRECTORY, required=True, metavar="IMAGEFOLDER",
                 help="train/<class>/* and val/<class>/*, or just <class>/* (then leave-one-out)."),
    click.option("--layers", "layer", help="One layer, to be probed. Default: the deepest."),
    click.option("--weights", type=ANY_PATH, help="Weights file, or the folder that holds the files the cards name."),
    DEVICE,
    click.option("-o", "--out", type=DIRECTORY, help="Also write MODEL/probe-LAYER.json in this folder."),
)  # fmt: skip
def probe(
    name: str, folder: Path, layer: str | None, weights: Path | None, device: str, out: Path | None
) -> None:
    """Measure k-NN top-1 accuracy of frozen features on a folder of images."""
    from unibench.cli import tables
    from unibench.features import knn_probe as probing
    from unibench.models import cards, frozen

    card = cards.find(name)
    images = probing.find_images(folder)
    model = frozen.load(card, weights_path=weights, device=device)
    probed = probing.probe(model, layer or probing.deepest(card), images, watch=_watch)
    click.echo(f"{card.name}: {probed.top1:.1%}  {probing.describe(probed)}")
    click.echo(
        f"\nto give the card this place on the x-axis of `unibench plot correlation`, add to {card.name}.toml:\n"
    )
    click.echo(probing.card_lines(probed))
    if probed.classes != probing.IMAGENET_CLASSES:
        click.echo(
            f"{probed.classes} classes are not ImageNet-1k: compare only with models probed on the same images"
        )
    if out:
        tables.show_paths([probing.write(out, probed)])


def _watch(paths: Sequence[Path]) -> Iterable[Path]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(paths, "images", console=console, transient=True) if console.is_terminal else paths
