"""What a tracker said of one clip: one ZIP file of `Labels`, written frame by frame and read the same way.

An entry holds the labels of `FRAMES` frames as MessagePack, compressed by deflate: each frame is the fields that are
used, an array is `[dtype, shape, bytes]`, a mask `[height, width, counts]`. Every bit comes back. The file holds no
times, so the same labels make the same bytes. Its checksum is that of the labels, not of the file: another build of
zlib gives other bytes and the same checksum. Loads no torch.
"""

import hashlib
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, overload

import msgspec
import numpy as np

from unibench.errors import OutputError
from unibench.records import Labels, Rle

FRAMES = 32
"""Frames an entry: so many are in memory at a time."""
SPOOL = 8 * 2**20
"""Bytes up to which a clip that is being written stays in memory; more lie in a nameless file."""
_FORMAT = b"unibench labels 1"
_MOST = 2**31
"""Bytes of an entry; more is damage."""
_ADVICE = "delete the file and give the run's command again"
_DAMAGE = (
    *(
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        msgspec.MsgspecError,
        OSError,
        ValueError,
        TypeError,
        EOFError,
    ),
    *(NotImplementedError, RuntimeError, OverflowError, LookupError),
)
"""What zipfile, msgspec and numpy raise on bytes that nobody has written."""
_ARRAYS = ("ids", "boxes", "keypoints", "scores", "classes")


class _Array(msgspec.Struct, array_like=True, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data: bytes


class _Mask(msgspec.Struct, array_like=True, frozen=True):
    height: int
    width: int
    counts: bytes


class _Frame(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True):
    """Fields that are None are as an empty `Labels` has them."""

    ids: _Array | None = None
    boxes: _Array | None = None
    keypoints: _Array | None = None
    scores: _Array | None = None
    classes: _Array | None = None
    masks: tuple[_Mask, ...] = ()


class Predictions(Sequence[Labels]):
    """The labels of a clip's frames, read from the file as they are asked for: in order, each is decoded once."""

    def __init__(self, file: IO[bytes], length: int, checksum: str) -> None:
        self.checksum = checksum
        """Hash over all labels."""
        self._file = file
        self._length = length
        self._archive = zipfile.ZipFile(file)
        self._entry = -1
        self._frames: list[Labels] = []

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Labels: ...
    @overload
    def __getitem__(self, index: slice) -> list[Labels]: ...
    def __getitem__(self, index: int | slice) -> Labels | list[Labels]:
        """Labels of one frame, or of several."""
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(self._length))]
        place = index + self._length if index < 0 else index
        if not 0 <= place < self._length:
            raise IndexError(f"frame {index} of {self._length}")
        if place // FRAMES != self._entry:
            self._entry = place // FRAMES
            self._frames = _decode(self._archive.read(_entry_name(self._entry)))
        return self._frames[place % FRAMES]

    def save(self, path: Path) -> None:
        """Copy them to a file.

        Raises:
            OSError: It cannot be written.
        """
        self._file.seek(0)
        with path.open("wb") as copy:
            while part := self._file.read(2**20):
                copy.write(part)


