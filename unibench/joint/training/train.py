"""The trainer of all joint trackers: deterministic, resumable, on one device or on several.

Batch and random choices of a step are functions of (seed, step, rank), which seed torch's global generator before each
step. A training that is killed goes on from its last checkpoint to the same log and the same weights.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unibench.errors import TrainingError
from unibench.joint.data import prefetch
from unibench.joint.system import Batch, System, TrainingSet
from unibench.joint.training import checkpoint, distributed, export, schedule
from unibench.joint.training import config as configs
from unibench.joint.training import log as training_log
from unibench.joint.training.distributed import ProcessGroup
from unibench.models.download import sha256


def train(
    system: System,
    config: Any,
    training_sets: Sequence[TrainingSet],
    out: Path,
    *,
    name: str,
    device: str = "cpu",
    pretrained: Path | None = None,
) -> Path:
    """Train a system, or go on from the last checkpoint of an earlier call in the same folder.

    Args:
        system: What to train.
        config: Of the system; `classes`, `view`, `sample` and `train` are used here.
        training_sets: What to learn from; their classes are the config's.
        out: Folder of the checkpoint, the log, the weights and the card.
        name: Of the model.
        device: A torch device; under torchrun `cuda` is the GPU of the process's local rank.
        pretrained: Weights to begin with.

    Returns:
        The card.

    Raises:
        TrainingError: The loss is not finite, or the folder holds another training or cannot be written.
    """
    _check(config, training_sets, out)
    with distributed.process_group(device) as group, _own_randomness(group.device):
        if config.train.batch % group.world_size:
            raise TrainingError(
                f"train.batch is {config.train.batch}, expected a multiple of the {group.world_size} processes"
            )
        run = _start(system, config, group, pretrained)
        made_with = _made_with(system, config, training_sets, group, pretrained)
        done = checkpoint.load(out, made_with, run.holders)
        _go(run, training_sets, out, range(done, config.train.steps), made_with)
        if not group.writes_files:
            return out / f"{name}.toml"
        return export.write(system, config, run.network, training_sets, out, name)


@dataclass(frozen=True)
class _Run:
    config: Any
    group: ProcessGroup
    network: nn.Module
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    @property
    def holders(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"network": self.network, "optimizer": self.optimizer, "scaler": self.scaler}


class _Objective(nn.Module):
    """The losses as a forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, system: System, network: nn.Module, config: Any) -> None:
        super().__init__()
        self.network = network
        self._of = system.losses
        self._config = config

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self._of(self.network, batch, self._config)


def _check(config: Any, training_sets: Sequence[TrainingSet], out: Path) -> None:
    for one in training_sets:
        if tuple(one.classes) != tuple(config.classes):
            raise TrainingError(
                f"data {one.name!r}: classes {', '.join(one.classes)}, expected {', '.join(config.classes)} as the "
                "config says; give other data, or a config with these classes"
            )
    if not any(len(one.images) for one in training_sets):
        raise TrainingError("no annotated image to learn from; give data that have some")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"{out}: cannot be made ({error.strerror}); choose another folder with -o"
        ) from error


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Leave torch's generators as they were, and let cuDNN choose its algorithms by shape alone."""
    gpus = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(gpus),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        yield


def _start(system: System, config: Any, group: ProcessGroup, pretrained: Path | None) -> _Run:
    torch.manual_seed(config.train.seed)
    network = system.build(config)
    if pretrained is not None:
        _load_pretrained(network, pretrained, show=group.writes_files)
    network.to(group.device).train()
    objective = group.wrap(_Objective(system, network, config))
    scaler = torch.amp.GradScaler(group.device.type, enabled=config.train.precision == "float16")
    return _Run(config, group, network, objective, schedule.optimizer(network, config.train), scaler)


def _load_pretrained(network: nn.Module, path: Path, *, show: bool) -> None:
    from rich.console import Console

    from unibench.joint.training import pretrained

    report = pretrained.start(network, path)
    if show:
        Console(stderr=True).print(str(report), highlight=False, markup=False)


def _made_with(
    system: System,
    config: Any,
    training_sets: Sequence[TrainingSet],
    group: ProcessGroup,
    pretrained: Path | None,
) -> str:
    return json.dumps({
        "system": system.name,
        "config": json.loads(configs.as_json(config)),
        "data": {one.name: len(one.images) for one in training_sets},
        "processes": group.world_size,
        "pretrained": sha256(pretrained) if pretrained else None,
    })  # fmt: skip


def _go(run: _Run, training_sets: Sequence[TrainingSet], out: Path, steps: range, made_with: str) -> None:
    """Do the steps that are left; the first process keeps the log and the checkpoints."""
    group, options = run.group, run.config.train
    log = training_log.writing(out, steps.start) if group.writes_files else nullcontext()
    with log as add, _progress(steps, options.steps, shown=group.writes_files) as show:
        batches = prefetch.batches(
            training_sets,
            run.config,
            steps,
            device=group.device,
            rank=group.rank,
            world_size=group.world_size,
        )
        began = time.perf_counter()
        for step, batch in zip(steps, batches, strict=True):
            values = _step(run, batch, step)
            now = time.perf_counter()
            values["seconds"], began = now - began, now
            show(values["loss"])
            if add is None:
                continue
            add(step, values)
            if (step + 1) % options.checkpoint == 0 or step + 1 == options.steps:
                states = {name: holder.state_dict() for name, holder in run.holders.items()}
                checkpoint.save(out, step + 1, made_with, states)


def _step(run: _Run, batch: Batch, step: int) -> dict[str, float]:
    """Change the parameters once.

    Returns:
        Column of the log -> value.
    """
    options, group = run.config.train, run.group
    torch.manual_seed(_mixed(options.seed, step, group.rank))
    rate = schedule.rate(step, options)
    for parameters in run.optimizer.param_groups:
        parameters["lr"] = rate
    dtype = getattr(torch, options.precision)
    with torch.autocast(group.device.type, dtype, enabled=options.precision != "float32"):
        terms = {name: term.float() for name, term in run.objective(batch).items()}
    total = torch.stack([*terms.values()]).sum()
    means = group.mean(torch.stack([total, *terms.values()]).detach())
    values = dict(zip(["loss", *terms], means, strict=True))
    _require_finite(step, values)
    run.optimizer.zero_grad()
    run.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), options.clip or math.inf).item()
    if not run.scaler.is_enabled():  # with float16 a step that overflows is left out, and the scale is halved
        _require_finite(step, {"norm of the gradient": norm})
    run.scaler.step(run.optimizer)
    run.scaler.update()
    return {"lr": rate, **values, "gradient": norm}


def _require_finite(step: int, values: dict[str, float]) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"step {step}: {name} is {value}; the last checkpoint is kept: lower train.rate, or set train.clip"
            )


def _mixed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0])


@contextmanager
def _progress(steps: range, total: int, *, shown: bool) -> Iterator[Callable[[float], None]]:
    """Show a bar with the loss on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("loss {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    hidden = not (shown and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        bar = progress.add_task("-", total=total, completed=steps.start)
        yield lambda loss: progress.update(bar, advance=1, description=f"{loss:.4g}")
