"""RetinaTrack: a RetinaNet with one embedding per anchor, and a track store.

Reimplemented from the paper: its authors have published neither code nor weights. Reference: Lu et al., "RetinaTrack:
Online Single Stage Joint Detection and Tracking", CVPR 2020.
"""

from pathlib import Path

from unibench.joint.retinatrack.config import RetinaTrackConfig
from unibench.joint.retinatrack.loss import losses
from unibench.joint.retinatrack.network import RetinaTrack
from unibench.joint.retinatrack.tracker import detect, track
from unibench.joint.system import System

_NEEDS_PROMPT = "RetinaTrack finds objects of its classes; it takes no prompt that says which one to follow"
_NEEDS_MORE = "RetinaTrack gives boxes, neither masks nor joints"

SYSTEM = System(
    name="retinatrack",
    config=RetinaTrackConfig,
    folder=Path(__file__).parent,
    build=RetinaTrack,
    losses=losses,
    detect=detect,
    track=track,
    backbone=lambda network: network.get_submodule("backbone"),
    unsupported={
        "sot": _NEEDS_PROMPT,
        "vos": _NEEDS_PROMPT,
        "pose": _NEEDS_PROMPT,
        "mots": _NEEDS_MORE,
        "posetrack": _NEEDS_MORE,
    },
    companions=lambda config: [config.tracking.reid] if config.tracking.reid else [],
)
