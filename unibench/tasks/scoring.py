"""How each family of tasks is scored. Loads no torch: boards and statistics pool tallies without any model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from unibench.metrics import mot, pck, posetrack, sot, unitrack_mot, vos
from unibench.metrics.counts import Number
from unibench.records import Labels, Tally, Truth


@dataclass(frozen=True)
class Scoring:
    """From predictions to scores: count each clip, add the counts, divide."""

    tally: Callable[[Truth, Sequence[Labels]], Tally]
    """Score one clip: what it adds."""
    pool: Callable[[Sequence[Tally]], Mapping[str, float]]
    """Add the tallies of clips and divide: metric -> value. Given arrays of numbers, all of these divide theirs one by
    one: what takes a thousand draws pools them at once."""
    headline: str
    """The metric that ranks models."""


def _tally_mot(truth: Truth, prediction: Sequence[Labels]) -> Tally:
    return {**mot.tally_boxes(truth, prediction), **unitrack_mot.tally(truth, prediction)}


def _pool_mot(tallies: Sequence[Mapping[str, Number]]) -> Mapping[str, Number]:
    return {**mot.pool(tallies), **unitrack_mot.pool(tallies)}


SCORING: dict[str, Scoring] = {
    "sot": Scoring(sot.tally, sot.pool, "AUC"),
    "vos": Scoring(vos.tally, vos.pool, "J-mean"),
    "mot": Scoring(_tally_mot, _pool_mot, "IDF1"),
    "mots": Scoring(mot.tally_masks, mot.pool_masks, "IDF1"),
    "posetrack": Scoring(posetrack.tally, posetrack.pool, "IDF1"),
    "pose": Scoring(pck.tally, pck.pool, "PCK@0.2"),
}
"""Family of tasks -> how it is scored."""
