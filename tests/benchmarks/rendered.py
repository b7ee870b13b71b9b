"""Clips that are rendered: a photograph slides by, in JPEG files that are decoded like any other, with labels on it."""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
from PIL import Image
from skimage import data

from unibench.geometry import masks as rle
from unibench.records import Clip, Frame, Labels, Truth

DISTINCT = 25
"""Frames that are rendered; longer clips play them there and back."""


def _order(frames: int) -> list[int]:
    """Which of the distinct frames each frame of a clip is."""
    last = max(min(frames, DISTINCT) - 1, 1)
    return [last - abs(t % (2 * last) - last) for t in range(frames)]


@cache
def _photos(frames: int, size: tuple[int, int]) -> Sequence[bytes]:
    """JPEG files of a photograph that slides by and back."""
    height, width = size
    order = _order(frames)
    frames = min(frames, DISTINCT)
    photo = Image.fromarray(data.astronaut()).resize((width + 8 * frames, height))
    files = []
    for t in range(frames):
        file = io.BytesIO()
        photo.crop((8 * t, 0, 8 * t + width, height)).save(file, "jpeg", quality=95)
        files.append(file.getvalue())
    return [files[t] for t in order]


def _clip(
    files: Sequence[bytes], size: tuple[int, int], labels: Sequence[Labels], field: str
) -> Callable[[], Clip]:
    def frames() -> Iterator[Frame]:
        for t, file in enumerate(files):
            image = np.array(Image.open(io.BytesIO(file)).convert("RGB"))
            given = {field: labels[t]} if t == 0 or field == "detections" else {}
            yield Frame(t, image, **given)

    clip = Clip("rendered", *size, 30.0, len(files), frames)
    return lambda: clip


def objects(frames: int, size: tuple[int, int]) -> tuple[Callable[[], Clip], Truth]:
    """Two squares that move with the photograph."""
    height, width = size
    labels = []
    for t in _order(frames):
        masks = np.zeros((2, height, width), dtype=bool)
        for place, mask_ in enumerate(masks):
            left = width // 4 * (place + 1) - 8 * t
            mask_[height // 4 : height // 2, max(left, 0) : left + height // 4] = True
        labels.append(Labels(ids=np.array([1, 2]), masks=tuple(map(rle.encode, masks))))
    return _clip(_photos(frames, size), size, labels, "prompt"), Truth(tuple(labels))


def people(frames: int, size: tuple[int, int]) -> tuple[Callable[[], Clip], Truth]:
    """Twenty boxes that move with the photograph, all detected."""
    height, width = size
    corners = np.random.default_rng(0).uniform(0.1, 0.7, (20, 2)) * [width, height]
    boxes = np.concatenate([corners, corners + np.array([width / 25, height / 5])], axis=1)
    labels = [
        Labels(ids=np.arange(1, 21), boxes=boxes - [8 * t, 0, 8 * t, 0], classes=np.zeros(20, dtype=np.int64))
        for t in _order(frames)
    ]
    found = [Labels(boxes=one.boxes, scores=np.ones(20), classes=one.classes) for one in labels]
    return _clip(_photos(frames, size), size, found, "detections"), Truth(tuple(labels))


def target(frames: int, size: tuple[int, int]) -> tuple[Callable[[], Clip], Truth]:
    """A box that moves with the photograph."""
    height, width = size
    box = np.array([[width / 3, height / 3, width / 2, height * 2 / 3]])
    labels = [Labels(ids=np.array([1]), boxes=box - [8 * t, 0, 8 * t, 0]) for t in _order(frames)]
    return _clip(_photos(frames, size), size, labels, "prompt"), Truth(tuple(labels))


def points(frames: int, size: tuple[int, int], count: int) -> Callable[[], Clip]:
    """Points anywhere in the first frame."""
    height, width = size
    places = np.random.default_rng(0).uniform(0, 1, (count, 1, 2)) * [width - 1, height - 1]
    visible = np.ones((count, 1, 1))
    prompt = Labels(ids=np.arange(1, count + 1), keypoints=np.concatenate([places, visible], axis=2))
    return _clip(_photos(frames, size), size, [prompt], "prompt")
