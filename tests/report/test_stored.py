"""Boards check stored results against the clips beside them, and use the clips that all rows of a column have."""

import csv
import json
import math

import pytest
from click.testing import CliRunner

from tests.report.test_compare import VOS, draws, store, tally
from unibench.cli import main
from unibench.errors import OutputError
from unibench.metrics import vos
from unibench.report import leaderboard, stored
from unibench.report.boards import Setting, arrange
from unibench.report.compare import ties
from unibench.results.store import ClipResult, UnitKey, _checksum, write_clip

SETTING = Setting(VOS, "unitrack", "")


def edited(out, change):
    """The one result below a folder after an edit whose checksum was made to fit."""
    (path,) = out.rglob("result.json")
    record = json.loads(path.read_text())
    change(record["scores"])
    del record["checksum"]
    path.write_text(json.dumps({**record, "checksum": _checksum(record)}))
    return path


@pytest.mark.parametrize("field", ["ci_low", "ci_high", "headline", "note"])
def test_an_edited_interval_is_an_error_that_names_the_file(tmp_path, field):
    store(tmp_path, "a", draws(8))
    (path,) = tmp_path.rglob("result.json")
    record = json.loads(path.read_text())
    value = record["scores"][0][field]
    record["scores"][0][field] = {bool: not value, str: "fine"}.get(type(value), 0.25)
    path.write_text(json.dumps(record))
    with pytest.raises(OutputError, match=rf"^{path}: changed after it was written"):
        stored.scores(tmp_path)


@pytest.mark.parametrize("metric", ["J-mean", "F-decay"])
def test_an_edited_score_of_any_metric_is_an_error_that_names_the_file(tmp_path, metric):
    store(tmp_path, "a", draws(8))
    assert len(stored.scores(tmp_path)) == 7

    def change(scores):
        next(one for one in scores if one["metric"] == metric)["value"] = 0.999

    path = edited(tmp_path, change)
    with pytest.raises(
        OutputError, match=rf"^{path}: {metric} is 0.999, but the clips beside it give 0"
    ) as caught:
        stored.scores(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "command", [["leaderboard"], ["plot", "radar"], ["plot", "correlation"], ["sensitivity"]]
)
def test_every_board_refuses_an_edited_score(tmp_path, command):
    store(tmp_path, "a", draws(8))
    edited(tmp_path, lambda scores: scores[0].update(value=0.999))
    done = CliRunner().invoke(main, [*command, "-o", str(tmp_path)])
    assert done.exit_code == 2
    assert "J-mean is 0.999, but the clips beside it give" in done.output
    assert done.output.count("\n") == 1


def test_a_number_in_the_place_of_an_undefined_score_is_an_error(tmp_path):
    store(tmp_path, "a", dict.fromkeys(draws(8), math.nan))
    stored.scores(tmp_path)
    edited(tmp_path, lambda scores: scores[0].update(value=0.999))
    with pytest.raises(OutputError, match=r"J-mean is 0\.999, but the clips beside it give nan"):
        stored.scores(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: scores.pop(), "F-decay is not stored"),
        (lambda scores: scores[0].update(metric="AUC"), "AUC is stored, which its clips do not give"),
        (lambda scores: scores[0].update(frames=7), "8 clips with 7 frames, but 8 with 320 lie beside it"),
        (lambda scores: scores[0].update(clips=9), "9 clips with 320 frames, but 8 with 320 lie beside it"),
    ],
)
def test_other_edits_are_found(tmp_path, change, message):
    store(tmp_path, "a", draws(8))
    edited(tmp_path, change)
    with pytest.raises(OutputError, match=message):
        stored.scores(tmp_path)


def test_clips_that_were_added_or_taken_away_are_found(tmp_path):
    store(tmp_path, "a", draws(8))
    old = ClipResult(UnitKey("a", "w1", VOS, "unitrack", "layer3", "old"), 40, False, "", "da7a", tally(0.1))
    path = write_clip(tmp_path, old)
    with pytest.raises(
        OutputError, match="8 clips with 320 frames, but 9 with 360 lie beside it; run it again"
    ):
        stored.scores(tmp_path)
    path.unlink()
    next(tmp_path.rglob("clips/*")).unlink()
    with pytest.raises(OutputError, match="but 7 with 280 lie beside it"):
        stored.scores(tmp_path)


