"""Presets of VOS. Every knob is written out: nothing depends on a default somewhere else."""

from typing import Any

from unibench.tasks.family import Knobs, Protocol, by_name
from unibench.tasks.propagation_presets import PROPAGATION

_NATIVE: Knobs = {
    "short_side": None,
    "long_side": None,
    "rounding": "nearest",
    "long_multiple": None,
    "image_mode": "bilinear",
    "prompt_mode": "bilinear",
    "propagation": PROPAGATION,
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
    knobs = {**_NATIVE, **changes, "propagation": {**PROPAGATION, **propagation}}
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


PRESETS = by_name(
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
    Protocol(
        "box",
        "1.0",
        "joint trackers: of each mask given, the tracker reads its box alone; not comparable with the others",
        {},
        kinds=("joint",),
    ),
)
