"""A yardstick for targets that are absolute: work whose time follows the machine, and what else it is busy with."""

from collections.abc import Callable

import numpy as np

ADDITIONS_A_MS = 3000
"""NumPy adds two arrays of 20 x 20 as often as this in a millisecond, on one core of the usual machine (AMD EPYC of
family 26, at 0.33 us each)."""


def standard(milliseconds: float) -> Callable[[], object]:
    """Small work like that of association and of metrics, which takes as long as said on the usual machine."""
    one = np.ones((20, 20))
    times = round(milliseconds * ADDITIONS_A_MS)

    def work() -> None:
        for _ in range(times):
            np.add(one, one)

    return work
