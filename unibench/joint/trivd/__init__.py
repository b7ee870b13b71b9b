"""TrIVD: objects in images and videos are found by their names, and followed by queries.

Reimplementation from the paper; no code of the authors exists, and their numbers cannot be verified against ours. Parts
whose official code is known follow it: the transformer is Deformable DETR's for TrackFormer's two frames, attention
over levels DyHead's, losses are MDETR's, the life of track queries is TrackFormer's, the backbone is timm's MViTv2.
What neither paper nor code says is our choice [G]:

- DyHead's attention has one block, after the input projections; `dim` is TrackFormer's 288.
- The frames of a clip, the key frame among them, are averaged with their weights, after DyHead's attention: a clip lies
  around its key frame, and one frame alone is an image.
- Text enters neither encoder nor decoder. A query's soft-max is over its likeness to each token of the prompt, and "no
  object", so that it knows the prompt: MDETR's linear layer to 256 positions knows it only through its encoder.
- The score of a class is the sum of the probabilities of its tokens; a query is an object of its best class alone.
- An image is its own previous frame, as the first frame of a clip is in TrackFormer. The previous frame's maps have no
  gradient.
- In training the prompt is the classes of the batch's training set or, in a share of the batches, a part of them, so
  that what is not asked for is no object. At work it is the clip's vocabulary, in which the config's word stands for
  one of the same meaning (`person` for `pedestrian`); for images it is the config's classes.
- The whole canvas is looked at, without a mask of what lies beside the frame. Regions that are ignored are background.
- Each image of a batch has track queries of its own number, and is filled up with queries that stand for no object.
  TrackFormer takes as many as the image with the fewest objects has, which is none in most batches of the toy's clips.
- Stills stand for pairs of frames, moved from one to the other, as in TrackFormer's first stage: their objects are
  followed by where they are, though no identity is annotated. Objects of other stills, cut out by their masks, move
  over them as in VideoCutLER (`tiny`).
- Pairs of frames for tracking are as far apart as the config says, where TrackFormer draws the distance.
- A backbone without weights may have four 3 x 3 convolutions before its first stage in place of one of 7 x 7 (`tiny`).
- In place of a backbone that has learnt to classify, a stage `regions` teaches it the names of true boxes from the maps
  alone, GLIP's way without its focal weights; the loss stays beside the others (`tiny`). A query without an object
  weighs .4 in `tiny`, MDETR's .1 in `paper`.
- The rate falls by a cosine; the authors' drops by .1 or, of the text encoder, falls linearly. The last stage of
  `tiny` leaves an average of its weights.

Reference: Liu et al., "TrIVD: A Unified Model for Tracking and Image-Video Detection Has More Power".
"""

from pathlib import Path

from torch import nn

from unibench.joint.system import System
from unibench.joint.trivd.config import TrivdConfig
from unibench.joint.trivd.network import Trivd
from unibench.joint.trivd.objective import losses
from unibench.joint.trivd.tracker import detect, detect_clip, track

_NO_MASKS = "it finds boxes, not masks"
_NO_PROMPT = (
    "it finds objects by the names of their classes; it takes no prompt that says which one to follow"
)
_NO_POSES = "it finds boxes, not joints"


def _backbone(network: nn.Module) -> nn.Module:
    return network.get_submodule("backbone")


SYSTEM = System(
    name="trivd",
    config=TrivdConfig,
    folder=Path(__file__).parent,
    build=Trivd,
    losses=losses,  # type: ignore[arg-type]  # only this system's network comes here
    detect=detect,  # type: ignore[arg-type]
    detect_clip=detect_clip,  # type: ignore[arg-type]
    track=track,  # type: ignore[arg-type]
    backbone=_backbone,
    objectives=("det", "vid", "mot"),
    prompted=True,
    unsupported={
        "sot": _NO_PROMPT,
        "vos": _NO_MASKS,
        "mots": _NO_MASKS,
        "pose": _NO_POSES,
        "posetrack": _NO_POSES,
    },
)
