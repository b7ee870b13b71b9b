"""Association: the reconstruction similarity, and the cascade when the similarity costs nothing."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from heads import rsm
from heads.associate import CascadeOptions, CascadeState, Observation, step
from tests.benchmarks.calibration import standard
from tests.benchmarks.cases import Case

FRAMES_A_SECOND = 2000.0


def cases(*, quick: bool = False) -> list[Case]:
    """MOT-like sets: 40 objects of 40 points a side, and others as ragged as masks; 20 boxes a frame."""
    objects, points, channels, frames = 40, 40, 256, 40 if quick else 300
    rng = np.random.default_rng(0)
    even = _objects([points] * objects, channels), _objects([points] * objects, channels)
    ragged = tuple(_objects(rng.integers(1, 2 * points, objects), channels) for _ in range(2))
    clip = _clip(rng, frames, objects=20)
    note = "the 2021 code's steps: all padded to the longest, every reconstruction made"
    return [
        Case(
            f"RSM {objects}x{objects} of {points}, {channels} channels",
            partial(rsm.similarity, *even), partial(_padded, *even), 0.04 / 0.15, note,
        ),
        Case(
            f"RSM {objects}x{objects} of 1 to {2 * points - 1}, {channels} channels",
            partial(rsm.similarity, *ragged), partial(_padded, *ragged), 0.04 / 0.15, note,
        ),
        *(
            Case(
                f"cascade, 20 objects, found by {by}",
                partial(_play, clip, similarity), standard(1000 * frames / FRAMES_A_SECOND), 1.0,
                f"work that takes as long as {FRAMES_A_SECOND:g} frames/s on the usual machine",
            )
            for by, similarity in (("IoU", _nothing), ("looks", _looks))
        ),
    ]  # fmt: skip


def _objects(sizes: Sequence[int], channels: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(len(sizes))
    common = torch.randn(channels, generator=generator)
    return [common + torch.randn(int(size), channels, generator=generator) for size in sizes]


def _padded(tracks: Sequence[Tensor], detections: Sequence[Tensor]) -> Tensor:
    """The similarity with zeros for the points that objects lack, and all reconstructions in memory at once."""
    first, second = (
        functional.normalize(pad_sequence(list(side), True), dim=2) for side in (tracks, detections)
    )
    affinity = 100 * first.flatten(0, 1) @ second.flatten(0, 1).T
    forward = affinity.softmax(1).reshape(*first.shape[:2], *second.shape[:2])
    backward = affinity.softmax(0).reshape(forward.shape)
    rebuilt = torch.einsum("tpdq,dqc->tdpc", forward, second), torch.einsum("tpdq,tpc->tdqc", backward, first)
    given = first[:, None], second[None]
    similarity = [
        functional.cosine_similarity(*torch.broadcast_tensors(a.flatten(2), b.flatten(2)), dim=2)
        for a, b in zip(rebuilt, given, strict=True)
    ]
    return (similarity[0] + similarity[1]) / 2


def _clip(rng: np.random.Generator, frames: int, objects: int) -> list[list[Observation]]:
    """People who walk across the frame, of whom a detector misses one in twenty."""
    start, speed = rng.uniform(0, 1500, (objects, 2)), rng.normal(0, 3, (objects, 2))
    half = rng.uniform([15, 40], [30, 80], (objects, 2))
    looks = torch.eye(objects).split(1)
    clip = []
    for t in range(frames):
        centres = start + t * speed + rng.normal(0, 1, (objects, 2))
        boxes = np.concatenate([centres - half, centres + half], axis=1)
        found = np.flatnonzero(rng.random(objects) < 0.95)
        clip.append([Observation(looks[index], boxes[index]) for index in found])
    return clip


def _play(clip: Sequence[Sequence[Observation]], similarity: partial[Tensor] | None = None) -> CascadeState:
    state = CascadeState()
    for observations in clip:
        state, _ = step(state, observations, similarity, CascadeOptions(), 30.0)
    return state


def _nothing(tracks: Sequence[Tensor], detections: Sequence[Tensor]) -> Tensor:
    """All look different, so that boxes decide."""
    return torch.zeros(len(tracks), len(detections))


def _looks(tracks: Sequence[Tensor], detections: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(tracks)) @ torch.cat(list(detections)).T
