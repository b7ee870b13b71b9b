"""HOTA, CLEAR and Identity from per-frame similarities, counted by TrackEval, as sums to add over clips."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from unibench.metrics.counts import Number

ALPHAS = tuple(f"{step / 20:.2f}" for step in range(1, 20))
"""HOTA's localisation thresholds, as the keys of a tally spell them."""
HOTA_COUNTS = ("HOTA_TP", "HOTA_FN", "HOTA_FP")
HOTA_MEANS = ("AssA", "AssRe", "AssPr", "LocA")
"""Means over the true positives of a clip; a tally holds the mean times the number."""
CLEAR_COUNTS = ("CLR_TP", "CLR_FN", "CLR_FP", "IDSW", "MT", "PT", "ML", "Frag", "MOTP_sum")
MATCH = 0.5
"""Least similarity of a match."""
EPSILON = float(np.finfo(np.float64).eps)  # thresholds are relaxed by it, as in TrackEval
IDENTITY_COUNTS = ("IDTP", "IDFN", "IDFP")


@dataclass(frozen=True, eq=False)
class Pairing:
    """What is compared in one frame."""

    truth_ids: Int[np.ndarray, " truth"]
    prediction_ids: Int[np.ndarray, " prediction"]
    similarity: Float[np.ndarray, "truth prediction"]
    """0 to 1."""


def hota_counts(frames: Sequence[Pairing]) -> dict[str, float]:
    """`<field>/<alpha>`: HOTA's counts, and its means times the true positives, of one clip.

    Reference:
        Luiten et al.: HOTA, IJCV 2021; trackeval.metrics.HOTA.
    """
    from trackeval.metrics import HOTA  # here, so that the registry imports quickly

    result = HOTA().eval_sequence(_clip(frames))
    weighted = {name: result[name] * result["HOTA_TP"] for name in HOTA_MEANS}
    arrays = {name: result[name] for name in HOTA_COUNTS} | weighted
    return {
        f"{name}/{a}": float(v) for name, array in arrays.items() for a, v in zip(ALPHAS, array, strict=True)
    }


def clear_and_identity_counts(frames: Sequence[Pairing]) -> dict[str, float]:
    """The counts of CLEAR MOT and of the identity metrics of one clip, at similarity 0.5.

    Reference:
        Bernardin, Stiefelhagen: CLEAR MOT, 2008; Ristani et al.: Performance Measures, ECCVW 2016;
        trackeval.metrics.CLEAR, trackeval.metrics.Identity.
    """
    from trackeval.metrics import CLEAR

    clip = _clip(frames)
    clear = CLEAR({"PRINT_CONFIG": False}).eval_sequence(clip)
    return {name: float(clear[name]) for name in CLEAR_COUNTS} | _identity(clip)


def identity_counts(frames: Sequence[Pairing]) -> dict[str, float]:
    """The counts of the identity metrics of one clip, at similarity 0.5.

    Reference:
        Ristani et al.: Performance Measures, ECCVW 2016; trackeval.metrics.Identity.
    """
    return _identity(_clip(frames))


def _identity(clip: dict[str, Any]) -> dict[str, float]:
    from trackeval.metrics import Identity

    found = Identity({"PRINT_CONFIG": False}).eval_sequence(clip)
    return {name: float(found[name]) for name in IDENTITY_COUNTS}


@dataclass(frozen=True)
class FrameEvents:
    """What CLEAR MOT counts in one frame."""

    matches: int
    misses: int
    false_alarms: int
    switches: tuple[tuple[int, int, int], ...]
    """True identity, the predicted one that it last had, and the one that it has now."""
    missed: tuple[int, ...] = ()
    """True identities without a match."""


