"""What a user says of the first frame of a video, read from the command line or a file."""

from pathlib import Path
from typing import Any

import numpy as np

from unibench.datasets.files import FARTHEST, fail, number, read_bytes
from unibench.datasets.images import VOID, distinct, read_ids, read_objects
from unibench.geometry import masks
from unibench.records import Labels
from unibench.schema import SchemaError, parse_json

KINDS = {
    "sot": "a box LEFT,TOP,RIGHT,BOTTOM",
    "vos": "a mask FILE.png",
    "pose": "joints FILE.json",
    "points": "places X,Y;X,Y;... or FILE.json",
}
"""Family of tasks -> what its trackers are prompted with."""


def family_of(text: str) -> str:
    """The family of tasks that a prompt is for, by its form; a JSON file may hold points too."""
    suffix = Path(text).suffix.lower()
    plain = "points" if text.partition(";")[0].count(",") == 1 else "sot"
    return {".png": "vos", ".json": "pose"}.get(suffix, plain)


def read_prompt(text: str, family: str, size: tuple[int, int]) -> Labels:
    """Read a prompt.

    Args:
        text: `LEFT,TOP,RIGHT,BOTTOM` or `X,Y;X,Y;...` in pixels from 0, or the path of a file.
        family: A key of `KINDS`.
        size: (height, width) of the first frame, pixels.

    Raises:
        DataError: The prompt is of another kind, malformed, or not within the frame.
    """
    if family_of(text) != family and (family_of(text), family) != ("pose", "points"):
        fail(f"--prompt {text!r}", f"not a prompt for {family}", f"expected {KINDS[family]}")
    return {"sot": _box, "vos": _mask, "pose": _joints, "points": _points}[family](text, size)


def _box(text: str, size: tuple[int, int]) -> Labels:
    where, (height, width) = f"--prompt {text!r}", size
    fields = text.split(",")
    if len(fields) != 4:
        fail(where, "not a box", "expected LEFT,TOP,RIGHT,BOTTOM in pixels, a mask.png or joints.json")
    left, top, right, bottom = (number(field.strip(), where) for field in fields)
    if not (right > left and bottom > top):
        fail(where, "a box without area", "expected LEFT,TOP,RIGHT,BOTTOM: right of left, bottom below top")
    if left < 0 or top < 0 or right > width or bottom > height:
        fail(where, "a box outside the frame", f"expected one within its {width}x{height} pixels")
    return Labels(ids=np.array([1]), boxes=np.array([[left, top, right, bottom]]))


def _mask(text: str, size: tuple[int, int]) -> Labels:
    """A mask of 0 and 255 is one object; else the values are ids, and `VOID` is none."""
    file = Path(text)
    values = read_ids(file, size)
    ids = np.setdiff1d(distinct(values), [0])
    if not ids.size:
        fail(file, "an empty mask", "expected the pixels of an object to be 1, those of a second one 2, ...")
    if ids.tolist() == [VOID]:
        return Labels(ids=np.array([1]), masks=(masks.encode(values == VOID),))
    objects = read_objects(file, size)
    found = np.setdiff1d(distinct(objects), [0])
    return Labels(ids=found, masks=tuple(masks.encode(objects == identity) for identity in found))


def read_poses(file: Path) -> tuple[Labels, ...]:
    """Read the joints of persons: for each frame a list of persons, each a list of joints `[x, y]`, pixels from 0.

    A joint that is not seen is null. A person's id is its place in the list, from 1.

    Raises:
        DataError: The file is missing or malformed, or numbers of persons or joints differ.
    """
    expected = "expected for each frame a list of persons, each a list of joints [x, y] or null"
    frames = _read_json(file, expected)
    if not isinstance(frames, list) or not frames:
        fail(file, "no list of frames", expected)
    labels = tuple(_people(frame, f"{file}: frame {index}", expected) for index, frame in enumerate(frames))
    if len({one.keypoints.shape for one in labels}) > 1:
        fail(file, "another number of persons or joints in some frame", expected)
    return labels


def _joints(text: str, size: tuple[int, int]) -> Labels:
    file, (height, width) = Path(text), size
    expected = "expected a list of persons, each a list of joints [x, y] or null"
    people = _people(_read_json(file, expected), str(file), expected)
    points = people.keypoints
    outside = (points[..., :2] < 0).any(axis=2) | (points[..., 0] > width) | (points[..., 1] > height)
    if outside.any():
        fail(file, "a joint outside the frame", f"expected all within its {width}x{height} pixels")
    if not (points[..., 2] > 0).any(axis=1).all():
        fail(file, "a person without joints", "take it out, or give one joint at least")
    return people


def _points(text: str, size: tuple[int, int]) -> Labels:
    """Points of the first frame; ids are their places in the list, from 1."""
    where, (height, width) = f"--prompt {text!r}", size
    if Path(text).suffix.lower() == ".json":
        where, expected = text, "expected a list of points [x, y], pixels from 0"
        content = _read_json(Path(text), expected)
        try:
            places = np.array(content, dtype=np.float64)
        except (ValueError, TypeError) as error:
            fail(where, f"no points can be read ({' '.join(str(error).split())[:80]})", expected)
    else:
        expected = "expected X,Y;X,Y;... in pixels from 0"
        rows = [
            [number(one.strip(), where) for one in row.split(",")] for row in text.split(";") if row.strip()
        ]
        if any(len(row) != 2 for row in rows):
            fail(where, "a point without x and y", expected)
        places = np.array(rows)
    if places.ndim != 2 or places.shape[1:] != (2,) or not len(places):
        fail(where, f"points of shape {places.shape}", expected)
    if not ((places >= 0) & (places <= (width, height))).all():  # False where it is NaN
        fail(where, "a point outside the frame", f"expected all within its {width}x{height} pixels")
    visible = np.ones((len(places), 1))
    return Labels(ids=np.arange(1, len(places) + 1), keypoints=np.hstack([places, visible])[:, None])


def _read_json(file: Path, expected: str) -> Any:
    try:
        return parse_json(read_bytes(file), str(file))
    except SchemaError as error:
        fail(file, f"not JSON ({error})", expected)


def _people(value: Any, where: str, expected: str) -> Labels:
    """Persons as lists of joints; a joint that is null is at 0, 0 and not given."""
    try:
        points = np.array(
            [
                [[*map(float, joint), 1.0] if joint else [0.0, 0.0, 0.0] for joint in person]
                for person in value
            ]
        )
    except (ValueError, TypeError) as error:
        fail(where, f"no joints can be read ({' '.join(str(error).split())[:80]})", expected)
    if points.ndim != 3 or points.shape[2] != 3 or not points.size:
        fail(where, f"joints of shape {points.shape}", expected)
    if not (np.abs(points) <= FARTHEST).all():
        fail(where, "a joint that is no place in pixels", expected)
    return Labels(ids=np.arange(1, len(points) + 1), keypoints=points)
