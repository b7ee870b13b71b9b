"""Files in the layout of the official ones: loaded strictly, by a card that names the config."""

from pathlib import Path

import pytest
import torch

from unibench.errors import WeightsError
from unibench.joint import systems
from unibench.joint.training import config as configs
from unibench.joint.unicorn.network import Unicorn
from unibench.models import cards
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


def boxes_only(tmp_path: Path) -> str:
    text = (SYSTEM.folder / "toy.toml").read_text().replace("mask_channels = 16", "mask_channels = 0")
    (tmp_path / "boxes.toml").write_text(text)
    return str(tmp_path / "boxes.toml")


def test_an_official_file_is_loaded_strictly(official: Path) -> None:
    _, _, network = systems.build(card("toy"), official)
    expected = torch.load(official, weights_only=True)["model"]
    assert {"head.mask_head._iter", "head.mask_head.sizes_of_interest"} < expected.keys()
    assert all(torch.equal(one, expected[name]) for name, one in network.state_dict().items())


def test_a_network_without_masks_takes_a_file_with_masks(official: Path, tmp_path: Path) -> None:
    _, _, network = systems.build(card(boxes_only(tmp_path)), official)
    assert not any(name.startswith("head.mask_") for name in network.state_dict())


def test_a_wrong_tensor_is_refused_by_name(official: Path) -> None:
    held = torch.load(official, weights_only=True)
    held["model"]["head.beta_9"] = held["model"].pop("head.beta_0")
    torch.save(held, official)
    with pytest.raises(WeightsError, match=r"1 missing \(head\.beta_0\); 1 unknown \(head\.beta_9\)"):
        systems.build(card("toy"), official)
