"""Object detection: every frame on its own, as COCO scores it. Frozen models have no head for it."""

from unibench.metrics import detection
from unibench.tasks.family import Family, Protocol, Scoring, by_name

FAMILY = Family(
    name="det",
    title="Detection",
    tracker="",
    options="",
    presets=by_name(
        Protocol(
            "coco",
            "1.0",
            "joint trackers: the detector finds the objects of every frame on its own",
            {},
            kinds=("joint",),
            private=True,
        )
    ),
    scoring=Scoring(detection.tally, detection.pool, headline="AP", version="1", additive=False),
    known_answers="unibench.tasks.detection.known_answers:KNOWN_ANSWERS",
)
