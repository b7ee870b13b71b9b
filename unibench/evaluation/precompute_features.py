"""Fill a feature cache before the runs that use it; its size is known before it starts.

What a network is shown for VOS, pose and association does not depend on what a tracker says, so it can be shown ahead.
Windows of SOT follow the target: a run keeps them in the cache, but nothing can be built for it.
"""

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from math import ceil
from pathlib import Path

import numpy as np

from unibench.errors import OutputError
from unibench.evaluation.units import Unit
from unibench.features.batching import Steps, see
from unibench.features.cache import FeatureCache, cached
from unibench.features.cache_folder import holdings, human
from unibench.models import frozen, weights
from unibench.models.cards import Layer
from unibench.models.frozen import FrozenModel
from unibench.tasks import registry
from unibench.tasks.registry import Task


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
    """Whether what a network is shown is known ahead."""
    return task.in_steps


def needs(units: Sequence[Unit], given: Path | None = None, place: str = "cpu") -> list[Need]:
    """Foretell what `build` will write; one frame of each clip is decoded, no network is built or run.

    Args:
        units: Grouped by model, of tasks that can be built. Protocols that show a network the same are counted once.
        given: A weights file, or the folder that holds them.
        place: A torch device.

    Returns:
        One for each model and layer.
    """
    found: dict[tuple[str, str, str], dict[str, tuple[int, int]]] = {}
    for model, group in _models(units, given, place):
        for unit in group:
            clip, _ = registry.load_clip(unit.task, unit.root, unit.clip, unit.frames)
            image = next((one for one in _looks(unit, model) if one is not None), None)
            if image is None:
                continue
            sight = f"{unit.clip} {clip.length} {image.shape} {hashlib.sha256(image.tobytes()).hexdigest()}"
            for layer in unit.layers:
                size = clip.length * map_bytes(unit.card.layers[layer], *image.shape[:2])
                found.setdefault((model.name, model.fingerprint, layer), {})[sight] = clip.length, size
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
    units: Sequence[Unit], cache: FeatureCache, given: Path | None = None, place: str = "cpu"
) -> Iterator[Built]:
    """Show networks what trackers will show them, and keep the maps.

    Args:
        units: Grouped by model, of tasks that can be built.
        cache: Gets the maps; those that are there are not computed again.
        given: A weights file, or the folder that holds them.
        place: A torch device.

    Yields:
        What became of each unit.

    Raises:
        OutputError: The budget is used up or the disk is full; what was built is kept.
        UnibenchError: Weights or data are missing or damaged.
    """
    for model, group in _models(units, given, place):
        sight = cached(model, cache)
        for unit in group:
            start, looks, shown = time.perf_counter(), _looks(unit, sight), 0
            while images := list(islice(looks, sight.batch)):
                see(images, sight, unit.layers)
                shown += sum(image is not None for image in images)
                if cache.full:
                    raise OutputError(
                        f"{cache.folder}: full before clip {unit.clip!r} was built; what was is kept"
                    )
            yield Built(unit, shown, time.perf_counter() - start)


def _models(
    units: Sequence[Unit], given: Path | None, place: str
) -> Iterator[tuple[FrozenModel, Iterator[Unit]]]:
    """Each model, to be built when it is first run, and its units."""
    for card, group in groupby(units, key=lambda unit: unit.card):
        fingerprint = frozen.fingerprint(card, weights.locate(card, given))
        load = partial(frozen.load, card, given=given, place=place)
        yield frozen.defer(card, load, fingerprint, place), group


def _looks(unit: Unit, model: FrozenModel) -> Iterator[np.ndarray | None]:
    """What the network is to see of each frame."""
    steps = unit.task.family.track
    assert isinstance(steps, Steps)
    clip, _ = registry.load_clip(unit.task, unit.root, unit.clip, unit.frames)
    options = registry.options(unit.task.family.options, unit.task.protocol.knobs)
    return (steps.look(frame, model, unit.layers, options) for frame in clip.frames())
