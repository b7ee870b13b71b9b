"""Pickles read as data. Loads no torch.

A pickle names functions and classes to be called. Here no name is looked up: arrays, numbers and plain containers are
made by functions of this module, an object of any other package becomes a stand-in without behaviour, and a name of
Python's own library that is not listed makes the file refused, because no training script keeps one beside its weights.
"""

import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn

import numpy as np

from unibench.errors import WeightsError

DAMAGE = (
    pickle.UnpicklingError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError,
    ArithmeticError, MemoryError, AssertionError, ImportError,
)  # fmt: skip
"""What a damaged pickle, or a wrong one, raises while it is read."""


class StandIn(dict[Any, Any]):
    """An object of a class that is not imported. Of its content it keeps the items that a mapping has."""

    dump_patches: ClassVar[bool] = False
    """torch asks this of the classes in old files."""

    def __new__(cls, *_: Any, **__: Any) -> "StandIn":
        """Ignore what the object was made with."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other

    def __setstate__(self, state: Any) -> None:
        """Drop the state."""

    def __call__(self, *_: Any, **__: Any) -> "StandIn":
        """Stand for what the object would return."""
        return self

    def append(self, item: Any) -> None:
        """Drop an item of a list."""

    def extend(self, items: Any) -> None:
        """Drop items of a list."""

    def add(self, item: Any) -> None:
        """Drop an item of a set."""


class _OfLibrary(StandIn):
    """A stand-in for a class of Python's own library."""


class Maker:
    """A function that a pickle may call; the pickle cannot change it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        """Make the object."""
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        """Drop the state."""


def _dtype(kind: Any, *_: Any) -> Any:
    """A copy: `BUILD` must not reach one of NumPy's own."""
    return np.dtype(kind, align=False, copy=True)


def _array(_: Any, shape: tuple[int, ...], kind: Any) -> np.ndarray:
    return np.ndarray.__new__(np.ndarray, shape, kind)


def _array_of(buffer: Any, kind: Any, shape: tuple[int, ...], order: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype=kind).reshape(shape, order=order)


def _scalar(kind: np.dtype[Any], content: bytes = b"") -> Any:
    return np.frombuffer(content, dtype=kind)[0] if kind.hasobject is False else StandIn()


def _bytes(text: str, encoding: str) -> bytes:
    return text.encode("latin1" if encoding == "latin1" else "utf-8")


class _Items(dict[Any, Any]):
    """A mapping of the collections module, without what it has beside its items."""

    def __setstate__(self, state: Any) -> None:
        """Drop the state."""


def _defaults(_: Any = None, *items: Any) -> _Items:
    return _Items(*items)


MAKERS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): Maker(_array),
    ("numpy.core.multiarray", "scalar"): Maker(_scalar),
    ("numpy.core.numeric", "_frombuffer"): Maker(_array_of),
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): Maker(_dtype),
    ("_codecs", "encode"): Maker(_bytes),
    ("collections", "OrderedDict"): _Items,
    ("collections", "defaultdict"): Maker(_defaults),
    ("collections", "Counter"): _Items,
    **{("builtins", one.__name__): Maker(one) for one in (
        set, frozenset, bytearray, complex, slice, list, dict, tuple, int, float, str, bytes, bool, range
    )},
}  # fmt: skip
"""Names that are made for what they are (NumPy 1's module names): arrays, numbers, containers."""
PASSIVE: Mapping[str, tuple[str, ...]] = {
    "argparse": ("Namespace",),
    "array": ("array", "_array_reconstructor"),
    "builtins": ("object", "type", "NoneType", "Ellipsis", "NotImplemented"),
    "collections": ("deque", "ChainMap", "UserDict", "UserList"),
    "copyreg": ("_reconstructor", "__newobj__", "__newobj_ex__"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "decimal": ("Decimal",),
    "enum": ("Enum", "IntEnum", "Flag", "IntFlag", "StrEnum"),
    "fractions": ("Fraction",),
    "functools": ("partial",),
    "inspect": ("_empty", "Parameter", "Signature", "_ParameterKind"),
    "logging": ("Logger", "RootLogger", "getLogger"),
    "operator": ("attrgetter", "itemgetter", "methodcaller"),
    "pathlib": ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"),
    "pathlib._local": ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"),
    "random": ("Random",),
    "re": ("_compile",),
    "time": ("struct_time",),
    "types": ("SimpleNamespace", "MappingProxyType"),
    "typing": ("Any", "Union", "Optional"),
    "uuid": ("UUID", "SafeUUID"),
    "zoneinfo": ("ZoneInfo", "ZoneInfo._unpickle"),
}
"""Names of Python's own library that stand-ins may be made for: what training scripts keep beside their weights."""


class Unpickler(pickle.Unpickler):
    """Makes what `known` lists, and stand-ins for objects of other packages."""

    known: ClassVar[Mapping[tuple[str, str], Any]] = MAKERS
    where: ClassVar[str] = ""
    advice: ClassVar[str] = "convert it where you trust it: save names and arrays alone"

    def find_class(self, module: str, name: str, /) -> Any:
        """Say what stands for a name; nothing is imported.

        Raises:
            WeightsError: It is a name of Python's own library that is not listed.
        """
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(
            module, module
        )  # as Python 2 called them
        package = module.partition(".")[0]
        maker = self.known.get((module.replace("numpy._core", "numpy.core"), name))
        if maker is not None:
            return maker
        if (module, name) == ("builtins", "getattr"):  # a member of an enumeration, as Python 3.11 pickles it
            return Maker(self._attribute)
        if name in PASSIVE.get(module, ()):
            return _OfLibrary
        if package not in sys.stdlib_module_names:
            return StandIn
        return self._refuse(module, name)

    def _attribute(self, owner: Any, name: Any) -> StandIn:
        if not isinstance(owner, type) or not issubclass(owner, StandIn) or issubclass(owner, _OfLibrary):
            self._refuse("builtins", "getattr")
        return StandIn()

    def _refuse(self, module: str, name: str) -> NoReturn:
        raise WeightsError(
            f"{self.where}: a pickle that holds more than tensors is not read, for it could run code (it asks for "
            f"{module}.{name}); {self.advice}"
        )


def reader(kind: type[Unpickler], where: str) -> type[Unpickler]:
    """Make an unpickler that names the file in its messages."""
    return type(kind.__name__, (kind,), {"where": where})
