"""Plain data become records, and nothing but a SchemaError of one line comes out of what does not fit."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from unibench import schema
from unibench.schema import SchemaError


@dataclass(frozen=True)
class Part:
    node: str | int
    stride: Annotated[int, Meta(ge=1)]
    share: Annotated[float, Meta(gt=0, lt=1)] = 0.5


@dataclass(frozen=True)
class Whole:
    name: str
    parts: Mapping[str, Part] = field(default_factory=dict)
    rows: tuple[Part, ...] = ()
    size: tuple[int, int] = (1, 1)
    colour: Literal["rgb", "bgr"] = "rgb"
    other: Part | None = None
    options: Mapping[str, str | int | float | bool | list[int]] = field(default_factory=dict)


PART = {"node": 3, "stride": 2}


def test_a_table_becomes_a_record() -> None:
    table = {
        "name": "a",
        "parts": {"x": PART},
        "rows": [PART | {"share": 1e-3}],
        "size": [3, 4],
        "other": PART,
    }
    one = Part(3, 2)
    made = schema.record(Whole, table, "f")
    assert made == Whole("a", {"x": one}, (Part(3, 2, 0.001),), (3, 4), other=one)
    assert schema.record(Part, {"node": "n", "stride": 1}, "f") == Part("n", 1)
    assert isinstance(schema.record(Whole, {"name": "a", "options": {"k": 1}}, "f").options["k"], int)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], r"f: found \[\], expected a table"),
        ({}, "f: missing field 'name'"),
        ({"name": 3}, "f: name: found 3, expected str"),
        ({"name": "a", "nam": 1}, "f: unknown field 'nam'; there are: name, parts, "),
        ({"name": "a", 3: 1}, "f: unknown field '3'"),
        ({"name": "a", "parts": {"x": 3}}, r"f: parts\.x: found 3, expected a table"),
        ({"name": "a", "parts": 3}, "f: parts: found 3, expected a table"),
        ({"name": "a", "parts": {"x": PART | {"stride": True}}}, r"f: parts\.x\.stride: found True, expected int, at"),
        ({"name": "a", "parts": {"x": PART | {"stride": 2.0}}}, r"stride: found 2\.0, expected int, at least 1"),
        ({"name": "a", "parts": {"x": PART | {"stride": 0}}}, "stride: found 0, expected int, at least 1"),
        ({"name": "a", "rows": [PART, PART | {"share": 1}]}, r"rows\[1\]\.share: found 1, expected float, more than 0"),
        ({"name": "a", "other": PART | {"node": 1.5}}, r"f: other\.node: found 1\.5, expected str \| int"),
        ({"name": "a", "other": 3}, r"f: other: found 3, expected a table \| null"),
        ({"name": "a", "size": [1]}, r"f: size: found \[1\], expected tuple\[int, int\]"),
        ({"name": "a", "size": "12"}, "f: size: found '12', expected tuple"),
        ({"name": "a", "size": [1, "2"]}, "f: size: found .1, '2'., expected tuple"),
        ({"name": "a", "colour": "red"}, "f: colour: found 'red', expected one of rgb, bgr"),
        ({"name": "a", "options": {"k": None}}, r"options\.k: found None, expected str \| int \| float \| bool"),
        ({"name": "a", "options": {"k": [1, 2.5]}}, r"options\.k: found \[1, 2\.5\], expected"),
        ({"name": "a", "options": {"k": float("nan")}}, r"f: options\.k: found nan, expected a finite number"),
        ({"name": "a", "options": {"k": float("-inf")}}, r"f: options\.k: found -inf, expected a finite number"),
        ({"name": "a", "options": {"k": 2**63}}, r"f: options\.k: found an integer of more than 64 bits"),
        ({"name": "a", "size": [1, -(10**400)]}, "f: size: found an integer of more than 64 bits"),
        ({"name": "x" * 9999, "size": 1}, "f: size: found 1"),
        ({"name": ["x" * 9999]}, r"f: name: found .{80,90}, expected str$"),
        ({"name": {"a": "\n"}}, "f: name: found a table, expected str"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_that_says_where(table: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        schema.record(Whole, table, "f")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_tables_may_not_lie_in_one_another_without_end() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = {"a": deep}
    with pytest.raises(SchemaError, match="more than 32 tables in one another"):
        schema.record(Whole, {"name": "a", "options": {"k": deep}}, "f")


def test_a_format_of_somebody_elses_may_have_other_fields() -> None:
    table = {"name": "a", "licence": None, "rows": [PART | {"x": [1, 2]}]}
    assert schema.record(Whole, table, "f", others=True) == Whole("a", rows=(Part(3, 2),))
    with pytest.raises(SchemaError, match=r"f: rows\[0\]\.stride: found 0, expected int, at least 1"):
        schema.record(Whole, {"name": "a", "z": 1, "rows": [PART | {"stride": 0}]}, "f", others=True)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "can't decode byte"),
        (b"NaN", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"1e400", "1e400 is too large for a number"),
        (b"9" * 400, "an integer of 400 digits"),
        (b"9" * 5000, "an integer of 5000 digits"),
        (b"9223372036854775808", "an integer of 19 digits"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "key 'c' stands twice in one object"),
        (b'{"\\ud800": 1}', "half of a surrogate pair"),
        (b'["a", "\\uDFFF"]', "half of a surrogate pair"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"1_0", "Extra data"),
    ],
)
def test_json_that_its_standard_does_not_know_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(SchemaError, match=rf"^f: not JSON.*\(.*{message}") as caught:
        schema.parse_json(data, "f")
    assert "\n" not in str(caught.value)
    with pytest.raises(SchemaError, match=message):
        schema.json(Whole, data, "f")


def test_json_as_its_standard_has_it_is_read() -> None:
    value = {"a": [1, -2.5e-3, True, None, "\U0001f600 ß"], "b": 2**63 - 1, "c": {}}
    assert schema.parse_json(json.dumps(value).encode(), "f") == value
    assert schema.parse_json(b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=False).encode(), "f") == value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = ", "Invalid value"),
        (b"a = 1\na = 2", "overwrite"),
        (b"\xff", "can't decode byte"),
        (b"a = " + b"9" * 5000, "digits"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
    ],
)
def test_what_is_no_toml_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(SchemaError, match=rf"^f: not a readable TOML file \(.*{message}") as caught:
        schema.parse_toml(data, "f")
    assert "\n" not in str(caught.value)


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        schema.read_file(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"a")
    (tmp_path / "link").symlink_to("file")
    assert schema.read_file(tmp_path / "link") == b"a"


def test_the_json_schema_says_what_the_record_says() -> None:
    made = schema.json_schema(Whole)
    part = made["$defs"]["Part"]
    assert part["required"] == ["node", "stride"]
    assert part["additionalProperties"] is False
    assert part["properties"]["stride"] == {"type": "integer", "minimum": 1}
    assert part["properties"]["share"] == {
        "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.5,
    }  # fmt: skip
    assert json.dumps(made)
