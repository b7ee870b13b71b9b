"""Files of anybody's tracker are scored as its own run was, and stand in a column of their own."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import unibench
from tests.evaluation import sweeps
from unibench.cli import main
from unibench.evaluation import external
from unibench.evaluation.evaluate import Evaluation
from unibench.report import boards, compare, stored

TASK = "mot/synthetic-easy"


def command(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    root = tmp_path_factory.mktemp("exported")
    made = unibench.evaluate(["lab-colour", "hog"], [TASK], output=root / "out")
    for model in ("lab-colour", "hog"):
        done = command("export", "-o", root / "out", "-m", model, "-t", TASK, "--to", root / model)
        assert done.exit_code == 0, done.output
    return root, made


def test_exported_files_score_as_the_run_and_stand_beside_it(exported: tuple[Path, Evaluation]) -> None:
    root, made = exported
    for model in ("lab-colour", "hog"):
        done = command("score", root / model, "-t", TASK, "--name", f"My {model}", "-o", root / "out")
        assert done.exit_code == 0, done.output
        assert f"My {model} {TASK}@external: 2 clips, 10 frames" in done.output
    scores = stored.scores(root / "out")
    ours = {(row.model, row.metric): row for row in made.rows}
    files = [score for score in scores if score.layer == "external"]
    assert len(files) == len(made.rows)
    for score in files:
        row = ours[score.model.removeprefix("My "), score.metric]
        assert score.value == pytest.approx(row.value, rel=0, abs=1e-12, nan_ok=True)
        assert (score.clips, score.frames, score.headline) == (row.clips, row.frames, row.headline)
        assert (score.partial, score.protocol, score.detections) == (False, "external", "")
    board = boards.arrange(scores, (), root / "out")
    assert [setting.protocol for setting in board.settings] == ["external", "unitrack+public"]
    assert compare.ties(board, root / "out") is not None
    before = sweeps.left(root / "out")
    assert command("score", "-o", root / "out").exit_code == 0
    assert sweeps.left(root / "out") == before


def test_what_is_wrong_is_said_in_one_line(exported: tuple[Path, Evaluation], tmp_path: Path) -> None:
    root, _ = exported
    given = ["score", root / "hog", "-o", tmp_path / "out"]
    for words, message in (
        (["-t", TASK], "files of a tracker need one -t and a --name, and no -m"),
        (["-t", TASK, "--name", "hog"], "--name 'hog': the name of a model card; choose another name"),
        (
            ["-t", f"{TASK}@unitrack", "--name", "a"],
            "files stand under the protocol 'external'; leave the protocol",
        ),
        (["-t", "mot/synthetic", "--name", "a", "-m", "b"], "files of a tracker need one -t"),
        (["-t", "mot/nothing", "--name", "a"], "no task 'mot/nothing'"),
    ):
        refused = command(*given, *words)
        assert refused.exit_code == 2
        assert message in refused.output
    assert "--name goes with a FOLDER" in command("score", "-o", tmp_path, "--name", "a").output
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "crowd-1.txt").write_bytes((root / "hog" / "crowd-1.txt").read_bytes())
    refused = command("score", tmp_path / "few", "-t", TASK, "--name", "a", "-o", tmp_path / "out")
    assert refused.exit_code == 2
    assert "crowd-2.txt: no such file" in refused.output
    assert not (tmp_path / "out").exists()


def test_other_files_of_one_name_are_another_row(exported: tuple[Path, Evaluation], tmp_path: Path) -> None:
    root, _ = exported
    rows = [
        external.score_files(root / model, TASK, "mine", tmp_path, None)[0]
        for model in ("hog", "lab-colour", "hog")
    ]
    assert rows[0] == rows[2]
    assert rows[0].weights_hash != rows[1].weights_hash
    assert replace(rows[1], weights_hash=rows[0].weights_hash) != rows[0]