def clear_events(frames: Sequence[Pairing]) -> list[FrameEvents]:
    """What `clear_and_identity_counts` counts, frame by frame: it sums to `CLR_TP`, `CLR_FN`, `CLR_FP` and `IDSW`.

    Reference:
        trackeval.metrics.CLEAR, which gives the sums only.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    latest: dict[int, int] = {}  # true identity -> the predicted one that it last had
    just_now: dict[int, int] = {}  # the same of the last frame in which there was something to match
    found = []
    for frame in frames:
        truth_ids, prediction_ids = frame.truth_ids.tolist(), frame.prediction_ids.tolist()
        if not truth_ids or not prediction_ids:
            found.append(FrameEvents(0, len(truth_ids), len(prediction_ids), (), tuple(truth_ids)))
            continue
        kept = np.array([[just_now.get(one) == other for other in prediction_ids] for one in truth_ids])
        worth = np.where(frame.similarity < MATCH - EPSILON, 0.0, 1000.0 * kept + frame.similarity)
        rows, columns = linear_sum_assignment(worth, maximize=True)
        just_now = {
            truth_ids[row]: prediction_ids[column]
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            if worth[row, column] > EPSILON
        }
        switches = tuple(
            (one, latest[one], other) for one, other in just_now.items() if latest.get(one, other) != other
        )
        latest |= just_now
        matches = len(just_now)
        missed = tuple(one for one in truth_ids if one not in just_now)
        found.append(FrameEvents(matches, len(missed), len(prediction_ids) - matches, switches, missed))
    return found


def hota_scores(sums: Mapping[str, Number]) -> dict[str, Number]:
    """HOTA and its parts: means over alpha, 0 to 1."""
    arrays = {name: np.array([sums[f"{name}/{a}"] for a in ALPHAS]) for name in HOTA_COUNTS + HOTA_MEANS}
    tp, fn, fp = (arrays[name] for name in HOTA_COUNTS)
    scores = {name: arrays[name] / np.maximum(1, tp) for name in ("AssA", "AssRe", "AssPr")}
    scores["LocA"] = np.maximum(1e-10, arrays["LocA"]) / np.maximum(1e-10, tp)  # 1 where nothing matches
    scores["DetA"] = tp / np.maximum(1, tp + fn + fp)
    scores["DetRe"] = tp / np.maximum(1, tp + fn)
    scores["DetPr"] = tp / np.maximum(1, tp + fp)
    scores["HOTA"] = np.sqrt(scores["DetA"] * scores["AssA"])
    return {name: values.mean(axis=0) for name, values in scores.items()}


def clear_and_identity_scores(sums: Mapping[str, Number]) -> dict[str, Number]:
    """MOTA, MOTP, sMOTA, IDF1, IDP, IDR as fractions (MOTA and sMOTA may be negative), and counts."""
    tp, fn, fp = sums["CLR_TP"], sums["CLR_FN"], sums["CLR_FP"]
    idtp, idfn, idfp = (sums[name] for name in IDENTITY_COUNTS)
    return {
        "MOTA": (tp - fp - sums["IDSW"]) / np.maximum(1.0, tp + fn),
        "MOTP": sums["MOTP_sum"] / np.maximum(1.0, tp),
        "sMOTA": (sums["MOTP_sum"] - fp - sums["IDSW"]) / np.maximum(1.0, tp + fn),
        "IDF1": idtp / np.maximum(1.0, idtp + 0.5 * idfp + 0.5 * idfn),
        "IDP": idtp / np.maximum(1.0, idtp + idfp),
        "IDR": idtp / np.maximum(1.0, idtp + idfn),
        **{name: sums[name] for name in ("IDSW", "MT", "PT", "ML", "Frag")},
        "FP": fp,
        "FN": fn,
    }


def _clip(frames: Sequence[Pairing]) -> dict[str, Any]:
    """One clip as TrackEval's metrics want it."""
    truth_ids, truths = _consecutive([frame.truth_ids for frame in frames])
    prediction_ids, predictions = _consecutive([frame.prediction_ids for frame in frames])
    return {
        "num_timesteps": len(frames),
        "num_gt_ids": truths,
        "num_tracker_ids": predictions,
        "num_gt_dets": sum(map(len, truth_ids)),
        "num_tracker_dets": sum(map(len, prediction_ids)),
        "gt_ids": truth_ids,
        "tracker_ids": prediction_ids,
        "similarity_scores": [frame.similarity for frame in frames],
    }


def _consecutive(ids: Iterable[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """The same identities counted from 0, and how many there are."""
    frames = list(ids)
    if not frames:
        return [], 0
    names, numbers = np.unique(np.concatenate(frames), return_inverse=True)
    return np.split(numbers, np.cumsum([len(frame) for frame in frames])[:-1]), len(names)
