"""Arrays of real numbers in MATLAB's files (version 5, `save -v6` and `-v7`), read without scipy.

scipy's reader is compiled code that trusts the file: on damaged ones it ends the process.

Reference: MathWorks, "MAT-File Format", chapter 1, level 5.
"""

import struct
import zlib
from collections.abc import Iterator
from math import prod

import numpy as np

HEADER = 128
"""Bytes before the first element: text, version, and the order of bytes."""
LARGEST = 64 << 20
"""Bytes that one variable may have."""
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Type of an element -> what it holds."""
_NUMERIC = range(6, 16)
"""Classes of matrices that hold numbers: double, single, and integers."""
_COMPLEX = 0x0800


def read_array(data: bytes, name: str) -> np.ndarray:
    """Read one variable.

    Args:
        data: The file.
        name: Of the variable.

    Returns:
        Its numbers, with MATLAB's axes.

    Raises:
        ValueError: It is no such file, is damaged, or has no array of real numbers of this name.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[HEADER - 2 : HEADER])
    if order is None:
        raise ValueError("no MATLAB file of version 5")
    for kind, content in _elements(data[HEADER:], order):
        matrices = _elements(_inflated(content), order) if kind == _COMPRESSED else [(kind, content)]
        for inner, matrix in matrices:
            if inner == _MATRIX and (found := _array(matrix, name, order)) is not None:
                return found
    raise ValueError(f"no variable {name!r}")


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and content of each element; a small one has both in the 8 bytes that otherwise are its tag."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            at += 8
            if size > 4:
                raise ValueError("a small element of more than 4 bytes")
        else:
            start = at + 8
            at = start + size + (-size % 8 if kind != _COMPRESSED else 0)
        if start + size > len(data):
            raise ValueError("ends within an element")
        yield kind, data[start : start + size]


def _inflated(data: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, LARGEST)
    except zlib.error as error:
        raise ValueError("compressed data are damaged") from error
    if not stream.eof:
        raise ValueError("compressed data end too early, or are too large")
    return found


def _array(matrix: bytes, name: str, order: str) -> np.ndarray | None:
    """The numbers of a matrix; None: it has another name."""
    parts = [*_elements(matrix, order)]
    if len(parts) < 3 or len(parts[0][1]) < 8 or len(parts[1][1]) % 4:
        raise ValueError("a matrix without flags, size and name")
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    if parts[2][1] != name.encode():
        return None
    if flags & 0xFF not in _NUMERIC or flags & _COMPLEX or len(parts) != 4 or parts[3][0] not in _NUMBERS:
        raise ValueError(f"{name} is no array of real numbers")
    shape = np.frombuffer(parts[1][1], f"{order}i4").tolist()
    numbers = np.dtype(order + _NUMBERS[parts[3][0]])
    if min(shape, default=-1) < 0 or prod(shape) * numbers.itemsize != len(parts[3][1]):
        raise ValueError(f"{name} has another number of values than its size says")
    return np.frombuffer(parts[3][1], numbers).reshape(shape, order="F")
