"""Embeddings of annotated objects, made once by an embedder and stored beside the data.

    <folder>/<embedder>/<digest>.safetensors     the embeddings of some images: name of the image -> (object, dim)

The folder `<embedder>` is called after a hash of everything that changes an embedding, the file after one of the
images' names and boxes, so that changed data or another embedder make other files. A file is there whole or not at
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
from unibench.joint.embedder import Embedder, load
from unibench.joint.system import AnnotatedImage, EmbedderOptions, TrainingSet
from unibench.results.atomic import replacing

CHUNK = 64
"""Images of one file."""
KEY = "unibench_teacher"
"""Metadata of a file: the fingerprint of the embedder that made it."""


def add(
    training_sets: Sequence[TrainingSet], options: EmbedderOptions, folder: Path, *, device: str = "cpu"
) -> list[TrainingSet]:
    """Give every annotated object its embedding; what an earlier call has stored is read.

    Args:
        training_sets: The data.
        options: Name the embedder.
        folder: Where embeddings are stored.
        device: A torch device.

    Returns:
        The same training sets with embeddings.

    Raises:
        UnknownNameError, WeightsError: The embedder cannot be built.
        TrainingError: A file of embeddings is damaged or another embedder's, or cannot be written.
    """
    embedder = load(options, device)
    return [replace(one, images=list(_embedded(one.images, embedder, folder))) for one in training_sets]


def _embedded(images: Sequence[AnnotatedImage], embedder: Embedder, folder: Path) -> Iterator[AnnotatedImage]:
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        path = folder / embedder.fingerprint / f"{_digest(chunk)}.safetensors"
        if not path.is_file():
            made = {one.name: embedder.embed(one.image(), one.labels.boxes) for one in chunk}
            _write(path, made, embedder.fingerprint)
        stored = _read(path, chunk, embedder.fingerprint)
        yield from (replace(one, embeddings=stored[one.name]) for one in chunk)


def _digest(images: Sequence[AnnotatedImage]) -> str:
    digest = hashlib.sha256()
    for one in images:
        digest.update(json.dumps([one.name, one.labels.boxes.tolist()]).encode())
    return digest.hexdigest()[:16]


def _write(path: Path, embeddings: Mapping[str, np.ndarray], fingerprint: str) -> None:
    try:
        with replacing(path) as part:
            save_file(dict(embeddings), part, metadata={KEY: fingerprint})
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path}: cannot be written ({error}); make room, then the same command goes on"
        ) from error


def _read(path: Path, images: Sequence[AnnotatedImage], fingerprint: str) -> dict[str, np.ndarray]:
    try:
        with safe_open(path, "numpy") as stream:
            made_by = (stream.metadata() or {}).get(KEY)
            stored = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise TrainingError(
            f"{path}: not readable embeddings ({error}); delete it to make it again"
        ) from error
    if made_by != fingerprint:
        raise TrainingError(
            f"{path}: embeddings of embedder {made_by!r}, expected {fingerprint!r}; delete it to make it again"
        )
    for one in images:
        if one.name not in stored or len(stored[one.name]) != len(one.labels.boxes):
            raise TrainingError(
                f"{path}: embeddings of {len(stored.get(one.name, ()))} objects of image {one.name!r}, expected "
                f"{len(one.labels.boxes)}; delete it to make it again"
            )
    return stored
