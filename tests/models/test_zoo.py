"""The zoo: every card found builds what it states, says where it comes from, and no two are called alike."""

import csv
import json
import re
from collections import Counter
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unibench.models import cards, frozen, weights

NAMES = sorted(cards.paths())
FROZEN = [name for name in NAMES if cards.find(name).kind == "frozen"]
SIZES = [(224, 224), (224, 288), (120, 203)]
"""Square, not square, and divisible by no stride: videos come in any size."""
SMALL = 30_000_000
"""Up to this many parameters a network is really run; above it is built without memory, on the meta device."""
FOLDER = Path(__file__).resolve().parents[2]
SHARED_WEIGHTS = FOLDER.parent / "shared" / "data" / "weights"


@lru_cache(maxsize=1)
def alike() -> dict[str, str]:
    """Card -> the first card whose network, apart from its parameters, is the same: one run speaks for both."""
    first: dict[str, str] = {}
    found = {}
    for name in FROZEN:
        card = cards.find(name)
        parts = [asdict(card.architecture), {layer: asdict(one) for layer, one in card.layers.items()}]
        found[name] = first.setdefault(json.dumps(parts, sort_keys=True), name)
    return found


def build(name: str, device: str) -> tuple[cards.Card, nn.Module]:
    card = cards.find(name)
    if card.architecture.loader == "transformers":
        pytest.importorskip(
            "transformers", reason="transformers is not installed: uv sync --extra transformers"
        )
    with torch.device(device):
        return card, frozen.build(card, None)[0]


