"""Score what a network detects in annotated images, as COCO does."""

import csv
import io
import math
import statistics
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from unibench.datasets.class_names import in_clip
from unibench.errors import DataError, OutputError
from unibench.geometry import canvas
from unibench.joint.data import registry
from unibench.joint.system import AnnotatedImage, System, TrainingSet
from unibench.metrics import detection
from unibench.records import Clip, Labels

Image = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class DetectionScores:
    """How well the objects of a data set are found."""

    scores: Mapping[str, float]
    """`metrics.detection.ORDER`, as fractions."""
    images: int
    milliseconds: float
    """Median time of network and suppression for one image, without reading it."""


def score(
    system: System, config: Any, network: nn.Module, data: TrainingSet, *, limit: int | None = None
) -> DetectionScores:
    """Run a network over annotated images and score what it finds.

    Args:
        system: Whose network it is.
        config: Of the system; `view` and `classes` are used here.
        network: In evaluation mode, on its device.
        data: Annotated images; classes that the config does not have are left out of the truth.
        limit: Only so many images, the first ones.

    Raises:
        DataError: The data have no images, or no class of the config's.
    """
    truth, predictions, times = [], [], []
    for annotated in islice(registry.align(data, config.classes).images, limit):
        labels, seconds = _detected(system, config, network, [annotated.image()])
        truth.append(_truth(annotated, len(config.classes)))
        predictions.append(labels)
        times.append(seconds)
    if not times:
        raise DataError(f"data {data.name!r}: no images; name data that have some")
    return DetectionScores(detection.score(truth, predictions), len(times), 1000 * statistics.median(times))


def detect_frames(
    system: System, config: Any, network: nn.Module, clip: Clip, frames: int = 1
) -> Iterator[Labels]:
    """Detect the objects of every frame on its own, or with the frames around it.

    Args:
        system: Whose network it is.
        config: Of the system; `view` and `classes` are used here.
        network: In evaluation mode, on its device.
        clip: Its vocabulary says which classes there are; others are left out.
        frames: An odd number: so many are looked at for each frame. Beyond its ends, a clip's first or last frame
            stands still.

    Yields:
        Boxes in pixels of the frame, scores and classes, without ids.

    Raises:
        TrackerError: The network knows none of the clip's classes.
    """
    vocabulary = in_clip(config.classes, clip)
    for around in _windows(clip, frames // 2):
        labels, _ = _detected(system, config, network, around)
        classes = vocabulary[labels.classes]
        kept = classes >= 0
        yield Labels(boxes=labels.boxes[kept], scores=labels.scores[kept], classes=classes[kept])


def row(model: str, data: str, found: DetectionScores) -> dict[str, str]:
    """One line of the table of scores; a score that the data do not have is empty.

    Args:
        model: Its name.
        data: Name of the data.
        found: From `score`.
    """
    scores = {name: "" if math.isnan(value) else f"{value:.4f}" for name, value in found.scores.items()}
    return {
        "model": model,
        "data": data,
        "images": str(found.images),
        "ms": f"{found.milliseconds:.1f}",
        **scores,
    }


def write(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Write lines of `row` as CSV.

    Args:
        rows: At least one.
        path: The file; it is replaced.

    Raises:
        OutputError: It cannot be written.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another file") from error


def _windows(clip: Clip, side: int) -> Iterator[list[Image]]:
    """Each frame in the middle of so many on each side."""
    window: deque[Image] = deque(maxlen=2 * side + 1)
    for frame in clip.frames():
        if not window:
            window.extend([frame.image] * side)
        window.append(frame.image)
        if len(window) == window.maxlen:
            yield list(window)
    for _ in range(side if window else 0):
        window.append(window[-1])
        if len(window) == window.maxlen:
            yield list(window)


@torch.inference_mode()
def _detected(
    system: System, config: Any, network: nn.Module, around: Sequence[Image]
) -> tuple[Labels, float]:
    """Detections in pixels of the frame in the middle, cut off at its edges, and the seconds that they took."""
    height, width = around[0].shape[:2]
    placement = canvas.top_left((height, width), (config.view.height, config.view.width))
    batch = torch.stack(
        [canvas.draw_top_left(image, placement.scale[0], placement.canvas) for image in around]
    ).to(next(network.parameters()).device)
    began = time.perf_counter()
    if len(around) > 1:
        assert system.detect_clip is not None, "the task is refused otherwise"
        found = system.detect_clip(network, batch, config)
    else:
        (found,) = system.detect(network, batch, config)
    boxes = found.boxes.cpu().double().numpy()  # waits for a GPU
    seconds = time.perf_counter() - began
    inside = np.clip(canvas.to_frame(boxes, placement), 0, [width, height, width, height])
    return Labels(
        boxes=inside,
        scores=found.scores.cpu().double().numpy(),
        classes=found.classes.cpu().numpy().astype(np.int64),
    ), seconds


def _truth(annotated: AnnotatedImage, classes: int) -> detection.Annotated:
    """The truth of an image; a region that is ignored for every class is a crowd of every class."""
    labels, regions, kinds = annotated.labels, annotated.ignored, annotated.ignored_classes
    if not len(kinds):
        kinds, regions = np.tile(np.arange(classes), len(regions)), np.repeat(regions, classes, axis=0)
    sides = labels.boxes[:, 2:] - labels.boxes[:, :2]
    areas = annotated.areas if len(annotated.areas) else sides.prod(axis=1)
    return detection.Annotated(
        boxes=np.concatenate([labels.boxes, regions]),
        classes=np.concatenate([labels.classes, kinds]),
        areas=np.concatenate([areas, np.zeros(len(regions))]),
        crowd=np.arange(len(areas) + len(regions)) >= len(areas),
    )
