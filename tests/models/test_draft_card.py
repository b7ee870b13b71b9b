"""Cards for checkpoints that have none: what is probed must be what the network gives."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision

from unibench.errors import CardError, OutputError, UnknownNameError, WeightsError
from unibench.models import cards, draft_card, frozen, maps
from unibench.models.cards import Card, Pretraining, Weights

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
    model = frozen.load(card, weights_path=path)
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
    with pytest.raises(WeightsError, match=r"as resnet50: .* tensors loaded .*another architecture"):
        draft_card.draft(path, "resnet50")
    with pytest.raises(WeightsError, match=r"none\.pth: no such file; give the checkpoint"):
        draft_card.draft(tmp_path / "none.pth", "resnet18")


def drafted(arch: str) -> Card:
    found = draft_card.describe(arch)
    return Card(
        name="x", kind="frozen", description="", paper="", license="", default_layer=found.default_layer,
        architecture=found.architecture, weights=Weights("file:x.pth"), preprocessing=found.preprocessing,
        pretraining=Pretraining("", "", "self"), layers=found.layers,
    )  # fmt: skip


def keeps_its_word(arch: str, folder: Path) -> None:
    """The card is written, read again and the same, and its network gives the maps that it says, of odd sizes too."""
    card = drafted(arch)
    assert cards.read(draft_card.write(card, folder / "x.toml")) == card
    with torch.device("meta"):
        module = frozen.build(card, None)[0]
        network = frozen.LOADERS[card.architecture.loader].extract(card, module)
        for images in (torch.zeros(1, 3, 240, 427), torch.zeros(1, 3, 120, 160)):
            maps.check("x", network(images, list(card.layers)), card.layers, list(card.layers), images)


WALK = [
    "convnext_atto", "deit_tiny_patch16_224", "eva02_tiny_patch14_224", "mobilenetv3_small_050", "pvt_v2_b0",
    "resnet18", "resnet101", "resnext50_32x4d", "vgg11", "vit_small_patch14_dinov2", "xcit_nano_12_p16_224",
]  # fmt: skip
FIXED = ["swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "beit_base_patch16_224", "cait_xxs24_224",
         "nest_tiny_jx", "samvit_base_patch16", "vit_relpos_small_patch16_224", "maxvit_rmlp_pico_rw_256"]  # fmt: skip


@pytest.mark.parametrize("arch", WALK)
def test_what_is_drafted_is_written_read_and_kept(tmp_path: Path, arch: str) -> None:
    keeps_its_word(arch, tmp_path)


@pytest.mark.parametrize("arch", FIXED)
def test_architectures_for_images_of_one_size_are_one_line(arch: str) -> None:
    with pytest.raises(CardError, match=rf"--arch {arch}: gives no maps of images of any size \([^\n]*$"):
        draft_card.describe(arch)


def small(family: str) -> str:
    """A model of one of timm's modules whose name sounds small."""
    words = ("pico", "nano", "atto", "xx_small", "xxs", "tiny", "_t", "s_", "small", "b0", "18", "26")
    return min(
        timm.list_models(module=family),
        key=lambda name: (next((place for place, word in enumerate(words) if word in name), 99), len(name)),
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", timm.list_modules())
def test_one_model_of_every_family_of_timm_is_drafted_or_refused_in_a_line(
    tmp_path: Path, family: str
) -> None:
    with suppress(CardError):
        draft_card.describe(small(family))
        keeps_its_word(small(family), tmp_path)


@pytest.mark.parametrize("name", sorted(cards.paths()))
def test_every_card_of_the_zoo_is_written_as_it_is(tmp_path: Path, name: str) -> None:
    card = cards.find(name)
    assert cards.read(draft_card.write(card, tmp_path / f"{name}.toml")) == card


def vit(folder: Path, **beside: object) -> Path:
    """A ViT-S without its classifier, as self-supervised methods publish them."""
    torch.manual_seed(0)
    state = timm.create_model("vit_small_patch16_224", num_classes=0).state_dict()
    torch.save({"teacher": state, **beside} if beside else state, folder / "vit.pth")
    return folder / "vit.pth"


def test_a_vit_of_an_unknown_method_asks_which_it_is(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"differ in preprocessing and layers; say which it is: --like .*dino-vit-s16"
    ):
        draft_card.draft(vit(tmp_path), "vit_small_patch16_224")


@pytest.mark.parametrize("asked", [True, False])
def test_a_dino_vit_is_drafted_as_the_zoo_has_it(tmp_path: Path, asked: bool) -> None:
    dino = cards.find("dino-vit-s16")
    path = vit(tmp_path) if asked else vit(tmp_path, dino_loss={"center": torch.zeros(1, 4)})
    card, _ = draft_card.draft(path, None if asked else "vit_small_patch16_224", like=dino if asked else None)
    assert (card.preprocessing, card.layers, card.default_layer) == (
        dino.preprocessing,
        dino.layers,
        dino.default_layer,
    )
    assert replace(card.architecture, parameters=0) == replace(dino.architecture, parameters=0)
    assert card.pretraining == dino.pretraining


def test_a_vit_with_its_classifier_is_as_timm_describes_it(tmp_path: Path) -> None:
    torch.save(timm.create_model("vit_small_patch16_224").state_dict(), tmp_path / "x.pth")
    card, _ = draft_card.draft(tmp_path / "x.pth", "vit_small_patch16_224")
    assert card.preprocessing.mean == (0.5, 0.5, 0.5)


def test_a_card_that_is_like_another_has_its_architecture(tmp_path: Path) -> None:
    path = saved(tmp_path, "resnet18")
    with pytest.raises(
        CardError, match=r"--like dino-vit-s16: of the architecture 'vit_small_patch16_224', expected"
    ):
        draft_card.draft(path, "resnet18", like=cards.find("dino-vit-s16"))
    with pytest.raises(CardError, match=r"--like tdt-tiny: a joint tracker"):
        draft_card.draft(path, "resnet18", like=cards.find("tdt-tiny"))


def test_a_stem_that_stays_random_is_not_verified(tmp_path: Path) -> None:
    path = saved(tmp_path, "resnet18")
    state = torch.load(path)["state_dict"]
    torch.save({**state, "module.conv1.weight": torch.ones(64, 3, 3, 3)}, path)
    with pytest.raises(WeightsError, match=r"1 misshapen: conv1\.weight"):
        draft_card.draft(path, "resnet18")
    card, report = draft_card.draft(path, "resnet18", allow_random=("conv1.*",))
    assert (card.weights.verified, card.weights.allow_random, report.random) == (
        False,
        ("conv1.*",),
        ("conv1.weight",),
    )


@pytest.mark.parametrize("name", ["", "..", "a/b", "../evil", ".hidden", "a b"])
def test_names_that_no_file_can_have_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="not a model's name"):
        draft_card.draft(saved(tmp_path, "resnet18"), "resnet18", name)
