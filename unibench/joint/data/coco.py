"""Detection data in COCO's JSON, and in its extension to videos.

A video's images have a `video_id` and a `frame_id` (or `frame_index`), its annotations an `instance_id` (or
`track_id`); both spellings are in use.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from unibench.datasets.files import fail, inside, read_text
from unibench.datasets.images import read_image
from unibench.joint.system import AnnotatedImage, TrainingSet
from unibench.records import Labels

CORRECT = "correct this entry"
FRAME, TRACK = ("frame_id", "frame_index"), ("instance_id", "track_id")
Row = Mapping[str, Any]


def read(file: Path, images: Path, *, videos: bool = False) -> TrainingSet:
    """Read a JSON file.

    Args:
        file: COCO JSON.
        images: Folder that its `file_name`s start from.
        videos: Whether identities and the order of frames are wanted; otherwise all images are stills.

    Raises:
        DataError: The file is not JSON, or an entry is malformed or refers to nothing.
    """
    try:
        table = json.loads(read_text(file))
    except ValueError as error:
        fail(file, f"not JSON ({error})", "the file is damaged; fetch it again")
    return from_table(table, images, str(file), videos=videos)


def from_table(table: object, images: Path, where: str, *, videos: bool = False) -> TrainingSet:
    """Make a training set of the content of a COCO JSON file.

    Boxes without area are left out. Crowds, and objects marked `ignore`, are regions in which nothing is learnt.

    Args:
        table: With `images`, `annotations` and `categories`.
        images: Folder that the `file_name`s start from.
        where: The file, for messages.
        videos: As in `read`.

    Raises:
        DataError: An entry is malformed or refers to nothing.
    """
    categories = sorted(_rows(table, "categories", where), key=lambda row: int(row["id"]))
    numbers = {int(row["id"]): index for index, row in enumerate(categories)}
    classes = tuple(str(_value(row, ("name",), str, f"{where}: categories")) for row in categories)
    of_image: dict[int, list[tuple[str, Row]]] = {int(row["id"]): [] for row in _rows(table, "images", where)}
    for number, row in enumerate(_rows(table, "annotations", where)):
        entry = f"{where}: annotations[{number}]"
        image = _value(row, ("image_id",), int, entry)
        if image not in of_image:
            fail(entry, f"no image {image}", CORRECT)
        if _value(row, ("category_id",), int, entry) not in numbers:
            fail(entry, f"no category {row['category_id']}", CORRECT)
        of_image[image].append((entry, row))
    annotated = []
    for number, row in enumerate(_rows(table, "images", where)):
        objects = _Objects(of_image[int(row["id"])], numbers, tracks=videos)
        annotated.append(_image(row, f"{where}: images[{number}]", images, objects, videos=videos))
    _refuse_twins([one.name for one in annotated], where)
    if videos:
        annotated.sort(key=lambda one: (one.video, one.index))
    return TrainingSet(where, classes, annotated)


class _Objects:
    """The annotations of one image as arrays."""

    def __init__(self, rows: Sequence[tuple[str, Row]], numbers: Mapping[int, int], *, tracks: bool) -> None:
        boxes = np.array([_box(row, entry) for entry, row in rows]).reshape(-1, 4)
        classes = np.array([numbers[row["category_id"]] for _, row in rows], dtype=np.int64)
        crowd = np.array([bool(row.get("iscrowd") or row.get("ignore")) for _, row in rows], dtype=bool)
        sides = boxes[:, 2:] - boxes[:, :2]
        areas = np.array(
            [_area(row, entry, side) for (entry, row), side in zip(rows, sides, strict=True)],
            dtype=np.float64,
        )
        kept = ~crowd & (sides > 0).all(axis=1)
        ids = np.zeros(0, dtype=np.int64)
        if tracks:
            chosen = [pair for pair, good in zip(rows, kept, strict=True) if good]
            ids = np.array([_value(row, TRACK, int, entry) for entry, row in chosen], dtype=np.int64)
        self.labels = Labels(ids=ids, boxes=boxes[kept], classes=classes[kept])
        self.areas, self.ignored, self.ignored_classes = areas[kept], boxes[crowd], classes[crowd]


def _image(row: Row, entry: str, images: Path, objects: _Objects, *, videos: bool) -> AnnotatedImage:
    name = _value(row, ("file_name",), str, entry)
    labels = objects.labels
    if len(set(labels.ids.tolist())) < len(labels.ids):
        fail(entry, f"an identity stands twice in {name!r}", CORRECT)
    return AnnotatedImage(
        name,
        partial(read_image, inside(images, name)),
        labels,
        objects.ignored,
        areas=objects.areas,
        ignored_classes=objects.ignored_classes,
        video=str(_value(row, ("video_id",), int, entry)) if videos else "",
        index=_value(row, FRAME, int, entry) if videos else 0,
    )


def _rows(table: object, name: str, where: str) -> list[Row]:
    found = table.get(name) if isinstance(table, dict) else None
    if not isinstance(found, list):
        fail(where, f"no list {name!r}", "expected COCO JSON with images, annotations and categories")
    for number, row in enumerate(found):
        if not isinstance(row, dict):
            fail(f"{where}: {name}[{number}]", f"found {str(row)[:40]!r}, expected an object", CORRECT)
        if name != "annotations":
            _value(row, ("id",), int, f"{where}: {name}[{number}]")
    return found


def _value(row: Row, names: Sequence[str], kind: type, entry: str) -> Any:
    """The first of several spellings of a field that is there."""
    for name in names:
        if isinstance(row.get(name), kind) and not isinstance(row[name], bool):
            return row[name]
    found = next((f"{name} is {row[name]!r}" for name in names if name in row), f"no {' or '.join(names)}")
    fail(entry, f"{found}, expected {'an integer' if kind is int else 'a text'}", CORRECT)


def _box(row: Row, entry: str) -> tuple[float, float, float, float]:
    match row.get("bbox"):
        case [
            int() | float() as x,
            int() | float() as y,
            int() | float() as width,
            int() | float() as height,
        ] if math.isfinite(x + y + width + height) and min(width, height) >= 0:
            return float(x), float(y), float(x + width), float(y + height)
    fail(entry, f"bbox is {row.get('bbox')!r}, expected [x, y, width, height]", CORRECT)


def _area(row: Row, entry: str, sides: Float[np.ndarray, " 2"]) -> float:
    """That of the mask, or else of the box."""
    area = row.get("area", float(sides.prod()))
    if isinstance(area, bool) or not isinstance(area, int | float) or not math.isfinite(area):
        fail(entry, f"area is {area!r}, expected a number", CORRECT)
    return float(area)


def _refuse_twins(names: Sequence[str], where: str) -> None:
    if len(set(names)) < len(names):
        twin = next(name for name, count in Counter(names).items() if count > 1)
        fail(where, f"two images are called {twin!r}", "remove one of them")
