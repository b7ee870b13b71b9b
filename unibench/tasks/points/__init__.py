"""Point tracking: points are given once, and found in all other frames."""

from unibench.metrics import points
from unibench.tasks.family import Family, Scoring
from unibench.tasks.points.presets import PRESETS

FAMILY = Family(
    name="points",
    title="Points",
    tracker="unibench.tasks.points.tracker:track",
    options="unibench.tasks.points.tracker:PointTrackerOptions",
    presets=PRESETS,
    scoring=Scoring(points.tally, points.pool, headline="AJ", version="1"),
    known_answers="unibench.tasks.points.known_answers:KNOWN_ANSWERS",
)
