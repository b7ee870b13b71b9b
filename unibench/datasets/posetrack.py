"""PoseTrack18 JSON: `annotations/val/<clip>.json` (or `annotations/<clip>.json`) and the images that it
names.

The 17 keypoints of the files become the 15 of the official scorer: right ankle, knee, hip; left hip, knee,
ankle; right wrist, elbow, shoulder; left shoulder, elbow, wrist; neck (`head_bottom`), nose, head top. The
ears are never labelled. Joints within an image's `ignore_regions_x` and `ignore_regions_y`, polygons in pixels, are
excused on both sides.

Reference:
    Andriluka et al., CVPR 2018; joints and head size as in poseval.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float
from msgspec import Meta

from unibench import schema
from unibench.datasets.clips import image_clip
from unibench.datasets.files import (
    EXACT,
    FARTHEST,
    fail,
    found_clips,
    inside,
    read_bytes,
    require_folder,
    visible,
)
from unibench.datasets.images import image_size
from unibench.errors import DataError
from unibench.geometry import masks
from unibench.records import EXCUSED, Clip, Labels, Rle, Truth

FPS = 25.0  # the benchmark does not say
JOINTS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("head_bottom", "nose", "head_top"),
)
HEAD = 0.6
"""Head size as a share of the head box's diagonal."""
VOCABULARY = ("person",)
_HINT = "correct it; expected PoseTrack18 JSON with images, annotations and categories"
Pixels = Annotated[float, Meta(ge=-FARTHEST, le=FARTHEST)]
Size = Annotated[float, Meta(ge=0, le=FARTHEST)]
Polygons = tuple[tuple[Pixels, ...], ...]


@dataclass(frozen=True)
class _Image:
    file_name: str
    id: int | str
    vid_id: int | str | None = None
    is_labeled: bool = True
    ignore_regions_x: Polygons | None = None
    ignore_regions_y: Polygons | None = None


@dataclass(frozen=True)
class _Person:
    image_id: int | str
    category_id: int
    keypoints: tuple[Pixels, ...]
    """x, y and visibility (truth) or score (detections) of each keypoint of the category."""
    track_id: Annotated[int, Meta(ge=0, lt=EXACT)] | None = None
    bbox_head: tuple[Pixels, Pixels, Size, Size] | None = None
    """Left, top, width, height."""
    score: float | None = None
    scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Category:
    id: int
    keypoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Content:
    images: tuple[_Image, ...]
    annotations: tuple[_Person, ...]
    categories: tuple[_Category, ...]


@dataclass(frozen=True)
class _Annotation:
    """One person, with the index of each of our 15 joints among its own keypoints."""

    where: str
    person: _Person
    order: Sequence[int]

    def keypoints(self) -> Float[np.ndarray, "15 3"]:
        return np.array(self.person.keypoints, dtype=np.float64).reshape(-1, 3)[self.order]


def names(root: Path) -> list[str]:
    """List the clips: the files in `annotations/val`, without it those in `annotations`.

    Raises:
        DataError: There are none.
    """
    folder = _annotations(root)
    return found_clips([file.stem for file in visible(folder, "*.json")], folder, "<clip>.json")


