"""What a tracker says of one clip, in a file or a folder that the user names: its suffix says the format."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from unibench.datasets.exchange import boxes, davis, mots, objects, points, rectangles
from unibench.errors import OutputError
from unibench.records import Clip, Labels

Write = Callable[[Path, Clip, Sequence[Labels]], None]
FORMATS: Mapping[str, Mapping[str, Write]] = {
    "sot": {".txt": rectangles.write, ".json": objects.write},
    "vos": {".txt": mots.write, "": davis.write, ".json": objects.write},
    "mot": {".txt": boxes.write, ".json": objects.write},
    "mots": {".txt": mots.write, "": davis.write, ".json": objects.write},
    "pose": {".json": objects.write},
    "points": {".npz": points.write, ".json": objects.write},
}
"""Family of tasks -> suffix (empty: a folder of PNG masks) -> how it is written."""


def find(family: str, path: Path) -> Write:
    """Look up how labels are written to a path, whose folder is made.

    Raises:
        OutputError: The suffix has no format, the folder holds something, or nothing can be written there.
    """
    known = FORMATS[family]
    if path.suffix.lower() not in known:
        listed = ", ".join(suffix or "a folder (PNG masks)" for suffix in known)
        raise OutputError(f"{path}: no format of {family} ends in {path.suffix!r}; there are: {listed}")
    if path.suffix and path.is_dir():
        raise OutputError(f"{path}: a folder, expected a file; choose another name")
    if not path.suffix and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(f"{path}: is there already, expected a new or an empty folder; choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(path, "no permission")
    return known[path.suffix.lower()]


def save(path: Path, family: str, clip: Clip, predicted: Sequence[Labels]) -> None:
    """Write the labels of a clip in one step: what is at the path is there whole or not at all.

    Raises:
        OutputError: It cannot be written, or the suffix has no format.
    """
    write = find(family, path)
    try:
        with TemporaryDirectory(
            dir=path.parent, prefix="."
        ) as folder:  # same file system: renamed in one step
            write(Path(folder), replace(clip, name="saved"), predicted)
            if not path.suffix and path.is_dir():
                path.rmdir()
            (Path(folder) / f"saved{path.suffix.lower()}").rename(path)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from error


def _unwritable(path: Path, reason: str) -> OutputError:
    return OutputError(f"{path}: cannot be written ({reason}); choose another place with --save")
