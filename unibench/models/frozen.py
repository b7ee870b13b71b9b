"""A card becomes a frozen model: images in, feature maps of named layers out, all from one pass."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from unibench import plugins
from unibench.errors import CardError, FeaturesError, UnibenchError, UnknownNameError
from unibench.models import maps, names, transformers_models, weights
from unibench.models.cards import SCALE, Card, Preprocessing, Window, seen_layers
from unibench.models.download import sha256
from unibench.models.windows import Span
from unibench.records import LoadReport

LAYOUT = torch.channels_last
"""How images, weights and maps lie in memory: the faster way for convolutions, on CPUs as on GPUs."""
PROBE = 256
"""Side of a plain image, pixels: a network that fails on it as well fails on every image, not on one of a clip."""
BATCH = 8
"""Frames in one pass, but for CPUs: these have enough to do with one."""
Network = Callable[..., dict[str, Tensor]]
"""Prepared images (batch, 3, height, width) and layer names -> one map a layer. A clip encoder also takes windows
(batch, frame, 3, height, width) and, third, the number of the map in time that is read; an image it repeats."""


@dataclass(frozen=True, eq=False)
class FrozenModel:
    """An appearance model that no head may change.

    Cell (row, column) of a layer's map is centred on pixel (offset + stride * column, offset + stride * row).
    """

    name: str
    prepare: Callable[[UInt8[np.ndarray, "height width 3"]], Float[Tensor, "3 height width"]]
    """RGB 0-255 image -> the network's own normalised input, on its device; 0 is the mean colour."""
    network: Network
    """Prepared images and layer names -> one map a layer, all from one pass, without gradients."""
    strides: Mapping[str, int]
    """Layer -> pixels of the input per feature cell."""
    offsets: Mapping[str, float]
    """Layer -> pixel on which cell 0 is centred (0 for ResNets, (patch - 1) / 2 for ViTs)."""
    device: torch.device
    fingerprint: str = ""
    """Hash of everything on the card that changes features, and of the weights file."""
    batch: int = 1
    """Frames that trackers put into one pass, where a pass needs nothing of the frames before."""
    span: Span | None = None
    """Which frames around a frame the network is shown for it; None: that frame alone."""
    loaded: LoadReport | None = None
    """What became of the weights; None: there are none, or the network is not built yet."""

    def maps(self, shown: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Run the network on images, or on windows where the model has a span."""
        return (
            self.network(shown, layers) if self.span is None else self.network(shown, layers, self.span.slot)
        )


def find_device(name: str) -> torch.device:
    """Check that a device is there.

    Raises:
        UnknownNameError: torch does not know it, or this machine does not have it.
    """
    try:
        found = torch.device(name)
        torch.zeros(1, device=found).item()
    except (RuntimeError, AssertionError) as error:
        there = ["cpu"] + [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        there += ["mps"] if torch.backends.mps.is_available() else []
        raise UnknownNameError("device", name, there) from error
    return found


def exact() -> AbstractContextManager[None]:
    """While it lasts, float32 convolutions on GPUs are float32 (cuDNN's default is TF32, of 10 bits) and repeatable."""
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def load(card: Card, *, weights_path: Path | None = None, device: str = "cpu") -> FrozenModel:
    """Build a card's network, load its weights and freeze it.

    Args:
        card: The model.
        weights_path: A weights file, or the folder that holds it; None: only the card's own source.
        device: A torch device.

    Raises:
        CardError: The card is that of a joint tracker.
        UnknownNameError: The card names a loader or an architecture that does not exist.
        WeightsError: The weights are missing, damaged, or do not fit.
    """
    path = weights.locate(card, weights_path)
    module, report = build(card, path)
    if report is not None:
        weights.require(report, f"{path} for model {card.name!r}")
    return replace(freeze(card, module, path, find_device(device)), loaded=report)


def build(card: Card, path: Path | None) -> tuple[nn.Module, LoadReport | None]:
    """Build a card's network with the weights of a file (or its seeded random ones) and report on the loading."""
    if not card.layers:
        raise CardError(f"model {card.name!r}: a joint tracker, expected a frozen model; to use its backbone as one: "
                        f"unibench models backbone {card.name}")  # fmt: skip
    if card.architecture.loader not in LOADERS:
        raise UnknownNameError("loader", card.architecture.loader, LOADERS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(card.weights.seed)
        module = construct(card)
    report = None
    if path is not None:
        translate = LOADERS[card.architecture.loader].translator(module)
        report = weights.fit_file(module, path, card.weights, card.architecture.head, translate)
    _set_strides(card, module)
    _set_padding(card, module)
    return module.eval().requires_grad_(False), report


def freeze(card: Card, module: nn.Module, path: Path | None, device: torch.device) -> FrozenModel:
    """Wrap a built network as the appearance model that the heads know."""
    if card.window is None:  # kernels over time have no such layout
        module = module.to(memory_format=LAYOUT)
    network = extract(card, module.to(device))
    return _frozen(card, _running(network, card, device), fingerprint(card, path), device)


def extract(card: Card, module: nn.Module) -> Network:
    """Make what takes a card's maps out of its built network, in the network's own precision, unchecked."""
    network = LOADERS[card.architecture.loader].extract(card, module)
    return network if card.window is None else _over_time(card, card.window, network)


def defer(card: Card, load: Callable[[], FrozenModel], fingerprint: str, device: str = "cpu") -> FrozenModel:
    """Describe a model without building it.

    Args:
        card: The model.
        load: Builds it; called once, when its network is first run.
        fingerprint: Hash of the model.
        device: A torch device.
    """
    built = cache(load)
    return _frozen(
        card,
        lambda images, layers, *slot: built().network(images, layers, *slot),
        fingerprint,
        find_device(device),
    )


def _frozen(card: Card, network: Network, fingerprint: str, device: torch.device) -> FrozenModel:
    seen = seen_layers(card)
    return FrozenModel(
        name=card.name,
        prepare=_preparation(card.preprocessing, device),
        network=network,
        strides={name: layer.stride for name, layer in seen.items()},
        offsets={name: layer.offset for name, layer in seen.items()},
        device=device,
        fingerprint=fingerprint,
        batch=1 if device.type == "cpu" else BATCH,
    )


def _running(network: Network, card: Card, device: torch.device) -> Network:
    """The network as it is run: frozen, in the card's precision, channels last."""
    dtype, seen = getattr(torch, card.architecture.dtype), seen_layers(card)

    def maps_of(images: Tensor, layers: Sequence[str], *slot: int) -> dict[str, Tensor]:
        sized = images if card.scale == 1 else _resize(images, card.scale)
        laid = sized.contiguous(memory_format=LAYOUT) if images.ndim == 4 else sized
        try:
            with exact(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                found = network(laid, layers, *slot)
        except (UnibenchError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a network of a card or a plug-in does
            raise FeaturesError(
                f"model {card.name!r}: the network fails on an image of {images.shape[-1]} x {images.shape[-2]} pixels "
                f"({_line(error)}); correct [architecture] in the card, or give larger images"
            ) from error
        return maps.check(card.name, found, seen, layers, images)

    @torch.inference_mode()
    def run(images: Tensor, layers: Sequence[str], *slot: int) -> dict[str, Tensor]:
        try:
            return maps_of(images, layers, *slot)
        except FeaturesError as error:
            try:
                maps_of(torch.linspace(-1, 1, PROBE, device=device).repeat(1, 3, PROBE, 1), layers)
            except FeaturesError:
                raise CardError(f"{error}; it does so on every image") from error
            except CardError:  # on an image of this size it does something else
                pass
            raise

    return run


def _resize(images: Tensor, scale: float) -> Tensor:
    """Images, or windows of them, resized by a factor; what shrinks is smoothed first."""
    height, width = (max(round(length * scale), 1) for length in images.shape[-2:])
    flat = images.reshape(-1, *images.shape[-3:])
    resized = functional.interpolate(flat, (height, width), mode="bilinear", antialias=True)
    return resized.reshape(*images.shape[:-2], height, width)


def _over_time(card: Card, window: Window, network: Network) -> Network:
    """A clip encoder as a network of images and windows: an image is repeated, and one map in time is read."""
    slots = window.frames // window.tubelet

    def read(images: Tensor, layers: Sequence[str], slot: int = slots // 2) -> dict[str, Tensor]:
        if images.ndim == 4:
            images = images[:, None].expand(-1, window.frames, -1, -1, -1)
        found = network(images, layers)
        for layer, one in found.items():
            if one.ndim != 5 or one.shape[1] != slots:
                raise CardError(f"model {card.name!r}, layer {layer!r}: found shape {tuple(one.shape)}, expected "
                                f"(batch, {slots}, channels, h, w); correct window in the card")  # fmt: skip
        return {
            layer: one.mean(dim=1) if window.read == "mean" else one[:, slot] for layer, one in found.items()
        }

    return read


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def parameters(module: nn.Module, head: Sequence[str]) -> int:
    """Count the parameters of a network's backbone.

    Args:
        module: The network.
        head: Prefixes of the parameters that are not part of the backbone.
    """
    return sum(one.numel() for name, one in module.named_parameters() if not name.startswith(tuple(head)))


def fingerprint(card: Card, path: Path | None) -> str:
    """Hash over everything on a card that changes features, and over the weights file; nothing is built. A scale stands
    behind it in words.
    """
    parts = {
        "architecture": {**asdict(card.architecture), "parameters": 0},
        "layers": {name: asdict(layer) for name, layer in card.layers.items()},
        "preprocessing": asdict(card.preprocessing),
        "keys": [card.weights.container, card.weights.prefix, card.weights.rename],
        "weights": sha256(path) if path else [card.weights.source, card.weights.seed],
    }
    if card.window is not None:
        parts["window"] = asdict(card.window)
    if card.weights.allow_random:
        parts["random"] = [card.weights.allow_random, card.weights.seed]
    found = hashlib.sha256(json.dumps(parts, sort_keys=True, default=list).encode()).hexdigest()[:12]
    return found if card.scale == 1 else f"{found}{SCALE}{card.scale:g}"


def _preparation(rules: Preprocessing, device: torch.device) -> Callable[[np.ndarray], Tensor]:
    mean = torch.tensor(rules.mean, device=device).view(3, 1, 1)
    std = torch.tensor(rules.std, device=device).view(3, 1, 1)

    def prepare(image: UInt8[np.ndarray, "height width 3"]) -> Float[Tensor, "3 height width"]:
        if rules.color in ("lab", "lightness"):
            from skimage.color import rgb2lab

            image = rgb2lab(image).astype(np.float32)
            if rules.color == "lightness":  # L alone, for networks with three input channels
                image = image[:, :, [0, 0, 0]]
        elif rules.color == "bgr":
            image = image[:, :, ::-1]
        pixels = torch.tensor(np.ascontiguousarray(image), device=device)
        return (pixels.permute(2, 0, 1).float() / rules.divisor - mean) / std

    return prepare


def construct(card: Card) -> nn.Module:
    """Build a card's network as its library does, with random weights.

    Raises:
        UnibenchError: The library does not know it, or cannot build it.
    """
    try:
        return LOADERS[card.architecture.loader].construct(card)
    except UnibenchError:
        raise
    except Exception as error:  # whatever the options of a card ask for
        raise CardError(
            f"model {card.name!r}: {card.architecture.loader} cannot build {card.architecture.name!r} "
            f"({_line(error)}); correct [architecture] in the card"
        ) from error


def _set_strides(card: Card, module: nn.Module) -> None:
    for name, stride in card.architecture.strides.items():
        try:
            part = module.get_submodule(name)
        except AttributeError as error:
            raise CardError(
                f"model {card.name!r}: architecture.strides names {name!r}; there is no such module"
            ) from error
        for convolution in part.modules():
            if isinstance(convolution, nn.Conv2d):
                convolution.stride = (stride, stride)


def _set_padding(card: Card, module: nn.Module) -> None:
    mode: Any = card.architecture.padding
    if mode == "zeros":
        return
    for convolution in module.modules():
        if isinstance(convolution, nn.Conv2d):
            assert not isinstance(convolution.padding, str)
            vertical, horizontal = convolution.padding
            convolution.padding_mode = mode
            # torch makes this list in the constructor, and reads it in every mode but zeros
            convolution._reversed_padding_repeated_twice = [horizontal, horizontal, vertical, vertical]


@dataclass(frozen=True)
class Loader:
    """How networks of one library are built, and how maps are taken out of them."""

    construct: Callable[[Card], nn.Module]
    extract: Callable[[Card, nn.Module], Network]
    translator: Callable[[nn.Module], weights.Translate] = lambda network: names.translate
    """Network -> what gives tensors of a file its names for them."""


def _keywords(card: Card) -> dict[str, Any]:
    return dict(card.architecture.options)


def _construct_torchvision(card: Card) -> nn.Module:
    from torchvision.models import get_model, list_models

    if card.architecture.name not in list_models():
        raise UnknownNameError("torchvision architecture", card.architecture.name, list_models())
    network: nn.Module = get_model(card.architecture.name, weights=None, **_keywords(card))
    return network


def _extract_nodes(card: Card, module: nn.Module) -> Network:
    from torchvision.models.feature_extraction import create_feature_extractor

    @lru_cache(maxsize=8)
    def extractor(layers: tuple[str, ...]) -> Callable[..., Any]:
        nodes = {str(card.layers[name].node): name for name in layers}
        try:
            taken: nn.Module = create_feature_extractor(module, nodes)
        except ValueError as error:
            known = ", ".join(name for name, _ in module.named_children())
            raise CardError(f"model {card.name!r}: {_line(error)}; correct the nodes of [layers]: {known}, or a module "
                            "in one of them") from error  # fmt: skip
        return _compiled(card, taken.eval())

    def network(images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        taken: dict[str, Tensor] = extractor(tuple(layers))(images)
        return taken

    return network


def _construct_timm(card: Card) -> nn.Module:
    import timm

    if not timm.is_model(card.architecture.name):
        raise UnknownNameError("timm architecture", card.architecture.name, timm.list_models())
    network: nn.Module = timm.create_model(card.architecture.name, pretrained=False, **_keywords(card))
    return network


def _extract_intermediates(card: Card, module: nn.Module) -> Network:
    forward = _compiled(card, module.forward_intermediates)  # type: ignore[arg-type]

    def network(images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        indices = sorted({int(card.layers[name].node) for name in layers})
        try:
            returned = forward(
                images, indices=indices, intermediates_only=True, output_fmt="NCHW", stop_early=True
            )
        except AssertionError as error:
            if "feature index" not in str(error):
                raise
            raise CardError(f"model {card.name!r}: {_line(error)}; correct the nodes of [layers]") from error
        taken = {name: returned[indices.index(int(card.layers[name].node))] for name in layers}
        return {
            name: _normalised(module, one) if card.layers[name].norm else one for name, one in taken.items()
        }

    return network


def _normalised(module: nn.Module, features: Tensor) -> Tensor:
    """Apply a ViT's final normalisation, which works on the last axis, to a (batch, channels, h, w) map."""
    normalised: Tensor = module.norm(features.movedim(1, -1))  # type: ignore[operator]
    return normalised.movedim(-1, 1).contiguous()


BUILDERS = ("unibench.models.architectures.", "unibench.joint.backbone")
"""Modules of unibench with functions that a card may name; none of them reads a file or runs code that it is given."""


def _construct_python(card: Card) -> nn.Module:
    module, _, function = card.architecture.name.partition(":")
    own = module.startswith(BUILDERS)
    if not own and module not in plugins.MODULES:
        raise CardError(
            f"model {card.name!r}: architecture.name is {card.architecture.name!r}, code outside unibench, which a "
            f"card cannot run; where you trust it: --plugin {module.partition('.')[0]}, or the variable "
            f"{plugins.ENVIRONMENT}"
        )
    made = vars(import_module(module)).get(function)
    if not callable(made) or (own and getattr(made, "__module__", "") != module):
        raise AttributeError(f"module {module} has no function {function!r} of its own")
    network = made(**_keywords(card))
    if not isinstance(network, nn.Module):
        raise TypeError(f"{card.architecture.name} returns {type(network).__name__}, expected a torch module")
    return network


def _extract_returned(card: Card, module: nn.Module) -> Network:
    forward = _compiled(card, module)

    def network(images: Tensor, layers: Sequence[str]) -> Any:  # judged by `maps.check`
        returned = forward(images)
        if not isinstance(returned, Mapping):
            return returned
        nodes = {name: card.layers[name].node for name in layers}
        if unknown := [node for node in nodes.values() if node not in returned]:
            raise CardError(f"model {card.name!r}: the network returns {', '.join(map(str, returned)) or 'nothing'}, "
                            f"expected {unknown[0]!r}; correct the nodes of [layers] in the card")  # fmt: skip
        return {name: returned[node] for name, node in nodes.items()}

    return network


def _compiled(card: Card, forward: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(forward) if card.architecture.compiled else forward


LOADERS: dict[str, Loader] = {
    "torchvision": Loader(_construct_torchvision, _extract_nodes),
    "timm": Loader(_construct_timm, _extract_intermediates),
    "python": Loader(_construct_python, _extract_returned),
    "transformers": Loader(
        transformers_models.construct, transformers_models.extract, transformers_models.translator
    ),
}