def load(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one clip with all its frames; those without labels are not scored.

    People without a single labelled joint are left out: no scorer can match them.

    Args:
        root: The benchmark's folder.
        name: Clip.

    Raises:
        DataError: Files are missing or malformed.
    """
    file = inside(_annotations(root), f"{name}.json")
    content = _read(file)
    paths = [inside(root, image.file_name) for image in content.images]
    for path in paths:
        if not path.exists():
            fail(path, "no such image", f"named in {file}; fetch the images again")
    people = _by_image(file, content)
    frames = [_truth(people[image.id]) for image in content.images]
    scored = tuple(index for index, image in enumerate(content.images) if image.is_labeled)
    truth = Truth(
        tuple(labels for labels, _ in frames),
        ignored=_ignored(file, content.images, image_size(paths[0])),
        scales=tuple(scale for _, scale in frames),
        scored=None if len(scored) == len(paths) else scored,
    )
    return image_clip(name, paths, FPS, vocabulary=VOCABULARY), truth


def read_tracks(file: Path, length: int) -> tuple[Labels, ...]:
    """Read tracked people in the same form; a `keypoints` triple is x, y, score.

    Args:
        file: JSON file whose `images` are the clip's frames, in order.
        length: Number of frames of the clip.

    Raises:
        DataError: The file is malformed, has another number of frames, or lacks the track of a person.
    """
    frames = _people(file, length)
    for people in frames:
        for one in people:
            if one.person.track_id is None:
                fail(one.where, "no track_id", "every tracked person has one")
    return tuple(
        replace(_detected(people), ids=np.array([one.person.track_id for one in people], dtype=np.int64))
        for people in frames
    )


def read_detections(file: Path, length: int) -> tuple[Labels, ...]:
    """Read detected people in the same form; a `keypoints` triple is x, y, score.

    A person's score is its `score`, without it the mean of its `scores`, without both 1.

    Args:
        file: JSON file whose `images` are the clip's frames, in order.
        length: Number of frames of the clip.

    Raises:
        DataError: The file is malformed or has another number of frames.
    """
    return tuple(map(_detected, _people(file, length)))


def _people(file: Path, length: int) -> list[list[_Annotation]]:
    """The annotations of every frame of a clip of so many."""
    content = _read(file)
    if len(content.images) != length:
        fail(
            file,
            f"{len(content.images)} images, expected {length} as in the clip",
            "list every frame once",
        )
    people = _by_image(file, content)
    return [people[image.id] for image in content.images]


def _annotations(root: Path) -> Path:
    require_folder(root, "PoseTrack18: annotations/val and images")
    val = root / "annotations" / "val"
    return val if val.is_dir() else require_folder(root / "annotations", "PoseTrack18 JSON files")


def _read(file: Path) -> _Content:
    try:
        content: _Content = schema.json(_Content, read_bytes(file), str(file), others=True)
    except schema.SchemaError as error:
        raise DataError(f"{error}; {_HINT}") from error
    images = content.images
    if not images:
        fail(file, "an empty clip, expected images", "the file is damaged; fetch it again")
    for what, values in (
        ("an image", [image.file_name for image in images]),
        ("an image's id", [image.id for image in images]),
        ("a category", [category.id for category in content.categories]),
    ):
        if len(set(values)) < len(values):
            fail(file, f"{what} that is listed twice", "the file is damaged; fetch it again")
    if len({image.vid_id for image in images}) > 1:
        fail(file, "frames of more than one video", "keep one file for each video")
    return content


def _by_image(file: Path, content: _Content) -> dict[int | str, list[_Annotation]]:
    """Annotations of every image."""
    categories = {}
    for category in content.categories:
        if missing := [joint for joint in JOINTS if joint not in category.keypoints]:
            fail(file, f"a category without the keypoints {', '.join(missing)}", _HINT)
        categories[category.id] = category
    people: dict[int | str, list[_Annotation]] = {image.id: [] for image in content.images}
    for number, person in enumerate(content.annotations):
        where = f"{file}: annotations[{number}]"
        if person.image_id not in people or person.category_id not in categories:
            fail(where, "of an unknown image or category", _HINT)
        known = categories[person.category_id].keypoints
        if len(person.keypoints) != 3 * len(known):
            fail(where, f"keypoints: found {len(person.keypoints)} numbers, expected 3 x {len(known)}", _HINT)
        people[person.image_id].append(_Annotation(where, person, [known.index(joint) for joint in JOINTS]))
    return people


def _truth(annotations: list[_Annotation]) -> tuple[Labels, Float[np.ndarray, " object"]]:
    tracks: dict[int, _Annotation] = {}
    for one in annotations:
        track, head = one.person.track_id, one.person.bbox_head
        if not (one.keypoints()[:, 2] > 0).any():
            continue
        if track is None or head is None:
            fail(
                one.where,
                f"no {'track_id' if track is None else 'bbox_head'}",
                "every labelled person has one",
            )
        if track in tracks:
            fail(
                one.where,
                f"track_id {track} twice in image {one.person.image_id}",
                "the file is damaged; fetch it again",
            )
        if not np.hypot(*head[2:]) > 0:
            fail(one.where, "a head box without size", "correct its bbox_head")
        tracks[track] = one
    people = [tracks[track] for track in sorted(tracks)]
    keypoints = np.array([one.keypoints() for one in people], dtype=np.float64).reshape(
        len(people), len(JOINTS), 3
    )
    heads = np.array([one.person.bbox_head for one in people], dtype=np.float64).reshape(len(people), 4)
    scales = HEAD * np.hypot(heads[:, 2], heads[:, 3])
    return Labels(ids=np.array(sorted(tracks), dtype=np.int64), keypoints=keypoints), scales


def _detected(annotations: list[_Annotation]) -> Labels:
    people = [one.person for one in annotations]
    scores = [float(np.mean(one.scores or 1.0)) if one.score is None else one.score for one in people]
    keypoints = np.array([one.keypoints() for one in annotations], dtype=np.float64)
    return Labels(
        keypoints=keypoints.reshape(len(people), len(JOINTS), 3), scores=np.array(scores, dtype=np.float64)
    )


def _ignored(file: Path, images: Sequence[_Image], size: tuple[int, int]) -> tuple[Labels, ...]:
    """What is not scored of each frame; nothing at all where no image has such a region."""
    polygons = [_polygons(f"{file}: images[{number}]", image) for number, image in enumerate(images)]
    if not any(polygons):
        return ()
    excused = np.array([EXCUSED])
    return tuple(
        Labels(masks=(_region(one, size),), classes=excused) if one else Labels() for one in polygons
    )


def _polygons(where: str, image: _Image) -> list[Float[np.ndarray, "_vertex 2"]]:
    columns, rows = image.ignore_regions_x or (), image.ignore_regions_y or ()
    if list(map(len, columns)) != list(map(len, rows)):
        fail(where, "ignore_regions_x and ignore_regions_y of different lengths", "correct them")
    return [np.array([x, y]).T for x, y in zip(columns, rows, strict=True) if len(x) > 2]


def _region(polygons: Sequence[Float[np.ndarray, "_vertex 2"]], size: tuple[int, int]) -> Rle:
    """The pixels whose centre lies within one of the polygons, by the even-odd rule.

    A row of pixels enters and leaves a polygon where its edges cross the row's centre line.
    """
    height, width = size
    changes = np.zeros((height, width + 1), dtype=np.int32)
    for polygon in polygons:
        after = np.roll(polygon, -1, axis=0)
        falls = polygon[:, 1] > after[:, 1]
        low, high = np.where(falls[:, None], [after, polygon], [polygon, after])
        first, last = (np.clip(np.ceil(end[:, 1] - 0.5), 0, height).astype(np.int64) for end in (low, high))
        edge = np.repeat(np.arange(len(polygon)), last - first)
        rows = np.concatenate([np.arange(*span) for span in zip(first, last, strict=True)])
        slope = (high[edge, 0] - low[edge, 0]) / (high[edge, 1] - low[edge, 1])
        crossing = low[edge, 0] + (rows + 0.5 - low[edge, 1]) * slope
        order = np.lexsort((crossing, rows))
        starts = np.clip(np.floor(crossing[order[::2]] - 0.5) + 1, 0, width).astype(np.int64)
        ends = np.clip(np.ceil(crossing[order[1::2]] - 0.5), starts, width).astype(np.int64)
        np.add.at(changes, (rows[order[::2]], starts), 1)
        np.add.at(changes, (rows[order[::2]], ends), -1)
    return masks.encode(np.cumsum(changes, axis=1)[:, :width] > 0)
