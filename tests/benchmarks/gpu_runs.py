"""Whole runs on a device beside their parts, and how far their precision and the device move a score."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.rendered import objects, people, target
from tests.benchmarks.sections import Cell, Row, peak, seconds
from unibench import models, plugins
from unibench.evaluation import run_clip
from unibench.evaluation.fingerprints import unit_key
from unibench.evaluation.units import Unit
from unibench.features import batching
from unibench.features.batching import Steps
from unibench.geometry import masks as rle
from unibench.models import cards, frozen
from unibench.models.cards import Card
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels, Model, Truth
from unibench.results import predictions, store
from unibench.tasks import registry
from unibench.tasks.family import Task, make_options
from unibench.tasks.sot.tracker import crop, window_cells

PARTS = ("decode", "input", "network", "head", "score")
COLUMNS = ("run", "frames a second", "ms a frame", *PARTS, "sum / run", "largest / run",
           "network busy", "peak, MiB")  # fmt: skip
NOTE = (
    "`run` of one clip, warm. Parts are measured one by one, ms a frame: decoding of JPEG files and the hash over "
    "their pixels, which a thread does beside the rest; the network's input made of a frame (of SOT within the head); "
    "passes of the network in the model's batches; the head on maps that lie on the device, masks encoded; scoring. "
    "Network busy: network / run."
)
PRECISION_COLUMNS = ("what", "score", "difference of score", "largest difference of a J",
                     "share of pixels or boxes that differ")  # fmt: skip
RENDER = {"vos": objects, "sot": target, "mot": people}
"""Family of tasks -> its clip."""
HELD = 8
"""Maps that a head is given in turn."""
WARM = 10
"""Frames of the run before the one that is timed."""


@dataclass(frozen=True)
class Run:
    """A clip, what is asked of it, and of which model."""

    task: str
    """As on the command line: `vos/davis2016`."""
    card: str
    dtype: str
    size: tuple[int, int]
    """Height and width of the frames."""
    frames: int

    @property
    def name(self) -> str:
        height, width = self.size
        return f"{self.task} {height}x{width}, {self.card}, {self.dtype}"


def card_of(name: str, dtype: str) -> tuple[Card, str]:
    """A card of random weights in a precision, and its layer."""
    if name == "random-vit-s16":  # the zoo's random ViT is the tiny one
        tiny = cards.find("random-vit-tiny")
        architecture = replace(tiny.architecture, name="vit_small_patch16_224", parameters=0)
        layers = {layer: replace(rule, channels=384) for layer, rule in tiny.layers.items()}
        card = replace(tiny, name=name, architecture=architecture, layers=layers)
    else:
        card = cards.find(name)
    layer = "layer3" if "layer3" in card.layers else card.default_layer
    return replace(card, architecture=replace(card.architecture, dtype=dtype)), layer


def rows(runs: Sequence[Run], device: str) -> list[Row]:
    """One row a run."""
    return [Row(run.name, lambda run=run: _measure(run, device)) for run in runs]  # type: ignore[misc]


def _measure(run: Run, device: str) -> Sequence[Cell]:
    card, layer = card_of(run.card, run.dtype)
    task, clip, truth = _task(run)
    unit = Unit(card, "benchmark", (layer,), task, Path(), "rendered", None)
    with TemporaryDirectory() as folder:
        model, out, took = models.open(card, None, device), Path(folder), list[float]()
        _run(replace(unit, frames=min(WARM, run.frames)), model, out)
        most = peak(lambda: took.append(seconds(lambda: _run(unit, model, out), device)), device)
        result = store.read_clip(out, unit_key(unit, layer))
        assert result is not None
        with predictions.opened(store.predictions_file(out, result), result.predictions) as said:
            score = seconds(lambda: task.family.scoring.tally(truth, said), device)
    parts = [
        _decode(clip, device),
        *_parts(clip, task, frozen.load(card, device=device), layer, device),
        score,
    ]
    whole, known = took[0], [one for one in parts if one is not None]
    each = [None if one is None else 1e3 * one / run.frames for one in parts]
    return [run.frames / whole, 1e3 * whole / run.frames, *each, sum(known) / whole, max(known) / whole,
            f"{(parts[2] or 0) / whole:.0%}", most]  # fmt: skip


def _task(run: Run) -> tuple[Task, Clip, Truth]:
    task = registry.find(run.task)
    clip, truth = RENDER[task.family.name](run.frames, run.size)
    benchmark = replace(task.benchmark, load=lambda root, name: (clip(), truth))
    return replace(task, benchmark=benchmark), clip(), truth


def _run(unit: Unit, model: Model, out: Path) -> None:
    for done in run_clip.run_model([unit], model, out, overwrite=True):
        if done.error:
            raise RuntimeError(done.error)


def _decode(clip: Clip, device: str) -> float:
    def hashed() -> Iterator[Frame]:
        found = hashlib.sha256()
        for frame in clip.frames():
            found.update(frame.image.data)
            yield frame

    return seconds(lambda: deque(batching.prefetch(hashed()), maxlen=0), device)


def _parts(clip: Clip, task: Task, model: FrozenModel, layer: str, device: str) -> list[float | None]:
    """Seconds of the network's input, of its passes, and of the head."""
    frames = list(clip.frames())
    tracker = plugins.resolve(task.family.tracker)
    options = make_options(plugins.resolve(task.family.options), task.protocol.knobs)
    if not isinstance(tracker, Steps):
        return [
            None,
            *_box_parts(tracker, replace(clip, frames=lambda: iter(frames)), model, layer, options, device),
        ]
    images: list[Any] = []
    prepared = seconds(
        lambda: images.extend(tracker.network_input(frame, model, [layer], options) for frame in frames),
        device,
    )
    held = batching.run_network(images[:HELD], model, [layer])

    def passes() -> None:
        for start in range(0, len(images), model.batch):
            batching.run_network(images[start : start + model.batch], model, [layer])

    def head() -> None:
        state = tracker.begin(clip, model, [layer], options)
        for frame in frames:
            state, _ = tracker.advance(state, frame, held[frame.index % len(held)])

    return [prepared, seconds(passes, device), seconds(head, device)]


