"""Named presets of every knob that changes a score; version and hash stand in each row, so none changes silently.

Every knob is written out: nothing depends on a default somewhere else (a test holds this). The knobs of a joint tracker
lie in its weights file, so its protocols say what is given only. Versions are X.Y: X when
scores stop being comparable, Y when only the interface changes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unibench.errors import DataError, UnknownNameError

Knobs = Mapping[str, Any]


@dataclass(frozen=True)
class Protocol:
    """How a task is run: what is given, and every knob of the head."""

    name: str
    version: str
    source: str
    """Where the protocol comes from, and what it is for."""
    knobs: Knobs
    """Options of the task's tracker."""
    lookahead: int = 0
    """Frames that a tracker may see ahead of the one it labels; 0: online."""
    detections: str = ""
    """Where given observations come from; empty: the task gives none."""
    kind: str = "frozen"
    """Which models it is for: `frozen` ones, whose tracker has the knobs, or `joint` trackers, which bring theirs."""
    private: bool = False
    """Whether the tracker finds the objects itself, so that none are given."""


def find(family: str, name: str = "", kind: str = "frozen") -> Protocol:
    """Look up a preset of a family of tasks; without a name, the default, which is the first of those for a kind.

    Args:
        family: For instance `mot`.
        name: Of the preset; empty: the default.
        kind: Kind of model that the default is for. A family that has none for it gives its first preset.

    Raises:
        UnknownNameError: The family has no such preset.
    """
    presets = PROTOCOLS[family]
    if not name:
        fitting = (preset for preset in presets.values() if preset.kind == kind)
        return next(fitting, next(iter(presets.values())))
    if name not in presets:
        raise UnknownNameError(f"protocol of {family!r}", name, presets, "unibench tasks")
    return presets[name]


def fingerprint(protocol: Protocol) -> str:
    """Hash over everything that changes a score: all knobs, what is given, the major version."""
    parts = {**asdict(protocol), "version": protocol.version.partition(".")[0], "source": ""}
    parts["detections"] = _identity(protocol.detections)
    del parts["kind"], parts["private"]  # they say who may be run, and what is given stands in the detections
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _identity(source: str) -> str:
    """A named source stands for itself, a folder for the bytes in it."""
    folder = Path(source)
    if source in ("", "public", "oracle", "oracle+noise"):
        return source
    if not folder.is_dir():
        raise DataError(
            f"detections {source!r}: no such folder; there are: public, oracle, oracle+noise, FOLDER"
        )
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def source_name(protocol: Protocol) -> str:
    """How boards call the source of the detections: a folder by its last name."""
    return Path(protocol.detections).name if protocol.detections else ""


def label(protocol: Protocol) -> str:
    """How boards and folders call a protocol: with its detections where it is given some."""
    return f"{protocol.name}+{source_name(protocol)}" if protocol.detections else protocol.name


def describe(protocol: Protocol) -> dict[str, Any]:
    """Everything about a protocol, for the record of a run."""
    return {**asdict(protocol), "hash": fingerprint(protocol)}


_PROPAGATION: Knobs = {
    "temperature": 0.05,
    "topk": 10,
    "radius": 12,
    "window": "circle",
    "context": 5,
    "keep_first": True,
    "pad_start": True,
    "window_first": False,
}
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


def _by_name(*presets: Protocol) -> dict[str, Protocol]:
    return {preset.name: preset for preset in presets}


