"""Whole runs against what cannot be saved: the network's passes, and the heads on maps that are there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heads import mask, rsm
from heads.associate import CascadeState, step
from tests.benchmarks.calibration import standard
from tests.benchmarks.cases import Case
from tests.benchmarks.rendered import objects, people
from tests.evaluation import sweeps
from unibench import models, plugins
from unibench.evaluation import run_clip
from unibench.evaluation.units import Unit
from unibench.features import batching
from unibench.models import cards, frozen
from unibench.models.cards import Card
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Truth
from unibench.tasks import registry
from unibench.tasks.association import observations
from unibench.tasks.association.observations import Grid
from unibench.tasks.family import make_options

LAYER = "layer3"
FRESH_MS, RESUMED_MS = 44.5, 8.5
"""Targets a clip, half of what it was once; with one model, on the usual machine."""


def cases(*, quick: bool = False) -> list[Case]:
    """VOS at 480p and MOT on a canvas of 1088x608, each with a ResNet-50; small ones with a ResNet-18."""
    frames, vos, mot = (3, (192, 320), (216, 384)) if quick else (6, (480, 854), (1080, 1920))
    card = cards.find("random-resnet18" if quick else "random-resnet50")
    model = cache(partial(frozen.load, card))
    note = "passes of the network + heads on given maps"
    sizes = [f"{height}x{width}" for height, width in (vos, mot)]
    one, several = ["vos/davis2016"], [f"vos/davis2016{protocol}" for protocol in ("", "@crw")]
    return [
        Case(f"VOS run {sizes[0]}", *_vos(one, card, model, frames, vos), 1.25, note),
        Case(f"VOS run of two protocols {sizes[0]}", *_vos(several, card, model, frames, vos), 1.25, f"{note}; 1 pass"),
        Case(f"MOT run {sizes[1]}", *_mot(card, model, frames, mot), 1.25, note),
        *_short_clips(10 if quick else 100),
    ]  # fmt: skip


def _vos(
    names: Sequence[str], card: Card, model: Callable[[], FrozenModel], frames: int, size: tuple[int, int]
) -> tuple[Callable[[], object], Callable[[], object]]:
    clip, truth = objects(frames, size)
    units = _units(names, card, clip, truth)
    options = [_options(unit) for unit in units]

    @cache
    def labels() -> Tensor:
        features = batching.run_network([next(clip().frames()).image], model(), [LAYER])[0][LAYER]
        cells = torch.nn.functional.one_hot(torch.arange(features[0].numel()) % 3, 3).T.float()
        return cells.reshape(3, *features.shape[1:])

    def reference() -> None:
        states: list[mask.MaskState | None] = [None for _ in options]
        for frame in _frames(clip()):
            features = batching.run_network([frame.image], model(), [LAYER])[0][LAYER]
            for place, one in enumerate(options):
                state = states[place]
                states[place] = (
                    mask.step(state, features, one.propagation)
                    if state
                    else mask.begin(features, labels(), one.propagation)
                )

    return _running(units), reference


def _mot(
    card: Card, model: Callable[[], FrozenModel], frames: int, size: tuple[int, int]
) -> tuple[Callable[[], object], Callable[[], object]]:
    clip, truth = people(frames, size)
    (unit,) = _units(["mot/mot17"], card, clip, truth)
    options = _options(unit)

    @cache
    def canvases() -> list[np.ndarray]:
        return [observations.network_input(frame, model(), [LAYER], options) for frame in _frames(clip())]

    def reference() -> None:
        state = CascadeState()
        for frame, canvas in zip(_frames(clip()), canvases(), strict=True):
            maps = batching.run_network([canvas], model(), [LAYER])[0]
            grids = {LAYER: Grid(model().strides[LAYER], model().offsets[LAYER])}
            observed = observations.observe(frame, maps, grids, options)[LAYER]
            similarity = partial(rsm.similarity, variant=options.rsm)
            state, _ = step(state, observed.observations, similarity, options.cascade, 30.0)

    return _running([unit]), reference


def _short_clips(count: int) -> list[Case]:
    """Clips of 5 tiny frames and a model that costs little: what is left is what a clip costs beside both."""
    folder = TemporaryDirectory()
    units = sweeps.units(sweeps.davis(Path(folder.name, "data"), count, 5), ("lab-colour",))
    model = models.open(units[0].card)

    def go(*, overwrite: bool) -> None:
        for done in run_clip.run_model(units, model, Path(folder.name, "out"), overwrite=overwrite):
            assert not done.error, done.error

    go(overwrite=True)
    return [
        Case(f"{count} clips of 5 frames, {name}", partial(go, overwrite=fresh), standard(milliseconds * count), 1.0,
             f"work that takes as long as {milliseconds:g} ms a clip on the usual machine")
        for name, fresh, milliseconds in (("fresh", True, FRESH_MS), ("resumed", False, RESUMED_MS))
    ]  # fmt: skip


def _options(unit: Unit) -> Any:
    return make_options(plugins.resolve(unit.task.family.options), unit.task.protocol.knobs)


def _running(units: Sequence[Unit]) -> Callable[[], object]:
    out, model = TemporaryDirectory(), models.open(units[0].card)  # loads its network when it is first run

    def do() -> None:
        for done in run_clip.run_model(units, model, Path(out.name), overwrite=True):
            assert not done.error, done.error

    return do


def _units(names: Sequence[str], card: Card, clip: Callable[[], Clip], truth: Truth) -> list[Unit]:
    found = [registry.find(name) for name in names]
    benchmark = replace(found[0].benchmark, load=lambda root, name: (clip(), truth))
    return [
        Unit(card, "benchmark", (LAYER,), replace(task, benchmark=benchmark), Path(), "rendered", None)
        for task in found
    ]


@cache
def _frames(clip: Clip) -> list[Frame]:
    """Decoded once, whatever is timed."""
    return list(clip.frames())