def _box_parts(
    tracker: Callable[..., Iterator[dict[str, Labels]]],
    clip: Clip,
    model: FrozenModel,
    layer: str,
    options: Any,
    device: str,
) -> list[float]:
    """Seconds of passes on windows of frame 0, and of the rest with the maps that these give."""
    side = window_cells(options.crop_size, model.strides[layer]) * model.strides[layer]
    first = next(clip.frames())
    whole = np.array([[0.0, 0.0, first.image.shape[1], first.image.shape[0]]])
    calls: list[int] = []
    given: dict[int, Mapping[str, Tensor]] = {}

    def network(images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        calls.append(len(images))
        return dict(given[len(images)])

    with torch.inference_mode():
        windows = {
            count: crop(model.prepare(first.image), whole.repeat(count, axis=0), side)
            for count in (1, options.scales)
        }
        given |= {count: model.network(some, [layer]) for count, some in windows.items()}
    head = seconds(
        lambda: deque(tracker(clip, replace(model, network=network), [layer], options), maxlen=0), device
    )

    def passes() -> None:
        for count in calls:
            model.network(windows[count], [layer])

    return [seconds(passes, device), head]


def precision_rows(
    nets: Sequence[str], size: tuple[int, int], frames: int, short: int, mot: Run, device: str
) -> list[Row]:
    """Precisions of maps and of networks against float32, and the device against a CPU.

    Args:
        nets: Cards of random weights.
        size: Of the VOS clip.
        frames: Of the VOS clip.
        short: Frames of the VOS clip on the CPU.
        mot: What is compared with the CPU beside it.
        device: A torch device.
    """

    @cache
    def masks(net: str, dtype: str, cast: str, count: int, where: str) -> tuple[np.ndarray, np.ndarray]:
        return _masks(Run("vos/davis2016", net, dtype, size, count), cast, where)

    def compared(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> Sequence[Cell]:
        if one is other:
            return [float(one[1].mean()), None, None, None]
        (labels, j), (known, its) = one, other
        return [float(j.mean()), float(abs(j.mean() - its.mean())), float(abs(j - its).max()),
                float((labels != known).mean())]  # fmt: skip

    def half(net: str, dtype: str, cast: str) -> Row:
        what = f"head on {cast} maps" if dtype == "float32" else f"network in {dtype}"
        return Row(
            f"{what}, {net}",
            lambda: compared(
                masks(net, dtype, cast, frames, device), masks(net, "float32", "float32", frames, device)
            ),
        )

    def on_cpu(net: str) -> Row:
        sides = [(net, "float32", "float32", short, where) for where in (device, "cpu")]
        return Row(
            f"VOS on the device against the CPU, {net}", lambda: compared(*(masks(*side) for side in sides))
        )

    kinds = [("float32", "float32"), ("float32", "bfloat16"), ("float32", "float16"),
             ("bfloat16", "float32"), ("float16", "float32")]  # fmt: skip
    return [
        *(half(net, *kind) for net in nets for kind in kinds),
        on_cpu(nets[0]),
        Row(f"MOT on the device against the CPU, {mot.card}: IDF1", lambda: _identities(mot, device)),
    ]


def _track(run: Run, device: str, cast: str = "float32") -> tuple[list[Labels], Truth, Task]:
    card, layer = card_of(run.card, run.dtype)
    task, clip, truth = _task(run)
    model = frozen.load(card, device=device)

    def network(images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        maps = model.network(images, layers)
        return {name: one.to(getattr(torch, cast)) for name, one in maps.items()}

    options = make_options(plugins.resolve(task.family.options), task.protocol.knobs)
    tracker = plugins.resolve(task.family.tracker)
    said: Iterable[dict[str, Labels]] = tracker(clip, replace(model, network=network), [layer], options)
    return [labels[layer] for labels in said], truth, task


def _masks(run: Run, cast: str, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Masks (frame, object, height, width), without frame 0, and the J of each (frame, object)."""
    said, truth, _ = _track(run, device, cast)
    found, true = (
        np.stack([np.stack([rle.decode(mask) for mask in one.masks]) for one in labels[1:]])
        for labels in (said, truth.labels)
    )
    shared, either = ((found & true).sum(axis=(2, 3)), (found | true).sum(axis=(2, 3)))
    return found, np.where(either > 0, shared / np.maximum(either, 1), 1.0)


def _identities(run: Run, device: str) -> Sequence[Cell]:
    scores, said = [], []
    for where in (device, "cpu"):
        labels, truth, task = _track(run, where)
        scores.append(float(task.family.scoring.pool([task.family.scoring.tally(truth, labels)])["IDF1"]))
        said.append(
            [set(zip(one.ids.tolist(), map(tuple, one.boxes.tolist()), strict=True)) for one in labels]
        )
    differ = sum(len(one ^ other) for one, other in zip(*said, strict=True))
    either = sum(len(one | other) for one, other in zip(*said, strict=True))
    return [scores[0], abs(scores[0] - scores[1]), None, differ / max(either, 1)]
