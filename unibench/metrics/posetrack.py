"""Multi-person pose tracking (PoseTrack): MOT metrics of each joint on its own, then means over joints.

Joint k of every person carries the person's identity. Two joints can match when they are at most half a head
apart (`Truth.scales` holds the head sizes); a joint is there where its third value is above 0. What poseval
and UniTrack do is done here too: frames whose truth has no person do not count, nor does the last frame of
the others; ignored regions swallow joints of both sides. MOTA, MOTP, precision and recall come from counts
summed over clips; IDF1 is a mean over clips; each is then a mean over joints. IDSW is the sum over joints and
clips. Joints that the truth never labels are left out of the means.

Three faults of poseval are not repeated. Its MOTP also sums distances of pairs that are not matches. A frame without
predictions counts as one miss and one false alarm of each joint, whoever is there; here, as the misses that it is. A
joint that the truth never labels enters its mean of the precision as 0; here it is left out of every mean.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from pycocotools import mask as coco

from unibench.errors import DataError, TrackerError
from unibench.geometry import masks as rle
from unibench.metrics.association import Pairing, hota_counts, hota_scores, identity_counts
from unibench.metrics.counts import Number, check_objects, mean_counted, ratio, scored_frames, total
from unibench.records import EXCUSED, Labels, Truth

MATCH = 0.5
"""Largest distance of a match, in head sizes."""
HOTA_REACH = 0.5001
"""Distance, in head sizes, at which HOTA's similarity falls to 0 (PoseTrack21)."""


def tally(truth: Truth, prediction: Sequence[Labels], *, drop_last: bool = True) -> dict[str, float]:
    """Count one clip.

    Args:
        truth: Ids, keypoints (pixels) and head sizes of each frame; `ignored` masks of class EXCUSED.
        prediction: Ids and keypoints of each frame, with the truth's joints.
        drop_last: Leave the last counting frame out, as poseval does.

    Returns:
        `<joint>/<count>`: motmetrics' counts, `distance` (sum over matches, head sizes), `idf1` of the clip with
        `clips` (1 where it is defined), and HOTA's counts. Empty if no frame counts.

    Raises:
        TrackerError: The number of frames or joints is wrong, or an id is doubled.
        DataError: The head size of a person is missing.

    Reference:
        Andriluka et al.: PoseTrack, CVPR 2018, section 4; poseval, evaluateTracking.py; Doering et al.:
        PoseTrack21, CVPR 2022, section 4 (HOTA).
    """
    people = [t for t in scored_frames(truth, prediction) if len(truth.labels[t].ids)]
    frames = [_frame(truth, prediction[t], t) for t in (people[:-1] if drop_last else people)]
    joints = frames[0].distance.shape[2] if frames else 0
    counts = {joint: _joint_counts([frame.joint(joint) for frame in frames]) for joint in range(joints)}
    return {f"{joint}/{name}": count for joint, named in counts.items() for name, count in named.items()}


def joint_pairings(truth: Truth, prediction: Sequence[Labels]) -> list[list[Pairing]]:
    """For each joint, one pairing for each scored frame, also of the last and of those without a person.

    The similarity falls from 1 to 0 at a distance of one head size, so that it is 0.5 at the farthest match.
    """
    frames = [_frame(truth, prediction[t], t) for t in scored_frames(truth, prediction)]
    joints = max((frame.distance.shape[2] for frame in frames), default=0)
    return [
        [
            Pairing(one.truth_ids, one.prediction_ids, np.maximum(0.0, 1.0 - one.distance))
            for one in (frame.joint(joint) for frame in frames)
        ]
        for joint in range(joints)
    ]


