"""CrowdHuman: one JSON object a line (`.odgt`), images named by its `ID`."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from unibench import schema
from unibench.datasets.files import fail, inside, read_bytes
from unibench.datasets.images import read_image
from unibench.errors import DataError
from unibench.joint.data.coco import Mark, Pixels
from unibench.joint.system import AnnotatedImage, TrainingSet
from unibench.records import Labels

CLASSES = ("person",)


@dataclass(frozen=True)
class _Extra:
    ignore: Mark = 0


@dataclass(frozen=True)
class _Box:
    tag: str
    fbox: tuple[Pixels, Pixels, Pixels, Pixels]
    """Left, top, width, height of the whole body."""
    extra: _Extra = field(default_factory=_Extra)


@dataclass(frozen=True)
class _Line:
    ID: str | int
    gtboxes: tuple[_Box, ...]


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
    lines = [(number, line) for number, line in enumerate(read_bytes(file).split(b"\n"), 1) if line.strip()]
    annotated = [_image(f"{file}:{number}", line, images) for number, line in lines]
    if not any(len(one.labels.boxes) for one in annotated):
        fail(file, "no persons, expected at least one", "name the file that holds the annotations")
    return TrainingSet(str(file), CLASSES, annotated)


def _image(where: str, data: bytes, images: Path) -> AnnotatedImage:
    try:
        line: _Line = schema.json(_Line, data, where, others=True)
    except schema.SchemaError as error:
        raise DataError(
            f"{error}; correct this line; expected JSON with ID and gtboxes of tag and fbox"
        ) from error
    boxes = np.array([one.fbox for one in line.gtboxes], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    ignored = np.array([one.tag != "person" or bool(one.extra.ignore) for one in line.gtboxes], dtype=bool)
    kept = ~ignored & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    labels = Labels(boxes=boxes[kept], classes=np.zeros(int(kept.sum()), dtype=np.int64))
    path = inside(images, f"{line.ID}.jpg")
    return AnnotatedImage(str(line.ID), partial(read_image, path), labels, boxes[ignored])
