"""Cards, checkpoints and networks that once gave a wrong score, another library's exception, or no end."""

import tomllib
import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import Tensor
from torchvision.models import resnet18

from tests.corpus.cases import DAVIS16, DEEP, NO_END, Case, Make, probed, vos
from tests.datasets import layouts
from unibench.models import cards

CARD = DAVIS16.replace("lab-colour", "m.toml")
CHECKPOINT = "run --checkpoint w.pth --arch resnet18 -t vos/davis2016 --data data -o out"
RESNET = ("random-resnet18", "layer3")


def card_file(root: Path, name: str, **tables: Any) -> None:
    """A shipped card with other fields, as m.toml, beside a clip."""
    vos((1,), root, folder="DAVIS2016")
    content = tomllib.loads(cards.paths()[name].read_text())
    for table, fields in tables.items():
        if isinstance(fields, Mapping):
            content.setdefault(table, {}).update(fields)
        else:
            content[table] = fields
    layouts.text(root / "m.toml", tomli_w.dumps(content))


def pooled(**tables: Any) -> Make:
    return partial(card_file, name="lab-colour", **tables)


def pooled_layer(**fields: Any) -> Make:
    layer = {"node": "pooled", "stride": 8, "offset": 3.5, "channels": 3}
    return pooled(layers={"pooled": layer | fields})


def with_text(old: str, new: str) -> Make:
    """The card of lab-colour, a piece of its text replaced."""

    def make(root: Path) -> None:
        vos((1,), root, folder="DAVIS2016")
        content = cards.paths()["lab-colour"].read_text()
        assert old in content
        layouts.text(root / "m.toml", content.replace(old, new))

    return make


def resnet(**tables: Any) -> Make:
    return partial(card_file, name="random-resnet18", **tables)


def vit(**tables: Any) -> Make:
    return partial(card_file, name="random-vit-tiny", **tables)


def vit_block(node: object) -> Make:
    return vit(layers={"block12": {"node": node, "stride": 16, "offset": 7.5, "channels": 192}})


def evil_names(root: Path) -> None:
    resnet(weights={"source": "file:w.pth", "rename": [["(a|aa)+$", "x"]]})(root)
    torch.save({"a" * 60 + "!": torch.zeros(1), **state()}, root / "w.pth")


def shadowing(root: Path) -> None:
    """A folder with a card that has a shipped model's name, and code."""
    pooled(architecture={"name": "os:system", "options": {"command": "touch ran"}})(root)
    (root / "model_cards").mkdir()
    (root / "m.toml").rename(root / "model_cards" / "hog.toml")


def checked(root: Path) -> None:
    pooled(architecture={"name": "os:system", "options": {"command": "touch ran"}})(root)


def hidden_name(root: Path) -> None:
    pooled()(root)
    (root / "m.toml").rename(root / "...toml")


@cache
def _state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return resnet18(weights=None).state_dict()


def state() -> dict[str, Tensor]:
    return dict(_state())


def tensors(change: Callable[[dict[str, Tensor]], object], root: Path) -> None:
    """A checkpoint of a ResNet-18, changed."""
    vos((1,), root, folder="DAVIS2016")
    held = state()
    change(held)
    torch.save({"state_dict": held}, root / "w.pth")


def each(of: Callable[[Tensor], Tensor]) -> Make:
    def change(held: dict[str, Tensor]) -> None:
        for name, one in held.items():
            if one.is_floating_point():
                held[name] = of(one)

    return partial(tensors, change)


def last(of: Callable[[Tensor], Tensor], name: str = "layer4.1.bn2.running_var") -> Make:
    return partial(tensors, lambda held: held.update({name: of(held[name])}))


def quantised(one: Tensor) -> Tensor:
    with warnings.catch_warnings(action="ignore"):  # deprecated: old files have it
        return torch.quantize_per_tensor(one, 0.1, 0, torch.qint8)


