"""Presets of point tracking: three heads in TAP-Vid's two query modes. A preset holds the knobs of its own head."""

from unibench.tasks.family import Knobs, Protocol, by_name
from unibench.tasks.propagation_presets import PROPAGATION

_TAP: Knobs = {"input_size": (256, 256), "query_mode": "first", "min_similarity": 0.6, "max_cycle": None}
_SOFT: Knobs = {**_TAP, "head": "soft-argmax", "head_options": {"radius": 5, "temperature": 0.05}}
_NEAREST: Knobs = {**_TAP, "head": "nearest", "head_options": {}}
_BELIEF: Knobs = {
    **_TAP,
    "head": "belief",
    "head_options": {
        "radius": 2,
        "sigma": 0.5,
        "propagation": {**PROPAGATION, "radius": 5, "context": 1, "pad_start": False},
    },
}
_SOURCES = {
    "soft-argmax": "the decoding of TAP-Net (TAP-Vid, section 5: within 5 cells) and of DINO-Tracker (Tumanyan et al., "
    "ECCV 2024: 35 pixels at stride 7), here of frozen features; UniTrack's temperature",
    "nearest": "the most alike cell, as in the zero-shot study of Aydemir et al. (ECCVW 2024), moved by a parabola",
    "belief": "belief maps propagated as CRW propagates joints; 5 cells of 256 pixels are about CRW's 12 of 480p",
}
_VISIBLE = "; visible from cosine 0.6 on (DINO-Tracker's code)"
_BOTH = "; asked for every 5 frames and followed both ways"


def _protocols(name: str, knobs: Knobs) -> tuple[Protocol, Protocol]:
    source = f"256 x 256 pixels (TAP-Vid): {_SOURCES[name]}{_VISIBLE}"
    strided = {**knobs, "query_mode": "strided"}
    return (
        Protocol(name, "1.0", source, knobs),
        Protocol(f"{name}-strided", "1.0", source + _BOTH, strided, lookahead=None),
    )


_CYCLE: Knobs = {**_SOFT, "min_similarity": None, "max_cycle": 2.0}

PRESETS = by_name(
    *_protocols("soft-argmax", _SOFT),
    Protocol(
        "cycle",
        "1.0",
        "soft-argmax; visible where the way back ends within 2 cells of the query (forward-backward check)",
        _CYCLE,
    ),
    *_protocols("nearest", _NEAREST),
    *_protocols("belief", _BELIEF),
)
