import csv
import math
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from tests.report.fakes import board_of, fact, score
from unibench.errors import OutputError
from unibench.report import leaderboard
from unibench.report.boards import Setting, arrange
from unibench.report.leaderboard import Standing

MOT = {"task": "mot/mot16", "detections": "public", "partial": True}
SCORES = [
    score("sup", "layer3", value=0.62312, weights_hash="w0"),
    score("sup", "layer4", value=0.579, weights_hash="w0"),
    score("sup", "layer3", metric="F-mean", value=0.1, headline=False, weights_hash="w0"),
    score("sup", "layer4", metric="F-mean", value=0.9, headline=False, weights_hash="w0"),
    score("sup", "layer4", metric="IDF1", value=0.756, weights_hash="w0", **MOT),
    score("sup", "layer4", metric="IDSW", value=640.0, headline=False, weights_hash="w0", **MOT),
    score("vfs", "layer3", value=0.628),
    score("vfs", "layer3", metric="F-mean", value=math.nan, headline=False),
]
FACTS = [fact("vfs"), fact("sup", 0.772, reference=True)]


def test_a_small_board_to_the_byte(tmp_path):
    paths = leaderboard.write(arrange(SCORES, FACTS), tmp_path / "new")
    assert paths == [tmp_path / "new/leaderboard.csv", tmp_path / "new/long.csv"]
    assert paths[0].read_text() == (
        "model,layer,imagenet_top1,vos/davis2017@unitrack J-mean,vos/davis2017@unitrack F-mean,"
        "mot/mot16@unitrack IDF1 (partial),mot/mot16@unitrack IDSW (partial)\n"
        "vfs,layer3,,62.80,,,\n"
        "sup,layer3,77.20,62.31,10.00,,\n"
        "sup,layer4,77.20,57.90,90.00,75.60,640\n"
        "sup,best,77.20,62.31,10.00,75.60,640\n"
    )