class Writer:
    """Takes the labels of one frame after the other; memory does not grow with their number.

    A process that is killed leaves nothing behind.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=SPOOL)  # noqa: SIM115 - `close` closes it
        self._archive = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED)
        self._hash = hashlib.sha256(_FORMAT)
        self._waiting: list[_Frame] = []
        self._entries = self._length = 0

    def append(self, labels: Labels) -> None:
        """Take the labels of the next frame.

        Raises:
            OutputError: There is no room for them.
        """
        self._waiting.append(_encode(labels))
        self._length += 1
        if len(self._waiting) == FRAMES:
            self._write()

    def finish(self) -> Predictions:
        """Give what was written, to be read while this writer is not closed.

        Raises:
            OutputError: There is no room for it.
        """
        if self._waiting:
            self._write()
        self._archive.comment = _FORMAT
        with _room():
            self._archive.close()
        return Predictions(self._file, self._length, self._hash.hexdigest()[:16])

    def close(self) -> None:
        """Forget everything that was not saved."""
        with suppress(OSError):  # no room to end what nobody reads
            self._archive.close()
        self._file.close()

    def _write(self) -> None:
        data = msgspec.msgpack.encode(self._waiting)
        self._hash.update(data)
        entry = zipfile.ZipInfo(_entry_name(self._entries))  # its time is 1980, whenever it is made
        entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
        with _room():
            self._archive.writestr(entry, data)
        self._entries += 1
        self._waiting = []


@contextmanager
def opened(path: Path, checksum: str) -> Iterator[Predictions]:
    """Read what was predicted of a clip; the whole file is checked first.

    Args:
        path: The file.
        checksum: Of its labels, as the result beside it has it.

    Raises:
        OutputError: The file is missing or damaged, or holds other labels.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise OutputError(
            f"{path}: predictions cannot be read ({error.strerror or error}), expected those of the result beside "
            "them; give the run's command again"
        ) from error
    with file:
        yield Predictions(file, _check(path, file, checksum), checksum)


def _check(path: Path, file: IO[bytes], checksum: str) -> int:
    """Number of frames in a file of predictions, every bit of which is as it was written."""
    found, length = hashlib.sha256(_FORMAT), 0
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.comment != _FORMAT:
                raise ValueError(f"found the format {archive.comment[:40]!r}, expected {_FORMAT!r}")
            for place, entry in enumerate(archive.infolist()):
                if entry.filename != _entry_name(place) or entry.file_size > _MOST:
                    raise ValueError(f"found the entry {entry.filename[:40]!r}")
                data = archive.read(entry)
                found.update(data)
                length += len(_decode(data))
    except _DAMAGE as error:
        raise OutputError(
            f"{path}: damaged predictions ({' '.join(str(error).split())[:120]}); {_ADVICE}"
        ) from error
    if found.hexdigest()[:16] != checksum:
        raise OutputError(
            f"{path}: predictions with the checksum {found.hexdigest()[:16]}, expected {checksum}; {_ADVICE}"
        )
    return length


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"predictions: no room for a clip's labels ({error.strerror or error}); free some space in the folder "
            "for temporary files, or leave predictions out with --no-predictions"
        ) from error


def _entry_name(place: int) -> str:
    return f"{place:06d}.msgpack"


def _encode(labels: Labels) -> _Frame:
    arrays: dict[str, Any] = {name: _packed(getattr(labels, name), name) for name in _ARRAYS}
    masks = tuple(_Mask(int(one["size"][0]), int(one["size"][1]), one["counts"]) for one in labels.masks)
    return _Frame(**arrays, masks=masks)


_EMPTY = Labels()


def _packed(array: np.ndarray, name: str) -> _Array | None:
    default = getattr(_EMPTY, name)
    if array.shape == default.shape and array.dtype == default.dtype:
        return None
    data = np.ascontiguousarray(array)
    return _Array(
        data.dtype.newbyteorder("<").str, data.shape, data.astype(data.dtype.newbyteorder("<")).tobytes()
    )


def _decode(data: bytes) -> list[Labels]:
    return [_labels(frame) for frame in msgspec.msgpack.decode(data, type=list[_Frame])]


def _labels(frame: _Frame) -> Labels:
    arrays = {name: _unpacked(one) for name in _ARRAYS if (one := getattr(frame, name)) is not None}
    masks = tuple(Rle(size=[mask.height, mask.width], counts=mask.counts) for mask in frame.masks)
    return Labels(**arrays, masks=masks)


def _unpacked(packed: _Array) -> np.ndarray:
    dtype = np.dtype(packed.dtype)
    if dtype.kind not in "iuf" or math.prod(packed.shape) * dtype.itemsize != len(packed.data):
        raise ValueError(f"found an array of {packed.dtype[:20]!r} with {len(packed.data)} bytes")
    return np.frombuffer(packed.data, dtype=dtype).reshape(packed.shape).copy()
