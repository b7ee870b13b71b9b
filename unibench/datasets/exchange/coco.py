"""COCO's results: a JSON list of `image_id, category_id, bbox, score`, one file a clip."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unibench import schema
from unibench.datasets.clips import frame_numbers
from unibench.datasets.exchange.boxes import path
from unibench.datasets.files import fail, inside, read_bytes
from unibench.errors import DataError
from unibench.records import Clip, Labels


@dataclass(frozen=True)
class _Detection:
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    """Left, top, width, height."""
    score: float


@dataclass(frozen=True)
class _File:
    detections: tuple[_Detection, ...]


def write(folder: Path, clip: Clip, predicted: Sequence[Labels]) -> None:
    """Write the boxes of a clip: an image's id is the number of its frame, a category's counts from 1."""
    rows = []
    for number, labels in zip(frame_numbers(clip), predicted, strict=True):
        boxes = np.column_stack([labels.boxes[:, :2], labels.boxes[:, 2:] - labels.boxes[:, :2]]).tolist()
        kinds = labels.classes.tolist() or [0] * len(boxes)
        scores = labels.scores.tolist() or [1.0] * len(boxes)
        for box, kind, score in zip(boxes, kinds, scores, strict=True):
            rows.append({"image_id": number, "category_id": kind + 1, "bbox": box, "score": score})
    path(folder, clip.name, ".json").write_text(json.dumps(rows, allow_nan=False) + "\n")


def read(folder: Path, clip: Clip) -> tuple[Labels, ...]:
    """Read the boxes of a clip.

    Raises:
        DataError: The file is missing or malformed, or names a frame that does not exist.
    """
    file = inside(folder, f"{clip.name}.json")
    try:
        rows = schema.parse_json(read_bytes(file), str(file))
        found: _File = schema.record(_File, {"detections": rows}, str(file), others=True)
    except schema.SchemaError as error:
        raise DataError(
            f"{error}; expected COCO's results: a list of image_id, category_id, bbox, score"
        ) from error
    frames: dict[int, list[_Detection]] = {number: [] for number in frame_numbers(clip)}
    for one in found.detections:
        if one.image_id not in frames:
            fail(file, f"image_id {one.image_id}", f"the clip has frames {min(frames)} to {max(frames)}")
        frames[one.image_id].append(one)
    return tuple(map(_labels, frames.values()))


def _labels(found: list[_Detection]) -> Labels:
    rows = np.array([one.bbox for one in found], dtype=np.float64).reshape(len(found), 4)
    return Labels(
        boxes=np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1),
        scores=np.array([one.score for one in found], dtype=np.float64),
        classes=np.array([one.category_id - 1 for one in found], dtype=np.int64),
    )
