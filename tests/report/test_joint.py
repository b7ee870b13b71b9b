"""Models trained for tracking stand apart from frozen ones on every board, and beside what papers printed."""

import csv

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from tests.report.fakes import fact, score
from unibench.cli import main
from unibench.report import boards, latex, leaderboard, published, published_tables, radar
from unibench.results import store

MOT = {"task": "mot/mot17", "metric": "IDF1"}
PRIVATE = {**MOT, "layer": "joint", "protocol": "private"}
SCORES = [
    score("frozen", value=0.4, **MOT, protocol="unitrack+public", detections="public"),
    score("frozen", value=0.5),
    score("atrack", value=0.612, **PRIVATE),
    score("atrack", value=1200.0, **{**PRIVATE, "metric": "IDSW"}, headline=False),
    score("atrack", value=0.1, **{**PRIVATE, "metric": "DetA"}, headline=False),
    score("atrack", value=0.7, **{**PRIVATE, "protocol": "public+public"}, detections="public"),
]
FACTS = [fact("atrack"), fact("frozen", 0.7)]


def test_joint_trackers_come_last_with_a_sign_and_a_group_of_their_own() -> None:
    models = boards.arrange(SCORES, FACTS).models
    assert [(one.name, one.label, one.group) for one in models] == [
        ("frozen", "FROZEN", "image"),
        ("atrack", "ATRACK†", "trained for tracking"),
    ]


def test_a_board_without_joint_trackers_has_neither_sign_nor_kinds(tmp_path) -> None:
    board = boards.arrange(SCORES[:2], FACTS)
    assert leaderboard.notes(board, leaderboard.NO_TIES) == []
    path, _ = leaderboard.write(boards.arrange(SCORES[:2], FACTS), tmp_path)
    assert path.read_text().startswith("model,layer,imagenet_top1,")
    path, _ = leaderboard.write(boards.arrange(SCORES, FACTS), tmp_path)
    with path.open(newline="") as file:
        assert [(row["model"], row["kind"]) for row in csv.DictReader(file)] == [
            ("frozen", "frozen"),
            ("atrack", "joint"),
        ]


def test_a_joint_tracker_has_gaps_where_it_was_not_run() -> None:
    board = boards.arrange(SCORES, FACTS)
    assert [setting.protocol for setting in board.settings] == [
        "unitrack", "private", "public+public", "unitrack+public"]  # fmt: skip
    assert np.array_equal(
        boards.ranks(board), [[1, np.nan, np.nan, 1], [np.nan, 1, 1, np.nan]], equal_nan=True
    )
    texts = [text.get_text() for text in radar.draw(boards.arrange(SCORES, FACTS)).texts]
    assert boards.SIGN_NOTE in texts


def test_protocol_and_detections_of_one_name_are_named_once() -> None:
    titles = boards.titles(boards.arrange(SCORES, FACTS))
    assert titles == ["VOS\nJ-mean", "MOT\nprivate\nIDF1", "MOT\npublic\nIDF1", "MOT\nunitrack\npublic\nIDF1"]


def test_latex_writes_the_sign_as_a_command() -> None:
    text = latex.table(boards.arrange(SCORES, FACTS))
    assert r"ATRACK$^{\dagger}$ & joint" in text
    assert r"$^{\dagger}$ trained for tracking; the other models are frozen" in text
    assert "†" not in text
    assert r" \addlinespace" in text


def cells(grid: published_tables.PublishedTable) -> list[dict[str, str]]:
    heads = [" ".join(words) for words in grid.head]
    return [dict(zip(heads, line, strict=True)) for line in grid.lines]


def test_own_lines_stand_above_the_published_ones_of_the_same_task_with_their_protocols() -> None:
    first, *others = published_tables.lines(["mot/*"], boards.arrange(SCORES[:1] + SCORES[2:], FACTS))
    assert first.name == "mot/mot17"
    assert first.about == "ours; below them published, for reference; other code, clips and detections"
    lines = cells(first)
    assert [
        (one["paper"], one["system"], one["protocol"], one["IDF1"], one["IDSW"]) for one in lines[:3]
    ] == [
        ("(ours)", "FROZEN", "unitrack+public", "40.00", ""),
        ("(ours)", "ATRACK†", "private", "61.20", "1200"),
        ("(ours)", "ATRACK†", "public+public", "70.00", ""),
    ]
    assert "DetA" not in lines[0]  # no paper prints it
    ours = sum(one["paper"] == "(ours)" for one in lines)
    printed = {(row.paper, row.table, row.system, row.backbone, row.split, row.protocol)
               for row in published.rows() if row.benchmark == "MOT17"}  # fmt: skip
    assert len(lines) == ours + len(printed)
    (tdt,) = (one for one in lines if one["system"] == "TDT-tracker")
    assert (tdt["protocol"], tdt["MOTA"], tdt["IDF1"]) == ("private", "63.8", "60.9")
    assert not any(grid.best for grid in (first, *others))
    assert {"Waymo v1, vehicles", "MOT15", "MOT16", "MOT20"} <= {grid.name for grid in others}
    assert all(one["paper"] != "UniTrack" for grid in others for one in cells(grid))


def test_every_benchmark_of_the_record_has_a_family_or_none_of_ours() -> None:
    without = {row.benchmark for row in published.rows() if not published.family(row)}
    assert without == {"COCO 2017", "ImageNet VID", "Market-1501", ""}


def test_the_leaderboard_of_a_family(tmp_path) -> None:
    for one in (SCORES[0], SCORES[1]):
        store.write_result(tmp_path, [one])
    store.write_result(tmp_path, SCORES[2:5])
    done = CliRunner().invoke(main, ["leaderboard", "-t", "mot/*", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "mot/mot17: ours; below them published" in done.output
    assert done.output.index("atrack†") < done.output.index("TDT-tracker")
    assert "vos/davis2017" not in done.output
    assert boards.SIGN_NOTE in done.output
    assert not (tmp_path / "leaderboard.csv").exists()
    alone = CliRunner().invoke(main, ["leaderboard", "-t", "mot/*"])
    assert alone.exit_code == 0, alone.output
    assert "RetinaTrack w/o triplet loss" in alone.output
    wrong = CliRunner().invoke(main, ["leaderboard", "-t", "mott/*"])
    assert wrong.exit_code == 2
    assert wrong.output.startswith("unibench: no task with results or published numbers 'mott/*'; ")


@pytest.mark.parametrize(
    "grid", published_tables.lines(["mot/*", "mots/*", "sot/*"], None), ids=lambda grid: grid.name
)
def test_every_table_can_be_printed(grid: published_tables.PublishedTable) -> None:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(*published_tables.tables(grid))
    assert grid.lines[0][0] in capture.get()
