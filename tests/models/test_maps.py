"""What a network returns is what its card says, finite, and told to be suspicious where it is constant."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from unibench.errors import CardError, FeaturesError
from unibench.models import cards, frozen, maps
from unibench.models.cards import Card, Layer

BASE = cards.find("random-resnet18")
CARD = replace(
    BASE,
    default_layer="c",
    layers={"c": Layer("c", stride=8, channels=4, offset=3.5)},
    architecture=cards.Architecture("python", "x:y"),
)


class Fixed(nn.Module):
    """Returns one thing, whatever it is shown."""

    def __init__(self, given: object) -> None:
        super().__init__()
        self.given = given

    def forward(self, images: Tensor) -> object:
        return self.given


def model(given: object, card: Card = CARD) -> frozen.FrozenModel:
    return frozen.freeze(card, Fixed(given), None, torch.device("cpu"))


def run(given: object, card: Card = CARD) -> Tensor:
    return model(given, card).network(torch.rand(1, 3, 64, 96), ["c"])["c"]


GOOD = torch.rand(1, 4, 8, 12, generator=torch.Generator().manual_seed(0))


def test_a_map_as_the_card_says_is_let_through() -> None:
    assert torch.equal(run({"c": GOOD}), GOOD)


def spoiled(value: float) -> Tensor:
    features = GOOD.clone()
    features[0, 3, 7, 11] = value
    return features


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_values_that_are_not_finite_are_an_error(value: float) -> None:
    with pytest.raises(FeaturesError, match=r"layer 'c': the map is (not finite|values up to 1e\+30)[^\n]*$"):
        run({"c": spoiled(value)})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"c": GOOD[:, :3]}, "3 channels, expected 4"),
        (
            {"c": GOOD[:, :, :4, :6]},
            "4 cells along a height of 64 pixels .*a stride of about 16.*expected stride 8",
        ),
        ({"c": GOOD[:, :, :, :6]}, "6 cells along a width of 96"),
        ({"c": GOOD.repeat(1, 1, 2, 2)}, "16 cells along a height"),
        ({"c": GOOD[:, :, :0]}, "0 cells along a height"),
        ({"c": GOOD[0]}, r"found shape \(4, 8, 12\), expected a map"),
        ({"c": GOOD[0, 0, 0, 0]}, r"found shape \(\), expected a map"),
        ({"c": GOOD.repeat(2, 1, 1, 1)}, r"found shape \(2, 4, 8, 12\), expected a map"),
        ({"c": (GOOD * 100).int()}, r"a map of torch\.int32, expected floating-point"),
        ({"c": GOOD.to(torch.complex64)}, r"a map of torch\.complex64, expected floating-point"),
        ({"c": [1, 2]}, "found list, expected a map"),
        ({"d": GOOD}, "the network returns d, expected .c."),
        (GOOD, "the network returns Tensor, expected the maps c"),
        (3, "the network returns int, expected the maps c"),
    ],
)
def test_what_differs_from_the_card_is_an_error_of_the_card(given: object, told: str) -> None:
    with pytest.raises(CardError, match=rf"{told}[^\n]*; correct[^\n]*$"):
        run(given)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"stride": 16}, "a stride of about 8.*expected stride 16"),
        ({"stride": 6}, "expected stride 6"),
        ({"offset": 100.0}, "offset 100 puts the cells outside"),
        ({"offset": -9.0}, "offset -9 puts the cells outside"),
    ],
)
def test_geometry_on_the_card_is_compared_with_the_map(fields: dict[str, float], told: str) -> None:
    with pytest.raises(CardError, match=told):
        run({"c": GOOD}, replace(CARD, layers={"c": replace(CARD.layers["c"], **fields)}))


def test_a_network_that_fails_on_an_image_is_one_line() -> None:
    with pytest.raises(FeaturesError, match=r"fails on an image of 1 x 0 pixels \(RuntimeError: Calc[^\n]*$"):
        frozen.load(cards.find("random-vit-tiny")).network(torch.rand(1, 3, 0, 1), ["block6"])


@pytest.mark.parametrize(("loader", "node"), [("random-resnet18", "layer77"), ("random-vit-tiny", 99)])
def test_a_node_that_is_not_there_is_named(loader: str, node: object) -> None:
    card = cards.find(loader)
    layers = {"a": replace(next(iter(card.layers.values())), node=node)}
    with pytest.raises(CardError, match=rf"[^\n]*{node}[^\n]*; correct the nodes of \[layers\][^\n]*$"):
        frozen.load(replace(card, layers=layers)).network(torch.rand(1, 3, 64, 64), ["a"])


@pytest.mark.parametrize(
    ("features", "flat"),
    [
        (torch.zeros(4, 8, 12), True),
        (torch.ones(4, 1, 1).expand(4, 8, 12), True),
        (GOOD[0], False),
        (spoiled(2.0)[0] * 0 + 1, True),
        (torch.zeros(4, 1, 1), False),
    ],
)
def test_constant_maps_are_known(features: Tensor, flat: bool) -> None:
    assert maps.constant(features) is flat


@pytest.mark.parametrize("place", [(0, 0), (0, 11), (3, 4), (7, 11)])
def test_a_map_with_one_other_cell_is_not_constant(place: tuple[int, int]) -> None:
    features = torch.zeros(4, 8, 12)
    features[2, place[0], place[1]] = 1
    assert not maps.constant(features)


def test_constant_maps_are_counted_a_layer() -> None:
    counts: dict[str, maps.Count] = {}
    counted: Callable[..., object] = maps.counted(model({"c": torch.zeros(1, 4, 8, 12)}), counts).network
    counted(torch.rand(1, 3, 64, 96), ["c"])
    counted(torch.rand(1, 3, 64, 96), ["c"])
    assert counts == {"c": maps.Count(2, 2)}
    assert maps.warning(counts) == "c: 2 of 2 feature maps are constant"
    assert maps.warning({"c": maps.Count(3, 0)}) == ""