def one_infinite(one: Tensor) -> Tensor:
    made = one.clone()
    made.view(-1)[0] = torch.inf
    return made


NETWORK = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.calls = kind, 0

    def forward(self, images):
        self.calls += 1
        pooled = F.avg_pool2d(images, 8, ceil_mode=True, count_include_pad=False)
        made = {
            "channels": lambda: pooled.repeat(1, 3, 1, 1)[:, :7],
            "const": lambda: torch.ones_like(pooled),
            "dict": lambda: {"other": pooled},
            "half": lambda: pooled.half(),
            "huge": lambda: pooled * 1e30,
            "inf": lambda: pooled / 0,
            "int": lambda: pooled.int(),
            "nan": lambda: pooled * torch.nan,
            "ndim": lambda: pooled.mean((2, 3)),
            "none": lambda: None,
            "noise": lambda: torch.rand_like(pooled),
            "onenan": lambda: pooled * (torch.nan if self.calls == 2 else 1),
            "raises": lambda: 1 / 0,
            "stride": lambda: F.avg_pool2d(pooled, 2),
            "zero": lambda: pooled * 0,
        }[self.kind]()
        return {"pooled": made}


def make(kind):
    return kind if kind == "text" else Net(kind)
"""


def network(kind: str, module: str, root: Path) -> None:
    """A plug-in with a network that gives maps of some kind, and its card."""
    pooled(architecture={"name": f"{module}:make", "options": {"kind": kind}})(root)
    layouts.text(root / f"{module}.py", NETWORK)


CONSTANT = "feature maps are constant"
FINITE = r"the map is not finite, expected finite numbers of ordinary size"
MAPS = {
    "channels": (2, "7 channels, expected 3 as the card says"),
    "const": (0, CONSTANT),
    "dict": (2, "found dict, expected a map"),
    "half": (0, "written:"),
    "huge": (2, r"values up to \d+e\+\d+, whose squares overflow"),
    "inf": (2, FINITE),
    "int": (2, "a map of torch.int32, expected floating-point numbers"),
    "nan": (2, FINITE),
    "ndim": (2, "expected a map .batch, channels, h, w."),
    "none": (2, "expected a map"),
    "noise": (0, "written:"),
    "onenan": (1, FINITE),
    "raises": (
        2,
        r"the network fails on an image of .*ZeroDivisionError: division by zero.* it does so on every image",
    ),
    "stride": (2, "cells along a height .* expected stride 8 as the card says"),
    "text": (2, "returns str, expected a torch module"),
    "zero": (0, CONSTANT),
}
"""Kind of map -> exit code, and what is said."""
EVERYWHERE = ("nan", "inf", "onenan", "zero", "int")


def networks() -> list[Case]:
    """Every kind in one task, and those that a head might let through in all."""
    rows = []
    for kind, (code, text) in MAPS.items():
        families = ("vos", "sot", "mot", "pose", "posetrack") if kind in EVERYWHERE else ("vos", "sot", "mot")
        for family in families:
            module = f"plug_{kind}_{family}"
            command = f"--plugin {module}.py run -m m.toml -t {family}/synthetic --frames 3 -o out"
            rows.append(Case(f"num_{kind}_{family}", partial(network, kind, module), command, code, text))
    return rows


CASES = (
    # what a card says
    Case("card_channels_wrong", pooled_layer(channels=7), CARD, 2, "3 channels, expected 7 as the card says"),
    Case("card_stride_wrong", pooled_layer(stride=16), CARD, 2, "expected stride 16 as the card says"),
    Case("card_stride_huge", pooled_layer(stride=10**12), CARD, 2, r"layers\.pooled\.stride: found 1000000000000, expected"),
    Case("card_stride_zero", pooled_layer(stride=0), CARD, 2, r"layers\.pooled\.stride: found 0, expected int, at least 1"),
    Case("card_offset_nan", with_text("offset = 3.5", "offset = nan"), CARD, 2, "offset: found nan, expected a finite number"),
    Case("card_offset_wrong", pooled_layer(offset=-900.0), CARD, 2, "offset -900 puts the cells outside the image"),
    Case("card_inf_std", with_text("std = [25.0", "std = [inf"), CARD, 2, "preprocessing.std: found inf, expected a finite"),
    Case("card_huge_std", with_text("std = [25.0", "std = [1e30"), CARD, 2, "preprocessing.std: found"),
    Case("card_zero_std", with_text("std = [25.0", "std = [0.0"), CARD, 2, "preprocessing.std: found"),
    Case("card_nan_mean", with_text("mean = [50.0", "mean = [nan"), CARD, 2, "preprocessing.mean: found nan, expected a finite"),
    Case("card_inf_divisor", with_text("divisor = 1.0", "divisor = inf"), CARD, 2, "divisor: found inf, expected a finite"),
    Case("card_int_400digits_float", with_text("divisor = 1.0", f"divisor = {NO_END}"), CARD, 2, "divisor: found an integer of more"),
    Case("card_int_5000digits", with_text("stride = 8", f"stride = {'9' * 5000}"), CARD, 2, "not a readable TOML file"),
    Case("card_nested_deep", with_text("cell = 8", f"cell = {DEEP}"), CARD, 2, "nested too deeply"),
    Case("card_name_dots", hidden_name, CARD.replace("m.toml", "...toml"), 2, "no name|expected letters|called"),
    Case("card_https_badipv6", pooled(weights={"source": "https://[::1/x"}), CARD, 2, "is no address of a file"),
    Case("card_https_space", pooled(weights={"source": "https://a b/x"}), CARD, 2, "weights.source"),
    Case("card_source_out", pooled(weights={"source": "file:../w.pth"}), CARD, 2, "weights.source"),
    Case("card_color", with_text('color = "lab"', 'color = "hsv"'), CARD, 2, "preprocessing.color is 'hsv', expected one of"),
    Case("card_loader", pooled(architecture={"loader": "pickle"}), CARD, 2, "loader"),
    Case("card_unknown", pooled(architecture={"layer": 3}), CARD, 2, "unknown field 'layer'"),
    # what its constructor or its nodes make of it
    Case("card_option_huge", pooled(architecture={"options": {"cell": 10**12}}), CARD, 2, "architecture.options"),
    Case("card_option_type", pooled(architecture={"options": {"cell": -8}}), CARD, 2, "the network fails|cannot build"),
    Case("card_option_text", pooled(architecture={"options": {"cell": "8"}}), CARD, 2, "the network fails|cannot build"),
    Case("card_option_unknown", pooled(architecture={"options": {"cells": 8}}), CARD, 2, "cannot build .* unexpected keyword"),
    Case("card_node_missing", resnet(layers={"layer3": {"node": "layer77", "stride": 8, "channels": 256}}), CARD, 2, "layer77"),
    Case("card_node_py_missing", pooled_layer(node="nope"), CARD, 2, "nope"),
    Case("card_padding_valid", resnet(architecture={"strides": {"layer3": 0}, "padding": "reflect"}), CARD, 2, "at least 1"),
    Case("card_strides_neg", resnet(architecture={"strides": {"layer3": -2}}), CARD, 2, "at least 1"),
    Case("card_strides_name", resnet(architecture={"strides": {"layer9": 1}}), CARD, 2, "architecture.strides names 'layer9'"),
    Case("card_seed_huge", resnet(weights={"seed": 2**63 - 1}), "models check m.toml", 0, "m"),
    Case("card_seed_beyond", with_text('source = "none"', f'source = "random"\nseed = {2**64}'), CARD, 2, "seed: found an integer of"),
    Case("card_timm_index", vit_block(99), CARD, 2, "feature index 99 is out of range"),
    Case("card_timm_node_text", vit_block("blocks"), CARD, 2, "node"),
    Case("card_timm_opt_bad", vit(architecture={"options": {"num_heads": 5}}), CARD, 2, "cannot build 'vit_tiny_patch16_224'"),
    Case("card_timm_name", vit(architecture={"name": "vit_tiny"}), CARD, 2, "no timm architecture 'vit_tiny'"),
    Case("card_regex_evil", evil_names, CARD, 2, r"weights.rename"),
    # code
    Case("card_python_returns_int", pooled(architecture={"name": "os:system", "options": {"command": "true"}}), CARD, 2,
         "code outside unibench, which a card cannot run"),
    Case("y_subprocess_card", pooled(architecture={"name": "subprocess:getoutput", "options": {"cmd": "touch ran"}}), CARD, 2,
         "code outside unibench"),
    Case("y_python_card_in_cwd_shadows", shadowing, DAVIS16.replace("lab-colour", "hog"), 2, "hog"),
    Case("y_python_card_modelscheck", checked, "models check m.toml", 0, "code outside unibench"),
    # checkpoints
    Case("ck_good", partial(tensors, lambda held: None), CHECKPOINT, 0, "written:"),
    Case("ck_bool", each(Tensor.bool), CHECKPOINT, 2, "torch.bool"),
    Case("ck_complex", each(lambda one: one.to(torch.complex64)), CHECKPOINT, 2, "complex"),
    Case("ck_int8", each(Tensor.char), CHECKPOINT, 2, "int8"),
    Case("ck_meta", last(lambda one: one.to("meta")), CHECKPOINT, 2, "meta|without values"),
    Case("ck_quantized", last(quantised), CHECKPOINT, 2, "quanti"),
    Case("ck_sparse", last(Tensor.to_sparse), CHECKPOINT, 2, "sparse"),
    Case("ck_one_inf", last(one_infinite), CHECKPOINT, 2, "layer4.1.bn2.running_var.* not finite|not finite.*running_var"),
    Case("ck_nan", each(lambda one: one * torch.nan), CHECKPOINT, 2, "not finite"),
    Case("y_sot_nan_ckpt", each(lambda one: one * torch.nan), CHECKPOINT.replace("vos/davis2016 --data data", "sot/synthetic --frames 4"),
         2, "not finite"),
    Case("ck_zeros", each(torch.zeros_like), CHECKPOINT, 2, "is zero, as all others are"),
    Case("ck_stem", last(lambda one: one[:, :, 2:5, 2:5], "conv1.weight"), CHECKPOINT, 2, "conv1.weight"),
    Case("ck_missing", partial(tensors, lambda held: held.pop("layer1.0.conv1.weight")), CHECKPOINT, 2, "layer1.0.conv1.weight"),
    Case("ck_empty", partial(tensors, dict.clear), CHECKPOINT, 2, "w.pth"),
    Case("ck_no_file", pooled(), CHECKPOINT, 2, "w.pth"),
    Case("ck_text", lambda root: (vos((1,), root, folder="DAVIS2016"), layouts.text(root / "w.pth", "no weights")), CHECKPOINT, 2, "w.pth"),
    Case("savecard_empty", partial(tensors, lambda held: None), f"{CHECKPOINT} --save-card ''", 2, "name"),
    Case("savecard_out", partial(tensors, lambda held: None), f"{CHECKPOINT} --save-card ../x", 2, "name"),
    Case("probe_zero_features", lambda root: (probed(root), with_text("std = [25.0, 25.0, 25.0]", "std = [1e6, 1e6, 1e6]")(root)),
         "probe -m m.toml --data im", 2, "a side of at most|constant"),
    # maps
    *networks(),
    Case("y_sot_xcorr_nan", partial(network, "nan", "plug_xcorr"),
         "--plugin plug_xcorr.py run -m m.toml -t sot/synthetic@xcorr --frames 4 -o out", 2, FINITE),
)  # fmt: skip
