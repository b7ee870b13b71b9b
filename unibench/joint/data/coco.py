"""Detection data in COCO's JSON, and in its extension to videos.

A video's images have a `video_id` and a `frame_id` (or `frame_index`), its annotations an `instance_id` (or
`track_id`); both spellings are in use.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float
from msgspec import Meta

from unibench import schema
from unibench.datasets.files import EXACT, FARTHEST, fail, inside, read_bytes
from unibench.datasets.images import image_size, read_image
from unibench.errors import DataError
from unibench.geometry import masks
from unibench.joint.system import AnnotatedImage, TrainingSet
from unibench.records import Labels, Rle

CORRECT = "correct this entry"
Id = Annotated[int, Meta(gt=-EXACT, lt=EXACT)]
Mark = bool | Annotated[int, Meta(ge=0, le=1)]
Pixels = Annotated[float, Meta(ge=-FARTHEST, le=FARTHEST)]
Size = Annotated[float, Meta(ge=0, le=FARTHEST)]


@dataclass(frozen=True)
class _Category:
    id: Id
    name: str


@dataclass(frozen=True)
class _Image:
    id: Id
    file_name: str
    video_id: Id | None = None
    frame_id: Id | None = None
    frame_index: Id | None = None

    @property
    def index(self) -> int | None:
        return self.frame_index if self.frame_id is None else self.frame_id


@dataclass(frozen=True)
class _Object:
    image_id: Id
    category_id: Id
    bbox: tuple[Pixels, Pixels, Size, Size]
    """Left, top, width, height."""
    area: Annotated[float, Meta(ge=0, le=FARTHEST**2)] | None = None
    """Of the mask; without it, of the box."""
    iscrowd: Mark = 0
    ignore: Mark = 0
    instance_id: Id | None = None
    track_id: Id | None = None

    @property
    def identity(self) -> int | None:
        return self.track_id if self.instance_id is None else self.instance_id


@dataclass(frozen=True)
class _Runs:
    size: tuple[int, int]
    counts: str | tuple[Annotated[int, Meta(ge=0)], ...]


@dataclass(frozen=True)
class _Drawn:
    """An annotation's mask: polygons x1, y1, x2, y2, ..., or runs."""

    segmentation: (
        Annotated[
            tuple[Annotated[tuple[Pixels, ...], Meta(min_length=6, max_length=100_000)], ...],
            Meta(min_length=1, max_length=10_000),
        ]
        | _Runs
        | None
    ) = None


@dataclass(frozen=True)
class _Drawings:
    annotations: tuple[_Drawn, ...]


@dataclass(frozen=True)
class _Content:
    images: tuple[_Image, ...]
    annotations: tuple[_Object, ...]
    categories: tuple[_Category, ...]


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
        content = schema.json(_Content, read_bytes(file), str(file), others=True)
    except schema.SchemaError as error:
        raise DataError(f"{error}; {CORRECT}") from error
    return _training_set(content, images, str(file), videos=videos, drawn=file)


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
    try:
        content = schema.record(_Content, table, where, others=True)
    except schema.SchemaError as error:
        raise DataError(f"{error}; {CORRECT}") from error
    return _training_set(content, images, where, videos=videos)


def _training_set(
    content: _Content, images: Path, where: str, *, videos: bool, drawn: Path | None = None
) -> TrainingSet:
    if not content.annotations:
        fail(where, "no annotations, expected at least one", "name the file that holds them")
    for name, ids in (("images", content.images), ("categories", content.categories)):
        _refuse_twins([one.id for one in ids], f"{where}: {name}", "have the id")
    categories = sorted(content.categories, key=lambda one: one.id)
    numbers = {category.id: index for index, category in enumerate(categories)}
    of_image: dict[int, list[tuple[int, _Object]]] = {image.id: [] for image in content.images}
    for number, one in enumerate(content.annotations):
        entry = f"{where}: annotations[{number}]"
        if one.image_id not in of_image:
            fail(entry, f"no image {one.image_id}", CORRECT)
        if one.category_id not in numbers:
            fail(entry, f"no category {one.category_id}", CORRECT)
        if videos and one.identity is None:
            fail(entry, "no instance_id or track_id, expected an integer", CORRECT)
        of_image[one.image_id].append((number, one))
    annotated = []
    for number, image in enumerate(content.images):
        entry = f"{where}: images[{number}]"
        if videos and (image.video_id is None or image.index is None):
            found = "video_id" if image.video_id is None else "frame_id or frame_index"
            fail(entry, f"no {found}, expected an integer", CORRECT)
        annotated.append(
            _annotated(image, entry, images, of_image[image.id], numbers, videos=videos, drawn=drawn)
        )
    _refuse_twins([one.name for one in annotated], where, "images are called")
    if videos:
        _refuse_twins([(one.video, one.index) for one in annotated], where, "images have the video and frame")
        annotated.sort(key=lambda one: (one.video, one.index))
    return TrainingSet(where, tuple(category.name for category in categories), annotated)


