"""The only place where reports read what runs have stored: scores, the clips that they are pooled from, protocols."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unibench.errors import OutputError
from unibench.records import Score
from unibench.results.store import ClipResult, RunKey, read_clips, read_run, read_scores, result_file, run_of
from unibench.tasks.registry import family_of


def scores(out: Path) -> list[Score]:
    """Read every score below a folder, and pool its clips again to see that they give it.

    Args:
        out: Root folder of the results.

    Returns:
        All scores, sorted by path. A result without any clip is not checked: boards say that it was not compared.

    Raises:
        OutputError: There are none, a file is damaged, or a result is not that of the clips beside it: it was edited,
            or clips were removed since.
        UnknownNameError: The plug-in that brings a family of tasks is not loaded.
    """
    found = read_scores(out)
    runs: dict[RunKey, list[Score]] = {}
    for score in found:
        runs.setdefault(run_of(score), []).append(score)
    for run, of_run in runs.items():
        _check(result_file(out, run), of_run, read_clips(out, run))
    return found


def clips(out: Path, score: Score) -> dict[str, ClipResult]:
    """Read the clips that a score was pooled from.

    Args:
        out: Root folder of the results.
        score: One score of the result.

    Returns:
        Name of the clip -> what it gave, sorted by name.

    Raises:
        OutputError: There are none.
    """
    found = read_clips(out, run_of(score))
    if not found:
        raise OutputError(
            f"{score.model}/{score.layer} {score.task}@{score.protocol}: a score without clips, expected both; run it "
            "again with --overwrite always"
        )
    return {one.key.clip: one for one in found}


def protocol(out: Path, score: Score) -> dict[str, Any]:
    """Read the protocol that a score was measured under, with every knob; empty where the run has not noted it."""
    run = read_run(out, run_of(score))
    noted = run.get("protocol")
    return noted if isinstance(noted, dict) else {}


def _check(path: Path, stored: Sequence[Score], of_clips: Sequence[ClipResult]) -> None:
    if not of_clips:
        return
    advice = "run it again with --overwrite always"
    for score in stored:
        here = len(of_clips), sum(one.frames for one in of_clips)
        if here != (score.clips, score.frames):
            raise OutputError(
                f"{path}: {score.clips} clips with {score.frames} frames, but {here[0]} with {here[1]} lie beside it; "
                f"{advice}"
            )
    values = family_of(stored[0].task).scoring.pool([one.tally for one in of_clips])
    _check_values(path, {score.metric: score.value for score in stored}, values, advice)


def _check_values(path: Path, stored: Mapping[str, float], pooled: Mapping[str, float], advice: str) -> None:
    for metric in dict.fromkeys([*stored, *pooled]):
        one, other = stored.get(metric), pooled.get(metric)
        if one is None or other is None:
            which = "is not stored" if one is None else "is stored, which its clips do not give"
            raise OutputError(f"{path}: {metric} {which}; {advice}")
        if not (
            math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12) or (math.isnan(one) and math.isnan(other))
        ):
            raise OutputError(
                f"{path}: {metric} is {one:.6g}, but the clips beside it give {other:.6g}; {advice}"
            )
