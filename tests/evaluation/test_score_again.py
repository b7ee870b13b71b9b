"""Predictions that a run has kept give its scores again, bit for bit, without a network."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import unibench
from tests.evaluation import sweeps
from unibench.cli import main
from unibench.datasets import BENCHMARKS
from unibench.errors import DataError, OutputError
from unibench.evaluation import score_again
from unibench.evaluation.evaluate import Evaluation
from unibench.models import frozen
from unibench.records import Labels, Tally, Truth
from unibench.results import store
from unibench.tasks.registry import FAMILIES

FRAMES = 4
TASKS = [task for family in FAMILIES if (task := f"{family}/synthetic-easy") in BENCHMARKS]
VOS = "vos/synthetic-easy"


def run(out: Path, *tasks: str, **options: bool) -> Evaluation:
    return unibench.evaluate(["lab-colour"], tasks or [VOS], output=out, frames=FRAMES, **options)


def files(out: Path) -> dict[str, bytes]:
    return sweeps.left(out)


def runs(out: Path) -> list[store.RunKey]:
    return list(dict.fromkeys(map(store.run_of, store.read_scores(out))))


def change_scoring(monkeypatch: pytest.MonkeyPatch, version: str = "next") -> None:
    """Another version of VOS's scoring, which halves every count."""
    family = FAMILIES["vos"]
    right = family.scoring.tally

    def tally(truth: Truth, prediction: Sequence[Labels]) -> Tally:
        assert len(prediction) == len(truth.labels)
        return {name: value * 0.5 for name, value in right(truth, prediction).items()}

    monkeypatch.setitem(
        FAMILIES, "vos", replace(family, scoring=replace(family.scoring, tally=tally, version=version))
    )


def test_scores_of_stored_predictions_are_those_of_the_run_bit_for_bit(tmp_path: Path) -> None:
    assert not run(tmp_path, *TASKS).failed
    before = files(tmp_path)
    assert sum(name.endswith(".zip") for name in before) == 2 * len(TASKS)
    made = list(score_again.score_runs(tmp_path, runs(tmp_path), None))
    assert {one.run.task: (one.clips, one.changed) for one in made} == dict.fromkeys(TASKS, (2, 0))
    assert files(tmp_path) == before


def test_another_scoring_scores_again_and_runs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path)
    predicted = {name: data for name, data in files(tmp_path).items() if name.endswith(".zip")}
    change_scoring(monkeypatch)
    monkeypatch.setattr(frozen, "load", lambda *_, **__: pytest.fail("the model was loaded for nothing"))
    (one,) = score_again.score_runs(tmp_path, runs(tmp_path), None)
    assert (one.clips, one.changed) == (2, 2)
    scores = {score.metric: score for score in store.read_scores(tmp_path)}
    assert [row.metric for row in first.rows] == list(scores)
    assert scores["J-mean"].weights_hash == first.rows[0].weights_hash
    assert store.read_run(tmp_path, one.run)["scoring"] == "next"
    assert predicted == {name: data for name, data in files(tmp_path).items() if name.endswith(".zip")}
    after = files(tmp_path)
    assert all(done.seconds == 0 for done in run(tmp_path).done), "the same run finds all of it done"
    assert files(tmp_path) == after


def test_a_run_after_another_scoring_scores_again_what_it_has_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "again")
    change_scoring(monkeypatch)
    run(tmp_path / "anew")
    monkeypatch.setattr(frozen, "load", lambda *_, **__: pytest.fail("the model was loaded for nothing"))
    run(tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "anew")


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_predictions_that_are_gone_are_made_again(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path)
    before = files(tmp_path)
    path = next(tmp_path.rglob("predictions/*.zip"))
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(b"no archive")
        with pytest.raises(
            OutputError, match=r"damaged predictions \(File is not a zip file\); delete the file"
        ):
            list(score_again.score_runs(tmp_path, runs(tmp_path), None))
        path.unlink()
    assert sorted(one.seconds > 0 for one in run(tmp_path).done) == [False, True]
    assert files(tmp_path) == before
    path.write_bytes(b"no archive")
    change_scoring(monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert sorted(one.seconds > 0 for one in run(tmp_path).done) == [False, True]
    assert f"computed again: {path}: damaged predictions" in caplog.text


def test_without_predictions_scores_are_the_same_and_cannot_be_scored_again(tmp_path: Path) -> None:
    kept, left_out = run(tmp_path / "kept"), run(tmp_path / "bare", keep_predictions=False)
    assert kept.rows == left_out.rows
    assert not list((tmp_path / "bare").rglob("predictions"))
    bare = files(tmp_path / "bare")
    assert all(one.seconds == 0 for one in run(tmp_path / "bare").done), (
        "scores without predictions are whole"
    )
    assert files(tmp_path / "bare") == bare
    with pytest.raises(
        OutputError, match="no predictions of clip 'objects-1', which was run with --no-predictions"
    ):
        list(score_again.score_runs(tmp_path / "bare", runs(tmp_path / "bare"), None))
    run(tmp_path / "kept", keep_predictions=False, overwrite=True)
    assert files(tmp_path / "kept") == bare


def test_workers_keep_the_same_predictions(tmp_path: Path) -> None:
    data = sweeps.davis(tmp_path / "data", 3)
    for workers in (1, 2):
        unibench.evaluate(
            sweeps.MODELS, [sweeps.TASK], output=tmp_path / str(workers), data=data, workers=workers
        )
    assert files(tmp_path / "1") == files(tmp_path / "2")
    assert sum(name.endswith(".zip") for name in files(tmp_path / "1")) == 6


def test_another_truth_than_that_of_the_run_is_refused(tmp_path: Path) -> None:
    data = sweeps.davis(tmp_path / "data", 2)
    unibench.evaluate(["lab-colour"], [sweeps.TASK], output=tmp_path / "out", data=data)
    masks = sorted((data / "DAVIS2016" / "Annotations" / "480p" / "clip00").iterdir())
    masks[2].write_bytes(masks[1].read_bytes())
    with pytest.raises(DataError, match="the truth of clip 'clip00' is not that of the run; use the data"):
        list(score_again.score_runs(tmp_path / "out", runs(tmp_path / "out"), data))


def test_the_command_prints_the_same_table_as_the_run(tmp_path: Path) -> None:
    def command(*words: object) -> str:
        done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    ran = command("run", "-m", "lab-colour", "-m", "hog", "-t", VOS, "--frames", FRAMES, "-o", tmp_path)
    boards = files(tmp_path)
    scored = command("score", "-o", tmp_path, "-m", "lab-*", "-t", f"{VOS}@unitrack")
    line = "lab-colour vos/synthetic-easy@unitrack pooled: 2 clips, 0 with other counts\n"
    assert scored.startswith(line)
    table = scored.removeprefix(line)
    assert table in ran
    assert "4 files; to score them again: unibench score -o" in ran.removeprefix(table)
    assert files(tmp_path).keys() == boards.keys()
    nothing = CliRunner().invoke(main, ["score", "-o", str(tmp_path), "-m", "dino"])
    assert nothing.exit_code == 2
    assert "no result of 'dino'; there are: hog vos/synthetic-easy@unitrack, lab-colour vos" in nothing.output
