"""One unit of work in, its results on disk; then clips are pooled into scores.

A unit's result depends on nothing but the unit. It is written when it is whole, so a run can be interrupted at any
time, and running the same command again does only what is missing.
"""

import hashlib
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unibench import feature_cache, models, passes, plan, protocols, scores, stats, tasks, weights
from unibench.cards import Card
from unibench.errors import CardError, OutputError, TrackerError, UnibenchError, WeightsError
from unibench.feature_cache import FeatureCache
from unibench.models import FrozenModel
from unibench.passes import Steps
from unibench.plan import Unit
from unibench.records import Clip, Frame, Labels, Score, Truth
from unibench.scores import ClipResult, UnitKey

PACKAGES = ("torch", "torchvision", "timm", "faiss-cpu", "numpy", "scipy", "trackeval", "motmetrics", "pycocotools",
            "scikit-image", "pillow", "unibench-tracking")  # fmt: skip


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
    models.device(device)
    hashes = fingerprints(units, given, features)
    for card, group in groupby(units, key=lambda unit: unit.card):
        load = loader(card, given, device, features)
        yield from attempt(list(group), load, hashes[card.name], out, always=always)


def loader(
    card: Card, given: Path | None, device: str, features: FeatureCache | None = None
) -> Callable[[], FrozenModel]:
    """Say how a model is got when it is needed, once.

    Args:
        card: The model.
        given: A weights file, or the folder that holds them.
        device: A torch device.
        features: Where feature maps are kept: the network is then built only if one is missing. None: it is run for
            every frame.
    """
    load = partial(models.load, card, given=given, place=device)
    if features is None:
        return cache(load)

    def describe() -> FrozenModel:
        fingerprint = models.fingerprint(card, weights.locate(card, given))
        return feature_cache.cached(models.defer(card, load, fingerprint, device), features)

    return cache(describe)


