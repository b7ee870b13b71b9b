"""Models of libraries and hubs: a card is derived, and the network gives what it says."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from click.testing import CliRunner
from huggingface_hub import constants
from safetensors.torch import save_file
from timm.models import save_for_hf
from torch import nn
from torchvision.models import convnext

from unibench import models
from unibench.cli import main
from unibench.errors import CardError, UnibenchError, UnknownNameError, WeightsError
from unibench.models import by_name, cards, fetch, frozen, survey
from unibench.models.cards import Card
from unibench.models.download import sha256

ABSENT = "transformers is not installed: uv sync --extra transformers"
PROCESSOR = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
             "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}  # fmt: skip
TINY = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}


def of_timm(folder: Path, arch: str, **options: Any) -> nn.Module:
    """A folder as timm writes models for the hub."""
    torch.manual_seed(0)
    network = timm.create_model(arch, **options)
    save_for_hf(network, folder, model_args=options or None, safe_serialization=True)
    return network


def of_transformers(folder: Path, kind: str, **fields: Any) -> Any:
    """A folder as transformers saves models."""
    transformers = pytest.importorskip("transformers", reason=ABSENT)
    torch.manual_seed(0)
    network = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **fields)).eval()
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return network


def maps_of(card: Card, height: int = 96, width: int = 160) -> dict[str, torch.Tensor]:
    """The maps of a card; `maps.check` compares them with what it says."""
    model = frozen.load(card)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return model.network(model.prepare(image)[None], list(card.layers))


def test_a_folder_of_timm(tmp_path: Path) -> None:
    network = of_timm(tmp_path, "vit_tiny_patch16_224", num_classes=0, depth=4).eval()
    card = cards.find(str(tmp_path))
    assert (card.architecture.name, card.architecture.options["depth"]) == ("vit_tiny_patch16_224", 4)
    assert [(name, one.node, one.norm) for name, one in card.layers.items()] == [
        ("block2", 1, True), ("block3", 2, True), ("block4", 3, True)]  # fmt: skip
    assert (card.default_layer, card.layers["block4"].offset, card.preprocessing.mean) == (
        "block4",
        7.5,
        (0.5,) * 3,
    )
    taken = maps_of(card, 224, 224)
    model = frozen.load(card)
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    with torch.inference_mode():
        tokens = network.forward_features(model.prepare(image)[None])
    torch.testing.assert_close(taken["block4"], tokens[:, 1:].transpose(1, 2).unflatten(2, (14, 14)))


@pytest.mark.parametrize("kind", ["vit", "dinov2", "dinov2_with_registers", "dinov3_vit", "clip_vision_model", "ijepa",
                                  "siglip_vision_model"])  # fmt: skip
def test_a_folder_of_transformers_with_tokens(tmp_path: Path, kind: str) -> None:
    network = of_transformers(tmp_path, kind, **TINY)
    card = cards.find(str(tmp_path))
    assert list(card.layers) == ["block2", "block3", "block4"]
    assert all(one.norm for one in card.layers.values())
    assert (card.preprocessing.mean, card.preprocessing.divisor) == ((0.1, 0.2, 0.3), 255.0)
    stride = card.layers["block4"].stride
    side = 7 * stride
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    model = frozen.load(card)
    taken = model.network(model.prepare(image)[None], ["block4"])["block4"]
    with torch.inference_mode():
        any_size = {} if "dino" in kind else {"interpolate_pos_encoding": True}
        returned = network(model.prepare(image)[None], **any_size).last_hidden_state
        if kind == "clip_vision_model":  # CLIP normalises its class token alone
            returned = network.post_layernorm(returned)
    expected = returned[:, -49:].transpose(1, 2).unflatten(2, (7, 7))
    torch.testing.assert_close(taken, expected)
    assert maps_of(card, 2 * stride + 3, 3 * stride - 1)["block4"].shape[-2:] == (3, 3)


@pytest.mark.parametrize("kind", ["convnext", "resnet", "segformer"])
def test_a_folder_of_transformers_with_stages(tmp_path: Path, kind: str) -> None:
    sizes = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
    fields = {"convnext": sizes, "resnet": {**sizes, "embedding_size": 8}, "segformer": {}}
    network = of_transformers(tmp_path, kind, **fields[kind])
    card = cards.find(str(tmp_path))
    assert [one.stride for one in card.layers.values()] == [8, 16, 32]
    taken = maps_of(card, 128, 128)
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    model = frozen.load(card)
    with torch.inference_mode():
        returned = network(model.prepare(image)[None], output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(list(taken.values())[-1], returned)


def test_a_model_of_images_and_text_is_its_part_for_images(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason=ABSENT)
    text = {**TINY, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    network = of_transformers(tmp_path, "clip", vision_config=TINY, text_config=text)
    card = cards.find(str(tmp_path))
    assert card.architecture.name == "clip_vision_model"
    module = frozen.build(card, tmp_path / "model.safetensors")[0]
    assert torch.equal(
        module.state_dict()["post_layernorm.weight"], network.vision_model.post_layernorm.weight
    )


def test_a_folder_of_torch_hub(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.mobilenet_v3_small()
    name = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT.url.rpartition("/")[2]
    torch.save(network.state_dict(), tmp_path / name)
    card = cards.find(str(tmp_path))
    assert [(one.node, one.stride) for one in card.layers.values()] == [
        ("features.3", 8), ("features.8", 16), ("features", 32)]  # fmt: skip
    assert maps_of(card)["features"].shape == (1, 576, 3, 5)


def test_a_folder_of_any_name_gives_a_models_name(tmp_path: Path) -> None:
    of_timm(tmp_path / ".my models (2)", "test_resnet", num_classes=0)
    assert cards.find(str(tmp_path / ".my models (2)")).name == "my-models--2-"


def test_what_torch_has_fetched_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    chosen = torchvision.models.ResNet50_Weights.IMAGENET1K_V2
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / chosen.url.rpartition("/")[2]).write_bytes(b"x")
    card = cards.find("torchvision:resnet50")
    assert fetch.find(card, None) == tmp_path / "checkpoints" / chosen.url.rpartition("/")[2]
    assert card.architecture.strides == {"layer3": 1, "layer4": 1}


@pytest.mark.parametrize(
    ("name", "zoo"),
    [
        ("timm:vit_small_patch16_224.dino", "dino-vit-s16"),
        ("hf-hub:timm/vit_small_patch16_224.dino", "dino-vit-s16"),
        ("timm:resnet50.a1_in1k", "a1-resnet50"),
        ("torchvision:resnet50:IMAGENET1K_V1", "resnet50-imagenet"),
    ],
)
def test_a_card_of_the_zoo_goes_before(name: str, zoo: str) -> None:
    assert cards.find(name) == cards.find(zoo)
    result = CliRunner().invoke(main, ["models", "check", name])
    assert f"{name}: the card {zoo} of the zoo is of these weights" in result.output


def test_a_folder_with_a_file_of_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_timm(tmp_path / "mine", "resnet18", num_classes=0)
    zoo = replace(cards.find("a1-resnet18"), weights=replace(
        cards.find("a1-resnet18").weights, sha256=sha256(tmp_path / "mine" / "model.safetensors")))  # fmt: skip
    read = cards.read
    monkeypatch.setattr(cards, "read", lambda path: zoo if path.stem == zoo.name else read(path))
    found = cards.find(str(tmp_path / "mine"))
    assert (found.name, found.derived_from) == ("a1-resnet18", "")
    assert fetch.find(found, None) == tmp_path / "mine" / "model.safetensors"


def test_the_hubs_cache_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache laid out as the hub's library does it, with the network off."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        WeightsError, match=r"^hf-hub:me/mine: config.json is not in the hub's cache and the netw"
    ):
        cards.find("hf-hub:me/mine")
    snapshot = tmp_path / "models--me--mine" / "snapshots" / "0123"
    of_timm(snapshot, "resnet18", num_classes=0)
    (tmp_path / "models--me--mine" / "refs").mkdir()
    (tmp_path / "models--me--mine" / "refs" / "main").write_text("0123")
    card = cards.find("hf-hub:me/mine")
    assert (card.name, card.weights.source) == ("me--mine", "hf:me/mine/model.safetensors")
    assert fetch.find(card, None) == snapshot / "model.safetensors"
    assert maps_of(card)["block3"].shape == (1, 128, 12, 20)


def broken(folder: Path, **files: object) -> str:
    for name, held in files.items():
        (folder / f"{name}.json").write_text(held if isinstance(held, str) else json.dumps(held))
    return str(folder)


def no_weights(folder: Path) -> str:
    return broken(folder, config={"architecture": "resnet18", "pretrained_cfg": {}})


def of_arch(arch: object, **fields: object) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        save_file({"x": torch.zeros(1)}, folder / "model.safetensors")
        return broken(folder, config={"architecture": arch, "pretrained_cfg": {}, **fields})

    return make


@pytest.mark.parametrize(
    ("asked", "kind", "message"),
    [
        ("timm:vit_smal_patch16_224", UnknownNameError, "no model of timm 'vit_smal_patch16_224'; did you mean"),
        ("timm:resnet18.nope", UnknownNameError, "no weights of timm:resnet18 'nope'; there are: a1_in1k"),
        ("torchvision:resnet5", UnknownNameError, "no model of torchvision 'resnet5'; did you mean"),
        ("torchvision:resnet50:V9", UnknownNameError, "no weights of torchvision:resnet50 'V9'; there are"),
        ("torchvision:vit_b_16", CardError, "torchvision:vit_b_16: gives no maps of images of any size"),
        ("torchvision:raft_small", CardError, "torchvision:raft_small: not a network of RGB images"),
        ("timm:mixer_b16_224", CardError, "timm:mixer_b16_224: gives no maps of images of any size"),
        ("hf:dinov2", CardError, "hf:dinov2: 'dinov2' is no repository of the hub, expected OWNER/NAME"),
        ("./no-such-folder", WeightsError, "./no-such-folder: no such folder"),
        (str, CardError, "no config.json of timm or transformers, and no file of torchvision's"),
        (lambda folder: broken(folder, config="{"), CardError, "config.json cannot be read"),
        (no_weights, WeightsError, "no weights, expected model.safetensors or pytorch_model.bin beside config.json"),
        (of_arch("resnet999"), UnknownNameError, "did you mean 'resnet"),
        (of_arch(3), CardError, "config.json has no architecture and pretrained_cfg"),
        (of_arch("resnet18", model_args={"checkpoint_path": "x"}), CardError, "model_args has checkpoint_path = 'x'"),
        (of_arch("resnet18", model_args={"nonsense": 3}), CardError, "gives no maps .*nonsense"),
        (of_arch("x", model_type="vit"), CardError, "no preprocessor_config.json, which says mean and std"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_model_is_one_line(
    tmp_path: Path, asked: str | Callable[[Path], str], kind: type[UnibenchError], message: str
) -> None:
    name = asked if isinstance(asked, str) else asked(tmp_path)
    with pytest.raises(kind, match=message) as raised:
        cards.find(name)
    assert "\n" not in str(raised.value)
    result = CliRunner().invoke(main, ["run", "-m", name, "-t", "vos/synthetic", "-o", str(tmp_path / "out")])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "nope"}, "no model_type of transformers in .* 'nope'"),
        ({"model_type": "bert", **TINY}, "bert is no network of images"),
        ({"model_type": "vit_mae", **TINY}, "vit_mae hides patches at random"),
        ({"model_type": "vit", "hidden_size": -1}, "transformers cannot build it"),
        ({"model_type": "videomae", **TINY}, "gives no maps of images of any size"),
    ],
)
def test_what_is_no_vision_backbone_is_one_line(
    tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    pytest.importorskip("transformers", reason=ABSENT)
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UnibenchError, match=message) as raised:
        cards.find(broken(tmp_path, config=fields, preprocessor_config=PROCESSOR))
    assert "\n" not in str(raised.value)


def test_code_and_kernels_that_a_configuration_names_are_dropped(tmp_path: Path) -> None:
    of_transformers(tmp_path, "vit", **TINY)
    config = json.loads((tmp_path / "config.json").read_text())
    alien = {
        "auto_map": {"AutoModel": "evil.Evil"},
        "_attn_implementation": "kernels-community/evil",
        "dtype": "float16",
    }
    (tmp_path / "config.json").write_text(json.dumps({**config, **alien}))
    card = cards.find(str(tmp_path))
    assert not any(word in str(card.architecture.options["config"]) for word in ("evil", "float16"))


def test_transformers_is_asked_for_when_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    monkeypatch.setitem(sys.modules, "transformers", None)
    name = broken(tmp_path, config={"model_type": "vit"}, preprocessor_config=PROCESSOR)
    with pytest.raises(
        UnibenchError, match=r"transformers is not installed; pip install 'unibench-tracking\[transf"
    ):
        cards.find(name)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    network = of_transformers(tmp_path, "vit", **TINY)
    state = {
        name: one.contiguous() for name, one in network.state_dict().items() if name != "embeddings.cls_token"
    }
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"missing: embeddings\.cls_token"):
        frozen.load(cards.find(str(tmp_path)))


def test_one_command_prints_keeps_and_saves_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    of_timm(tmp_path / "mine", "test_resnet", num_classes=0)
    arguments = ["run", "-m", "./mine", "-t", "vos/synthetic", "--frames", "3", "-o", "out"]
    result = CliRunner().invoke(main, [*arguments, "--save-card", "kept"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    derived = cards.find("./mine")
    assert f"# mine, derived from {tmp_path / 'mine'}" in result.output
    (stored,) = tmp_path.glob("out/mine/*/card.toml")
    assert stored.parent.name == models.open(derived).fingerprint
    assert cards.find(derived.derived_from) == derived, "a plan finds it from any folder"
    for path in (stored, tmp_path / "model_cards" / "kept.toml"):
        assert replace(cards.read(path), name="mine") == derived
    again = CliRunner().invoke(
        main, ["run", "-m", "random-resnet18", "-t", "vos/synthetic", "-o", "x", "--save-card", "y"]
    )
    assert (again.exit_code, "0 cards were derived, expected one" in again.output) == (2, True)


def centre_of(network: nn.Module, node: str, stride: int) -> float:
    """Pixel on which cell 0 is centred, by brute force: kernels without a shape make every gradient symmetric."""
    network = network.double().eval()
    torch.manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            flat = torch.randn(parameter.shape[:2], dtype=torch.double)[:, :, None, None]
            parameter.data = flat.expand_as(parameter) / parameter[0].numel() ** 0.5
    for module in list(network.modules()):
        for name, one in list(module.named_children()):
            if isinstance(one, nn.MaxPool2d):  # of equal values it takes the first
                pool = nn.AvgPool2d(one.kernel_size, one.stride, one.padding, ceil_mode=one.ceil_mode)
                setattr(module, name, pool)
    taken: list[torch.Tensor] = []
    network.get_submodule(node).register_forward_hook(lambda module, given, returned: taken.append(returned))
    image = torch.ones(1, 3, 448, 448, dtype=torch.double, requires_grad=True)
    network(image)
    middle = taken[0].shape[-1] // 2
    (taken[0][0, :, middle, middle] * torch.randn(taken[0].shape[1], dtype=torch.double)).sum().backward()
    assert image.grad is not None
    columns = image.grad[0].square().sum(dim=(0, 1))
    return float((columns * torch.arange(448)).sum() / columns.sum()) - stride * middle


def small_vgg() -> nn.Module:
    """Convolutions, activations and pools in one row."""
    inner = [one for _ in range(4) for one in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))]
    return nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), *inner))


def small_convnext() -> nn.Module:
    widths = [(8, 16), (16, 24), (24, 32), (32, None)]
    return torchvision.models.ConvNeXt([convnext.CNBlockConfig(*width, 1) for width in widths], num_classes=2)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1]),
    "convnext": small_convnext,
    "vgg": small_vgg,
    "densenet": lambda: torchvision.models.DenseNet(4, (2, 2, 2, 2), 8),
    "googlenet": lambda: torchvision.models.googlenet(init_weights=False),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_offsets_are_those_of_the_network(name: str) -> None:
    network = NETWORKS[name]().eval()
    layers = survey.take(network, network).layers
    measured = [centre_of(network, str(one.node), one.stride) for one in layers.values()]
    assert measured == pytest.approx([one.offset for one in layers.values()], abs=0.05)


def test_names_of_libraries_are_those_that_are_read() -> None:
    assert tuple(by_name.LIBRARIES) == cards.LIBRARIES
