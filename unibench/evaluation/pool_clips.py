"""Clips on disk are pooled into scores, with their intervals and with what it takes to know where they came from."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unibench.evaluation.fingerprints import digest, unit_key
from unibench.evaluation.units import Unit
from unibench.models.windows import span
from unibench.records import Score, Tally
from unibench.results import store
from unibench.results.store import ClipResult, RunKey
from unibench.stats import bootstrap
from unibench.tasks import protocols
from unibench.tasks.family import Scoring, Task


def pool(units: Sequence[Unit], out: Path, provenance: Mapping[str, Any]) -> list[Score]:
    """Pool the clips on disk into scores, with their intervals, and write them: one result a model, task and layer.

    Args:
        units: Those of a run that did not fail.
        out: Root folder of the results.
        provenance: Goes into each `run.json`.
    """
    runs: dict[RunKey, list[Unit]] = {}
    for unit in units:
        for layer in unit.layers:
            runs.setdefault(unit_key(unit, layer).run, []).append(unit)
    pooled: list[Score] = []
    for key, group in runs.items():
        results = [
            one for unit in group if (one := store.read_clip(out, unit_key(unit, key.layer))) is not None
        ]
        task = group[0].task
        made = pool_run(task, task.benchmark.names(group[0].root), key, results)
        store.write_result(out, made, [one.key.clip for one in results])
        store.write_run(out, key, _record(group[0], made[0], provenance))
        pooled += made
    return pooled


def _record(unit: Unit, first: Score, provenance: Mapping[str, Any]) -> dict[str, Any]:
    seen = span(unit.card.window, unit.task.protocol.windowing)
    return {
        **provenance,
        "protocol": protocols.describe(unit.task.protocol),
        "lookahead": unit.task.protocol.lookahead + (seen.lookahead if seen else 0),
        "scoring": unit.task.family.scoring.version,
        "weights": first.weights_hash,
        "data": first.data_hash,
        "statistics": dict(bootstrap.METHOD),
        "dtype": unit.card.architecture.dtype,
        "compiled": unit.card.architecture.compiled,
    }


def pool_run(task: Task, clips: Sequence[str], key: RunKey, results: Sequence[ClipResult]) -> list[Score]:
    """Pool the results of one run into its scores, with their intervals.

    Args:
        task: What was run, under its protocol.
        clips: All clips of the benchmark; where there are more than results, the scores are partial.
        key: Names the run.
        results: Of its clips.
    """
    values = pooled_values(task.family.scoring, [one.tally for one in results])
    return [
        Score(
            model=key.model,
            layer=key.layer,
            task=key.task,
            benchmark=key.task.partition("/")[2],
            protocol=key.protocol,
            protocol_version=task.protocol.version,
            detections=protocols.source_name(task.protocol),
            metric=metric,
            value=value,
            ci_low=low,
            ci_high=high,
            clips=len(results),
            frames=sum(one.frames for one in results),
            partial=len(results) < len(clips) or any(one.partial for one in results),
            headline=metric == task.headline,
            protocol_hash=protocols.fingerprint(task.protocol),
            weights_hash=key.fingerprint,
            data_hash=digest(*(f"{one.key.clip} {one.data}" for one in results)),
            note=_note(results),
        )
        for metric, (value, low, high) in values.items()
    ]


def pooled_values(scoring: Scoring, tallies: Sequence[Tally]) -> dict[str, tuple[float, float, float]]:
    """Pool the tallies of clips: metric -> value, lower and upper end of its 95 % interval (NaN: too few clips)."""
    intervals = bootstrap.bootstrap(tallies, scoring.pool, additive=scoring.additive)
    return {
        metric: (
            float(value),
            interval.low if (interval := intervals[metric]) else math.nan,
            interval.high if interval else math.nan,
        )
        for metric, value in scoring.pool(tallies).items()
    }


def _note(results: Sequence[ClipResult]) -> str:
    """What is said of the clips; of those that differ, the first and how many more there are."""
    notes = [one.note for one in results if one.note]
    if len(notes) == len(results) and len(set(notes)) == 1:
        return notes[0]
    if not notes:
        return ""
    first = next(one for one in results if one.note)
    return f"{first.note} (clip {first.key.clip}; {len(notes)} of {len(results)} clips have notes)"
