"""Lists and boards as JSON: one document and nothing else, and every record reads back."""

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.cli.test_cli import loaded
from unibench import schema
from unibench.cli import main
from unibench.datasets import BENCHMARKS
from unibench.models import cards
from unibench.models.cards import Card
from unibench.records import Score
from unibench.report import stored
from unibench.tasks import registry
from unibench.tasks.family import Protocol


def document(*arguments: str) -> Any:
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    assert not done.stderr
    return json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_every_card_reads_back() -> None:
    found = document("models")
    assert [one["name"] for one in found] == list(cards.paths())
    for one in found:
        card = cards.find(one["name"])
        plain = {key: value for key, value in one.items() if key != "path"}
        assert schema.record(Card, plain, "here") == card


def test_tasks_and_protocols_read_back() -> None:
    found = document("tasks")
    assert [one["task"] for one in found["tasks"]] == list(BENCHMARKS)
    for one in found["tasks"]:
        task = registry.find(one["task"])
        assert (one["headline"], tuple(one["detections"])) == (task.headline, task.benchmark.detections)
        assert (one["folder"], one["obtain"]) == (task.benchmark.folder, task.benchmark.obtain)
    for one in found["protocols"]:
        preset = registry.FAMILIES[one.pop("family")].presets[one["name"]]
        assert set(one) == {field.name for field in fields(Protocol)}
        assert one == json.loads(json.dumps(asdict(preset)))
    assert len(found["protocols"]) == sum(len(family.presets) for family in registry.FAMILIES.values())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    asked = (
        "-m",
        "lab-colour",
        "-m",
        "hog",
        "-t",
        "vos/synthetic-easy",
        "-t",
        "sot/synthetic-easy",
        "--frames",
        "3",
    )
    done = CliRunner().invoke(main, ["run", *asked, "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for path in ("leaderboard.csv", "long.csv"):
        (tmp_path / path).unlink()
    return tmp_path


def test_a_board_reads_back_and_writes_nothing(out: Path) -> None:
    found = document("leaderboard", "-o", str(out))
    read = [
        Score(**{key: math.nan if value is None else value for key, value in one.items()})
        for one in found["scores"]
    ]
    assert sorted(map(repr, read)) == sorted(map(repr, stored.scores(out)))
    headlines = {(one.model, one.layer, one.task, one.protocol) for one in read if one.headline}
    assert {
        tuple(one[key] for key in ("model", "layer", "task", "protocol")) for one in found["standings"]
    } == headlines
    assert {one["standing"] for one in found["standings"]} <= {"best", "too few clips"}
    assert any(line.startswith("Too few clips") for line in found["notes"])
    assert not (out / "leaderboard.csv").exists()
    some = document("leaderboard", "-o", str(out), "-t", "vos/*")
    assert {one["task"] for one in some["scores"]} == {"vos/synthetic-easy"}


def test_json_loads_no_torch() -> None:
    assert loaded("models --json") == "[]"
    assert loaded("tasks --json") == "[]"


@pytest.mark.parametrize("more", [("--published",), ("--latex",)])
def test_what_has_no_json_is_refused(tmp_path: Path, more: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["leaderboard", "--json", *more, "-o", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("unibench: --json: goes with -o, -t and --clean alone")
    shown = CliRunner().invoke(main, ["models", "--json", "show", "hog"])
    assert (shown.exit_code, shown.stdout) == (2, "")
