"""A Slurm cluster, through submitit: one job a worker, in arrays; a job that is preempted or times out is requeued.

Slurm's own variables (SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT, ...) say what a cluster needs to know.
"""

import logging
import os
import pickle
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

from unibench.errors import UnibenchError
from unibench.evaluation.executors import ATTEMPTS, THREADS, Answer, Job, Worker, batches, done
from unibench.evaluation.run_clip import Done, OnStep
from unibench.evaluation.units import Unit

LOGS = "slurm"
"""Folder below the results for submitit's files and the jobs' output."""
MINUTES = 60
"""Time limit of a job without SBATCH_TIMELIMIT; whatever is not done by then is requeued."""
REQUEUES = 100
"""How often a job may run out of time: each time it goes on where it was."""
PIECES = 4
"""Jobs a worker: those that are done early make room for others, so the load evens out."""


@dataclass(frozen=True)
class Shard:
    """What one Slurm job does; submitit pickles it, and calls it on the node."""

    job: Job
    units: bytes
    """Pickled apart, for they may need the plug-ins that `job` names."""

    def __call__(self) -> Answer:
        """Run the units; those that are done already cost nothing."""
        worker = Worker(self.job, self.job.device)
        outcomes = []
        for batch in batches(pickle.loads(self.units)):  # noqa: S301 - what `run` pickled, inside a pickle of submitit's
            answer = worker.run(batch)
            if isinstance(answer, str):
                return answer
            outcomes += answer
        return outcomes

    def checkpoint(self) -> Any:
        """Say how to go on after preemption or a timeout: the same again, for what is done is on disk."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def run(units: Sequence[Unit], job: Job, on_step: OnStep) -> Iterator[Done]:
    """Run units in jobs of an array, at most `job.workers` at a time; those of a job that fails are run once more.

    Jobs tell what is done, not how far they are.

    Raises:
        UnibenchError: submitit or Slurm is not here, no number of workers is set, or a job met an error that
            stops the run.
    """
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise UnibenchError(
            "executor submitit: submitit is not installed; pip install 'unibench-tracking[slurm]'"
        ) from error
    if shutil.which("sbatch") is None:
        raise UnibenchError(
            "executor submitit: no command sbatch; run this where Slurm jobs can be submitted"
        )
    if not job.workers:
        raise UnibenchError(
            "executor submitit: no number of jobs; say how many may run at a time with --workers N"
        )
    executor = submitit.SlurmExecutor(job.out / LOGS, max_num_timeout=REQUEUES)
    executor.update_parameters(**_parameters(job))
    waiting = _cut(batches(units), min(PIECES * job.workers, _limit()))
    for _ in range(ATTEMPTS):
        with executor.batch():
            jobs = [(executor.submit(Shard(job, pickle.dumps(piece))), piece) for piece in waiting]
        waiting = []
        for ended in submitit.helpers.as_completed([one for one, _ in jobs], poll_frequency=2):
            piece = next(piece for one, piece in jobs if one is ended)
            try:
                answer = ended.result()
            except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError):
                logging.getLogger(__name__).warning("job %s is lost (%s)", ended.job_id, ended.state)
                waiting.append(piece)
            else:
                yield from done(piece, answer)
        if not waiting:
            return
    yield from (
        Done(unit, 0.0, f"its job was lost {ATTEMPTS} times; see {job.out / LOGS}")
        for unit in chain(*waiting)
    )


def _cut(found: Sequence[list[Unit]], count: int) -> list[list[Unit]]:
    """Cut a line of batches into pieces of about the same number."""
    ends = [round(len(found) * number / count) for number in range(count + 1)]
    pieces = [list(chain(*found[start:end])) for start, end in pairwise(ends)]
    return [piece for piece in pieces if piece]


def _limit() -> int:
    """The longest array that this cluster takes."""
    command = ["scontrol", "show", "config"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", shown)
    return int(found.group(1)) if found else 1000


def _parameters(job: Job) -> dict[str, Any]:
    limit = os.environ.get("SBATCH_TIMELIMIT", "")
    return {
        "job_name": "unibench",
        "time": int(limit) if limit.isdecimal() else MINUTES,
        "cpus_per_task": 1,
        "array_parallelism": job.workers,
        "setup": [f"export {name}=1" for name in THREADS],
        **({"gpus_per_node": 1} if job.device.startswith("cuda") else {}),
    }
