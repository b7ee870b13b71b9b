"""How threads wait for one another; said to OpenMP by the environment, before torch is loaded."""

import os

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"}
"""Threads spin for some microseconds, then sleep. Without a spin, small steps are two to three times slower on idle
cores; with the default one, ten times slower where another process is busy. The user's own values stay."""


def wait_briefly() -> None:
    """Set what is not set; no effect once torch is loaded."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
