"""Metrics: J and F of a pair of masks, and all counts of a MOTChallenge clip."""

from collections.abc import Sequence

import numpy as np

from tests.benchmarks.calibration import standard
from tests.benchmarks.cases import Case
from unibench.geometry import masks
from unibench.metrics import mot, vos
from unibench.records import Labels, Truth

SECONDS_OF_MOT17, FRAMES_OF_MOT17 = 15.0, 15948
"""Target for the training set, three times seven videos, on the usual machine."""


def cases(*, quick: bool = False) -> list[Case]:
    """Objects of DAVIS' size and outline; as many people as in MOT17."""
    height, width, frames = 480, 854, 30 if quick else 200
    rng = np.random.default_rng(0)
    pictures = [
        (_star(height, width, 0.03 * t), _star(height, width, 0.03 * t + 0.03, 0.9)) for t in range(10)
    ]
    true, guess = (
        tuple(Labels(np.array([1]), masks=(masks.encode(one),)) for one in side)
        for side in zip(*pictures, strict=True)
    )
    truth, prediction = _people(rng, frames, 24)
    return [
        Case(
            f"J and F {height}x{width}",
            lambda: vos.tally(Truth(true), guess),
            lambda: [_in_pixels(*pair) for pair in pictures[1:-1]],
            limit=1 / 3,
            note="davis2017-evaluation's steps on decoded masks, with a dilation that is faster than OpenCV's",
        ),
        Case(
            f"HOTA, CLEAR, IDF1, {frames} frames of 24 people",
            lambda: mot.tally_boxes(truth, prediction),
            standard(1000 * SECONDS_OF_MOT17 * frames / FRAMES_OF_MOT17),
            limit=1.0,
            note=f"work that takes as long as MOT17 train in {SECONDS_OF_MOT17:g} s on the usual machine",
        ),
    ]  # fmt: skip


def _star(height: int, width: int, turn: float, missing: float = 0.0) -> np.ndarray:
    """A star, turned by some radians, of which others are cut out: in large, OSVOS' J, F and contours on DAVIS 2016."""
    y, x = np.mgrid[:height, :width]
    angle, distance = np.arctan2(y - height / 2, x - width / 2), np.hypot(y - height / 2, x - width / 2)
    return (distance < height * (0.25 + 0.08 * np.sin(7 * (angle + turn)))) & (angle > missing - np.pi)


def _in_pixels(true: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """J and F of two masks: contours as pictures, each dilated by a disk and laid over the other."""
    union = (true | predicted).sum()
    similarity = (true & predicted).sum() / union if union else 1.0
    radius = int(np.ceil(0.008 * np.hypot(*true.shape)))
    contours = _outline(true), _outline(predicted)
    recall, precision = (
        (one & _dilated(other, radius)).sum() / one.sum() for one, other in (contours, contours[::-1])
    )
    return float(similarity), float(2 * precision * recall / (precision + recall))


def _outline(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask ^ padded[:-1, 1:]) | (mask ^ padded[1:, :-1]) | (mask ^ padded[1:, 1:])


def _dilated(mask: np.ndarray, radius: int) -> np.ndarray:
    """By a disk: rows, widened as far as the disk is wide at their distance, over one another."""
    height, width = mask.shape
    padded = np.pad(mask, radius)
    wide, reached = padded[:, radius:-radius].copy(), 0
    answer = np.zeros_like(mask)
    for down in sorted(range(-radius, radius + 1), key=abs, reverse=True):
        for reached in range(reached + 1, int(np.sqrt(radius**2 - down**2)) + 1):  # noqa: B020
            wide |= padded[:, radius - reached : radius - reached + width]
            wide |= padded[:, radius + reached : radius + reached + width]
        answer |= wide[radius + down : radius + down + height]
    return answer


def _people(rng: np.random.Generator, frames: int, people: int) -> tuple[Truth, Sequence[Labels]]:
    """Walking boxes, and a tracker that is off by some pixels, misses one in ten and mixes up two now and then."""
    start, speed = rng.uniform(0, [1800, 900], (people, 2)), rng.normal(0, 2, (people, 2))
    names = np.arange(1, people + 1)
    truth, prediction = [], []
    for t in range(frames):
        corners = start + t * speed
        boxes = np.concatenate([corners, corners + np.array([60, 150])], axis=1)
        found = rng.random(people) < 0.9
        if t % 25 == 24:
            names[:2] = names[1], names[0]
        truth.append(Labels(np.arange(1, people + 1), boxes))
        prediction.append(Labels(names[found], (boxes + rng.normal(0, 6, boxes.shape))[found]))
    return Truth(tuple(truth)), prediction
