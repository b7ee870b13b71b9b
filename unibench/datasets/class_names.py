"""Classes by their names: a network's, a data set's and a clip's are counted differently."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Bool, Int

from unibench.errors import DataError, TrackerError, UnknownNameError
from unibench.records import Clip, Frame, Labels, Truth

SAME = {"pedestrian": "person"}
"""Words for the same class."""


def meaning(name: str) -> str:
    """A class's name in lower case, one word for each meaning."""
    return SAME.get(name.lower(), name.lower())


def in_clip(classes: tuple[str, ...], clip: Clip) -> Int[np.ndarray, " class"]:
    """Index in the clip's vocabulary of each class of a network; -1: the clip has none of it.

    Args:
        classes: Of the network.
        clip: Without a vocabulary, it has the network's.

    Raises:
        TrackerError: It has none of them.
    """
    known = [meaning(name) for name in clip.vocabulary or classes]
    rows = np.array([known.index(one) if one in known else -1 for one in map(meaning, classes)])
    if (rows < 0).all():
        raise TrackerError(
            f"clip {clip.name!r}: its classes are {', '.join(filter(None, clip.vocabulary))}, expected one of those "
            f"that the network finds ({', '.join(classes)}); choose another model"
        )
    return rows


def parse(text: str) -> tuple[str, ...]:
    """Split a list of class names, as users write it: `panda, traffic light`; `auto=car` renames a clip's class.

    Raises:
        DataError: A name is empty, there twice, or has a character that names of tasks need.
    """
    names = tuple("=".join(" ".join(word.split()) for word in name.split("=")) for name in text.split(","))
    for number, name in enumerate(names):
        if (
            name.count("=") > 1
            or not all(name.split("="))
            or set(name) & set("/@:\\")
            or not name.isprintable()
        ):
            raise DataError(
                f"classes {text!r}: {name!r} is no class name, expected words without / @ : separated by commas"
            )
        for word, others in zip(
            _renamed(name), zip(*map(_renamed, names[:number]), strict=True), strict=False
        ):
            if meaning(word) in map(meaning, others):
                raise DataError(f"classes {text!r}: {word!r} is there twice; remove one")
    return names


def _renamed(name: str) -> tuple[str, str]:
    """A clip's word for a class, and the word that it gets: another one behind a `=`, else the same."""
    own, _, other = name.partition("=")
    return own, other or own


def restrict(clip: Clip, truth: Truth, classes: Sequence[str]) -> tuple[Clip, Truth]:
    """Ask for the objects of some classes only: the others are neither truth nor excused, and none is detected.

    Args:
        clip: Its vocabulary has them.
        truth: Its truth.
        classes: Names; they become the clip's vocabulary, in this order, with the words behind a `=`.

    Raises:
        UnknownNameError: The clip has no class of that name.
        DataError: It has no classes.
    """
    if not any(clip.vocabulary):
        raise DataError(f"clip {clip.name!r}: its objects have no class names; leave the classes out")
    known = [meaning(name) for name in clip.vocabulary]
    own, vocabulary = zip(*map(_renamed, classes), strict=True)
    for name in own:
        if meaning(name) not in known:
            raise UnknownNameError(f"class in clip {clip.name!r}", name, filter(None, clip.vocabulary))
    wanted = [meaning(name) for name in own]
    number = np.array([wanted.index(name) if name in wanted else -1 for name in known], dtype=np.int64)
    kept = [_kept(one, number) for one in truth.labels]
    scales = tuple(one[rows] for one, rows in zip(truth.scales, kept, strict=True)) if truth.scales else ()
    labels = tuple(_rows(one, rows, number) for one, rows in zip(truth.labels, kept, strict=True))
    frames = partial(_frames, clip.frames, number)
    return replace(clip, frames=frames, vocabulary=vocabulary), replace(truth, labels=labels, scales=scales)


def _frames(frames: Callable[[], Iterator[Frame]], number: Int[np.ndarray, " class"]) -> Iterator[Frame]:
    for frame in frames():
        found = frame.detections
        yield replace(frame, detections=_rows(found, _kept(found, number), number))


def _kept(labels: Labels, number: Int[np.ndarray, " class"]) -> Bool[np.ndarray, " object"]:
    """Which objects are of a class that is wanted; those without a class are of the first."""
    classes = labels.classes
    if len(classes):
        return np.asarray(number[classes] >= 0)
    return np.full(max(len(labels.boxes), len(labels.masks), len(labels.keypoints)), number[0] >= 0)


def _rows(labels: Labels, kept: Bool[np.ndarray, " object"], number: Int[np.ndarray, " class"]) -> Labels:
    def some(values: np.ndarray) -> np.ndarray:
        return values[kept] if len(values) else values

    return Labels(
        ids=some(labels.ids), boxes=some(labels.boxes), keypoints=some(labels.keypoints), scores=some(labels.scores),
        masks=tuple(labels.masks[row] for row in np.flatnonzero(kept)) if labels.masks else (),
        classes=number[some(labels.classes)] if len(labels.classes) else labels.classes,
    )  # fmt: skip
