"""Files that are written whole or not at all."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from unibench.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write in place of another, which it replaces in one step when it is whole.

    Args:
        path: The file; missing folders are made.

    Yields:
        A file beside it that no other process writes; it is removed if the block fails.

    Raises:
        OSError: It cannot be written.
    """
    temporary = path.parent / f".{uuid4().hex}.tmp"  # same folder: renaming never crosses a file system
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def csv_bytes(lines: Iterable[Iterable[object]]) -> bytes:
    """A table as the bytes of a CSV file, lines ended by a line feed."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def replace_file(path: Path, data: bytes) -> Path:
    """Write a file in one step: a reader sees the old bytes or the new ones, also after a crash.

    Args:
        path: The file; missing folders are made.
        data: Its whole content.

    Returns:
        The same path.

    Raises:
        OutputError: It cannot be written.
    """
    return replace_by(path, lambda temporary: temporary.write_bytes(data))


def replace_by(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file in one step by a function that is given where to write; see `replace_file`."""
    try:
        with replacing(path) as temporary:
            write(temporary)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}), expected a writable place; "
            "free it or choose another output folder"
        ) from error
    return path
