"""The state of a training on disk: written whole or not at all, read as data, and bound to what it was made with."""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from unibench.errors import TrainingError

FILE = "checkpoint.pt"


def save(folder: Path, step: int, made_with: str, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace the checkpoint of a folder.

    Args:
        folder: Of the training.
        step: Steps done.
        made_with: JSON of all that the result depends on; `load` wants the same.
        states: Name -> `state_dict()`.

    Raises:
        TrainingError: It cannot be written.
    """
    path = folder / FILE
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as stream:
            torch.save({"step": step, "made_with": made_with, "states": dict(states)}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:  # torch gives either where a disk is full
        part.unlink(missing_ok=True)
        raise TrainingError(
            f"{path}: cannot be written ({_line(error)}); make room, then the same command goes on"
        ) from error


def load(folder: Path, made_with: str, holders: Mapping[str, Any]) -> int:
    """Put a folder's checkpoint, if there is one, back into network, optimizer, ...

    Args:
        folder: Of the training.
        made_with: JSON of all that the result depends on.
        holders: Name -> network, optimizer, ...; each gets its state.

    Returns:
        Steps done; 0: there is no checkpoint.

    Raises:
        TrainingError: The checkpoint is damaged, or of another training.
    """
    path = folder / FILE
    if not path.exists():
        return 0
    saved = _read(path)
    for difference in _differences(json.loads(saved["made_with"]), json.loads(made_with)):
        raise TrainingError(
            f"{path}: made with {difference}; repeat the command that made it, or give another folder with -o"
        )
    try:
        for name, holder in holders.items():
            holder.load_state_dict(saved["states"][name])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise TrainingError(_unreadable(path, error)) from error
    return int(saved["step"])


def _read(path: Path) -> dict[str, Any]:
    try:
        if damaged := zipfile.ZipFile(path).testzip():
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        json.loads(saved["made_with"]), saved["step"], saved["states"]
    except Exception as error:  # torch raises many kinds on damaged bytes
        raise TrainingError(_unreadable(path, error)) from error
    return saved


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path}: not a readable checkpoint ({_line(error)}); delete it to train from the start"


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _differences(then: object, now: object, where: str = "") -> Iterator[str]:
    """Fields in which two trees of plain data differ."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name in sorted({*then, *now}):
            yield from _differences(then.get(name), now.get(name), f"{where}.{name}" if where else name)
    elif then != now:
        yield f"{where} = {json.dumps(then)}, found {json.dumps(now)}"
