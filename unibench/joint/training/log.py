"""The log of a training: `log.csv`, one row a step, and TensorBoard's files where TensorBoard is installed.

What only some steps measure, in one stage or of one objective, is empty in the others. What an evaluation finds stands
in `validation.csv`, in the row of the step after which it was done.

How long each step took stands in `seconds.csv`, so that the log of a training that was killed and resumed has the same
bytes as that of one that was not.
"""

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from unibench.errors import TrainingError

FILE = "log.csv"
SECONDS = "seconds.csv"
VALIDATION = "validation.csv"
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
        Writes the row of one step.

    Raises:
        TrainingError: The log cannot be written.
    """
    with _board(folder, step) as board:
        log, clock = Table(folder / FILE, step), Table(folder / SECONDS, step)

        def add(step: int, values: Mapping[str, float]) -> None:
            log.add(step, {name: value for name, value in values.items() if name != "seconds"})
            clock.add(step, {name: value for name, value in values.items() if name == "seconds"})
            board(step, values)

        yield add


class Table:
    """A CSV file that grows by a row a step; what is measured for the first time becomes a further column."""

    def __init__(self, path: Path, step: int) -> None:
        """Go on with a file, if there is one.

        Args:
            path: The file.
            step: The next step to be done; rows from it on are cut off.

        Raises:
            TrainingError: It cannot be written.
        """
        self._path = path
        with self._one_line_errors():
            head = _cut(path, step)
            with path.open("ab"):
                pass
        self._columns = head.rstrip("\n").split(",") if head else []

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write a row, which is on disk at once.

        Raises:
            TrainingError: It cannot be written.
        """
        new = [name for name in ("step", *values) if name not in self._columns]
        row = {"step": str(step)} | {name: repr(value) for name, value in values.items()}
        with self._one_line_errors():
            rows = [] if self._columns or not new else [",".join(new)]
            if new and self._columns:
                self._widen(new)
            self._columns += new
            rows.append(",".join(row.get(name, "") for name in self._columns))
            with self._path.open("ab", buffering=0) as stream:
                stream.write("".join(f"{row}\n" for row in rows).encode())

    def _widen(self, names: Sequence[str]) -> None:
        head, *rows = self._path.read_text(encoding="utf-8").splitlines()
        lines = [",".join([head, *names]), *(row + "," * len(names) for row in rows)]
        _replace(self._path, "".join(f"{line}\n" for line in lines))

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"{self._path}: cannot be written ({error.strerror}); make room, then the same command goes on"
            ) from error


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


def _cut(path: Path, step: int) -> str:
    """Keep the rows before a step, and the head above them; a row that was being written when the process died goes.

    Returns:
        The head that is kept, with the columns that the rows have; empty if there are no rows.
    """
    if not path.is_file():
        return ""
    head, *rows = path.read_bytes().decode(errors="replace").split("\n")
    rows = [f"{row}\n" for row in rows[:-1]]  # what follows the last line's end was being written
    whole = (row for row in rows if re.match(r"[0-9]{1,18},", row))
    kept = [row for row in whole if int(row.partition(",")[0]) < step]
    head = f"{head}\n" if kept else ""
    _replace(path, "".join([head, *kept]))
    return head


def _replace(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def read(folder: Path, name: str = FILE) -> dict[str, list[float]]:
    """Read a training's log: name of the column -> a value a step, NaN where the step did not measure it.

    Args:
        folder: Of the training.
        name: `FILE`, or another of its tables.
    """
    with (folder / name).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [float(row[name] or math.nan) for row in rows] for name in (rows[0] if rows else ())}