def test_the_tidy_file_has_every_field_in_full_precision(tmp_path):
    _, path = leaderboard.write(arrange([*SCORES[1:], score("zoo", value=0.1 + 0.2)], FACTS), tmp_path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(SCORES)
    assert rows[-1] == {
        "model": "zoo", "layer": "layer3", "task": "vos/davis2017", "benchmark": "davis2017", "protocol": "unitrack",
        "protocol_version": "1.0", "detections": "", "metric": "J-mean", "value": "0.30000000000000004",
        "ci_low": "", "ci_high": "", "clips": "30", "frames": "1999",
        "partial": "False", "headline": "True", "protocol_hash": "p1", "weights_hash": "w1", "data_hash": "d1",
        "note": "",
    }  # fmt: skip


VOS = Setting("vos/davis2017", "unitrack", "")
TIES = {
    ("vfs", "layer3", VOS): Standing.BEST,
    ("sup", "layer3", VOS): Standing.TIED,
    ("sup", "layer4", VOS): Standing.BEHIND,
    ("sup", "layer4", Setting("mot/mot16", "unitrack", "public")): Standing.TOO_FEW,
}


def test_intervals_and_standings_have_columns_of_their_own(tmp_path):
    sure = replace(SCORES[0], ci_low=0.6, ci_high=0.651)
    scores = [sure, *SCORES[1:4], *(replace(one, clips=7) for one in SCORES[4:6]), *SCORES[6:]]
    path, _ = leaderboard.write(arrange(scores, FACTS), tmp_path, TIES)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    vos, mot = "vos/davis2017@unitrack J-mean", "mot/mot16@unitrack IDF1 (partial)"
    assert list(rows[0])[3:7] == [vos, f"{vos} 95% CI", f"{vos} vs best", "vos/davis2017@unitrack F-mean"]
    assert [(row[vos], row[f"{vos} 95% CI"], row[f"{vos} vs best"]) for row in rows] == [
        ("62.80", "clips too alike", "best"),
        ("62.31", "60.00 to 65.10", "tied"),
        ("57.90", "clips too alike", "behind"),
        ("62.31", "60.00 to 65.10", "tied"),  # best: that of layer3
    ]
    assert [(row[f"{mot} 95% CI"], row[f"{mot} vs best"]) for row in rows] == [
        ("", ""), ("", ""), *[("fewer than 20 clips", "too few clips")] * 2,
    ]  # fmt: skip


def test_the_order_of_the_scores_does_not_matter(tmp_path):
    scores, facts = board_of(4)
    first = leaderboard.write(arrange(scores, facts), tmp_path / "a")
    second = leaderboard.write(arrange(scores[::-1], facts), tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def _printed(scores, facts, ties=leaderboard.NO_TIES):
    console = Console(width=200, force_terminal=True, color_system="standard", no_color=True)
    with console.capture() as capture:
        board = arrange(scores, facts)
        for one in leaderboard.tables(board, ties, 200):
            console.print(one)
        for note in leaderboard.notes(board, ties):
            console.print(note, highlight=False)
    return capture.get()


def _bold(text):
    return re.findall(r"\x1b\[1m\s*([\d.]+)\x1b\[0m", text)


def test_the_terminal_shows_headlines_and_the_best_in_bold():
    text = _printed(SCORES, FACTS)
    assert _bold(text) == ["62.80", "75.60", "75.60"]  # the last two are of layer4 and of best
    assert "62.31" in text
    assert "IDSW" not in text
    assert "(partial) ↑" in text
    assert "VFS" in text


def test_models_stand_in_named_groups_the_best_first():
    scores = [
        *(score(name, value=value) for name, value in (("a", 0.1), ("b", 0.3), ("c", 0.2), ("d", 0.9))),
        *(
            score(name, task="sot/otb2015", metric="AUC", value=value)
            for name, value in (("a", 0.1), ("b", 0.2))
        ),
    ]
    facts = [fact(name, group=group) for name, group in (("a", "x"), ("b", "x"), ("c", "y"))]
    lines = re.findall(r"^│ (?:\x1b\[3m)?(\w.*?) *(?:\x1b\[0m)? *│", _printed(scores, facts), re.MULTILINE)
    assert lines == ["x", "B", "A", "y", "C", "without a card", "d"]
    assert "│ x " not in _printed(scores[:2], facts)  # one group needs no name


def test_tables_fit_the_terminal():
    scores, facts = board_of(4)
    board = arrange(scores, facts)
    wide, narrow = leaderboard.tables(board, TIES, 160), leaderboard.tables(board, TIES, 60)
    assert (len(wide), len(narrow)) == (1, 2)
    console = Console(width=60)
    with console.capture() as capture:
        for one in narrow:
            console.print(one)
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 60
    rows = [line for line in lines if "layer3" in line]
    assert [row.split("│")[1].strip() for row in rows] == 2 * [row.split("│")[1].strip() for row in rows[:4]]
    numbers = [number for row in rows for number in re.findall(r"\d+\.\d\d", row)]
    assert len(numbers) == 4 * 6  # with top-1; none is cut off, or stands twice


def test_the_better_layer_is_said_to_be_chosen_on_the_test_clips():
    assert leaderboard.BEST_NOTE in leaderboard.notes(arrange(SCORES, FACTS), {})
    assert leaderboard.BEST_NOTE not in leaderboard.notes(arrange([score(), score("mae")], FACTS), {})


def test_the_terminal_marks_what_is_tied_and_says_what_that_means():
    text = _printed(SCORES, FACTS, TIES)
    assert re.findall(r"([\d.]+)=", text) == ["62.31", "62.31"]
    assert _bold(text)[0] == "62.80"
    assert "= cannot be told apart from the best of its column" in text
    assert "Too few clips to tell rows from the best: MOT public IDF1 (partial)." in " ".join(text.split())
    assert "=" not in _printed(SCORES, FACTS)


def test_the_terminal_says_whose_clips_are_not_there():
    text = _printed(SCORES, FACTS, {("vfs", "layer3", VOS): Standing.UNCOMPARED})
    assert "Some rows were not compared, as their clips are not stored: VOS J-mean." in " ".join(text.split())


def test_the_second_is_the_next_number_as_printed():
    scores = [score("a", value=0.6), score("b", value=0.600001), score("c", value=0.5), score("d", value=0.4)]
    cells = leaderboard.headline_cells(arrange(scores), leaderboard.NO_TIES)
    assert [row[0].place for row in cells] == [1, 1, 2, 0]


def test_a_metric_that_shall_be_low_points_down_and_its_lowest_is_bold():
    scores = [score("a", metric="IDSW", value=7.0), score("b", metric="IDSW", value=9.0)]
    text = _printed(scores, [])
    assert "IDSW ↓" in text
    assert _bold(text) == ["7"]


def test_a_metric_without_a_good_side_has_neither_arrow_nor_best():
    text = _printed([score(metric="PT", value=7.0)], [])
    assert "↑" not in text
    assert "↓" not in text
    assert _bold(text) == []


def test_a_name_is_not_taken_for_markup():
    assert "[red]x" in _printed([score("[red]x")], [])


def test_what_must_not_be_compared_is_not_written(tmp_path):
    with pytest.raises(OutputError, match="data_hash is d1"):
        leaderboard.write(arrange([score(), score("mae", data_hash="d2")], []), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_reports_load_no_torch_and_no_pyplot():
    code = """import sys
from importlib import import_module
for report in ("leaderboard", "radar", "correlation", "latex", "comparison"):
    import_module(f"unibench.report.{report}")
    print(report, sorted({"torch", "matplotlib.pyplot"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == ["[]"] * 5, done.stdout


def test_what_casts_doubt_on_a_row_stands_in_it_and_below_the_board(tmp_path):
    doubtful = replace(SCORES[0], note="random parameters: conv1.weight")
    board = arrange([doubtful, *SCORES[1:]], FACTS)
    path, _ = leaderboard.write(board, tmp_path)
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["model"] for line in lines if line["note"]] == [doubtful.model]
    assert {line["note"] for line in lines} == {"", "random parameters: conv1.weight"}
    assert any(one.endswith(": random parameters: conv1.weight.") for one in leaderboard.notes(board, {}))
    leaderboard.write(arrange(SCORES, FACTS), tmp_path)
    assert "note" not in path.read_text().splitlines()[0].split(",")
