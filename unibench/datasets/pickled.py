"""Pickles of arrays read as data, without the pickle machinery: nothing is looked up or called that is not here.

A file is mapped, not read: a small interpreter goes through its instructions, and arrays are views of the mapped bytes,
so that the names in a file of gigabytes cost as little as its names (`models.pickles`, of Python's own machinery, holds
the whole file). What may come out is numbers, text, bytes, lists,
tuples, dicts and arrays of numbers; any other name in the file is refused.
"""

import mmap
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from unibench.datasets.files import fail

ADVICE = "expected dicts, lists, numbers, text, bytes and NumPy arrays alone"
_ARRAY_NAMES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC_NAMES = ("numpy.core.numeric", "numpy._core.numeric")
_DAMAGE = (
    struct.error, LookupError, ValueError, TypeError, AttributeError, OverflowError, MemoryError, RecursionError,
)  # fmt: skip


def read(file: Path) -> Any:
    """Read a pickle.

    Args:
        file: Of protocol 2 or later, as Python 3 writes it.

    Returns:
        What it holds. Arrays and bytes are views of the file, which is read where they are.

    Raises:
        DataError: It is missing, damaged, or holds anything else.
    """
    try:
        with file.open("rb") as opened:
            content = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        fail(file, f"cannot be read ({error})", "check the path, or fetch the file again")
    reader = _Reader(file, content)
    try:
        return reader.run()
    except _DAMAGE as error:
        words = " ".join(str(error).split())[:80]
        fail(file, f"a damaged pickle ({type(error).__name__}: {words})", "fetch the file again")


@dataclass(frozen=True)
class _Name:
    """A name that the file asks for: one of those that stand for arrays and numbers."""

    make: Callable[..., Any]


class _Array:
    """An array before its content is known."""

    value: np.ndarray | None = None


@dataclass
class _Dtype:
    """A type of numbers, which the file may turn round in its bytes."""

    kind: str

    def set(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        if order in ("<", ">"):
            self.kind = order + self.kind.lstrip("<>|=")

    @property
    def value(self) -> np.dtype[Any]:
        found = np.dtype(self.kind)
        if found.kind not in "biuf":
            raise ValueError(f"an array of type {self.kind!r}")
        return found


def _array_of(buffer: Any, kind: Any, shape: Any, order: str = "C") -> np.ndarray:
    return np.frombuffer(buffer, dtype=kind.value).reshape(shape, order="F" if order == "F" else "C")


def _scalar(kind: _Dtype, content: Any) -> Any:
    return np.frombuffer(content, dtype=kind.value, count=1)[0]


NAMES: Mapping[tuple[str, str], Callable[..., Any]] = {
    **{(module, "_reconstruct"): lambda *_: _Array() for module in _ARRAY_NAMES},
    **{(module, "scalar"): _scalar for module in _ARRAY_NAMES},
    **{(module, "_frombuffer"): _array_of for module in _NUMERIC_NAMES},
    ("numpy", "ndarray"): lambda *_: _Array(),
    ("numpy", "dtype"): lambda kind, *_: _Dtype(str(kind)),
    ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),
    ("builtins", "bytearray"): lambda content=b"": content,
    ("__builtin__", "bytearray"): lambda content=b"": content,
}
"""What the names stand for that NumPy's arrays and numbers are pickled with."""
_NUMBERS = {
    "J": "<i",
    "K": "<B",
    "M": "<H",
    "G": ">d",
    "q": "<B",
    "r": "<I",
    "h": "<B",
    "j": "<I",
    "\x80": "<B",
}
_SIZED = {
    "X": "<I",
    "\x8c": "<B",
    "\x8d": "<Q",
    "B": "<I",
    "C": "<B",
    "\x8e": "<Q",
    "\x96": "<Q",
    "\x8a": "<B",
}
_TEXT = ("X", "\x8c", "\x8d")
_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "N": lambda: None, "\x88": lambda: True, "\x89": lambda: False, ")": lambda: (), "]": list, "}": dict,
}  # fmt: skip


