"""Units of work in, their results on disk.

A unit's result depends on nothing but the unit. It is written when it is whole, so a run can be interrupted at any
time, and running the same command again does only what is missing.
"""

import hashlib
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unibench import models
from unibench.errors import (
    CardError,
    OutputError,
    TrackerError,
    UnibenchError,
    UnknownNameError,
    WeightsError,
)
from unibench.evaluation import heap
from unibench.evaluation.fingerprints import (
    digest,
    hash_labels,
    hash_truth,
    tracking_fingerprint,
    unit_key,
)
from unibench.evaluation.score_again import score_clip
from unibench.evaluation.units import Unit, by_model, share_a_clip
from unibench.features import batching
from unibench.features.cache import FeatureCache
from unibench.models import frozen
from unibench.records import Clip, Frame, LoadReport, Model, Truth
from unibench.results import store
from unibench.results.predictions import Predictions, Writer
from unibench.results.store import ClipResult
from unibench.tasks import registry

STOPPING = (WeightsError, CardError, UnknownNameError, OutputError)
"""Errors that stop the run: every other clip of the model would fail in the same way."""
_Hashed = tuple[Frame, str]


@dataclass(frozen=True)
class Done:
    """What became of one unit; what it computed is on disk."""

    unit: Unit
    seconds: float
    """0 where the results were there already."""
    error: str = ""
    """Why it failed; empty: it did not."""


@dataclass(frozen=True)
class Step:
    """How far a unit is."""

    unit: Unit
    frame: int
    """Frames that are labelled."""
    frames: int
    """All of its clip."""


OnStep = Callable[[Step], None]


def untold(step: Step) -> None:
    """Ignore how far a unit is."""


def execute(  # noqa: PLR0913 - each says one thing of a run
    units: Sequence[Unit],
    out: Path,
    weights_path: Path | None = None,
    *,
    device: str = "cpu",
    overwrite: bool = False,
    features: FeatureCache | None = None,
    keep_predictions: bool = True,
    on_step: OnStep = untold,
) -> Iterator[Done]:
    """Run units, clip by clip; a unit that fails does not stop the others.

    Args:
        units: Grouped by model: each is loaded once, and only if a unit needs it.
        out: Root folder of the results.
        weights_path: A weights file, or the folder that holds them.
        device: A torch device.
        overwrite: Compute again what is there.
        features: Where feature maps are kept; None: nowhere.
        keep_predictions: Whether what trackers say is stored beside the scores.
        on_step: Called after each frame of each unit.

    Yields:
        What became of each unit, when its results are on disk.

    Raises:
        UnibenchError: A model's weights are missing or do not fit, the device is not there, or results cannot be
            written; what was computed before is kept.
    """
    frozen.find_device(device)
    for group in by_model(units):
        model = models.open(group[0].card, weights_path, device, features)
        yield from run_model(
            group, model, out, overwrite=overwrite, keep_predictions=keep_predictions, on_step=on_step
        )


def run_model(
    units: Sequence[Unit],
    model: Model,
    out: Path,
    *,
    overwrite: bool = False,
    keep_predictions: bool = True,
    on_step: OnStep = untold,
) -> Iterator[Done]:
    """Run units of one model; one that fails does not stop the others.

    Units that differ in their protocol only are run together: their clip is decoded once, and the network is run once
    where all protocols show it the same pixels.

    Args:
        units: All of one model.
        model: Its network is built only if there is something to do.
        out: Root folder of the results.
        overwrite: Compute again what is there.
        keep_predictions: Whether what trackers say is stored beside the scores.
        on_step: Called after each frame of each unit.

    Yields:
        What became of each unit, when its results are on disk.

    Raises:
        UnibenchError: Every other clip would fail as well: the weights do not fit, results cannot be written.
    """
    loaded: LoadReport | None = None
    for group in share_a_clip(units):
        start = time.perf_counter()
        try:
            jobs = _jobs(group, out, overwrite=overwrite, keep=keep_predictions)
            ready = _share_passes(model, jobs) if any(job.fingerprints for job in jobs) else None
        except STOPPING:
            raise
        except Exception as error:  # noqa: BLE001 - a clip that fails in any way does not stop the others
            yield from (Done(unit, time.perf_counter() - start, _reason(error)) for unit in group)
            continue
        yield from (Done(job.unit, 0.0) for job in jobs if not job.fingerprints)
        if ready is not None:
            report = ready[0].loaded
            if report is not None and report != loaded:  # once, not for every clip
                store.write_loaded(out, *units[0].model, report)
                loaded = report
            yield from _run_together(
                [job for job in jobs if job.fingerprints], *ready, out, keep=keep_predictions, on_step=on_step
            )


