"""Plain data from a file (TOML, JSON) become frozen records, checked field by field against their annotations."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


class SchemaError(ValueError):
    """A table is not what its record declares; the text says where and what was expected."""


def record(kind: Any, table: object, where: str) -> Any:
    """Build a frozen record from a table of plain data, and refuse what does not fit.

    Args:
        kind: A dataclass; its annotations say what is expected, recursively.
        table: What a TOML or JSON file holds.
        where: The file, for messages.

    Raises:
        SchemaError: A field is unknown, missing, or of another type.
    """
    if not isinstance(table, dict):
        raise SchemaError(f"{where}: found {table!r}, expected a table")
    known: dict[str, Field[Any]] = {one.name: one for one in fields(kind)}
    if unknown := sorted(set(table) - set(known)):
        raise SchemaError(f"{where}: unknown field {unknown[0]!r}; there are: {', '.join(known)}")
    needed = [
        name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING
    ]
    if missing := [name for name in needed if name not in table]:
        raise SchemaError(f"{where}: missing field {missing[0]!r}")
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints[name], value, _at(where, name)) for name, value in table.items()})


def _at(where: str, name: str) -> str:
    """The file, then the dotted path of the field in it."""
    return f"{where}{'.' if ': ' in where else ': '}{name}"


def _value(hint: Any, value: object, where: str) -> Any:
    """Convert one value to the type that the record declares."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return record(hint, value, where)
    if origin is Mapping and isinstance(value, dict):
        return {key: _value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is tuple and isinstance(value, list):
        each = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(each) == len(value):
            return tuple(_value(one, item, where) for one, item in zip(each, value, strict=True))
    elif origin is UnionType:
        if any(_is(one, value) for one in arguments if not is_dataclass(one)):
            return value
        if records := [one for one in arguments if is_dataclass(one)]:
            return _value(records[0], value, where)
    elif _is(hint, value):
        return float(value) if hint is float else value  # type: ignore[arg-type]
    raise SchemaError(f"{where}: found {value!r}, expected {_type_name(hint)}")


def _is(hint: Any, value: object) -> bool:
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_is(get_args(hint)[0], item) for item in value)
    if isinstance(value, bool) or hint is bool:
        return hint is bool and isinstance(value, bool)
    return isinstance(value, (int, float) if hint is float else hint)


def _type_name(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint)) if get_origin(hint) is None else str(hint)
