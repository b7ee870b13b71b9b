"""Small scenes for the tests of metrics: written by hand, drawn from a seed, or read from a golden file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unibench.geometry import masks as rle
from unibench.records import Labels, Truth

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "metrics"


def boxes(objects: dict[int, Sequence[float]], classes: Sequence[int] = ()) -> Labels:
    """One frame: identity -> xyxy."""
    rows = np.array(list(objects.values()), dtype=np.float64).reshape(-1, 4)
    return Labels(np.array(list(objects), dtype=np.int64), rows, **_classes(classes))


def square(x: float, y: float = 0.0, side: float = 10.0) -> tuple[float, float, float, float]:
    return (x, y, x + side, y + side)


def masks(objects: dict[int, np.ndarray], classes: Sequence[int] = ()) -> Labels:
    """One frame: identity -> (height, width) bool."""
    ids = np.array(list(objects), dtype=np.int64)
    return Labels(ids, masks=tuple(map(rle.encode, objects.values())), **_classes(classes))


def block(y1: int, y2: int, x1: int, x2: int, height: int = 20, width: int = 30) -> np.ndarray:
    """A mask that is True in rows y1 .. y2 - 1, columns x1 .. x2 - 1."""
    mask = np.zeros((height, width), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


def poses(people: dict[int, np.ndarray]) -> Labels:
    """One frame: identity -> (joint, 3)."""
    keypoints = np.array(list(people.values()), dtype=np.float64)
    return Labels(np.array(list(people), dtype=np.int64), keypoints=keypoints.reshape(len(people), -1, 3))


def drawn_tracks(
    seed: int, frames: int = 20, objects: int = 5
) -> tuple[tuple[Labels, ...], tuple[Labels, ...]]:
    """Walking boxes, and a tracker that jitters, misses, invents and changes identities."""
    rng = np.random.default_rng(seed)
    start, step = rng.uniform(0, 120, (objects, 2)), rng.uniform(-4, 4, (objects, 2))
    names = np.arange(objects) * 3 + 2
    truth, prediction = [], []
    for t in range(frames):
        corners = start + t * step
        true = np.concatenate([corners, corners + np.array([30, 40])], axis=1)
        present = rng.random(objects) < 0.9
        truth.append(Labels(names[present], true[present]))
        found = np.append(rng.random(objects) < 0.8, rng.random(2) < 0.4)
        guess = np.concatenate(
            [true + rng.normal(0, 3, true.shape), rng.uniform(0, 40, (2, 4)) + np.array([0, 0, 60, 60])]
        )
        if t % 7 == 6:
            names = np.roll(names, 1)
        prediction.append(Labels(np.append(names + 50, (7, 8))[found], guess[found]))
    names_of_truth = np.arange(objects) * 3 + 2
    truth = [Labels(np.intersect1d(names_of_truth, labels.ids), labels.boxes) for labels in truth]
    return tuple(truth), tuple(prediction)


def drawn_masks(seed: int, frames: int = 8, objects: int = 3) -> tuple[Labels, ...]:
    """Ellipses that walk, hide one another and leave; no two share a pixel."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :64]
    start, step = rng.uniform(8, 40, (objects, 2)), rng.uniform(-5, 5, (objects, 2))
    clip = []
    for t in range(frames):
        image = np.zeros((48, 64), dtype=int)
        for name, (y, x) in enumerate(start + t * step, start=1):
            noise = rng.normal(0, 0.1, image.shape)
            image[((rows - y) / 9) ** 2 + ((columns - x) / 7) ** 2 + noise < 1] = name
        clip.append(masks({name: image == name for name in range(1, objects + 1) if (image == name).any()}))
    return tuple(clip)


def moved(labels: Labels, rows: int, columns: int) -> Labels:
    """The same frame of masks, rolled."""
    shifted = (np.roll(rle.decode(mask), (rows, columns), (0, 1)) for mask in labels.masks)
    return Labels(labels.ids, masks=tuple(map(rle.encode, shifted)), **_classes(labels.classes))


def read_golden(name: str) -> tuple[Truth, tuple[Labels, ...], dict[str, float]]:
    """Truth, prediction and expected scores of a golden file."""
    content = json.loads((GOLDEN / f"{name}.json").read_text())
    truth = Truth(
        tuple(map(_labels, content["truth"])),
        tuple(map(_labels, content.get("ignored", ()))),
        tuple(np.array(scales, dtype=np.float64) for scales in content.get("scales", ())),
        size=tuple(content["size"]) if "size" in content else None,
    )
    return truth, tuple(map(_labels, content["prediction"])), content["expected"]


def _classes(classes: Sequence[int]) -> dict[str, np.ndarray]:
    return {"classes": np.array(classes, dtype=np.int64)} if len(classes) else {}


def _labels(frame: dict[str, Any]) -> Labels:
    arrays = {name: np.array(frame[name], dtype=np.int64) for name in ("ids", "classes") if frame.get(name)}
    arrays |= {
        name: np.array(frame[name], dtype=np.float64) for name in ("boxes", "keypoints") if frame.get(name)
    }
    masks = tuple({"size": size, "counts": counts.encode()} for size, counts in frame.get("masks", []))
    return Labels(**arrays, masks=masks)