def _reason(error: Exception) -> str:
    if isinstance(error, UnibenchError):
        return str(error)
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    where = f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last else "?"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())}"


@dataclass(frozen=True, eq=False)
class _Job:
    """What is to be done of one unit."""

    unit: Unit
    clip: Clip
    truth: Truth
    fingerprints: Mapping[str, str]
    """Layers whose results are missing -> the fingerprints that these will have."""


def _jobs(units: Sequence[Unit], out: Path, *, overwrite: bool, keep: bool) -> list[_Job]:
    """Find out what is missing of units on one clip."""
    first = units[0]
    clip, truth = registry.load_clip(first.task, first.root, first.clip, first.frames)
    jobs = []
    for unit in units:
        fingerprints = {layer: tracking_fingerprint(unit, layer, clip, truth) for layer in unit.layers}
        missing = {
            layer: one
            for layer, one in fingerprints.items()
            if overwrite or not _is_done(out, unit, layer, one, truth, keep=keep)
        }
        jobs.append(_Job(unit, clip, truth, missing))
    return jobs


def _share_passes(model: Model, jobs: Sequence[_Job]) -> tuple[Model, Callable[[], None]]:
    """The model as the jobs share it. Trackers whose network input depends on earlier frames look where their last
    frame has led them, each layer elsewhere: only equal inputs are shared.
    """
    layers = {layer for job in jobs for layer in job.fingerprints}
    return model.share_passes(sorted(layers) if model.runs_in_steps(jobs[0].unit.task) else [])


def _run_together(
    jobs: Sequence[_Job],
    model: Model,
    forget: Callable[[], None],
    out: Path,
    *,
    keep: bool,
    on_step: OnStep,
) -> Iterator[Done]:
    """Run units of one clip, in turns frame by frame, so that each frame is decoded and passed to the network once.

    Each gives what it gives alone; one that fails does not stop the others.
    """
    seconds = dict.fromkeys(range(len(jobs)), 0.0)
    depth = max(
        batching.PREFETCHED, model.batch
    )  # a whole batch, while the heads are busy with the one before
    with closing(batching.prefetch(_hashed(jobs[0].clip.frames()), depth)) as frames:
        branches = batching.tee(frames, len(jobs))
        turns = {
            number: _track(job, model, branches.pop(0), out, keep=keep) for number, job in enumerate(jobs)
        }
        for frame in itertools.count(1):
            if not turns:
                break
            forget()
            for number in list(turns):
                start = time.perf_counter()
                error = _take(turns[number])
                seconds[number] += time.perf_counter() - start
                if error is None:
                    on_step(Step(jobs[number].unit, frame, jobs[number].clip.length))
                else:
                    del turns[number]
                    yield Done(jobs[number].unit, seconds[number], error)


def _take(turn: Iterator[None]) -> str | None:
    """Go one frame further; None: there are more, "": the result is written, else why it failed."""
    try:
        next(turn)
    except StopIteration:
        return ""
    except STOPPING:
        raise
    except Exception as error:  # noqa: BLE001 - a unit that fails in any way does not stop the others
        return _reason(error)
    return None


