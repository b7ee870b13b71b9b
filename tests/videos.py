"""Small videos for tests, made by PyAV."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

TICKS = 90_000


def images(count: int = 8, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """A bright square that moves right over a dark ground of some texture."""
    ground = np.random.default_rng(0).integers(0, 60, (*size, 3)).astype(np.uint8)
    made = []
    for index in range(count):
        image = ground.copy()
        image[10:26, 8 + 2 * index : 24 + 2 * index] = (220, 60, 40)
        made.append(image)
    return made


def box(index: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the square."""
    return 8 + 2 * index, 10, 24 + 2 * index, 26


def write(path: Path, frames: Sequence[np.ndarray], times: Sequence[float] | None = None) -> Path:
    """Write a video of 25 frames a second, or whose frames have times of their own (seconds)."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = round((times[index] if times else index / 25) * TICKS)
            frame.time_base = Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_images(folder: Path, frames: Sequence[np.ndarray], first: int = 1) -> Path:
    folder.mkdir(parents=True)
    for index, image in enumerate(frames):
        Image.fromarray(image).save(folder / f"{index + first:06d}.png")
    return folder


def turn(path: Path) -> None:
    """Let an MP4 say that it is to be turned clockwise by 90 degrees, as a telephone held upright does."""
    data = bytearray(path.read_bytes())
    matrix = data.find(struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), data.find(b"tkhd"))
    assert matrix > 0
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def damage(path: Path) -> None:
    """Change some bytes in the middle of the frames."""
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + (len(data) - data.find(b"mdat")) // 2
    for place in range(start, start + 40):
        data[place] ^= 0x5A
    path.write_bytes(data)
