"""Annotated images to train and to score on: a spec as `--data` takes it becomes a `TrainingSet`."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Bool, Int

from unibench.datasets import motchallenge
from unibench.datasets.class_names import meaning
from unibench.datasets.clips import ImageFrames
from unibench.datasets.files import read_text
from unibench.datasets.images import read_image
from unibench.datasets.synthetic import shapes
from unibench.errors import DataError, UnknownNameError
from unibench.joint.data import coco, crowdhuman, waymo
from unibench.joint.system import AnnotatedImage, TrainingSet
from unibench.records import EXCUSED, Labels, Rle

STILLS, CLIPS, LENGTH = 20_000, 1_000, 40
"""Images of `synthetic:stills`; clips of `synthetic:clips` and the frames of each: all rendered when drawn."""

_TEST = tuple(f"{shapes.TASK}/{name}" for name in shapes.NAMES)


@dataclass(frozen=True)
class Lazy(Sequence[AnnotatedImage]):
    """Images that are made when they are asked for."""

    length: int
    make: Callable[[int], AnnotatedImage]

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> AnnotatedImage: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[AnnotatedImage]: ...
    def __getitem__(self, index: int | slice) -> AnnotatedImage | Sequence[AnnotatedImage]:
        if isinstance(index, slice):
            return [self.make(row) for row in range(*index.indices(self.length))]
        if not -self.length <= index < self.length:
            raise IndexError(index)
        return self.make(index % self.length)


def read(spec: str, classes: Sequence[str] | None = None) -> TrainingSet:
    """Read annotated images.

    Args:
        spec: `KIND:PLACE` as in `USAGE`.
        classes: What the set is to hold, in this order (see `align`); None: its own classes.

    Raises:
        DataError: There is no such kind or source, a file is malformed, or no class is wanted.
    """
    kind, _, source = spec.partition(":")
    if kind not in KINDS:
        raise DataError(f"data {spec!r}: no kind {kind!r}; there are: {', '.join(USAGE)}")
    if not source:
        raise DataError(f"data {spec!r}: nothing after {kind + ':'!r}; there are: {', '.join(USAGE)}")
    data = replace(KINDS[kind](source), name=spec)
    return data if classes is None else align(data, classes)


def align(data: TrainingSet, classes: Sequence[str]) -> TrainingSet:
    """The same images with other classes; objects of classes that are not wanted are left out.

    Classes are matched by their names in lower case, and `pedestrian` is `person`.

    Args:
        data: Annotated images.
        classes: Names of the classes that are wanted.

    Raises:
        DataError: The data have none of them.
    """
    if data.classes == tuple(classes):
        return data
    wanted = [meaning(name) for name in classes]
    number = [wanted.index(meaning(name)) if meaning(name) in wanted else -1 for name in data.classes]
    if max(number, default=-1) < 0:
        raise DataError(
            f"data {data.name!r}: classes {', '.join(data.classes)}, expected some of {', '.join(classes)}; "
            "name other data, or a config with other classes"
        )
    make = partial(_aligned, data.images, np.array(number))
    return replace(data, classes=tuple(classes), images=Lazy(len(data.images), make))


def _aligned(images: Sequence[AnnotatedImage], number: Int[np.ndarray, " class"], row: int) -> AnnotatedImage:
    annotated = images[row]
    labels = annotated.labels
    classes, regions = number[labels.classes], number[annotated.ignored_classes]
    kept, stay = classes >= 0, regions >= 0

    def some(values: np.ndarray, chosen: Bool[np.ndarray, " row"]) -> np.ndarray:
        return values[chosen] if len(values) else values

    return replace(
        annotated,
        labels=Labels(ids=some(labels.ids, kept), boxes=labels.boxes[kept], classes=classes[kept]),
        areas=some(annotated.areas, kept),
        masks=partial(_some_masks, annotated.masks, kept),
        embeddings=some(annotated.embeddings, kept),
        ignored=annotated.ignored[stay] if len(regions) else annotated.ignored,
        ignored_classes=regions[stay],
    )


def _some_masks(masks: Callable[[], Sequence[Rle]], kept: Bool[np.ndarray, " object"]) -> list[Rle]:
    return [mask for mask, stays in zip(masks(), kept, strict=False) if stays]


def stills() -> TrainingSet:
    """Rendered stills without identities: each shows other shapes."""
    return TrainingSet("synthetic:stills", shapes.VOCABULARY, Lazy(STILLS, _still))


def clips() -> TrainingSet:
    """Rendered clips with identities."""
    return TrainingSet("synthetic:clips", shapes.VOCABULARY, Lazy(CLIPS * LENGTH, _frame))


def noisy() -> TrainingSet:
    """Rendered clips without identities, slow and full of grain."""
    return TrainingSet("synthetic:noisy", shapes.VOCABULARY, Lazy(CLIPS * LENGTH, _noisy_frame))


def test() -> TrainingSet:
    """The frames of the benchmark `mot/shapes`: to score on, not to train on."""
    length = shapes.LENGTH
    return TrainingSet("synthetic:test", shapes.VOCABULARY, Lazy(len(_TEST) * length, _test_frame))


def _test_frame(row: int) -> AnnotatedImage:
    number, index = divmod(row, shapes.LENGTH)
    return _video_frame(_TEST[number], shapes.LENGTH, index)


def _still(row: int) -> AnnotatedImage:
    return _without_ids(_shapes(f"train/still-{row}", 1, 0))


def _frame(row: int) -> AnnotatedImage:
    number, index = divmod(row, LENGTH)
    return _video_frame(f"train/clip-{number}", LENGTH, index)


def _noisy_frame(row: int) -> AnnotatedImage:
    number, index = divmod(row, LENGTH)
    return _without_ids(_video_frame(f"train/noisy-{number}", LENGTH, index, shapes.NOISY))


def _without_ids(annotated: AnnotatedImage) -> AnnotatedImage:
    return replace(annotated, labels=replace(annotated.labels, ids=Labels().ids))


def _video_frame(word: str, length: int, index: int, look: shapes.Look = shapes.SHARP) -> AnnotatedImage:
    return replace(_shapes(word, length, index, look), name=f"{word}/{index}", video=word, index=index)


@lru_cache(maxsize=64)  # a sample asks for the frames of a video more than once
def _shapes(word: str, length: int, index: int, look: shapes.Look = shapes.SHARP) -> AnnotatedImage:
    plan = shapes.scene(word, length, look)
    image, labels, ignored = shapes.paint(plan, index)
    masks = lru_cache(maxsize=1)(lambda: shapes.masked(plan, index)[0].masks)
    return AnnotatedImage(word, lambda: image, labels, ignored.boxes, masks=masks)


def _synthetic(source: str) -> TrainingSet:
    """`stills[#N]`, `clips[#CLASS,CLASS]`, `noisy`, `test`."""
    name, some, count = source.partition("#")
    made = {"stills": stills, "clips": clips, "noisy": noisy, "test": test}
    if name not in made:
        raise UnknownNameError("synthetic data", name, made)
    if not some:
        return made[name]()
    if name == "clips":
        return align(clips(), count.split(","))
    if name != "stills" or not re.fullmatch("[0-9]{1,9}", count) or not 1 <= int(count) <= STILLS:
        raise DataError(
            f"data {'synthetic:' + source[:40]!r}: #{count[:20]}, expected stills#N with N of 1 to {STILLS}"
        )
    return replace(stills(), images=Lazy(int(count), _still))


def _beside(source: str) -> tuple[Path, Path]:
    """`FILE@IMAGES` -> file, folder of the images (without one: the file's own)."""
    file, at, images = source.rpartition("@")
    return (Path(file), Path(images)) if at else (Path(source), Path(source).parent)


def _motchallenge(source: str) -> TrainingSet:
    """`FOLDER[#clip,clip]`: a folder of clips, all of them or some."""
    folder, some, names = source.rpartition("#")
    root = Path(folder if some else source)
    known = motchallenge.names(root.parent, root.name)
    images: list[AnnotatedImage] = []
    for name in names.split(",") if some else known:
        if name not in known:
            raise UnknownNameError(f"clip in {str(root)!r}", name, known)
        images += _clip(root, name)
    return TrainingSet(source, motchallenge.VOCABULARY, images)


def _clip(root: Path, name: str) -> Iterator[AnnotatedImage]:
    load = motchallenge.load if _has_classes(root / name / "gt" / "gt.txt") else motchallenge.load_mot15
    clip, truth = load(root.parent, name, root.name)
    if not isinstance(clip.frames, ImageFrames):
        raise TypeError(name)
    for index, (path, labels) in enumerate(zip(clip.frames.paths, truth.labels, strict=True)):
        ignored = truth.ignored[index] if truth.ignored else Labels()
        yield AnnotatedImage(
            f"{name}/{path.name}",
            partial(read_image, path),
            replace(labels, classes=np.zeros(len(labels.ids), dtype=np.int64)),
            ignored.boxes[ignored.classes == EXCUSED],
            video=name,
            index=index,
        )


def _has_classes(file: Path) -> bool:
    """Whether rows have a class in column 8 (MOT16 and later) or a coordinate, -1 or other (MOT15)."""
    first = re.split(r"[\s,;]+", read_text(file).lstrip().partition("\n")[0].strip().rstrip(",;"))
    return len(first) in (8, 9)


KINDS: Mapping[str, Callable[[str], TrainingSet]] = {
    "synthetic": _synthetic,
    "coco": lambda source: coco.read(*_beside(source)),
    "video": lambda source: coco.read(*_beside(source), videos=True),
    "crowdhuman": lambda source: crowdhuman.read(*_beside(source)),
    "waymo": lambda source: coco.from_table(waymo.convert(Path(source)), Path(source), source, videos=True),
    "mot": _motchallenge,
}
USAGE = (
    "synthetic:stills[#N]",
    "synthetic:clips[#CLASS,CLASS,...]",
    "synthetic:noisy",
    "synthetic:test",
    "coco:FILE.json[@IMAGES]",
    "video:FILE.json[@IMAGES]",
    "crowdhuman:FILE.odgt[@IMAGES]",
    "waymo:FOLDER",
    "mot:FOLDER[#CLIP,CLIP,...]",
)
"""What a spec may be."""
