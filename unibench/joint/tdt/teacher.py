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
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch.nn import functional as F

from unibench import cards, models
from unibench.errors import TrainingError, UnknownNameError
from unibench.joint.common.records import DetectionSet, Picture
from unibench.joint.tdt.config import TdtConfig, TeacherOptions
from unibench.models import FrozenModel

CHUNK = 64
"""Pictures of one file."""
CROPS = 64
"""Crops of one pass through the teacher."""
KEY = "unibench_teacher"
"""Metadata of a file: the address of the teacher that made it."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A frozen model that embeds what is in a box."""

    model: FrozenModel
    options: TeacherOptions

    @cached_property
    def address(self) -> str:
        """Hash of everything that changes an embedding: model, weights, layer, crop."""
        parts = [self.model.fingerprint, self.options.layer, self.options.size, self.options.rectify]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def embed(
        self, image: UInt8[np.ndarray, "height width 3"], boxes: Float[np.ndarray, "object 4"]
    ) -> Float[np.ndarray, "object dim"]:
        """Embed objects of an image.

        Each object's crop is shown to the model alone; the layer's mean over it, rectified if the options say so, is
        scaled to length 1.

        Args:
            image: RGB, 0 to 255.
            boxes: xyxy, pixels.

        Returns:
            Float32; an object of which the layer says nothing at all has zeros.
        """
        crops = [self.model.prepare(one) for one in crop(image, boxes, self.options.size)]
        layer = self.options.layer
        parts = [
            self.model.network(torch.stack(crops[start : start + CROPS]), [layer])[layer].mean(dim=(2, 3))
            for start in range(0, len(crops), CROPS)
        ]
        if not parts:
            return np.zeros((0, 0), dtype=np.float32)
        means = torch.cat(parts).float()
        embeddings = F.normalize(means.clamp(min=0) if self.options.rectify else means)
        result: np.ndarray = embeddings.cpu().numpy()
        return result


def crop(
    image: UInt8[np.ndarray, "height width 3"], boxes: Float[np.ndarray, "object 4"], size: tuple[int, int]
) -> list[UInt8[np.ndarray, "rows columns 3"]]:
    """Cut objects out of an image, each resized whatever its aspect.

    Args:
        image: RGB, 0 to 255.
        boxes: xyxy, pixels; what lies outside the image is cut off, and at least one pixel is seen.
        size: Height and width of every crop, pixels.
    """
    height, width = image.shape[:2]
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    cut = []
    for left, top, right, bottom in boxes.tolist():
        x, y = min(max(int(left), 0), width - 1), min(max(int(top), 0), height - 1)
        part = pixels[:, :, y : max(round(bottom), y + 1), x : max(round(right), x + 1)]
        resized = F.interpolate(part, size, mode="bilinear", align_corners=False, antialias=True)
        cut.append(resized[0].permute(1, 2, 0).numpy())
    return cut


def load(options: TeacherOptions, device: str = "cpu") -> Teacher:
    """Build the teacher that a config names.

    Args:
        options: Names its card.
        device: A torch device.

    Raises:
        UnknownNameError: There is no such card, or it has no such layer.
        WeightsError: Its weights are not here.
    """
    path = Path(options.card)
    at = options.card.endswith(".toml")
    card = cards.read(path) if at else cards.find(options.card)
    if options.layer not in card.layers:
        raise UnknownNameError(f"layer of the teacher {card.name!r}", options.layer, card.layers)
    given = Path(options.weights) if options.weights else path.parent if at else None
    return Teacher(models.load(card, given=given, place=device), options)


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
