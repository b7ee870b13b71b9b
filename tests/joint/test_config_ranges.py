"""Every field of every system's config has a range: what lies outside is refused by the field's name.

A new system is tested by being registered.
"""

import copy
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest

from unibench.errors import TrainingError
from unibench.joint import systems
from unibench.joint.training import config as configs

SYSTEMS = sorted(systems.SYSTEMS)
HUGE = 10**30
WRONG_TYPES: dict[type, tuple[object, ...]] = {
    int: (1.5, "1", True, None, [], {}, HUGE, -HUGE),
    float: ("1", True, None, [], {}, math.nan, math.inf, -math.inf, HUGE),
    bool: (0, 1, "true", None, []),
    str: (1, True, None, [], {}),
}


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A field that holds a number, a switch or a text, or one item of a list."""

    system: str
    path: tuple[str | int, ...]
    hint: Any

    def __str__(self) -> str:
        return ".".join(map(str, (self.system, *self.path)))


def limits(hint: Any) -> dict[str, float]:
    """Name of a bound -> its value."""
    found = {}
    for meta in getattr(hint, "__metadata__", ()):
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length"):
            if getattr(meta, name, None) is not None:
                found[name] = getattr(meta, name)
    return found


def plain(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def leaves(system: str, kind: Any, path: tuple[str | int, ...] = ()) -> Iterator[Leaf]:
    """All fields of a config, and those of the records in it."""
    bare = plain(kind)
    if dataclasses.is_dataclass(bare):
        for name, hint in get_type_hints(bare, include_extras=True).items():
            yield from leaves(system, hint, (*path, name))
    elif NoneType in get_args(bare):
        yield from leaves(system, next(one for one in get_args(bare) if one is not NoneType), path)
    elif get_origin(bare) is Mapping:
        yield from leaves(system, get_args(bare)[1], (*path, "some"))
    elif get_origin(bare) is tuple:
        if not dataclasses.is_dataclass(get_args(bare)[0]):
            yield Leaf(system, path, kind)
        for place, hint in enumerate(one for one in get_args(bare) if one is not Ellipsis):
            yield from leaves(system, hint, (*path, place))
    else:
        yield Leaf(system, path, kind)


LEAVES = [leaf for system in SYSTEMS for leaf in leaves(system, systems.find(system).config)]


def outside(hint: Any) -> Iterator[object]:
    """Values that a field does not take."""
    bare, bounds = plain(hint), limits(hint)
    if get_origin(bare) is tuple:
        yield from ("x", 1, None, {}, [[]], [None])
        if Ellipsis not in get_args(bare) or bounds.get("min_length"):
            yield []
        return
    if get_origin(bare) is Literal:
        yield from ("", "no such choice", 1, None)
        return
    yield from WRONG_TYPES[bare]
    if bare in (int, float):
        for name, by in (("ge", -1), ("gt", 0), ("le", 1), ("lt", 0)):
            if name in bounds:
                yield bare(bounds[name] + by)
    elif bounds.get("min_length"):
        yield ""


@cache
def tiny(system: str) -> str:
    table = json.loads(configs.as_json(configs.read("tiny", systems.find(system))))
    if table.get("tracking", {}).get("reid", 0) is None:
        table["tracking"]["reid"] = {"card": "lab-colour", "layer": "", "size": [8, 8]}
    return json.dumps(table)


def changed(leaf: Leaf, value: object) -> Any:
    table = json.loads(tiny(leaf.system))
    inner = table
    for name in leaf.path[:-1]:
        inner = inner[name]
    last = leaf.path[-1]
    if isinstance(last, int) and last == len(inner):  # an item of a list that is empty
        inner.append(value)
    else:
        inner[last] = value
    return table


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_a_number_has_a_lower_and_an_upper_bound(leaf: Leaf) -> None:
    bounds, bare = limits(leaf.hint), plain(leaf.hint)
    if bare is float or (bare is int and leaf.path[-1] != "seed"):
        assert bounds.keys() & {"ge", "gt"}
        assert bounds.keys() & {"le", "lt"}
    elif get_origin(bare) is tuple and Ellipsis in get_args(bare):
        assert bounds.keys() >= {"min_length", "max_length"}


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_a_value_out_of_range_is_refused_by_the_fields_name(leaf: Leaf) -> None:
    system = systems.find(leaf.system)
    known = json.loads(tiny(leaf.system))
    configs.fill(copy.deepcopy(known), system, "f")
    name = r"(\[\d\])?\.".join(one for one in leaf.path if isinstance(one, str))
    tried = list(outside(leaf.hint))
    assert tried
    for value in tried:
        with pytest.raises(TrainingError, match=rf"^f: {name}(\[\d\])?: found ") as caught:
            configs.fill(changed(leaf, value), system, "f")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_must_fit_together_is_refused_together(system: str) -> None:
    found = systems.find(system)
    with pytest.raises(TrainingError, match=r"^f: sample: scale: found \[2\.0, 1\.0\], expected the smaller"):
        configs.fill(changed(Leaf(system, ("sample", "scale"), None), [2, 1]), found, "f")
    with pytest.raises(TrainingError, match=r"^f: classes: found \['a', 'a'\], expected no item twice"):
        configs.fill(changed(Leaf(system, ("classes",), None), ["a", "a"]), found, "f")
