"""A Slurm cluster of one node on this machine's loopback, through submitit; run by hand or by `test_clusters`.

    python -m tests.integration.slurm_one_node

Needs Debian's slurmctld, slurmd, slurmdbd, slurm-client, munge and mariadb-server, submitit, and root. One job is
preempted midway (Slurm requeues it), another one is killed with everything it started. Prints what happened, and
whether every byte is that of one plain run; exits with code 1 if not.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.evaluation import sweeps
from tests.integration.processes import kill, say, unibench

ASKED = ("-m", "lab-colour", "-m", "hog", "-m", "random-resnet18", "-t", "vos/davis2016")
CLIPS, FRAMES = 12, 300
PROGRAMS = ("munged", "mariadbd", "mariadb-install-db", "slurmdbd", "slurmctld", "slurmd", "sbatch")
MAX_ARRAY = 5
"""Longest array that the cluster takes: fewer than the jobs that two workers would like to have."""
HOST = socket.gethostname()
MUNGE = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MaxArraySize={arrays}
JobRequeue=1
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
AccountingStoragePass={root}/munge.socket
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
ACCOUNTS = """
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
PidFile={root}/slurmdbd.pid
LogFile={root}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StoragePort=0
StorageUser=root
"""


def shell(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout


def until(what: str, true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.5)


@contextmanager
def cluster(root: Path) -> Iterator[None]:
    """Start every daemon, each with its files below one folder; all of them end with it."""
    for name in ("state", "spool", "db"):
        (root / name).mkdir()
    for name, text in (("slurm.conf", CONF), ("slurmdbd.conf", ACCOUNTS)):
        (root / name).write_text(text.format(host=HOST, root=root, arrays=MAX_ARRAY, cpus=2))
        (root / name).chmod(0o600)
    (root / "munge.key").write_bytes(os.urandom(1024))
    (root / "munge.key").chmod(0o600)
    os.environ |= {"SLURM_CONF": str(root / "slurm.conf"), "MYSQL_UNIX_PORT": str(root / "db.socket")}
    munge = [f"--{name}={root}/munge.{end}" for name, end in MUNGE.items()]
    database = ["--no-defaults", "--user=root", f"--datadir={root}/db"]
    shell("mariadb-install-db", *database, "--auth-root-authentication-method=socket", "--skip-test-db")
    daemons: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        with (root / f"{command[0]}.out").open("wb") as log:
            daemons.append(subprocess.Popen(command, stdout=log, stderr=log))

    try:
        start("munged", "--foreground", "--force", *munge)
        start(
            "mariadbd",
            *database,
            f"--socket={root}/db.socket",
            "--skip-networking",
            f"--pid-file={root}/db.pid",
        )
        until("mariadb", (root / "db.socket").exists)
        start("slurmdbd", "-D")
        until("slurmdbd", lambda: "test" in shell("sacctmgr", "-n", "-i", "add", "cluster", "test"))
        start("slurmctld", "-D")
        start("slurmd", "-D")
        until("slurm", lambda: "idle" in shell("sinfo", "-h", "-o", "%T"))
        yield
    finally:
        for daemon in reversed(daemons):
            kill(daemon.pid)


def running() -> list[str]:
    return shell("squeue", "-h", "-t", "R", "-r", "-o", "%i").split()


def processes(job: str) -> list[int]:
    rows = [line.split() for line in shell("scontrol", "listpids", job).splitlines()[1:]]
    return [int(row[0]) for row in rows if row[0].isdecimal()]


def disturb(out: Path, run: subprocess.Popen[str]) -> None:
    """Preempt one job and kill another one, each when results come in."""
    done = lambda: len(list(out.rglob("clips/*.json")))  # noqa: E731
    until("first results", lambda: done() >= 2 and running(), 300)
    first = running()[0]
    say(
        f"{done()} clips are done; job {first} is told that its time is up (USR2, as Slurm does), and requeues itself"
    )
    shell("scancel", "--signal=USR2", first)
    before = done()
    until("another job", lambda: done() > before and set(running()) - {first}, 300)
    second = next(one for one in running() if one != first)
    say(f"{done()} clips are done; kill -9, job {second}: {kill(*processes(second))}")


def main() -> int:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        out = root / "slurm-out"
        asked = [*ASKED, "--data", sweeps.davis(root / "data", CLIPS, FRAMES)]
        subprocess.run(unibench("run", *asked, "-o", root / "whole"), check=True, stdout=subprocess.DEVNULL)
        say("plain run: done")
        (root / "cluster").mkdir()
        with cluster(root / "cluster"):
            say(f"the cluster is up: {shell('sinfo', '-h', '-o', '%n, %c CPUs, %T').strip()}")
            command = unibench("run", *asked, "-o", out, "--executor", "submitit", "--workers", 2)
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as run:
                disturb(out, run)
                text, _ = run.communicate()
            for line in text.splitlines():
                if line.startswith(("[", "worker", "job", "failed", "unibench")):
                    say(line)
            say(f"exit code {run.returncode}; jobs as Slurm's accounts have them:")
            print(shell("sacct", "-D", "-X", "-n", "-P", "-o", "JobID,State,ExitCode,Elapsed"))
        shutil.rmtree(out / "slurm")
        same = sweeps.left(out) == sweeps.left(root / "whole")
        say(f"{len(sweeps.left(out))} files; all bytes as of the plain run: {same}")
        return 0 if same and run.returncode == 0 else 1


if __name__ == "__main__":
    if absent := [name for name in PROGRAMS if shutil.which(name) is None]:
        sys.exit(f"not installed here: {', '.join(absent)}")
    sys.exit(main())
