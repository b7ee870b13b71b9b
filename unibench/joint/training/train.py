"""The trainer of all joint trackers: deterministic, resumable, on one device or on several.

Batch and random choices of a step are functions of (seed, step, rank), which seed torch's global generator before each
step. A training that is killed goes on from its last checkpoint to the same log and the same weights, also across the
change of its stages.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unibench.errors import TrainingError
from unibench.joint.data import prefetch
from unibench.joint.system import Batch, System, TrainingSet
from unibench.joint.training import checkpoint, distributed, evaluate, export, schedule
from unibench.joint.training import config as configs
from unibench.joint.training import log as training_log
from unibench.joint.training.checkpoint import Checkpoint
from unibench.joint.training.config import Stage
from unibench.joint.training.distributed import ProcessGroup
from unibench.models.download import sha256


def train(  # noqa: PLR0913 - all that a training depends on
    system: System,
    config: Any,
    training_sets: Sequence[TrainingSet],
    out: Path,
    *,
    name: str,
    device: str = "cpu",
    pretrained: Path | None = None,
    validation: TrainingSet | None = None,
    best: bool = False,
    half: bool = False,
) -> Path:
    """Train a system, or go on from the last checkpoint of an earlier call in the same folder.

    Args:
        system: What to train.
        config: Of the system; `classes`, `view`, `sample` and `train` are used here.
        training_sets: What to learn from; their classes are the config's, unless the system is prompted by names.
        out: Folder of the checkpoint, the log, the weights and the card.
        name: Of the model.
        device: A torch device; under torchrun `cuda` is the GPU of the process's local rank.
        pretrained: Weights to begin with.
        validation: Annotated images that the network is scored on every `train.evaluate` steps and at the end of each
            stage; the weights of the last stage with the best AP, of equal ones the latest, are kept in `best.pt`.
        best: Whether those are written in place of the last ones.
        half: Whether the weights are written in half precision.

    Returns:
        The card.

    Raises:
        TrainingError: The loss is not finite, or the folder holds another training or cannot be written.
    """
    _check(system, config, training_sets)

    def batches(stage: Stage, numbers: range, group: ProcessGroup) -> Iterator[Batch]:
        return prefetch.batches(
            training_sets, config, stage, numbers, device=group.device, prompted=system.prompted,
            rank=group.rank, world_size=group.world_size,
        )  # fmt: skip

    def score(network: nn.Module) -> Mapping[str, float]:
        assert validation is not None, "the trainer is told that there is something to score on"
        return evaluate.score(system, config, network, validation).scores

    learner = Learner(
        build=system.build,
        losses=system.losses,
        batches=batches,
        write=lambda network: export.write(system, config, network, training_sets, out, name, half=half),
        made_with={
            "system": system.name,
            "data": {one.name: len(one.images) for one in training_sets},
            "validation": {validation.name: len(validation.images)} if validation else None,
        },
        score=score if validation is not None else None,
    )
    card = learn(learner, config, out, device=device, pretrained=pretrained, best=best)
    return card or out / f"{name}.toml"


@dataclass(frozen=True)
class Learner:
    """What the trainer asks of whatever learns: plain functions, no state."""

    build: Callable[[Any], nn.Module]
    """Config -> network with random parameters."""
    losses: Callable[[nn.Module, Any, Any, str], dict[str, Tensor]]
    """Network, batch, config, name of the stage -> named terms, weighted; their sum is minimised."""
    batches: Callable[[Stage, range, ProcessGroup], Iterator[Any]]
    """Stage, numbers of the batches, processes -> this process's batches in order, on its device; each depends on
    nothing but its number."""
    write: Callable[[nn.Module], Path]
    """Writes the weights and the card of a trained network; the card."""
    made_with: Mapping[str, object]
    """Plain data: what the result depends on beside the config."""
    score: Callable[[nn.Module], Mapping[str, float]] | None = None
    """Network in evaluation mode -> scores, `AP` among them; None: there is nothing to score on."""


def learn(
    learner: Learner,
    config: Any,
    out: Path,
    *,
    device: str = "cpu",
    pretrained: Path | None = None,
    best: bool = False,
) -> Path | None:
    """Do the steps of a training that are not done yet, and write what was learnt.

    Args:
        learner: What learns.
        config: Of the learner; `train` (`TrainOptions`) is used here.
        out: Folder of the checkpoint, the log, the weights and the card.
        device: A torch device; under torchrun `cuda` is the GPU of the process's local rank.
        pretrained: Weights to begin with.
        best: Whether the weights that scored best are written in place of the last ones.

    Returns:
        The card; None in processes that write no files.

    Raises:
        TrainingError: The loss is not finite, or the folder holds another training or cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"{out}: cannot be made ({error.strerror}); choose another folder with -o"
        ) from error
    with distributed.process_group(device) as group, _own_randomness(group.device):
        if config.train.batch % group.world_size:
            raise TrainingError(
                f"train.batch is {config.train.batch}, expected a multiple of the {group.world_size} processes"
            )
        network = _network(learner, config, group, pretrained)
        job = _Job(learner, config, out, group, _made_with(learner, config, group, pretrained))
        saved = checkpoint.read(out / checkpoint.FILE, job.made_with)
        _go(job, network, saved)
        if not group.writes_files:
            return None
        if best:
            _take_best(job, network)
        return learner.write(network)


