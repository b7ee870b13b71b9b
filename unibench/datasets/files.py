"""Folders, lists and tables of numbers, read with errors that name the file and the line."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Bool, Float, Int

from unibench.errors import DataError


@dataclass(frozen=True, eq=False)
class Table:
    """A text file of numbers that remembers where each row stood."""

    path: Path
    lines: Int[np.ndarray, " row"]
    """Line number of each row, from 1."""
    values: Float[np.ndarray, "row column"]

    def refuse(self, wrong: Bool[np.ndarray, " row"], found: str, hint: str) -> None:
        """Raise a DataError that names the first wrong row; do nothing if no row is wrong."""
        if wrong.any():
            row = int(np.argmax(wrong))
            text = ",".join(f"{value:g}" for value in self.values[row])
            fail(f"{self.path}:{self.lines[row]}", f"{found} in {text!r}", hint)


def fail(where: Path | str, found: str, hint: str) -> NoReturn:
    """Raise a DataError of the usual form.

    Raises:
        DataError: always.
    """
    raise DataError(f"{where}: {found}; {hint}")


def inside(root: Path, name: str) -> Path:
    """Join a name that came from a user, a list or a JSON file to its root, refusing to leave the root.

    Args:
        root: folder that must hold the result.
        name: relative path, as it was found.

    Raises:
        DataError: the path leaves the root (`..`, an absolute path, or a link).
    """
    path = root / name
    if "\0" in name or not path.resolve().is_relative_to(root.resolve()):
        fail(root, f"the name {name!r} leads out of this folder", "use names of clips and files below it")
    return path


def require_folder(path: Path, what: str) -> Path:
    """Return the folder, or say what should have been there.

    Args:
        path: folder.
        what: what it should hold, for the message.

    Raises:
        DataError: there is no such folder.
    """
    if not path.is_dir():
        fail(
            path,
            f"no such folder, expected {what}",
            "`unibench data check` says what is there and how to get it",
        )
    return path


def subfolders(path: Path) -> list[Path]:
    """List the folders in a folder, sorted by name, hidden ones left out."""
    return sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith("."))


def found_clips(names: list[str], root: Path, what: str) -> list[str]:
    """Return the clip names, or say that there are none.

    Args:
        names: clips found.
        root: folder that was searched.
        what: what makes a clip, for the message.

    Raises:
        DataError: there are none.
    """
    if not names:
        fail(root, f"no clips, expected {what}", "`unibench data check` says what is there and how to get it")
    return names


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        DataError: it is missing, unreadable or not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        fail(path, "no such file", "the data set is incomplete; fetch it again")
    except (OSError, UnicodeDecodeError) as error:
        fail(path, f"cannot be read as text ({type(error).__name__})", "the file is damaged; fetch it again")


def read_list(path: Path) -> list[str]:
    """Read a list of names, one a line; blank lines are left out."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_table(path: Path, columns: range) -> Table:
    """Read rows of numbers that are separated by commas, tabs or spaces.

    Args:
        path: text file; blank lines are skipped.
        columns: the numbers of columns that are allowed; what stands after the smallest of them is dropped.

    Raises:
        DataError: a row has another number of columns, or something that is not a number.
    """
    values: list[list[float]] = []
    lines: list[int] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = re.split(r"[\s,;]+", line.strip().rstrip(",;"))
        if fields == [""]:
            continue
        if len(fields) not in columns:
            expected = f"{columns[0]}" if len(columns) == 1 else f"{columns[0]} to {columns[-1]}"
            fail(f"{path}:{number}", f"{len(fields)} columns, expected {expected}", "correct this line")
        try:
            values.append([float(field) for field in fields[: columns[0]]])
        except ValueError:
            fail(f"{path}:{number}", f"not a number in {line.strip()[:80]!r}", "correct this line")
        lines.append(number)
    table = np.array(values, dtype=np.float64).reshape(len(values), columns[0])
    return Table(path, np.array(lines, dtype=np.int64), table)


def frame_index(table: Table, numbers: tuple[int, ...]) -> Int[np.ndarray, " row"]:
    """Turn the first column, the benchmark's frame number, into positions in the clip.

    Args:
        table: rows that start with a frame number.
        numbers: the number of every frame of the clip, as its files count.

    Raises:
        DataError: a frame number is not an integer, or there is no such frame.
    """
    position = {number: index for index, number in enumerate(numbers)}
    index = np.array([position.get(number, -1) for number in table.values[:, 0].tolist()], dtype=np.int64)
    table.refuse(index < 0, "no such frame", f"the clip has frames {numbers[0]} to {numbers[-1]}")
    return index


def rows_by_frame(index: Int[np.ndarray, " row"], length: int) -> list[Int[np.ndarray, " _"]]:
    """Group rows by frame, in their order; rows of frame -1 belong to none.

    Args:
        index: frame of each row, -1 to leave it out.
        length: number of frames.

    Returns:
        For each frame the positions of its rows.
    """
    order = np.argsort(index, kind="stable")
    bounds = np.searchsorted(index[order], np.arange(length + 1))
    return [order[first:last] for first, last in pairwise(bounds)]
