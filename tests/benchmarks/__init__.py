"""Speed, as ratios: `python -m tests.benchmarks` times every case against its reference, in pairs, in one process.

A module `bench_*.py` beside this file has one function, which the runner finds by its name:

    def cases(*, quick: bool = False) -> list[Case]

It makes the inputs (seeded, no files) and returns what is to be timed; `quick` asks for sizes at which a whole case
takes well under a second: pytest runs those (`test_smoke.py`). See `cases.py`.
"""

from unibench.cli import threads

threads.wait_briefly()  # as the command line does
