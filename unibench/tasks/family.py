"""What a task is made of: one row a family, named presets of every knob, and how predictions become scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, get_args, get_type_hints

from unibench.datasets import Benchmark
from unibench.records import Clip, Labels, Tally, Truth
from unibench.tasks.known_answers import Answers

Knobs = Mapping[str, Any]
Track = Callable[[Clip, Any, Sequence[str], Any], Any]
"""Clip, frozen model, its layers, options -> for each frame, layer -> Labels."""

WHOLE_CLIP = 2**31 - 1
"""Lookahead of a tracker that reads the whole clip before it labels the first frame."""


@dataclass(frozen=True)
class Protocol:
    """How a task is run: what is given, and every knob of the head. Versions are X.Y: X when scores stop being
    comparable, Y when only the interface changes.
    """

    name: str
    version: str
    source: str
    """Where the protocol comes from, and what it is for."""
    knobs: Knobs
    """Options of the family's tracker, all of them. Those of a joint tracker lie in its weights file."""
    lookahead: int = 0
    """Frames that a tracker may read beyond the one it labels; 0: online; `WHOLE_CLIP`: all."""
    detections: str = ""
    """Source of the detections: a name of `datasets.SOURCES` or a folder; empty: the task has none."""
    detections_hash: str = ""
    """Of the files in that folder; empty for a named source."""
    kinds: tuple[str, ...] = ("frozen",)
    """Kinds of models that it is for: keys of `models.KINDS`."""
    windowing: str = "repeat"
    """What a clip encoder is shown of a clip, one of `models.windows.WINDOWINGS`; of no effect on other models."""
    private: bool = False
    """Whether the tracker finds the objects itself, so that it gets no detections."""


@dataclass(frozen=True)
class Scoring:
    """From predictions to scores: count each clip, add the counts, divide. Loads no torch."""

    tally: Callable[[Truth, Sequence[Labels]], Tally]
    """Score one clip: what it adds."""
    pool: Callable[[Sequence[Tally]], Mapping[str, float]]
    """Add the tallies of clips and divide: metric -> value. Given arrays of numbers, all of these divide theirs one by
    one: what takes a thousand draws pools them at once."""
    headline: str
    """The metric that ranks models, where the benchmark names no other."""
    version: str = "1"
    """Changes whenever a tally or a score changes: stored results of another version are computed again."""
    additive: bool = True
    """Whether tallies of clips may be added before they are pooled; False: `pool` needs them all, as average
    precision does."""


@dataclass(frozen=True)
class Family:
    """Everything about tasks of one kind, whatever the benchmark. A text `module:name` is imported when it is used,
    so that a board or a list that reads a row loads no torch.
    """

    name: str
    """The word before the slash of a task's name: `mot`."""
    title: str
    """As boards and axes of plots spell it: `MOT`."""
    tracker: str | Track
    """How a frozen model becomes a tracker; see `Track` and `features.batching.Steps`."""
    options: str | type
    """The tracker's options: a dataclass whose fields are the knobs of the presets."""
    presets: Mapping[str, Protocol]
    """By name; the first that a model can run is its default."""
    scoring: Scoring
    known_answers: str | Answers
    """Predictions with known scores, for the self-check."""


@dataclass(frozen=True)
class Task:
    """One family on one benchmark under one protocol."""

    name: str
    """Family and benchmark: `vos/davis2016`; with the classes where they are chosen: `mot/shapes:disc,square`."""
    family: Family
    benchmark: Benchmark
    protocol: Protocol
    any_protocol: bool = False
    """Whether no protocol was asked for, so that each model takes the first that it can run."""
    classes: tuple[str, ...] = ()
    """The only classes that are looked for and scored; empty: all of the benchmark."""

    @property
    def headline(self) -> str:
        """The metric that ranks models: the benchmark's own, or else the family's."""
        return self.benchmark.headline or self.family.scoring.headline


def by_name(*presets: Protocol) -> dict[str, Protocol]:
    """Presets as a table."""
    return {preset.name: preset for preset in presets}


def make_options(record: type, knobs: Knobs) -> Any:
    """Make a tracker's options of a protocol's knobs; a nested table becomes a nested record.

    Raises:
        TypeError: A knob is not one of the options.
    """
    hints = get_type_hints(record)
    return record(**{name: _option(hints.get(name), value) for name, value in knobs.items()})


def _option(hint: Any, value: Any) -> Any:
    """A table as the record that its field wants, or may have."""
    for one in (hint, *get_args(hint)):
        if isinstance(one, type) and is_dataclass(one) and isinstance(value, Mapping):
            return make_options(one, value)
    return value
