"""A system of two layers that learns where the one bright square of a small image is; run as a module, it trains."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unibench.joint.data.sampling import SampleOptions, ViewOptions
from unibench.joint.system import AnnotatedImage, Batch, System, TrainingSet
from unibench.joint.training.config import Stage, TrainOptions
from unibench.joint.training.train import train
from unibench.records import Labels

SIDE = 16


def options(steps: int, batch: int = 4, optimizer: str = "adamw", **more: Any) -> TrainOptions:
    return TrainOptions((Stage("all", steps, 0.01),), batch, optimizer=optimizer, checkpoint=10, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ToyConfig:
    train: TrainOptions = field(default_factory=lambda: options(60))
    view: ViewOptions = field(default_factory=lambda: ViewOptions(SIDE, SIDE))
    sample: SampleOptions = field(default_factory=SampleOptions)
    classes: tuple[str, ...] = ("square",)
    dropout: float = 0.2


def build(config: ToyConfig) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Dropout(config.dropout), nn.Linear(4 * 7 * 7, 4)
    )


def losses(network: nn.Module, batch: Batch, config: ToyConfig, stage: str) -> dict[str, Tensor]:
    found = network(batch.images.flatten(0, 1) / 255.0)
    boxes = torch.stack([frame.boxes[0] for clip in batch.targets for frame in clip]) / SIDE
    return {"corner": F.mse_loss(found[:, :2], boxes[:, :2]), "end": F.mse_loss(found[:, 2:], boxes[:, 2:])}


def unused(*_: Any) -> Any:
    raise NotImplementedError


SYSTEM = TOY = System(
    "toy", ToyConfig, Path(__file__).parent / "toys", build, losses, unused, unused, unused, {}
)


def annotated(number: int) -> AnnotatedImage:
    x, y = np.random.default_rng(number).integers(0, SIDE - 6, 2)
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[y : y + 6, x : x + 6] = 255
    boxes = np.array([[x, y, x + 6, y + 6]], float)
    return AnnotatedImage(str(number), lambda: image, Labels(boxes=boxes, classes=np.zeros(1, np.int64)))


SQUARES = TrainingSet("squares", ("square",), [annotated(number) for number in range(30)])


def main(out: str, steps: str, batch: str, dropout: str, optimizer: str) -> None:
    torch.set_num_threads(1)
    config = ToyConfig(options(int(steps), int(batch), optimizer), dropout=float(dropout))
    train(TOY, config, [SQUARES], Path(out), name="toy")


if __name__ == "__main__":
    main(*sys.argv[1:])
