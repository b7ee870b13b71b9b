"""A small sweep for tests: clips of a few tiny frames in the layout of DAVIS-2016, and what a run of it leaves."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from tests.datasets import layouts
from unibench.evaluation import plan_file
from unibench.evaluation.plan_file import Plan
from unibench.evaluation.units import Unit, list_units
from unibench.models import cards
from unibench.tasks import registry

MODELS = ("lab-colour", "hog")
TASK = "vos/davis2016"


def davis(data: Path, clips: int, frames: int = 3) -> Path:
    """Write a data set; a square moves to the right in every clip, at another height in each."""
    root = data / "DAVIS2016"
    for number in range(clips):
        name = f"clip{number:02}"
        layouts.images(root / "JPEGImages" / "480p" / name, range(frames), digits=5, suffix=".jpg")
        for index in range(frames):
            values = np.zeros((layouts.HEIGHT, layouts.WIDTH), dtype=np.uint8)
            values[number % 12 : number % 12 + 10, 4 + 2 * index : 16 + 2 * index] = 255
            layouts.ids_png(root / "Annotations" / "480p" / name / f"{index:05d}.png", values)
    return data


def units(data: Path, models: tuple[str, ...] = MODELS, *names: str) -> list[Unit]:
    return list_units(
        [cards.find(name) for name in models], [registry.find(name) for name in names or (TASK,)], data
    )


def make(data: Path) -> Plan:
    return plan_file.make(units(data), data=data)


def left(out: Path) -> dict[str, bytes]:
    """Every file of a folder of results but for the plan, and for what says when and how fast a run was made."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {
        str(path.relative_to(out)): _untimed(path) if path.name == "leaderboard.csv" else path.read_bytes()
        for path in files
        if path.name not in ("run.json", "cost.json", "plan.json")
    }


def _untimed(board: Path) -> bytes:
    """A board without the times of its costs; what is counted stays."""
    table = pd.read_csv(board, dtype=str, keep_default_na=False)
    timed = re.compile(r"timed on|.* ms")
    return table[[name for name in table if not timed.fullmatch(name)]].to_csv(index=False).encode()
