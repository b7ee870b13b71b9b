"""Weights: find a card's file, fit what is in it to a network, and say what became of every tensor.

Loading never happens silently: the caller gets a report of every backbone tensor, and below 99 % loading is refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from unibench.errors import WeightsError
from unibench.models import checkpoints, fetch
from unibench.models.cards import Card, Weights

PREFIXES = (
    "", "module.", "model.", "backbone.", "encoder.", "module.encoder_q.", "module.encoder.", "module.backbone.",
    "encoder_q.", "encoder.model.", "teacher.backbone.", "student.backbone.", "base_encoder.", "module.base_encoder.",
)  # fmt: skip
"""What usually stands before the backbone's names, the preferred first; any other prefix is found in the file."""
REQUIRED = 0.99


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor; the lists hold names."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """Backbone tensors for which the file has nothing of that name."""
    misshapen: tuple[str, ...]
    """Backbone tensors for which the file has another shape."""
    left_over: tuple[str, ...]
    """Tensors of the container that fit nowhere."""
    prefix: str
    container: str = ""
    """Dotted path of the container in the file."""
    adapted: tuple[str, ...] = ()
    """Loaded tensors whose shape was changed: an inflated kernel without its time axis, positions on another grid."""
    alike: tuple[str, ...] = ()
    """Other prefixes, and other containers, that hold as many of the names: another copy of the backbone."""

    @property
    def share(self) -> float:
        """Loaded part of the backbone's tensors, 0 to 1."""
        total = len(self.loaded) + len(self.missing) + len(self.misshapen)
        return len(self.loaded) / total if total else 1.0

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.misshapen)
        text = f"{len(self.loaded)} of {total} backbone tensors loaded ({self.share:.1%})"
        text += f" from {self.container!r}" if self.container else ""
        text += f" with prefix {self.prefix!r} stripped" if self.prefix else ""
        for what in ("missing", "misshapen", "left_over", "adapted", "alike"):
            names: tuple[str, ...] = getattr(self, what)
            if names:
                shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                text += f"; {len(names)} {what.replace('_', ' ')}: {shown}"
        return text


def locate(card: Card, given: Path | None) -> Path | None:
    """Find the file with a card's weights, fetch it if it is not here, and check its sha256.

    Args:
        card: Its `weights.source` and `weights.mirrors` say where the file comes from.
        given: The user's own file, or a folder that holds the file by its name; None: only the caches and the sources.

    Returns:
        The file, or None where there is nothing to load (`random`, `none`).

    Raises:
        WeightsError: The file is not here and cannot be fetched, or has another sha256.
    """
    if card.weights.source in ("random", "none"):
        return None
    found = fetch.find(card, given)
    return fetch.verify(card, found or fetch.fetch(card))


def fit_file(network: nn.Module, path: Path, rules: Weights, head: Sequence[str]) -> LoadReport:
    """Copy the best fitting container of a checkpoint into a network: see `fit`.

    Raises:
        WeightsError: The file cannot be read, or the card's rules give one name to two tensors.
    """
    containers = checkpoints.read(path, rules.container)
    wanted = _wanted(network, head)
    best, *others = _best({
        name: _prefixes(wanted, _renamed(held, rules), rules)[1] for name, held in containers.items()
    })  # fmt: skip
    report = fit(network, containers[best], rules, head)
    return replace(report, container=best, alike=(*report.alike, *(f"container {one!r}" for one in others)))


def fit(network: nn.Module, tensors: Mapping[str, Tensor], rules: Weights, head: Sequence[str]) -> LoadReport:
    """Copy a checkpoint's tensors into a network, and say what became of each.

    Args:
        network: Is changed in place; half precision tensors become its own precision.
        tensors: Names and tensors of the file.
        rules: The card's renaming rules, ignored prefixes and key prefix.
        head: Prefixes of the network's parameters that are not part of the backbone.

    Raises:
        WeightsError: The card's rules give one name to two tensors.
    """
    renamed = _renamed(tensors, rules)
    wanted = _wanted(network, head)
    (prefix, *others), _ = _prefixes(wanted, renamed, rules)
    found = {name: renamed[prefix + name] for name in wanted if prefix + name in renamed}
    shaped = {name: _shaped(network, name, value, wanted[name]) for name, value in found.items()}
    good = {name: value for name, value in shaped.items() if value is not None}
    network.load_state_dict(good, strict=False)
    skipped = tuple(rules.ignore) + tuple(prefix + one for one in head)
    used = {prefix + name for name in found}
    return LoadReport(
        loaded=tuple(good),
        missing=tuple(name for name in wanted if name not in found),
        misshapen=tuple(name for name in found if name not in good),
        left_over=tuple(
            name
            for name in renamed
            if name not in used and not name.startswith(skipped) and not name.endswith("num_batches_tracked")
        ),
        prefix=prefix,
        adapted=tuple(
            f"{name} {tuple(found[name].shape)} -> {tuple(value.shape)}"
            for name, value in good.items()
            if value.shape != found[name].shape
        ),
        alike=tuple(f"prefix {one!r}" for one in others),
    )


