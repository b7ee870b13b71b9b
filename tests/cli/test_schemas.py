"""The schemas that are printed say what the shipped files hold, and what the readers refuse."""

import json
import tomllib
from dataclasses import asdict
from typing import Any

import pytest
from click.testing import CliRunner

from tests.corpus.readers import SCORE
from unibench.cli import main
from unibench.joint import systems
from unibench.models import cards
from unibench.results.store import write_result


def printed(name: str) -> dict[str, Any]:
    done = CliRunner().invoke(main, ["schema", name])
    assert done.exit_code == 0, done.output
    made: dict[str, Any] = json.loads(done.output)
    return made


def problems(  # noqa: C901, PLR0911 - one branch a word
    value: Any, rule: dict[str, Any], whole: dict[str, Any], where: str = ""
) -> list[str]:
    """What of a value its schema does not allow: the words that these schemas use."""
    if "$ref" in rule:
        return problems(value, whole["$defs"][rule["$ref"].rpartition("/")[2]], whole, where)
    if "anyOf" in rule:
        tried = [problems(value, one, whole, where) for one in rule["anyOf"]]
        return [] if not all(tried) else tried[0]
    if "enum" in rule:
        return [] if value in rule["enum"] else [where]
    kinds = rule.get("type", [])
    found = {
        "object": isinstance(value, dict), "array": isinstance(value, list), "string": isinstance(value, str),
        "boolean": isinstance(value, bool), "null": value is None,
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
    }  # fmt: skip
    if kinds and not any(found[one] for one in ([kinds] if isinstance(kinds, str) else kinds)):
        return [where]
    if isinstance(value, int | float) and not (
        rule.get("minimum", value) <= value <= rule.get("maximum", value)
    ):
        return [where]
    if isinstance(value, list):
        items = rule.get("prefixItems") or [rule.get("items") or {}] * len(value)
        wrong = [] if rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)) else [where]
        for place, (one, of) in enumerate(zip(value, items, strict=False)):
            wrong += problems(one, of, whole, f"{where}[{place}]")
        return wrong
    if isinstance(value, dict):
        known = rule.get("properties", {})
        wrong = [f"{where}.{name}" for name in rule.get("required", ()) if name not in value]
        for name, one in value.items():
            other = rule.get("additionalProperties", {})
            if name not in known and other is False:
                wrong.append(f"{where}.{name}")
            else:
                wrong += problems(one, known.get(name) or other or {}, whole, f"{where}.{name}")
        return wrong
    return []


def test_shipped_cards_fit() -> None:
    schema = printed("card")
    for path in cards.paths().values():
        table = tomllib.loads(path.read_text())
        assert problems(table, schema, schema) == []
        assert problems(table | {"layer": 3}, schema, schema) == [".layer"]


@pytest.mark.parametrize("system", sorted(systems.SYSTEMS))
def test_configs_fit(system: str) -> None:
    schema = printed(system)
    for path in systems.find(system).folder.glob("*.toml"):
        table = tomllib.loads(path.read_text())
        assert problems(table, schema, schema) == []
        table["train"]["steps"] = 0
        table["train"]["optimizer"] = "x"
        assert sorted(problems(table, schema, schema)) == [".train.optimizer", ".train.steps"]


def test_a_result_fits(tmp_path: Any) -> None:
    schema = printed("result")
    record = json.loads(write_result(tmp_path, [SCORE], ["dog"]).read_text())
    assert problems(record, schema, schema) == []
    assert problems(record | {"scores": [asdict(SCORE) | {"clips": "3"}]}, schema, schema) == [
        ".scores[0].clips"
    ]


def test_a_plan_has_a_schema() -> None:
    assert printed("plan")["$defs"]["Plan"]["required"] == ["format", "models", "tasks", "units"]


def test_an_unknown_name_is_one_line() -> None:
    done = CliRunner().invoke(main, ["schema", "cart"])
    assert done.exit_code == 2
    assert done.output == "unibench: no schema 'cart'; did you mean 'card'?\n"
