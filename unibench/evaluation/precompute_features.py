"""Fill a feature cache before the runs that use it; its size is known before it starts.

What a network is shown for VOS, pose and association does not depend on what a tracker says: it can be computed
before.
Windows of SOT follow the target: a run keeps them in the cache, but nothing can be built for it.
"""

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from unibench import plugins
from unibench.errors import OutputError
from unibench.evaluation.units import Unit, by_model
from unibench.features.batching import Steps, passes
from unibench.features.cache import FeatureCache, cached
from unibench.features.cache_folder import holdings, human
from unibench.models import frozen
from unibench.models.cards import Layer
from unibench.models.frozen import FrozenModel
from unibench.models.windows import span
from unibench.records import Clip
from unibench.tasks import registry
from unibench.tasks.family import Task, make_options


@dataclass(frozen=True)
class Need:
    """What the maps of one layer of one model will take."""

    model: str
    fingerprint: str
    layer: str
    clips: int
    frames: int
    bytes: int
    """Upper bound: a frame without detections has no map."""


@dataclass(frozen=True)
class Built:
    """What became of one unit."""

    unit: Unit
    frames: int
    """How many the network was shown, now or before."""
    seconds: float


def can_build(task: Task) -> bool:
    """Whether what a network is shown depends on no tracker."""
    return bool(task.family.tracker) and isinstance(plugins.resolve(task.family.tracker), Steps)


def needs(units: Sequence[Unit], weights_path: Path | None = None, device: str = "cpu") -> list[Need]:
    """Say how large what `build` writes will be; one frame of each clip is decoded, no network is built or run.

    Args:
        units: Grouped by model, of tasks that can be built. Protocols that show a network the same are counted once.
        weights_path: A weights file, or the folder that holds them.
        device: A torch device.

    Returns:
        One for each model and layer.
    """
    found: dict[tuple[str, str, str], dict[str, tuple[int, int]]] = {}
    for model, group in _models(units, weights_path, device):
        for unit in group:
            clip, _ = registry.load_clip(unit.task, unit.root, unit.clip, unit.frames)
            image = next((one for one in _network_inputs(unit, model) if one is not None), None)
            if image is None:
                continue
            content = f"{unit.clip} {clip.length} {image.shape} {hashlib.sha256(image.tobytes()).hexdigest()}"
            for layer in unit.layers:
                size = clip.length * map_bytes(unit.card.layers[layer], *image.shape[:2])
                found.setdefault((model.name, model.fingerprint, layer), {})[content] = clip.length, size
    return [
        Need(
            *kind,
            len(clips),
            sum(frames for frames, _ in clips.values()),
            sum(size for _, size in clips.values()),
        )
        for kind, clips in found.items()
    ]


def map_bytes(layer: Layer, height: int, width: int) -> int:
    """Bytes of one float16 map: 2 x channels x cells.

    Args:
        layer: Of a card.
        height: Pixels that the network is shown.
        width: Likewise.
    """
    return 2 * layer.channels * ceil(height / layer.stride) * ceil(width / layer.stride)


def require_room(cache: FeatureCache, needs: Sequence[Need]) -> None:
    """Demand that everything fits; maps of the same models and layers that are there may be the same maps.

    Raises:
        OutputError: The budget or the disk is too small.
    """
    asked = {(need.model, need.fingerprint, need.layer) for need in needs}
    wanted = sum(need.bytes for need in needs)
    same = other = 0
    for one in holdings(cache.folder):
        if (one.model, one.fingerprint, one.layer) in asked:
            same += one.bytes
        else:
            other += one.bytes
    advice = "build less (--layers, --frames), or make room: unibench cache prune"
    if other + max(same, wanted) > cache.budget:
        raise OutputError(
            f"{cache.folder}: {human(wanted)} to build beside {human(other)} of other models or layers, expected at "
            f"most the budget of {human(cache.budget)}; raise --budget, {advice}"
        )
    free = shutil.disk_usage(cache.folder).free
    if wanted - same > free:
        raise OutputError(
            f"{cache.folder}: {human(wanted)} to build, {human(same)} of it there, expected at most the "
            f"{human(free)} that are free on the disk; {advice}"
        )


def build(
    units: Sequence[Unit], cache: FeatureCache, weights_path: Path | None = None, device: str = "cpu"
) -> Iterator[Built]:
    """Run networks on what trackers will show them, and keep the maps.

    Args:
        units: Grouped by model, of tasks that can be built.
        cache: Gets the maps; those that are there are not computed again.
        weights_path: A weights file, or the folder that holds them.
        device: A torch device.

    Yields:
        What became of each unit.

    Raises:
        OutputError: The budget is used up or the disk is full; what was built is kept.
        UnibenchError: Weights or data are missing or damaged.
    """
    for uncached, group in _models(units, weights_path, device):
        model = cached(uncached, cache)
        for unit in group:
            start, shown = time.perf_counter(), 0
            steps, clip, options = _of(unit)
            seen = replace(model, span=span(unit.card.window, unit.task.protocol.windowing))
            for _, maps in passes(steps, clip.frames(), seen, unit.layers, options):
                shown += bool(maps)
                if cache.full:
                    raise OutputError(
                        f"{cache.folder}: full before clip {unit.clip!r} was built; what was is kept"
                    )
            yield Built(unit, shown, time.perf_counter() - start)


def _models(
    units: Sequence[Unit], weights_path: Path | None, device: str
) -> Iterator[tuple[FrozenModel, list[Unit]]]:
    """Each model, to be built when it is first run, and its units."""
    for group in by_model(units):
        card = group[0].card
        load = partial(frozen.load, card, weights_path=weights_path, device=device)
        yield frozen.defer(card, load, group[0].fingerprint, device), group


def _of(unit: Unit) -> tuple[Steps[Any, Any], Clip, Any]:
    """The tracker of a unit, its clip and its options."""
    steps: Steps[Any, Any] = plugins.resolve(unit.task.family.tracker)
    clip, _ = registry.load_clip(unit.task, unit.root, unit.clip, unit.frames)
    return steps, clip, make_options(plugins.resolve(unit.task.family.options), unit.task.protocol.knobs)


def _network_inputs(unit: Unit, model: FrozenModel) -> Iterator[np.ndarray | None]:
    """What the network is to be shown of each frame."""
    steps, clip, options = _of(unit)
    return (steps.network_input(frame, model, unit.layers, options) for frame in clip.frames())
