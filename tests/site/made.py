"""Results made without a network: the truth of rendered clips, spoilt by a known amount."""

import hashlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np

from unibench.evaluation.fingerprints import digest, hash_truth
from unibench.evaluation.pool_clips import pool_run
from unibench.records import Labels
from unibench.results import store
from unibench.results.predictions import Writer
from unibench.results.store import ClipResult, RunKey, UnitKey
from unibench.tasks import protocols, registry

COMMAND = ["/somewhere/bin/unibench", "run", "-m", "a & b", "-o", "out"]


def spoil(labels: Labels, shift: float, swap: int) -> Labels:
    """Move boxes, masks and joints by pixels, and rename the identities."""
    joints = labels.keypoints.copy()
    joints[..., :2] += shift
    return replace(labels, boxes=labels.boxes + shift, keypoints=joints, ids=labels.ids + swap)


def store_run(
    out: Path, model: str, spec: str, shift: float = 0.0, *, swap_at: int = 0, layer: str = "layer",
    frames: int | None = None, keep: bool = True, end: str = "2026-03-04T05:06:07+00:00",
) -> None:  # fmt: skip
    """Store a run whose predictions are the truth, off by some pixels; ids change in the frame `swap_at`."""
    task = registry.find(spec)
    names = task.benchmark.names(Path())
    weights = hashlib.sha256(model.encode()).hexdigest()[:12]
    key = RunKey(model, weights, task.name, protocols.label(task.protocol), layer)
    results = []
    for name in names:
        clip, truth = registry.load_clip(task, Path(), name, frames)
        with closing(Writer()) as writer:
            for index, labels in enumerate(truth.labels):
                writer.append(spoil(labels, shift, 100 if swap_at and index >= swap_at else 0))
            predicted = writer.finish()
            result = ClipResult(
                key=UnitKey(key.model, key.fingerprint, key.task, key.protocol, key.layer, name),
                frames=clip.length,
                partial=frames is not None,
                fingerprint=predicted.checksum,
                data=digest(name),
                tally=task.family.scoring.tally(truth, predicted),
                scoring=task.family.scoring.version,
                truth=hash_truth(truth),
                predictions=predicted.checksum if keep else "",
            )
            store.write_clip(out, result, predicted if keep else None)
        results.append(result)
    store.write_result(out, pool_run(task, names, key, results), names)
    store.write_run(out, key, {"command": COMMAND, "end": end, "protocol": protocols.describe(task.protocol)})


def store_board(out: Path, models: int, clips: int) -> None:
    """Store a large board of VOS without predictions."""
    task, rng = registry.find("vos/synthetic-easy"), np.random.default_rng(0)
    names = [f"clip-{number:02d}" for number in range(clips)]
    for model in range(models):
        key = RunKey(f"model-{model:03d}", f"{model:012x}", task.name, "unitrack", "layer")
        results = []
        for name in names:
            values = {
                f"{letter}-{what}": 2 * rng.random()
                for letter in "JF"
                for what in ("mean", "recall", "decay")
            }
            results.append(
                ClipResult(
                    UnitKey(key.model, key.fingerprint, key.task, key.protocol, key.layer, name), 40, False, "f", name,
                    {**values, "objects": 2.0},
                )
            )  # fmt: skip
            store.write_clip(out, results[-1])
        store.write_result(out, pool_run(task, names, key, results), names)
