"""Lists on a terminal of 80 columns: no line is longer, no name is broken, groups are named and sorted."""

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from unibench.cli import main, tables
from unibench.datasets import BENCHMARKS
from unibench.evaluation import availability
from unibench.models import cards
from unibench.report.boards import TRAINED
from unibench.report.card_facts import GROUPS


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "width", lambda: 80)


def table(*arguments: str) -> list[list[str]]:
    """The cells of all rows."""
    lines = CliRunner().invoke(main, arguments).output.splitlines()
    assert max(len(line) for line in lines if line[0] in "┏┃┡│├└") <= 80
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]


def test_models_stand_in_groups_the_best_on_imagenet_first() -> None:
    rows = table("models")
    names = [row[0] for row in rows]
    assert {*cards.paths()} <= {*names}
    groups = [*GROUPS.values(), TRAINED]
    assert [name for name in names if name in groups] == groups
    for group in ("self-supervised", "supervised"):
        start = names.index(group) + 1
        end = names.index(groups[groups.index(group) + 1])
        shown = [float(row[1].rstrip("%")) for row in rows[start:end] if row[1]]
        assert len(shown) > 5
        assert shown == sorted(shown, reverse=True)


@pytest.mark.parametrize("arguments", [("tasks",), ("models", "check")])
def test_no_name_is_broken(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    builds = SimpleNamespace(network_problem=lambda _: "")  # test_models builds every network
    monkeypatch.setattr(availability.models, "open", lambda *_: builds)
    names = {row[0] for row in table(*arguments)}
    assert {*(BENCHMARKS if arguments == ("tasks",) else cards.paths())} <= names
