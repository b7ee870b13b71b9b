"""Constant-velocity Kalman filter of boxes, as in DeepSORT, JDE and UniTrack.

Four numbers are filtered: cx, cy, w/h and h of a box, each with its velocity, one frame a step. Noise is
independent in the four, so they never mix: of the textbook's 8 x 8 covariance all but a 2 x 2 block for each is
zero, and only these are kept. Noise is proportional to the height of the box, so the unit of length is free
(pixels or feature cells). Every function works on one state or on many at once: the leading axes `*track` are
those of the state. All numbers are float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

POSITION_WEIGHT = 1 / 20
"""Standard deviation of a position, in heights."""
VELOCITY_WEIGHT = 1 / 160
"""Standard deviation of a velocity, in heights per frame."""
SMALLEST_HEIGHT = 1.0
"""A box is measured as at least this high, so that flat ones (a mask of one row) have a w/h and a covariance."""

_Noise = tuple[Float[np.ndarray, " 4"], Float[np.ndarray, " 4"]]
"""A standard deviation of cx, cy, w/h, h: its part per height of the box, and its fixed part."""


def _noise(weight: float, aspect: float) -> _Noise:
    return np.array([weight, weight, 0.0, weight]), np.array([0.0, 0.0, aspect, 0.0])


_PLACE, _SPEED = _noise(2 * POSITION_WEIGHT, 1e-2), _noise(10 * VELOCITY_WEIGHT, 1e-5)
"""Of a new track."""
_MOVE, _TURN = _noise(POSITION_WEIGHT, 1e-2), _noise(VELOCITY_WEIGHT, 1e-5)
"""What a step adds to position and velocity."""
_SIGHT = _noise(POSITION_WEIGHT, 1e-1)
"""Of a measurement."""


@dataclass(frozen=True, eq=False)
class State:
    """What the filter believes of one track, or of many. The last axis is cx, cy, w/h, h."""

    mean: Float[np.ndarray, "*track 2 4"]
    """Values, and their velocities per frame."""
    covariance: Float[np.ndarray, "*track 3 4"]
    """Variances of the values, their covariances with their velocities, variances of the velocities."""


def stack(states: Sequence[State]) -> State:
    """Put one or more states of single tracks together."""
    # On many small arrays `np.array` is several times as fast as `np.stack`.
    return State(np.array([state.mean for state in states]), np.array([state.covariance for state in states]))


def unstack(state: State) -> list[State]:
    """Take many states apart."""
    return list(map(State, state.mean, state.covariance))


def initiate(measurement: Float[np.ndarray, "*track 4"]) -> State:
    """Start tracks at rest: double the usual uncertainty of position, ten times that of velocity.

    Args:
        measurement: (*track, 4) cx, cy, w/h, h.
    """
    mean = np.zeros((*measurement.shape[:-1], 2, 4))
    mean[..., 0, :] = measurement
    covariance = np.zeros((*measurement.shape[:-1], 3, 4))
    covariance[..., 0, :] = _variance(mean, _PLACE)
    covariance[..., 2, :] = _variance(mean, _SPEED)
    return State(mean, covariance)


def predict(state: State, *, hold_height: bool | Bool[np.ndarray, "*track"] = False) -> State:
    """Move every state one frame ahead.

    Args:
        state: The states after the last frame.
        hold_height: True, or (*track) True, where the height's velocity is set to zero first. JDE does so for
            lost tracks, whose boxes would otherwise grow or shrink until they are found again.
    """
    mean, covariance = state.mean.copy(), state.covariance.copy()
    covariance[..., 0, :] += 2 * covariance[..., 1, :] + covariance[..., 2, :] + _variance(mean, _MOVE)
    covariance[..., 1, :] += covariance[..., 2, :]
    covariance[..., 2, :] += _variance(mean, _TURN)
    mean[..., 1, 3] = np.where(hold_height, 0.0, mean[..., 1, 3])
    mean[..., 0, :] += mean[..., 1, :]
    return State(mean, covariance)


def update(state: State, measurement: Float[np.ndarray, "*track 4"]) -> State:
    """Correct predicted states by one measurement each.

    Args:
        state: Predicted states.
        measurement: (*track, 4) cx, cy, w/h, h.
    """
    gain = state.covariance[..., :2, :] / _innovation(state)[..., None, :]
    residual = (measurement - state.mean[..., 0, :])[..., None, :]
    covariance = state.covariance.copy()
    covariance[..., 2, :] -= gain[..., 1, :] * covariance[..., 1, :]
    covariance[..., :2, :] *= 1 - gain[..., :1, :]
    return State(state.mean + gain * residual, covariance)


def gate(
    state: State, measurements: Float[np.ndarray, "detection 4"]
) -> Float[np.ndarray, "*track detection"]:
    """Squared Mahalanobis distance of every measurement from every state, observation noise included.

    Args:
        state: Predicted states.
        measurements: (detection, 4) cx, cy, w/h, h.

    Returns:
        (*track, detection), chi-square distributed with 4 degrees of freedom for a track's own measurement.
    """
    residual = measurements - state.mean[..., None, 0, :]
    return np.asarray((residual**2 @ (1 / _innovation(state))[..., None])[..., 0])


def measure(boxes: Float[np.ndarray, "*track 4"]) -> Float[np.ndarray, "*track 4"]:
    """Boxes xyxy -> measurements (cx, cy, w/h, h)."""
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    size = boxes[..., 2:] - boxes[..., :2]
    height = np.maximum(size[..., 1:], SMALLEST_HEIGHT)
    return np.concatenate([centre, size[..., :1] / height, height], axis=-1)


def box(state: State) -> Float[np.ndarray, "*track 4"]:
    """The states' boxes: (*track, 4) xyxy; sides that the filter believes negative become zero."""
    sides = np.maximum(state.mean[..., 0, 2:], 0.0)
    sides[..., 0] *= sides[..., 1]
    first = state.mean[..., 0, :2] - sides / 2
    return np.concatenate([first, first + sides], axis=-1)


def _innovation(state: State) -> Float[np.ndarray, "*track 4"]:
    """Variance of a measurement around the predicted values."""
    return np.asarray(state.covariance[..., 0, :] + _variance(state.mean, _SIGHT))


def _variance(mean: Float[np.ndarray, "*track 2 4"], noise: _Noise) -> Float[np.ndarray, "*track 4"]:
    per_height, fixed = noise
    return np.asarray((mean[..., 0, 3:] * per_height + fixed) ** 2)
