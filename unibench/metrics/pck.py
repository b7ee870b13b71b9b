"""Pose propagation: percentage of correct keypoints (PCK) as counted for JHMDB.

A joint is correct when it is at most a x 0.6 x the diagonal of the person's joint box away from the truth.
The box is that of the frame's joints that count. Frame 0 is given and does not count. The metrics of a set
are means over joints of the fraction of all frames of all clips.

A joint that the tracker has lost (x below 0, or NaN) does not count at all, neither in the score nor in the
box: the published rule, which the numbers of TimeCycle, UVC, CRW and UniTrack share. A tracker that says
nothing of the person misses every joint.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from unibench.errors import DataError, TrackerError
from unibench.metrics.counts import Number, mean_counted, ratio, scored_frames, section, total
from unibench.records import Labels, Truth

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)
BODY = 0.6
"""Fraction of the joint box's diagonal that distances are measured in."""


def tally(truth: Truth, prediction: Sequence[Labels]) -> dict[str, float]:
    """Score one clip of one person.

    Args:
        truth: (1, joint, 3) keypoints of each frame, pixels; the third value is above 0 where a joint is
            labelled.
        prediction: The same; the third value is not read.

    Returns:
        `correct@<threshold>/<joint>` and `joints/<joint>`: counts.

    Raises:
        TrackerError: The number of frames, persons or joints is wrong.
        DataError: There is nothing to score after frame 0.

    Reference:
        Yang, Ramanan: Articulated Human Detection with Flexible Mixtures of Parts, PAMI 2013 (PCK); Li et
        al.: Joint-task Self-supervised Learning for Temporal Correspondence, NeurIPS 2019 (JHMDB protocol).
    """
    frames = [t for t in scored_frames(truth, prediction) if t > 0 and len(truth.labels[t].keypoints)]
    if not frames:
        raise DataError("pck: no frame with a person after frame 0; use a longer clip")
    true = np.stack([truth.labels[t].keypoints[0] for t in frames])
    predicted = np.stack([_pose(prediction[t], t, true.shape[1]) for t in frames])
    missed = np.array([not len(prediction[t].keypoints) for t in frames])
    counted = (true[..., 2] > 0) & ((predicted[..., 0] >= 0) | missed[:, None])
    distance = np.hypot(
        *(predicted - true)[..., :2].transpose(2, 0, 1)
    )  # NaN, so never correct, where missed
    unit = BODY * _diagonals(true, counted)[:, None]
    sums = {f"joints/{joint}": float(count) for joint, count in enumerate(counted.sum(axis=0))}
    for threshold in THRESHOLDS:
        hits = (counted & (distance <= threshold * unit)).sum(axis=0)
        sums |= {f"correct@{threshold}/{joint}": float(count) for joint, count in enumerate(hits)}
    return sums


def pool(tallies: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """PCK@0.1 .. PCK@0.5: mean over joints, 0 to 1. Joints that never count are left out.

    Raises:
        TrackerError: No joint counts in any clip.
    """
    sums = total(tallies)
    joints = section(sums, "joints/")
    if not any(np.any(count) for count in joints.values()):
        raise TrackerError(
            "pck: no joint counts, as the tracker lost all of them in every clip; there is no score"
        )
    scores = {}
    for threshold in THRESHOLDS:
        correct = section(sums, f"correct@{threshold}/")
        fractions = [ratio(correct[name], count) for name, count in joints.items()]
        scores[f"PCK@{threshold}"] = mean_counted(fractions, list(joints.values()))
    return scores


def _pose(labels: Labels, frame: int, joints: int) -> Float[np.ndarray, "joint 3"]:
    found = labels.keypoints.shape
    if not found[0]:
        return np.full((joints, 3), np.nan)
    if found[:2] != (1, joints):
        raise TrackerError(
            f"prediction: frame {frame} has {found[0]} persons of {found[1]} joints, expected 1 of {joints}; "
            "give one pose with the joints of the prompt"
        )
    pose: Float[np.ndarray, "joint 3"] = labels.keypoints[0]
    return pose


def _diagonals(
    poses: Float[np.ndarray, "frame joint 3"], counted: Bool[np.ndarray, "frame joint"]
) -> Float[np.ndarray, " frame"]:
    """Diagonal of the box around the joints that count; infinite, and of no use, where none does."""
    points, mask = poses[..., :2], counted[..., None]
    sides = points.max(axis=1, initial=-np.inf, where=mask) - points.min(axis=1, initial=np.inf, where=mask)
    diagonals: Float[np.ndarray, " frame"] = np.hypot(*sides.T)
    return diagonals
