"""A Ray cluster of two nodes on this machine, one of which is killed midway; run by hand or by `test_clusters`.

    python -m tests.integration.ray_two_nodes

Prints what was killed, what was run again, and whether every byte is that of one plain run; exits with code 1 if not.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.evaluation import sweeps
from tests.integration.processes import family, kill, say, unibench

ASKED = ("-m", "lab-colour", "-m", "hog", "-m", "random-resnet18", "-t", "vos/davis2016")
CLIPS, FRAMES = 12, 100
ADDRESS = "127.0.0.1:6399"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_RECORD_ACTOR_TASK_LOGGING": "0"}


@contextmanager
def node(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """One node of the cluster, with one CPU; whatever it started ends with it."""
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "start", *arguments, "--num-cpus=1", "--object-store-memory=100000000", "--block",
               "--disable-usage-stats", "--node-ip-address=127.0.0.1"]  # fmt: skip
    environment = {**os.environ, **QUIET}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=environment
    ) as process:
        try:
            yield process
        finally:
            kill(process.pid)


def up(nodes: int) -> bool:
    """Whether so many nodes have joined."""
    code = f"import ray; ray.init({ADDRESS!r}, log_to_driver=False); print(sum(one['Alive'] for one in ray.nodes()))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **QUIET}
    )
    return done.stdout.strip().endswith(str(nodes))


def main() -> int:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        asked = [*ASKED, "--data", sweeps.davis(root / "data", CLIPS, FRAMES)]
        subprocess.run(unibench("run", *asked, "-o", root / "whole"), check=True, stdout=subprocess.DEVNULL)
        say("plain run: done")
        port = ADDRESS.rpartition(":")[2]
        with (
            node("--head", f"--port={port}", "--include-dashboard=false"),
            node(f"--address={ADDRESS}") as second,
        ):
            while not up(2):
                time.sleep(1)
            say("two nodes are up, with one CPU each")
            environment = {**os.environ, **QUIET, "RAY_ADDRESS": ADDRESS, "PYTHONUNBUFFERED": "1"}
            command = unibench("run", *asked, "-o", root / "ray", "--executor", "ray")
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
            ) as run:
                assert run.stdout is not None
                alive = True
                for line in run.stdout:
                    if line.startswith(("[", "worker", "failed", "unibench")):
                        say(line.strip())
                    if alive and "ray::Worker.run" in family(second.pid).values():
                        say(f"kill -9, the second node: {kill(second.pid)}")
                        alive = False
            say(f"exit code {run.returncode}")
        same = sweeps.left(root / "ray") == sweeps.left(root / "whole")
        say(f"{len(sweeps.left(root / 'ray'))} files; all bytes as of the plain run: {same}")
        return 0 if same and run.returncode == 0 and not alive else 1


if __name__ == "__main__":
    if shutil.which("ray", path=str(Path(sys.executable).parent)) is None:
        sys.exit("ray is not installed here: uv sync --extra ray")
    sys.exit(main())
