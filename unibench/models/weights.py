"""Weights: find a card's file, fit what is in it to a network, and say what became of every tensor.

Loading never happens silently: the caller gets a report of every backbone tensor. A backbone tensor that the file does
not fill is refused by name, unless the card or the command allows it to stay random.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn

from unibench.errors import WeightsError
from unibench.models import checkpoints, fetch, names
from unibench.models.cards import Card, Weights
from unibench.models.download import sha256
from unibench.records import LoadReport

PREFIXES = (
    "", "module.", "model.", "backbone.", "encoder.", "module.encoder_q.", "module.encoder.", "module.backbone.",
    "encoder_q.", "encoder.model.", "teacher.backbone.", "student.backbone.", "base_encoder.", "module.base_encoder.",
)  # fmt: skip
"""What usually stands before the backbone's names, the preferred first; any other prefix is found in the file."""
ALIKE = 0.99
"""Share of the best container's (or prefix's) names with which another is a copy of it."""
COMPUTED = re.compile(
    r"(?:^|\.)(?:num_batches_tracked|relative_position_index|relative_coords_table|attn_mask|position_ids)$"
)
"""Buffers that the constructor computes, so that no file need hold them."""
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""What a backbone's parameters may be kept in."""


def locate(card: Card, weights_path: Path | None) -> Path | None:
    """Find the file with a card's weights, fetch it if it is not here, and check its sha256.

    Args:
        card: Its `weights.source` and `weights.mirrors` say where the file comes from.
        weights_path: The user's own file, or a folder that holds the file by its name; None: only the caches and the
            sources.

    Returns:
        The file, or None where there is nothing to load (`random`, `none`).

    Raises:
        WeightsError: The file is not here and cannot be fetched, has another sha256, or is given where there is nothing
            to load.
    """
    found = fetch.find(card, weights_path)
    if card.weights.source in fetch.WITHOUT_FILE:
        return None
    return fetch.verify(card, found or fetch.fetch(card))


Translate = Callable[
    [Mapping[str, Tensor], Mapping[str, Tensor], Sequence[tuple[str, str]]], dict[str, Tensor]
]
"""Tensors of a file, those of the network, the card's rules -> the file's tensors under the network's names."""


def fit_file(
    network: nn.Module,
    path: Path,
    rules: Weights,
    head: Sequence[str],
    translate: Translate = names.translate,
) -> LoadReport:
    """Copy the best fitting container of a checkpoint into a network: see `fit`.

    Raises:
        WeightsError: The file cannot be read, holds adapters that are not merged, or the card's rules give one name to
            two tensors.
    """
    containers = checkpoints.read(path, rules.container)
    wanted = _wanted(network, head)
    _check_patterns(rules, wanted)
    try:
        translated = {name: translate(held, wanted, rules.rename) for name, held in containers.items()}
        best, *others = _best({
            name: _prefixes(wanted, held, rules)[1] for name, held in translated.items()
        })  # fmt: skip
        report = _fit(network, translated[best], wanted, rules, head)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return replace(
        report,
        container=best,
        alike=(*report.alike, *(f"container {one!r}" for one in others)),
        sha256=sha256(path),
    )


def fit(network: nn.Module, tensors: Mapping[str, Tensor], rules: Weights, head: Sequence[str]) -> LoadReport:
    """Copy a checkpoint's tensors into a network, and say what became of each.

    Args:
        network: Is changed in place; tensors become its own precision.
        tensors: Names and tensors of the file.
        rules: The card's renaming rules, ignored prefixes, key prefix, and what may stay random.
        head: Prefixes of the network's parameters that are not part of the backbone.

    Raises:
        WeightsError: The card's rules give one name to two tensors, or adapters are not merged.
    """
    wanted = _wanted(network, head)
    _check_patterns(rules, wanted)
    return _fit(network, names.translate(tensors, wanted, rules.rename), wanted, rules, head)


def _fit(
    network: nn.Module,
    named: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    rules: Weights,
    head: Sequence[str],
) -> LoadReport:
    (prefix, *others), _ = _prefixes(wanted, named, rules)
    skipped = tuple(rules.ignore) + tuple(prefix + one for one in head)
    if added := [
        name for name in names.adapters(named) if not name.startswith(tuple(rules.ignore) or ("\0",))
    ]:
        raise WeightsError(
            f"{len(added)} tensors of adapters that are not merged ({', '.join(added[:2])}, ...), without which the "
            "network is another one; merge them first: torch.save(model.merge_and_unload().state_dict(), 'new.pth')"
        )
    found = {name: named[prefix + name] for name in wanted if prefix + name in named}
    problems = {name: one for name, value in found.items() if (one := _problem(value, wanted[name]))}
    shaped = {
        name: _shaped(network, name, value, wanted[name])
        for name, value in found.items()
        if name not in problems
    }
    good = {name: value.to(wanted[name].dtype) for name, value in shaped.items() if value is not None}
    problems |= {name: "is not finite" for name, value in good.items() if not _finite(value)}
    problems |= _all_zero(good)
    good = {name: value for name, value in good.items() if name not in problems}
    network.load_state_dict(good, strict=False)
    absent = [name for name in wanted if name not in found and not COMPUTED.search(name)]
    misshapen = [name for name, value in shaped.items() if value is None]
    allowed = [
        name for name in (*absent, *misshapen) if any(fnmatchcase(name, one) for one in rules.allow_random)
    ]
    used = {prefix + name for name in found}
    left_over = [
        name
        for name in named
        if name not in used and not name.startswith(skipped) and not COMPUTED.search(name)
    ]
    foreign = _foreign(
        network, wanted, [name.removeprefix(prefix) for name in left_over if name.startswith(prefix)]
    )
    return LoadReport(
        loaded=(*good, *(name for name in wanted if name not in found and COMPUTED.search(name))),
        missing=tuple(name for name in absent if name not in allowed),
        misshapen=tuple(name for name in misshapen if name not in allowed),
        left_over=tuple(name for name in left_over if name.removeprefix(prefix) not in foreign),
        prefix=prefix,
        adapted=tuple(
            f"{name} {tuple(found[name].shape)} -> {tuple(value.shape)}"
            for name, value in good.items()
            if value.shape != found[name].shape
        ),
        alike=tuple(f"prefix {one!r}" for one in others),
        unusable=tuple(f"{name} {problem}" for name, problem in problems.items()),
        foreign=tuple(foreign),
        random=tuple(allowed),
    )


