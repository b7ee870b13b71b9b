"""Quality against cost: the front holds only rows that the paired test tells from the cheaper ones."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.report.test_compare import VOS, draws, noisy, store
from unibench.cli import main
from unibench.errors import OutputError
from unibench.records import Cost
from unibench.report import costs, pareto, stored
from unibench.report.boards import Board, arrange
from unibench.results.store import RunKey, write_cost

COST = Cost(2_000_000, 256, 8, {"1 x 3 x 480 x 856": 1.0}, 5e9, 60_000_000, 0.5, "cpu (x86_64)", 1)
SECONDS = {"cheap": 0.01, "alike": 0.02, "better": 0.1, "wasteful": 0.2, "best": 0.4}
RUNS = {
    "cheap": draws(24),
    "alike": noisy(24, shift=1e-4),  # a little better, by luck
    "better": draws(24, shift=0.05),
    "wasteful": draws(24, shift=0.01),
    "best": draws(24, shift=0.1),
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for model, tallies in RUNS.items():
        store(tmp_path, model, tallies)
        cost = replace(COST, seconds=SECONDS[model], flops=1e12 * SECONDS[model])
        write_cost(tmp_path, RunKey(model, "w1", VOS, "unitrack", "layer3"), cost)
    return tmp_path


def board_of(out: Path) -> Board:
    return arrange(stored.scores(out), out=out)


def laid(out: Path, cost: str = "ms") -> dict[str, pareto.Point]:
    board = board_of(out)
    found = pareto.points(board, costs.read(board, out), out, board.settings[0], cost)
    return {one.key[0]: one for one in found}


def test_the_front_holds_what_the_test_tells_from_cheaper_rows(out: Path) -> None:
    found = laid(out)
    assert list(found) == list(SECONDS)  # the cheapest first
    assert [name for name, one in found.items() if one.nominal] == ["cheap", "alike", "better", "best"]
    assert [name for name, one in found.items() if one.front] == ["cheap", "better", "best"]
    assert found["better"].cost == pytest.approx(100)
    assert laid(out, "GFLOPs")["best"].cost == pytest.approx(400)
    assert laid(out, "MB")["best"].cost == pytest.approx(60)


def test_of_equal_cost_the_best_alone_can_be_on_the_front(out: Path) -> None:
    assert [name for name, one in laid(out, "parameters").items() if one.nominal] == ["best"]


def test_too_few_clips_make_no_front(tmp_path: Path) -> None:
    for model in ("cheap", "best"):
        store(tmp_path, model, dict(list(RUNS[model].items())[:5]))
        write_cost(
            tmp_path, RunKey(model, "w1", VOS, "unitrack", "layer3"), replace(COST, seconds=SECONDS[model])
        )
    found = laid(tmp_path)
    assert [one.nominal for one in found.values()] == [True, True]
    assert [one.front for one in found.values()] == [True, False]


def test_rows_without_a_cost_or_a_score_are_left_out(out: Path) -> None:
    board = board_of(out)
    (setting,) = board.settings
    known = {key: one for key, one in costs.read(board, out).items() if key[0] != "best"}
    free = {key: replace(one, flops=0.0) if key[0] == "cheap" else one for key, one in known.items()}
    assert [one.key[0] for one in pareto.points(board, free, out, setting, "GFLOPs")] == [
        "alike", "better", "wasteful"
    ]  # fmt: skip
    lost = {key: replace(one, value=math.nan) for key, one in board.scores.items() if key[0] == "alike"}
    nowhere = replace(board, scores={**board.scores, **lost})
    assert "alike" not in [one.key[0] for one in pareto.points(nowhere, known, out, setting, "ms")]


def test_the_figure_is_drawn_and_its_bytes_do_not_change(out: Path) -> None:
    done = CliRunner().invoke(main, ["plot", "pareto", "-o", str(out)])
    assert done.exit_code == 0, done.output
    first = [(out / name).read_bytes() for name in ("pareto.svg", "pareto.png")]
    assert b'id="front"' in first[0]
    assert first[0].count(b'id="dot:') == 5
    assert first[1].startswith(b"\x89PNG")
    board = board_of(out)
    again = pareto.write(board, costs.read(board, out), out)
    assert [path.read_bytes() for path in again] == first


def test_times_of_two_machines_are_not_put_on_one_axis(out: Path) -> None:
    write_cost(out, RunKey("best", "w1", VOS, "unitrack", "layer3"), replace(COST, threads=2))
    board = board_of(out)
    found = costs.read(board, out)
    with pytest.raises(
        OutputError, match=r"cpu \(x86_64\), 1 thread and on cpu .*2 threads, expected one machine"
    ):
        pareto.write(board, found, out)
    assert pareto.write(board, found, out, "MB")


def test_without_costs_it_says_what_to_do(tmp_path: Path) -> None:
    store(tmp_path, "a", draws(6))
    done = CliRunner().invoke(main, ["plot", "pareto", "-o", str(tmp_path)])
    assert done.exit_code == 2
    assert (
        "no cost of any row is known; unibench run with these models and tasks measures them" in done.output
    )