@dataclass
class _Reader:
    """Goes through the instructions of a pickle."""

    file: Path
    content: memoryview
    at: int = 0
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self) -> Any:
        while (code := chr(self._take(1)[0])) != ".":
            if code in _CONSTANTS:
                self.stack.append(_CONSTANTS[code]())
            elif code in _NUMBERS:
                self._number(
                    code, struct.unpack(_NUMBERS[code], self._take(struct.calcsize(_NUMBERS[code])))[0]
                )
            elif code in _SIZED:
                self._sized(code, struct.unpack(_SIZED[code], self._take(struct.calcsize(_SIZED[code])))[0])
            elif code in _STEPS:
                _STEPS[code](self)
            else:
                self._refuse(f"the instruction {_called(code)}")
        return _plain(self.stack[-1], {})

    def _take(self, count: int) -> memoryview:
        start, self.at = self.at, self.at + count
        if self.at > len(self.content):
            raise IndexError("it ends too early")
        return self.content[start : self.at]

    def _number(self, code: str, value: Any) -> None:
        if code in "qr":
            self.memo[value] = self.stack[-1]
        elif code in "hj":
            self.stack.append(self.memo[value])
        elif code != "\x80":
            self.stack.append(value)

    def _sized(self, code: str, size: int) -> None:
        content = self._take(size)
        if code in _TEXT:
            self.stack.append(str(content, "utf-8"))
        elif code == "\x8a":
            self.stack.append(int.from_bytes(content, "little", signed=True))
        else:
            self.stack.append(content)

    def line(self) -> str:
        start = self.at
        while self.content[self.at] != ord("\n"):
            self.at += 1
        self.at += 1
        return str(self.content[start : self.at - 1], "utf-8")

    def pop_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop(self, count: int) -> list[Any]:
        items = [self.stack.pop() for _ in range(count)]
        return items[::-1]

    def name(self, module: Any, name: Any) -> None:
        make = NAMES.get((module, name))
        if make is None:
            self._refuse(ascii(f"{module}.{name}"[:80])[1:-1])
        self.stack.append(_Name(make))

    def reduce(self) -> None:
        named, arguments = self.pop(2)
        if not isinstance(named, _Name) or not isinstance(arguments, tuple):
            raise TypeError("a call of what is no name")
        self.stack.append(named.make(*arguments))

    def build(self) -> None:
        made, state = self.pop(2)
        if isinstance(made, _Array):
            _, shape, kind, turned, content = state
            made.value = _array_of(content, kind, shape, "F" if turned else "C")
        elif isinstance(made, _Dtype):
            made.set(state)
        else:
            raise TypeError("a state of what has none")
        self.stack.append(made)

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("items for what is no list")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise TypeError("entries for what is no dict")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def skip_frame(self) -> None:
        self._take(8)

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _refuse(self, what: str) -> NoReturn:
        fail(self.file, f"a pickle that asks for {what}", f"{ADVICE}; it is not read, for it could run code")


_STEPS: Mapping[str, Callable[[_Reader], None]] = {
    "\x95": _Reader.skip_frame,
    "(": _Reader.mark,
    "\x94": _Reader.memoize,
    "c": lambda reader: reader.name(reader.line(), reader.line()),
    "\x93": lambda reader: reader.name(*reader.pop(2)),
    "R": _Reader.reduce,
    "b": _Reader.build,
    "t": lambda reader: reader.stack.append(tuple(reader.pop_mark())),
    "\x85": lambda reader: reader.stack.append(tuple(reader.pop(1))),
    "\x86": lambda reader: reader.stack.append(tuple(reader.pop(2))),
    "\x87": lambda reader: reader.stack.append(tuple(reader.pop(3))),
    "l": lambda reader: reader.stack.append(reader.pop_mark()),
    "d": lambda reader: reader.stack.append(_pairs(reader.pop_mark())),
    "a": lambda reader: reader.extend(reader.pop(1)),
    "e": lambda reader: reader.extend(reader.pop_mark()),
    "s": lambda reader: reader.update(reader.pop(2)),
    "u": lambda reader: reader.update(reader.pop_mark()),
}
"""Instruction -> what it does."""


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _called(code: str) -> str:
    return next((one.name for one in pickletools.opcodes if one.code == code), repr(code))


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """The value with arrays in the place of what stands for them; a container that holds itself is refused."""
    if id(value) in seen:
        if seen[id(value)] is None:
            raise ValueError("a container that holds itself")
        return seen[id(value)]
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without content")
        return value.value
    if isinstance(value, _Name | _Dtype):
        raise TypeError("a name in the place of a value")
    if not isinstance(value, list | tuple | dict):
        return value
    seen[id(value)] = None
    if isinstance(value, dict):
        made: Any = {_plain(key, seen): _plain(item, seen) for key, item in value.items()}
    else:
        made = type(value)(_plain(item, seen) for item in value)
    seen[id(value)] = made
    return made
