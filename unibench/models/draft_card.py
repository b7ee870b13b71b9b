"""A card for a checkpoint that has none: the architecture is probed, so the user need not know strides or channels."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import nn

from unibench.errors import OutputError, UnknownNameError, WeightsError
from unibench.models import cards, frozen, weights
from unibench.models.cards import Architecture, Card, Layer, Preprocessing, Pretraining, Weights
from unibench.models.download import sha256
from unibench.models.weights import LoadReport
from unibench.results.atomic import replace_file

PROBE = 224
"""Side of the image with which an architecture is probed, pixels."""
CELL = 8
"""Pixels per cell that UniTrack's protocols were made for."""


def draft(checkpoint: Path, arch: str, name: str | None = None) -> tuple[Card, LoadReport]:
    """Make a card for a checkpoint of a known architecture.

    ResNets get stride 8 as UniTrack has it; every other architecture keeps its own strides, and the deepest layer
    that is nearest to stride 8 becomes the default. Preprocessing is timm's where timm knows it, else ImageNet's.

    Args:
        checkpoint: The weights.
        arch: A name that torchvision or timm know.
        name: The model's name; None: the file's.

    Returns:
        The card, and the report on loading the checkpoint.

    Raises:
        UnknownNameError: Neither library has the architecture.
        WeightsError: The file is missing, damaged, unsafe or does not fit.
    """
    if not checkpoint.is_file():
        raise WeightsError(f"{checkpoint}: no such file; give the checkpoint with --checkpoint FILE")
    name = name or checkpoint.stem
    make = _resnet if re.fullmatch(r"(wide_)?resne(x)?t\d+.*", arch) else _timm
    architecture, layers, default, mean, std = make(arch)
    card = Card(
        name=name,
        kind="frozen",
        description=f"{arch} from {checkpoint.name}",
        paper="",
        license="unknown",
        default_layer=default,
        architecture=architecture,
        weights=Weights(source=f"file:{checkpoint.name}", sha256=sha256(checkpoint)),
        preprocessing=Preprocessing(color="rgb", divisor=255.0, mean=mean, std=std),
        pretraining=Pretraining(method="unknown", data="unknown", supervision="self"),
        layers=layers,
    )
    module, report = frozen.build(card, checkpoint)
    assert report is not None
    weights.require(report, f"{checkpoint} as {arch}")
    count = frozen.parameters(module, architecture.head)
    found = replace(card.weights, verified=True, container=report.container, prefix=report.prefix)
    return replace(card, architecture=replace(architecture, parameters=count), weights=found), report


Draft = tuple[Architecture, dict[str, Layer], str, tuple[float, float, float], tuple[float, float, float]]
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _resnet(arch: str) -> Draft:
    from torchvision.models import list_models

    if arch not in list_models():
        return _timm(arch)
    architecture = Architecture("torchvision", arch, strides={"layer3": 1, "layer4": 1}, head=("fc.",))
    channels = {"layer3": 1024, "layer4": 2048}
    if arch in ("resnet18", "resnet34"):
        channels = {"layer3": 256, "layer4": 512}
    layers = {layer: Layer(node=layer, stride=CELL, channels=width) for layer, width in channels.items()}
    return architecture, layers, "layer3", *IMAGENET


def _timm(arch: str) -> Draft:
    import timm
    from torchvision.models import list_models

    if not timm.is_model(arch):
        raise UnknownNameError("architecture", arch, {*timm.list_models(), *list_models()})
    options: dict[str, Any] = {}
    network = timm.create_model(arch, pretrained=False)
    if hasattr(network, "patch_embed") and hasattr(network.patch_embed, "dynamic_img_pad"):
        options = {"dynamic_img_size": True, "dynamic_img_pad": True}
        network = timm.create_model(arch, pretrained=False, **options)
    known: dict[str, Any] = dict(network.pretrained_cfg)  # type: ignore[arg-type]
    architecture = Architecture("timm", arch, options=options, head=_head(network, known))
    layers = _probe(network)
    default = min(layers, key=lambda name: (abs(layers[name].stride - CELL), -int(layers[name].node)))
    mean, std = (tuple(float(one) for one in known[key]) for key in ("mean", "std"))
    return architecture, layers, default, mean, std  # type: ignore[return-value]


def _head(network: nn.Module, known: Mapping[str, Any]) -> tuple[str, ...]:
    """Prefixes of the parameters behind the last map: the classifier, and a normalisation or projection before it."""
    classifier = known.get("classifier") or ()
    names = [classifier] if isinstance(classifier, str) else list(classifier)
    behind = [name for name in ("norm", "fc_norm", "head", "conv_head", "bn2") if hasattr(network, name)]
    return tuple(f"{name}." for name in dict.fromkeys([*names, *behind]))


def _probe(network: nn.Module) -> dict[str, Layer]:
    """Run the network once, and read strides and channels off its maps."""
    with torch.inference_mode():
        maps = network.eval().forward_intermediates(  # type: ignore[operator]
            torch.zeros(1, 3, PROBE, PROBE), intermediates_only=True, output_fmt="NCHW"
        )
    patches = hasattr(network, "patch_embed") or isinstance(network, _patch_stems())
    layers = {}
    for index, one in enumerate(maps):
        stride = PROBE // one.shape[-1]
        offset = (stride - 1) / 2 if patches else 0.0
        layers[f"block{index + 1}"] = Layer(index, stride, channels=one.shape[1], offset=offset)
    return layers


def _patch_stems() -> tuple[type, ...]:
    from timm.models import ConvNeXt

    return (ConvNeXt,)


def save(card: Card) -> Path:
    """Write a card to `model_cards` in the working directory.

    Returns:
        The file.

    Raises:
        OutputError: There is a card of that name, the name is no file's, or it cannot be written.
    """
    path = Path("model_cards") / f"{card.name}.toml"
    if not cards.NAME.fullmatch(card.name):
        raise OutputError(f"{card.name!r}: not a model's name, expected letters, digits and _ . + -; choose another "
                          "--save-card NAME")  # fmt: skip
    if path.exists() or card.name in cards.paths():
        raise OutputError(f"{path}: exists already, or a model of that name; choose another --save-card NAME")
    return write(card, path)


def write(card: Card, path: Path) -> Path:
    """Write a card; read again, it is the same card under the file's name.

    Args:
        card: The model.
        path: Gets the card, whole or not at all.

    Returns:
        The same path.

    Raises:
        OutputError: It cannot be written.
    """
    table = _table(card)
    for name in ("name", "path", *(cards.PLACEHOLDERS if card.kind == "joint" else ())):
        table.pop(name, None)
    return replace_file(path, tomli_w.dumps(table).encode())


def _table(record: Any) -> dict[str, Any]:
    """The fields of a record, but for those that are as they are when a card does not name them."""
    table = {}
    for one in fields(record):
        value = getattr(record, one.name)
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if default is MISSING or value != default:
            table[one.name] = _plain(value)
    return table


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return _table(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (tuple, list)) else value
