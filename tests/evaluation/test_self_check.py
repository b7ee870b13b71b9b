"""`unibench check`: metrics are what they should be, on rendered and on real clips, and a wrong one is named."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.test_cli import loaded
from unibench.cli import main
from unibench.datasets import BENCHMARKS, Benchmark
from unibench.errors import DataError, UnknownNameError
from unibench.evaluation import self_check
from unibench.metrics import sot
from unibench.records import Tally, Truth
from unibench.tasks.registry import FAMILIES

FRAMES = 5
RENDERED = [name for name, benchmark in BENCHMARKS.items() if not benchmark.folder]
REAL = ("sot/otb", "vos/davis2016", "mot/mot15", "mots/kitti-mots", "posetrack/bonn", "pose/jhmdb")


def short(name: str) -> self_check.Outcome:
    return self_check.check(BENCHMARKS[name], Path(), FRAMES)


def unibench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


def spoil(patch: pytest.MonkeyPatch, family: str, **changes: object) -> None:
    row = FAMILIES[family]
    patch.setitem(FAMILIES, family, replace(row, scoring=replace(row.scoring, **changes)))


@pytest.mark.parametrize("name", RENDERED)
def test_every_rendered_task_is_right(name: str) -> None:
    outcome = short(name)
    assert outcome.problems == ()
    clips = len(BENCHMARKS[name].names(Path()))
    assert (outcome.clips, outcome.frames) == (clips, clips * FRAMES)
    assert outcome.found["truth"] == pytest.approx(20 / 21 if name.startswith("sot") else 1)
    # shapes leave the frame, and there an empty mask is right
    assert outcome.found["empty"] < (0.4 if name == "vos/shapes" else 0.3)
    assert outcome.compared >= 3 * len(outcome.found)


@pytest.mark.parametrize("name", REAL)
def test_real_clips_cut_short_are_right(shared_data: Path, name: str) -> None:
    (chosen,) = self_check.choose([name], shared_data)
    assert self_check.check(*chosen, frames=6).problems == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_clips_are_right(shared_data: Path, name: str) -> None:
    (chosen,) = self_check.choose([name], shared_data)
    assert self_check.check(*chosen).problems == ()


def test_mot17_with_distractors_and_bystanders_is_right(shared_data: Path) -> None:
    outcome = self_check.check(BENCHMARKS["mot/mot17"], shared_data / "MOT17-mini")
    assert outcome.problems == ()
    assert outcome.clips == 3


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"det"}))  # det: some have no known value
def test_every_metric_that_is_a_little_wrong_is_named(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = FAMILIES[family].scoring.pool

    def wrong(tallies: Sequence[Tally]) -> Mapping[str, float]:
        return {metric: value * 0.999 + 1e-4 for metric, value in right(tallies).items()}

    metrics = set(right([FAMILIES[family].scoring.tally(truth, truth.labels) for truth in [_truth(family)]]))
    spoil(monkeypatch, family, pool=wrong)
    problems = short(f"{family}/synthetic-easy").problems
    for case in ("truth", "empty"):
        assert {one.split()[1] for one in problems if one.startswith(f"{case}: ")} == metrics


def test_a_wrong_average_precision_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    right = FAMILIES["det"].scoring.pool
    spoil(
        monkeypatch,
        "det",
        pool=lambda tallies: {name: 0.999 * value + 1e-4 for name, value in right(tallies).items()},
    )
    problems = short("det/shapes").problems
    for case in ("truth", "empty"):
        named = {one.split()[1] for one in problems if one.startswith(f"{case}: ")}
        assert named == {"AP", "AP50", "AP75", "AR100"}


def _truth(family: str) -> Truth:
    benchmark = BENCHMARKS[f"{family}/synthetic-easy"]
    return benchmark.load(Path(), benchmark.names(Path())[0])[1]


def test_thresholds_that_are_not_strict_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(tallies: Sequence[Tally]) -> Mapping[str, float]:
        return {**sot.pool(tallies), "AUC": 21 / 20 * sot.pool(tallies)["AUC"]}

    spoil(monkeypatch, "sot", pool=lenient)
    problems = short("sot/synthetic-easy").problems
    assert problems[0] == f"truth: AUC is 1, expected {20 / 21:.12g}"


def test_scores_that_are_means_over_clips_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = FAMILIES["mot"].scoring.pool

    def mean(tallies: Sequence[Tally]) -> Mapping[str, float]:
        clips = [right([tally]) for tally in tallies]
        return {name: sum(clip[name] for clip in clips) / len(clips) for name in clips[0]}

    spoil(monkeypatch, "mot", pool=mean)
    problems = self_check.check(BENCHMARKS["mot/synthetic"], Path()).problems
    assert {one.split(":")[0] for one in problems} == {"truth", "empty", "permuted", "redrawn"}
    assert any(one.startswith("redrawn: AssA is ") for one in problems)


def test_a_metric_that_is_missing_new_undefined_or_broken_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = FAMILIES["sot"].scoring.pool
    wrongs = {
        "truth: SR.5 is missing, expected 1.0": lambda tallies: {
            name: value for name, value in right(tallies).items() if name != "SR.5"
        },
        "truth: EAO has no known value; add it to the family's known answers": lambda tallies: {
            **right(tallies), "EAO": 1.0},
        "truth: P@20 is nan, expected 1": lambda tallies: {**right(tallies), "P@20": math.nan},
        "truth: KeyError: 'IDF2'": lambda tallies: {"AUC": right(tallies)["IDF2"]},
    }  # fmt: skip
    for message, wrong in wrongs.items():
        with monkeypatch.context() as patch:
            spoil(patch, "sot", pool=wrong)
            assert short("sot/synthetic-easy").problems[0] == message


def test_a_tally_that_fails_names_the_clip_and_the_other_cases_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    right = FAMILIES["vos"].scoring.tally

    def broken(truth, prediction):
        if not len(prediction[0].ids):
            raise KeyError("no mask")
        return right(truth, prediction)

    spoil(monkeypatch, "vos", tally=broken)
    outcome = short("vos/synthetic-easy")
    assert outcome.problems == (
        "empty: clip 'objects-1': KeyError: 'no mask'",
        "empty: clip 'objects-2': KeyError: 'no mask'",
    )
    assert outcome.found["truth"] == 1


def test_clips_that_cannot_be_read_are_problems_and_the_others_are_checked() -> None:
    def load(root: Path, name: str):
        if name.endswith("1"):
            raise DataError("gt.txt: damaged")
        return good.load(root, name)

    def names(root: Path) -> list[str]:
        raise DataError("OTB: no clips")

    good: Benchmark = BENCHMARKS["sot/synthetic-easy"]
    outcome = self_check.check(replace(good, load=load), Path(), FRAMES)
    assert (outcome.clips, outcome.problems) == (1, ("gt.txt: damaged",))
    outcome = self_check.check(replace(good, names=names), Path(), FRAMES)
    assert (outcome.clips, outcome.found, outcome.problems) == (0, {}, ("OTB: no clips",))


def test_a_benchmark_of_a_plug_in_needs_a_family(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = replace(BENCHMARKS["sot/synthetic-easy"], task="depth/mine")
    monkeypatch.setitem(BENCHMARKS, "depth/mine", strange)
    done = unibench("-t", "depth/mine")
    assert done.exit_code == 2
    assert "no family of tasks 'depth'; did you mean 'det'? see: unibench tasks" in done.output


def test_a_truth_without_anything_to_score_is_a_problem() -> None:
    good = BENCHMARKS["posetrack/synthetic-easy"]
    problems = self_check.check(good, Path(), frames=1).problems  # the last frame is not scored
    assert problems[0].startswith("truth: posetrack: the truth labels no joint")
    assert len(problems) == 4


def test_without_names_everything_that_is_there_is_chosen(tmp_path: Path) -> None:
    assert [benchmark.task for benchmark, _ in self_check.choose([], None)] == RENDERED
    (tmp_path / "MOT15").mkdir()
    chosen = {benchmark.task: root for benchmark, root in self_check.choose([], tmp_path)}
    assert set(chosen) == {*RENDERED, "mot/mot15"}
    assert chosen["mot/mot15"] == tmp_path / "MOT15"


def test_names_and_folders_that_are_not_there_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no task 'vos/davis'; did you mean 'vos/davis2017'"):
        self_check.choose(["vos/davis"], None)
    with pytest.raises(DataError, match="vos/davis2016: no data folder, expected --data DIR with DAVIS2016"):
        self_check.choose(["vos/davis2016"], None)
    with pytest.raises(DataError, match=r"vos/davis2016: no folder .*DAVIS2016'; DAVIS-2016"):
        self_check.choose(["vos/davis2016"], tmp_path)
    with pytest.raises(DataError, match=r"nowhere: no such folder, expected the benchmarks' folders in it"):
        self_check.choose([], tmp_path / "nowhere")


def test_the_command_says_ok_and_why() -> None:
    done = unibench("-t", "sot/synthetic*")
    assert done.exit_code == 0, done.output
    assert done.output.count("ok (28 values)") == 3
    assert "truth 0.952, empty 0.190" in done.output
    assert "sot: overlap 1 is never exceeded" in done.output


def test_the_command_exits_with_1_if_a_score_is_wrong_and_with_2_if_the_user_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done = unibench("-t", "vos/davis2016", "--data", str(tmp_path))
    assert (done.exit_code, len(done.output.strip().splitlines())) == (2, 1)
    right = FAMILIES["pose"].scoring.pool
    spoil(monkeypatch, "pose", pool=lambda tallies: {**right(tallies), "PCK@0.1": 0.5})
    done = unibench("-t", "pose/synthetic-easy")
    assert done.exit_code == 1
    assert "3 wrong" in done.output
    assert "wrong: pose/synthetic-easy: empty: PCK@0.1 is 0.5, expected 0" in done.output


def test_no_torch_is_loaded() -> None:
    assert "torch" not in loaded("check -t sot/synthetic-easy")
