"""Evaluation from Python: rows, failures, and what a folder of results may not mix."""

from dataclasses import replace
from pathlib import Path

import pytest

from unibench import load_card
from unibench.errors import OutputError
from unibench.evaluation.evaluate import evaluate
from unibench.evaluation.run_clip import Done
from unibench.models import cards, maps
from unibench.results import store

TASK = "vos/synthetic-easy"


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.json"))}


def test_other_numbers_of_frames_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    evaluate(["lab-colour"], [TASK], output=tmp_path, frames=3)
    before, seen = bytes_of(tmp_path), []
    with pytest.raises(
        OutputError,
        match=r"holds vos/synthetic-easy@unitrack of 'lab-colour' on the first 3 frames of each clip, expected the "
        r"first 4 as asked for; choose another folder with -o, or another --frames$",
    ):
        evaluate(["hog"], [TASK], output=tmp_path, frames=4, progress=lambda done, total: seen.append(done))
    with pytest.raises(OutputError, match="on the first 3 frames of each clip, expected all as asked for"):
        evaluate(["lab-colour"], [TASK], output=tmp_path, progress=lambda done, total: seen.append(done))
    assert not seen
    assert bytes_of(tmp_path) == before


def test_a_run_that_broke_off_is_not_gone_on_with_on_other_frames(tmp_path: Path) -> None:
    def break_off(done: Done, total: int) -> None:
        raise KeyboardInterrupt(f"after 1 of {total} clips")

    with pytest.raises(KeyboardInterrupt, match="after 1 of 2 clips"):
        evaluate(["lab-colour"], [TASK], output=tmp_path, frames=3, progress=break_off)
    before = bytes_of(tmp_path)
    assert len(before) == 1
    with pytest.raises(OutputError, match="on the first 3 frames of each clip, expected the first 4"):
        evaluate(["hog"], [TASK], output=tmp_path, frames=4)
    assert bytes_of(tmp_path) == before


def test_a_column_of_its_own_results_can_be_computed_anew(tmp_path: Path) -> None:
    evaluate(["lab-colour"], [TASK], output=tmp_path, frames=3)
    made = evaluate(["lab-colour"], [TASK], output=tmp_path, frames=4, overwrite=True)
    assert {row.frames for row in made.rows} == {8}


def test_a_limit_beyond_a_clips_end_is_no_other_number_of_frames(tmp_path: Path) -> None:
    evaluate(["lab-colour"], [TASK], output=tmp_path, frames=500)
    made = evaluate(["lab-colour"], [TASK], output=tmp_path, frames=400)
    assert not made.failed


def test_progress_counts_every_clip_and_scores_are_a_table(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []
    made = evaluate(
        ["lab-colour", "hog"], [TASK], output=tmp_path, frames=3,
        progress=lambda done, total: calls.append((done.unit.clip, total)),
    )  # fmt: skip
    assert calls == [("objects-1", 4), ("objects-2", 4)] * 2
    table = made.scores
    assert set(table["model"]) == {"lab-colour", "hog"}
    assert table["headline"].sum() == 2
    assert ((table["value"] >= -1) & (table["value"] <= 1)).all()


def test_frames_within_a_clip_are_told(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int, int]] = []
    evaluate(
        ["lab-colour"], [TASK], output=tmp_path, frames=3,
        on_step=lambda step, total: steps.append((step.unit.clip, step.frame, step.frames, total)),
    )  # fmt: skip
    assert steps == [(clip, frame, 3, 2) for clip in ("objects-1", "objects-2") for frame in (1, 2, 3)]


def test_constant_features_are_a_note_on_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "constant", lambda features: True)
    made = evaluate(["lab-colour"], [TASK], output=tmp_path, frames=3)
    (note,) = {row.note for row in made.rows}
    assert "pooled: 3 of 3 feature maps are constant" in note
    monkeypatch.undo()
    assert {row.note for row in evaluate(["hog"], [TASK], output=tmp_path, frames=3).rows} == {""}


def test_parameters_that_may_stay_random_are_a_note_on_every_row(tmp_path: Path) -> None:
    card = load_card("random-resnet18")
    allowed = replace(card, weights=replace(card.weights, allow_random=("conv1.*",)))
    made = evaluate([allowed], ["pose/synthetic-easy"], output=tmp_path, frames=2)
    assert {row.note for row in made.rows} == {"random parameters: conv1.*"}


def test_a_run_keeps_what_became_of_the_weights(tmp_path: Path) -> None:
    tasks = ["sot/synthetic-easy", "det/noisy"]
    made = evaluate(["zoo-simclr", "zoo-random", "tdt-tiny"], tasks, output=tmp_path, frames=2)
    models = {(row.model, row.weights_hash) for row in made.rows}
    found = {name: store.read_loaded(tmp_path, name, fingerprint) for name, fingerprint in models}
    assert found["zoo-random"] is None, "nothing was loaded"
    for name in ("zoo-simclr", "tdt-tiny"):
        report = found[name]
        assert report is not None
        assert report.share == 1.0
        assert len(report.loaded) > 5
        assert report.sha256 == load_card(name).weights.sha256


def test_the_card_of_a_given_file_is_kept_beside_its_results(tmp_path: Path) -> None:
    card = replace(load_card("lab-colour"), name="mine", path=tmp_path / "mine.toml")
    (row, *_) = evaluate([card], ["sot/synthetic-easy"], output=tmp_path / "out", frames=2).rows
    kept = cards.read(store.card_file(tmp_path / "out", row.model, row.weights_hash))
    assert replace(kept, name="mine") == card
