"""Print a table of every benchmark, and add its rows to the history."""

import argparse
import csv
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.benchmarks.cases import Case
from tests.benchmarks.timing import Timing, measure

HERE = Path(__file__).parent
HISTORY = HERE.parents[1] / "results" / "benchmarks.csv"
COLUMNS = ("date", "commit", "machine", "load", "threads", "name", "run_s", "reference_s", "ratio", "ratio_low",
           "ratio_high", "pairs", "limit", "ok")  # fmt: skip
GROSS = 2.0
"""A quick run, whose sizes are small and whose pairs are few, complains only beyond this many times the limit."""
QUICK_SECONDS = 20.0
"""Of all cases of a quick run together, about."""


def find(only: str, *, quick: bool) -> Iterator[Case]:
    """Make the cases of all `bench_*.py`, one module after the other, whose name matches."""
    for path in sorted(HERE.glob("bench_*.py")):
        for case in import_module(f"tests.benchmarks.{path.stem}").cases(quick=quick):
            if fnmatchcase(case.name, f"*{only}*"):
                yield case


def table(timings: Sequence[Timing], *, quick: bool) -> Table:
    """One row a case."""
    made = Table(title=machine(), title_justify="left")
    for column in ("case", "run", "reference", "ratio", "spread", "limit", "", "the reference is"):
        made.add_column(column, overflow="fold")
    for one in timings:
        case, ratios = one.case, one.ratios
        verdict = "[green]ok" if kept(one, quick=quick) else "[red]too slow"
        made.add_row(
            case.name, human(median(one.run)), human(median(one.reference)), f"{one.ratio:.3g}",
            f"{ratios[0]:.3g} .. {ratios[-1]:.3g}", f"{case.limit:.3g}", verdict, case.note,
        )  # fmt: skip
    return made


def kept(timing: Timing, *, quick: bool) -> bool:
    """Whether a case is fast enough; of a quick run, whether nothing is grossly wrong."""
    return timing.best <= GROSS * timing.case.limit if quick else timing.ok


def human(seconds: float) -> str:
    """Milliseconds below a second."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def machine() -> str:
    """Processor and number of cores."""
    name = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.is_file():
        name = next(
            (
                line.partition(":")[2].strip()
                for line in cpus.read_text().splitlines()
                if line.startswith("model name")
            ),
            name,
        )
    return f"{name}, {os.cpu_count()} cores"


def commit() -> str:
    """The commit of this tree, with `-dirty` where it was changed; empty outside a checkout."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def append(path: Path, timings: Sequence[Timing]) -> None:
    """Add one row a case to the history."""
    import torch

    new = not path.is_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    about = (datetime.now(UTC).isoformat(timespec="seconds"), commit(), machine(), f"{os.getloadavg()[0]:.1f}",
             torch.get_num_threads())  # fmt: skip
    with path.open("a", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        for one in timings:
            figures = (median(one.run), median(one.reference), one.ratio, one.ratios[0], one.ratios[-1])
            writer.writerow(
                (
                    *about,
                    one.case.name,
                    *(f"{figure:.4g}" for figure in figures),
                    len(one.run),
                    one.case.limit,
                    one.ok,
                )
            )


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for; 1: something is too slow."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, few pairs; fails at twice a limit only"
    )
    parser.add_argument(
        "--only", default="", metavar="NAME", help="cases with this in their name, or a pattern"
    )
    parser.add_argument(
        "-o", "--out", type=Path, help=f"history; default: {HISTORY.name} in results, but for --quick"
    )
    parser.add_argument("--plots", action="store_true", help="draw memory and time as curves instead")
    parser.add_argument(
        "--device",
        help="measure what a device does instead, and write it to -o; default: gpu.md beside the plots",
    )
    asked = parser.parse_args(arguments)
    if asked.device:
        from tests.benchmarks import gpu

        return gpu.write(asked.device, asked.out or HISTORY.with_suffix("") / "gpu.md", quick=asked.quick)
    if asked.plots:
        from tests.benchmarks import plots

        plots.draw(HISTORY.with_suffix(""))
        return 0
    cases = list(find(asked.only, quick=asked.quick))
    console = Console(width=None if sys.stdout.isatty() else 150)
    pairs, least, patience = (5, 2, QUICK_SECONDS / max(len(cases), 1)) if asked.quick else (9, 3, 20.0)
    timings = []
    for case in cases:
        with console.status(case.name):
            timings.append(measure(case, pairs=pairs, least=least, patience=patience))
    console.print(table(timings, quick=asked.quick))
    out = asked.out or (None if asked.quick else HISTORY)
    if out and timings:
        append(out, timings)
        console.print(f"written: {out}")
    return int(not all(kept(one, quick=asked.quick) for one in timings))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
