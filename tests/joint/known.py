"""Known answers of the authors' own modules: arrays of one file, and their weights."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def arrays(gold: Path, name: str) -> dict[str, Tensor]:
    """Everything in a file but the weights; halves become single precision."""
    with np.load(gold / "joint_parts" / f"{name}.npz", allow_pickle=False) as file:
        found = {key: torch.from_numpy(file[key]) for key in file.files if not key.startswith("w:")}
    return {key: one.float() if one.dtype == torch.float16 else one for key, one in found.items()}


def fill(module: nn.Module, gold: Path, name: str) -> nn.Module:
    """Load a file's weights into a module, strictly, in evaluation mode."""
    with np.load(gold / "joint_parts" / f"{name}.npz", allow_pickle=False) as file:
        weights = {
            key.removeprefix("w:"): torch.from_numpy(file[key]).float()
            for key in file.files
            if key.startswith("w:")
        }
    module.load_state_dict(weights)
    return module.eval().requires_grad_(False)


def manifest(gold: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of an official checkpoint."""
    text = (gold / "joint_parts" / f"unicorn_keys_unicorn_track_{name}.tsv").read_text()
    rows = [line.split("\t") for line in text.splitlines()]
    return {name: tuple(int(side) for side in shape.split("x") if side) for name, shape in rows}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, **CLOSE)
