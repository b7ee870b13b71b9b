"""Cards for checkpoints that have none: what is probed must be what the network gives."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision

from unibench.errors import OutputError, UnknownNameError, WeightsError
from unibench.models import cards, draft_card, frozen

SMALL = ["resnet18", "resnet50", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_050"]


def saved(folder: Path, arch: str) -> Path:
    path = folder / f"my-{arch}.pth"
    torch.manual_seed(0)
    known = arch in torchvision.models.list_models()
    network = torchvision.models.get_model(arch) if known else timm.create_model(arch)
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, path
    )
    return path


@pytest.mark.parametrize("arch", SMALL)
def test_a_draft_keeps_its_promises(tmp_path: Path, arch: str) -> None:
    path = saved(tmp_path, arch)
    card, report = draft_card.draft(path, arch)
    assert report.share == 1.0
    assert report.prefix == "module."
    assert (card.weights.container, card.weights.prefix, card.weights.verified) == (
        "state_dict",
        "module.",
        True,
    )
    module = frozen.build(card, None)[0]
    head = tuple(card.architecture.head)
    backbone = [one for key, one in module.named_parameters() if not key.startswith(head)]
    assert card.architecture.parameters == sum(one.numel() for one in backbone) > 0
    model = frozen.load(card, given=path)
    image = np.zeros((192, 256, 3), dtype=np.uint8)
    maps = model.network(model.prepare(image)[None], list(card.layers))
    for name, layer in card.layers.items():
        assert maps[name].shape == (1, layer.channels, 192 // layer.stride, 256 // layer.stride)
    assert card.layers[card.default_layer].stride in (8, 16)


def test_a_saved_card_is_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    card, _ = draft_card.draft(saved(tmp_path, "resnet18"), "resnet18", "mine")
    assert cards.read(draft_card.save(card)) == card
    assert cards.find("mine") == card
    with pytest.raises(OutputError, match=r"mine\.toml: exists already"):
        draft_card.save(card)


def test_mistakes_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path, "resnet18")
    with pytest.raises(UnknownNameError, match="no architecture 'resnet999'; did you mean"):
        draft_card.draft(path, "resnet999")
    with pytest.raises(WeightsError, match=r"as resnet50: .* backbone tensors loaded .*another architecture"):
        draft_card.draft(path, "resnet50")
    with pytest.raises(WeightsError, match=r"none\.pth: no such file; give the checkpoint"):
        draft_card.draft(tmp_path / "none.pth", "resnet18")
