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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unibench import models, protocols, scores, stats, tasks, weights
from unibench.errors import CardError, OutputError, TrackerError, UnibenchError, WeightsError
from unibench.models import FrozenModel
from unibench.plan import Unit
from unibench.records import Clip, Frame, Labels, Score, Truth
from unibench.scores import ClipResult, UnitKey

PACKAGES = ("torch", "torchvision", "timm", "faiss-cpu", "numpy", "scipy", "trackeval", "motmetrics", "pycocotools",
            "scikit-image", "pillow", "unibench-tracking")  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What became of one unit; what it computed is on disk."""

    unit: Unit
    seconds: float
    """0 where the results were there already."""
    error: str = ""
    """Why it failed; empty: it did not."""


def execute(
    units: Sequence[Unit], out: Path, given: Path | None = None, *, device: str = "cpu", always: bool = False
) -> Iterator[Done]:
    """Run units one after another; a unit that fails does not stop the others.

    Args:
        units: Grouped by model: each is loaded once, and only if a unit needs it.
        out: Root folder of the results.
        given: A weights file, or the folder that holds them.
        device: A torch device.
        always: Compute again what is there.

    Yields:
        What became of each unit, when its results are on disk.

    Raises:
        UnibenchError: A model's weights are missing or do not fit, the device is not there, or results cannot be
            written; what was computed before is kept.
    """
    models.device(device)
    hashes = fingerprints(units, given)
    for card, group in groupby(units, key=lambda unit: unit.card):
        load = cache(partial(models.load, card, given=given, place=device))
        yield from attempt(list(group), load, hashes[card.name], out, always=always)


def attempt(
    units: Sequence[Unit],
    load: Callable[[], FrozenModel],
    fingerprint: str,
    out: Path,
    *,
    always: bool = False,
) -> Iterator[Done]:
    """Run units of one model; one that fails does not stop the others.

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
    for unit in units:
        start = time.perf_counter()
        try:
            worked = run_unit(unit, load, fingerprint, out, always=always)
        except (WeightsError, CardError, OutputError):
            raise  # no other clip would fare better
        except Exception as error:  # noqa: BLE001 - whatever a clip does, the others go on
            yield Done(unit, time.perf_counter() - start, _reason(error))
        else:
            yield Done(unit, time.perf_counter() - start if worked else 0.0)


def fingerprints(units: Sequence[Unit], given: Path | None) -> dict[str, str]:
    """Find the weights of every model, before any work is done: name -> hash of the model.

    Raises:
        WeightsError: Weights are missing or have another sha256.
    """
    chosen = {unit.card.name: unit.card for unit in units}
    return {name: models.fingerprint(card, weights.locate(card, given)) for name, card in chosen.items()}


def _reason(error: Exception) -> str:
    if isinstance(error, UnibenchError):
        return str(error)
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else "?"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())}"


def run_unit(
    unit: Unit, load: Callable[[], FrozenModel], fingerprint: str, out: Path, *, always: bool = False
) -> bool:
    """Track one clip with every layer that is missing, score it, and write one file a layer.

    Args:
        unit: The clip, the task and the layers.
        load: Gives the model; called only if there is something to do.
        fingerprint: Hash of the model.
        out: Root folder of the results.
        always: Compute again what is there.

    Returns:
        Whether there was anything to do.
    """
    clip, truth = tasks.load_clip(unit.task, unit.root, unit.clip, unit.frames)
    prints = {layer: result_fingerprint(unit, fingerprint, layer, truth) for layer in unit.layers}
    layers = [layer for layer in unit.layers if always or not _is_done(out, unit, layer, prints[layer])]
    if not layers:
        return False
    watch = _Watch(clip, unit.task.protocol.lookahead)
    track = tasks.bind_layers(unit.task, load(), layers)
    predictions: dict[str, list[Labels]] = {layer: [] for layer in layers}
    for labels in track(replace(clip, frames=watch.frames)):
        watch.yielded += 1
        for layer in layers:
            predictions[layer].append(labels[layer])
    if watch.yielded != clip.length:
        raise TrackerError(
            f"{unit.task.name}, clip {unit.clip!r}: labels of {watch.yielded} frames, expected {clip.length}"
        )
    data = _digest(watch.digest.hexdigest(), _hash_labels(*truth.labels))
    for layer in layers:
        tally = unit.task.tally(truth, predictions[layer])
        partial = unit.frames is not None
        scores.write_clip(
            out, ClipResult(unit_key(unit, layer), clip.length, partial, prints[layer], data, tally)
        )
    return True


class _Watch:
    """Counts the frames that a tracker pulls, so that online is enforced, and hashes what it is given."""

    def __init__(self, clip: Clip, lookahead: int) -> None:
        self.clip = clip
        self.lookahead = lookahead
        self.yielded = 0
        self.digest = hashlib.sha256()

    def frames(self) -> Iterator[Frame]:
        for pulled, frame in enumerate(self.clip.frames()):
            if pulled > self.yielded + self.lookahead:
                raise TrackerError(
                    f"clip {self.clip.name!r}: frame {pulled} was pulled before the labels of frame {self.yielded} "
                    f"were given, expected at most {self.lookahead} frames ahead; the protocol is online"
                )
            self.digest.update(frame.image.tobytes())
            self.digest.update(_hash_labels(frame.prompt, frame.detections).encode())
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
                        "weights": first.weights_hash, "data": first.data_hash, "statistics": dict(stats.METHOD)},
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
        "dtype": "float32",
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
