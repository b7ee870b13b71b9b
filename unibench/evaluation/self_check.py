"""Are the metrics what they should be? Predictions with known scores go through every task's scoring.

No model is run and no torch is loaded: the truth, nothing at all, or the truth under other identities stands for a
tracker (`tasks.known_answers`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unibench import plugins
from unibench.datasets import BENCHMARKS, Benchmark, truncate
from unibench.datasets.benchmark import folder, is_there
from unibench.errors import DataError, UnibenchError, UnknownNameError
from unibench.records import Tally, Truth
from unibench.tasks import registry
from unibench.tasks.family import Scoring
from unibench.tasks.known_answers import Answers, Case

TOLERANCE = 1e-9
"""Largest difference from a known value: rounding of float64 only."""


@dataclass(frozen=True)
class Outcome:
    """What the check of one task found."""

    task: str
    clips: int
    frames: int
    headline: str
    found: Mapping[str, float]
    """Case -> value of the headline metric."""
    compared: int
    """Number of values that were compared with a known one."""
    problems: tuple[str, ...]
    """One line each; none: everything is as it should be."""


def choose(names: Iterable[str], data: Path | None) -> list[tuple[Benchmark, Path]]:
    """Find the benchmarks to check and their folders.

    Args:
        names: Tasks, `vos/davis2016`; none: all that need no files, and all that are there.
        data: Folder that holds the benchmarks' folders, if there is one.

    Raises:
        UnknownNameError: There is no such task.
        DataError: The folder of a task that was named is missing, or there is no `data`.
    """
    asked = list(names)
    if unknown := [name for name in asked if name not in BENCHMARKS]:
        raise UnknownNameError("task", unknown[0], BENCHMARKS, "unibench tasks")
    if data is not None and not data.is_dir():
        raise DataError(f"{data}: no such folder, expected the benchmarks' folders in it; correct --data")
    if asked:
        return [(BENCHMARKS[name], folder(BENCHMARKS[name], data)) for name in asked]
    return [
        (benchmark, folder(benchmark, data))
        for benchmark in BENCHMARKS.values()
        if not benchmark.folder or (data is not None and is_there(benchmark, data))
    ]


def check(benchmark: Benchmark, root: Path, frames: int | None = None) -> Outcome:
    """Score predictions that have known scores on every clip of a benchmark, and compare.

    Args:
        benchmark: Whose clips are read.
        root: Its own folder.
        frames: Only the first so many frames of each clip; None: all.

    Returns:
        What was found; a clip that cannot be read is a problem like any other.
    """
    family = registry.family_of(benchmark.task)
    answers: Answers = plugins.resolve(family.known_answers)
    try:
        names = benchmark.names(root)
    except DataError as error:
        return _unchecked(benchmark, str(error))
    headline = benchmark.headline or family.scoring.headline
    problems: list[str] = []
    lengths: list[int] = []
    parts: dict[str, list[_Part]] = {case.name: [] for case in answers.cases}
    for name in names:
        try:
            clip, truth = benchmark.load(root, name)
        except DataError as error:
            problems.append(str(error))
            continue
        if frames is not None:
            clip, truth = truncate(clip, truth, frames)
        lengths.append(clip.length)
        for case in answers.cases:
            parts[case.name].append(_score(name, truth, case, answers, family.scoring))
    found, compared = {}, 0
    for case in answers.cases if lengths else ():
        values, known, wrong = _compare(family.scoring, case, parts[case.name])
        found[case.name] = values.get(headline, math.nan)
        compared += known
        problems += [f"{case.name}: {one}" for one in wrong]
    return Outcome(benchmark.task, len(lengths), sum(lengths), headline, found, compared, tuple(problems))


def _unchecked(benchmark: Benchmark, problem: str) -> Outcome:
    return Outcome(benchmark.task, 0, 0, "", {}, 0, (problem,))


@dataclass(frozen=True)
class _Part:
    """What one case gave on one clip."""

    counts: Tally
    tally: Tally
    problem: str = ""


def _score(name: str, truth: Truth, case: Case, answers: Answers, scoring: Scoring) -> _Part:
    part = case.part(truth)
    prediction = case.predict(part)
    try:
        tally = scoring.tally(part, prediction)
    except Exception as error:  # noqa: BLE001 - any error of a metric is reported as a problem
        return _Part({}, {}, f"clip {name!r}: {_reason(error)}")
    return _Part(answers.count(part, prediction), tally)


def _compare(
    scoring: Scoring, case: Case, parts: Sequence[_Part]
) -> tuple[Mapping[str, float], int, list[str]]:
    """The pooled scores, how many of them are known, and what is wrong with them."""
    if failed := [part.problem for part in parts if part.problem]:
        return {}, 0, failed
    try:
        found = scoring.pool([part.tally for part in parts])
        expected = case.expect(_sum(part.counts for part in parts))
    except Exception as error:  # noqa: BLE001 - any error of a metric is reported as a problem
        return {}, 0, [_reason(error)]
    wrong = [f"{name} is missing, expected {value}" for name, value in expected.items() if name not in found]
    wrong += [
        f"{name} has no known value; add it to the family's known answers"
        for name in found
        if name not in expected
    ]
    known = {name: value for name, value in expected.items() if value is not None and name in found}
    wrong += [
        f"{name} is {found[name]:.12g}, expected {value:.12g}"
        for name, value in known.items()
        if not math.isclose(found[name], value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    ]
    return found, len(known), wrong


def _sum(counts: Iterable[Tally]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for one in counts:
        for name, value in one.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, UnibenchError) else f"{type(error).__name__}: {text}"
