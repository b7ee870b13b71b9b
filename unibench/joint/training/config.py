"""What the configs of all joint trackers share, and how a config is read.

A config is one TOML file that fills a system's frozen record, which has these records as its tables `[view]`,
`[sample]`, `[train]` and, where there are anchors, `[anchors]`.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from unibench.errors import TrainingError, UnknownNameError
from unibench.joint.ranges import Count, Steps, Weight
from unibench.joint.system import System
from unibench.schema import SchemaError, parse_toml, read_file, record


@dataclass(frozen=True)
class TrainOptions:
    """How parameters are found."""

    steps: Steps
    batch: Count
    """Clips a step, over all processes."""
    rate: Annotated[float, Meta(gt=0, le=1000)]
    """Learning rate after the warm-up; a cosine takes it to 0 at the last step."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    """Of SGD."""
    decay: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    """Weight decay, of parameters with two axes or more (not of biases and normalisations)."""
    warmup: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    """Steps in which the rate rises linearly from `warmup_rate` to `rate`."""
    warmup_rate: Annotated[float, Meta(ge=0, le=1000)] = 0.0
    clip: Weight = 0.0
    """Norm to which the gradient is clipped; 0: it is not."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What autocast computes in; parameters stay float32."""
    checkpoint: Steps = 500
    """Steps between checkpoints."""
    seed: Annotated[int, Meta(ge=0)] = 0
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
        return record(system.config, table, where)
    except SchemaError as error:
        raise TrainingError(f"{error}; see the {system.name} configs in {system.folder}") from error


def as_json(config: Any) -> str:
    """Write a config so that `fill` reads it back from `json.loads`; equal configs give equal texts."""
    return json.dumps(asdict(config), sort_keys=True)
