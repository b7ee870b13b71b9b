"""The only place where reports read what runs have left beside a score: its clips, its protocol, its scoring."""

import math
from pathlib import Path
from typing import Any

from unibench.errors import OutputError
from unibench.records import Score
from unibench.results.store import ClipResult, read_clips, read_run, run_of
from unibench.tasks.registry import family_of


def clips(out: Path, score: Score) -> dict[str, ClipResult]:
    """Read the clips that a score was pooled from.

    Args:
        out: Root folder of the results.
        score: One score of the result.

    Returns:
        Name of the clip -> what it gave, sorted by name.

    Raises:
        OutputError: There are none, or those on disk do not give the score.
    """
    found = read_clips(out, run_of(score))
    where = f"{score.model}/{score.layer} {score.task}@{score.protocol}"
    if not found:
        raise OutputError(
            f"{where}: a score without clips, expected both; run it again with --overwrite always"
        )
    value = family_of(score.task).scoring.pool([one.tally for one in found])[score.metric]
    same = math.isclose(value, score.value, rel_tol=1e-9, abs_tol=1e-12) or math.isnan(value + score.value)
    if len(found) != score.clips or not same:
        raise OutputError(
            f"{where}: the {len(found)} clips on disk give {score.metric} {value:.6g}, the stored score is "
            f"{score.value:.6g} of {score.clips}; run it again, or delete clips that are no longer part of it"
        )
    return {one.key.clip: one for one in found}


def protocol(out: Path, score: Score) -> dict[str, Any]:
    """Read the protocol that a score was measured under, with every knob; empty where the run has not noted it."""
    run = read_run(out, run_of(score))
    noted = run.get("protocol")
    return noted if isinstance(noted, dict) else {}
