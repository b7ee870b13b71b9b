"""Processes of this machine: one a device, or as many as are asked for."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from unibench.evaluation import run_clip as runner
from unibench.evaluation.executors import THREADS, Batches, Job, Worker, done
from unibench.evaluation.run_clip import Done
from unibench.evaluation.units import Unit


@dataclass(eq=False)
class _Hand:
    """A worker, seen from here."""

    process: BaseProcess
    device: str
    batch: list[Unit]


def run(units: Sequence[Unit], job: Job) -> Iterator[Done]:
    """Run units in processes of one thread each, or in this process where one worker is enough.

    A process that dies is replaced, and its units are run once more.
    """
    devices = job.device.split(",")
    workers = min(job.workers or len(devices), len(units))
    if workers <= 1:
        yield from runner.execute(
            units, job.out, job.weights, device=devices[0], always=job.always, features=job.features
        )
        return
    batches, hands = Batches(units), dict[Connection, _Hand]()
    try:
        with _one_thread():
            for number in range(workers):
                _start(hands, batches, job, devices[number % len(devices)])
            while hands:
                ready = wait(list(hands))
                for line in [one for one in hands if one in ready]:
                    yield from _listen(hands, batches, job, line)
    finally:
        for hand in hands.values():
            hand.process.kill()
            hand.process.join()


def _start(hands: dict[Connection, _Hand], batches: Batches, job: Job, device: str) -> None:
    batch = batches.take()
    if batch is None:
        return
    spawn = multiprocessing.get_context("spawn")
    line, far_end = spawn.Pipe()
    process = spawn.Process(target=_work, args=(far_end, job, device), daemon=True)
    process.start()
    far_end.close()
    hands[line] = _Hand(process, device, batch)
    with suppress(OSError):  # it has died at once: seen when its answer is read
        line.send(batch)


def _listen(hands: dict[Connection, _Hand], batches: Batches, job: Job, line: Connection) -> Iterator[Done]:
    hand = hands[line]
    try:
        answer = line.recv()
    except (EOFError, OSError):
        del hands[line]
        hand.process.join()
        yield from batches.lost(hand.batch, f"exit code {hand.process.exitcode}")
        _start(hands, batches, job, hand.device)
        return
    yield from done(hand.batch, answer)
    batch = batches.take(hand.batch[0].card.name)
    if batch is None:
        del hands[line]
        line.close()
        hand.process.join()
        return
    hand.batch = batch
    with suppress(OSError):
        line.send(batch)


def _work(line: Connection, job: Job, device: str) -> None:
    """What a process does until the other end hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    worker = Worker(job, device)
    with suppress(EOFError, OSError):
        while True:
            line.send(worker.run(line.recv()))


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
