"""Every upstream's file format: a small checkpoint, written as upstream writes it, is loaded whole or refused.

The names are those of the upstream's own training code or of its released files; see the cards for the sources.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from unibench.errors import WeightsError
from unibench.models import cards, checkpoints, weights
from unibench.models.cards import Weights
from unibench.records import LoadReport

State = dict[str, Tensor]


def resnet18() -> nn.Module:
    """timm's ResNet has torchvision's names, and can be made small."""
    return ResNet(BasicBlock, [2, 1, 1, 1], channels=(8, 16, 16, 16), num_classes=5)


def resnet50() -> nn.Module:
    return ResNet(Bottleneck, [2, 1, 1, 1], channels=(8, 8, 8, 8), num_classes=5)


def vit(side: int = 64) -> nn.Module:
    return VisionTransformer(img_size=side, patch_size=16, embed_dim=24, depth=2, num_heads=2, num_classes=0)


def filled(make: Callable[[], nn.Module], seed: int) -> State:
    """The names and shapes of a network with values of their own."""
    random = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=random) if value.is_floating_point() else value.clone()
        for name, value in make().state_dict().items()
    }


def under(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {prefix + name: value for name, value in state.items()}


def without(state: Mapping[str, Tensor], *prefixes: str) -> State:
    return {name: value for name, value in state.items() if not name.startswith(prefixes)}


def optimizer() -> dict[str, Any]:
    return {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


def moco(state: State, head: Mapping[str, Tensor]) -> object:
    model = {
        **under("module.encoder_q.", {**without(state, "fc."), **head}),
        **under("module.encoder_k.", {**filled(resnet50, 9), **head}),
        "module.queue": torch.ones(4, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.long),
    }  # fmt: skip
    return {"epoch": 200, "arch": "resnet50", "state_dict": model, "optimizer": optimizer()}


def moco_v1(state: State) -> object:
    return moco(state, {"fc.weight": torch.ones(4, 32), "fc.bias": torch.ones(4)})


def moco_v2(state: State) -> object:
    return moco(state, {"fc.0.weight": torch.ones(32, 32), "fc.2.weight": torch.ones(4, 32)})


def moco_v3(state: State) -> object:
    head = {"head.0.weight": torch.ones(4, 4), "fc.0.weight": torch.ones(4, 4)}
    model = {
        **under("module.base_encoder.", {**without(state, "fc."), **head}),
        **under("module.momentum_encoder.", {**state, **head}),
        "module.predictor.0.weight": torch.ones(4, 4),
    }
    return {"epoch": 300, "arch": "vit_small", "state_dict": model, "optimizer": optimizer(), "scaler": {}}


def pycontrast(state: State) -> object:
    model = {
        **under("module.encoder.", without(state, "fc.")),
        "module.head.0.weight": torch.ones(4, 4), "module.head_jig.fc1.0.weight": torch.ones(4, 4),
    }  # fmt: skip
    memory = {"memory": torch.ones(9, 4), "params": torch.ones(5)}
    return {"model": model, "contrast": memory, "optimizer": optimizer(), "epoch": 200}


def swav(state: State) -> object:
    head = {"projection_head.0.weight": torch.ones(4, 4), "prototypes.weight": torch.ones(4, 4)}
    return under("module.", {**without(state, "fc."), **head})


def simclr_v1(state: State) -> object:
    return {"state_dict": state}


def simclr_v2(state: State) -> object:
    """Names of the converter's network: a list of stages, in which a normalisation sits beside its activation."""
    inner = {"conv1": "0", "bn1": "1.0", "conv2": "2", "bn2": "3.0", "conv3": "4", "bn3": "5.0"}
    names = {}
    for name in state:
        parts = name.split(".")
        if name.startswith("layer"):
            stage, block, rest = parts[0][-1], parts[1], parts[2:]
            if rest[0] == "downsample":
                tail = f"projection.{'shortcut' if rest[1] == '0' else 'bn.0'}.{rest[2]}"
            else:
                tail = f"net.{inner[rest[0]]}.{rest[1]}"
            names[name] = f"net.{stage}.blocks.{block}.{tail}"
        else:
            names[name] = name.replace("bn1.", "net.0.1.0.").replace("conv1.", "net.0.0.")
    head = {"layers.0.weight": torch.ones(4, 4), "layers.1.running_mean": torch.ones(4)}
    return {"resnet": {names[name]: value for name, value in state.items()}, "head": head}


def barlow_backbone(state: State) -> object:
    return without(state, "fc.")