def run(card: cards.Card, module: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """All layers of a card."""
    return frozen.extract(card, module)(images, list(card.layers))


@cache
def outline(name: str) -> tuple[cards.Card, nn.Module]:
    """The network without memory for its parameters; what has none is NumPy's, and cheap to run."""
    return build(name, "meta" if cards.find(name).architecture.parameters else "cpu")


@cache
def shapes(name: str) -> dict[tuple[int, int], dict[str, torch.Size]]:
    """Size of the image -> layer -> shape of its map; nothing is computed."""
    card, module = outline(name)
    device = next((one.device for one in module.parameters()), "cpu")
    images = {size: torch.zeros(1, 3, *size, device=device) for size in SIZES}
    return {size: {k: v.shape for k, v in run(card, module, one).items()} for size, one in images.items()}


def impulses(period: int) -> tuple[Tensor, float]:
    """A noise image, and the same with one bright pixel, at each of 4 places that cover a cell evenly.

    Returns:
        (5, 3, height, width), the noise first; the mean row (and column) of the bright pixels.
    """
    steps = np.array([period // 16, period // 3, period - 1 - period // 3, period - 1 - period // 16])
    side = period * max(-(-96 // period), 8)
    places = [side // 2 // period * period + step for step in steps.tolist()]
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    images = noise.repeat(1 + len(places), 1, 1, 1)
    for image, place in zip(images[1:], places, strict=True):
        image[:, place, place] += 3.0
    return images, float(np.mean(places))


def mean_cell(profiles: Tensor) -> float:
    """Of the distributions over cells in the rows."""
    cells = torch.arange(profiles.shape[1], dtype=profiles.dtype)
    return float((profiles @ cells / profiles.sum(dim=1)).mean())


@pytest.mark.parametrize("name", NAMES)
def test_every_card_says_where_the_model_comes_from(name: str) -> None:
    card = cards.find(name)
    assert re.fullmatch(r"[a-z0-9]+([-.][a-z0-9]+)*", name)
    assert card.default_layer in (card.layers or (cards.JOINT,))
    assert card.paper.startswith("https://")
    assert card.license.strip()
    assert card.description.strip()
    if card.weights.source in ("random", "none"):
        return
    assert re.fullmatch(r"(19|20)\d\d(-(0[1-9]|1[0-2]))?", card.released)
    assert re.fullmatch(r"([0-9a-f]{64})?", card.weights.sha256)
    if card.weights.verified:
        assert card.weights.sha256, "which file was loaded?"
    elif card.weights.source.startswith("file:"):
        assert card.weights.obtain.strip(), "no command can fetch it: how does a person get it?"
    if card.imagenet_top1:
        assert card.imagenet_top1.source.strip()


def test_no_two_cards_answer_to_one_name() -> None:
    names = Counter(NAMES)
    for name in NAMES:
        names.update(cards.find(name).aliases)
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("name", FROZEN)
def test_every_backbone_has_the_stated_number_of_parameters(name: str) -> None:
    card, module = outline(alike()[name])
    head = tuple(card.architecture.head)
    backbone = [one for key, one in module.named_parameters() if not key.startswith(head)]
    assert sum(one.numel() for one in backbone) == card.architecture.parameters


@pytest.mark.parametrize("name", FROZEN)
def test_every_card_gives_the_maps_that_it_states(name: str) -> None:
    card = cards.find(name)
    for size, maps in shapes(alike()[name]).items():
        for layer, stated in card.layers.items():
            assert maps[layer][:2] == (1, stated.channels), (layer, size)
            for side, cells in zip(size, maps[layer][2:], strict=True):
                # a last partial cell is there or not: padded networks have it, ConvNeXt does without
                assert side // stated.stride <= cells <= -(-side // stated.stride), (layer, size)


@pytest.mark.parametrize("name", FROZEN)
def test_small_networks_run_and_their_cells_lie_where_the_card_says(name: str) -> None:
    """With random weights: values are finite, and where a pixel changes, the cell over it does, to a quarter cell."""
    if alike()[name] != name:
        pytest.skip(f"the same network as {alike()[name]}")
    if (count := cards.find(name).architecture.parameters) > SMALL:
        pytest.skip(f"{count:,} parameters: shapes only")
    card, module = build(name, "cpu")
    images, pixel = impulses(max(layer.stride for layer in card.layers.values()))
    for layer, maps in run(card, module, images).items():
        assert torch.isfinite(maps).all(), layer
        changes = (maps[1:] - maps[:1]).square().sum(dim=1)
        stated = card.layers[layer]
        for across in (2, 1):
            centre = pixel - stated.stride * mean_cell(changes.sum(dim=across))
            assert centre == pytest.approx(stated.offset, abs=stated.stride / 4), layer


def test_lightness_is_l_of_eight_bits_in_every_channel() -> None:
    """The input of UVC: L / 256 with L from 0 to 255, normalised like RGB."""
    card = cards.find("uvc-resnet18")
    prepare = frozen.freeze(card, nn.Identity(), None, torch.device("cpu")).prepare
    statistics = list(zip(card.preprocessing.mean, card.preprocessing.std, strict=True))
    for colour, lightness in ((255, 255.0), (0, 0.0), (119, 127.5)):  # sRGB 119 is nearly the middle grey
        pixel = prepare(np.full((1, 1, 3), colour, dtype=np.uint8))[:, 0, 0]
        expected = [(lightness / 256 - mean) / std for mean, std in statistics]
        assert pixel.tolist() == pytest.approx(expected, abs=0.02), colour


@pytest.mark.parametrize("name", FROZEN)
def test_every_file_at_hand_is_the_verified_one_and_loads_whole(name: str) -> None:
    card = cards.find(name)
    scheme, _, rest = card.weights.source.partition(":")
    if scheme == "file" and not (SHARED_WEIGHTS / rest).is_file():
        pytest.skip(f"needs the research-only file {rest}")
    if scheme not in ("file", "package"):
        pytest.skip(f"{card.weights.source} is not on this machine")
    report = frozen.build(card, weights.locate(card, SHARED_WEIGHTS if scheme == "file" else None))[1]
    assert report is not None
    assert (report.share, report.left_over) == (1.0, ()), str(report)
    assert card.weights.verified


def published(name: str) -> list[dict[str, str]]:
    with (FOLDER / "results" / "published" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_row_of_unitracks_tables_has_a_card() -> None:
    """The tables themselves, the record of what each row is, and model_cards/README.md name the same."""
    scores = {
        (line["system"], line["backbone"])
        for line in published("unitrack.csv")
        if line["table"] in ("Table 1", "Table 2")
    }
    models_of = {
        (line["system"], line["backbone"]): line["model"] for line in published("unitrack_models.csv")
    }
    text = (FOLDER / "model_cards" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| (ResNet-\d\d) \| `([^`]+)` \|", text, flags=re.MULTILINE)
    assert models_of == {(system, backbone): name for system, backbone, name in rows}
    assert set(models_of) == scores
    for (_, backbone), name in models_of.items():
        card = cards.find(name)
        assert (card.name, card.architecture.name) == (name, backbone.lower().replace("-", ""))
        assert {layer: one.stride for layer, one in card.layers.items()} == {"layer3": 8, "layer4": 8}
