"""Folders, lists and tables of numbers, read with errors that name the file and the line."""

import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Bool, Float, Int

from unibench.errors import DataError, NoClipsError
from unibench.schema import read_file

FARTHEST = 1e6
"""Pixels from the corner of the frame beyond which a coordinate, or a side, is a mistake."""
EXACT = 2**53
"""Integers that are at least as large are not told apart by the floats of a table."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|nan)", re.IGNORECASE | re.ASCII
)


@dataclass(frozen=True, eq=False)
class Table:
    """A text file of numbers that knows the line of each row."""

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

    def refuse_far(self, lengths: Float[np.ndarray, "row _"]) -> None:
        """Raise a DataError that names the first row with a length in pixels beyond `FARTHEST`."""
        self.refuse(
            (np.abs(lengths) > FARTHEST).any(axis=1), f"more than {FARTHEST:g} pixels", "correct this line"
        )

    def integers(self, column: int, what: str) -> Int[np.ndarray, " row"]:
        """A column as integers.

        Args:
            column: Counted from 0.
            what: What it holds, for the message.

        Raises:
            DataError: A value is no integer, or too large to be told from the next one.
        """
        values = self.values[:, column]
        whole = np.isfinite(values) & (np.abs(values) < EXACT) & (np.floor(values) == values)
        self.refuse(~whole, f"{what} that is not an integer below 2^53", "correct this line")
        return values.astype(np.int64)


def fail(where: Path | str, found: str, hint: str) -> NoReturn:
    """Raise a DataError of the usual form.

    Raises:
        DataError: Always.
    """
    raise DataError(f"{where}: {found}; {hint}")


def inside(root: Path, name: str) -> Path:
    """Join a name that came from a user, a list or a JSON file to its root, refusing to leave the root.

    Args:
        root: Folder that must hold the result.
        name: Relative path, as it was found.

    Raises:
        DataError: The path leaves the root (`..`, an absolute path, or a link).
    """
    path = root / name
    if (
        "\0" in name
        or any(len(part.encode(errors="replace")) > 255 for part in path.parts)
        or not _is_text(name)
    ):
        fail(root, f"the name {name[:80]!a} cannot be a file's", "use names of clips and files below it")
    try:
        within = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # links that lead to one another
        fail(root, f"the name {name!r} cannot be followed ({type(error).__name__})", "correct the link")
    if not within:
        fail(root, f"the name {name!r} leads out of this folder", "use names of clips and files below it")
    return path


def _is_text(name: str) -> bool:
    """Whether a name has no half of a character, which JSON can hold and a file's name cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def require_folder(path: Path, what: str) -> Path:
    """Return the folder, or say what should have been there.

    Args:
        path: Folder.
        what: What it should hold, for the message.

    Raises:
        DataError: There is no such folder.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a name is too long
        fail(
            path,
            f"no such folder, expected {what}",
            "`unibench data check` says what is there and how to get it",
        )
    return path


def subfolders(path: Path) -> list[Path]:
    """List the folders in a folder, sorted by name, hidden ones left out."""
    return [item for item in visible(path, "*") if item.is_dir()]


def visible(path: Path, pattern: str) -> list[Path]:
    """List what fits a pattern, sorted by path; what begins with a dot, such as macOS's `._name`, is left out.

    Args:
        path: Folder.
        pattern: As `Path.glob` takes it.
    """
    found = sorted(path.glob(pattern))
    return [one for one in found if not any(part[0] == "." for part in one.relative_to(path).parts)]


def found_clips(names: list[str], root: Path, what: str) -> list[str]:
    """Return the clip names, or say that there are none.

    Args:
        names: Clips found.
        root: Folder that was searched.
        what: What makes a clip, for the message.

    Raises:
        NoClipsError: There are none.
    """
    if not names:
        raise NoClipsError(
            f"{root}: no clips, expected {what}; `unibench data check` says what is there and how to get it"
        )
    return names


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        DataError: It is missing, unreadable or not text.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        fail(path, f"cannot be read as text ({type(error).__name__})", "the file is damaged; fetch it again")


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        DataError: It is missing, unreadable, or a pipe or a device.
    """
    try:
        return read_file(path)
    except FileNotFoundError:
        fail(path, "no such file", "correct the path, or fetch what is missing")
    except OSError as error:
        fail(path, f"cannot be read ({error.strerror or error})", "the file is damaged; fetch it again")


def integer(text: str, where: str) -> int:
    """Read an integer in plain digits.

    Raises:
        DataError: It is something else (`1_0`, `1.0`), or has more than 18 digits.
    """
    if not _INTEGER.fullmatch(text):
        fail(where, f"found {text[:80]!r}, expected an integer of at most 18 digits", "correct this line")
    return int(text)


def number(text: str, where: str) -> float:
    """Read a number as files have it, `-1.5e3`; `nan` and `inf` are numbers here, what Python alone takes is none.

    Raises:
        DataError: It is something else (`1_0`, `infinity`).
    """
    if not _NUMBER.fullmatch(text):
        fail(where, f"not a number in {text[:80]!r}", "correct this line")
    return float(text)


def read_list(path: Path) -> list[str]:
    """Read a list of names, one a line; blank lines are left out."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_table(path: Path, columns: range) -> Table:
    """Read rows of numbers that are separated by commas, tabs or spaces.

    Args:
        path: Text file; blank lines are skipped.
        columns: How many columns a row may have; those after the fewest are dropped.

    Raises:
        DataError: A row has another number of columns, or something that is not a number.
    """
    values: list[list[float]] = []
    lines: list[int] = []
    for row, line in enumerate(read_text(path).splitlines(), start=1):
        fields = re.split(r"[\s,;]+", line.strip().rstrip(",;"))
        if fields == [""]:
            continue
        if len(fields) not in columns:
            expected = f"{columns[0]}" if len(columns) == 1 else f"{columns[0]} to {columns[-1]}"
            fail(f"{path}:{row}", f"{len(fields)} columns, expected {expected}", "correct this line")
        if not all(map(_NUMBER.fullmatch, fields)):
            fail(f"{path}:{row}", f"not a number in {line.strip()[:80]!r}", "correct this line")
        values.append([float(field) for field in fields[: columns[0]]])
        lines.append(row)
    table = np.array(values, dtype=np.float64).reshape(len(values), columns[0])
    return Table(path, np.array(lines, dtype=np.int64), table)


def frame_index(table: Table, numbers: tuple[int, ...]) -> Int[np.ndarray, " row"]:
    """Turn the first column, the benchmark's frame number, into positions in the clip.

    Args:
        table: Rows that start with a frame number.
        numbers: The number of every frame of the clip, as its files count.

    Raises:
        DataError: A frame number is not an integer, or there is no such frame.
    """
    position = {number: index for index, number in enumerate(numbers)}
    index = np.array([position.get(number, -1) for number in table.values[:, 0].tolist()], dtype=np.int64)
    table.refuse(index < 0, "no such frame", f"the clip has frames {numbers[0]} to {numbers[-1]}")
    return index


def rows_by_frame(index: Int[np.ndarray, " row"], length: int) -> list[Int[np.ndarray, " _"]]:
    """Group rows by frame, in their order; rows of frame -1 belong to none.

    Args:
        index: Frame of each row, -1 to leave it out.
        length: Number of frames.

    Returns:
        For each frame the positions of its rows.
    """
    order = np.argsort(index, kind="stable")
    bounds = np.searchsorted(index[order], np.arange(length + 1))
    return [order[first:last] for first, last in pairwise(bounds)]
