"""Freed feature maps do not stay in memory among small blocks that live on."""

import platform
import subprocess
import sys

import pytest

CLIP = """
import torch
from pathlib import Path
from unibench.evaluation import heap

def resident():
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


del (first := [torch.ones(3 << 20)])[:]  # glibc would now take blocks of 12 MiB from its heap
before, kept, maps = resident(), [], []
for _ in range(20):
    maps.append(torch.ones(3 << 20))
    kept += [torch.ones(20_000) for _ in range(3)]
del maps
heap.trim()
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the function is glibc's")
def test_freed_maps_leave_no_holes() -> None:
    ran = subprocess.run([sys.executable, "-c", CLIP], capture_output=True, text=True, check=True)
    assert float(ran.stdout) < 60  # MiB; the small blocks take 5, the holes would be 240


@pytest.mark.slow
@pytest.mark.skipif(platform.system() != "Linux", reason="reads Linux' account of a process")
def test_memory_is_flat_over_2000_frames_of_mot() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.long_clips", "memory", "lab-colour", "2000"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    held = {int(line.split()[0]): int(line.split()[2]) for line in ran.stdout.splitlines()}
    assert held[2000] - held[500] < 20, held  # MiB; the frames alone, if they were kept, would be 70
    assert held[2000] < 1024