def attempt(
    units: Sequence[Unit],
    load: Callable[[], FrozenModel],
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
        features: Where feature maps are kept, rounded; the hashes say so.

    Raises:
        WeightsError: Weights are missing or have another sha256.
    """
    chosen = {unit.card.name: unit.card for unit in units}
    hashes = {name: models.fingerprint(card, weights.locate(card, given)) for name, card in chosen.items()}
    if features is None:
        return hashes
    return {name: feature_cache.fingerprint(model) for name, model in hashes.items()}


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
    clip, truth = tasks.load_clip(first.task, first.root, first.clip, first.frames)
    jobs = []
    for unit in units:
        prints = {layer: result_fingerprint(unit, fingerprint, layer, truth) for layer in unit.layers}
        missing = {
            layer: one for layer, one in prints.items() if always or not _is_done(out, unit, layer, one)
        }
        jobs.append(_Job(unit, clip, truth, missing))
    return jobs


def _run_together(jobs: Sequence[_Job], model: FrozenModel, out: Path) -> Iterator[Done]:
    """Run units of one clip, in turns frame by frame, so that its frames are decoded and shown to the network once.

    Each gives what it gives alone; one that fails does not stop the others.
    """
    steps = isinstance(
        jobs[0].unit.task.family.track, Steps
    )  # others look where their last frame has led them
    union = sorted({layer for job in jobs for layer in job.prints}) if steps else []
    model, forget = passes.share(model, union)
    seconds = dict.fromkeys(range(len(jobs)), 0.0)
    with closing(passes.ahead(_hashed(jobs[0].clip.frames()))) as frames:
        branches = passes.fan(frames, len(jobs))
        turns = {place: _track(job, model, branches.pop(0), out) for place, job in enumerate(jobs)}
        while turns:
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


def _track(job: _Job, model: FrozenModel, frames: Iterator[_Hashed], out: Path) -> Iterator[None]:
    """Track one clip frame by frame, score it, and write one file a layer."""
    unit, clip = job.unit, job.clip
    watch = _Watch(job, frames)
    predictions: dict[str, list[Labels]] = {layer: [] for layer in job.prints}
    track = tasks.bind_layers(unit.task, model, list(job.prints))
    for labels in track(replace(clip, frames=watch.frames)):
        watch.yielded += 1
        for layer, predicted in predictions.items():
            predicted.append(labels[layer])
        yield
    if watch.yielded != clip.length:
        raise TrackerError(
            f"{unit.task.name}, clip {unit.clip!r}: labels of {watch.yielded} frames, expected {clip.length}"
        )
    data = _digest(watch.data, _hash_labels(*job.truth.labels))
    for layer, fingerprint in job.prints.items():
        tally = unit.task.tally(job.truth, predictions[layer])
        partial = unit.frames is not None
        scores.write_clip(
            out, ClipResult(unit_key(unit, layer), clip.length, partial, fingerprint, data, tally)
        )


def _hashed(frames: Iterable[Frame]) -> Iterator[_Hashed]:
    """Frames, each with the hash of all that was given so far."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(np.ascontiguousarray(frame.image).data)
        digest.update(_hash_labels(frame.prompt, frame.detections).encode())
        yield frame, digest.hexdigest()


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
        limit = math.inf if isinstance(task.family.track, Steps) else task.protocol.lookahead
        source, self.source = self.source, None
        for pulled, (frame, self.data) in enumerate(source or _hashed(clip.frames())):
            if pulled > self.yielded + limit:
                raise TrackerError(
                    f"clip {clip.name!r}: frame {pulled} was pulled before the labels of frame {self.yielded} "
                    f"were given, expected at most {limit} frames ahead; the protocol is online"
                )
            yield frame


def unit_key(unit: Unit, layer: str) -> UnitKey:
    """Name what one layer of a unit gives, as the results on disk are named."""
    return UnitKey(unit.card.name, unit.task.name, protocols.label(unit.task.protocol), layer, unit.clip)


def _is_done(out: Path, unit: Unit, layer: str, fingerprint: str) -> bool:
    stored = scores.read_clip(out, unit_key(unit, layer))
    return stored is not None and stored.fingerprint == fingerprint


def result_fingerprint(unit: Unit, model: str, layer: str, truth: Truth) -> str:
    """Hash over everything that the result depends on and that is known before the frames are read.

    Args:
        unit: The clip and the task.
        model: Hash of the model (`fingerprints`).
        layer: The model's layer.
        truth: The clip's truth.
    """
    return _digest(
        model, layer, unit.task.name, protocols.fingerprint(unit.task.protocol), unit.clip, str(unit.frames),
        _hash_labels(*truth.labels, *truth.ignored), version("unibench-tracking"),
    )  # fmt: skip


def _hash_labels(*labels: Labels) -> str:
    digest = hashlib.sha256()
    for one in labels:
        for field in fields(Labels):
            value = getattr(one, field.name)
            if isinstance(value, np.ndarray):
                digest.update(repr(value.shape).encode())
                digest.update(value.tobytes())
            else:
                digest.update(repr([(rle["size"], rle["counts"]) for rle in value]).encode())
    return digest.hexdigest()


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def pool(
    units: Sequence[Unit], out: Path, hashes: Mapping[str, str], provenance: Mapping[str, Any]
) -> list[Score]:
    """Pool the clips on disk into scores, with their intervals, and write them: one result a model, task and layer.

    Args:
        units: Those of a run that did not fail.
        out: Root folder of the results.
        hashes: Model name -> hash (`fingerprints`).
        provenance: Goes into each `run.json`.
    """
    runs: dict[tuple[str, str, str, str], list[Unit]] = {}
    for unit in units:
        for layer in unit.layers:
            run = unit.card.name, unit.task.name, protocols.label(unit.task.protocol), layer
            runs.setdefault(run, []).append(unit)
    pooled: list[Score] = []
    for (name, _, _, layer), group in runs.items():
        made = _pool_clips(group, layer, out, hashes[name])
        first = made[0]
        scores.write_result(out, made)
        scores.write_run(
            out, model=name, task=first.task, protocol=first.protocol, layer=layer,
            provenance={**provenance, "protocol": protocols.describe(group[0].task.protocol),
                        "weights": first.weights_hash, "data": first.data_hash, "statistics": dict(stats.METHOD),
                        "dtype": group[0].card.architecture.dtype, "compiled": group[0].card.architecture.compiled},
        )  # fmt: skip
        pooled += made
    return pooled


def _pool_clips(units: Sequence[Unit], layer: str, out: Path, fingerprint: str) -> list[Score]:
    task = units[0].task
    results = [one for unit in units if (one := scores.read_clip(out, unit_key(unit, layer))) is not None]
    tallies = [one.tally for one in results]
    values, intervals = task.pool(tallies), stats.bootstrap(tallies, task.pool)
    everything = task.benchmark.names(units[0].root)
    return [
        Score(
            model=units[0].card.name,
            layer=layer,
            task=task.name,
            benchmark=task.name.partition("/")[2],
            protocol=protocols.label(task.protocol),
            protocol_version=task.protocol.version,
            detections=protocols.source_name(task.protocol),
            metric=metric,
            value=float(value),
            ci_low=interval.low if (interval := intervals[metric]) else math.nan,
            ci_high=interval.high if interval else math.nan,
            clips=len(results),
            frames=sum(one.frames for one in results),
            partial=len(results) < len(everything) or any(one.partial for one in results),
            headline=metric == task.family.scoring.headline,
            protocol_hash=protocols.fingerprint(task.protocol),
            weights_hash=fingerprint,
            data_hash=_digest(*(f"{one.key.clip} {one.data}" for one in results)),
        )
        for metric, value in values.items()
    ]


def provenance(command: Sequence[str], start: datetime, device: str) -> dict[str, Any]:
    """Collect how a result came about: command, versions, machine, times."""
    return {
        "command": list(command),
        "start": start.isoformat(timespec="seconds"),
        "end": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "git": _git_state(),
        "machine": {"system": platform.platform(), "processor": platform.processor(), "python": sys.version.split()[0],
                    "threads": torch.get_num_threads()},
        "packages": {name: _version(name) for name in PACKAGES},
    }  # fmt: skip


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return "not installed"


def _git_state() -> str:
    """The commit of this source tree, with `-dirty` where it was changed; empty outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
