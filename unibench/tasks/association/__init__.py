"""Multi-object tracking, MOTS and pose tracking: detections of every frame are linked to tracks."""

from collections.abc import Mapping, Sequence

from unibench.metrics import mot, posetrack, unitrack_mot
from unibench.metrics.counts import Number
from unibench.records import Labels, Tally, Truth
from unibench.tasks.association import presets
from unibench.tasks.family import Family, Scoring

_TRACKER = "unibench.tasks.association.tracker:track"
_OPTIONS = "unibench.tasks.association.tracker:AssociationOptions"


def _tally_boxes(truth: Truth, prediction: Sequence[Labels]) -> Tally:
    return {**mot.tally_boxes(truth, prediction), **unitrack_mot.tally(truth, prediction)}


def _pool_boxes(tallies: Sequence[Mapping[str, Number]]) -> Mapping[str, Number]:
    return {**mot.pool(tallies), **unitrack_mot.pool(tallies)}


MOT = Family(
    name="mot",
    title="MOT",
    tracker=_TRACKER,
    options=_OPTIONS,
    presets=presets.MOT,
    scoring=Scoring(_tally_boxes, _pool_boxes, headline="IDF1", version="1"),
    known_answers="unibench.tasks.association.known_answers:MOT",
)
MOTS = Family(
    name="mots",
    title="MOTS",
    tracker=_TRACKER,
    options=_OPTIONS,
    presets=presets.MOTS,
    scoring=Scoring(mot.tally_masks, mot.pool_masks, headline="IDF1", version="1"),
    known_answers="unibench.tasks.association.known_answers:MOTS",
)
POSETRACK = Family(
    name="posetrack",
    title="PoseTrack",
    tracker=_TRACKER,
    options=_OPTIONS,
    presets=presets.POSETRACK,
    scoring=Scoring(posetrack.tally, posetrack.pool, headline="IDF1", version="1"),
    known_answers="unibench.tasks.association.known_answers:POSETRACK",
)
