"""Processes of this machine: one a device, or as many as are asked for."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from unibench.evaluation import run_clip as runner
from unibench.evaluation.executors import THREADS, Batches, Job, Worker, done
from unibench.evaluation.run_clip import Done, OnStep, Step
from unibench.evaluation.units import Unit

PAUSE = 1.0
"""Seconds between two messages of a worker that say how far it is."""


@dataclass(eq=False)
class _WorkerProcess:
    """A worker, as this process knows it."""

    process: BaseProcess
    device: str
    batch: list[Unit]


def run(units: Sequence[Unit], job: Job, on_step: OnStep) -> Iterator[Done]:
    """Run units in processes of one thread each, or in this process where one worker is enough.

    A process that dies is replaced, and its units are run once more.
    """
    devices = job.device.split(",")
    workers = min(job.workers or len(devices), len(units))
    if workers <= 1:
        yield from runner.execute(
            units,
            job.out,
            job.weights_path,
            device=devices[0],
            overwrite=job.overwrite,
            features=job.features,
            keep_predictions=job.keep_predictions,
            on_step=on_step,
        )
        return
    batches, processes = Batches(units), dict[Connection, _WorkerProcess]()
    try:
        with _one_thread():
            for number in range(workers):
                _start(processes, batches, job, devices[number % len(devices)])
            while processes:
                ready = wait(list(processes))
                for line in [one for one in processes if one in ready]:
                    yield from _listen(processes, batches, job, line, on_step)
    finally:
        for worker in processes.values():
            worker.process.kill()
            worker.process.join()


def _start(processes: dict[Connection, _WorkerProcess], batches: Batches, job: Job, device: str) -> None:
    batch = batches.take()
    if batch is None:
        return
    spawn = multiprocessing.get_context("spawn")
    line, far_end = spawn.Pipe()
    process = spawn.Process(target=_work, args=(far_end, job, device), daemon=True)
    process.start()
    far_end.close()
    processes[line] = _WorkerProcess(process, device, batch)
    with suppress(OSError):  # it has died at once: seen when its answer is read
        line.send(batch)


def _listen(
    processes: dict[Connection, _WorkerProcess],
    batches: Batches,
    job: Job,
    line: Connection,
    on_step: OnStep,
) -> Iterator[Done]:
    worker = processes[line]
    try:
        answer = line.recv()
    except (EOFError, OSError):
        del processes[line]
        worker.process.join()
        yield from batches.lost(worker.batch, f"exit code {worker.process.exitcode}")
        _start(processes, batches, job, worker.device)
        return
    if isinstance(answer, Step):
        on_step(answer)
        return
    yield from done(worker.batch, answer)
    batch = batches.take(worker.batch[0].model)
    if batch is None:
        del processes[line]
        line.close()
        worker.process.join()
        return
    worker.batch = batch
    with suppress(OSError):
        line.send(batch)


def _work(line: Connection, job: Job, device: str) -> None:
    """What a process does until the other end hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    worker = Worker(job, device)
    with suppress(EOFError, OSError):
        while True:
            line.send(worker.run(line.recv(), _now_and_then(line.send)))


def _now_and_then(tell: OnStep) -> OnStep:
    """Tell the first step, and then one every PAUSE seconds."""
    told = -PAUSE

    def on_step(step: Step) -> None:
        nonlocal told
        if time.monotonic() - told >= PAUSE:
            told = time.monotonic()
            tell(step)

    return on_step


@contextmanager
def _one_thread() -> Iterator[None]:
    """Give the processes that are started meanwhile one thread each, where the user did not say how many."""
    mine = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(mine, "1"))
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)
