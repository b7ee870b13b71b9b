"""What maps a network gives, read off a run on images of zeros: stride, channels and offset of each."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unibench.models.cards import Layer

SIDE = 224
"""Pixels of the images; the second is twice as wide."""
LAST = 3
"""Maps that are kept: the deepest."""
WINDOWED = (nn.Conv2d, nn.Conv3d, nn.MaxPool2d, nn.AvgPool2d)
SIMPLE = (*WINDOWED, nn.BatchNorm2d, nn.LayerNorm, nn.Identity, nn.Dropout)
"""Modules that no layer is named after: a map is what a block or a stage gives."""
ACTIVATIONS = (nn.ReLU, nn.GELU, nn.SiLU)
"""Modules that a layer is named after only where no block or stage gives maps of the stride (VGG)."""


@dataclass(frozen=True)
class Survey:
    """Layers of a network, the deepest last."""

    layers: Mapping[str, Layer]
    tokens: bool
    """Whether they are tokens of patches, all on one grid."""


def take(network: nn.Module, run: Callable[[Tensor], Any]) -> Survey:
    """Run a network on two images, and find the last three of its stages or of its blocks of tokens.

    Args:
        network: On any device; `meta` costs nothing.
        run: Calls it on images (1, 3, height, width).

    Raises:
        ValueError: No module gives maps that grow with the image.
    """
    square, found = _run(network, run, SIDE, SIDE)
    wide, _ = _run(network, run, SIDE, 2 * SIDE)
    tokens = {
        name: stride for name, one in square.items() if (stride := _token_stride(one, wide.get(name, ())))
    }
    blocks = _blocks(network, tokens)
    stages = _stages(network, {name: _map_stride(one, wide.get(name, ())) for name, one in square.items()})
    last = (blocks or stages)[-LAST:]
    if not last:
        raise ValueError("no module of it gives maps that grow with the image")
    names = [f"block{int(node.rpartition('.')[2]) + 1}" for node in last] if blocks else last
    layers = {}
    for name, node in zip(names, last, strict=True):
        stride = tokens.get(node) or _map_stride(square[node], wide[node])
        width = square[node][2 if blocks else 1]
        layers[name] = Layer(node, stride, channels=width, offset=found.get(stride, (stride - 1) / 2))
    return Survey(layers, bool(blocks))


def _blocks(network: nn.Module, strides: Mapping[str, int]) -> list[str]:
    """Modules that give tokens and lie in a list, those that lie least deep; none where there are stages of tokens."""
    listed = [name for name in strides if isinstance(_parent(network, name), nn.ModuleList)]
    if len({strides[name] for name in listed}) > 1:
        return []
    least = min(map(_depth, listed), default=0)
    return [name for name in listed if _depth(name) == least]


def _stages(network: nn.Module, strides: Mapping[str, int]) -> list[str]:
    """For each stride, of the modules that lie least deep the one that ends last; a block goes before an activation."""
    chosen: dict[int, str] = {}

    def rank(name: str) -> tuple[bool, int]:
        return isinstance(network.get_submodule(name), ACTIVATIONS), _depth(name)

    for name, stride in strides.items():
        if stride and (stride not in chosen or rank(name) <= rank(chosen[stride])):
            chosen[stride] = name
    return [name for _, name in sorted(chosen.items())]


def offsets(network: nn.Module, run: Callable[[Tensor], Any]) -> dict[int, float]:
    """Follow an image through a network's convolutions and pools: stride -> pixel on which cell 0 is centred.

    Args:
        network: On any device.
        run: Calls it on images (1, 3, height, width).
    """
    return _run(network, run, SIDE, SIDE)[1]


@torch.inference_mode()
def _run(
    network: nn.Module, run: Callable[[Tensor], Any], height: int, width: int
) -> tuple[dict[str, tuple[int, ...]], dict[int, float]]:
    """Shape of what each module gives, in the order in which they end; and the offsets."""
    shapes: dict[str, tuple[int, ...]] = {}
    found = {1: 0.0}

    def note(name: str, module: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
        value = returned[0] if isinstance(returned, tuple) and returned else returned
        if not isinstance(value, Tensor):
            return
        if not isinstance(module, SIMPLE):
            shapes.pop(name, None)
            shapes[name] = tuple(value.shape)
        if isinstance(module, WINDOWED) and given and isinstance(given[0], Tensor):
            before, after = (round(height / one.shape[-2]) for one in (given[0], value))
            found.setdefault(after, found.get(before, (before - 1) / 2) + before * _shift(module))

    device = next((one.device for one in network.parameters()), torch.device("cpu"))
    with ExitStack() as stack:
        for name, module in network.named_modules():
            if name:
                handle = module.register_forward_hook(
                    lambda module, given, returned, name=name: note(name, module, given, returned)
                )
                stack.callback(handle.remove)
        run(torch.zeros(1, 3, height, width, device=device))
    return shapes, found


def _shift(module: nn.Module) -> float:
    """By how many cells of its input the centre of a convolution's or a pool's first window lies off the first cell."""
    kernel, dilation, padding = (
        _vertical(getattr(module, name, 1)) for name in ("kernel_size", "dilation", "padding")
    )
    reach = dilation * (kernel - 1) / 2
    return float(reach - {"valid": 0, "same": reach}.get(padding, padding))


def _vertical(value: Any) -> Any:
    """What a setting of a convolution or a pool says of the height."""
    return value[-2] if isinstance(value, tuple) else value


def _depth(name: str) -> int:
    return name.count(".")


def _parent(network: nn.Module, name: str) -> nn.Module:
    return network.get_submodule(name.rpartition(".")[0])


def _map_stride(square: Sequence[int], wide: Sequence[int]) -> int:
    """Pixels per cell of a map (1, channels, h, w) on both images; 0: it is none."""
    if len(square) != 4 or len(wide) != 4 or tuple(wide) != (*square[:3], 2 * square[3]):
        return 0
    return SIDE // square[3] if square[2] == square[3] and SIDE % square[3] == 0 else 0


def _token_stride(square: Sequence[int], wide: Sequence[int]) -> int:
    """Pixels per cell of tokens (1, number, channels) on both images, whatever stands before them; 0: they are none."""
    if len(square) != 3 or len(wide) != 3 or square[2] != wide[2]:
        return 0
    side = round(max(wide[1] - square[1], 0) ** 0.5)
    return SIDE // side if side and side**2 == wide[1] - square[1] and SIDE % side == 0 else 0
