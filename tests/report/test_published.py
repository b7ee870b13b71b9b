"""The published record: it is what the papers say, and it stands beside our boards without touching them."""

import csv
from collections import Counter
from dataclasses import astuple, fields, replace

import numpy as np
import pytest
from click.testing import CliRunner

from tests.report import printed
from tests.report.fakes import score
from unibench.cli import main
from unibench.errors import OutputError
from unibench.models import cards
from unibench.report import correlation, published, published_tables, radar
from unibench.report.boards import arrange, headlines, ranks
from unibench.results import store
from unibench.stats.correlation import correlate

NAMES = dict(zip(published.PAPERS, ("UniTrack", "RetinaTrack", "TDT", "Unicorn", "TrIVD"), strict=True))


def _unibench(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def _with_top1(numbers, facts):
    """Pearson, Spearman and n of ImageNet accuracy and the better layer, setting by setting."""
    board = arrange(numbers, facts)
    top1 = [model.imagenet_top1 for model in board.models]
    found = [correlate(top1, column.tolist()) for column in headlines(board).T]
    return [(round(one.pearson, 2), round(one.spearman, 2), one.n) for one in found]


@pytest.mark.parametrize(
    ("paper", "count"),
    [("unitrack", 539), ("retinatrack", 84), ("tdt", 163), ("unicorn", 420), ("trivd", 112)],
)
def test_a_paper_s_file_has_the_columns_and_one_number_for_each_cell(paper, count):
    with (published.folder() / f"{paper}.csv").open(newline="") as file:
        head, *lines = csv.reader(file)
    assert head == [field.name for field in fields(published.Row)]
    assert len(lines) == count
    assert len({tuple(line[:-1]) for line in lines}) == count
    rows = [published.Row(*line) for line in lines]
    assert {row.paper for row in rows} == {NAMES[paper]}
    assert all(row.table and row.system and row.metric and float(row.value) >= 0 for row in rows)


@pytest.mark.parametrize("paper", published.PAPERS)
def test_every_number_stands_in_its_cell_of_the_paper_and_no_cell_is_left_out(paper, papers):
    record = {
        (row.table, *(getattr(row, field) for field in printed.KEYS[paper][row.table])): row.value
        for row in published.rows()
        if row.paper == NAMES[paper]
    }
    assert len(record) == sum(row.paper == NAMES[paper] for row in published.rows())
    assert record == printed.cells(paper, papers)


def test_every_model_of_unitrack_s_tables_has_a_card():
    systems = {(row.system, row.backbone) for row in published.rows() if row.table in ("Table 1", "Table 2")
               and row.paper == "UniTrack"}  # fmt: skip
    known = published.models()
    assert known.keys() == systems
    assert {line["model"] for line in known.values()} <= cards.paths().keys()
    for (_, backbone), line in known.items():
        assert cards.find(line["model"]).architecture.name == backbone.lower().replace("-", "")


def test_figure_6_comes_out_as_published():
    # UniTrack, Figure 6: r from -0.38 to +0.20 and rho from -0.36 to +0.26 (PoseTrack from numbers before rounding)
    assert _with_top1(*published.figure("6")) == [
        (-0.17, -0.22, 16),  # SOT, DCF
        (0.38, 0.36, 16),  # SOT, XCorr: not in the figure; the sign changes
        (-0.38, -0.36, 16),  # VOS
        (0.10, 0.26, 16),  # MOT
        (0.01, 0.16, 16),  # MOTS
        (0.18, 0.11, 16),  # PoseTrack
    ]


def test_one_cell_makes_the_difference_to_the_paper_s_range_on_posetrack():
    # DeepCluster, layer4: 73.6 in the printed Table 1, 73.7 in the CSV of the authors' first commit
    numbers, facts = published.figure("6")
    poses = [
        replace(one, value=0.737) if (one.model, one.layer) == ("deepcluster-v2-resnet50", "layer4") else one
        for one in numbers
        if one.task == "posetrack/posetrack18"
    ]
    assert _with_top1(poses, facts) == [(0.20, 0.12, 16)]


def test_hota_instead_of_idf1_and_without_the_supervised_row():
    numbers, facts = published.figure("6")
    names = {line["model"]: key for key, line in published.models().items()}
    hota = [
        published.score(model, row)
        for model in {number.model for number in numbers}
        for row in published.rows()
        if (row.paper, row.table, row.benchmark, row.metric) == ("UniTrack", "Table 1", "MOT16", "HOTA")
        and (row.system, row.backbone) == names[model]
    ]
    assert _with_top1(hota, facts) == [(0.21, 0.40, 16)]
    vos = [one for one in numbers if one.task == "vos/davis2017" and one.model != "resnet50-imagenet"]
    assert _with_top1(vos, facts) == [(-0.56, -0.58, 15)]


def test_figure_1_ranks_sixteen_self_supervised_models_over_the_supervised_one():
    numbers, facts = published.figure("1")
    board = arrange(numbers, facts)
    assert Counter(model.supervised_reference for model in board.models) == {False: 16, True: 1}
    assert [setting.task for setting in board.settings] == [
        "sot/otb", "vos/davis2017", "mot/mot16", "mots/mots20", "posetrack/posetrack18"
    ]  # fmt: skip
    places = dict(
        zip((model.label for model in board.models), ranks(board).astype(int).tolist(), strict=True)
    )
    assert places["VFS"] == [15, 1, 1, 1, 2]
    assert places["BarLow"][4] == 1
    assert places["SeLaV2"][0] == 1
    figure = radar.draw(arrange(numbers, facts))
    assert len(figure.axes) == 16
    assert any("as published" in text.get_text() for text in figure.texts)


def test_the_published_figures_are_drawn():
    figure = correlation.draw(arrange(*published.figure("6")))
    panels = [axes for axes in figure.axes if axes.get_xlabel() == "ImageNet top-1"]
    assert len(panels) == 6
    for axes in panels:
        assert sum(len(points.get_offsets()) for points in axes.collections if points.get_paths()) >= 16
        assert axes.get_lines()  # the regression line


def test_published_and_measured_scores_are_never_arranged_together():
    numbers, facts = published.figure("1")
    with pytest.raises(
        OutputError, match=r"report: 170 of 171 scores are published ones, expected all or none"
    ):
        arrange([*numbers, score()], facts)


def test_published_scores_are_marked_where_measured_ones_have_hashes():
    for one in published.figure("6")[0]:
        assert {one.protocol_hash, one.weights_hash, one.data_hash, one.protocol_version} == {"published"}
        assert (one.clips, one.frames) == (0, 0)
        assert 0 < one.value < 1
        assert np.isnan([one.ci_low, one.ci_high]).all()


def test_the_best_of_a_column_is_marked_whichever_way_is_better():
    tables = {grid.name: grid for grid in published_tables.papers()}
    assert len(tables) == 30
    mot = tables["Unicorn, Table 2"]
    assert mot.about == "MOT17, test, private"
    heads = [" ".join(words) for words in mot.head]
    best = {heads[column]: (mot.lines[line][0], mot.lines[line][column]) for line, column in mot.best
            if heads[column] != "HOTA"}  # fmt: skip
    assert best == {
        "MOTA": ("Unicorn", "77.2"), "IDF1": ("Unicorn", "75.5"), "MT%": ("Unicorn", "58.7"),
        "ML%": ("TransTrack", "10.2"), "FP": ("CenterTrack", "18498"), "FN": ("Unicorn", "73349"),
        "IDSW": ("TransMOT", "2346"),
    }  # fmt: skip
    hota = heads.index("HOTA")
    assert [mot.lines[line][0] for line, column in sorted(mot.best) if column == hota] == [
        "TransMOT",
        "Unicorn",
    ]


def test_the_best_is_sought_among_systems_that_were_given_the_same():
    (vos,) = (grid for grid in published_tables.papers() if grid.name == "Unicorn, Table 4")
    heads = [" ".join(words) for words in vos.head]
    column = heads.index("DAVIS-2017 J&F")
    marked = [vos.lines[line] for line, place in sorted(vos.best) if place == column]
    assert [(line[0], line[heads.index("protocol")], line[column]) for line in marked] == [
        ("STCN", "mask prompt", "85.4"),
        ("Siam R-CNN", "box prompt", "70.6"),
    ]


def test_reference_lines_say_where_they_come_from_and_are_not_ranked():
    (grid,) = published_tables.beside(["synthetic/none", "mots/mots20", "mots/mots20"])
    assert (grid.name, grid.best) == ("mots/mots20", frozenset())
    assert grid.about == "published, for reference; other code, clips and detections"
    heads = [" ".join(words) for words in grid.head]
    assert heads[:7] == ["paper", "table", "system", "backbone", "layer", "split", "protocol"]
    assert len(grid.lines) == 25 * 2 + 7 + 5  # UniTrack's Tables 1, 2 and 3b, Unicorn's Table 5


@pytest.fixture
def own(tmp_path):
    """A folder with the scores of two models that never ran."""
    for index, model in enumerate(("a", "b")):
        store.write_result(tmp_path, [score(model, value=0.5 + 0.1 * index)])
    return tmp_path


def test_the_leaderboard_shows_published_rows_below_and_its_files_stay_as_they_were(own):
    files = ("leaderboard.csv", "long.csv")
    plain = _unibench("leaderboard", "-o", own)
    assert plain.exit_code == 0, plain.output
    before = [(own / name).read_bytes() for name in files]
    both = _unibench("leaderboard", "-o", own, "--published")
    assert both.exit_code == 0, both.output
    assert [(own / name).read_bytes() for name in files] == before
    above, below = both.output.split("vos/davis2017: published")
    assert above in plain.output
    assert "ImageNet-sup." in below
    with (own / "published.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["source"], row["task"]) for row in rows} == {("published", "vos/davis2017")}
    assert len(rows) == sum(row.benchmark == "DAVIS-2017" for row in published.rows())


def test_nothing_is_written_where_nothing_was_published(tmp_path):
    assert published_tables.write_beside(["vos/synthetic"], tmp_path) == []
    assert published_tables.beside(["vos/synthetic"]) == []


def test_the_record_alone_is_printed_and_written_table_by_table(tmp_path):
    done = _unibench("leaderboard", "--published", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    assert len(list(tmp_path.iterdir())) == 30
    with (tmp_path / "unitrack-table-3a.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["system", "backbone", "layer", "IDF1", "IDSW", "MOTA", "HOTA"]
    assert lines[8] == ["UniTrack_ImageNet", "ResNet-18", "layer3", "71.8", "683", "74.7", "59.1"]
    assert _unibench("leaderboard", "--published").output in done.output


def test_without_results_and_without_the_record_there_is_nothing_to_show():
    done = _unibench("leaderboard")
    assert done.exit_code == 2
    assert "Missing option '-o' / '--out'." in done.output


@pytest.mark.parametrize("what", ["radar", "correlation"])
def test_a_published_figure_never_replaces_one_of_runs(what, own, tmp_path_factory):
    done = _unibench("plot", what, "--published", "-o", own)
    assert done.exit_code == 2
    assert "holds boards of runs, whose figure this would replace; choose another folder" in done.output
    assert not list(own.glob(f"{what}*"))
    empty = tmp_path_factory.mktemp("published")
    assert _unibench("plot", what, "--published", "-o", empty).exit_code == 0
    tables = ["correlation.csv"] if what == "correlation" else []
    assert sorted(one.name for one in empty.iterdir()) == [*tables, f"{what}.png", f"{what}.svg"]


def test_a_number_keeps_the_digits_that_were_printed():
    found = [
        row.value for row in published.rows() if astuple(row)[:3] == ("RetinaTrack", "Figure 7", "Tracktor")
    ]
    assert found == ["35.30", "106006", "15617", "16652", "36.17", "45"]
