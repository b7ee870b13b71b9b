"""The log of a training: `log.csv`, one row a step, and TensorBoard's files where TensorBoard is installed.

How long each step took stands in `seconds.csv`, so that the log of a training that was killed and resumed has the same
bytes as that of one that was not.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from unibench.errors import TrainingError

FILE = "log.csv"
SECONDS = "seconds.csv"
BOARD = "tensorboard"

Add = Callable[[int, Mapping[str, float]], None]
"""Step, what it measured; `seconds` goes to a file of its own."""


@contextmanager
def writing(folder: Path, step: int) -> Iterator[Add]:
    """Go on with a log; rows of steps that a resumed training does again are cut off first.

    Args:
        folder: Of the training.
        step: The next step to be done.

    Yields:
        Writes the row of one step; every step has the same names.

    Raises:
        TrainingError: The log cannot be written.
    """
    with (
        _opened(folder / FILE, step) as log,
        _opened(folder / SECONDS, step) as clock,
        _board(folder, step) as board,
    ):

        def add(step: int, values: Mapping[str, float]) -> None:
            with _one_line_errors(folder / FILE):
                _add_row(log, step, {name: value for name, value in values.items() if name != "seconds"})
                _add_row(clock, step, {name: value for name, value in values.items() if name == "seconds"})
            board(step, values)

        yield add


def _opened(path: Path, step: int) -> IO[bytes]:
    with _one_line_errors(path):
        _cut(path, step)
        return path.open("ab", buffering=0)  # a row is on disk at once, and a full disk raises once


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be written ({error.strerror}); make room, then the same command goes on"
        ) from error


def _add_row(stream: IO[bytes], step: int, values: Mapping[str, float]) -> None:
    rows = [["step", *values]] if stream.tell() == 0 else []
    rows.append([str(step), *(repr(value) for value in values.values())])
    stream.write("".join(f"{','.join(row)}\n" for row in rows).encode())


@contextmanager
def _board(folder: Path, step: int) -> Iterator[Add]:
    if not find_spec("tensorboard"):
        yield lambda step, values: None
        return
    from torch.utils.tensorboard import SummaryWriter

    board: Any = SummaryWriter(str(folder / BOARD), purge_step=step)

    def add(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            board.add_scalar(name, value, step)

    try:
        yield add
    finally:
        board.close()


def _cut(path: Path, step: int) -> None:
    """Keep the rows before a step; a row that was being written when the process died goes as well."""
    if not path.is_file():
        return
    head, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    whole = (row for row in rows if row.endswith("\n") and row.partition(",")[0].isdecimal())
    kept = [row for row in whole if int(row.partition(",")[0]) < step]
    part = path.with_name(path.name + ".part")
    part.write_text("".join([head, *kept]) if kept else "", encoding="utf-8")
    part.replace(path)


def read(folder: Path) -> dict[str, list[float]]:
    """Read a training's log: name of the column -> a value a step."""
    with (folder / FILE).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
