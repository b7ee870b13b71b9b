"""How hard the clips of the `synthetic` benchmark are: three sets of knobs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difficulty:
    """What makes a clip hard to track."""

    speed: float
    """Widths of the actor that it moves in a frame."""
    unsteady: float
    """Relative change of the speed from frame to frame."""
    turns: float
    """Chance in each frame that a walker turns round."""
    leaves: float
    """How far beyond the edge of the view the walkers of a crowd go, in widths (negative: they turn before it)."""
    people: int
    """Walkers in a crowd."""
    fabrics: int
    """Kinds of clothes that the crowd shares: fewer kinds, more look-alikes."""
    alike: float
    """How far the mean colours of clothes, and of objects and their look-alikes, are moved towards one that all of the
    clip have in common: at 0 each keeps its own, at 1 colour says nothing and only the pattern does."""
    distractors: int
    """Unlabelled objects that resemble the targets of SOT and VOS."""
    likeness: float
    """Share of the photograph that a distractor has in common with its target (0: another photograph)."""
    posts: int
    """Posts that stand in front of everything."""
    pan: float
    """Reach of the camera's pan, pixels."""
    rhythm: float
    """Radians of that pan in a frame."""
    zoom: float
    """Reach of the camera's zoom, relative."""
    roll: float
    """Reach of the camera's roll, radians."""
    warp: float
    """How much objects shear and grow, relative."""
    light: float
    """Contrast of the pools of light that wander over the scene, relative."""
    tint: float
    """Reach of the colour cast, relative."""
    noise: float
    """Standard deviation of the sensor's noise, grey levels."""
    blur: float
    """Largest radius of the lens's blur, pixels."""
    jitter: float
    """Standard deviation of the detector's error, relative to the size of the object."""
    misses: float
    """Chance that the detector misses a fully visible object."""
    false_alarms: float
    """Chance of a false alarm in each frame."""


EASY = Difficulty(
    speed=0.2, unsteady=0.1, turns=0.0, leaves=-0.6, people=4, fabrics=4, alike=0.4, distractors=1, likeness=0.0,
    posts=0, pan=6.0, rhythm=0.1, zoom=0.02, roll=0.0, warp=0.08, light=0.1, tint=0.03, noise=2.0, blur=0.0,
    jitter=0.02, misses=0.02, false_alarms=0.02,
)  # fmt: skip
MEDIUM = Difficulty(
    speed=0.5, unsteady=0.4, turns=0.05, leaves=1.3, people=5, fabrics=4, alike=0.9, distractors=2, likeness=0.7,
    posts=1, pan=16.0, rhythm=0.2, zoom=0.06, roll=0.035, warp=0.2, light=0.3, tint=0.08, noise=6.0, blur=0.8,
    jitter=0.04, misses=0.05, false_alarms=0.05,
)  # fmt: skip
HARD = Difficulty(
    speed=0.75, unsteady=0.6, turns=0.1, leaves=1.7, people=6, fabrics=3, alike=1.0, distractors=3, likeness=0.85,
    posts=2, pan=24.0, rhythm=0.3, zoom=0.1, roll=0.07, warp=0.3, light=0.45, tint=0.15, noise=10.0, blur=1.4,
    jitter=0.06, misses=0.1, false_alarms=0.1,
)  # fmt: skip
DIFFICULTIES = {"synthetic": MEDIUM, "synthetic-easy": EASY, "synthetic-hard": HARD}
"""By the name of the benchmark; `synthetic` alone is the medium one."""
