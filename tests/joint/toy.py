"""A joint tracker that is as small as one can be: it finds coloured things by a threshold, and follows them by IoU."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import find_objects, label
from torch import Tensor, nn

from unibench.geometry.boxes import iou
from unibench.joint import detector
from unibench.joint.data.sampling import SampleOptions, ViewOptions
from unibench.joint.system import Batch, Detections, System, Task
from unibench.joint.training.config import Stage, TrainOptions
from unibench.records import Clip, Labels

VIEW, SAMPLE, TRAIN = (
    ViewOptions(64, 64),
    SampleOptions(),
    TrainOptions((Stage("all", steps=1, rate=0.1),), batch=1),
)


@dataclass(frozen=True)
class ToyConfig:
    width: int = 4
    least: float = 0.3
    """IoU from which on a box is the same object as in the frame before."""
    view: ViewOptions = VIEW
    sample: SampleOptions = SAMPLE
    train: TrainOptions = TRAIN


DEFAULT = ToyConfig()


class Backbone(nn.Module):
    """Maps at strides 4 and 8."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, stride=4, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        fine = self.first(images).relu()
        return {"c2": fine, "c3": self.second(fine)}


class Network(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = Backbone(width)
        self.head = nn.Conv2d(2 * width, 1, 1)


@dataclass
class _Tracks:
    """Boxes of the frame before and their ids."""

    boxes: Tensor = field(default_factory=lambda: torch.zeros(0, 4))
    ids: list[int] = field(default_factory=list)
    born: int = 0

    def follow(self, boxes: Tensor, least: float) -> list[int]:
        ids: list[int] = []
        for row in iou(boxes, self.boxes):
            best = int(row.argmax()) if len(row) else -1
            if best >= 0 and row[best] >= least and self.ids[best] not in ids:
                ids.append(self.ids[best])
            else:
                ids.append(self.born)
                self.born += 1
        self.boxes, self.ids = boxes, ids
        return ids


def find(image: np.ndarray) -> Tensor:
    """Boxes of the things that are unlike most of the image."""
    unlike = np.abs(image.astype(np.float32) - np.median(image, axis=(0, 1))).sum(axis=2) > 150
    places = [box for box in find_objects(label(unlike)[0]) if box[0].stop - box[0].start > 12]
    return torch.tensor([[x.start, y.start, x.stop, y.stop] for y, x in places], dtype=torch.float32).reshape(
        -1, 4
    )


def track(network: nn.Module, config: ToyConfig, clip: Clip, task: Task) -> Iterator[Labels]:
    assert not torch.is_grad_enabled()
    finds_objects, tracks = detector.finds_objects(task), _Tracks()
    for frame in clip.frames():
        if finds_objects:
            assert not len(frame.detections.boxes)
            boxes = find(frame.image)
        else:
            boxes = torch.tensor(frame.detections.boxes, dtype=torch.float32)
        network.backbone(torch.tensor(frame.image).permute(2, 0, 1)[None].float())
        ids = tracks.follow(boxes, config.least)
        yield Labels(ids=np.array(ids, dtype=np.int64), boxes=boxes.numpy().astype(np.float64))


def losses(network: nn.Module, batch: Batch, config: ToyConfig, stage: str) -> dict[str, Tensor]:
    raise NotImplementedError


def detect(network: nn.Module, images: Tensor, config: ToyConfig) -> list[Detections]:
    raise NotImplementedError


SYSTEM = System(
    name="toy",
    config=ToyConfig,
    folder=Path(__file__).parent,
    build=lambda config: Network(config.width),
    losses=losses,
    detect=detect,
    track=track,
    backbone=lambda network: network.backbone,
    unsupported={
        "vos": "it draws no masks",
        "mots": "it draws no masks",
        "sot": "it follows no single prompt",
    },
)
