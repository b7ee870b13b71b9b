"""The walking figure of the `synthetic` benchmark: fifteen joints in motion, and the limbs between them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

JOINTS = (
    "right ankle",
    "right knee",
    "right hip",
    "left hip",
    "left knee",
    "left ankle",
    "right wrist",
    "right elbow",
    "right shoulder",
    "left shoulder",
    "left elbow",
    "left wrist",
    "neck",
    "nose",
    "head top",
)
"""poseval's order."""
HEIGHT_TO_WIDTH = 0.35
"""Width of a walking figure as a fraction of its height, averaged over the cycle."""

_THIGH, _SHIN, _UPPER_ARM, _FOREARM = 0.25, 0.23, 0.16, 0.15
_HIP, _SHOULDER = (0.07, 0.50), (0.11, 0.81)  # to the side, above the ground
_LIMBS = (  # fabric, joint, joint, radius at either: fractions of the height
    ("legs", 2, 1, 0.055, 0.042),
    ("legs", 1, 0, 0.042, 0.030),
    ("legs", 3, 4, 0.055, 0.042),
    ("legs", 4, 5, 0.042, 0.030),
    ("body", 8, 7, 0.040, 0.032),
    ("body", 7, 6, 0.032, 0.026),
    ("body", 9, 10, 0.040, 0.032),
    ("body", 10, 11, 0.032, 0.026),
)


@dataclass(frozen=True, eq=False)
class Part:
    """One textured piece of an actor: a capsule whose radius changes linearly from end to end."""

    fabric: str
    """Which of the actor's textures covers it."""
    ends: Float[np.ndarray, "frame 2 2"]
    """The two ends of its axis: x, y in units of the actor's height, y upwards from the ground."""
    radii: Float[np.ndarray, "frame 2"]
    depth: Float[np.ndarray, " frame"]
    """Towards the viewer: the nearer part covers the farther one."""


def walk_cycle(
    phase: Float[np.ndarray, " frame"],
    facing: Float[np.ndarray, " frame"],
    swing: Float[np.ndarray, " frame"],
) -> Float[np.ndarray, "frame 15 3"]:
    """Joints of a walking figure of height 1 as seen from the front.

    Args:
        phase: Place in the walking cycle, radians.
        facing: Direction of the walk, radians: 0 to the viewer's right, pi/2 towards the viewer, pi to the left.
        swing: How far thighs and arms swing, radians.

    Returns:
        (frame, joint, 3): x to the viewer's right, y upwards from the ground, z towards the viewer.
    """
    body = np.zeros((len(phase), 15, 3))  # forwards, to the figure's left, upwards
    for side, hip, knee, ankle, wrist, elbow, shoulder in ((-1, 2, 1, 0, 6, 7, 8), (1, 3, 4, 5, 11, 10, 9)):
        turn = phase + (np.pi if side > 0 else 0.0)
        thigh = swing * np.sin(turn)
        shin = thigh - 0.15 - 0.9 * swing * np.maximum(0.0, np.cos(turn))
        body[:, hip] = (0.0, side * _HIP[0], _HIP[1])
        body[:, knee] = body[:, hip] + _hang(thigh, _THIGH)
        body[:, ankle] = body[:, knee] + _hang(shin, _SHIN)
        arm = -swing * np.sin(turn)
        body[:, shoulder] = (0.0, side * _SHOULDER[0], _SHOULDER[1])
        body[:, elbow] = body[:, shoulder] + _hang(arm, _UPPER_ARM)
        body[:, wrist] = body[:, elbow] + _hang(arm + 0.35 + 0.5 * np.maximum(0.0, arm), _FOREARM)
    body[:, 12:] = ((0.0, 0.0, 0.83), (0.05, 0.0, 0.90), (0.0, 0.0, 0.99))
    body[:, :, 2] += 0.012 * np.cos(2 * phase)[:, None]
    forwards, left, up = body[..., 0], body[..., 1], body[..., 2]
    cosine, sine = np.cos(facing)[:, None], np.sin(facing)[:, None]
    return np.stack([forwards * cosine + left * sine, up, forwards * sine - left * cosine], axis=-1)


def _hang(angle: Float[np.ndarray, " frame"], length: float) -> Float[np.ndarray, "frame 3"]:
    """From the upper end of a limb to the lower one; angle 0 hangs straight down."""
    return length * np.stack([np.sin(angle), np.zeros_like(angle), -np.cos(angle)], axis=-1)


def limbs(joints: Float[np.ndarray, "frame 15 3"]) -> tuple[Part, ...]:
    """The pieces between the joints: legs, arms, trunk, neck and head (the last one).

    Args:
        joints: As `walk_cycle` gives them.
    """
    parts = [
        _between(fabric, joints[:, first], joints[:, second], (thick, thin))
        for fabric, first, second, thick, thin in _LIMBS
    ]
    shoulders = joints[:, [8, 9]].mean(axis=1) - [0, 0.07, 0]
    hips = np.add(joints[:, [2, 3]].mean(axis=1), [0, 0.02, 0])
    breadth = np.abs(joints[:, 9, 0] - joints[:, 8, 0])
    trunk = _between("body", shoulders, hips, (0.0, 0.0))
    radii = np.stack([0.065 + 0.22 * breadth, 0.065 + 0.12 * breadth], axis=-1)
    parts.append(Part("body", trunk.ends, radii, trunk.depth))
    neck, nose, top = joints[:, 12], joints[:, 13], joints[:, 14]
    parts.append(_between("head", neck, (nose + top) / 2, (0.03, 0.03)))
    crown = np.stack([0.8 * top[:, 0] + 0.2 * nose[:, 0], top[:, 1] - 0.035, nose[:, 2] + 0.2], axis=-1)
    chin = np.stack([crown[:, 0], top[:, 1] - 0.095, crown[:, 2]], axis=-1)
    parts.append(_between("head", crown, chin, (0.058, 0.052)))
    return tuple(parts)


def _between(
    fabric: str,
    first: Float[np.ndarray, "frame 3"],
    second: Float[np.ndarray, "frame 3"],
    radii: tuple[float, float],
) -> Part:
    ends = np.stack([first[:, :2], second[:, :2]], axis=1)
    return Part(fabric, ends, np.tile(radii, (len(first), 1)), (first[:, 2] + second[:, 2]) / 2)
