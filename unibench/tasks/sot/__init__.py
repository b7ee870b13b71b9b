"""Single object tracking: the box of frame 0 is followed."""

from unibench.metrics import sot
from unibench.tasks.family import Family, Scoring
from unibench.tasks.sot.presets import PRESETS

FAMILY = Family(
    name="sot",
    title="SOT",
    tracker="unibench.tasks.sot.tracker:track",
    options="unibench.tasks.sot.tracker:BoxTrackerOptions",
    presets=PRESETS,
    scoring=Scoring(sot.tally, sot.pool, headline="AUC", version="3"),
    known_answers="unibench.tasks.sot.known_answers:KNOWN_ANSWERS",
)
