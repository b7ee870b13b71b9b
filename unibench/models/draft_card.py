"""A card for a checkpoint that has none: the architecture is probed, so the user need not know strides or channels."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import nn

from unibench.errors import CardError, OutputError, UnknownNameError, WeightsError
from unibench.models import cards, checkpoints, fetch, frozen, weights
from unibench.models.cards import Architecture, Card, Layer, Preprocessing, Pretraining, Series, Weights
from unibench.models.download import sha256
from unibench.records import LoadReport
from unibench.results.atomic import replace_file

PROBE = 224
"""Side of the image with which an architecture is probed, pixels."""
CELL = 8
"""Pixels per cell that UniTrack's protocols were made for."""


def draft(
    checkpoint: Path,
    arch: str | None,
    name: str | None = None,
    *,
    like: Card | None = None,
    allow_random: Sequence[str] = (),
) -> tuple[Card, LoadReport]:
    """Make a card for a checkpoint of a known architecture.

    ResNets get stride 8 as UniTrack has it; every other architecture keeps its own strides, and the deepest layer
    that is nearest to stride 8 becomes the default. Preprocessing is timm's where timm knows it, else ImageNet's. Where
    models of the zoo have the architecture and another preprocessing, what the file holds beside the backbone says of
    which method it is; where it says nothing, the user does.

    Args:
        checkpoint: The weights.
        arch: A name that torchvision or timm know; None: that of `like`.
        name: The model's name; None: the file's.
        like: Architecture, preprocessing and layers are this card's.
        allow_random: Patterns of backbone tensors that may stay random.

    Returns:
        The card, and the report on loading the checkpoint.

    Raises:
        UnknownNameError: Neither library has the architecture.
        WeightsError: The file is missing, damaged, unsafe or does not fit, or the card that it is like must be named.
        CardError: The architecture takes no images of any size, or `like` is no frozen model or of another one.
    """
    if not checkpoint.is_file():
        raise WeightsError(f"{checkpoint}: no such file; give the checkpoint with --checkpoint FILE")
    name = checkpoint.stem if name is None else name
    if not cards.NAME.fullmatch(name):
        raise OutputError(f"{name!r}: not a model's name, expected letters, digits and _ . + -; choose another "
                          "--save-card NAME")  # fmt: skip
    like = _checked(like, arch) or _recognised(checkpoint, arch)
    if like is not None:
        drafted = Draft(like.architecture, like.layers, like.default_layer, like.preprocessing)
    else:
        drafted = describe(arch or "")
    card = Card(
        name=name,
        kind="frozen",
        description=f"{drafted.architecture.name} from {checkpoint.name}",
        paper=like.paper if like else "",
        license="unknown",
        default_layer=drafted.default_layer,
        architecture=drafted.architecture,
        weights=Weights(
            source=f"file:{checkpoint.name}", sha256=sha256(checkpoint), allow_random=tuple(allow_random),
            ignore=like.weights.ignore if like else (), rename=like.weights.rename if like else (),
        ),
        preprocessing=drafted.preprocessing,
        pretraining=like.pretraining if like else Pretraining(method="unknown", data="unknown", supervision="self"),
        layers=drafted.layers,
    )  # fmt: skip
    module, report = frozen.build(card, checkpoint)
    assert report is not None
    weights.require(report, f"{checkpoint} as {card.architecture.name}")
    count = frozen.parameters(module, card.architecture.head)
    found = replace(
        card.weights, verified=not report.random, container=report.container, prefix=report.prefix
    )
    beside = checkpoint.resolve().parent / f"{name}.toml"
    architecture = replace(card.architecture, parameters=count)
    return replace(card, architecture=architecture, weights=found, path=beside), report


@dataclass(frozen=True)
class Draft:
    """What a card says of an architecture."""

    architecture: Architecture
    layers: Mapping[str, Layer]
    default_layer: str
    preprocessing: Preprocessing


