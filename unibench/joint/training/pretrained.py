"""Initial weights: take over what fits of a published detector, of an ImageNet network, or of an earlier training."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from unibench.errors import WeightsError
from unibench.models import checkpoints

RENAME = (
    (r"^module\.", ""),
    (r"^(conv1|bn1|layer[1-4])\.", r"backbone.body.\1."),  # a torchvision ResNet
    (r"^features\.", "backbone.body."),  # a torchvision MobileNet
    (r"^(patch_embed|stages)\.", r"backbone.body.\1."),  # an MViTv2 of timm
    (r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2"),  # torchvision before 0.13
    *((rf"^(head\.\w+\.conv)\.{2 * i}\.(weight|bias)$", rf"\1.{i}.0.\2") for i in range(4)),  # the same
)


@dataclass(frozen=True)
class TransferReport:
    """What became of every tensor; the lists hold names."""

    path: Path
    transferred: tuple[str, ...]
    """The network's tensors that the file holds as they are."""
    replicated: tuple[str, ...]
    """`<the network's> <- <number of copies> x <the file's>`: made of copies of one tensor."""
    fresh: tuple[str, ...]
    """The network's tensors that stay random: the file has nothing for them."""
    misshapen: tuple[str, ...]
    """`<the network's> <shape> <- <the file's shape>`: these stay random too."""
    left_over: tuple[str, ...]
    """The file's tensors that were not used."""

    def __str__(self) -> str:
        taken = len(self.transferred) + len(self.replicated)
        total = taken + len(self.fresh) + len(self.misshapen)
        lines = [f"{self.path}: {taken} of {total} tensors of the network taken over"]
        for what in ("transferred", "replicated", "misshapen", "fresh", "left_over"):
            names: tuple[str, ...] = getattr(self, what)
            if names:
                lines.append(f"{len(names)} {what.replace('_', ' ')}: {', '.join(_grouped(names))}")
        return "; ".join(lines)


def start(network: nn.Module, path: Path) -> TransferReport:
    """Copy into a network what a file has for it.

    A tensor is taken over where the file has one of the same name and shape. The file may be of an earlier training of
    this network, of torchvision's RetinaNet, or of a torchvision ResNet (its names are those of `backbone.body`). A
    network may name further targets in an attribute `inherits`, a mapping from a beginning of its own names to one of
    the file's: such a tensor may be made of several copies of the file's, along its first axis. A network with other
    classes than the file may name in an attribute `chosen` which rows of it are its own: a mapping from a beginning of
    its names to the number of the file's rows and those to take.

    Args:
        network: Is changed in place; its `pyramid.Backbone` is called `backbone`.
        path: A torch file or safetensors.

    Raises:
        WeightsError: The file cannot be read, or has nothing for the network.
    """
    containers = checkpoints.read(path)
    tensors = _renamed(containers[next(iter(containers))])
    inherits: Mapping[str, str] = getattr(network, "inherits", {})
    chosen: Mapping[str, tuple[int, Sequence[int]]] = getattr(network, "chosen", {})
    wanted = {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    source = {name: _source(name, tensors, inherits) for name in wanted}
    found = {name: _rows(name, tensors[source[name]], chosen) for name in wanted if source[name] in tensors}
    copies = {name: _copies(value, wanted[name], source[name] != name) for name, value in found.items()}
    taken = {
        name: found[name].repeat(count, *[1] * (found[name].ndim - 1))
        for name, count in copies.items()
        if count
    }
    if not taken:
        raise WeightsError(
            f"{path}: none of its {len(tensors)} tensors fits the network, expected a RetinaNet or ResNet of "
            "torchvision, or weights of an earlier training; choose another file"
        )
    network.load_state_dict(taken, strict=False)
    return TransferReport(
        path=path,
        transferred=tuple(name for name in taken if copies[name] == 1),
        replicated=tuple(f"{name} <- {copies[name]} x {source[name]}" for name in taken if copies[name] > 1),
        fresh=tuple(name for name in wanted if name not in found),
        misshapen=tuple(
            f"{name} {tuple(wanted[name].shape)} <- {tuple(value.shape)}"
            for name, value in found.items()
            if not copies[name]
        ),
        left_over=tuple(
            name
            for name in tensors
            if name not in {source[one] for one in taken} and not name.endswith("num_batches_tracked")
        ),
    )


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in tensors.items():
        new = name
        for pattern, replacement in RENAME:
            new = re.sub(pattern, replacement, new)
        renamed[new] = value
    return renamed


def _source(name: str, tensors: Mapping[str, Tensor], inherits: Mapping[str, str]) -> str:
    """The name in the file of what a tensor of the network may be made of."""
    if name in tensors:
        return name
    return next(
        (there + name.removeprefix(own) for own, there in inherits.items() if name.startswith(own)), name
    )


def _rows(name: str, value: Tensor, chosen: Mapping[str, tuple[int, Sequence[int]]]) -> Tensor:
    """A tensor of the file, or those of its rows that a network with other classes wants."""
    for own, (count, rows) in chosen.items():
        if name.startswith(own) and value.ndim and len(value) == count:
            return value[list(rows)]
    return value


def _copies(value: Tensor, wanted: Tensor, repeatable: bool) -> int:
    """How many copies along the first axis make a tensor of the shape wanted; 0: it cannot be made."""
    if value.shape == wanted.shape:
        return 1
    alike = value.ndim == wanted.ndim and value.shape[1:] == wanted.shape[1:]
    if not repeatable or not alike or len(wanted) % len(value):
        return 0
    return len(wanted) // len(value)


def _grouped(names: tuple[str, ...]) -> list[str]:
    return [*names[:3], "..."] if len(names) > 3 else list(names)
