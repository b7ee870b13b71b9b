"""Files that are written whole or not at all."""

from pathlib import Path
from uuid import uuid4

from unibench.errors import OutputError


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
    temporary = path.parent / f".{uuid4().hex}.tmp"  # same folder: renaming never crosses a file system
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}), expected a writable place; "
            "free it or choose another output folder"
        ) from error
    return path
