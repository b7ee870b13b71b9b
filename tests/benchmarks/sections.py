"""Tables that are written while they are measured: what fails is one line of them, and what is done is on disk."""

import gc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

Cell = float | str | None
"""A figure, a word, or nothing where there is nothing to measure."""


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    measure: Callable[[], Sequence[Cell]]
    """Gives the cells behind the name."""


@dataclass(frozen=True)
class Section:
    """One table."""

    title: str
    columns: Sequence[str]
    """The first is that of the rows' names."""
    seconds: float
    """After so many no further row is begun."""
    rows: Callable[[], Sequence[Row]]
    note: str = ""


def measure(sections: Sequence[Section], about: str, out: Path, say: Callable[[str], object] = print) -> int:
    """Measure all sections; the file is written anew after every row.

    Args:
        sections: In this order.
        about: What the file begins with.
        out: A Markdown file.
        say: Takes a line for each row that is done.

    Returns:
        How many rows or sections failed.
    """
    done, failures, begin = about.rstrip() + "\n", 0, perf_counter()
    for section in sections:
        start, lines = perf_counter(), list[str]()
        page = f"\n## {section.title}\n\n" + (f"{section.note}\n\n" if section.note else "")
        page += f"| {' | '.join(section.columns)} |\n|{'---|' * len(section.columns)}\n"
        for row in _rows(section):
            if perf_counter() - start > section.seconds:
                lines.append(f"| {row.name} | not measured: the section's {section.seconds:g} s are over |")
            else:
                cells, failed = _cells(row)
                failures += failed
                lines.append(f"| {' | '.join([row.name, *cells])} |")
            say(f"{perf_counter() - begin:5.0f} s  {section.title}: {lines[-1]}")
            _write(out, done + page + "\n".join(lines) + "\n")
            _forget()
        done += page + "\n".join(lines) + f"\n\nTook {perf_counter() - start:.0f} s.\n"
    _write(out, done)
    return failures


def _rows(section: Section) -> Sequence[Row]:
    try:
        return section.rows()
    except Exception as error:  # noqa: BLE001 - a section that fails in any way does not stop the others
        return [Row("all", _raise(error))]


def _raise(error: Exception) -> Callable[[], Sequence[Cell]]:
    def measure() -> Sequence[Cell]:
        raise error

    return measure


def _cells(row: Row) -> tuple[Sequence[str], bool]:
    try:
        return [_text(cell) for cell in row.measure()], False
    except Exception as error:  # noqa: BLE001 - a row that fails in any way does not stop the others
        line = " ".join(f"{type(error).__name__}: {error}".split()).replace("|", "/")
        return [f"failed: {line[:300]}"], True


def _text(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if not math.isfinite(cell):
        raise ValueError(f"a figure is {cell}, expected a finite one")
    return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"


def _write(out: Path, text: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    part.write_text(text)
    part.replace(out)


def _forget() -> None:
    """Give back what a row has held, so that the next one's peak is its own."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def seconds(work: Callable[[], object], device: str) -> float:
    """Time work once, what it has begun on the device included."""
    wait(device)
    start = perf_counter()
    work()
    wait(device)
    return max(perf_counter() - start, 1e-9)


def typical(work: Callable[[], object], device: str, times: int) -> float:
    """Median seconds of several calls after one that warms up."""
    seconds(work, device)
    return median(seconds(work, device) for _ in range(times))


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def peak(work: Callable[[], object], device: str) -> float | None:
    """Do work: the most memory in MiB that tensors had on the device meanwhile; None on a CPU."""
    if torch.device(device).type != "cuda":
        work()
        return None
    torch.cuda.reset_peak_memory_stats(device)
    work()
    wait(device)
    return torch.cuda.max_memory_allocated(device) / 2**20