def _association(knobs: Knobs, motion: Knobs) -> dict[str, Protocol]:
    """The presets of an association task.

    Args:
        knobs: Those of the family under UniTrack's study.
        motion: What changes in the cascade when motion is used.
    """
    study = (
        "UniTrack, Tables 1 and 2: lambda 1 and no gate, while the Kalman filter and the IoU stages stay on"
    )
    return _by_name(
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
    return _by_name(
        Protocol("as-coded", "1.0", "UniTrack's 2021 code, motion off", coded),
        Protocol("as-coded-motion", "1.0", "UniTrack's 2021 code, motion on", _changed(coded, motion)),
    )


_MOTION_BOXES: Knobs = {"motion_weight": 0.98, "gate": True}
_MOTION_MASKS: Knobs = {"motion_weight": 0.98}
_MOTION_POSES: Knobs = {"motion_weight": 0.9999}
_CODED_BOXES: Knobs = {"letterbox_as_coded": True, "roi_size": (4, 10), "write": "kalman"}

_NATIVE: Knobs = {
    "short_side": None,
    "long_side": None,
    "rounding": "nearest",
    "long_multiple": None,
    "image_mode": "bilinear",
    "prompt_mode": "bilinear",
    "propagation": _PROPAGATION,
    "mask_mode": "bilinear",
    "normalise_masks": False,
}
_DINO: Knobs = {
    "temperature": 0.1,
    "topk": 5,
    "window": "square",
    "context": 7,
    "pad_start": False,
    "window_first": True,
}
_DINOV3: Knobs = {**_DINO, "temperature": 0.2, "window": "disc"}
_CROPMAE: Knobs = {"temperature": 0.7, "topk": 7, "radius": 20, "context": 20}


def _vos(name: str, version: str, source: str, propagation: Knobs, **changes: Any) -> Protocol:
    knobs = {**_NATIVE, **changes, "propagation": {**_PROPAGATION, **propagation}}
    return Protocol(name, version, source, knobs)


def _dinov3(size: str, short_side: int) -> Protocol:
    return _vos(
        f"dinov3-{size}",
        "1.0",
        f"DINOv3 (Siméoni et al., arXiv 2508.10104), its notebook segmentation_tracking: short side {short_side}, "
        "made for patches of 16",
        _DINOV3,
        short_side=short_side,
        rounding="up",
        image_mode="bicubic",
        prompt_mode="nearest-exact",
        mask_mode="nearest",
        normalise_masks=True,
    )


_DCF: Knobs = {
    "head": "dcf",
    "padding": 3.5,
    "crop_size": 520,
    "scales": 3,
    "scale_step": 1.0275,
    "scale_penalty": 0.985,
    "min_scale": 0.2,
    "max_scale": 5.0,
    "min_side": 4.0,
    "aim": 0.0,
    "dcf": {"regularisation": 1e-4, "label_sigma": 0.1, "learning_rate": 0.01},
    "xcorr": {"gain": 0.1, "decode": "corrected"},
}
_XCORR: Knobs = {**_DCF, "head": "xcorr"}
_DCF_2021: Knobs = {**_DCF, "aim": -1.0}
_XCORR_2021: Knobs = {**_XCORR, "aim": -1.0, "xcorr": {"gain": 0.1, "decode": "as-coded"}}

PROTOCOLS: dict[str, dict[str, Protocol]] = {
    "sot": _by_name(
        Protocol(
            "unitrack", "1.0", "UniTrack, section 3.2: the DCF head, which its Figures 1 and 6 use", _DCF
        ),
        Protocol(
            "as-coded", "1.0", "UniTrack's DCF head as in the 2021 code: windows one pixel off", _DCF_2021
        ),
        Protocol("xcorr", "1.0", "UniTrack's XCorr head with the peak decoded correctly", _XCORR),
        Protocol("xcorr-as-coded", "1.0", "UniTrack's XCorr head as in the 2021 code", _XCORR_2021),
    ),
    "vos": _by_name(
        _vos("unitrack", "1.0", "UniTrack, section 3.2 and its 2021 code", {}),
        _vos(
            "crw",
            "1.0",
            "CRW (Jabri et al., NeurIPS 2020), its code's README: 20 previous frames",
            {"context": 20},
        ),
        _vos(
            "dino",
            "2.0",
            "DINO (Caron et al., ICCV 2021), its eval_video_segmentation.py; read out at the frame's own size",
            _DINO,
            short_side=480,
            rounding="down",
            long_multiple=64,
            prompt_mode="nearest-exact",
            normalise_masks=True,
        ),
        _dinov3("s", 480),
        _dinov3("m", 960),
        _dinov3("l", 1440),
        _vos(
            "cropmae",
            "1.0",
            "CropMAE (Eymaël et al., ECCV 2024), its code (CRW's) on frames of 480 x 880; read out and scored "
            "at the frame's own size",
            _CROPMAE,
            short_side=480,
            long_side=880,
        ),
    ),
    "pose": _by_name(
        Protocol(
            "unitrack",
            "1.0",
            "UniTrack's 2021 code, as CRW has it: 320 x 320 pixels",
            {"input_size": (320, 320), "propagation": _PROPAGATION},
        ),
    ),
    "mot": {
        **_association(_ASSOCIATION, _MOTION_BOXES),
        **_as_coded(_ASSOCIATION, _MOTION_BOXES, **_CODED_BOXES),
        **_by_name(
            Protocol(
                "private",
                "1.0",
                "joint trackers: the tracker finds the objects",
                {},
                kind="joint",
                private=True,
            ),
            Protocol(
                "public",
                "1.0",
                "joint trackers: detections are given, their identities are not",
                {},
                kind="joint",
            ),
        ),
    },
    "mots": {
        **_association(_MASKS, _MOTION_MASKS),
        **_as_coded(_MASKS, _MOTION_MASKS, bleed=True),
    },
    "posetrack": {
        **_association(_POSES, _MOTION_POSES),
        **_as_coded(_POSES, _MOTION_POSES, bleed=True),
    },
}
"""Family of tasks -> its presets by name; the first for a kind of model is its default."""
