"""A Ray cluster: one actor a device keeps its model loaded; units of a lost node are run again by another.

The cluster is the one that RAY_ADDRESS names (`auto`: that of this machine), else one that is started on this machine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unibench.errors import UnibenchError
from unibench.evaluation.executors import Batches, Job, Worker, done
from unibench.evaluation.run_clip import Done, OnStep
from unibench.evaluation.units import Unit


@dataclass(eq=False)
class _Actor:
    """An actor, as this process knows it."""

    actor: Any
    batch: list[Unit] | None = None
    """None: it is still starting."""


def run(units: Sequence[Unit], job: Job, on_step: OnStep) -> Iterator[Done]:
    """Run units on the actors of a Ray cluster, which tell what is done, not how far they are.

    Raises:
        UnibenchError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UnibenchError(
            "executor ray: ray is not installed; pip install 'unibench-tracking[ray]'"
        ) from error
    mine = not ray.is_initialized()
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False)
    except (ConnectionError, RuntimeError) as error:
        raise UnibenchError(f"executor ray: {_first_line(error)}; check RAY_ADDRESS") from error
    try:
        yield from _share(units, job)
    finally:
        if mine:
            ray.shutdown()


def _share(units: Sequence[Unit], job: Job) -> Iterator[Done]:
    import ray

    kind = "GPU" if job.device.startswith("cuda") else "CPU"
    there = int(ray.cluster_resources().get(kind, 0))
    if not there:
        raise UnibenchError(
            f"executor ray: the cluster has no {kind}, expected one for --device {job.device}"
        )
    workers = min(job.workers or there, len(units))
    batches, actors, failures = Batches(units), dict[Any, _Actor](), 0
    for _ in range(workers):
        _start(actors, job, kind)
    while batches.left() or any(one.batch for one in actors.values()):
        (ready, *_), _ = ray.wait(list(actors))
        one = actors.pop(ready)
        try:
            answer = ray.get(ready)
        except ray.exceptions.RayError as error:
            failures += one.batch is None
            if failures > workers:
                raise UnibenchError(f"executor ray: no worker starts: {_first_line(error)}") from error
            yield from batches.lost(one.batch, type(error).__name__) if one.batch else ()
            _start(actors, job, kind)  # waits until the cluster has room for it
            continue
        yield from done(one.batch, answer) if one.batch else ()
        batch = batches.take(*([one.batch[0].model] if one.batch else []))
        if batch is not None:
            actors[one.actor.run.remote(batch)] = _Actor(one.actor, batch)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _start(actors: dict[Any, _Actor], job: Job, kind: str) -> None:
    import ray

    resources = {"num_gpus": 1} if kind == "GPU" else {"num_cpus": 1}
    actor = ray.remote(Worker).options(**resources).remote(job, job.device)
    actors[actor.__ray_ready__.remote()] = _Actor(actor)
