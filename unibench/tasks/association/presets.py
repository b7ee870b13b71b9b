"""Presets of MOT, MOTS and pose tracking. Every knob is written out: nothing depends on a default somewhere else."""

from typing import Any

from unibench.tasks.family import Knobs, Protocol, by_name

_CASCADE: Knobs = {
    "appearance_limit": 0.7,
    "iou_limit": 0.5,
    "confirm_limit": 0.7,
    "duplicate_limit": 0.15,
    "motion_weight": 1.0,
    "gate": False,
    "gate_threshold": 9.4877,
    "use_kalman": True,
    "use_iou": True,
    "confirm_at_birth": False,
    "birth_score": 0.5,
    "buffer": 30.0,
    "memory": 1,
}
_ASSOCIATION: Knobs = {
    "observation": "box",
    "min_score": 0.5,
    "letterbox": (608, 1088),
    "letterbox_as_coded": False,
    "roi_size": (10, 4),
    "max_points": 200,
    "bleed": False,
    "duplicate_iou": 0.7,
    "rsm": "paper",
    "cascade": _CASCADE,
    "write": "detection",
    "min_area": 200.0,
    "max_aspect": 1.6,
}
_MASKS: Knobs = {
    **_ASSOCIATION,
    "observation": "mask",
    "min_score": 0.0,
    "letterbox": None,
    "cascade": {**_CASCADE, "confirm_at_birth": True},
}
_POSES: Knobs = {
    **_MASKS,
    "observation": "pose",
    "max_points": 400,
    "cascade": {
        **_CASCADE,
        "confirm_at_birth": True,
        "confirm_limit": 0.6,
        "duplicate_limit": 0.2,
        "buffer": 7.2,
    },  # 6 frames at the 25 a second of PoseTrack: the 2021 code says 6 frames a second
}
_NO_MOTION: Knobs = {"use_kalman": False, "use_iou": False}


def _changed(knobs: Knobs, cascade: Knobs | None = None, **changes: Any) -> Knobs:
    return {**knobs, **changes, "cascade": {**knobs["cascade"], **(cascade or {})}}


def _association(knobs: Knobs, motion: Knobs) -> dict[str, Protocol]:
    """The presets of an association task.

    Args:
        knobs: Those of the family under UniTrack's study.
        motion: What changes in the cascade when motion is used.
    """
    study = (
        "UniTrack, Tables 1 and 2: lambda 1 and no gate, while the Kalman filter and the IoU stages stay on"
    )
    return by_name(
        Protocol("unitrack", "1.0", study, knobs),
        Protocol("unitrack-motion", "1.0", "UniTrack, Table 3: with motion", _changed(knobs, motion)),
        Protocol("appearance-only", "1.0", "the study without any motion", _changed(knobs, _NO_MOTION)),
        Protocol("mass", "1.0", "the study, RSM weighted by attention mass", _changed(knobs, rsm="mass")),
        Protocol(
            "memory-5", "1.0", "the study, a tracklet's last 5 observations", _changed(knobs, {"memory": 5})
        ),
        Protocol(
            "pooled", "1.0", "the study, pooled features in place of RSM", _changed(knobs, rsm="pooled")
        ),
    )


def _as_coded(knobs: Knobs, motion: Knobs, **changes: Any) -> dict[str, Protocol]:
    """The 2021 code's own choices, for parity."""
    coded = _changed(knobs, rsm="as-coded", **changes)
    return by_name(
        Protocol("as-coded", "1.0", "UniTrack's 2021 code, motion off", coded),
        Protocol("as-coded-motion", "1.0", "UniTrack's 2021 code, motion on", _changed(coded, motion)),
    )


_BYTETRACK: Knobs = {
    **_ASSOCIATION,
    "min_score": 0.0,
    "letterbox": None,
    "bytetrack": {
        "high_score": 0.6,
        "low_score": 0.1,
        "birth_score": 0.7,
        "first_limit": 0.9,
        "second_limit": 0.5,
        "confirm_limit": 0.7,
        "fuse_score": True,
        "duplicate_limit": 0.15,
        "buffer": 30.0,
        "buffers": {},
        "min_area": 100.0,
        "max_aspect": 1.6,
    },
}
# Its own limits of scores suit its own detector: here every object that the study looks at may join or start a track.
# The temperature, which vectors of unit length need, was chosen on rendered clips of no benchmark.
_PAIRWISE: Knobs = {
    "birth_score": 0.0,
    "track_score": 0.0,
    "match": 0.5,
    "suppress": 0.5,
    "momentum": 0.8,
    "memory": 30,
    "backdrops": 1,
    "backdrop_iou": 0.3,
    "duplicate_iou": 0.7,
    "temperature": 0.02,
}
_QDTRACK: Knobs = {**_ASSOCIATION, "qdtrack": _PAIRWISE}
_QDTRACK_MASKS: Knobs = {**_MASKS, "qdtrack": _PAIRWISE}
_SMALL: Knobs = {**_ASSOCIATION, "letterbox": None}
_MOTION_BOXES: Knobs = {"motion_weight": 0.98, "gate": True}
_MOTION_MASKS: Knobs = {"motion_weight": 0.98}
_MOTION_POSES: Knobs = {"motion_weight": 0.9999}
_CODED_BOXES: Knobs = {"letterbox_as_coded": True, "roi_size": (4, 10), "write": "kalman"}

MOT = {
    **_association(_ASSOCIATION, _MOTION_BOXES),
    **_as_coded(_ASSOCIATION, _MOTION_BOXES, **_CODED_BOXES),
    **by_name(
        Protocol(
            "private",
            "1.0",
            "joint trackers: the tracker finds the objects",
            {},
            kinds=("joint",),
            private=True,
        ),
        Protocol(
            "public",
            "1.0",
            "detections are given, their identities are not: frozen models link them as under unitrack, joint trackers "
            "in their own way",
            _ASSOCIATION,
            kinds=("frozen", "joint"),
        ),
        Protocol(
            "bytetrack",
            "1.0",
            "ByteTrack: motion and overlap alone, the floor of every board; no pixel is read, so all models are equal",
            _BYTETRACK,
        ),
        Protocol("qdtrack", "1.0", "QDTrack's bi-soft-max over pooled features; no motion", _QDTRACK),
        Protocol("small", "1.0", "for small frames: the study on frames as they are, no canvas", _SMALL),
    ),
}
MOTS = {
    **_association(_MASKS, _MOTION_MASKS),
    **_as_coded(_MASKS, _MOTION_MASKS, bleed=True),
    **by_name(
        Protocol(
            "private",
            "1.0",
            "joint trackers: the tracker finds the objects and draws their masks",
            {},
            kinds=("joint",),
            private=True,
        ),
        Protocol("qdtrack", "1.0", "QDTrack's bi-soft-max over pooled features; no motion", _QDTRACK_MASKS),
    ),
}
POSETRACK = {
    **_association(_POSES, _MOTION_POSES),
    **_as_coded(_POSES, _MOTION_POSES, bleed=True),
}