def _track(job: _Job, model: Model, frames: Iterator[_Hashed], out: Path, *, keep: bool) -> Iterator[None]:
    """Track one clip frame by frame, score it, and write one result a layer."""
    unit, clip = job.unit, job.clip
    # a tracker in steps hands its head one frame after the other, and pulls those of a pass
    ahead = model.lookahead(unit.task) + (model.batch - 1 if model.runs_in_steps(unit.task) else 0)
    watch = _Watch(job, frames, ahead)
    track = model.bind(unit.task, list(job.fingerprints))
    with ExitStack() as stack:
        writers = {layer: stack.enter_context(closing(Writer())) for layer in job.fingerprints}
        for labels in track(replace(clip, frames=watch.frames)):
            watch.yielded += 1
            for layer, writer in writers.items():
                writer.append(labels[layer])
            if watch.yielded % heap.FRAMES == 0:
                heap.trim()
            yield
        if watch.yielded != clip.length:
            raise TrackerError(
                f"{unit.task.name}, clip {unit.clip!r}: labels of {watch.yielded} frames, expected {clip.length}"
            )
        data = digest(watch.data, hash_labels(*job.truth.labels))
        for layer, writer in writers.items():
            _score(job, layer, writer.finish(), data, "; ".join(filter(None, (model.caveat, model.warning()))),
                   out, keep=keep)  # fmt: skip


def _score(
    job: _Job, layer: str, predicted: Predictions, data: str, note: str, out: Path, *, keep: bool
) -> None:
    """Score what a layer has said of a clip, and write it. What is scored is read from the file that is kept."""
    scoring = job.unit.task.family.scoring
    result = ClipResult(
        key=unit_key(job.unit, layer),
        frames=job.clip.length,
        partial=job.unit.frames is not None,
        fingerprint=job.fingerprints[layer],
        data=data,
        tally=scoring.tally(job.truth, predicted),
        note=note,
        scoring=scoring.version,
        truth=hash_truth(job.truth),
        predictions=predicted.checksum if keep else "",
    )
    store.write_clip(out, result, predicted if keep else None)


def _hashed(frames: Iterable[Frame]) -> Iterator[_Hashed]:
    """Frames, each with the hash over all frames up to it."""
    found = hashlib.sha256()
    for frame in frames:
        found.update(np.ascontiguousarray(frame.image).data)
        found.update(hash_labels(frame.prompt, frame.detections).encode())
        yield frame, found.hexdigest()


class _Watch:
    """Counts the frames that a tracker pulls, so that online is enforced, and keeps the hash of what it has read."""

    def __init__(self, job: _Job, frames: Iterator[_Hashed], lookahead: int) -> None:
        self.job = job
        self.lookahead = lookahead
        self.source: Iterator[_Hashed] | None = frames
        self.yielded = 0
        self.data = ""

    def frames(self) -> Iterator[Frame]:
        clip, limit = self.job.clip, self.lookahead
        source, self.source = self.source, None
        for pulled, (frame, self.data) in enumerate(source or _hashed(clip.frames())):
            if pulled > self.yielded + limit:
                raise TrackerError(
                    f"clip {clip.name!r}: frame {pulled} was pulled before the labels of frame {self.yielded} "
                    f"were given, expected at most {limit} frames ahead; the protocol is online"
                )
            yield frame


def _is_done(out: Path, unit: Unit, layer: str, fingerprint: str, truth: Truth, *, keep: bool) -> bool:
    """Whether a layer's result is there; one of another scoring is scored again from its predictions."""
    scoring = unit.task.family.scoring
    try:
        stored = store.read_clip(out, unit_key(unit, layer))
        if stored is None or stored.fingerprint != fingerprint:
            return False
        if keep and stored.predictions and not store.predictions_file(out, stored).is_file():
            return False
        if (stored.scoring, stored.truth) != (scoring.version, hash_truth(truth)):
            if not stored.predictions:
                return False
            score_clip(out, stored, scoring, truth)
    except OutputError as error:
        logging.getLogger(__name__).warning("computed again: %s", error)
        return False
    return True
