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
