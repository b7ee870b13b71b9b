"""Printed numbers beside ours: what is run, what each verdict means, and how a user's model is marked."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.report.fakes import score
from unibench.cli import main
from unibench.cli.reproduce import NAMES
from unibench.errors import UnibenchError
from unibench.evaluation.evaluate import Evaluation
from unibench.experiments import reproduce
from unibench.experiments.reproduce import AGREES, DIFFERS, NOT_RUN, UNKNOWN, Here
from unibench.models import cards
from unibench.models.cards import Card
from unibench.records import Score
from unibench.report import published
from unibench.report.published import Row
from unibench.tasks import protocols, registry
from unibench.tasks.family import Task

ROW = Row(
    "UniTrack", "Table 1", "Random Init.", "ResNet-50", "layer3", "OTB-2015", "all", "DCF head", "AUC", "28.0"
)


def ours(value: float, *, clips: int = 100, interval: tuple[float, float] = (math.nan, math.nan)) -> Score:
    return score(
        metric="AUC", value=value, clips=clips, ci_low=interval[0], ci_high=interval[1], partial=clips < 100
    )


@pytest.mark.parametrize(
    ("one", "verdict", "why"),
    [
        (ours(0.2804, interval=(0.25, 0.27)), AGREES, "to the printed digit"),
        (ours(0.31, interval=(0.279, 0.33)), AGREES, "within the interval"),
        (ours(0.31, interval=(0.281, 0.33)), DIFFERS, "outside the interval"),
        (ours(0.31), UNKNOWN, "100 clips give no interval"),
        (ours(0.28, clips=4, interval=(0.2, 0.3)), UNKNOWN, "4 of 100 clips"),
    ],
)
def test_what_each_verdict_means(one: Score, verdict: str, why: str) -> None:
    assert reproduce.judge(ROW, one, 100) == (verdict, why)


def test_first_frames_of_all_clips_agree_with_nothing() -> None:
    one = score(metric="AUC", value=0.28, clips=100, partial=True)
    assert reproduce.judge(ROW, one, 100, 5) == (UNKNOWN, "100 of 100 clips, the first 5 frames of each")


def test_a_comparison_says_that_clips_are_cut_short(here: Here) -> None:
    found = reproduce.reproduce("unitrack-table1", here, Runs(clips=4), 2)
    assert {one.why for one in found if one.score} == {
        "4 of 100 clips, the first 2 frames of each",
        "4 of 7 clips, the first 2 frames of each",
    }


def test_every_target_has_its_rows_and_every_row_a_plan_or_a_reason() -> None:
    assert tuple(reproduce.TARGETS) == NAMES
    counts = {name: len(reproduce.rows_of(name)) for name in NAMES}
    assert counts == {
        "unitrack-table1": 360, "unitrack-table2": 90, "unitrack-figure6": 192, "joint-retinatrack": 39,
        "joint-tdt": 81, "joint-unicorn": 85, "joint-trivd": 34,
    }  # fmt: skip
    for name in NAMES:
        for row in reproduce.rows_of(name):
            assert reproduce._missing(row, Here(None, None, None))
    for benchmark in reproduce.BENCHMARKS.values():
        task = registry.find(benchmark.task)
        assert protocols.title(task).partition("+")[0] == benchmark.task


class Runs:
    """Stands for the runner: gives each task two metrics, and keeps what it was asked for."""

    def __init__(self, clips: int) -> None:
        self.clips = clips
        self.asked: list[tuple[str, str, tuple[str, ...]]] = []

    def __call__(self, models: Sequence[Card], tasks: Sequence[Task], layers: Sequence[str]) -> Evaluation:
        rows = []
        for card in models:
            for task in tasks:
                self.asked.append((card.name, protocols.title(task), tuple(layers)))
                for layer in layers or (card.default_layer,):
                    for metric in (task.headline, "HOTA"):
                        rows.append(
                            score(card.name, layer, task.name, metric, 0.28, protocol=protocols.label(task.protocol),
                                  detections=protocols.source_name(task.protocol), clips=self.clips)
                        )  # fmt: skip
        return Evaluation(tuple(rows), ())


@pytest.fixture
def here(tmp_path: Path) -> Here:
    for name in ("data/OTB", "data/MOT16", "detections/mot16", "weights"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "detections/mot16/MOT16-02.txt").write_text("1,-1,8,10,16,16,1\n")
    return Here(tmp_path / "data", tmp_path / "weights", tmp_path / "detections")


def test_what_is_here_is_run_and_all_else_says_why_not(here: Here) -> None:
    run = Runs(clips=4)
    found = reproduce.reproduce("unitrack-table1", here, run)
    assert [one[0] for one in run.asked] == ["random-resnet50"] * 3
    assert {one[2] for one in run.asked} == {("layer3", "layer4")}  # in one run
    titles = {one[1] for one in run.asked}
    assert {title.partition("+")[0] for title in titles} == {
        "sot/otb@xcorr",
        "sot/otb@unitrack",
        "mot/mot16@unitrack",
    }
    assert any(
        "mot16-" in title for title in titles
    )  # the detections of the folder, with the hash of their files
    told = {
        (one.row.system, one.row.layer, one.row.benchmark, one.row.protocol, one.row.metric): one
        for one in found
    }
    first = told["Random Init.", "layer3", "OTB-2015", "DCF head", "AUC"]
    assert (first.verdict, first.why) == (UNKNOWN, "4 of 100 clips")
    assert told["Random Init.", "layer4", "MOT16", "FairMOT detections, no motion", "HOTA"].score is not None
    assert told["Random Init.", "layer3", "DAVIS-2017", "mask prompt", "J-mean"].why == (
        "no data of DAVIS-2017 (DAVIS2017) here"
    )
    other = told["MoCoV2", "layer3", "OTB-2015", "DCF head", "AUC"]
    assert (other.verdict, other.why) == (NOT_RUN, "no weights of moco-v2-resnet50 here")


def test_detections_that_are_not_here_are_named(here: Here) -> None:
    (found, *_) = [
        one for one in reproduce.reproduce("unitrack-table2", Here(here.data, None, None), Runs(clips=4))
        if one.row.benchmark == "MOT16"
    ]  # fmt: skip
    assert found.why == "no detections of FairMOT here: --detections DIR with mot16/"


def test_a_model_of_the_user_is_drawn_and_marked_and_changes_no_coefficient(
    here: Here, tmp_path: Path
) -> None:
    paths = reproduce.draw_beside(["resnet50-imagenet-v1"], here, Runs(clips=4), tmp_path / "out")
    assert [path.name for path in paths] == [
        "radar.svg", "radar.png", "correlation.csv", "correlation.svg", "correlation.png"
    ]  # fmt: skip
    with (published.folder() / "figures" / "correlation.csv").open() as file:
        alone = list(csv.DictReader(file))
    with (tmp_path / "out" / "correlation.csv").open() as file:
        assert list(csv.DictReader(file)) == alone


def test_nothing_can_be_drawn_without_data() -> None:
    with pytest.raises(
        UnibenchError, match=r"none of the benchmarks of UniTrack's figures is here, expected one"
    ):
        reproduce.draw_beside(["hog"], Here(None, None, None), Runs(clips=4), Path("unused"))


def test_ablations_are_compared_by_direction_alone(tmp_path: Path) -> None:
    (tmp_path / "tdt_summary.csv").write_text(
        "comparison,tracker,MOTA,MOTA spread\n"
        'stages,"TDT, one stage",0.40,0.07\nstages,two stages,0.71,0.01\n'
        "teacher,ImageNet,0.35,0.03\nteacher,re-identification,0.40,0.07\n"
    )
    stages, teacher = reproduce.directions("joint-tdt", tmp_path)
    assert stages == (
        "Table 1, MOTA: TDT-tracker 78.5, Two-stage 76.0; in small: 0.400 ± 0.070, 0.710 ± 0.010: the other way"
    )
    assert teacher.endswith(
        "0.400 ± 0.070, 0.350 ± 0.030: cannot be told, the difference is within the spreads of the seeds"
    )
    (absent, *_) = reproduce.directions("joint-retinatrack", tmp_path)
    assert "not run: no " in absent
    assert f"unibench experiment retinatrack -o {tmp_path}" in absent
    assert reproduce.directions("joint-trivd", tmp_path) == []


def test_the_command_says_why_nothing_was_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["reproduce", "joint-trivd", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "34 printed numbers: 0 agrees, 0 differs, 0 cannot be told, 34 not run." in done.output
    assert "neither code nor weights were published" in done.output
    with (tmp_path / "joint-trivd.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["verdict"] for line in lines} == {NOT_RUN}
    assert len(lines) == 34
    done = CliRunner().invoke(main, ["reproduce", "joint-trivd", "-m", "hog", "-o", str(tmp_path)])
    assert (done.exit_code, "leave it out" in done.output) == (2, True)
    done = CliRunner().invoke(main, ["reproduce", "unitrack-table1", "--data", str(tmp_path / "nowhere")])
    assert (done.exit_code, "nowhere: no such folder" in done.output) == (2, True)


def test_cards_of_unicorns_rows_are_there() -> None:
    assert {cards.find(name).kind for name in reproduce._CARDS.values()} == {"joint"}
