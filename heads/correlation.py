"""What a head brings that finds a target by correlation: `heads.dcf.HEAD`, `heads.xcorr.HEAD`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

State = Any
"""What the head knows of the target; each head has its own."""


@dataclass(frozen=True)
class CorrelationHead:
    """A head as plain functions. Maps are (channel, size, size) of a window around the target; `padding` says how much
    wider than the target it is: its sides are 1 + padding times the target's.
    """

    options: type
    """A frozen dataclass: the head's knobs."""
    fit: Callable[[Tensor, float, Any], State]
    """Map of frame 0's window, padding, options -> what the head knows of the target."""
    response: Callable[[State, Tensor, Any], Tensor]
    """State, maps (scale, channel, size, size), options -> (scale, places, places), higher is more alike."""
    displacement: Callable[[State, Tensor, Any], tuple[float, float]]
    """State, response (places, places), options -> shift of the target down and right, in cells of the window."""
    update: Callable[[State, Tensor, float, Any], State] | None = None
    """State, map of the window where the target was found, padding, options -> new state; None: never updated."""
