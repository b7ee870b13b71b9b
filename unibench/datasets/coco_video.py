"""Boxes of many clips in one file: COCO's JSON with videos, `annotations.json` beside the frames' folders.

`videos` name the clips; an image has a `video_id` and a `frame_id` (or `frame_index`), an annotation an `instance_id`
(or `track_id`), as in TAO and in MMTracking's files. `file_name` starts at the folder of the file.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from unibench import schema
from unibench.datasets.clips import image_clip
from unibench.datasets.files import EXACT, FARTHEST, fail, found_clips, inside, read_bytes
from unibench.errors import DataError
from unibench.records import EXCUSED, Clip, Labels, Truth

FILE = "annotations.json"
FPS = 25.0
"""Frames per second where a video has no `fps`."""
_CORRECT = "correct this entry"
_Id = Annotated[int, Meta(gt=-EXACT, lt=EXACT)]
_Pixels = Annotated[float, Meta(ge=-FARTHEST, le=FARTHEST)]
_Size = Annotated[float, Meta(ge=0, le=FARTHEST)]
_Mark = bool | Annotated[int, Meta(ge=0, le=1)]


@dataclass(frozen=True)
class _Video:
    id: _Id
    name: str
    fps: Annotated[float, Meta(gt=0, le=1000)] | None = None


@dataclass(frozen=True)
class _Image:
    id: _Id
    video_id: _Id
    file_name: str
    frame_id: _Id | None = None
    frame_index: _Id | None = None

    @property
    def index(self) -> int | None:
        return self.frame_index if self.frame_id is None else self.frame_id


@dataclass(frozen=True)
class _Object:
    image_id: _Id
    category_id: _Id
    bbox: tuple[_Pixels, _Pixels, _Size, _Size]
    """Left, top, width, height."""
    instance_id: _Id | None = None
    track_id: _Id | None = None
    iscrowd: _Mark = 0
    ignore: _Mark = 0

    @property
    def identity(self) -> int | None:
        return self.track_id if self.instance_id is None else self.instance_id


@dataclass(frozen=True)
class _Category:
    id: _Id
    name: str


@dataclass(frozen=True)
class _Content:
    videos: tuple[_Video, ...]
    images: tuple[_Image, ...]
    annotations: tuple[_Object, ...]
    categories: tuple[_Category, ...]


def names(root: Path) -> list[str]:
    """List the videos.

    Raises:
        DataError: The file is malformed, or has none.
    """
    return found_clips(
        [one.name for one in _read(root / FILE).videos], root / FILE, "videos with a name each"
    )


def load(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one video; crowds and what is marked `ignore` are excused, all else is scored, class by class.

    Args:
        root: Folder of the file.
        name: Of the video.

    Raises:
        DataError: The file is malformed, or an entry refers to nothing.
    """
    file = root / FILE
    content = _read(file)
    video = next((one for one in content.videos if one.name == name), None)
    if video is None:
        fail(file, f"no video {name!r}", f"there are: {', '.join(one.name for one in content.videos)}")
    images = [one for one in content.images if one.video_id == video.id]
    if not images or any(one.index is None for one in images):
        fail(file, f"video {name!r} has {len(images)} images", "expected some, each with a frame_id")
    images.sort(key=lambda one: one.index or 0)
    _refuse_twins((one.index for one in images), file, f"frames of video {name!r} have the number")
    frames = {one.id: place for place, one in enumerate(images)}
    categories = sorted(content.categories, key=lambda one: one.id)
    kinds = {one.id: place for place, one in enumerate(categories)}
    vocabulary = tuple(one.name for one in categories)
    objects: list[list[_Object]] = [[] for _ in images]
    for one in content.annotations:
        if one.image_id in frames:
            objects[frames[one.image_id]].append(one)
    labels = tuple(_labels([one for one in some if not _excused(one)], kinds, file) for some in objects)
    if not any(len(one.ids) for one in labels):
        fail(file, f"video {name!r} has no object to be scored", "expected at least one box of some size")
    ignored = tuple(_ignored([one for one in some if _excused(one)]) for some in objects)
    paths = [inside(root, one.file_name) for one in images]
    return image_clip(name, paths, video.fps or FPS, vocabulary=vocabulary), Truth(labels, ignored)


def _read(file: Path) -> _Content:
    return _parse(read_bytes(file), file)


@lru_cache(maxsize=1)
def _parse(text: bytes, file: Path) -> _Content:
    """One file has all clips, and each of them asks for it."""
    try:
        content: _Content = schema.json(_Content, text, str(file), others=True)
    except schema.SchemaError as error:
        raise DataError(f"{error}; {_CORRECT}") from error
    _refuse_twins((one.id for one in content.videos), file, "videos have the id")
    _refuse_twins((one.id for one in content.images), file, "images have the id")
    _refuse_twins((one.id for one in content.categories), file, "categories have the id")
    _refuse_twins((one.name for one in content.videos), file, "videos have the name")
    for field, known, used in (
        ("video_id", {one.id for one in content.videos}, {one.video_id for one in content.images}),
        ("image_id", {one.id for one in content.images}, {one.image_id for one in content.annotations}),
        (
            "category_id",
            {one.id for one in content.categories},
            {one.category_id for one in content.annotations},
        ),
    ):
        if missing := sorted(used - known):
            fail(file, f"{field} {missing[0]}, of which there is no entry", _CORRECT)
    return content


def _labels(objects: list[_Object], kinds: dict[int, int], file: Path) -> Labels:
    """The objects of a frame that have an area, by their identity."""
    kept = [one for one in objects if min(one.bbox[2:]) > 0]
    if any(one.identity is None for one in kept):
        fail(file, "an annotation without instance_id or track_id", "expected the identity of every object")
    kept.sort(key=lambda one: one.identity or 0)
    _refuse_twins((one.identity for one in kept), file, "objects of one image have the identity")
    several = kept if len(kinds) > 1 else []
    return Labels(
        ids=np.array([one.identity for one in kept], dtype=np.int64),
        boxes=_boxes(kept),
        classes=np.array([kinds[one.category_id] for one in several], dtype=np.int64),
    )


def _ignored(objects: list[_Object]) -> Labels:
    return Labels(boxes=_boxes(objects), classes=np.full(len(objects), EXCUSED))


def _excused(one: _Object) -> bool:
    return bool(one.iscrowd or one.ignore)


def _boxes(objects: list[_Object]) -> np.ndarray:
    boxes = np.array([one.bbox for one in objects], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _refuse_twins(values: Iterable[Hashable], file: Path, what: str) -> None:
    if twins := [value for value, count in Counter(values).items() if count > 1]:
        fail(file, f"{what} {twins[0]!r} twice", _CORRECT)
