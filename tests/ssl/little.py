"""A diet of noise: no photograph is needed, and a step takes milliseconds."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from unibench.joint.training import config as configs
from unibench.ssl import train as training
from unibench.ssl.diet import CLASSES, FRAMES, WINDOW, Diet, RenderedClip

_RNG = np.random.default_rng(0)
DIET = Diet(
    _RNG.integers(0, 256, (16, WINDOW, WINDOW, 3), dtype=np.uint8),
    tuple(
        RenderedClip(
            f"noise/{number}",
            _RNG.integers(0, 256, (FRAMES, 128, 128, 3), dtype=np.uint8),
            (np.array([[10.0, 20.0, 50.0, 60.0]]),) * FRAMES,
            (np.array([number % CLASSES]),) * FRAMES,
        )
        for number in range(3)
    ),
)


def config(name: str, *, steps: int = 2, seed: int = 0, **changes: int) -> training.Config:
    """A config that comes with unibench, made small."""
    whole = configs.with_schedule(training.read(name), seed, steps)
    batch = min(whole.train.batch, 8)
    return replace(whole, train=replace(whole.train, batch=batch, checkpoint=1, **changes))


def train(out: Path, name: str, **changes: int) -> Path:
    """Train on noise; the card."""
    return training.train(config(name, **changes), out, name="little", diet=DIET)
