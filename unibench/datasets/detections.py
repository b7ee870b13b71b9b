"""Where the detections of association tasks come from: published, a user's folder, or made from the truth."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from unibench.datasets import motchallenge, mots, posetrack
from unibench.datasets.benchmark import ORACLES, SOURCES
from unibench.datasets.clips import ImageFrames, frame_numbers
from unibench.datasets.files import fail, inside
from unibench.datasets.video import VideoFrames
from unibench.errors import DataError
from unibench.geometry import masks
from unibench.records import Clip, Frame, Labels, Rle, Truth

Generator = np.random.Generator


@dataclass(frozen=True)
class Noise:
    """How `oracle+noise` spoils the truth; lengths are shares of the object's own width and height."""

    shift: float = 0.05
    """Standard deviation of the move of a box's or a mask's centre."""
    joint: float = 0.02
    """Standard deviation of the move of each joint."""
    scale: float = 0.05
    """Standard deviation of the change of width and height (of a mask by dilation and erosion)."""
    miss: float = 0.1
    """Probability that an object is not found."""
    false_alarm: float = 0.1
    """Expected number of false alarms for every object in sight."""
    true_scores: tuple[float, float] = (0.5, 1.0)
    """Range of the scores of objects found (uniform)."""
    false_scores: tuple[float, float] = (0.3, 0.8)
    """Range of the scores of false alarms (uniform)."""


def with_detections(clip: Clip, truth: Truth, source: str, noise: Noise | None = None) -> Clip:
    """Give a clip the detections of a source; frames are still decoded one by one.

    - `public`: those published with the data set.
    - `oracle`: the truth without ids, in a random order, score 1; scored objects only, annotated frames only.
    - `oracle+noise`: the same, moved, missed and with false alarms; seeded by the clip's name and the
      frame's index, so that it is the same in every run and for every length of the clip.
    - a folder: `<clip>.txt` in rows of MOTChallenge where the truth is boxes, in rows of MOTS where it is masks;
      `<clip>.json` as PoseTrack18 where it is poses. It must fit the whole clip: cut clips short (`truncate`)
      afterwards.

    Args:
        clip: What a tracker sees.
        truth: Its truth.
        source: One of the above.
        noise: Amounts for `oracle+noise`; None for the standard ones.

    Raises:
        DataError: The source does not exist, has nothing for this clip, or is malformed.
    """
    if source == "public":
        if isinstance(clip.frames, ImageFrames | VideoFrames) and clip.frames.detections is None:
            fail(
                clip.name,
                "no public detections",
                f"there are: {', '.join(ORACLES)}, or a folder of your own",
            )
        return clip
    if source == "oracle":
        return _replaced(clip, partial(_oracle, truth, clip.name))
    if source == "oracle+noise":
        return _replaced(clip, partial(_noisy, truth, clip, noise or Noise()))
    found = _from_folder(clip, truth, Path(source))
    return _replaced(clip, partial(_nth, found))


def without_detections(clip: Clip) -> Clip:
    """Take all detections away, published ones too: the tracker finds the objects itself."""
    return _replaced(clip, _none)


def _replaced(clip: Clip, detections: Callable[[int], Labels]) -> Clip:
    return replace(clip, frames=partial(_stream, clip.frames, detections))


def _stream(frames: Callable[[], Iterator[Frame]], detections: Callable[[int], Labels]) -> Iterator[Frame]:
    return (replace(frame, detections=detections(frame.index)) for frame in frames())


def _none(index: int) -> Labels:
    return Labels()


def _nth(found: tuple[Labels, ...], index: int) -> Labels:
    return found[index]


def _from_folder(clip: Clip, truth: Truth, folder: Path) -> tuple[Labels, ...]:
    if not folder.is_dir():
        raise DataError(
            f"no detections {str(folder)!r}; there are: {', '.join(SOURCES)}, or an existing folder"
        )
    is_pose, is_mask = bool(truth.scales), any(labels.masks for labels in truth.labels)
    file = inside(folder, f"{clip.name}.{'json' if is_pose else 'txt'}")
    if not file.exists():
        fail(folder, f"no detections of clip {clip.name!r}", f"expected {file.name}")
    if is_pose:
        return posetrack.read_detections(file, clip.length)
    if is_mask:
        return mots.read_detections(file, frame_numbers(clip), (clip.height, clip.width))
    return motchallenge.read_detections(file, frame_numbers(clip))


def _generator(name: str, index: int, stream: int) -> Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), index, stream])


def _oracle(truth: Truth, name: str, index: int) -> Labels:
    labels = truth.labels[index]
    count = max(len(labels.boxes), len(labels.masks), len(labels.keypoints))
    found = replace(labels, ids=np.zeros(0, dtype=np.int64), scores=np.ones(count))
    return _pick(found, _generator(name, index, 0).permutation(count))


def _pick(found: Labels, rows: Int[np.ndarray, " row"]) -> Labels:
    """The detections of some rows; fields that are not used stay empty."""
    return Labels(
        boxes=found.boxes[rows] if len(found.boxes) else found.boxes,
        masks=tuple(found.masks[row] for row in rows) if found.masks else (),
        keypoints=found.keypoints[rows] if len(found.keypoints) else found.keypoints,
        scores=found.scores[rows],
        classes=found.classes[rows] if len(found.classes) else found.classes,
    )


