"""What the configs of all joint trackers share, and how a config is read.

A config is one TOML file that fills a system's frozen record, which has these records as its tables `[view]`,
`[sample]`, `[train]` with its `[[train.stages]]` and, where there are anchors, `[anchors]`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from unibench.errors import TrainingError, UnknownNameError
from unibench.joint.ranges import Count, Modules, Name, Share, Steps, Weight
from unibench.joint.system import Objective, System
from unibench.schema import SchemaError, parse_toml, read_file, record


@dataclass(frozen=True)
class Stage:
    """A part of a training with a schedule of its own; its optimiser starts afresh."""

    name: Name
    """The losses get it."""
    steps: Steps
    rate: Annotated[float, Meta(gt=0, le=1000)]
    """Learning rate after the warm-up, before a cosine lowers it."""
    warmup: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    """Steps in which the rate rises from `warmup_rate` to `rate`."""
    warmup_rate: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    warmup_power: Annotated[int, Meta(ge=1, le=10)] = 1
    """1: the rate rises linearly; 2: with the square of the step."""
    floor: Share = 0.0
    """Where the cosine ends, as a share of `rate`; it would be there at the step after the last one."""
    flat: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    """So many steps before the end the cosine is at its end already, and the rate stays there."""
    alternate: Annotated[tuple[Objective, ...], Meta(min_length=1, max_length=100)] = ("mot",)
    """What the batches teach, in turn."""
    masks: bool = False
    """Whether the targets have masks."""
    learnt: Modules = ()
    """Modules that learn, by name; all others keep their parameters and run in evaluation mode. Empty: all learn."""
    rates: Mapping[str, Weight] = field(default_factory=dict)
    """Name of a module -> what the rate is multiplied by in it; the innermost module that is named counts."""
    ema: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Decay of the exponential moving average of the weights, which is scored, and takes their place at the end of the
    stage; after n steps it is `ema` * (1 - exp(-n / 2000)). 0: there is none."""


@dataclass(frozen=True)
class TrainOptions:
    """How parameters are found; all of it holds in every stage."""

    stages: Annotated[tuple[Stage, ...], Meta(min_length=1, max_length=100)]
    """One after the other, each from the weights of the one before."""
    batch: Count
    """Clips a batch, over all processes."""
    accumulate: Annotated[int, Meta(ge=1, le=1000)] = 1
    """Batches a step: their losses are averaged."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    """Of SGD."""
    decay: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    """Weight decay."""
    decay_all: bool = False
    """Whether biases and normalisations, parameters of one axis, decay too."""
    clip: Weight = 0.0
    """Norm to which the gradient is clipped; 0: it is not."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What autocast computes in; parameters stay float32."""
    checkpoint: Steps = 500
    """Steps between checkpoints; there is one at the end of every stage besides."""
    evaluate: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    """Steps between evaluations, where data for them are given; 0: only at the end of every stage."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Of the initial parameters, and of every random choice of every step."""

    @property
    def steps(self) -> int:
        """Of all stages."""
        return sum(stage.steps for stage in self.stages)


def shipped(system: System) -> dict[str, Path]:
    """The configs that a system brings: name -> TOML file."""
    return {path.stem: path for path in sorted(system.folder.glob("*.toml"))}


def smallest(system: System) -> str:
    """Name of the config that learns in minutes."""
    return "toy" if "toy" in shipped(system) else "tiny"


def read(name: str | Path, system: System) -> Any:
    """Read a config of a system.

    Args:
        name: One that the system brings (`paper`, `tiny`), or the path of a TOML file.
        system: Its `config` is the record to fill.

    Returns:
        The system's frozen config.

    Raises:
        UnknownNameError: There is neither a config nor a file of that name.
        TrainingError: The file cannot be read, or does not fit.
    """
    known = shipped(system)
    path = known.get(str(name), Path(name))
    if not path.is_file():
        raise UnknownNameError(f"{system.name} config or TOML file", str(name), known)
    try:
        table = parse_toml(read_file(path), str(path))
    except OSError as error:
        raise TrainingError(f"{path}: not a readable TOML file ({error}); correct it") from error
    except SchemaError as error:
        raise TrainingError(f"{error}; correct it") from error
    return fill(table, system, str(path))


def fill(table: object, system: System, where: str) -> Any:
    """Make a system's config of plain data.

    Args:
        table: What the TOML file holds, or `as_json` wrote.
        system: Its `config` is the record to fill.
        where: The file, for messages.

    Raises:
        TrainingError: A field is unknown, missing, of another type, or out of its range.
    """
    try:
        config = record(system.config, table, where)
    except SchemaError as error:
        raise TrainingError(f"{error}; see the {system.name} configs in {system.folder}") from error
    for stage in config.train.stages:
        if unknown := set(stage.alternate) - set(system.objectives):
            raise TrainingError(
                f"{where}: stage {stage.name!r}: alternate: found {min(unknown)!r}, expected "
                f"{' or '.join(system.objectives)}, which {system.name} learns; correct it"
            )
    return config


def with_steps(options: TrainOptions, steps: int, **changes: Any) -> TrainOptions:
    """The same options, every stage of so many steps.

    Args:
        options: Where everything else comes from.
        steps: Of each stage.
        changes: Other fields of the options.
    """
    return replace(options, stages=tuple(replace(one, steps=steps) for one in options.stages), **changes)


def with_schedule(config: Any, seed: int | None, steps: int | None) -> Any:
    """A config whose training has another seed, or stages of so many steps; None: as they are."""
    options = config.train if seed is None else replace(config.train, seed=seed)
    return replace(config, train=options if steps is None else with_steps(options, steps))


def as_json(config: Any) -> str:
    """Write a config so that `fill` reads it back from `json.loads`; equal configs give equal texts."""
    return json.dumps(asdict(config), sort_keys=True)