def pool(tallies: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """IDF1, MOTA, MOTP, precision, recall, HOTA, DetA, AssA as fractions, IDSW as a count.

    Raises:
        DataError: The truth labels no joint.
    """
    sums = total(tallies)
    joints: defaultdict[str, dict[str, Number]] = defaultdict(dict)
    for key in sorted(sums, key=lambda key: int(key.partition("/")[0])):
        joint, _, name = key.partition("/")
        joints[joint][name] = sums[key]
    labelled = [of_joint["num_objects"] for of_joint in joints.values()]
    if not any(map(np.any, labelled)):
        raise DataError("posetrack: the truth labels no joint, expected one or more; check the clips' truth")
    scores = [_joint_scores(of_joint) for of_joint in joints.values()]
    means = {name: mean_counted([one[name] for one in scores], labelled) for name in scores[0]}
    return {**means, "IDSW": sum(of_joint["num_switches"] for of_joint in joints.values())}


@dataclass(frozen=True, eq=False)
class _Joint:
    """The persons of one frame who have a joint, and how far apart it is in head sizes."""

    truth_ids: Int[np.ndarray, " truth"]
    prediction_ids: Int[np.ndarray, " prediction"]
    distance: Float[np.ndarray, "truth prediction"]


@dataclass(frozen=True, eq=False)
class _Frame:
    truth_ids: Int[np.ndarray, " truth"]
    prediction_ids: Int[np.ndarray, " prediction"]
    truth_has: Bool[np.ndarray, "truth joint"]
    prediction_has: Bool[np.ndarray, "prediction joint"]
    distance: Float[np.ndarray, "truth prediction joint"]

    def joint(self, index: int) -> _Joint:
        rows, columns = self.truth_has[:, index], self.prediction_has[:, index]
        distance = self.distance[rows][:, columns, index]
        return _Joint(self.truth_ids[rows], self.prediction_ids[columns], distance)


def _frame(truth: Truth, predicted: Labels, frame: int) -> _Frame:
    true, region = truth.labels[frame], _ignored_region(truth, frame)
    check_objects(predicted, frame, len(predicted.keypoints))
    joints = true.keypoints.shape[1]
    poses = predicted.keypoints if len(predicted.keypoints) else np.zeros((0, joints, 3))
    if poses.shape[1] != joints:
        raise TrackerError(
            f"prediction: frame {frame} has poses of {poses.shape[1]} joints, expected {joints}; "
            "use the joints of the detections"
        )
    truth_has, prediction_has = _has_joint(true.keypoints, region), _has_joint(poses, region)
    heads = _head_sizes(truth, frame, truth_has)
    offset = true.keypoints[:, None, :, :2] - poses[None, :, :, :2]
    distance = np.hypot(offset[..., 0], offset[..., 1]) / heads[:, None, None]
    return _Frame(true.ids, predicted.ids, truth_has, prediction_has, distance)


def _has_joint(
    keypoints: Float[np.ndarray, "person joint 3"], region: Bool[np.ndarray, "height width"] | None
) -> Bool[np.ndarray, "person joint"]:
    there: Bool[np.ndarray, "person joint"] = (keypoints[..., 2] > 0) & np.isfinite(keypoints).all(axis=-1)
    if region is None:
        return there
    height, width = region.shape
    pixels = np.floor(np.where(there[..., None], keypoints[..., :2], -1.0))
    inside = np.all((pixels >= 0) & (pixels < (width, height)), axis=-1)
    columns, rows = np.where(inside[..., None], pixels, 0).astype(int).transpose(2, 0, 1)
    there &= ~(inside & region[rows, columns])
    return there


def _ignored_region(truth: Truth, frame: int) -> Bool[np.ndarray, "height width"] | None:
    ignored = truth.ignored[frame] if truth.ignored else Labels()
    masks = [mask for mask, kind in zip(ignored.masks, ignored.classes, strict=True) if kind == EXCUSED]
    return rle.decode(coco.merge(masks)) if masks else None


def _head_sizes(
    truth: Truth, frame: int, has_joint: Bool[np.ndarray, "person joint"]
) -> Float[np.ndarray, " person"]:
    """Head sizes of the persons who have a joint, NaN for the others."""
    scales = truth.scales[frame] if truth.scales else np.zeros(0)
    needed = np.any(has_joint, axis=1)
    if len(scales) != len(has_joint) or not np.all(scales[needed] > 0):
        raise DataError(f"posetrack: frame {frame} has a person without a head size; check the clip's truth")
    return np.where(needed, scales, np.nan)


def _matches(frames: Sequence[_Joint]) -> tuple[list[float], int]:
    """Match as motmetrics does: a match holds while it is in reach, over any gap; the others are assigned anew.

    Its own accumulator gives the same and takes ten times as long.

    Returns:
        Distance of every match, and how many matches are to another identity than the last one of their person.
    """
    partners: dict[int, int] = {}
    distances: list[float] = []
    switches = 0
    for frame in frames:
        left = np.where(frame.distance <= MATCH, frame.distance, np.inf)
        columns = {identity: column for column, identity in enumerate(frame.prediction_ids.tolist())}
        for row, person in enumerate(frame.truth_ids.tolist()):
            column = columns.get(partners[person]) if person in partners else None
            if column is not None and np.isfinite(left[row, column]):
                distances.append(float(left[row, column]))
                left[row], left[:, column] = np.inf, np.inf
        for row, column in _assign(left):
            person, identity = int(frame.truth_ids[row]), int(frame.prediction_ids[column])
            distances.append(float(left[row, column]))
            switches += partners.get(person, identity) != identity
            partners[person] = identity
    return distances, switches


def _assign(distance: Float[np.ndarray, "truth prediction"]) -> list[tuple[int, int]]:
    """As many pairs as there can be, then those of least total distance; infinite ones are out of reach."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    reachable = np.isfinite(distance)
    if not reachable.any():
        return []
    beyond = 2 * min(distance.shape) * (distance[reachable].max() + 1) + 1
    pairs = zip(*linear_sum_assignment(np.where(reachable, distance, beyond)), strict=True)
    return [(int(row), int(column)) for row, column in pairs if reachable[row, column]]


def _joint_counts(frames: Sequence[_Joint]) -> dict[str, float]:
    distances, switches = _matches(frames)
    objects = sum(len(one.truth_ids) for one in frames)
    predictions = sum(len(one.prediction_ids) for one in frames)
    reached = [
        Pairing(one.truth_ids, one.prediction_ids, (one.distance <= MATCH).astype(float)) for one in frames
    ]
    near = [
        Pairing(one.truth_ids, one.prediction_ids, np.maximum(0.0, 1.0 - one.distance / HOTA_REACH))
        for one in frames
    ]
    defined = objects + predictions > 0  # not where the joint is neither labelled nor predicted
    return {
        "num_misses": float(objects - len(distances)),
        "num_switches": float(switches),
        "num_false_positives": float(predictions - len(distances)),
        "num_objects": float(objects),
        "num_detections": float(len(distances)),
        "distance": float(np.sum(distances)),
        "idf1": 2 * identity_counts(reached)["IDTP"] / (objects + predictions) if defined else 0.0,
        "clips": float(defined),
        **hota_counts(near),
    }


def _joint_scores(sums: Mapping[str, Number]) -> dict[str, Number]:
    """The scores of one joint; they mean nothing where the truth never labels it."""
    objects, found, false = sums["num_objects"], sums["num_detections"], sums["num_false_positives"]
    hota = hota_scores(sums)
    return {
        "IDF1": ratio(sums["idf1"], sums["clips"]),
        "MOTA": 1 - ratio(sums["num_misses"] + sums["num_switches"] + false, objects),
        "MOTP": ratio(found - sums["distance"], found),
        "precision": ratio(found, found + false),
        "recall": ratio(found, objects),
        **{name: hota[name] for name in ("HOTA", "DetA", "AssA")},
    }