def _noisy(truth: Truth, clip: Clip, noise: Noise, index: int) -> Labels:
    exact = _oracle(truth, clip.name, index)
    count = len(exact.scores)
    if not count:
        return Labels()
    generator = _generator(clip.name, index, 1)
    hits = np.flatnonzero(generator.random(count) >= noise.miss)
    copies = generator.integers(0, count, size=generator.poisson(noise.false_alarm * count))
    is_false = np.arange(len(hits) + len(copies)) >= len(hits)
    found = _pick(exact, np.concatenate([hits, copies]))
    low = np.where(is_false, noise.false_scores[0], noise.true_scores[0])
    high = np.where(is_false, noise.false_scores[1], noise.true_scores[1])
    found = replace(found, scores=generator.uniform(low, high))
    if not len(found.scores):
        return Labels()
    found = _moved(found, is_false, (clip.height, clip.width), noise, generator)
    if found.masks:
        found = _apart(found)
    return _pick(found, generator.permutation(len(found.scores)))


def _moved(
    found: Labels,
    is_false: Bool[np.ndarray, " row"],
    size: tuple[int, int],
    noise: Noise,
    generator: Generator,
) -> Labels:
    """Move every object a little, and false alarms, which are copies of objects, anywhere in the frame."""
    extents = _extents(found)
    sides = extents[:, 2:] - extents[:, :2]
    shifts = generator.normal(0, noise.shift, sides.shape) * sides
    anywhere = generator.uniform(size=sides.shape) * [size[1], size[0]] - extents[:, :2] - sides / 2
    shifts = np.where(is_false[:, None], anywhere, shifts)
    growth = generator.normal(0, noise.scale, sides.shape)
    if len(found.boxes):
        halves = sides * np.clip(1 + growth, 0.2, None) / 2
        centres = (extents[:, :2] + extents[:, 2:]) / 2 + shifts
        return replace(found, boxes=np.concatenate([centres - halves, centres + halves], axis=1))
    if found.masks:
        grown = np.rint(growth.mean(axis=1) * sides.min(axis=1) / 2).astype(np.int64)
        steps = np.rint(shifts).astype(np.int64)
        moved = (_move_mask(*item) for item in zip(found.masks, steps, grown.tolist(), strict=True))
        return replace(found, masks=tuple(moved))
    # every joint has its own error; a person who is really there does not move as a whole
    joints = generator.normal(0, noise.joint, found.keypoints[:, :, :2].shape) * sides[:, None]
    step = joints + np.where(is_false[:, None], shifts, 0)[:, None]
    points, visible = found.keypoints[:, :, :2], found.keypoints[:, :, 2:]
    return replace(found, keypoints=np.concatenate([points + step * (visible > 0), visible], axis=2))


def _extents(found: Labels) -> Float[np.ndarray, "row 4"]:
    """Boxes around the objects: xyxy, pixels."""
    if len(found.boxes):
        return found.boxes
    if found.masks:
        return np.stack([masks.box(mask) for mask in found.masks])
    visible = found.keypoints[:, :, 2:] > 0
    points = found.keypoints[:, :, :2]
    low = np.where(visible, points, np.inf).min(axis=1)
    high = np.where(visible, points, -np.inf).max(axis=1)
    return np.where(visible.any(axis=1), np.concatenate([low, high], axis=1), 0.0)


def _move_mask(mask: Rle, shift: Int[np.ndarray, " 2"], growth: int) -> Rle:
    """Dilate (growth > 0) or erode a mask by some pixels, unless nothing would be left, and shift it (x, y)."""
    from scipy import ndimage  # here, so that the registry imports quickly

    whole = masks.decode(mask)
    height, width = whole.shape
    x1, y1, x2, y2 = (int(side) for side in masks.box(mask))
    margin = abs(growth) + 1
    part = np.pad(whole[y1:y2, x1:x2], margin)
    change = ndimage.binary_dilation if growth > 0 else ndimage.binary_erosion
    changed = change(part, iterations=abs(growth)) if growth else part
    rows, columns = np.nonzero(changed if changed.any() else part)
    rows, columns = rows + y1 - margin + shift[1], columns + x1 - margin + shift[0]
    within = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    moved = np.zeros_like(whole)
    moved[rows[within], columns[within]] = True
    return masks.encode(moved)


def _apart(found: Labels) -> Labels:
    """Give every pixel to the mask with the highest score; masks that end up empty go."""
    order = np.argsort(-found.scores, kind="stable")
    taken = np.zeros(found.masks[0]["size"], dtype=bool)
    free: list[Rle] = []
    for row in order:
        mask = masks.decode(found.masks[row])
        free.append(masks.encode(mask & ~taken))
        taken |= mask
    parted = replace(_pick(found, order), masks=tuple(free))
    return _pick(parted, np.flatnonzero([masks.area(mask) > 0 for mask in free]))
