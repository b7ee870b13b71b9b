"""No parameter of a backbone stays random without a word, and none has values that no network has."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.models.test_formats import State, filled, resnet18, vit
from unibench.errors import WeightsError
from unibench.models import cards, frozen, weights
from unibench.models.cards import Weights
from unibench.records import LoadReport

RULES = Weights(source="file:x")


def loaded(make: Callable[[], nn.Module], state: State, rules: Weights = RULES) -> LoadReport:
    report = weights.fit(make(), state, rules, ("fc.",))
    weights.require(report, "x.pth")
    return report


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (resnet18, "conv1.weight", torch.ones(8, 3, 3, 3)),  # trained on CIFAR
        (resnet18, "conv1.weight", torch.ones(8, 1, 7, 7)),  # of grey images
        (vit, "patch_embed.proj.weight", torch.ones(24, 3, 8, 8)),
        (vit, "pos_embed", torch.ones(1, 19, 24)),
        (vit, "cls_token", None),
        (vit, "pos_embed", None),
        (vit, "blocks.1.attn.qkv.weight", None),
        (resnet18, "bn1.running_mean", None),
        (resnet18, "layer4.0.bn2.running_var", None),
    ],
)
def test_one_tensor_that_does_not_fit_is_refused_by_name(
    make: Callable[[], nn.Module], name: str, value: Tensor | None
) -> None:
    state = filled(make, 1)
    state = {**state, name: value} if value is not None else {k: v for k, v in state.items() if k != name}
    with pytest.raises(WeightsError, match=rf"1 (missing|misshapen): {name}.*--allow-random"):
        loaded(make, state)


def test_what_may_stay_random_is_named_and_reported() -> None:
    state = {**filled(resnet18, 1), "conv1.weight": torch.ones(8, 3, 3, 3)}
    del state["layer1.0.conv1.weight"]
    rules = replace(RULES, allow_random=("conv1.*", "layer1.0.conv?.weight"))
    report = loaded(resnet18, state, rules)
    assert report.random == ("layer1.0.conv1.weight", "conv1.weight")
    assert "2 random: layer1.0.conv1.weight, conv1.weight" in str(report)
    with pytest.raises(WeightsError, match="1 missing: layer1"):
        loaded(resnet18, state, replace(RULES, allow_random=("conv1.*",)))


def test_what_may_stay_random_changes_the_fingerprint() -> None:
    card = cards.find("random-resnet18")
    other = replace(card, weights=replace(card.weights, allow_random=("conv1.*",)))
    assert frozen.fingerprint(card, None) != frozen.fingerprint(other, None)


def test_a_pattern_that_names_no_tensor_is_an_error() -> None:
    with pytest.raises(WeightsError, match=r"allow_random names 'stem\.\*'; no backbone tensor is called so"):
        loaded(resnet18, filled(resnet18, 1), replace(RULES, allow_random=("stem.*",)))


def quantised(value: Tensor) -> Tensor:
    with warnings.catch_warnings(action="ignore"):  # deprecated, as torch says once a process
        return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda value: torch.full_like(value, float("nan")), "is not finite"),
        (lambda value: value / 0.0, "is not finite"),
        (lambda value: value.double() * 1e300, "is not finite"),
        (lambda value: value.to(torch.int8), r"is of torch\.int8"),
        (lambda value: value > 0, r"is of torch\.bool"),
        (lambda value: value.to(torch.complex64), r"is of torch\.complex64"),
        (lambda value: value.to(torch.float8_e4m3fn), r"is of torch\.float8"),
        (lambda value: value.to_sparse(), "is sparse"),
        (lambda value: value.to("meta"), "is a meta tensor"),
        (quantised, "is quantised"),
    ],
)
def test_values_that_no_network_has_are_refused(
    tmp_path: Path, spoil: Callable[[Tensor], Tensor], told: str
) -> None:
    state = filled(resnet18, 1)
    state["layer2.0.conv1.weight"] = spoil(state["layer2.0.conv1.weight"])
    torch.save(state, tmp_path / "x.pth")
    report = weights.fit_file(resnet18(), tmp_path / "x.pth", RULES, ("fc.",))
    with pytest.raises(WeightsError, match=rf"1 unusable: layer2\.0\.conv1\.weight {told}[^\n]*$"):
        weights.require(report, "x.pth")


def test_weights_that_are_all_zero_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"conv1\.weight is zero, as all others are"):
        loaded(resnet18, {name: torch.zeros_like(value) for name, value in filled(resnet18, 1).items()})


def test_the_file_of_a_deeper_network_is_refused() -> None:
    """All of a ResNet-18's tensors are in a ResNet-34's file, of the same shapes: the others say what it is."""
    state = filled(resnet18, 1)
    deeper = {
        **state,
        **{name.replace("layer2.0", "layer2.1"): one for name, one in state.items() if "layer2.0.c" in name},
    }
    with pytest.raises(WeightsError, match=r"2 foreign: layer2\.1\.conv1\.weight, .*another architecture"):
        loaded(resnet18, deeper)
    assert loaded(resnet18, deeper, replace(RULES, ignore=("layer2.1.",))).share == 1.0
