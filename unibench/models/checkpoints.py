"""Checkpoint files, read as data: no code in them is run."""

import argparse
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unibench.errors import WeightsError

CONTAINERS = ("", "state_dict", "model", "teacher", "student", "module", "resnet", "network", "net")
"""Where tensors usually lie, the preferred first; any other place in a file is searched after these."""
DEPTH = 3
"""Levels of containers in containers."""
_SCALAR = np.float64(0).__reduce__()[0]  # what a NumPy number is made with; NumPy 1 called its module `core`
HARMLESS: list[Any] = [
    argparse.Namespace, np.dtype, _SCALAR, (_SCALAR, "numpy.core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in "?bBhHiIlLefdU"),
]  # fmt: skip
"""What training scripts keep beside the tensors, and what is only data: arguments and numbers."""


def read(path: Path, container: str = "") -> dict[str, dict[str, Tensor]]:
    """Read a checkpoint without running any code in it.

    Args:
        path: A torch file or safetensors.
        container: Dotted path of keys to the tensors; empty: wherever there are any.

    Returns:
        Dotted path of a container -> names and tensors in it, the usual ones first; an empty path: the file itself.

    Raises:
        WeightsError: The file is missing, damaged, a pickle that needs more than data, or holds no tensors there.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; say where the weights are with --weights or --checkpoint")
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    found = dict(_containers(loaded))
    if container and container not in found:
        raise WeightsError(
            f"{path}: no tensors in {container!r}, but in {_list(found)}; correct weights.container"
        )
    if not found:
        held = _list(loaded) if isinstance(loaded, Mapping) else type(loaded).__name__
        raise WeightsError(
            f"{path}: no tensors (found: {held}), expected names and tensors, flat or in a container; "
            "save model.state_dict()"
        )
    return {container: found[container]} if container else _preferred_first(found)


def _list(names: Mapping[Any, object]) -> str:
    return ", ".join(str(name) or "the file itself" for name in list(names)[:5]) or "nowhere"


def _containers(
    loaded: object, path: str = "", depth: int = DEPTH
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping from names to tensors, outer ones first."""
    if not isinstance(loaded, Mapping) or not depth:
        return
    named = {name: value for name, value in loaded.items() if isinstance(name, str)}
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    if tensors:
        yield path, tensors
    for name, value in named.items():
        yield from _containers(value, f"{path}.{name}" if path else name, depth - 1)


def _preferred_first(found: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    known = [name for name in CONTAINERS if name in found]
    return {name: found[name] for name in dict.fromkeys([*known, *found])}


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(HARMLESS):
            warnings.simplefilter("ignore", UserWarning)  # of unusual pickle protocols: read or refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it asks for {named.group(1)}" if named else str(error).splitlines()[0]
        raise WeightsError(
            f"{path}: a pickle that holds more than tensors is not read, for it could run code ({reason}); "
            "convert it where you trust it: torch.save(model.state_dict(), FILE)"
        ) from error
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(
            f"{path}: not a readable checkpoint, truncated or damaged ({reason}); fetch or save it again"
        ) from error


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: not a readable safetensors file ({error}); fetch or save it again"
        ) from error