def _wanted(network: nn.Module, head: Sequence[str]) -> dict[str, Tensor]:
    return {
        name: value
        for name, value in network.state_dict().items()
        if not name.startswith(tuple(head)) and not name.endswith("num_batches_tracked")
    }


def _check_patterns(rules: Weights, wanted: Mapping[str, Tensor]) -> None:
    for pattern in rules.allow_random:
        if not any(fnmatchcase(name, pattern) for name in wanted):
            raise WeightsError(
                f"weights.allow_random names {pattern!r}; no backbone tensor is called so, there are: "
                f"{', '.join(list(wanted)[:3])}, ..."
            )


def _problem(value: Tensor, wanted: Tensor) -> str:
    """Why a tensor cannot be a parameter, from what it says of itself; empty: it can."""
    if value.is_quantized:
        return f"is quantised ({value.dtype}), expected a dense tensor of floating-point numbers"
    if value.layout != torch.strided:
        return f"is sparse ({value.layout}), expected a dense tensor"
    if value.is_meta and not wanted.is_meta:
        return "is a meta tensor, without values"
    if wanted.is_floating_point() and value.dtype not in DTYPES:
        return f"is of {value.dtype}, expected floating-point numbers of 16 to 64 bits"
    if not wanted.is_floating_point() and (value.is_floating_point() or value.is_complex()):
        return f"is of {value.dtype}, expected {wanted.dtype}"
    return ""


def _finite(value: Tensor) -> bool:
    return value.is_meta or bool(value.isfinite().all())


def _all_zero(good: Mapping[str, Tensor]) -> dict[str, str]:
    """A network whose weights are all zero gives the same map for every image."""
    kernels = {name: value for name, value in good.items() if value.ndim > 1 and not value.is_meta}
    if len(kernels) > 1 and not any(bool(value.any()) for value in kernels.values()):
        return dict.fromkeys(kernels, "is zero, as all others are")
    return {}


def _foreign(network: nn.Module, wanted: Mapping[str, Tensor], left_over: Sequence[str]) -> list[str]:
    """Left-over names that lie within a module which the backbone has: its blocks, its layers."""
    containers = {name.partition(".")[0] for name in wanted if "." in name}
    return [name for name in left_over if "." in name and name.partition(".")[0] in containers]


def _prefixes(
    wanted: Mapping[str, Tensor], named: Mapping[str, Tensor], rules: Weights
) -> tuple[list[str], int]:
    """The prefix under which most of the names wanted are found, others that do as well, and how many it has."""
    prefixes = [rules.prefix] if rules.prefix else [*PREFIXES, *_found_prefixes(wanted, named)]
    counts = {prefix: sum(prefix + name in named for name in wanted) for prefix in prefixes}
    return _best(counts), max(counts.values())


def _best(counts: Mapping[str, int]) -> list[str]:
    """The first that is not clearly worse than the best, then others like it: copies may differ by a name or two."""
    most = max(counts.values())
    return [name for name, count in counts.items() if count >= ALIKE * most] if most else [next(iter(counts))]


def _found_prefixes(wanted: Mapping[str, Tensor], named: Mapping[str, Tensor]) -> Iterator[str]:
    """What stands before the longest names wanted (the most particular ones), in the order of the file."""
    for ending in sorted(wanted, key=len, reverse=True)[:3]:
        yield from (name.removesuffix(ending) for name in named if name.endswith(f".{ending}"))


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


def require(report: LoadReport, where: str) -> None:
    """Refuse a checkpoint that does not fit.

    Args:
        report: On loading it.
        where: The file, for the message.

    Raises:
        WeightsError: A backbone tensor is missing, misshapen or unusable, or the file is of a larger network.
    """
    if report.unusable:
        raise WeightsError(
            f"{where}: {report}; expected finite numbers; give the file of a whole, trained network"
        )
    if report.missing or report.misshapen:
        raise WeightsError(
            f"{where}: {report}; expected all of them: another architecture, or keys that need a [weights] prefix or "
            "rename in the card; what may stay random is named with --allow-random PATTERN or weights.allow_random"
        )
    if report.foreign:
        raise WeightsError(
            f"{where}: {report}; expected no parameters that the backbone has not: another architecture; what changes "
            "nothing is named in weights.ignore of a card"
        )
