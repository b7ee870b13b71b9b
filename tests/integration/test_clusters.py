"""Real clusters on this machine: minutes long, and only where their programs are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.slurm_one_node import PROGRAMS

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def run(script: str) -> None:
    command = [sys.executable, "-m", f"tests.integration.{script}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(
    not Path(sys.executable).with_name("ray").exists(), reason="ray is not installed: uv sync --extra ray"
)
def test_a_ray_cluster_that_loses_a_node_leaves_the_bytes_of_a_plain_run() -> None:
    run("ray_two_nodes")


@pytest.mark.skipif(
    any(shutil.which(name) is None for name in PROGRAMS) or os.geteuid() != 0,
    reason=f"needs root and {', '.join(PROGRAMS)}",
)
def test_a_slurm_cluster_with_a_preempted_and_a_killed_job_leaves_the_bytes_of_a_plain_run() -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: uv sync --extra slurm")
    run("slurm_one_node")
