"""Predictions that are stored are scored again: after the scoring has changed, without a network."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unibench.errors import DataError, OutputError
from unibench.evaluation.fingerprints import hash_truth
from unibench.evaluation.pool_clips import pooled_values
from unibench.records import Clip, Score, Tally, Truth
from unibench.results import predictions, store
from unibench.results.predictions import Predictions
from unibench.results.store import ClipResult, RunKey
from unibench.tasks import registry
from unibench.tasks.family import Scoring, Task


@dataclass(frozen=True)
class Scored:
    """A run whose predictions were scored again."""

    run: RunKey
    clips: int
    changed: int
    """Clips whose tally is another one now."""


def score_clip(out: Path, stored: ClipResult, scoring: Scoring, truth: Truth) -> ClipResult:
    """Score the stored predictions of a clip and write its result again.

    Args:
        out: Root folder of the results.
        stored: The clip's result so far.
        scoring: How predictions become scores.
        truth: Of as many frames as were tracked.

    Raises:
        OutputError: The predictions were not kept, or are damaged.
    """
    with predicted_of(out, stored) as predicted:
        tally = scoring.tally(truth, predicted)
    result = replace(stored, tally=tally, scoring=scoring.version, truth=hash_truth(truth))
    store.write_clip(out, result)
    return result


@contextmanager
def predicted_of(out: Path, stored: ClipResult) -> Iterator[Predictions]:
    """Read the stored predictions of a clip.

    Raises:
        OutputError: The predictions were not kept, or are damaged.
    """
    path = store.predictions_file(out, stored)
    if not stored.predictions:
        raise OutputError(
            f"{path.parent}: no predictions of clip {stored.key.clip!r}, which was run with --no-predictions; run it "
            "again with --overwrite always"
        )
    with predictions.opened(path, stored.predictions) as predicted:
        if len(predicted) != stored.frames:
            raise OutputError(
                f"{path}: labels of {len(predicted)} frames, expected {stored.frames}; run it again with --overwrite "
                "always"
            )
        yield predicted


def score_runs(out: Path, runs: Sequence[RunKey], data: Path | None) -> Iterator[Scored]:
    """Score stored predictions again, run by run, and pool them.

    Args:
        out: Root folder of the results.
        runs: Which of the pooled results there.
        data: Folder that holds the benchmarks' folders; rendered benchmarks need none.

    Raises:
        UnibenchError: Predictions are missing or damaged, or the data are not those of the run. What was scored
            before is kept.
    """
    stored = store.read_scores(out)
    for run in runs:
        scores = [score for score in stored if store.run_of(score) == run]
        yield _score_run(out, run, scores, data)


def _score_run(out: Path, run: RunKey, scores: Sequence[Score], data: Path | None) -> Scored:
    task = registry.find(run.task)
    scoring = task.family.scoring
    before = store.read_clips(out, run)
    after = [score_clip(out, one, scoring, load_clip(one, task, data)[1]) for one in before]
    written = store.read_clips(out, run)  # as a run pools them: of the files, whose keys are sorted
    values = pooled_values(scoring, [one.tally for one in written])
    store.write_result(
        out,
        [
            replace(
                scores[0],
                metric=metric,
                value=value,
                ci_low=low,
                ci_high=high,
                headline=metric == task.headline,
            )
            for metric, (value, low, high) in values.items()
        ],
        [one.key.clip for one in after],
    )
    store.write_run(out, run, {**store.read_run(out, run), "scoring": scoring.version})
    changed = sum(not _same(one.tally, other.tally) for one, other in zip(before, after, strict=True))
    return Scored(run, len(after), changed)


def _same(one: Tally, other: Tally) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name], equal_nan=True) for name in one
    )


def load_clip(stored: ClipResult, task: Task, data: Path | None) -> tuple[Clip, Truth]:
    """Read the clip that was tracked, without its frames, and the truth that it was scored against.

    Raises:
        DataError: It is not there, or its truth is another one than that of the run.
    """
    root, run = registry.folder(task, data), registry.under(task, stored.key.protocol)
    frames = stored.frames if stored.partial else None
    clip, truth = registry.load_plain(run, root, stored.key.clip, frames)
    if hash_truth(truth) != stored.truth:
        raise DataError(
            f"{root}: the truth of clip {stored.key.clip!r} is not that of the run; use the data that were run, or "
            "run them again"
        )
    return clip, truth
