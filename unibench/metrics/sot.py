"""Single-object tracking, one-pass evaluation: success, precision and normalised precision; AO and SR of GOT-10k.

Every frame counts, the first too, and the metrics of a set are means over clips of per-clip means over frames. A
frame whose truth has no box, a box with a side that is not positive, or NaN counts as a failure, whatever is
predicted; benchmarks that leave such frames out name the others in `Truth.scored`. (pysot also fails frames
whose truth has a corner at 0 or below. That rule is for 1-based boxes; here a box that starts at x = 0 is a
box.)

GOT-10k's AO, SR50 and SR75 leave frame 0 out, which is given, and are means over the frames of all clips together. Its
toolkit first brings boxes into the frame, and so do they where `Truth.size` is given.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from unibench.errors import DataError, TrackerError
from unibench.geometry.boxes import paired_iou
from unibench.metrics.counts import Number, mean_counted, ratio, scored_frames, total
from unibench.records import Labels, Truth

THRESHOLDS = tuple(step / 20 for step in range(21))
"""Overlaps of the success curve; a frame succeeds where its IoU is larger, so a perfect AUC is 20/21."""
PIXELS = 20.0
"""A centre at most this far from the truth is precise (P@20)."""
NORMALISED = 0.2
"""The same with the offset divided by the truth's width and height (NormP)."""


def tally(truth: Truth, prediction: Sequence[Labels], *, first_from_truth: bool = True) -> dict[str, float]:
    """Score one clip.

    Args:
        truth: One box a frame.
        prediction: One box a frame; a frame without a box, or with NaN, fails.
        first_from_truth: Replace the prediction of frame 0 by the truth, as the OTB toolkit does.

    Returns:
        `success/<threshold>`, `P@20`, `NormP`, `SR.5`: fractions of frames; `clips`: 1. `AO`, `SR50`, `SR75`: sums over
        the frames after frame 0; `later`: their number.

    Raises:
        TrackerError: The number of frames is wrong, or a frame has more than one box.
        DataError: The truth has no frame to score.

    Reference:
        Wu, Lim, Yang: Object Tracking Benchmark, PAMI 2015, section 4 (success, precision);
        Fan et al.: LaSOT, CVPR 2019, section 4.1 (normalised precision);
        Huang, Zhao, Huang: GOT-10k, PAMI 2021, section 4.2, and its toolkit, got10k.experiments.got10k (AO, SR).
    """
    frames = scored_frames(truth, prediction)
    if not frames:
        raise DataError("sot: no frame to score, expected one or more; check the clip's truth")
    true = np.stack([_box(truth.labels[frame]) for frame in frames])
    predicted = np.stack([_predicted_box(prediction[frame], frame) for frame in frames])
    if first_from_truth and frames[0] == 0:
        predicted[0] = true[0]
    valid = (true[:, 2] > true[:, 0]) & (true[:, 3] > true[:, 1])  # False where the truth is NaN
    overlap = np.where(valid, paired_iou(true, predicted), -1.0)
    offset = (predicted[:, :2] + predicted[:, 2:] - true[:, :2] - true[:, 2:]) / 2
    size = np.where(valid[:, None], true[:, 2:] - true[:, :2], 1.0)
    scores = {f"success/{threshold:.2f}": _mean(overlap > threshold) for threshold in THRESHOLDS}
    scores["P@20"] = _mean(valid & (np.hypot(*offset.T) <= PIXELS))
    scores["NormP"] = _mean(valid & (np.hypot(*(offset / size).T) <= NORMALISED))
    scores["SR.5"] = scores["success/0.50"]
    inside = [_in_frame(boxes, truth.size) for boxes in (true, predicted)]
    later = np.where(valid, paired_iou(*inside), 0.0)[np.array(frames) > 0]
    scores |= {
        "AO": float(later.sum()),
        "SR50": float((later > 0.5).sum()),
        "SR75": float((later > 0.75).sum()),
    }
    return {**scores, "clips": 1.0, "later": float(len(later))}


def pool(tallies: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """AUC (mean over the 21 thresholds), P@20, NormP and SR.5: means over clips; AO, SR50 and SR75: means over frames.

    Returns:
        Fractions; AO, SR50 and SR75 are NaN where no clip has a frame after frame 0.
    """
    sums = total(tallies)
    success = sum(sums[f"success/{threshold:.2f}"] for threshold in THRESHOLDS) / len(THRESHOLDS)
    means = {name: sums[name] / sums["clips"] for name in ("P@20", "NormP", "SR.5")}
    over_frames = {
        name: mean_counted([ratio(sums[name], sums["later"])], [sums["later"]])
        for name in ("AO", "SR50", "SR75")
    }
    return {"AUC": success / sums["clips"], **means, **over_frames}


def _in_frame(
    boxes: Float[np.ndarray, "frame 4"], size: tuple[int, int] | None
) -> Float[np.ndarray, "frame 4"]:
    """Boxes as GOT-10k's toolkit brings them into the frame, of which it counts pixels from 1.

    A box that begins before 0 is moved there with its width and height; then all end at the frame's last pixel.
    """
    if size is None:
        return boxes
    height, width = size
    corner = np.clip(boxes[:, :2] + 1, 0, [width, height])
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, [width, height] - corner)
    return np.hstack([corner, corner + sides])


def _box(labels: Labels) -> Float[np.ndarray, " 4"]:
    return labels.boxes[0].astype(np.float64) if len(labels.boxes) else np.full(4, np.nan)


def _predicted_box(labels: Labels, frame: int) -> Float[np.ndarray, " 4"]:
    if len(labels.boxes) > 1:
        raise TrackerError(
            f"prediction: frame {frame} has {len(labels.boxes)} boxes, expected 1; give one target"
        )
    return _box(labels)


def _mean(hits: Bool[np.ndarray, " frame"]) -> float:
    return float(hits.mean())
