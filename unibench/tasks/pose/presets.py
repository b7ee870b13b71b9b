"""Presets of pose propagation."""

from unibench.tasks.family import Protocol, by_name
from unibench.tasks.propagation_presets import PROPAGATION

PRESETS = by_name(
    Protocol(
        "unitrack",
        "1.0",
        "UniTrack's 2021 code, as CRW has it: 320 x 320 pixels",
        {"input_size": (320, 320), "propagation": PROPAGATION},
    ),
)
