"""Cards of timm's models: they agree with what timm knows of the same weights, and read the upstream files' keys."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

from unibench.errors import CardError
from unibench.models import cards, frozen, weights
from unibench.models.cards import Card

CARDS = [
    name
    for name in sorted(cards.paths())
    if cards.find(name).architecture.loader == "timm" and not name.startswith("zoo-")  # our own weights
]
NORMALISED = [name for name in CARDS if any(layer.norm for layer in cards.find(name).layers.values())]
UNTAGGED = {  # weights that timm does not have: its preprocessing is of other weights
    "efficientnet-lite0",
    "ibot-vit-b16",
    "ibot-vit-s16",
    "moco-v3-vit-b16",
    "moco-v3-vit-s16",
    "random-vit-tiny",
}
ELSEWHERE = {"ijepa-vit-h14"}  # timm has no copy on the hub


def tag(card: Card) -> str | None:
    """Timm's name of a card's weights (`architecture.tag`), which is one of its aliases."""
    return next((one for one in card.aliases if one.startswith(f"{card.architecture.name}.")), None)


def build(card: Card) -> nn.Module:
    """Without memory for the parameters: the largest has 6.7 billion."""
    with torch.device("meta"):
        return frozen.build(card, None)[0]


@pytest.mark.parametrize("name", CARDS)
def test_timm_has_the_architecture(name: str) -> None:
    assert timm.is_model(cards.find(name).architecture.name)


def test_every_card_without_a_tag_is_listed() -> None:
    assert {name for name in CARDS if tag(cards.find(name)) is None} == UNTAGGED


@pytest.mark.parametrize("name", sorted(set(CARDS) - UNTAGGED))
def test_preprocessing_and_source_are_those_of_the_tag(name: str) -> None:
    card = cards.find(name)
    known = timm.models.get_pretrained_cfg(tag(card) or "")
    assert known is not None
    assert card.preprocessing == cards.Preprocessing("rgb", 255.0, known.mean, known.std)
    if name not in ELSEWHERE:
        assert card.weights.source == f"hf:{known.hf_hub_id}/model.safetensors"


@pytest.mark.parametrize("name", NORMALISED)
def test_a_final_normalisation_is_there_and_loaded(name: str) -> None:
    card = cards.find(name)
    assert isinstance(build(card).norm, nn.LayerNorm)
    assert "norm." not in card.architecture.head


def test_a_normalised_map_is_that_of_get_intermediate_layers() -> None:
    card = cards.find("dino-vit-s16")
    module = frozen.build(card, None)[0]
    final: Any = module.norm
    nn.init.uniform_(final.weight, 0.1, 2.0)
    nn.init.uniform_(final.bias, -1.0, 1.0)
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        expected = module.get_intermediate_layers(image, n=[5, 11], reshape=True, norm=True)  # type: ignore[operator]
    maps = frozen.freeze(card, module, None, torch.device("cpu")).network(image, ["block6", "block12"])
    torch.testing.assert_close(maps["block6"], expected[0])
    torch.testing.assert_close(maps["block12"], expected[1])


def test_only_timm_has_a_final_normalisation(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        cards.paths()["random-resnet18"].read_text().replace("stride = 8", "stride = 8\nnorm = true")
    )
    with pytest.raises(CardError, match="norm is for the loaders timm and transformers, found 'torchvision'"):
        cards.read(path)


def test_the_heads_of_moco_v3_are_its_own() -> None:
    block: Any = build(cards.find("moco-v3-vit-s16")).get_submodule("blocks.0.attn")
    assert block.num_heads == 12


@pytest.mark.parametrize(
    ("name", "renamed", "prefix", "other"),
    [
        ("moco-v3-vit-s16", [], "module.base_encoder.", "module.momentum_encoder.cls_token"),
        ("dino-vit-s16", [], "", None),
        ("ibot-vit-s16", [], "", "masked_embed"),
        ("dinov2-vit-s14", [], "", "mask_token"),
        ("dinov2-vit-g14", [(".mlp.fc1.", ".mlp.w12."), (".mlp.fc2.", ".mlp.w3.")], "", "mask_token"),
        ("ijepa-vit-h14", [], "module.", None),
    ],
)  # fmt: skip
def test_the_authors_own_keys_are_found(
    name: str, renamed: list[tuple[str, str]], prefix: str, other: str | None
) -> None:
    card = cards.find(name)
    module = build(card)
    tensors = {}
    for ours, value in module.state_dict().items():
        theirs = ours
        for new, old in renamed:
            theirs = theirs.replace(new, old)
        if not ours.startswith(card.architecture.head):
            tensors[prefix + theirs] = value
    if other:
        tensors[other] = torch.zeros(1, device="meta")
    report = weights.fit(module, tensors, card.weights, card.architecture.head)
    assert report.share == 1.0
    assert not report.left_over
