"""Who runs the units of a sweep: processes of this machine, a Slurm cluster or a Ray cluster.

An executor is a function from units and a `Job` to what became of each unit, in any order. It is found by its name
among the entry points `unibench.executors`, so another package can bring one. Results are on disk when they are
reported, so what travels is small: units one way, seconds and errors the other. Where work is done nearby, it also
tells how far each clip is.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path

from unibench import models, plugins
from unibench.errors import UnibenchError, UnknownNameError
from unibench.evaluation import run_clip
from unibench.evaluation.run_clip import Done, OnStep, untold
from unibench.evaluation.units import Unit, share_a_clip
from unibench.features.cache import FeatureCache
from unibench.models import frozen
from unibench.records import Model
from unibench.tasks import protocols

GROUP = "unibench.executors"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that say how many threads a worker takes."""
ATTEMPTS = 2
"""How often units are handed out; those whose worker died as often have failed."""


@dataclass(frozen=True)
class Job:
    """What all units of a run have in common: plain data, which travels to workers."""

    out: Path
    """Root folder of the results; an absolute path that all workers can read."""
    weights_path: Path | None = None
    """A weights file, or the folder that holds them."""
    device: str = "cpu"
    """A torch device, or several separated by commas."""
    workers: int | None = None
    """How many at a time; None: one a device."""
    overwrite: bool = False
    """Compute again what is there."""
    plugins: tuple[str, ...] = ()
    """Plug-ins that a worker imports first."""
    features: FeatureCache | None = None
    """Where feature maps are kept: a folder that all workers can read."""
    keep_predictions: bool = True
    """Whether what trackers say is stored beside the scores."""


Executor = Callable[[Sequence[Unit], Job, OnStep], Iterator[Done]]
Outcome = tuple[float, str]
"""Seconds and error of one unit, as `Done` has them."""
Answer = list[Outcome] | str
"""What a worker says of a batch: an outcome a unit, or the error that stops the run."""


def find(name: str) -> Executor:
    """Look up an executor.

    Raises:
        UnknownNameError: No installed package has one of that name.
    """
    known = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in known:
        raise UnknownNameError("executor", name, known)
    executor: Executor = known[name].load()
    return executor


class Worker:
    """Runs one batch after another, and keeps the model of the last one."""

    def __init__(self, job: Job, device: str) -> None:
        self.job = job
        self.device = device
        self.trouble = ""  # the answer to every batch
        self.model: Model | None = None
        self.named = ("", "")  # name and fingerprint of that model
        try:
            plugins.load_installed()
            for name in job.plugins:
                plugins.load(name)
            frozen.find_device(device)
        except UnibenchError as error:
            self.trouble = str(error)

    def run(self, units: Sequence[Unit], on_step: OnStep = untold) -> Answer:
        """Run units of one model; their results are on disk when this returns."""
        if self.trouble:
            return self.trouble
        try:
            done = run_clip.run_model(
                units,
                self._open(units[0]),
                self.job.out,
                overwrite=self.job.overwrite,
                keep_predictions=self.job.keep_predictions,
                on_step=on_step,
            )
            outcomes = {id(one.unit): (one.seconds, one.error) for one in done}
        except UnibenchError as error:
            return str(error)
        return [outcomes[id(unit)] for unit in units]

    def _open(self, unit: Unit) -> Model:
        if self.model is None or unit.model != self.named:
            self.model = models.open(unit.card, self.job.weights_path, self.device, self.job.features)
            self.named = unit.model
        return self.model


class Batches:
    """Units still to be handed out, those together that share the passes of a network."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.waiting: dict[tuple[str, str], deque[list[Unit]]] = {}
        self.begun: set[tuple[str, str]] = set()
        self.attempts: dict[int, int] = {}
        for batch in batches(units):
            self.waiting.setdefault(batch[0].model, deque()).append(batch)

    def take(self, model: tuple[str, str] = ("", "")) -> list[Unit] | None:
        """Hand out a batch: of the model that a worker has loaded, else of the one with the most work left.

        A model that no worker has begun goes first: each loads a network, and perhaps its library, anew.
        """
        if not self.waiting.get(model):
            left = [one for one, batches in self.waiting.items() if batches]
            fresh = [one for one in left if one not in self.begun]
            model = max(fresh or left, key=self._left, default=model)
        if not self.waiting.get(model):
            return None
        self.begun.add(model)
        batch = self.waiting[model].popleft()
        self.attempts[id(batch)] = self.attempts.get(id(batch), 0) + 1
        return batch

    def left(self) -> bool:
        """Whether any batch waits to be handed out."""
        return any(self.waiting.values())

    def _left(self, model: tuple[str, str]) -> int:
        left = self.waiting[model]
        return sum(map(len, left)) * (1 + left[0][0].card.architecture.parameters) if left else 0

    def lost(self, batch: list[Unit], why: str) -> list[Done]:
        """Take back a batch whose worker died, to hand it out once more; the second time its units have failed.

        Args:
            batch: As it was handed out.
            why: How the worker died.

        Returns:
            What is given up.
        """
        name = f"{batch[0].card.name} {protocols.title(batch[0].task)} {batch[0].clip}"
        if self.attempts[id(batch)] < ATTEMPTS:
            logging.getLogger(__name__).warning("worker lost (%s) at %s; another one does it", why, name)
            self.waiting[batch[0].model].appendleft(batch)
            return []
        return [Done(unit, 0.0, f"its worker was lost {ATTEMPTS} times ({why})") for unit in batch]


def absolute(unit: Unit) -> Unit:
    """Make the paths of a unit independent of the folder that a worker starts in."""
    protocol = unit.task.protocol
    if protocol.detections_hash:
        protocol = replace(protocol, detections=str(Path(protocol.detections).resolve()))
    return replace(unit, task=replace(unit.task, protocol=protocol), root=unit.root.resolve())


def batches(units: Sequence[Unit]) -> list[list[Unit]]:
    """Put units together that share decoding and passes of a network, model by model."""
    groups: dict[tuple[str, str], list[Unit]] = {}
    for unit in units:
        groups.setdefault(unit.model, []).append(unit)
    return [batch for group in groups.values() for batch in share_a_clip(group)]


def done(batch: Sequence[Unit], answer: Answer) -> list[Done]:
    """Assign a worker's answer to the units of its batch.

    Raises:
        UnibenchError: The worker met an error that stops the run.
    """
    if isinstance(answer, str):
        raise UnibenchError(answer)
    return [Done(unit, seconds, error) for unit, (seconds, error) in zip(batch, answer, strict=True)]
