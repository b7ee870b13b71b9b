"""Constant-velocity Kalman filter of boxes, as in DeepSORT, JDE and UniTrack.

The state is (cx, cy, w/h, h) and the velocity of each, one frame a step. Noise is proportional to the height of
the box, so the unit of length is free (pixels or feature cells). Every function works on one state or on many
at once: the leading axes `*track` are those of the state. All numbers are float64.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

POSITION_WEIGHT = 1 / 20
"""Standard deviation of a position, in heights."""
VELOCITY_WEIGHT = 1 / 160
"""Standard deviation of a velocity, in heights per frame."""
SMALLEST_HEIGHT = 1.0
"""A box is measured as at least this high, so that flat ones (a mask of one row) have a w/h and a covariance."""

_TRANSITION = np.eye(8) + np.eye(8, k=4)
_TRANSITION.setflags(write=False)


@dataclass(frozen=True, eq=False)
class State:
    """What the filter believes of one track, or of many."""

    mean: Float[np.ndarray, "*track 8"]
    """cx, cy, w/h, h, then their change per frame."""
    covariance: Float[np.ndarray, "*track 8 8"]


def initiate(measurement: Float[np.ndarray, "*track 4"]) -> State:
    """Start tracks at rest: double the usual uncertainty of position, ten times that of velocity.

    Args:
        measurement: (*track, 4) cx, cy, w/h, h.
    """
    height = measurement[..., 3]
    deviation = np.concatenate(
        [_spread(height, 2 * POSITION_WEIGHT, 1e-2), _spread(height, 10 * VELOCITY_WEIGHT, 1e-5)], axis=-1
    )
    return State(np.concatenate([measurement, np.zeros_like(measurement)], axis=-1), _diagonal(deviation**2))


def predict(state: State, *, hold_height: bool | Bool[np.ndarray, "*track"] = False) -> State:
    """Move every state one frame ahead.

    Args:
        state: The states after the last frame.
        hold_height: True, or (*track) True, where the height's velocity is set to zero first. JDE does so for
            lost tracks, whose boxes would otherwise grow or shrink until they are found again.
    """
    mean = state.mean.copy()
    mean[..., 7] = np.where(hold_height, 0.0, mean[..., 7])
    height = mean[..., 3]
    noise = np.concatenate(
        [_spread(height, POSITION_WEIGHT, 1e-2), _spread(height, VELOCITY_WEIGHT, 1e-5)], axis=-1
    )
    return State(mean @ _TRANSITION.T, _TRANSITION @ state.covariance @ _TRANSITION.T + _diagonal(noise**2))


def update(state: State, measurement: Float[np.ndarray, "*track 4"]) -> State:
    """Correct predicted states by one measurement each.

    Args:
        state: Predicted states.
        measurement: (*track, 4) cx, cy, w/h, h.
    """
    innovation = _innovation(state)
    gain = np.swapaxes(np.linalg.solve(innovation, state.covariance[..., :4, :]), -1, -2)
    residual = measurement - state.mean[..., :4]
    return State(
        state.mean + (gain @ residual[..., None])[..., 0],
        state.covariance - gain @ innovation @ np.swapaxes(gain, -1, -2),
    )


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
    residual = measurements - state.mean[..., None, :4]
    solved = np.linalg.solve(_innovation(state), np.swapaxes(residual, -1, -2))
    return np.asarray(np.sum(np.swapaxes(solved, -1, -2) * residual, axis=-1))


def measure(boxes: Float[np.ndarray, "*track 4"]) -> Float[np.ndarray, "*track 4"]:
    """Boxes xyxy -> measurements (cx, cy, w/h, h)."""
    size = boxes[..., 2:] - boxes[..., :2]
    height = np.maximum(size[..., 1], SMALLEST_HEIGHT)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    return np.stack([centre[..., 0], centre[..., 1], size[..., 0] / height, height], axis=-1)


def box(state: State) -> Float[np.ndarray, "*track 4"]:
    """The states' boxes: (*track, 4) xyxy; sides that the filter believes negative become zero."""
    height = np.maximum(state.mean[..., 3], 0.0)
    half = np.stack([np.maximum(state.mean[..., 2], 0.0) * height, height], axis=-1) / 2
    return np.concatenate([state.mean[..., :2] - half, state.mean[..., :2] + half], axis=-1)


def _innovation(state: State) -> Float[np.ndarray, "*track 4 4"]:
    noise = _spread(state.mean[..., 3], POSITION_WEIGHT, 1e-1)
    return np.asarray(state.covariance[..., :4, :4] + _diagonal(noise**2))


def _spread(
    height: Float[np.ndarray, "*track"], weight: float, aspect: float
) -> Float[np.ndarray, "*track 4"]:
    lengths = weight * height
    return np.stack([lengths, lengths, np.full_like(lengths, aspect), lengths], axis=-1)


def _diagonal(entries: Float[np.ndarray, "*track side"]) -> Float[np.ndarray, "*track side side"]:
    return entries[..., None] * np.eye(entries.shape[-1])
