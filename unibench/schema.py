"""Plain data from a file (TOML, JSON) become frozen records; whatever does not fit is one clear line.

A record is a frozen dataclass. Its annotations are the whole schema: types are strict (no text is a number, no number a
switch), and a range stands where the field is declared, `rate: Annotated[float, Meta(gt=0)]` with msgspec's `Meta`.
Fields that must fit each other are the record's `__post_init__`, which raises ValueError.
What no record needs to say holds for every file: numbers are finite, integers fit 64 bits, no key stands twice in
a table, tables are at most `DEPTH` deep, and every text can be written as UTF-8.
"""

import errno
import json as stdlib_json
import math
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

UNIQUE = Meta(extra_json_schema={"uniqueItems": True})
"""Beside a tuple's type: no item may stand in it twice."""
DEPTH = 32
"""Levels of tables in tables that a file may have."""
INTEGERS = range(-(2**63), 2**63)
"""Integers that a file may hold: those of 64 bits."""
_SHOWN = 80
"""Characters of a value that a message quotes."""


class SchemaError(ValueError):
    """A table is not what its record declares; the text says where and what was expected."""


def read_file(path: Path) -> bytes:
    """Read a regular file; a pipe or a device, which might never end, is refused before it is opened.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    try:
        mode = path.stat().st_mode
    except ValueError:  # a NUL, or half of a character
        raise OSError(errno.EINVAL, "not a file's name", ascii(path)) from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # the folder's own error is clear
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.read_bytes()


def record(kind: Any, table: object, where: str, *, others: bool = False) -> Any:
    """Build a frozen record from a table of plain data, and refuse what does not fit.

    Args:
        kind: A dataclass; its annotations say what is expected, recursively.
        table: What `parse_json` or `parse_toml` gives.
        where: The file, for messages.
        others: Whether the table may have fields that the record lacks, as in a format of somebody else's.

    Raises:
        SchemaError: A field is unknown, missing, of another type, or out of its range.
    """
    if others:
        try:
            return msgspec.convert(table, kind, strict=True)
        except (msgspec.ValidationError, RecursionError):
            pass  # below is the same, slower, with a message that says where
    else:
        for problem in _unsound(table, "", 0):
            raise SchemaError(f"{where}: {problem}")
    return _record(kind, table, where, others=others)


def json(kind: Any, data: bytes, where: str, *, others: bool = False) -> Any:
    """Build a frozen record from JSON; see `record`.

    Raises:
        SchemaError: It is not JSON, or does not fit.
    """
    return record(kind, _parse_json(data, where), where, others=others)


def parse_json(data: bytes, where: str) -> Any:
    """Parse JSON as its standard has it: no NaN, no infinity, no key twice, no half of a character.

    Args:
        data: UTF-8, with or without a byte-order mark.
        where: The file, for messages.

    Raises:
        SchemaError: It is not JSON, or holds what no file may hold.
    """
    value = _parse_json(data, where)
    for problem in _unsound(value, "", 0):
        raise SchemaError(f"{where}: {problem}")
    return value


def parse_toml(data: bytes, where: str) -> dict[str, Any]:
    """Parse TOML.

    Args:
        data: UTF-8.
        where: The file, for messages.

    Raises:
        SchemaError: It is not TOML.
    """
    try:
        return tomllib.loads(data.decode())
    except RecursionError:
        raise SchemaError(f"{where}: not a readable TOML file (nested too deeply)") from None
    except ValueError as error:  # not UTF-8, not TOML, or thousands of digits
        raise SchemaError(f"{where}: not a readable TOML file ({_short(str(error))})") from error


def json_schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a record, for editors and for those who write such files by program."""
    schema = msgspec.json.schema(kind, schema_hook=lambda other: {"type": "string"})  # paths
    for definition in schema.get("$defs", {}).values():
        definition["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _parse_json(data: bytes, where: str) -> Any:
    try:
        text = data.decode("utf-8-sig")
        value = stdlib_json.loads(
            text, object_pairs_hook=_unique, parse_constant=_constant, parse_int=_integer, parse_float=_finite
        )
        if "\\ud" in text.lower():  # half of a character cannot be written again
            stdlib_json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise SchemaError(f"{where}: not JSON that can be read (nested too deeply)") from None
    except UnicodeEncodeError:
        raise SchemaError(f"{where}: not JSON (half of a surrogate pair in a text)") from None
    except ValueError as error:
        raise SchemaError(f"{where}: not JSON ({_short(str(error))})") from error
    return value


def _record(kind: Any, table: object, where: str, *, others: bool) -> Any:
    if not isinstance(table, dict):
        raise SchemaError(f"{where}: found {_quote(table)}, expected a table")
    known = {one.name: one for one in fields(kind)}
    if not others and (unknown := sorted(map(str, set(table) - set(known)))):
        raise SchemaError(f"{where}: unknown field {_quote(unknown[0])}; there are: {', '.join(known)}")
    for name, one in known.items():
        if one.default is MISSING and one.default_factory is MISSING and name not in table:
            raise SchemaError(f"{where}: missing field {name!r}")
    hints = _hints(kind)
    values = {
        name: _value(hints[name], table[name], _at(where, name), others) for name in known if name in table
    }
    try:
        return kind(**values)
    except ValueError as error:
        raise SchemaError(f"{where}: {' '.join(str(error).split())}") from error


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _at(where: str, name: str) -> str:
    """The file, then the dotted path of the field in it."""
    return f"{where}{'.' if ': ' in where else ': '}{name}"


def _value(hint: Any, value: object, where: str, others: bool) -> Any:
    """Convert one value to the type that the record declares."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _record(hint, value, where, others=others)
    if origin is Annotated and get_origin(arguments[0]) is tuple and isinstance(value, list):
        items = _value(arguments[0], value, where, others)  # names the item that does not fit, not the list
        if UNIQUE in hint.__metadata__ and len(set(items)) < len(items):
            raise SchemaError(f"{where}: found {_quote(value)}, expected no item twice")
    if origin is Mapping and isinstance(value, dict):
        return {
            key: _value(arguments[1], item, f"{where}.{_short(key)}", others) for key, item in value.items()
        }
    if origin is tuple and arguments[-1] is Ellipsis and isinstance(value, list):
        return tuple(_value(arguments[0], item, f"{where}[{i}]", others) for i, item in enumerate(value))
    if isinstance(value, dict) and (records := [one for one in arguments if is_dataclass(one)]):
        return _record(records[0], value, where, others=others)
    try:
        return msgspec.convert(value, hint, strict=True)
    except (msgspec.ValidationError, RecursionError):
        raise SchemaError(f"{where}: found {_quote(value)}, expected {_expected(hint)}") from None


def _expected(hint: Any) -> str:
    """What a field takes, in words: `float, more than 0`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        limits = [
            f"{words} {getattr(meta, name)}"
            for meta in hint.__metadata__
            for name, words in _LIMITS.items()
            if getattr(meta, name, None) is not None
        ]
        return ", ".join([_expected(arguments[0]), *limits])
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (Union, UnionType):
        return " | ".join(map(_expected, arguments))
    if origin in (tuple, list):
        return f"{origin.__name__}[{', '.join('...' if one is Ellipsis else _expected(one) for one in arguments)}]"
    return (
        "a table"
        if is_dataclass(hint) or origin is Mapping
        else "null"
        if hint is NoneType
        else hint.__name__
    )


_LIMITS = {
    "gt": "more than",
    "ge": "at least",
    "lt": "less than",
    "le": "at most",
    "min_length": "of a length of at least",
    "max_length": "of a length of at most",
}


def _unsound(value: object, where: str, depth: int) -> Iterator[str]:
    """What no record may hold, wherever it stands."""
    at = f"{where}: " if where else ""
    if depth > DEPTH:
        yield f"{at}more than {DEPTH} tables in one another, expected fewer"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unsound(item, f"{where}.{key}" if where else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _unsound(item, where, depth + 1)
    elif isinstance(value, int) and value not in INTEGERS:
        yield f"{at}found an integer of more than 64 bits, expected a smaller one"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{at}found {value}, expected a finite number"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"key {_quote(twin)} stands twice in one object")
    return table


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _integer(text: str) -> int:
    number = int(text) if len(text) <= 20 else INTEGERS.stop
    if number not in INTEGERS:
        raise ValueError(f"an integer of {len(text)} digits, expected one of 64 bits")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{_short(text)} is too large for a number")
    return number


def _quote(value: object) -> str:
    """A value as a message quotes it: on one line, and cut short."""
    if isinstance(value, dict) and value:
        return "a table"
    if isinstance(value, list) and (len(value) > 8 or any(isinstance(one, dict | list) for one in value)):
        return f"a list of {len(value)}"
    if isinstance(value, int) and value not in INTEGERS:
        return "an integer of more than 64 bits"
    return _short(ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value))


def _short(text: str) -> str:
    line = " ".join(text.encode(errors="backslashreplace").decode().split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
