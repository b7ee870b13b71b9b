"""What a model was trained on is said beside its scores, and can be left out."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.report.test_series import score
from unibench.cli import main
from unibench.datasets import BENCHMARKS
from unibench.errors import OutputError
from unibench.models import cards
from unibench.records import Score
from unibench.report import boards, card_facts, leaderboard
from unibench.results import store

TRAINED, CLEAN = "unicorn-tiny-mask", "dino-vit-s16"


def rows() -> list[Score]:
    """Two models on a benchmark that one of them was trained on, and on another."""
    return [
        replace(score(1, "x", 0.5, 0.1, task), model=model, weights_hash=model, benchmark=task.partition("/")[2])
        for model in (TRAINED, CLEAN) for task in ("vos/davis2017", "vos/youtube-vos:cat")
    ]  # fmt: skip


def test_overlaps_name_benchmarks() -> None:
    overlaps = {name: cards.read(path).pretraining.overlap for name, path in cards.paths().items()}
    assert {task for one in overlaps.values() for task in one} <= set(BENCHMARKS)
    assert overlaps[TRAINED] == ("vos/youtube-vos",)
    assert "mot/mot17" in overlaps["unicorn-large-mot-challenge-mask"]


def test_a_board_says_what_was_trained_on(tmp_path: Path) -> None:
    scores = rows()
    board = boards.arrange(scores, card_facts.collect(one.model for one in scores))
    (told,) = leaderboard.notes(board, leaderboard.NO_TIES)
    assert told.startswith(
        f"{TRAINED} was trained on clips of vos/youtube-vos:cat@unitrack, as its card says; --clean"
    )
    wide, _ = leaderboard.write(board, tmp_path)
    table = {row["model"]: row["note"] for row in csv.DictReader(wide.read_text().splitlines())}
    assert table == {TRAINED: "trained on clips of vos/youtube-vos:cat", CLEAN: ""}


def test_clean_leaves_such_pairs_out_and_no_other() -> None:
    kept = card_facts.clean(rows())
    assert [(one.model, one.task) for one in kept] == [
        (TRAINED, "vos/davis2017"), (CLEAN, "vos/davis2017"), (CLEAN, "vos/youtube-vos:cat")]  # fmt: skip
    board = boards.arrange(kept, card_facts.collect(one.model for one in kept))
    assert leaderboard.notes(board, leaderboard.NO_TIES) == []
    with pytest.raises(OutputError, match="--clean: every model was trained on clips of its benchmarks"):
        card_facts.clean([one for one in rows() if one.model == TRAINED and ":" in one.task])


def test_a_best_layer_is_called_best_on_test() -> None:
    board = boards.arrange([score(1, "layer3", 0.5, 0.1), score(1, "layer4", 0.6, 0.1)])
    assert leaderboard.notes(board, leaderboard.NO_TIES) == [leaderboard.BEST_NOTE]
    assert "(best on test)" in leaderboard.BEST_NOTE


@pytest.mark.parametrize(
    "command", [["leaderboard"], ["leaderboard", "-t", "vos/*"], ["plot", "radar"], ["plot", "correlation"]]
)
def test_commands_take_clean(tmp_path: Path, command: list[str]) -> None:
    store.write_result(tmp_path, [one for one in rows() if one.model == TRAINED and ":" in one.task])
    result = CliRunner().invoke(main, [*command, "-o", str(tmp_path), "--clean"])
    assert (result.exit_code, "--clean: every model was trained on" in result.output) == (2, True)


def test_a_board_of_some_tasks_is_not_written_in_latex(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["leaderboard", "-o", str(tmp_path), "-t", "vos/*", "--latex"])
    assert (result.exit_code, result.output) == (2, "unibench: --latex: writes whole boards; leave out -t\n")
