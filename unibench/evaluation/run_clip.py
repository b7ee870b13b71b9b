"""Units of work in, their results on disk.

A unit's result depends on nothing but the unit. It is written when it is whole, so a run can be interrupted at any
time, and running the same command again does only what is missing.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import groupby
from pathlib import Path

import numpy as np

from unibench.errors import CardError, OutputError, TrackerError, UnibenchError, WeightsError
from unibench.evaluation import units as plan
from unibench.evaluation.fingerprints import digest, hash_labels, result_fingerprint, unit_key
from unibench.evaluation.units import Unit
from unibench.features import batching
from unibench.features import cache as feature_cache
from unibench.features.cache import FeatureCache
from unibench.joint import systems
from unibench.models import frozen, weights
from unibench.models.cards import Card
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels, Truth
from unibench.results import store
from unibench.results.store import ClipResult
from unibench.tasks import registry
from unibench.tasks.registry import Model

HOPELESS = (WeightsError, CardError, OutputError)
"""Errors that no other clip would be spared."""
_Hashed = tuple[Frame, str]


@dataclass(frozen=True)
class Done:
    """What became of one unit; what it computed is on disk."""

    unit: Unit
    seconds: float
    """0 where the results were there already."""
    error: str = ""
    """Why it failed; empty: it did not."""


def execute(
    units: Sequence[Unit],
    out: Path,
    given: Path | None = None,
    *,
    device: str = "cpu",
    always: bool = False,
    features: FeatureCache | None = None,
) -> Iterator[Done]:
    """Run units, clip by clip; a unit that fails does not stop the others.

    Args:
        units: Grouped by model: each is loaded once, and only if a unit needs it.
        out: Root folder of the results.
        given: A weights file, or the folder that holds them.
        device: A torch device.
        always: Compute again what is there.
        features: Where feature maps are kept; see `loader`.

    Yields:
        What became of each unit, when its results are on disk.

    Raises:
        UnibenchError: A model's weights are missing or do not fit, the device is not there, or results cannot be
            written; what was computed before is kept.
    """
    frozen.device(device)
    hashes = fingerprints(units, given, features)
    for card, group in groupby(units, key=lambda unit: unit.card):
        load = loader(card, given, device, features)
        yield from attempt(list(group), load, hashes[card.name], out, always=always)


def loader(
    card: Card, given: Path | None, device: str, features: FeatureCache | None = None
) -> Callable[[], Model]:
    """Say how a model is got when it is needed, once.

    Args:
        card: The model.
        given: A weights file, or the folder that holds them.
        device: A torch device.
        features: Where feature maps are kept: the network is then built only if one is missing. None: it is run for
            every frame. A joint tracker has no maps to keep.
    """
    if card.kind == "joint":
        return cache(partial(systems.load, card, given, device))
    load = partial(frozen.load, card, given=given, place=device)
    if features is None:
        return cache(load)

    def describe() -> FrozenModel:
        fingerprint = frozen.fingerprint(card, weights.locate(card, given))
        return feature_cache.cached(frozen.defer(card, load, fingerprint, device), features)

    return cache(describe)


def attempt(
    units: Sequence[Unit],
    load: Callable[[], Model],
    fingerprint: str,
    out: Path,
    *,
    always: bool = False,
) -> Iterator[Done]:
    """Run units of one model; one that fails does not stop the others.

    Those that differ in their protocol only are run together: their clip is decoded once, and shown to the network once
    where they show it the same.

    Args:
        units: All of one model.
        load: Gives the model; called only if there is something to do.
        fingerprint: Hash of the model.
        out: Root folder of the results.
        always: Compute again what is there.

    Yields:
        What became of each unit, when its results are on disk.

    Raises:
        UnibenchError: No other clip would fare better: the model's weights do not fit, results cannot be written.
    """
    for group in plan.together(units):
        start = time.perf_counter()
        try:
            jobs = _jobs(group, fingerprint, out, always=always)
            model = load() if any(job.prints for job in jobs) else None
        except HOPELESS:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a clip does, the others go on
            yield from (Done(unit, time.perf_counter() - start, _reason(error)) for unit in group)
            continue
        yield from (Done(job.unit, 0.0) for job in jobs if not job.prints)
        if model is not None:
            yield from _run_together([job for job in jobs if job.prints], model, out)


def fingerprints(
    units: Sequence[Unit], given: Path | None, features: FeatureCache | None = None
) -> dict[str, str]:
    """Find the weights of every model, before any work is done: name -> hash of the model.

    Args:
        units: What is asked for.
        given: A weights file, or the folder that holds them.
        features: Where feature maps are kept, rounded; the hashes of frozen models say so.

    Raises:
        WeightsError: Weights are missing or have another sha256.
    """
    chosen = {unit.card.name: unit.card for unit in units}
    hashes = {
        name: (systems if card.kind == "joint" else frozen).fingerprint(card, weights.locate(card, given))
        for name, card in chosen.items()
    }
    rounded = [name for name, card in chosen.items() if features is not None and card.kind == "frozen"]
    return hashes | {name: feature_cache.fingerprint(hashes[name]) for name in rounded}


def _reason(error: Exception) -> str:
    if isinstance(error, UnibenchError):
        return str(error)
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else "?"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())}"


@dataclass(frozen=True, eq=False)
class _Job:
    """What is to be done of one unit."""

    unit: Unit
    clip: Clip
    truth: Truth
    prints: Mapping[str, str]
    """Layers whose results are missing -> the fingerprints that these will have."""


def _jobs(units: Sequence[Unit], fingerprint: str, out: Path, *, always: bool) -> list[_Job]:
    """Find out what is missing of units on one clip."""
    first = units[0]
    clip, truth = registry.load_clip(first.task, first.root, first.clip, first.frames)
    jobs = []
    for unit in units:
        prints = {layer: result_fingerprint(unit, fingerprint, layer, truth) for layer in unit.layers}
        missing = {
            layer: one for layer, one in prints.items() if always or not _is_done(out, unit, layer, one)
        }
        jobs.append(_Job(unit, clip, truth, missing))
    return jobs


def _run_together(jobs: Sequence[_Job], model: Model, out: Path) -> Iterator[Done]:
    """Run units of one clip, in turns frame by frame, so that its frames are decoded and shown to the network once.

    Each gives what it gives alone; one that fails does not stop the others.
    """
    forget: Callable[[], None] | None = None
    if isinstance(model, FrozenModel):
        # Trackers that are no steps look where their last frame has led them, each layer elsewhere.
        union = sorted({layer for job in jobs for layer in job.prints}) if jobs[0].unit.task.in_steps else []
        model, forget = batching.share(model, union)
    seconds = dict.fromkeys(range(len(jobs)), 0.0)
    with closing(batching.ahead(_hashed(jobs[0].clip.frames()))) as frames:
        branches = batching.fan(frames, len(jobs))
        turns = {place: _track(job, model, branches.pop(0), out) for place, job in enumerate(jobs)}
        while turns:
            if forget:
                forget()
            for place in list(turns):
                start = time.perf_counter()
                error = _take(turns[place])
                seconds[place] += time.perf_counter() - start
                if error is not None:
                    del turns[place]
                    yield Done(jobs[place].unit, seconds[place], error)


def _take(turn: Iterator[None]) -> str | None:
    """Go one frame further; None: there are more, "": the result is written, else why it failed."""
    try:
        next(turn)
    except StopIteration:
        return ""
    except HOPELESS:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a unit does, the others go on
        return _reason(error)
    return None


def _track(job: _Job, model: Model, frames: Iterator[_Hashed], out: Path) -> Iterator[None]:
    """Track one clip frame by frame, score it, and write one file a layer."""
    unit, clip = job.unit, job.clip
    watch = _Watch(job, frames)
    predictions: dict[str, list[Labels]] = {layer: [] for layer in job.prints}
    track = registry.bind_layers(unit.task, model, list(job.prints))
    for labels in track(replace(clip, frames=watch.frames)):
        watch.yielded += 1
        for layer, predicted in predictions.items():
            predicted.append(labels[layer])
        yield
    if watch.yielded != clip.length:
        raise TrackerError(
            f"{unit.task.name}, clip {unit.clip!r}: labels of {watch.yielded} frames, expected {clip.length}"
        )
    data = digest(watch.data, hash_labels(*job.truth.labels))
    for layer, fingerprint in job.prints.items():
        tally = unit.task.tally(job.truth, predictions[layer])
        partial = unit.frames is not None
        store.write_clip(
            out, ClipResult(unit_key(unit, layer), clip.length, partial, fingerprint, data, tally)
        )


def _hashed(frames: Iterable[Frame]) -> Iterator[_Hashed]:
    """Frames, each with the hash of all that was given so far."""
    found = hashlib.sha256()
    for frame in frames:
        found.update(np.ascontiguousarray(frame.image).data)
        found.update(hash_labels(frame.prompt, frame.detections).encode())
        yield frame, found.hexdigest()


class _Watch:
    """Counts the frames that a tracker pulls, so that online is enforced, and keeps the hash of what it was given."""

    def __init__(self, job: _Job, frames: Iterator[_Hashed]) -> None:
        self.job = job
        self.source: Iterator[_Hashed] | None = frames
        self.yielded = 0
        self.data = ""

    def frames(self) -> Iterator[Frame]:
        clip, task = self.job.clip, self.job.unit.task
        # Steps hand their head one frame after the other, however many they pull.
        limit = math.inf if task.in_steps else task.protocol.lookahead
        source, self.source = self.source, None
        for pulled, (frame, self.data) in enumerate(source or _hashed(clip.frames())):
            if pulled > self.yielded + limit:
                raise TrackerError(
                    f"clip {clip.name!r}: frame {pulled} was pulled before the labels of frame {self.yielded} "
                    f"were given, expected at most {limit} frames ahead; the protocol is online"
                )
            yield frame


def _is_done(out: Path, unit: Unit, layer: str, fingerprint: str) -> bool:
    stored = store.read_clip(out, unit_key(unit, layer))
    return stored is not None and stored.fingerprint == fingerprint
