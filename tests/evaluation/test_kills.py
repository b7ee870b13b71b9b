"""Workers that are killed at random moments, or do the same work at once: nothing is lost, torn or different."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation import sweeps
from unibench.results import predictions

CLIPS = 24
FEW = 4
"""Clips that a worker is at most allowed to finish before it is killed."""
MOMENT = 0.05
"""Seconds; about what a clip takes."""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "unibench", *map(str, arguments)]


def finish(*arguments: object) -> None:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A plan, and what one uninterrupted run leaves."""
    root = tmp_path_factory.mktemp("sweep")
    data = sweeps.davis(root / "data", CLIPS)
    asked = ["-m", "lab-colour", "-m", "hog", "-t", "vos/davis2016", "--data", data]
    finish("plan", *asked, "-o", root / "plan.json")
    finish("run", *asked, "-o", root / "whole")
    return root / "plan.json", sweeps.left(root / "whole")


def kill(arguments: list[object], clips: int, delay: float) -> None:
    """Start a worker and kill it: at once, or some moments after it has finished so many clips."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, text=True, env=environment) as worker:
        assert worker.stdout is not None
        lines = list(islice((line for line in worker.stdout if "there already" not in line), clips))
        time.sleep(delay)
        worker.kill()
    assert worker.returncode == -9, "it was done before it was killed"
    last = lines[-1].strip() if lines else "before the first clip"
    print(f"killed after {time.perf_counter() - start:.2f} s: {last}")


def assert_every_score_has_its_predictions(out: Path) -> None:
    for path in out.rglob("clips/*.json"):
        record = json.loads(path.read_text())
        file = path.parent.parent / "predictions" / f"{path.stem}.{record['predictions']}.zip"
        with predictions.opened(file, record["predictions"]) as predicted:
            assert len(predicted) == record["frames"]


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_what_is_left_after_kills_is_what_one_run_leaves(
    kills: int, sweep: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    plan, whole = sweep
    rng = np.random.default_rng(kills)
    same = ["work", plan, "-o", tmp_path]
    for _ in range(kills):
        clips = int(rng.integers(FEW + 1))
        kill(same, clips, float(rng.uniform(0, MOMENT if clips else 2.0)))
        assert_every_score_has_its_predictions(tmp_path)
    before = len(list(tmp_path.rglob("clips/*.json")))
    finish(*same)
    finish("merge", "-o", tmp_path)
    print(f"{before} of {2 * CLIPS} clips were done when the same command was given the last time")
    assert before < 2 * CLIPS
    assert sweeps.left(tmp_path) == whole


def test_two_workers_on_the_same_work_do_no_harm(
    sweep: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    plan, whole = sweep
    same = command("work", plan, "-o", tmp_path, "--overwrite", "always")
    workers = [subprocess.Popen(same, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    finish("merge", "-o", tmp_path)
    assert sweeps.left(tmp_path) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_workers_and_says_so_in_one_line(number: signal.Signals, tmp_path: Path) -> None:
    data, out = sweeps.davis(tmp_path / "data", CLIPS), tmp_path / "out"
    same = ["run", "-m", "lab-colour", "-t", "vos/davis2016", "--data", data, "-o", out, "--workers", 2]
    run = subprocess.Popen(
        command(*same), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with run:
        while not list(out.rglob("clips/*.json")):
            time.sleep(MOMENT)
            assert run.poll() is None
        run.send_signal(number)
        _, said = run.communicate(timeout=60)
    line = "unibench: interrupted; clips that were scored are kept, the same command goes on\n"
    assert (run.returncode, said) == (2, line)
    assert len(list(out.rglob("clips/*.json"))) < CLIPS
    start = time.perf_counter()
    while _group_lives(run.pid):
        assert time.perf_counter() - start < 30, "a worker outlives the run"
        time.sleep(MOMENT)


def _group_lives(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
