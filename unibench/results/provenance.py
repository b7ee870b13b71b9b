"""How a result came about: command, versions, machine, times."""

import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "timm", "faiss-cpu", "numpy", "scipy", "trackeval", "motmetrics", "pycocotools",
            "scikit-image", "pillow", "unibench-tracking")  # fmt: skip


def collect(command: Sequence[str], start: datetime, device: str, threads: int) -> dict[str, Any]:
    """Collect how a result came about.

    Args:
        command: As it was called.
        start: When it began; it ends now.
        device: A torch device.
        threads: Of torch.
    """
    return {
        "command": list(command),
        "start": start.isoformat(timespec="seconds"),
        "end": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "git": _git_state(),
        "machine": {"system": platform.platform(), "processor": platform.processor(), "python": sys.version.split()[0],
                    "threads": threads},
        "packages": {name: _version(name) for name in PACKAGES},
    }  # fmt: skip


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git_state() -> str:
    """The commit of this source tree, with `-dirty` where it was changed; empty outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
