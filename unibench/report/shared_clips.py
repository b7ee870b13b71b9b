"""A column whose rows were not scored on the same clips: its scores on those that all rows have."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unibench.errors import OutputError
from unibench.records import Score
from unibench.report import stored
from unibench.report.comparable import RERUN, RowNames
from unibench.results.store import ClipResult, RunKey, run_of
from unibench.stats.bootstrap import bootstrap
from unibench.tasks.registry import family_of


@dataclass(frozen=True)
class SharedClips:
    """Which clips the scores of a column are of, where its rows were not scored on the same ones."""

    names: tuple[str, ...]
    """Those that all rows have."""
    every: int
    """Number of clips that any row has."""
    missing: Mapping[tuple[str, str], tuple[str, ...]]
    """Name of the model, layer -> clips that other rows have and this one lacks; rows that lack none are not there."""


def differ(rows: Sequence[Score]) -> bool:
    """Whether the rows of a column were scored on other clips or frames."""
    return len({(row.data_hash, row.clips, row.frames, row.partial) for row in rows}) > 1


def pool(
    setting: str, rows: Sequence[Score], names: RowNames, out: Path
) -> tuple[list[Score], SharedClips | None]:
    """Pool the tallies of the clips that all rows of a column share.

    Args:
        setting: Task and protocol, for messages.
        rows: The scores of all models, layers and metrics, under one protocol.
        names: Name of the rows of every model.
        out: Root folder of the results.

    Returns:
        The scores on the shared clips, and which these are; the scores as they are and None where the clips of a row
        are not stored.

    Raises:
        OutputError: No clip is shared, or rows read other frames of one.
    """
    of_runs: dict[RunKey, list[Score]] = {}
    for row in rows:
        of_runs.setdefault(run_of(row), []).append(row)
    try:
        clips = {run: stored.clips(out, of_run[0]) for run, of_run in of_runs.items()}
    except OutputError:  # a score without clips
        return list(rows), None
    every = sorted({name for found in clips.values() for name in found})
    shared = [name for name in every if all(name in found for found in clips.values())]
    if not shared:
        raise OutputError(f"{setting}: no clip that all rows have, expected one or more; {RERUN}")
    titles = {run: (names[run.model, run.fingerprint], run.layer) for run in clips}
    _check_data(setting, shared, {"/".join(titles[run]): found for run, found in clips.items()})
    missing = {
        titles[run]: tuple(name for name in every if name not in found) for run, found in clips.items()
    }
    scores = [
        score
        for run, of_run in of_runs.items()
        for score in _pooled(of_run, [clips[run][name] for name in shared])
    ]
    return scores, SharedClips(
        tuple(shared), len(every), {row: lacks for row, lacks in missing.items() if lacks}
    )


def _pooled(rows: Sequence[Score], clips: Sequence[ClipResult]) -> list[Score]:
    """The scores of one run on some of its clips."""
    scoring, tallies = family_of(rows[0].task).scoring, [one.tally for one in clips]
    values, intervals = scoring.pool(tallies), bootstrap(tallies, scoring.pool, additive=scoring.additive)
    data = json.dumps([f"{one.key.clip} {one.data}" for one in clips]).encode()
    return [
        replace(
            row,
            value=float(values[row.metric]),
            ci_low=interval.low if (interval := intervals[row.metric]) else math.nan,
            ci_high=interval.high if interval else math.nan,
            clips=len(clips),
            frames=sum(one.frames for one in clips),
            partial=True,
            data_hash=hashlib.sha256(data).hexdigest()[:12],
        )
        for row in rows
    ]


def _check_data(setting: str, shared: Sequence[str], clips: Mapping[str, Mapping[str, ClipResult]]) -> None:
    first, *others = clips
    for other in others:
        for name in shared:
            here, there = clips[first][name], clips[other][name]
            if here.data != there.data:
                raise OutputError(
                    f"{setting}: clip {name!r} has data {here.data} of {here.frames} frames for {first} and "
                    f"{there.data} of {there.frames} for {other}, expected the same in one column; {RERUN}"
                )
