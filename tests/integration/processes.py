"""What the scripts of this folder share: commands, processes with all that come from them, a log."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path


def say(text: str) -> None:
    """Print a line of the log."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def unibench(*arguments: object) -> list[str]:
    """The command line, in this environment."""
    return [sys.executable, "-m", "unibench", *map(str, arguments)]


def family(pid: int) -> dict[int, str]:
    """A process and all that come from it, with their names."""
    found = [pid]
    for one in found:
        children = Path(f"/proc/{one}/task/{one}/children")
        found += [int(child) for child in children.read_text().split()] if children.exists() else []
    return {one: name.read_text().strip() for one in found if (name := Path(f"/proc/{one}/comm")).exists()}


def kill(*pids: int) -> str:
    """Kill processes and all that come from them, as when a machine loses its power."""
    killed: dict[int, str] = {}
    for pid in pids:
        killed |= family(pid)
    for one in killed:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    return ", ".join(f"{name} {one}" for one, name in killed.items())