def _annotated(
    image: _Image,
    entry: str,
    images: Path,
    rows: Sequence[tuple[int, _Object]],
    numbers: dict[int, int],
    *,
    videos: bool,
    drawn: Path | None,
) -> AnnotatedImage:
    objects, path = [one for _, one in rows], inside(images, image.file_name)
    boxes = np.array([one.bbox for one in objects], dtype=np.float64).reshape(-1, 4)
    sides = boxes[:, 2:].copy()
    boxes[:, 2:] += boxes[:, :2]
    classes = np.array([numbers[one.category_id] for one in objects], dtype=np.int64)
    crowd = np.array([bool(one.iscrowd or one.ignore) for one in objects], dtype=bool)
    areas = [side.prod() if one.area is None else one.area for one, side in zip(objects, sides, strict=True)]
    kept = ~crowd & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    ids = np.array([one.identity for one in objects if videos], dtype=np.int64)
    ids = ids[kept] if videos else ids
    if len(set(ids.tolist())) < len(ids):
        fail(entry, f"an identity stands twice in {image.file_name!r}", CORRECT)
    return AnnotatedImage(
        image.file_name,
        partial(read_image, path),
        Labels(ids=ids, boxes=boxes[kept], classes=classes[kept]),
        boxes[crowd],
        areas=np.array(areas, dtype=np.float64)[kept],
        masks=partial(_masks, drawn, [rows[one][0] for one in np.flatnonzero(kept).tolist()], path)
        if drawn
        else tuple,
        ignored_classes=classes[crowd],
        video=str(image.video_id) if videos else "",
        index=(image.index or 0) if videos else 0,
    )


def _masks(file: Path, rows: Sequence[int], image: Path) -> list[Rle]:
    size, outlines = image_size(image), _outlines(file)
    return [_mask(outlines[row], size, f"{file}: annotations[{row}].segmentation") for row in rows]


@lru_cache(maxsize=4)
def _outlines(file: Path) -> list[list[Float[np.ndarray, "_corner 2"]] | _Runs | None]:
    """How each annotation is drawn; read when the first mask is asked for, since most trainings need none."""
    try:
        content = schema.json(_Drawings, read_bytes(file), str(file), others=True)
    except schema.SchemaError as error:
        raise DataError(f"{error}; {CORRECT}") from error
    drawn = (one.segmentation for one in content.annotations)
    return [
        [_corners(part, f"{file}: annotations[{row}].segmentation") for part in one]
        if isinstance(one, tuple)
        else one
        for row, one in enumerate(drawn)
    ]


def _corners(part: tuple[float, ...], where: str) -> Float[np.ndarray, "_corner 2"]:
    if len(part) % 2:
        fail(where, f"a polygon of {len(part)} numbers, expected x and y in turn", CORRECT)
    return np.array(part).reshape(-1, 2)


def _mask(
    outline: list[Float[np.ndarray, "_corner 2"]] | _Runs | None, size: tuple[int, int], where: str
) -> Rle:
    if outline is None:
        fail(where, "nothing, expected polygons or runs, since masks are learnt or objects cut out", CORRECT)
    if isinstance(outline, list):
        return masks.from_polygons(outline, size)
    if outline.size != size:
        found = (
            f"a mask of {outline.size[1]}x{outline.size[0]} pixels, expected the image's {size[1]}x{size[0]}"
        )
        fail(where, found, CORRECT)
    counts = outline.counts
    packed = masks.from_text(counts, size) if isinstance(counts, str) else masks.from_runs(counts, size)
    if packed is None:
        fail(where, "runs that do not fill the image", CORRECT)
    return packed


def _refuse_twins(values: Sequence[Hashable], where: str, what: str) -> None:
    if len(set(values)) < len(values):
        twin = next(value for value, count in Counter(values).items() if count > 1)
        fail(where, f"two {what} {twin!r}", "remove one of them")
