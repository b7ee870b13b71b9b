"""Reads the MOTChallenge rows of the reference cases."""

import configparser
import gzip
import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from unibench.records import BYSTANDER, EXCUSED, Labels, Truth

DISTRACTORS = (2, 7, 8, 12)


def read_rows(file: Path) -> np.ndarray:
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt") as lines:
        return np.loadtxt(lines, delimiter=",", ndmin=2)


def by_frame(rows: np.ndarray, frames: int, classes: np.ndarray | None = None) -> tuple[Labels, ...]:
    clip = []
    for t in range(1, frames + 1):
        here = rows[:, 0] == t
        boxes = rows[here, 2:6].copy()
        boxes[:, 2:] += boxes[:, :2]
        extra = {} if classes is None else {"classes": classes[here]}
        clip.append(Labels(rows[here, 1].astype(np.int64), boxes, **extra))
    return tuple(clip)


def mot17(folder: Path, name: str) -> tuple[Truth, tuple[Labels, ...]]:
    """Pedestrians that are to be considered are scored, distractors excused, all else stands by."""
    video = folder / "gt" / name[:8]
    info = configparser.ConfigParser()
    info.read_string((video / "seqinfo.ini").read_text())
    frames = int(info["Sequence"]["seqLength"])
    rows = read_rows(video / "gt.txt.gz")
    scored = (rows[:, 7] == 1) & (rows[:, 6] != 0)
    kinds = np.where(np.isin(rows[:, 7], DISTRACTORS), EXCUSED, BYSTANDER)
    truth = Truth(by_frame(rows[scored], frames), by_frame(rows[~scored], frames, kinds[~scored]))
    return truth, by_frame(read_rows(folder / "pred" / f"{name}.txt.gz"), frames)


def mot15(folder: Path, name: str) -> tuple[Truth, tuple[Labels, ...]]:
    zipped = (folder / "gt" / f"{name}.txt.gz").is_file()
    truth = folder / "gt" / f"{name}.txt.gz" if zipped else folder / name / "gt.txt"
    guess = folder / "pred" / f"{name}.txt.gz" if zipped else folder / name / "test.txt"
    rows, found = read_rows(truth), read_rows(guess)
    rows = rows[rows[:, 6] >= 1]
    frames = int(max(rows[:, 0].max(), found[:, 0].max()))
    return Truth(by_frame(rows, frames)), by_frame(found, frames)


@lru_cache
def expected(folder: Path) -> dict:
    return json.loads((folder / "expected.json").read_text())
