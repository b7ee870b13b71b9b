"""Clips on disk are pooled into scores, with their intervals and with what it takes to know where they came from."""

import math
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from unibench.evaluation.fingerprints import digest, unit_key
from unibench.evaluation.units import Unit
from unibench.records import Score
from unibench.results import store
from unibench.stats import tests
from unibench.tasks import protocols

PACKAGES = ("torch", "torchvision", "timm", "faiss-cpu", "numpy", "scipy", "trackeval", "motmetrics", "pycocotools",
            "scikit-image", "pillow", "unibench-tracking")  # fmt: skip


def pool(
    units: Sequence[Unit], out: Path, hashes: Mapping[str, str], provenance: Mapping[str, Any]
) -> list[Score]:
    """Pool the clips on disk into scores, with their intervals, and write them: one result a model, task and layer.

    Args:
        units: Those of a run that did not fail.
        out: Root folder of the results.
        hashes: Model name -> hash (`run.fingerprints`).
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
        store.write_result(out, made)
        store.write_run(
            out, model=name, task=first.task, protocol=first.protocol, layer=layer,
            provenance={**provenance, "protocol": protocols.describe(group[0].task.protocol),
                        "weights": first.weights_hash, "data": first.data_hash, "statistics": dict(tests.METHOD),
                        "dtype": group[0].card.architecture.dtype, "compiled": group[0].card.architecture.compiled},
        )  # fmt: skip
        pooled += made
    return pooled


def _pool_clips(units: Sequence[Unit], layer: str, out: Path, fingerprint: str) -> list[Score]:
    task = units[0].task
    results = [one for unit in units if (one := store.read_clip(out, unit_key(unit, layer))) is not None]
    tallies = [one.tally for one in results]
    values, intervals = task.pool(tallies), tests.bootstrap(tallies, task.pool)
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
            data_hash=digest(*(f"{one.key.clip} {one.data}" for one in results)),
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
