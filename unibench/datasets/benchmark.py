"""What a benchmark is: where its files lie, which clips it has, and how one clip is read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unibench.errors import DataError, NoClipsError
from unibench.records import Clip, Truth

SOURCES = ("public", "oracle", "oracle+noise")
"""Where detections can come from, where a benchmark publishes its own."""
ORACLES = ("oracle", "oracle+noise")
"""The same where it publishes none: the truth without ids, exact or spoilt."""


OWN = "."
"""Folder of a user's own clips: the one that `--data` names."""


@dataclass(frozen=True)
class Benchmark:
    """One row of the table of benchmarks."""

    task: str
    """Task and benchmark, `vos/davis2016`; also its key in `BENCHMARKS`."""
    folder: str
    """Name of its folder under `--data`, or `OWN`; empty for benchmarks that need no files."""
    names: Callable[[Path], list[str]]
    """The benchmark's own folder -> names of its clips; reads no image."""
    load: Callable[[Path, str], tuple[Clip, Truth]]
    """The benchmark's own folder and a clip's name -> the clip (images decoded as they are asked for), its
    truth."""
    obtain: str
    """One line: where the data come from and under which terms."""
    detections: tuple[str, ...] = ()
    """Sources of detections, best first: `public` (published with the data), `oracle`, `oracle+noise`; empty
    for prompted tasks."""
    headline: str = ""
    """The metric that its authors rank by, where it is not the family's."""


def folder(benchmark: Benchmark, data: Path | None) -> Path:
    """Where a benchmark's files lie below the folder that `--data` names.

    Raises:
        DataError: No folder was named, or it does not hold the benchmark.
    """
    if not benchmark.folder:
        return Path()
    if data is None:
        inside = "your clips" if benchmark.folder == OWN else benchmark.folder
        raise DataError(f"{benchmark.task}: no data folder, expected --data DIR with {inside} in it; "
                        f"{benchmark.obtain}")  # fmt: skip
    root = data / benchmark.folder
    if not root.is_dir():
        raise DataError(f"{benchmark.task}: no folder {str(root)!r}; {benchmark.obtain}")
    return root


def is_there(benchmark: Benchmark, data: Path) -> bool:
    """Whether a benchmark that needs files is below `data`; for a user's own clips, whether there are any, be they
    sound or not.
    """
    if benchmark.folder != OWN or not data.is_dir():
        return (data / benchmark.folder).is_dir()
    try:
        return bool(benchmark.names(data))
    except NoClipsError:
        return False
    except DataError:  # named when they are read
        return True
