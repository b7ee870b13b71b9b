"""Named presets of every knob that changes a score. A preset never changes silently: its version and hash are in each row.

A knob that is not named here has the default of the head's options, which is UniTrack's; the hash covers what is
resolved. `X.Y`: X when scores stop being comparable, Y when only the interface changes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unibench.errors import UnknownNameError


@dataclass(frozen=True)
class Protocol:
    """How a task is run: what is given, and every knob of the head."""

    name: str
    version: str
    source: str
    """Where the protocol comes from."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Options of the task's tracker."""
    lookahead: int = 0
    """Frames that a tracker may see ahead of the one it labels; 0: online."""
    detections: str = ""
    """Where given observations come from; empty: the task gives none."""