IMAGENET = Preprocessing("rgb", 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIGNS = {
    r"(^|\.)dino_loss\.": "DINO",
    r"(^|\.)ibot_loss\.|(^|\.)masked_embed$": "iBOT",
    r"(^|\.)decoder_embed\.": "MAE",
    r"(^|\.)momentum_encoder\.": "MoCo v3",
}
"""What lies beside the backbone in a method's files -> the method, as cards of the zoo name it."""


def _checked(like: Card | None, arch: str | None) -> Card | None:
    if like is None:
        return None
    if not like.layers:
        raise CardError(f"--like {like.name}: a joint tracker, expected a frozen model")
    if arch not in (None, like.architecture.name):
        raise CardError(f"--like {like.name}: of the architecture {like.architecture.name!r}, expected {arch!r}; leave "
                        "--arch out")  # fmt: skip
    return like


def _recognised(checkpoint: Path, arch: str | None) -> Card | None:
    """The card of the zoo whose method the file is of, where models of one architecture differ in preprocessing."""
    import timm

    if arch is None or not timm.is_model(arch):
        return None
    known = timm.get_pretrained_cfg(arch)
    zoo = [cards.read(path) for path in sorted(cards.shipped().glob("[!.]*.toml"))]
    others = [
        card for card in zoo
        if (card.architecture.loader, card.architecture.name) == ("timm", arch) and card.weights.source != "random"
    ]  # fmt: skip
    if known is None or not any(card.preprocessing.mean != known.mean for card in others):
        return None
    found = checkpoints.read(checkpoint)
    inside = {f"{container}.{name}".lstrip(".") for container, held in found.items() for name in held}
    if any(re.search(rf"(^|\.){re.escape(str(known.classifier))}\.weight$", name) for name in inside):
        return None  # of timm's own training: as timm describes it
    methods = [method for sign, method in SIGNS.items() if any(re.search(sign, name) for name in inside)]
    same = [card for card in others if card.pretraining.method in methods]
    if len(same) == 1:
        return same[0]
    raise WeightsError(
        f"{checkpoint}: weights of {arch} without its classifier, and trainings of {arch} differ in preprocessing and "
        f"layers; say which it is: --like {' | '.join(card.name for card in others)}"
    )


def describe(arch: str) -> Draft:
    """Say what a card says of an architecture; its network is built without memory where that can be done.

    Args:
        arch: A name that torchvision or timm know.

    Raises:
        UnknownNameError: Neither library has it.
        CardError: It gives no maps of images of any size.
    """
    from torchvision.models import list_models

    resnet = re.fullmatch(r"(wide_)?resne(x)?t\d+.*", arch) and arch in list_models()
    return _resnet(arch) if resnet else _timm(arch)


def _resnet(arch: str) -> Draft:
    architecture = Architecture("torchvision", arch, strides={"layer3": 1, "layer4": 1}, head=("fc.",))
    channels = {"layer3": 1024, "layer4": 2048}
    if arch in ("resnet18", "resnet34"):
        channels = {"layer3": 256, "layer4": 512}
    layers = {layer: Layer(node=layer, stride=CELL, channels=width) for layer, width in channels.items()}
    return Draft(architecture, layers, "layer3", IMAGENET)


ANY_SIZE: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True}, {"strict_img_size": False}, {"dynamic_img_size": True}, {},
)  # fmt: skip
"""Options with which timm's networks take images of any size, tried in this order."""


def _timm(arch: str) -> Draft:
    import timm
    from torchvision.models import list_models

    if not timm.is_model(arch):
        raise UnknownNameError("architecture", arch, {*timm.list_models(), *list_models()})
    network, options, layers = probe_timm(arch, {}, f"--arch {arch}")
    known: dict[str, Any] = dict(network.pretrained_cfg)  # type: ignore[arg-type]
    architecture = Architecture("timm", arch, options=options, head=timm_head(network, known))
    return Draft(architecture, layers, nearest(layers), statistics(known))


def nearest(layers: Mapping[str, Layer]) -> str:
    """Choose the default layer: of those nearest to `CELL` pixels per cell the deepest, which stands last."""
    return min(reversed(list(layers)), key=lambda name: abs(layers[name].stride - CELL))


def statistics(known: Mapping[str, Any]) -> Preprocessing:
    """Read mean and std off timm's description of some weights; where it says none they are ImageNet's."""
    mean, std = (tuple(map(float, known.get(key) or getattr(IMAGENET, key))) for key in ("mean", "std"))
    return Preprocessing("rgb", 255.0, mean, std)  # type: ignore[arg-type]


def probe_timm(
    arch: str, given: Mapping[str, Any], where: str
) -> tuple[nn.Module, dict[str, Any], dict[str, Layer]]:
    """Build a network of timm that takes images of any size, without memory where that can be done.

    Args:
        arch: The architecture.
        given: Options of its constructor.
        where: Who asks, for messages.

    Returns:
        The network, all options, and its maps.

    Raises:
        CardError: It gives no maps of images of any size.
    """
    import timm

    reason = ""
    for flexible in ANY_SIZE:
        options = {**given, **flexible}
        for device in ("meta", "cpu"):  # networks that read their own numbers cannot be built without memory
            try:
                with torch.device(device), torch.random.fork_rng(devices=[]):
                    network = timm.create_model(arch, pretrained=False, **options)
                    return network, options, _probe(network)
            except Exception as error:  # noqa: BLE001 - whatever a network does with images it was not made for
                if not reason or "unexpected keyword" not in str(error):
                    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                if "meta" in str(error) or isinstance(error, NotImplementedError):
                    continue
                break
    raise CardError(f"{where}: gives no maps of images of any size ({reason}); choose another architecture, or "
                    "write a card by hand")  # fmt: skip


