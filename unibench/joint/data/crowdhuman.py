"""CrowdHuman: one JSON object a line (`.odgt`), images named by its `ID`."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unibench.datasets.files import fail, inside, read_text
from unibench.datasets.images import read_image
from unibench.joint.system import AnnotatedImage, TrainingSet
from unibench.records import Labels

CLASSES = ("person",)


def read(file: Path, images: Path) -> TrainingSet:
    """Read full-body boxes; regions tagged `mask`, and persons marked `ignore`, are ignored.

    Full bodies are annotated where they are hidden too, and may reach beyond the image.

    Args:
        file: `annotation_train.odgt`, `annotation_val.odgt`.
        images: Folder of `<ID>.jpg`.

    Raises:
        DataError: A line is malformed.

    Reference:
        Shao et al.: CrowdHuman, arXiv 1805.00123.
    """
    lines = [(number, line) for number, line in enumerate(read_text(file).splitlines(), 1) if line.strip()]
    return TrainingSet(
        str(file), CLASSES, [_image(f"{file}:{number}", line, images) for number, line in lines]
    )


def _image(where: str, line: str, images: Path) -> AnnotatedImage:
    try:
        row = json.loads(line)
        name, found = str(row["ID"]), [(one["fbox"], _ignored(one)) for one in row["gtboxes"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        fail(where, f"cannot be understood ({error!r})", "expected JSON with ID and gtboxes of tag and fbox")
    boxes = np.array([_xyxy(box, where) for box, _ in found]).reshape(-1, 4)
    ignored = np.array([skip for _, skip in found], dtype=bool)
    kept = ~ignored & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    labels = Labels(boxes=boxes[kept], classes=np.zeros(int(kept.sum()), dtype=np.int64))
    return AnnotatedImage(name, partial(read_image, inside(images, f"{name}.jpg")), labels, boxes[ignored])


def _ignored(one: dict[str, Any]) -> bool:
    return one["tag"] != "person" or bool(one.get("extra", {}).get("ignore", 0))


def _xyxy(box: object, where: str) -> tuple[float, float, float, float]:
    match box:
        case [
            int() | float() as x,
            int() | float() as y,
            int() | float() as width,
            int() | float() as height,
        ] if math.isfinite(x + y + width + height):
            return float(x), float(y), float(x + width), float(y + height)
    fail(where, f"fbox is {box!r}, expected [x, y, width, height]", "correct this line")
