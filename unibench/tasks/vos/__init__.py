"""Video object segmentation: the masks of frame 0 are propagated."""

from unibench.metrics import vos
from unibench.tasks.family import Family, Scoring
from unibench.tasks.vos.presets import PRESETS

FAMILY = Family(
    name="vos",
    title="VOS",
    tracker="unibench.tasks.vos.tracker:track",
    options="unibench.tasks.vos.tracker:MaskTrackerOptions",
    presets=PRESETS,
    scoring=Scoring(vos.tally, vos.pool, headline="J-mean", version="1"),
    known_answers="unibench.tasks.vos.known_answers:KNOWN_ANSWERS",
)