@dataclass(frozen=True)
class _Job:
    """What stays the same in all stages."""

    learner: Learner
    config: Any
    out: Path
    group: ProcessGroup
    made_with: str
    """JSON of all that the result depends on."""


@dataclass(frozen=True)
class _Run:
    """One stage at work."""

    job: _Job
    stage: Stage
    first: int
    """Number of its first step in the training."""
    network: nn.Module
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    mean: nn.Module | None
    """The moving average of the network."""

    @property
    def end(self) -> int:
        """Number of the step after its last one."""
        return self.first + self.stage.steps

    @property
    def holders(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        mean = {"mean": self.mean} if self.mean is not None else {}
        return {"network": self.network, "optimizer": self.optimizer, "scaler": self.scaler, **mean}


class _Objective(nn.Module):
    """The losses as a forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, learner: Learner, network: nn.Module, config: Any, stage: str) -> None:
        super().__init__()
        self.network = network
        self._of = learner.losses
        self._config = config
        self._stage = stage

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return self._of(self.network, batch, self._config, self._stage)


def _check(system: System, config: Any, training_sets: Sequence[TrainingSet]) -> None:
    for one in training_sets:
        if not system.prompted and tuple(one.classes) != tuple(config.classes):
            raise TrainingError(
                f"data {one.name!r}: classes {', '.join(one.classes)}, expected {', '.join(config.classes)} as the "
                "config says; give other data, or a config with these classes"
            )
    if not any(len(one.images) for one in training_sets):
        raise TrainingError("no annotated image to learn from; give data that have some")


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Leave torch's generators as they were, and let cuDNN choose its algorithms by shape alone."""
    gpus = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(gpus),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        yield


def _network(learner: Learner, config: Any, group: ProcessGroup, pretrained: Path | None) -> nn.Module:
    """The network before the first step."""
    torch.manual_seed(config.train.seed)
    network = learner.build(config)
    schedule.check(network, config.train.stages)
    if pretrained is not None:
        _load_pretrained(network, pretrained, show=group.writes_files)
    return network.to(group.device)


def _start(job: _Job, network: nn.Module, number: int) -> _Run:
    """Begin a stage."""
    options = job.config.train
    stage = options.stages[number]
    schedule.enter(network, stage)
    objective = job.group.wrap(_Objective(job.learner, network, job.config, stage.name))
    return _Run(
        job=job,
        stage=stage,
        first=sum(one.steps for one in options.stages[:number]),
        network=network,
        objective=objective,
        optimizer=schedule.optimizer(network, stage, options),
        scaler=torch.amp.GradScaler(job.group.device.type, enabled=options.precision == "float16"),
        mean=schedule.averaged(network) if stage.ema else None,
    )


def _load_pretrained(network: nn.Module, path: Path, *, show: bool) -> None:
    from rich.console import Console

    from unibench.joint.training import pretrained

    report = pretrained.start(network, path)
    if show:
        Console(stderr=True).print(str(report), highlight=False, markup=False)


def _made_with(learner: Learner, config: Any, group: ProcessGroup, pretrained: Path | None) -> str:
    return json.dumps({
        **learner.made_with,
        "config": json.loads(configs.as_json(config)),
        "processes": group.world_size,
        "pretrained": sha256(pretrained) if pretrained else None,
    })  # fmt: skip


def _go(job: _Job, network: nn.Module, saved: Checkpoint | None) -> None:
    """Do the steps that are left; the first process keeps the log, the scores and the checkpoints."""
    group, options = job.group, job.config.train
    done = saved.step if saved else 0
    log = training_log.writing(job.out, done) if group.writes_files else nullcontext()
    scores = None
    if group.writes_files and job.learner.score is not None:
        scores = training_log.Table(job.out / training_log.VALIDATION, done)
    with log as add, _progress(done, options.steps, shown=group.writes_files) as show:
        if saved:
            checkpoint.restore(saved, {"network": network})
        for number in range(len(options.stages)):
            if sum(one.steps for one in options.stages[: number + 1]) <= done:
                continue
            run = _start(job, network, number)
            if saved and run.first < done:
                checkpoint.restore(saved, run.holders)
            _do(run, max(done, run.first), add, scores, show)


def _do(
    run: _Run,
    start: int,
    add: training_log.Add | None,
    scores: training_log.Table | None,
    show: Callable[[float], None],
) -> None:
    """Do the steps of a stage that are left."""
    options, group = run.job.config.train, run.job.group
    numbers = range(start * options.accumulate, run.end * options.accumulate)
    batches = run.job.learner.batches(run.stage, numbers, group)
    began = time.perf_counter()
    for step in range(start, run.end):
        values = _step(run, islice(batches, options.accumulate), step)
        now = time.perf_counter()
        values["seconds"], began = now - began, now
        show(values["loss"])
        last = step + 1 == run.end
        if last and run.mean is not None:
            run.network.load_state_dict(run.mean.state_dict())
        if add is None:
            continue
        add(step, values)
        if scores is not None and (last or (options.evaluate and (step + 1) % options.evaluate == 0)):
            _evaluate(run, step, scores)
        if last or (step + 1) % options.checkpoint == 0:
            states = {name: holder.state_dict() for name, holder in run.holders.items()}
            checkpoint.save(run.job.out / checkpoint.FILE, step + 1, run.job.made_with, states)


def _step(run: _Run, batches: Iterator[Any], step: int) -> dict[str, float]:
    """Change the parameters once.

    Returns:
        Column of the log -> value.
    """
    options, group = run.job.config.train, run.job.group
    torch.manual_seed(_mixed(options.seed, step, group.rank))
    rate = schedule.rate(step - run.first, run.stage)
    for parameters in run.optimizer.param_groups:
        parameters["lr"] = rate * parameters["factor"]
    run.optimizer.zero_grad()
    means: dict[str, float] = {}
    for batch in batches:
        for name, value in _backward(run, batch, step).items():
            means[name] = means.get(name, 0.0) + value / options.accumulate
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), options.clip or math.inf).item()
    if not run.scaler.is_enabled():  # with float16 a step that overflows is left out, and the scale is halved
        _require_finite(step, {"norm of the gradient": norm})
    run.scaler.step(run.optimizer)
    run.scaler.update()
    if run.mean is not None:
        schedule.average(run.mean, run.network, run.stage, step - run.first + 1)
    return {"lr": rate, **means, "gradient": norm}


