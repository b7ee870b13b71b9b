"""Pose propagation: the joints of frame 0 are propagated."""

from unibench.metrics import pck
from unibench.tasks.family import Family, Scoring
from unibench.tasks.pose.presets import PRESETS

FAMILY = Family(
    name="pose",
    title="Pose",
    tracker="unibench.tasks.pose.tracker:track",
    options="unibench.tasks.pose.tracker:PoseTrackerOptions",
    presets=PRESETS,
    scoring=Scoring(pck.tally, pck.pool, headline="PCK@0.2", version="1"),
    known_answers="unibench.tasks.pose.known_answers:KNOWN_ANSWERS",
)
