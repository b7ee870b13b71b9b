"""The feature cache: reading a map against computing it."""

import atexit
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import torch

from tests.benchmarks.cases import Case
from unibench.features.cache import FeatureCache, cached
from unibench.models import cards, frozen


def cases(*, quick: bool = False) -> list[Case]:
    """One image is asked for again and again."""
    name, layer, size = (
        ("random-resnet18", "layer3", (120, 160)) if quick else ("random-resnet50", "layer3", (480, 854))
    )
    model = frozen.load(cards.find(name))
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    folder = Path(mkdtemp())
    atexit.register(rmtree, folder, ignore_errors=True)
    sight = cached(model, FeatureCache(folder))

    return [
        Case(
            f"cache hit, {name} {layer} {size[0]}p",
            lambda: sight.network(image, [layer]),
            lambda: model.network(image, [layer]),
            limit=0.25 if quick else 0.05,
            note="a pass of the network",
        )
    ]
