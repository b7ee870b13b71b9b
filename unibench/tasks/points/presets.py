"""Presets of point tracking: three heads in TAP-Vid's two query modes. A preset holds the knobs of its own head."""

from unibench.tasks.family import WHOLE_CLIP, Knobs, Protocol, by_name
from unibench.tasks.propagation_presets import PROPAGATION

_CYCLE: Knobs = {"min_similarity": None, "max_cycle": 16.0}
_SIMILARITY: Knobs = {"min_similarity": 0.6, "max_cycle": None}
_NEAREST: Knobs = {"head": "nearest", "head_options": {}, **_CYCLE}
_SOFT_ARGMAX: Knobs = {
    "head": "soft-argmax",
    "head_options": {"radius": 5, "temperature": 0.05},
    **_SIMILARITY,
}
_BELIEF: Knobs = {
    "head": "belief",
    "head_options": {
        "radius": 2,
        "sigma": 0.5,
        "propagation": {**PROPAGATION, "radius": 5, "context": 1, "pad_start": False},
    },
    **_SIMILARITY,
}


def _presets(name: str, source: str, knobs: Knobs) -> tuple[Protocol, Protocol]:
    """One in either query mode."""
    source = f"256 x 256 pixels (TAP-Vid); {source}"
    first, strided = (
        {"input_size": (256, 256), "query_mode": mode, **knobs} for mode in ("first", "strided")
    )
    again = f"{source}; asked for every 5 frames, followed both ways"
    return (
        Protocol(name, "1.0", source, first),
        Protocol(f"{name}-strided", "1.0", again, strided, lookahead=WHOLE_CLIP),
    )


PRESETS = by_name(
    *_presets(
        "nearest",
        "the most alike cell of the frame (zero-shot study of Aydemir et al., ECCVW 2024), moved by a parabola; "
        "visible where the way back ends within 16 pixels, AJ's largest threshold; no knob depends on the scale of "
        "similarities",
        _NEAREST,
    ),
    *_presets(
        "soft-argmax",
        "the mean within 5 cells of it, as TAP-Net (TAP-Vid, NeurIPS 2022) and DINO-Tracker (ECCV 2024: 35 pixels at "
        "stride 7) decode; UniTrack's temperature; visible from cosine 0.6 on (DINO-Tracker's code)",
        _SOFT_ARGMAX,
    ),
    *_presets(
        "belief",
        "belief maps propagated from the query's frame and the last one, as CRW (NeurIPS 2020) propagates joints; 5 "
        "cells of 256 pixels are about its 12 of 480p; visible from cosine 0.6 on",
        _BELIEF,
    ),
)