def barlow_training(state: State) -> object:
    head = {"module.projector.0.weight": torch.ones(4, 4), "module.bn.running_mean": torch.ones(4)}
    return {"epoch": 1000, "model": {**under("module.backbone.", without(state, "fc.")), **head},
            "optimizer": optimizer()}  # fmt: skip


def vfs(state: State) -> object:
    """Names of mmaction's training code: a convolution and its normalisation are one module."""
    names = {}
    for name in state:
        module, _, leaf = name.rpartition(".")
        if "downsample" in module:
            module = module.replace("downsample.0", "downsample.conv").replace(
                "downsample.1", "downsample.bn"
            )
        elif module.rpartition(".")[2].startswith("conv"):
            module += ".conv"
        else:
            outer, dot, last = module.rpartition(".")
            module = f"{outer}{dot}{last.replace('bn', 'conv')}.bn"
        names[name] = f"backbone.{module}.{leaf}"
    kept = {names[name]: value for name, value in without(state, "fc.").items()}
    return {"meta": {"epoch": 100, "mmcv_version": "1.1.1"}, "optimizer": optimizer(),
            "state_dict": {**kept, "img_head.projection_net.0.weight": torch.ones(4, 4)}}  # fmt: skip


def pixpro(state: State) -> object:
    model = {
        **under("module.encoder.", without(state, "fc.")),
        **under("module.encoder_k.", without(filled(resnet50, 9), "fc.")),
        "module.projector.conv1.weight": torch.ones(4, 4, 1, 1), "module.projector_k.bn1.weight": torch.ones(4),
        "module.value_transform.weight": torch.ones(4, 4, 1, 1),
    }  # fmt: skip
    return {"opt": argparse.Namespace(arch="resnet50", crop=0.08), "model": model, "optimizer": optimizer(),
            "scheduler": {"last_epoch": 3}, "epoch": 400}  # fmt: skip


def crw(state: State) -> object:
    model = {**under("encoder.model.", without(state, "fc.")), "selfsim_fc.0.weight": torch.ones(4, 4)}
    scheduler = {"milestones": Counter({3: 1}), "last_epoch": 24}
    return {"model": model, "optimizer": optimizer(), "lr_scheduler": scheduler, "epoch": 24,
            "args": argparse.Namespace(head_depth=0)}  # fmt: skip


def crw_of_older_code(state: State) -> object:
    """Reflection padding was a layer before each 3x3 and 7x7 convolution."""
    kept = without(state, "fc.")
    names = {name: name.replace("conv1.weight", "conv1.1.weight").replace("conv2.weight", "conv2.1.weight")
             for name in kept}  # fmt: skip
    return {"model": {"encoder.model." + names[name]: value for name, value in kept.items()}}


def uvc(state: State) -> object:
    model = {
        **under("module.gray_encoder.", without(state, "fc.")),
        **under("module.rgb_encoder.", without(filled(resnet18, 9), "fc.")),
        "module.decoder.0.weight": torch.ones(4), "module.nlm.weight": torch.ones(4),
        "module.normalize.mean": torch.ones(3),
    }  # fmt: skip
    return {"epoch": 5, "best_loss": np.float64(0.5), "state_dict": model}


def timecycle(state: State) -> object:
    inflated = {name: value[:, :, None] if value.ndim == 4 else value for name, value in state.items()}
    model = {**under("module.encoderVideo.", without(inflated, "fc.")),
             "module.afterconv1.weight": torch.ones(4, 4, 1, 1, 1), "module.linear2.bias": torch.ones(6)}  # fmt: skip
    return {"epoch": 14, "state_dict": model, "optimizer": optimizer()}


def dino_training(state: State) -> object:
    head = {"head.mlp.0.weight": torch.ones(4, 4), "head.last_layer.weight_v": torch.ones(4, 4)}
    make = vit if "cls_token" in state else resnet50
    return {
        "student": under("module.", {**under("backbone.", filled(make, 9)), **head}),
        "teacher": {**under("backbone.", state), **head},
        "optimizer": optimizer(), "epoch": 300,
        "args": argparse.Namespace(arch="vit_small", global_crops_scale=(0.4, 1.0)),
        "dino_loss": {"center": torch.zeros(1, 4)}, "fp16_scaler": {"scale": 65536.0, "_growth_tracker": 0},
    }  # fmt: skip


def flat(state: State) -> object:
    return state


def ibot(state: State) -> object:
    return {"state_dict": {**state, "masked_embed": torch.zeros(1, 24)}}


