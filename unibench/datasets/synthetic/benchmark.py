"""The `synthetic` benchmark: clips rendered from a seed, for all tasks, without any file.

Textures and backgrounds are windows of real photographs (scikit-image's own). Walking figures and rigid objects
cross in front of them under camera motion, changing size and light, hiding each other, leaving and re-entering.
The same name gives the same clip everywhere (but for single grey levels where Pillow was compiled otherwise).
MOT, MOTS and PoseTrack see the same clips, and so do VOS and points. Clips are many and short: with 20 of them a
score has an interval, and a paired test can tell models apart.

The truth is exact:

- Masks are what is visible, so they never overlap.
- Boxes of MOT are tight around the visible mask. Boxes of SOT are tight around the whole silhouette inside the
  frame, hidden parts included, as annotators draw them.
- A person less than a quarter visible is not in the truth; predictions on what is visible are excused.
- Joints (15, in poseval's order) are labelled where they are inside the frame and no other actor hides them.
- Points are fixed to surfaces: see `tracked`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import Bool, Float, UInt8

from unibench.datasets import points
from unibench.datasets.benchmark import SOURCES, Benchmark
from unibench.datasets.detections import Noise, with_detections
from unibench.datasets.synthetic import tracked
from unibench.datasets.synthetic.figure import JOINTS
from unibench.datasets.synthetic.levels import DIFFICULTIES, Difficulty
from unibench.datasets.synthetic.paint import back_to_front, images, silhouette
from unibench.datasets.synthetic.scene import FPS, HEIGHT, WIDTH, Actor, Scene, crowd, objects, solo
from unibench.errors import UnknownNameError
from unibench.geometry import masks as rle
from unibench.records import EXCUSED, Clip, Frame, Labels, Rle, Truth

VERSION = 2
"""Stands in the seed of every clip: results on the clips of another version are computed again."""
CLIPS = 20
"""Clips of each task: as many as an interval needs."""
LENGTH = 5
"""Frames of a clip."""
VISIBLE = 0.25
"""Least visible share of a person in the truth."""


@dataclass(frozen=True)
class _Subject:
    """What clips show."""

    make: Callable[[str, int, float, Difficulty], Scene]
    pace: float
    """Multiplies the difficulty's speed."""


@dataclass(frozen=True)
class _Family:
    """What a task shows and what its truth holds."""

    subject: str
    fields: tuple[str, ...]
    """Of `Labels`: what the truth says."""
    prompted: bool


_SUBJECTS = {
    "object": _Subject(partial(objects, targets=1, figures=0), 1.0),
    "objects": _Subject(partial(objects, targets=2, figures=1), 0.8),
    "crowd": _Subject(crowd, 1.0),
    "figure": _Subject(solo, 0.6),
}
_FAMILIES = {
    "sot": _Family("object", ("boxes",), True),
    "vos": _Family("objects", ("masks",), True),
    "mot": _Family("crowd", ("boxes", "classes"), False),
    "mots": _Family("crowd", ("masks", "classes"), False),
    "posetrack": _Family("crowd", ("keypoints",), False),
    "pose": _Family("figure", ("keypoints",), True),
    "points": _Family("objects", ("keypoints",), True),
}
_KEPT = len(_SUBJECTS) * CLIPS
"""Clips whose frames and truth are kept in memory, about 1 MB each: every model and task sees the same ones."""


@dataclass(frozen=True, eq=False)
class _View:
    """What is seen of one actor in one frame."""

    identity: int
    visible: Rle
    inside: Float[np.ndarray, " 4"]
    """Box of the silhouette inside the frame, hidden or not: xyxy, pixels."""
    share: float
    """Of the silhouette that is visible."""
    keypoints: Float[np.ndarray, "joint 3"]
    head: float
    """0.6 x the diagonal of the head's box, pixels."""


def benchmarks() -> dict[str, Benchmark]:
    """List the synthetic benchmarks: every task at three difficulties (`synthetic` alone is the medium one)."""
    rows = [
        Benchmark(
            f"{task}/{level}",
            "",
            partial(_names, task),
            partial(_load, task, level),
            "nothing to obtain: rendered from a seed and the photographs of scikit-image",
            () if family.prompted else SOURCES,
        )
        for task, family in _FAMILIES.items()
        for level in DIFFICULTIES
    ]
    return {row.task: row for row in rows}


@lru_cache(maxsize=_KEPT)
def scene(subject: str, level: str, name: str) -> Scene:
    """Plan one clip: everything as numbers, no pixel.

    Args:
        subject: `object` (SOT), `objects` (VOS, points), `crowd` (MOT, MOTS, PoseTrack) or `figure` (pose).
        level: `synthetic`, `synthetic-easy` or `synthetic-hard`.
        name: The clip's name.
    """
    shown = _SUBJECTS[subject]
    return shown.make(f"{VERSION}/{level}/{name}", LENGTH, shown.pace, DIFFICULTIES[level])


def _names(task: str, root: Path) -> list[str]:
    return [f"{_FAMILIES[task].subject}-{number}" for number in range(1, CLIPS + 1)]


