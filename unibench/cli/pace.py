"""How far a run is and how long the rest takes: bars on a terminal, elsewhere a line a clip and one a minute."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

if TYPE_CHECKING:
    from unibench.evaluation.run_clip import Done, Step
    from unibench.evaluation.units import Unit

PAUSE = 60.0
"""Seconds between two lines of progress, where there is no terminal."""


@dataclass
class Pace:
    """What is done of a run, told clip by clip and frame by frame."""

    now: Callable[[], float] = time.perf_counter
    total: int = 0
    """Clips of the run, one for each model and protocol."""
    ended: int = 0
    computed: int = 0
    """Those that were not there already."""
    running: "dict[tuple[str, str, str], Step]" = field(default_factory=dict)
    """What names a unit -> how far it is."""
    start: float = field(init=False)
    before: float = 0.0
    """Part of the first clip that was done when the clock started."""

    def __post_init__(self) -> None:
        """Start the clock, for work whose frames are not told."""
        self.start = self.now()

    def end(self, one: "Done", total: int) -> None:
        """Count a clip that is done, was there already, or failed."""
        self.total = total
        self.ended += 1
        self.running.pop(_key(one.unit), None)
        if one.seconds or one.error:
            self.computed += 1
        elif not self.computed:  # looking through what is there is no work
            self.start = self.now()

    def step(self, one: "Step", total: int) -> None:
        """Note how far a clip is; the first step starts the clock, so that loading a network counts for nothing."""
        self.total = total
        if not self.running and not self.computed:
            self.start, self.before = self.now(), one.frame / one.frames
        self.running[_key(one.unit)] = one

    def left(self) -> str:
        """Say how long the rest takes, if its clips take as long as those before; empty where nothing is known."""
        parts = sum(one.frame / one.frames for one in self.running.values())
        done, rest = self.computed + parts - self.before, self.total - self.ended - parts
        if done <= 0 or rest <= 0:
            return ""
        return f"about {duration((self.now() - self.start) / done * rest)} left"


def duration(seconds: float) -> str:
    """Say a time as coarsely as a guess deserves."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


@contextmanager
def shown(first: str) -> "Iterator[tuple[Callable[[Done, int], None], Callable[[Step, int], None]]]":
    """Show how far a run is.

    Args:
        first: Said at once.

    Yields:
        What to call when a clip is done, and after each frame; both also take the number of all clips.
    """
    console = Console(soft_wrap=True, highlight=False)
    if console.is_terminal:
        with _bars(console, first) as calls:
            yield calls
    else:
        console.print(first, markup=False)
        yield _lines(console)


def _lines(console: Console) -> "tuple[Callable[[Done, int], None], Callable[[Step, int], None]]":
    pace = Pace()
    said = pace.start

    def end(one: "Done", total: int) -> None:
        pace.end(one, total)
        outcome = "FAILED" if one.error else f"{one.seconds:.1f} s" if one.seconds else "there already"
        console.print(f"[{pace.ended}/{total}] {name(one.unit)}: {outcome}", markup=False)

    def step(one: "Step", total: int) -> None:
        nonlocal said
        pace.step(one, total)
        if pace.now() - said >= PAUSE:
            said = pace.now()
            where = f"{name(one.unit)}: frame {one.frame} of {one.frames}"
            told = "; ".join(filter(None, (where, pace.left())))
            console.print(f"[{pace.ended}/{total}] {told}", markup=False)

    return end, step


@contextmanager
def _bars(
    console: Console, first: str
) -> "Iterator[tuple[Callable[[Done, int], None], Callable[[Step, int], None]]]":
    """A bar for the run, and one for the clip that was heard of last."""
    pace = Pace()
    what = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
    columns = (what, BarColumn(bar_width=16), MofNCompleteColumn(), TextColumn("{task.fields[unit]}"))
    with Progress(*columns, console=console, expand=True) as progress:
        run = progress.add_task(first, total=None, unit="clips")
        clip = progress.add_task("", total=None, unit="frames", visible=False)

        def end(one: "Done", total: int) -> None:
            pace.end(one, total)
            progress.update(run, completed=pace.ended, total=total, description=pace.left())

        def step(one: "Step", total: int) -> None:
            pace.step(one, total)
            progress.update(run, total=total, description=pace.left())
            progress.update(
                clip, description=name(one.unit), completed=one.frame, total=one.frames, visible=True
            )

        yield end, step


def name(unit: "Unit") -> str:
    """Name a unit: model, task with protocol, clip."""
    from unibench.tasks import protocols

    return f"{unit.card.name} {protocols.title(unit.task)} {unit.clip}"


def _key(unit: "Unit") -> tuple[str, str, str]:
    return unit.fingerprint, name(unit), str(unit.root)