def timm_head(network: nn.Module, known: Mapping[str, Any]) -> tuple[str, ...]:
    """Prefixes of the parameters behind the last map: the classifier, and a normalisation or projection before it.

    Args:
        network: Of timm.
        known: timm's description of its weights.
    """
    classifier = known.get("classifier") or ()
    names = [classifier] if isinstance(classifier, str) else list(classifier)
    behind = [name for name in ("norm", "fc_norm", "head", "conv_head", "bn2") if hasattr(network, name)]
    return tuple(f"{name}." for name in dict.fromkeys([*names, *behind]))


def _probe(network: nn.Module) -> dict[str, Layer]:
    """Run the network on images of several sizes, and read strides and channels off its maps."""
    sizes = (PROBE, PROBE), (PROBE, 2 * PROBE), (PROBE - 21, PROBE + 3)
    square, wide, odd = (_maps(network, *size) for size in sizes)
    patches = hasattr(network, "patch_embed") or isinstance(network, _patch_stems())
    layers = {}
    for index, (one, wider, other) in enumerate(zip(square, wide, odd, strict=True)):
        more = wider.shape[-1] - one.shape[-1]
        if one.ndim != 4 or other.ndim != 4 or more < 1 or PROBE % more:
            raise ValueError(f"map {index} of {PROBE} x {PROBE} pixels has shape {tuple(one.shape)}")
        stride = PROBE // more
        offset = (stride - 1) / 2 if patches else 0.0
        layers[f"block{index + 1}"] = Layer(index, stride, channels=one.shape[1], offset=offset)
    if not layers:
        raise ValueError("no maps")
    return layers


@torch.inference_mode()
def _maps(network: nn.Module, height: int, width: int) -> list[torch.Tensor]:
    maps: list[torch.Tensor] = network.eval().forward_intermediates(  # type: ignore[operator]
        torch.zeros(1, 3, height, width), intermediates_only=True, output_fmt="NCHW"
    )
    return list(maps)


def _patch_stems() -> tuple[type, ...]:
    from timm.models import ConvNeXt

    return (ConvNeXt,)


def find_series(pattern: Path) -> list[tuple[Path, Series]]:
    """Find the checkpoints of one training; their epochs are the last numbers in their names.

    Args:
        pattern: A file, or a pattern with `*`, `?` or `[`.

    Returns:
        Files in the order of their epochs; none where the pattern is a plain name.

    Raises:
        WeightsError: No file matches, one has no number, or two have the same.
    """
    if pattern.exists() or not set(pattern.name) & set("*?["):
        return []
    paths = sorted(path for path in pattern.parent.glob(pattern.name) if path.is_file())
    if not paths:
        raise WeightsError(
            f"--checkpoint {pattern}: no file matches; give a file, or a pattern that some match"
        )
    found: dict[float, Path] = {}
    for path in paths:
        numbers = re.findall(r"\d+(?:\.\d+)?", fetch.SUFFIX.sub("", path.name))
        if not numbers:
            raise WeightsError(f"{path}: no number in its name, expected its epoch; rename it, or leave it out of "
                               f"--checkpoint {pattern}")  # fmt: skip
        epoch = float(numbers[-1])
        if epoch in found:
            raise WeightsError(f"{path}: epoch {epoch:g}, which {found[epoch].name} has too; rename one, or narrow "
                               f"--checkpoint {pattern}")  # fmt: skip
        found[epoch] = path
    name = (
        re.sub(r"[*?]+|\[[^]]*\]", "", fetch.SUFFIX.sub("", pattern.name)).strip("-_. ")
        or pattern.parent.name
    )
    return [(path, Series(name or "series", epoch)) for epoch, path in sorted(found.items())]


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
    return replace_file(path, dump(card).encode())


def dump(card: Card) -> str:
    """A card as the text of its file."""
    table = _table(card)
    for name in ("name", *cards.ASIDE, *(() if card.layers else cards.PLACEHOLDERS)):
        table.pop(name, None)
    return tomli_w.dumps(table)


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
