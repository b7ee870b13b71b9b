"""Score what a trained tracker detects, picture by picture, as COCO does."""

import csv
import io
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from unibench.errors import DataError, OutputError, UnibenchError
from unibench.geometry import canvas as view
from unibench.joint import systems
from unibench.joint.data import registry
from unibench.joint.system import DetectionSet, Picture, System
from unibench.metrics import detection
from unibench.models import frozen, weights
from unibench.models.cards import Card
from unibench.records import Labels


@dataclass(frozen=True)
class Detected:
    """How well a data set's objects were found."""

    scores: Mapping[str, float]
    """`metrics.detection.ORDER`, as fractions."""
    images: int
    milliseconds: float
    """Median time of network and suppression for one image, without reading it."""


def detect(
    card: Card,
    data: DetectionSet,
    *,
    given: Path | None = None,
    device: str = "cpu",
    limit: int | None = None,
) -> Detected:
    """Run a trained tracker's detector over a data set and score it.

    Args:
        card: of kind `joint`.
        data: annotated images; classes that the tracker does not know are left out of the truth.
        given: a weights file, or the folder that holds it; None: only the card's own source.
        device: a torch device.
        limit: only so many images, the first ones.

    Raises:
        UnibenchError: the card is not of kind `joint`.
        DataError: the data set has no images, or no class that the tracker knows.
        WeightsError: the weights are missing or do not fit.
    """
    if card.kind != "joint":
        raise UnibenchError(
            f"model {card.name!r}: kind {card.kind!r}, expected 'joint'; frozen models detect nothing"
        )
    system, config, network = systems.build(card, weights.locate(card, given))
    return score(system, config, network.to(frozen.device(device)), data, limit=limit)


def score(
    system: System, config: Any, network: nn.Module, data: DetectionSet, *, limit: int | None = None
) -> Detected:
    """The same with a network that is there already.

    Args:
        system: whose network it is.
        config: of the system; `view` and `classes` are used here.
        network: in evaluation mode, on its device.
        data: as for `detect`.
        limit: as for `detect`.

    Raises:
        DataError: as for `detect`.
    """
    truth, found, times = [], [], []
    for picture in islice(registry.align(data, config.classes).pictures, limit):
        labels, seconds = _found(system, config, network, picture)
        truth.append(_annotated(picture, len(config.classes)))
        found.append(labels)
        times.append(seconds)
    if not times:
        raise DataError(f"data {data.name!r}: no images; name data that have some")
    return Detected(detection.score(truth, found), len(times), 1000 * statistics.median(times))


def row(model: str, data: str, found: Detected) -> dict[str, str]:
    """One line of the table of scores; a score that the data do not have is empty.

    Args:
        model: its name.
        data: the data set's name.
        found: from `detect`.
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
        rows: at least one.
        path: the file; it is replaced.

    Raises:
        OutputError: it cannot be written.
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


@torch.inference_mode()
def _found(system: System, config: Any, network: nn.Module, picture: Picture) -> tuple[Labels, float]:
    """Detections in pixels of the picture, cut off at its edges, and the seconds that they took."""
    image = picture.image()
    height, width = image.shape[:2]
    canvas, place = view.place(image, (config.view.height, config.view.width))
    device = next(network.parameters()).device
    batch = canvas[None].to(device)
    began = time.perf_counter()
    (found,) = system.detect(network, batch, config)
    boxes = found.boxes.cpu().double().numpy()  # waits for a GPU
    seconds = time.perf_counter() - began
    inside = np.clip(view.back(boxes, place), 0, [width, height, width, height])
    return Labels(
        boxes=inside,
        scores=found.scores.cpu().double().numpy(),
        classes=found.classes.cpu().numpy().astype(np.int64),
    ), seconds


def _annotated(picture: Picture, classes: int) -> detection.Annotated:
    """The truth of a picture; a region that is ignored whatever the class is a crowd of every class."""
    labels, regions, kinds = picture.labels, picture.ignored, picture.ignored_classes
    if not len(kinds):
        kinds, regions = np.tile(np.arange(classes), len(regions)), np.repeat(regions, classes, axis=0)
    sides = labels.boxes[:, 2:] - labels.boxes[:, :2]
    areas = picture.areas if len(picture.areas) else sides.prod(axis=1)
    return detection.Annotated(
        boxes=np.concatenate([labels.boxes, regions]),
        classes=np.concatenate([labels.classes, kinds]),
        areas=np.concatenate([areas, np.zeros(len(regions))]),
        crowd=np.arange(len(areas) + len(regions)) >= len(areas),
    )