def _wanted(network: nn.Module, head: Sequence[str]) -> dict[str, Tensor]:
    return {
        name: value
        for name, value in network.state_dict().items()
        if not name.startswith(tuple(head)) and not name.endswith("num_batches_tracked")
    }


def _renamed(tensors: Mapping[str, Tensor], rules: Weights) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        new = name
        for pattern, replacement in rules.rename:
            new = re.sub(pattern, replacement, new)
        if new in renamed and not torch.equal(renamed[new], value):
            raise WeightsError(
                f"weights.rename turns {name!r} and another tensor into {new!r}; correct the rules in the card"
            )
        renamed[new] = value
    return renamed


def _prefixes(
    wanted: Mapping[str, Tensor], renamed: Mapping[str, Tensor], rules: Weights
) -> tuple[list[str], int]:
    """The prefix under which most of the names wanted are found, others that do as well, and how many it has."""
    prefixes = [rules.prefix] if rules.prefix else [*PREFIXES, *_found_prefixes(wanted, renamed)]
    counts = {prefix: sum(prefix + name in renamed for name in wanted) for prefix in prefixes}
    return _best(counts), max(counts.values())


def _best(counts: Mapping[str, int]) -> list[str]:
    """The first that is not clearly worse than the best, then others like it: copies may differ by a name or two."""
    most = max(counts.values())
    return (
        [name for name, count in counts.items() if count >= REQUIRED * most] if most else [next(iter(counts))]
    )


def _found_prefixes(wanted: Mapping[str, Tensor], renamed: Mapping[str, Tensor]) -> Iterator[str]:
    """What stands before the longest names wanted (the most particular ones), in the order of the file."""
    for ending in sorted(wanted, key=len, reverse=True)[:3]:
        yield from (name.removesuffix(ending) for name in renamed if name.endswith(f".{ending}"))


def _shaped(network: nn.Module, name: str, value: Tensor, wanted: Tensor) -> Tensor | None:
    """Give a tensor of the file the shape wanted, where that is no guess; None: it has another shape."""
    if value.shape == wanted.shape:
        return value
    if (
        value.ndim == wanted.ndim + 1 == 5 and value.shape[2] == 1
    ):  # inflated to video: a time axis of length 1
        value = value.squeeze(2)
    elif name.endswith("pos_embed") and value.ndim == wanted.ndim == 3:
        value = _regridded(network, value, wanted)
    return value if value.shape == wanted.shape else None


def _regridded(network: nn.Module, value: Tensor, wanted: Tensor) -> Tensor:
    """Resize the positional embeddings (1, tokens, channels) of a square grid to the network's grid."""
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if grid is None:
        return value
    prefix_tokens = wanted.shape[1] - grid[0] * grid[1]
    side = round(max(value.shape[1] - prefix_tokens, 0) ** 0.5)
    if side == 0 or side**2 + prefix_tokens != value.shape[1]:
        return value
    from timm.layers.pos_embed import resample_abs_pos_embed

    resized: Tensor = resample_abs_pos_embed(value.float(), list(grid), num_prefix_tokens=prefix_tokens)
    return resized


def require(report: LoadReport, where: str, least: float = REQUIRED) -> None:
    """Refuse a checkpoint that does not fit.

    Raises:
        WeightsError: Less than the given share of the backbone's tensors was loaded.
    """
    if report.share < least:
        raise WeightsError(
            f"{where}: {report}; expected at least {least:.0%}: another architecture, or keys that need a "
            "[weights] prefix or rename in the card"
        )
