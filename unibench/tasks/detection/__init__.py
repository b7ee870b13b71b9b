"""Object detection: every frame on its own or with its neighbours, scored as by COCO. Frozen models cannot do it."""

from unibench.metrics import detection
from unibench.tasks.family import Family, Protocol, Scoring, by_name


def _video(name: str, frames: int, which: str) -> Protocol:
    return Protocol(
        name,
        "1.0",
        f"joint trackers that look at clips: every frame with {which}",
        {"frames": frames},
        lookahead=frames // 2,
        kinds=("joint",),
        private=True,
    )


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
        ),
        _video("video", 3, "its neighbours, as in TrIVD's table 2"),
        _video("video7", 7, "three on each side, as in TrIVD's table 4"),
    ),
    scoring=Scoring(detection.tally, detection.pool, headline="AP", version="1", additive=False),
    known_answers="unibench.tasks.detection.known_answers:KNOWN_ANSWERS",
)