def _backward(run: _Run, batch: Any, step: int) -> dict[str, float]:
    """Add the gradient of a batch's part of the loss; the loss and its terms."""
    options, group = run.job.config.train, run.job.group
    dtype = getattr(torch, options.precision)
    with torch.autocast(group.device.type, dtype, enabled=options.precision != "float32"):
        terms = {name: term.float() for name, term in run.objective(batch).items()}
    total = torch.stack([*terms.values()]).sum()
    means = group.mean(torch.stack([total, *terms.values()]).detach())
    values = dict(zip(["loss", *terms], means, strict=True))
    _require_finite(step, values)
    run.scaler.scale(total / options.accumulate).backward()
    return values


def _evaluate(run: _Run, step: int, scores: training_log.Table) -> None:
    """Score the weights of a step; keep them if none of this stage before had a better AP."""
    job, network = run.job, run.network if run.mean is None else run.mean
    assert job.learner.score is not None, "there are scores"
    network.eval()
    found = job.learner.score(network)
    state = network.state_dict()
    schedule.enter_mode(run.network, run.stage)
    known = training_log.read(job.out, training_log.VALIDATION)
    earlier = [
        ap for row, ap in zip(known.get("step", []), known.get("AP", []), strict=True) if row >= run.first
    ]
    if found["AP"] >= max(earlier, default=-math.inf):
        checkpoint.save(job.out / checkpoint.BEST, step + 1, job.made_with, {"network": state})
    scores.add(step, found)


def _take_best(job: _Job, network: nn.Module) -> None:
    saved = checkpoint.read(job.out / checkpoint.BEST, job.made_with)
    if saved is None:
        raise TrainingError(
            f"{job.out / checkpoint.BEST}: no such file, though the best weights are asked for; give data to score on"
        )
    checkpoint.restore(saved, {"network": network})


def _require_finite(step: int, values: dict[str, float]) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"step {step}: {name} is {value}; the last checkpoint is kept: lower train.rate, or set train.clip"
            )


def _mixed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0])


@contextmanager
def _progress(done: int, total: int, *, shown: bool) -> Iterator[Callable[[float], None]]:
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
        bar = progress.add_task("-", total=total, completed=done)
        yield lambda loss: progress.update(bar, advance=1, description=f"{loss:.4g}")
