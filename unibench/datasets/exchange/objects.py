"""JSON of one clip: its size and, for each frame, the objects with all that is said of them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unibench.datasets.exchange.boxes import path
from unibench.records import Clip, Labels


def write(folder: Path, clip: Clip, predicted: Sequence[Labels]) -> None:
    """Write `<clip>.json`, one frame a line; boxes are left, top, right, bottom in pixels from 0, masks COCO's RLE."""
    head = {"width": clip.width, "height": clip.height, "fps": clip.fps, "classes": clip.vocabulary}
    with path(folder, clip.name, ".json").open("w") as file:
        file.write(json.dumps(head)[:-1] + ', "frames": [')
        for index, labels in enumerate(predicted):
            row = {"frame": index, "objects": [_object(labels, one) for one in range(len(labels.ids))]}
            file.write((",\n" if index else "\n") + json.dumps(row, allow_nan=False))
        file.write("\n]}\n")


def _object(labels: Labels, row: int) -> dict[str, Any]:
    """What is said of an object; a number that is not finite is null."""
    found: dict[str, Any] = {"id": int(labels.ids[row])}
    if len(labels.boxes):
        found["box"] = _numbers(labels.boxes[row].tolist())
    if labels.masks:
        mask = labels.masks[row]
        found["mask"] = {"size": list(mask["size"]), "counts": mask["counts"].decode()}
    if len(labels.keypoints):
        found["keypoints"] = [_numbers(joint) for joint in labels.keypoints[row].tolist()]
    if len(labels.scores):
        found["score"] = _numbers([float(labels.scores[row])])[0]
    if len(labels.classes):
        found["class"] = int(labels.classes[row])
    return found


def _numbers(values: list[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
