"""Times in pairs: what is measured and what it is compared with take turns, so that both meet the same noise."""

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from tests.benchmarks.cases import Case

LEAST_SECONDS = 0.03
"""What takes less is repeated until it takes about as long."""


@dataclass(frozen=True)
class Timing:
    """What came out of one case."""

    case: Case
    run: tuple[float, ...]
    """Seconds, one a pair."""
    reference: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """Run / reference of each pair, ascending."""
        return sorted(one / other for one, other in zip(self.run, self.reference, strict=True))

    @property
    def ratio(self) -> float:
        """The median pair."""
        return median(self.ratios)

    @property
    def best(self) -> float:
        """Fastest run / fastest reference: what is left when a machine's noise only ever slows things down."""
        return min(self.run) / min(self.reference)

    @property
    def ok(self) -> bool:
        """Whether the median pair keeps the limit."""
        return self.ratio <= self.case.limit


def measure(case: Case, *, pairs: int = 9, patience: float = 20.0, least: int = 3) -> Timing:
    """Time a case, once for warming up and then in pairs; what takes milliseconds is repeated within a pair.

    Args:
        case: What is timed.
        pairs: How many, at most.
        patience: Seconds after which no further pair is begun.
        least: How many pairs there are in any case.
    """
    reference = case.reference
    time_run = _stopwatch(case.run)
    time_reference = _stopwatch(reference) if callable(reference) else lambda: reference
    runs: list[float] = []
    references: list[float] = []
    gc.collect()
    gc.freeze()  # what is there now is not looked at in each of the collections to come
    start = perf_counter()
    while len(runs) < least or (len(runs) < pairs and perf_counter() - start < patience):
        first = len(runs) % 2 == 0  # who goes first alternates: the second finds warmer caches
        if first:
            runs.append(time_run())
        references.append(time_reference())
        if not first:
            runs.append(time_run())
    gc.unfreeze()
    return Timing(case, tuple(runs), tuple(references))


def _stopwatch(work: Callable[[], object]) -> Callable[[], float]:
    """Warm up, and see how often work is to be repeated for a time that can be told from noise."""
    once = seconds(work)
    times = max(1, math.ceil(LEAST_SECONDS / once))
    return lambda: seconds(work, times)


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """Time work, the mean of some calls; garbage of earlier ones is collected before."""
    gc.collect()
    gc.disable()
    try:
        start = perf_counter()
        for _ in range(times):
            work()
        return max((perf_counter() - start) / times, 1e-9)
    finally:
        gc.enable()
