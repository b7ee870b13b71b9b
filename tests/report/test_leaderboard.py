import csv
import math
import re
import subprocess
import sys

import pytest
from rich.console import Console

from tests.report.fakes import board_of, fact, score
from unibench.errors import OutputError
from unibench.report import leaderboard

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
    paths = leaderboard.write(SCORES, FACTS, tmp_path / "new")
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
    _, path = leaderboard.write([*SCORES[1:], score("zoo", value=0.1 + 0.2)], FACTS, tmp_path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(SCORES)
    assert rows[-1] == {
        "model": "zoo", "layer": "layer3", "task": "vos/davis2017", "benchmark": "davis2017", "protocol": "unitrack",
        "protocol_version": "1.0", "detections": "", "metric": "J-mean", "value": "0.30000000000000004",
        "ci_low": "", "ci_high": "", "clips": "30", "frames": "1999",
        "partial": "False", "headline": "True", "protocol_hash": "p1", "weights_hash": "w1", "data_hash": "d1",
    }  # fmt: skip


def test_the_order_of_the_scores_does_not_matter(tmp_path):
    scores, facts = board_of(4)
    first = leaderboard.write(scores, facts, tmp_path / "a")
    second = leaderboard.write(scores[::-1], facts, tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def _printed(scores, facts):
    console = Console(width=200, force_terminal=True, color_system="standard", no_color=True)
    with console.capture() as capture:
        console.print(leaderboard.table(scores, facts))
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
        leaderboard.write([score(), score("mae", data_hash="d2")], [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("report", ["leaderboard", "radar", "correlation"])
def test_reports_load_no_torch_and_no_pyplot(report):
    code = f"import sys, unibench.report.{report}; print(sorted({{'torch', 'matplotlib.pyplot'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
