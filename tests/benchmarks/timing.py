"""Times in pairs: what is measured and what it is compared with take turns, so that both meet the same noise."""

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from tests.benchmarks.cases import Case


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
    """Time a case, once for warming up and then in pairs.

    Args:
        case: What is timed.
        pairs: How many, at most.
        patience: Seconds after which no further pair is begun.
        least: How many pairs there are in any case.
    """
    reference = case.reference
    runs: list[float] = []
    references: list[float] = []
    seconds(case.run)
    if callable(reference):
        seconds(reference)
    start = perf_counter()
    while len(runs) < least or (len(runs) < pairs and perf_counter() - start < patience):
        first = len(runs) % 2 == 0  # who goes first alternates: the second finds warmer caches
        if first:
            runs.append(seconds(case.run))
        references.append(seconds(reference) if callable(reference) else reference)
        if not first:
            runs.append(seconds(case.run))
    return Timing(case, tuple(runs), tuple(references))


def seconds(work: Callable[[], object]) -> float:
    """Time one call; garbage of earlier ones is collected before."""
    gc.collect()
    gc.disable()
    try:
        start = perf_counter()
        work()
        return max(perf_counter() - start, math.ulp(1.0))
    finally:
        gc.enable()
