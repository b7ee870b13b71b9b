"""The teacher: any frozen model, which says once of every annotated object what it looks like.

    <folder>/<teacher>/<digest>.safetensors     the embeddings of some pictures: name of the picture -> (object, dim)

The folder `<teacher>` is called after a hash of everything that changes an embedding, the file after one of the
pictures' names and boxes, so that changed data or another teacher make other files. A file is there whole or not at
all; an interrupted pass goes on after the last one.

Reference: Yu et al., "TDT", CVPRW 2022, section 3.3.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from unibench.errors import TrainingError
from unibench.joint.embedder import Teacher, load
from unibench.joint.system import DetectionSet, Picture
from unibench.joint.tdt.config import TdtConfig

CHUNK = 64
"""Pictures of one file."""
KEY = "unibench_teacher"
"""Metadata of a file: the address of the teacher that made it."""


def prepare(
    sets: Sequence[DetectionSet], config: TdtConfig, folder: Path, *, device: str = "cpu"
) -> list[DetectionSet]:
    """Give every annotated object the teacher's embedding; what an earlier call has stored is read.

    Args:
        sets: The data.
        config: Names the teacher. If its loss makes nothing of embeddings, the data stay as they are.
        folder: Where embeddings are stored, beside the data.
        device: A torch device.

    Returns:
        The same sets with embeddings.

    Raises:
        UnknownNameError, WeightsError: The teacher cannot be built.
        TrainingError: A file of embeddings is damaged or another teacher's, or cannot be written.
    """
    if not config.losses.embedding:
        return list(sets)
    teacher = load(config.teacher, device)
    return [replace(one, pictures=list(_taught(one.pictures, teacher, folder))) for one in sets]


def _taught(pictures: Sequence[Picture], teacher: Teacher, folder: Path) -> Iterator[Picture]:
    for start in range(0, len(pictures), CHUNK):
        chunk = pictures[start : start + CHUNK]
        path = folder / teacher.address / f"{_digest(chunk)}.safetensors"
        if not path.is_file():
            told = {one.name: teacher.embed(one.image(), one.labels.boxes) for one in chunk}
            _write(path, told, teacher.address)
        known = _read(path, chunk, teacher.address)
        yield from (replace(one, embeddings=known[one.name]) for one in chunk)


def _digest(pictures: Sequence[Picture]) -> str:
    digest = hashlib.sha256()
    for one in pictures:
        digest.update(json.dumps([one.name, one.labels.boxes.tolist()]).encode())
    return digest.hexdigest()[:16]


def _write(path: Path, told: Mapping[str, np.ndarray], address: str) -> None:
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(told), part, metadata={KEY: address})
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path}: cannot be written ({error}); make room, then the same command goes on"
        ) from error


def _read(path: Path, pictures: Sequence[Picture], address: str) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, "numpy") as held:
            made_by = (held.metadata() or {}).get(KEY)
            known = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path}: not readable embeddings ({error}); delete it to make it again"
        ) from error
    if made_by != address:
        raise TrainingError(
            f"{path}: embeddings of teacher {made_by!r}, expected {address!r}; delete it to make it again"
        )
    for one in pictures:
        if one.name not in known or len(known[one.name]) != len(one.labels.boxes):
            raise TrainingError(
                f"{path}: embeddings of {len(known.get(one.name, ()))} objects of picture {one.name!r}, expected "
                f"{len(one.labels.boxes)}; delete it to make it again"
            )
    return known
