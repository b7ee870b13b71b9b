"""Knobs of label propagation that VOS and pose propagation share."""

from unibench.tasks.family import Knobs

PROPAGATION: Knobs = {
    "temperature": 0.05,
    "topk": 10,
    "radius": 12,
    "window": "circle",
    "context": 5,
    "keep_first": True,
    "pad_start": True,
    "window_first": False,
}
"""UniTrack's, which are CRW's with fewer frames of context."""
