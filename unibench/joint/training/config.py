"""What the configs of all joint trackers share, and how a config is read.

A config is one TOML file that fills a system's frozen record, which has these records as its tables `[view]`,
`[sample]`, `[train]` and, where there are anchors, `[anchors]`.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unibench.errors import TrainingError, UnknownNameError
from unibench.joint.data.sampling import SampleOptions, ViewOptions
from unibench.joint.system import System
from unibench.schema import SchemaError, parse_toml, read_file, record

OPTIMIZERS = ("sgd", "adamw")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainOptions:
    """How parameters are found."""

    steps: int
    batch: int
    """Clips a step, over all processes."""
    rate: float
    """Learning rate after the warm-up; a cosine takes it to 0 at the last step."""
    optimizer: str = "sgd"
    """One of `OPTIMIZERS`."""
    momentum: float = 0.9
    """Of SGD."""
    decay: float = 0.0
    """Weight decay, of parameters with two axes or more (not of biases and normalisations)."""
    warmup: int = 0
    """Steps in which the rate rises linearly from `warmup_rate` to `rate`."""
    warmup_rate: float = 0.0
    clip: float = 0.0
    """Norm to which the gradient is clipped; 0: it is not."""
    precision: str = "float32"
    """One of `PRECISIONS`: what autocast computes in; parameters stay float32."""
    checkpoint: int = 500
    """Steps between checkpoints."""
    seed: int = 0
    """Of the initial parameters, and of every random choice of every step."""


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
    known = {path.stem: path for path in sorted(system.folder.glob("*.toml"))}
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
    for problem in _problems(config.view, config.sample, config.train):
        raise TrainingError(f"{where}: {problem}; correct it")
    return config


def as_json(config: Any) -> str:
    """Write a config so that `fill` reads it back from `json.loads`; equal configs give equal texts."""
    return json.dumps(asdict(config), sort_keys=True)


def _problems(view: ViewOptions, sample: SampleOptions, train: TrainOptions) -> Iterator[str]:
    for name, choice, allowed in (
        ("optimizer", train.optimizer, OPTIMIZERS),
        ("precision", train.precision, PRECISIONS),
    ):
        if choice not in allowed:
            yield f"train.{name} is {choice!r}, expected one of {', '.join(allowed)}"
    counts = {
        "view.height": view.height,
        "view.width": view.width,
        "sample.time": sample.time,
        "sample.gap": sample.gap,
        "train.steps": train.steps,
        "train.batch": train.batch,
        "train.checkpoint": train.checkpoint,
    }
    for name, count in counts.items():
        if count < 1:
            yield f"{name} is {count}, expected at least 1"
    if not 0 < sample.scale[0] <= sample.scale[1]:
        yield f"sample.scale is {list(sample.scale)}, expected two factors, the smaller first"
    if not 0 < train.rate < math.inf:
        yield f"train.rate is {train.rate}, expected more than 0"