def mae(state: State) -> object:
    decoder = {"mask_token": torch.zeros(1, 1, 8), "decoder_pos_embed": torch.zeros(1, 17, 8),
               "decoder_blocks.0.norm1.weight": torch.ones(8), "decoder_pred.bias": torch.ones(8)}  # fmt: skip
    return {"model": {**state, **decoder}, "optimizer": optimizer(), "epoch": 799, "scaler": {},
            "args": argparse.Namespace(model="mae_vit_base_patch16")}  # fmt: skip


def dinov2(state: State) -> object:
    return {**state, "mask_token": torch.zeros(1, 24)}


def ijepa(state: State) -> object:
    return {
        "encoder": under("module.", filled(vit, 9)), "predictor": {"module.predictor_embed.weight": torch.ones(4, 4)},
        "target_encoder": under("module.", state), "opt": optimizer(), "scaler": None, "epoch": 300, "loss": 0.1,
    }  # fmt: skip


@dataclass(frozen=True)
class Format:
    make: Callable[[], nn.Module]
    write: Callable[[State], object]
    card: str
    bare: bool = True
    """Whether the file is also understood without the card's rules."""
    pinned: Mapping[str, str] = field(default_factory=dict)
    """Where the backbone is; without it, another whole copy in the file is better than a damaged one."""


FORMATS = {
    "MoCo v1": Format(resnet50, moco_v1, "moco-v1-resnet50"),
    "MoCo v2": Format(resnet50, moco_v2, "moco-v2-resnet50"),
    "MoCo v3, ResNet": Format(resnet50, moco_v3, "moco-v3-resnet50"),
    "MoCo v3, ViT": Format(vit, moco_v3, "moco-v3-vit-s16"),
    "PCL v1": Format(resnet50, moco_v1, "pcl-v1-resnet50"),
    "PCL v2": Format(resnet50, moco_v2, "pcl-v2-resnet50"),
    "InfoMin": Format(resnet50, pycontrast, "infomin-resnet50"),
    "InsDis": Format(resnet50, pycontrast, "insdis-resnet50"),
    "PIRL": Format(resnet50, pycontrast, "pirl-resnet50"),
    "SwAV": Format(resnet50, swav, "swav-resnet50"),
    "DeepCluster v2": Format(resnet50, swav, "deepcluster-v2-resnet50"),
    "SeLa v2": Format(resnet50, swav, "sela-v2-resnet50"),
    "SimCLR v1": Format(resnet50, simclr_v1, "simclr-v1-resnet50"),
    "SimCLR v2": Format(resnet50, simclr_v2, "simclr-v2-resnet50", bare=False),
    "Barlow Twins": Format(resnet50, barlow_backbone, "barlow-twins-resnet50"),
    "Barlow Twins, training": Format(resnet50, barlow_training, "barlow-twins-resnet50"),
    "VFS": Format(resnet50, vfs, "vfs-resnet50", bare=False),
    "DetCo, as MoCo": Format(resnet50, moco_v2, "detco-resnet50", pinned={"prefix": "module.encoder_q."}),
    "DetCo, flat": Format(resnet50, barlow_backbone, "detco-resnet50"),
    "PixPro": Format(resnet50, pixpro, "pixpro-resnet50"),
    "CRW": Format(resnet18, crw, "crw-resnet18"),
    "CRW, older code": Format(resnet18, crw_of_older_code, "crw-resnet18", bare=False),
    "UVC": Format(resnet18, uvc, "uvc-resnet18"),
    "TimeCycle": Format(resnet50, timecycle, "timecycle-resnet50"),
    "DINO, ResNet": Format(resnet50, barlow_backbone, "dino-resnet50"),
    "DINO, ViT": Format(vit, flat, "dino-vit-s16"),
    "DINO, training": Format(vit, dino_training, "dino-vit-s16", pinned={"container": "teacher"}),
    "iBOT": Format(vit, ibot, "ibot-vit-s16"),
    "iBOT, training": Format(vit, dino_training, "ibot-vit-s16", pinned={"container": "teacher"}),
    "MAE": Format(vit, mae, "mae-vit-b16"),
    "DINOv2": Format(vit, dinov2, "dinov2-vit-s14"),
    "I-JEPA": Format(vit, ijepa, "ijepa-vit-h14", bare=False),
    "torchvision": Format(resnet18, flat, "resnet18-imagenet"),
    "timm": Format(resnet18, flat, "a1-resnet18"),
}  # fmt: skip


def saved(folder: Path, kind: Format) -> tuple[Path, State]:
    state = filled(kind.make, 1)
    torch.save(kind.write(state), folder / "x.pth")
    return folder / "x.pth", state


