"""The state of a training on disk: written whole or not at all, read as data, and bound to what it was made with."""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unibench.errors import TrainingError

FILE = "checkpoint.pt"
BEST = "best.pt"


@dataclass(frozen=True)
class Checkpoint:
    """What is read of one."""

    path: Path
    step: int
    """Steps done."""
    states: Mapping[str, Mapping[str, Any]]
    """Name -> `state_dict()`."""


def save(path: Path, step: int, made_with: str, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace a checkpoint.

    Args:
        path: `FILE` or `BEST` in the folder of the training.
        step: Steps done.
        made_with: JSON of all that the result depends on; `read` wants the same.
        states: Name -> `state_dict()`.

    Raises:
        TrainingError: It cannot be written.
    """
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


def read(path: Path, made_with: str) -> Checkpoint | None:
    """Read a checkpoint, if there is one.

    Args:
        path: `FILE` or `BEST` in the folder of the training.
        made_with: JSON of all that the result depends on.

    Raises:
        TrainingError: It is damaged, or of another training.
    """
    if not path.exists():
        return None
    saved = _read(path)
    for difference in _differences(json.loads(saved["made_with"]), json.loads(made_with)):
        raise TrainingError(
            f"{path}: made with {difference}; repeat the command that made it, or give another folder with -o"
        )
    return Checkpoint(path, saved["step"], saved["states"])


def restore(saved: Checkpoint, holders: Mapping[str, Any]) -> None:
    """Put what a checkpoint holds back.

    Args:
        saved: From `read`.
        holders: Name -> network, optimizer, ...; each gets its state.

    Raises:
        TrainingError: It is of another network.
    """
    try:
        for name, holder in holders.items():
            holder.load_state_dict(saved.states[name])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise TrainingError(_unreadable(saved.path, error)) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        if damaged := zipfile.ZipFile(path).testzip():
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        made_with, step = json.loads(saved["made_with"]), saved["step"]
        if not isinstance(made_with, dict) or type(step) is not int or not isinstance(saved["states"], dict):
            raise ValueError("another kind of file")
        if not 0 < step <= (most := sum(one["steps"] for one in made_with["config"]["train"]["stages"])):
            raise ValueError(f"{step} steps done, expected 1 to {most}")
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
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for place, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from _differences(one, other, f"{where}[{place}]")
    elif then != now:
        yield f"{where} = {json.dumps(then)}, found {json.dumps(now)}"
