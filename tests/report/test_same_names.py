"""Two models of one name with different weights are two rows on every board."""

import csv

import pytest
from rich.console import Console

from tests.report.fakes import fact, score
from unibench.errors import OutputError, UnknownNameError
from unibench.report import correlation, latex, leaderboard, published_tables, radar, sensitivity
from unibench.report.boards import arrange, ranks
from unibench.report.compare import compare
from unibench.results.store import write_result

FIRST, SECOND = "1a2b3c4d5e6f", "99aabbccddee"
SCORES = [
    score("tdt", value=value, weights_hash=weights, protocol=protocol, protocol_hash=protocol)
    for weights, values in ((FIRST, (0.4, 0.45)), (SECOND, (0.6, 0.65)))
    for protocol, value in zip(("unitrack", "crw"), values, strict=True)
]
BOARD = arrange(
    [*SCORES, score("mae", value=0.5, protocol_hash="unitrack")], [fact("tdt", 0.7), fact("mae", 0.6)]
)
SETTING = next(setting for setting in BOARD.settings if setting.protocol == "unitrack")
NAMES = {"tdt 1a2b3c4d", "tdt 99aabbcc", "mae"}
LABELS = {"TDT 1a2b3c4d", "TDT 99aabbcc", "MAE"}


@pytest.mark.parametrize("place", [0, 1])
def test_both_tables_of_the_leaderboard(tmp_path, place):
    path = leaderboard.write(BOARD, tmp_path)[place]
    with path.open(newline="") as file:
        assert {row["model"] for row in csv.DictReader(file)} == NAMES


def test_the_terminal_and_latex():
    console = Console(width=200)
    with console.capture() as capture:
        console.print(*leaderboard.tables(BOARD))
    for text in (capture.get(), latex.table(BOARD)):
        assert all(label in text for label in LABELS)


def test_the_radar():
    labels = {line.get_label() for axes in radar.draw(BOARD).axes for line in axes.get_lines()}
    assert labels >= LABELS
    assert ranks(BOARD)[:, BOARD.settings.index(SETTING)].tolist() == [3, 1, 2]


def test_the_correlation_counts_both(tmp_path):
    path, *_ = correlation.write(BOARD, tmp_path)
    with path.open(newline="") as file:
        counts = {row["y"]: row["n"] for row in csv.DictReader(file) if row["x"] == "imagenet_top1"}
    assert counts == {"vos/davis2017@unitrack J-mean": "3", "vos/davis2017@crw J-mean": "2"}


def test_the_sensitivity_to_protocols():
    (found,) = sensitivity.compute(BOARD)
    assert {model for model, _ in found.rows} == NAMES


def test_own_lines_beside_published_ones():
    (table, *_) = published_tables.lines(["vos/*"], BOARD)
    place = table.head.index(("system",))
    assert {line[place] for line in table.lines if line[0] == published_tables.OURS} == LABELS


def test_a_comparison_asks_which_is_meant(tmp_path):
    for index, one in enumerate([*SCORES, score("mae", protocol_hash="unitrack")]):
        write_result(tmp_path / str(index), [one])
    message = f"2 models are called 'tdt', expected one; name it tdt@{FIRST} or tdt@{SECOND}"
    with pytest.raises(OutputError, match=message):
        compare(tmp_path, "tdt", "mae")
    for word in ("tdt@1a", "tdt@1a:layer3", "tdt 1a2b3c4d"):
        with pytest.raises(OutputError, match="tdt/layer3 vos/davis2017@unitrack: a score without clips"):
            compare(tmp_path, word, "mae")
    with pytest.raises(UnknownNameError, match="no model 'tdt@77'; there are: mae, tdt 1a2b3c4d, tdt"):
        compare(tmp_path, "tdt@77", "mae")