@pytest.mark.parametrize("name", FORMATS)
def test_the_backbone_is_found_whole(tmp_path: Path, name: str) -> None:
    kind = FORMATS[name]
    path, state = saved(tmp_path, kind)
    card = cards.find(kind.card)
    for rules in (card.weights, Weights(source="file:x.pth"))[: 1 + kind.bare]:
        network = kind.make()
        report = weights.fit_file(network, path, rules, card.architecture.head)
        weights.require(report, name)
        assert (report.share, report.missing, report.misshapen) == (1.0, (), ()), str(report)
        for key in report.loaded:
            assert torch.equal(network.state_dict()[key], state[key]), key


@pytest.mark.parametrize("name", FORMATS)
def test_one_missing_tensor_is_refused_by_name(tmp_path: Path, name: str) -> None:
    kind = FORMATS[name]
    card = cards.find(kind.card)
    rules = replace(card.weights, **kind.pinned)
    path, state = saved(tmp_path, kind)
    whole = weights.fit_file(kind.make(), path, rules, card.architecture.head).loaded

    def load(wrong: tuple[str, ...]) -> LoadReport:
        torch.save(kind.write({key: value for key, value in state.items() if key not in wrong}), path)
        return weights.fit_file(kind.make(), path, rules, card.architecture.head)

    report = load(whole[3:4])
    assert (report.missing, len(report.loaded)) == (whole[3:4], len(whole) - 1)
    assert f"1 missing: {whole[3]}" in str(report)
    with pytest.raises(
        WeightsError, match=rf"here: .* tensors loaded .*1 missing: {whole[3]}.*expected all of them"
    ):
        weights.require(report, "here")


def test_a_file_of_two_conventions_is_refused_and_says_so() -> None:
    """The 2021 loader stripped a prefix or dropped a `.1`, never both, and loaded 3 of 20 convolutions in silence."""
    state = without(filled(resnet18, 1), "fc.")
    half = len(state) // 2
    items = list(state.items())
    mixed = {**under("encoder.model.", dict(items[:half])), **dict(items[half:])}
    report = weights.fit(resnet18(), mixed, Weights(source="file:x"), ("fc.",))
    assert report.share < 0.7
    assert len(report.left_over) + len(report.loaded) == len(without(state, "fc.")) - sum(
        name.endswith("num_batches_tracked") for name in state
    )
    with pytest.raises(WeightsError, match=r"missing.*left over.*another architecture, or keys that need"):
        weights.require(report, "here")


def test_the_old_crw_names_are_read_with_and_without_the_extra_layer() -> None:
    card = cards.find("crw-resnet18")
    state = without(filled(resnet18, 1), "fc.")
    mixed = {name.replace("conv2.weight", "conv2.1.weight"): value for name, value in state.items()}
    report = weights.fit(resnet18(), under("encoder.model.", mixed), card.weights, ("fc.",))
    assert (report.share, report.left_over) == (1.0, ())


def test_two_tensors_of_one_name_are_refused() -> None:
    card = cards.find("crw-resnet18")
    twice = {"encoder.model.conv1.weight": torch.ones(2), "encoder.model.conv1.1.weight": torch.zeros(2)}
    with pytest.raises(WeightsError, match=r"turns 'encoder\.model\.conv1\.1\.weight' and another tensor"):
        weights.fit(resnet18(), twice, card.weights, ())


def test_a_second_copy_of_the_backbone_is_mentioned(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, FORMATS["MoCo v2"])
    rules = Weights(source="file:x.pth")
    report = weights.fit_file(resnet50(), path, rules, ("fc.",))
    assert (report.container, report.prefix) == ("state_dict", "module.encoder_q.")
    assert report.alike == ("prefix 'module.encoder_k.'",)
    path, _ = saved(tmp_path, FORMATS["DINO, training"])
    report = weights.fit_file(vit(), path, rules, ())
    assert (report.container, report.prefix) == ("teacher", "backbone.")
    assert report.alike == ("container 'student'",)
    assert "from 'teacher' with prefix 'backbone.' stripped; 2 left over: head.mlp.0.weight" in str(report)


def test_a_copy_that_lacks_a_name_does_not_give_way_to_another_copy(tmp_path: Path) -> None:
    state = filled(resnet50, 1)
    torch.save(moco_v2({key: value for key, value in state.items() if key != "bn1.bias"}), tmp_path / "x.pth")
    report = weights.fit_file(resnet50(), tmp_path / "x.pth", Weights(source="file:x.pth"), ("fc.",))
    assert (report.prefix, report.missing) == ("module.encoder_q.", ("bn1.bias",))
    assert report.alike == ("prefix 'module.encoder_k.'",)


