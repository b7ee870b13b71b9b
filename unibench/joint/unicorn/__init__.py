"""Unicorn: one network follows, segments and finds objects; the prompted one by a prior, all others without.

Departures from the authors' code: boxes of a prompted object keep their fractions, where it cuts them to integers.
Masks are resized from the used part of the canvas. The correspondence is computed in single precision. Scores over
annotated images (`det`, `unibench detect`) see frames on the canvas of all joint trackers, which is not grey. Without
interaction the two frames are not compared before they are embedded; the paper's ablation puts convolutions there.

Reference: Yan et al., "Towards Grand Unification of Object Tracking", ECCV 2022.
"""

from pathlib import Path

from unibench.joint.system import System
from unibench.joint.unicorn.config import UnicornConfig
from unibench.joint.unicorn.loss import losses
from unibench.joint.unicorn.network import MASKS, Frozen, Unicorn
from unibench.joint.unicorn.tracker import detect, track
from unibench.models.cards import Preprocessing

_NO_POSES = "it finds boxes and masks, not joints"


SYSTEM = System(
    name="unicorn",
    config=UnicornConfig,
    folder=Path(__file__).parent,
    build=Unicorn,
    losses=losses,
    detect=detect,  # type: ignore[arg-type]  # only this system's network comes here
    track=track,  # type: ignore[arg-type]
    backbone=Frozen,
    preprocessing=Preprocessing("bgr", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),  # as images are
    objectives=("mot", "sot"),
    surplus=lambda config: () if config.network.mask_channels else MASKS,
    unsupported={"pose": _NO_POSES, "posetrack": _NO_POSES},
)
