"""TDT: a detector learns the embeddings of a frozen teacher, so that it tracks though it learns from no video.

Reference: Yu et al., "TDT: Teaching Detectors to Track without Fully Annotated Videos", CVPRW 2022.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from unibench.joint.data import embeddings
from unibench.joint.system import System, TrainingSet
from unibench.joint.tdt.config import TdtConfig
from unibench.joint.tdt.loss import losses
from unibench.joint.tdt.network import Tdt
from unibench.joint.tdt.tracker import detect, track

_NO_MASKS = "it finds boxes, not masks"
_NO_PROMPT = "it finds objects of its classes; it takes no prompt that says which one to follow"
_NO_POSES = "it finds boxes, not joints"


def _backbone(network: nn.Module) -> nn.Module:
    return network.get_submodule("backbone")


def _prepare(
    training_sets: Sequence[TrainingSet], config: TdtConfig, folder: Path, *, device: str = "cpu"
) -> list[TrainingSet]:
    """Add the teacher's embeddings, unless the loss does without them."""
    if not config.losses.embedding:
        return list(training_sets)
    return embeddings.add(training_sets, config.teacher, folder, device=device)


SYSTEM = System(
    name="tdt",
    config=TdtConfig,
    folder=Path(__file__).parent,
    build=Tdt,
    losses=losses,
    detect=detect,
    track=track,
    backbone=_backbone,
    unsupported={
        "sot": _NO_PROMPT,
        "vos": _NO_MASKS,
        "mots": _NO_MASKS,
        "pose": _NO_POSES,
        "posetrack": _NO_POSES,
    },
    prepare=_prepare,
    companions=lambda config: [config.teacher] if config.tracking.embedder == "teacher" else [],
)