def test_unusual_containers_and_prefixes_are_found(tmp_path: Path) -> None:
    state = filled(resnet18, 1)
    torch.save({"hyper": {"lr": 1.0}, "nets": {"online": under("my.trunk.", state)}}, tmp_path / "x.pth")
    report = weights.fit_file(resnet18(), tmp_path / "x.pth", Weights(source="file:x"), ())
    assert (report.share, report.container, report.prefix) == (1.0, "nets.online", "my.trunk.")
    rules = Weights(source="file:x", container="nets.target")
    with pytest.raises(
        WeightsError, match=r"x\.pth: no tensors in 'nets\.target', but in nets\.online; correct"
    ):
        weights.fit_file(resnet18(), tmp_path / "x.pth", rules, ())


def test_safetensors_are_read(tmp_path: Path) -> None:
    network = timm.create_model("resnet18", channels=(8, 8, 8, 8))
    safetensors.torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
    other = timm.create_model("resnet18", channels=(8, 8, 8, 8))
    report = weights.fit_file(other, tmp_path / "model.safetensors", Weights(source="file:x"), ())
    assert (report.share, report.left_over) == (1.0, ())
    assert torch.equal(other.state_dict()["conv1.weight"], network.state_dict()["conv1.weight"])


def test_positions_of_another_grid_are_resized_and_the_report_says_so() -> None:
    """Sampled from a plane, positions of a finer grid are those of the plane; the class token's stays as it is."""

    def plane(side: int) -> Tensor:
        along = (torch.arange(side) + 0.5) / side
        grid = torch.stack(torch.meshgrid(along, along, indexing="ij"), dim=-1).reshape(1, side**2, 2)
        return torch.cat([torch.full((1, 1, 24), 7.0), grid.repeat(1, 1, 12)], dim=1)

    state = {**filled(vit, 1), "pos_embed": plane(4)}
    network = vit(128)
    report = weights.fit(network, state, Weights(source="file:x"), ())
    assert report.share == 1.0
    assert report.adapted == ("pos_embed (1, 17, 24) -> (1, 65, 24)",)
    assert "1 adapted: pos_embed" in str(report)
    resized = network.state_dict()["pos_embed"]
    assert torch.equal(resized[:, 0], torch.full((1, 24), 7.0))
    inner = resized[0, 1:].reshape(8, 8, 24)[2:6, 2:6]
    torch.testing.assert_close(inner, plane(8)[0, 1:].reshape(8, 8, 24)[2:6, 2:6], atol=0.02, rtol=0)


@pytest.mark.parametrize("tokens", [16, 18, 1])
def test_positions_that_are_no_square_grid_are_refused(tokens: int) -> None:
    state = {**filled(vit, 1), "pos_embed": torch.zeros(1, tokens, 24)}
    report = weights.fit(vit(), state, Weights(source="file:x"), ())
    assert report.misshapen == ("pos_embed",)


def test_a_kernel_that_looks_at_several_frames_is_refused() -> None:
    state = filled(resnet18, 1)
    state["conv1.weight"] = state["conv1.weight"][:, :, None].repeat(1, 1, 3, 1, 1)
    assert weights.fit(resnet18(), state, Weights(source="file:x"), ()).misshapen == ("conv1.weight",)


def test_arguments_and_scores_of_a_training_script_are_harmless(tmp_path: Path) -> None:
    kept = {"args": argparse.Namespace(lr=0.1, crops=[1, 2]), "best": np.float32(0.7), "count": np.int64(3),
            "kind": np.dtype("float64")}  # fmt: skip
    torch.save({**kept, "state_dict": {"a": torch.ones(1)}}, tmp_path / "x.pth")
    torch.save(
        {**kept, "state_dict": {"a": torch.ones(1)}},
        tmp_path / "old.pth",
        _use_new_zipfile_serialization=False,
    )
    for name in ("x.pth", "old.pth"):
        assert list(checkpoints.read(tmp_path / name)) == ["state_dict"]


def test_rules_of_a_card_are_kept_apart_from_what_is_found() -> None:
    """A card's own prefix is used even where another one fits as well."""
    state = filled(resnet18, 1)
    both = {**under("first.", state), **under("second.", filled(resnet18, 2))}
    network = resnet18()
    rules = replace(Weights(source="file:x"), prefix="second.", ignore=("first.",))
    report = weights.fit(network, both, rules, ())
    assert (report.prefix, report.left_over, report.alike) == ("second.", (), ())
    assert torch.equal(network.state_dict()["bn1.bias"], both["second.bn1.bias"])
