"""Photographs with free licences that Debian's packages of wallpapers install; `photographs.csv` lists them.

They are read from where the packages put them, and checked: unibench holds none of them.
"""

import csv
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from unibench.errors import DataError
from unibench.models.download import sha256

Split = Literal["train", "probe"]


@dataclass(frozen=True)
class Photograph:
    """A row of the manifest."""

    package: str
    version: str
    """Of the package, where the hash was taken."""
    file: str
    author: str
    licence: str
    """As the package's copyright file says, or the picture's own metadata where these are more particular."""
    sha256: str
    split: Split
    """Whether networks learn from it, or are only probed on it."""


def manifest(split: Split) -> list[Photograph]:
    """List the photographs of a split."""
    with resources.files(__package__).joinpath("photographs.csv").open(encoding="utf-8") as stream:
        table: list[dict[str, Any]] = list(csv.DictReader(stream))
    rows = [Photograph(**row) for row in table]
    return [row for row in rows if row.split == split]


def read(photograph: Photograph, side: int) -> UInt8[np.ndarray, "height width 3"]:
    """Read a photograph.

    Args:
        photograph: From the manifest.
        side: Length that its shorter side is scaled to, pixels.

    Raises:
        DataError: It is not installed, or another file.
    """
    path = Path(photograph.file)
    if not path.is_file():
        raise DataError(
            f"{path}: no such file, expected from Debian's package {photograph.package}; to install all of them: "
            f"apt-get install {' '.join(packages())}"
        )
    if (found := sha256(path)) != photograph.sha256:
        raise DataError(
            f"{path}: sha256 {found[:12]}..., expected {photograph.sha256[:12]}... as in {photograph.package} "
            f"{photograph.version}; install that version"
        )
    with Image.open(path) as image:
        image.draft("RGB", (2 * side, 2 * side))
        scale = side / min(image.size)
        size = round(image.width * scale), round(image.height * scale)
        return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))


def packages() -> list[str]:
    """Names of all packages that photographs come from."""
    return sorted({one.package for split in get_args(Split) for one in manifest(split)})