@pytest.fixture
def gaps(tmp_path):
    """Three models: b lacks a clip that the others have, c one more."""
    everything = draws(26, shift=0.1)
    store(tmp_path, "a", everything)
    store(tmp_path, "b", {clip: value - 0.1 for clip, value in everything.items() if clip != "clip03"})
    store(
        tmp_path, "c", {clip: value for clip, value in everything.items() if clip not in ("clip03", "clip07")}
    )
    return tmp_path


SHARED = {clip: value for clip, value in draws(26, shift=0.1).items() if clip not in ("clip03", "clip07")}


def test_a_column_is_of_the_clips_that_all_rows_have(gaps):
    board = arrange(stored.scores(gaps), out=gaps)
    pooled = vos.pool([tally(float(value)) for value in SHARED.values()])
    for model, lower in (("a", 0.0), ("b", 0.1), ("c", 0.0)):
        for metric in ("J-mean", "F-mean"):
            assert board.value(model, "layer3", SETTING, metric) == pytest.approx(pooled[metric] - lower)
        score = board.scores[model, "layer3", SETTING, "J-mean"]
        assert (score.clips, score.frames, score.partial) == (24, 960, True)
        assert score.ci_low < score.value < score.ci_high
    shared = board.shared[SETTING]
    assert (list(shared.names), shared.every) == (sorted(SHARED), 26)
    assert shared.missing == {("b", "layer3"): ("clip03",), ("c", "layer3"): ("clip03", "clip07")}


def test_rows_are_tested_on_the_shared_clips_too(gaps):
    found = ties(arrange(stored.scores(gaps), out=gaps), gaps)
    assert {model: str(one) for (model, *_), one in found.items()} == {
        "a": "best",
        "b": "behind",
        "c": "tied",
    }


def test_the_leaderboard_says_how_many_clips_and_which_are_missing(gaps):
    board = arrange(stored.scores(gaps), out=gaps)
    path, tidy = leaderboard.write(board, gaps)
    with path.open(newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert {row[f"{SETTING} clips"] for row in rows.values()} == {"24 of 26"}
    assert {model: row[f"{SETTING} missing clips"] for model, row in rows.items()} == {
        "a": "", "b": "clip03", "c": "clip03; clip07"}  # fmt: skip
    with tidy.open(newline="") as file:
        assert {(row["clips"], row["partial"]) for row in csv.DictReader(file)} == {("24", "True")}
    assert (
        "vos/davis2016@unitrack is scored on the 24 of 26 clips that all rows have; b/layer3 lacks clip03; "
        "c/layer3 lacks clip03, clip07."
    ) in leaderboard.notes(board, leaderboard.NO_TIES)


@pytest.mark.parametrize(
    "command", [["leaderboard"], ["plot", "radar"], ["plot", "correlation"], ["compare", "a", "b"]]
)
def test_no_board_fails_because_a_clip_is_missing(gaps, command):
    done = CliRunner().invoke(main, [*command, "-o", str(gaps)])
    assert done.exit_code == 0, done.output


def test_a_column_with_all_its_clips_is_as_it_is_stored(tmp_path):
    store(tmp_path, "a", draws(8))
    store(tmp_path, "b", draws(8, seed=1))
    scores = stored.scores(tmp_path)
    board = arrange(scores, out=tmp_path)
    assert not board.shared
    assert sorted(map(repr, board.scores.values())) == sorted(map(repr, scores))
    path, _ = leaderboard.write(board, tmp_path)
    assert "clips" not in path.read_text().splitlines()[0]


def test_other_frames_of_a_clip_are_an_error(tmp_path):
    store(tmp_path, "a", draws(8))
    store(tmp_path, "b", draws(7), data="other")
    with pytest.raises(
        OutputError, match="clip 'clip00' has data da7a clip00 of 40 frames for a/layer3 and other"
    ):
        arrange(stored.scores(tmp_path), out=tmp_path)


def test_rows_without_a_clip_in_common_are_an_error(tmp_path):
    store(tmp_path, "a", draws(8))
    store(tmp_path, "b", draws(7, first=20))
    with pytest.raises(
        OutputError, match="vos/davis2016@unitrack: no clip that all rows have, expected one or more"
    ):
        arrange(stored.scores(tmp_path), out=tmp_path)


def test_another_protocol_hash_is_still_refused(tmp_path):
    store(tmp_path, "a", draws(8))
    store(tmp_path, "b", draws(7), protocol_hash="p2")
    with pytest.raises(OutputError, match="protocol_hash is p1 for a/layer3 and p2 for b/layer3"):
        arrange(stored.scores(tmp_path), out=tmp_path)
