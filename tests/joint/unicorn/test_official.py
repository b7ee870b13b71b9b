"""Files in the layout of the official ones: loaded strictly, by a card that names the config."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unibench.errors import CardError, WeightsError
from unibench.joint import backbone, systems
from unibench.joint.training import config as configs
from unibench.joint.unicorn.network import Unicorn
from unibench.models import cards, frozen
from unibench.models.cards import Architecture, Card, Pretraining, Weights

SYSTEM = systems.find("unicorn")


def card(config: str) -> Card:
    return cards.joint(
        name="official", description="", paper="", license="MIT",
        architecture=Architecture(cards.JOINT, "unicorn", options={"config": config}),
        weights=Weights("file:official.pth"), pretraining=Pretraining("unicorn", "", "labels"),
    )  # fmt: skip


@pytest.fixture
def official(tmp_path: Path) -> Path:
    network = Unicorn(configs.read("toy", SYSTEM))
    torch.save(
        {"start_epoch": 15, "model": network.state_dict(), "optimizer": {"state": {}}},
        tmp_path / "official.pth",
    )
    return tmp_path / "official.pth"


@pytest.fixture
def boxes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    text = (SYSTEM.folder / "toy.toml").read_text().replace("mask_channels = 16", "mask_channels = 0")
    (tmp_path / "boxes.toml").write_text(text)
    monkeypatch.setattr(configs, "shipped", lambda system: {"boxes": tmp_path / "boxes.toml"})
    return "boxes"


def test_an_official_file_is_loaded_strictly(official: Path) -> None:
    _, _, network = systems.build(card("toy"), official)
    expected = torch.load(official, weights_only=True)["model"]
    assert {"head.mask_head._iter", "head.mask_head.sizes_of_interest"} < expected.keys()
    assert all(torch.equal(one, expected[name]) for name, one in network.state_dict().items())


def test_a_network_without_masks_takes_a_file_with_masks(official: Path, boxes_only: str) -> None:
    _, _, network = systems.build(card(boxes_only), official)
    assert not any(name.startswith("head.mask_") for name in network.state_dict())


def test_the_backbone_of_an_official_file_is_a_frozen_model_that_sees_what_the_network_sees(
    official: Path,
) -> None:
    drafted = backbone.draft(card("toy"), official)
    assert drafted.architecture.options == {"system": "unicorn", "config": "toy"}
    model = frozen.load(drafted, weights_path=official)
    network = systems.build(card("toy"), official)[2]
    image = torch.randint(0, 256, (64, 96, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.inference_mode():
        expected = network.look(image.permute(2, 0, 1)[None].float())
        maps = model.network(model.prepare(image.numpy())[None], list(drafted.layers))
    assert list(maps) == ["c3", "c4", "c5", "p3", "p4", "p5"]
    for name, found in maps.items():
        assert torch.allclose(found, expected[name], atol=1e-5)


def test_a_wrong_tensor_is_refused_by_name(official: Path) -> None:
    held = torch.load(official, weights_only=True)
    held["model"]["head.beta_9"] = held["model"].pop("head.beta_0")
    torch.save(held, official)
    with pytest.raises(WeightsError, match=r"1 missing \(head\.beta_0\); 1 unknown \(head\.beta_9\)"):
        systems.build(card("toy"), official)


@pytest.mark.parametrize("options", [{"config": "../toy.toml"}, {"config": 3}, {"config": "toy", "width": 2}])
def test_a_card_names_a_config_that_the_system_brings(official: Path, options: dict[str, object]) -> None:
    one = card("toy")
    wrong = replace(one, architecture=replace(one.architecture, options=options))
    with pytest.raises(
        CardError, match=r"architecture\.options is .*, expected config = one of large_mask, "
    ):
        systems.fingerprint(wrong, official)


def test_the_config_that_a_card_names_is_part_of_its_fingerprint(official: Path, boxes_only: str) -> None:
    before = systems.fingerprint(card(boxes_only), official)
    file = configs.shipped(SYSTEM)[boxes_only]
    file.write_text(file.read_text().replace("nms_iou = 0.5", "nms_iou = 0.4"))
    assert systems.fingerprint(card(boxes_only), official) != before