def _load(task: str, level: str, root: Path, name: str) -> tuple[Clip, Truth]:
    known = _names(task, root)
    if name not in known:
        raise UnknownNameError(f"clip of {task}/{level}", name, known)
    family, truth = _FAMILIES[task], _truth(task, level, name)
    if task == "points":
        frames = partial(_frames, family.subject, level, name, Labels())
        return points.with_queries(Clip(name, HEIGHT, WIDTH, FPS, LENGTH, frames), truth), truth
    frames = partial(_frames, family.subject, level, name, truth.labels[0] if family.prompted else Labels())
    clip = Clip(name, HEIGHT, WIDTH, FPS, LENGTH, frames, () if family.prompted else ("person",))
    if family.prompted:
        return clip, truth
    knobs = DIFFICULTIES[level]
    noise = Noise(
        shift=knobs.jitter,
        joint=knobs.jitter / 2,
        scale=knobs.jitter,
        miss=knobs.misses,
        false_alarm=knobs.false_alarms,
    )
    return with_detections(clip, truth, "oracle+noise", noise), truth


def _frames(subject: str, level: str, name: str, prompt: Labels) -> Iterator[Frame]:
    film = _film(subject, level, name)
    for index in range(LENGTH):
        yield Frame(index, film.frame(index), prompt=Labels() if index else prompt)


class _Film:
    """The frames of a clip: each is painted when it is first asked for."""

    def __init__(self, plan: Scene) -> None:
        self._left = images(plan)
        self._painted: list[UInt8[np.ndarray, "height width 3"]] = []
        self._lock = Lock()  # clips are read ahead in threads

    def frame(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """Copy one frame: who gets it may write on it."""
        with self._lock:
            while len(self._painted) <= index:
                self._painted.append(next(self._left))
            return self._painted[index].copy()


@lru_cache(maxsize=_KEPT)
def _film(subject: str, level: str, name: str) -> _Film:
    return _Film(scene(subject, level, name))


@lru_cache(maxsize=len(_FAMILIES) * CLIPS)
def _truth(task: str, level: str, name: str) -> Truth:
    family = _FAMILIES[task]
    if task == "points":
        return points.make_truth(*tracked.follow(scene(family.subject, level, name)), (HEIGHT, WIDTH))
    views = _views_of(family.subject, level, name)
    if family.prompted:
        return Truth(tuple(_labels(family, frame) for frame in views))
    seen = [[view for view in frame if view.share >= VISIBLE] for frame in views]
    slivers = [[view for view in frame if view.share < VISIBLE and rle.area(view.visible)] for frame in views]
    scales = [np.array([view.head for view in frame]) for frame in seen]
    return Truth(
        tuple(_labels(family, frame) for frame in seen),
        tuple(_excused(frame) for frame in slivers),
        tuple(scales) if family.fields == ("keypoints",) else (),
    )


def _labels(family: _Family, views: Sequence[_View]) -> Labels:
    empty = Labels()
    masks = tuple(view.visible for view in views)
    boxes = [
        view.inside if family.prompted else rle.box(mask) for view, mask in zip(views, masks, strict=True)
    ]
    poses = np.array([view.keypoints for view in views]).reshape(len(views), len(JOINTS), 3)
    return Labels(
        ids=np.array([view.identity for view in views], dtype=np.int64),
        boxes=np.reshape(boxes, (-1, 4)) if "boxes" in family.fields else empty.boxes,
        masks=masks if "masks" in family.fields else (),
        keypoints=poses if "keypoints" in family.fields else empty.keypoints,
        classes=np.zeros(len(views), dtype=np.int64) if "classes" in family.fields else empty.classes,
    )


def _excused(views: Sequence[_View]) -> Labels:
    masks = tuple(view.visible for view in views)
    boxes = np.reshape([rle.box(mask) for mask in masks], (-1, 4))
    return Labels(boxes=boxes, masks=masks, classes=np.full(len(masks), EXCUSED))


@lru_cache(maxsize=_KEPT)
def _views_of(subject: str, level: str, name: str) -> tuple[list[_View], ...]:
    plan = scene(subject, level, name)
    return tuple(_views(plan, index) for index in range(plan.length))


def _views(plan: Scene, index: int) -> list[_View]:
    """What is seen of the actors of the truth in one frame, in the order of their identities."""
    owner = np.zeros((HEIGHT, WIDTH), dtype=np.int64)  # 1 + the index of the actor in front
    shapes = [silhouette(actor, index) for actor in plan.actors]
    for number in back_to_front(plan, index):
        shapes[number].claim(owner, number + 1)
    views = []
    for number, (actor, shape) in enumerate(zip(plan.actors, shapes, strict=True)):
        if not actor.identity:
            continue
        alone = np.zeros_like(owner)
        shape.claim(alone, 1)
        visible = owner == number + 1
        share = float(visible.sum()) / max(1, shape.area())
        keypoints, head = _pose(actor, index, visible)
        inside = rle.box(rle.encode(alone > 0))
        views.append(_View(actor.identity, rle.encode(visible), inside, share, keypoints, head))
    return views


def _pose(
    actor: Actor, index: int, visible: Bool[np.ndarray, "height width"]
) -> tuple[Float[np.ndarray, "joint 3"], float]:
    """Joints in pixels (the middle of the first pixel is 0), zeros where not labelled, and the head's size."""
    if actor.joints is None:
        return np.zeros((len(JOINTS), 3)), 0.0
    joints = actor.joints[index]
    column, row = np.floor(joints).astype(np.int64).T
    there = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
    there[there] = visible[row[there], column[there]]
    keypoints = np.concatenate([joints - 0.5, np.ones((len(joints), 1))], axis=1) * there[:, None]
    head = actor.parts[-1]
    ends = head.ends[index] @ actor.places[index, :, :2].T
    height = float(np.sqrt(abs(np.linalg.det(actor.places[index, :, :2]))))
    sides = np.ptp(ends, axis=0) + 2 * height * float(head.radii[index].mean())
    return keypoints, 0.6 * float(np.hypot(*sides))
