import csv

import pytest

from unibench.experiments import reid, retinatrack
from unibench.experiments.retinatrack import Row, Size, draw, run, summarise

FEW = Size(seeds=(0,), before=2, after=2, reid=2, clips=1, frames=3, images=2)


def row(tracker, seed, value):
    return Row(tracker, seed, dict.fromkeys(retinatrack.METRICS, value))


def test_mean_and_spread_are_over_the_seeds():
    found = summarise([row("a", 0, 1.0), row("b", 0, 7.0), row("a", 1, 3.0)])
    assert found["a"]["MOTA"] == (2.0, pytest.approx(2**0.5))
    assert found["b"]["IDF1"] == (7.0, 0.0)


def test_the_plot_has_a_bar_a_tracker_and_a_dot_a_seed():
    figure = draw([row("a", 0, 1.0), row("b", 0, 7.0), row("a", 1, 3.0)])
    axes = figure.axes[0]
    assert [one.get_title() for one in figure.axes] == [
        "MOTA (higher is better)", "IDF1 (higher is better)", "IDSW (lower is better)"]  # fmt: skip
    assert figure.get_supxlabel() == "A dot is one training, from its own seed; a bar is the mean of 2."
    assert [bar.get_width() for bar in axes.patches] == [2.0, 7.0]
    assert sorted(axes.lines[0].get_xdata()) == [1.0, 3.0, 7.0]


def test_the_experiment_writes_its_tables_and_plot_and_does_no_training_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(retinatrack, "QUICK", FEW)
    monkeypatch.setattr(reid, "CLIPS", 2)
    run(tmp_path, quick=True)
    with (tmp_path / "retinatrack.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [line["seed"] for line in rows] == ["0"] * 5
    assert rows[0]["tracker"] == "overlap only"
    assert rows[4]["tracker"] == "RetinaTrack"
    assert (tmp_path / "retinatrack.png").stat().st_size > 0
    first = {path: path.read_bytes() for path in sorted(tmp_path.glob("*.csv"))}
    assert len(first) == 2
    logs = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("checkpoint.pt")}
    assert len(logs) == 3
    run(tmp_path, quick=True)
    assert {path: path.read_bytes() for path in first} == first
    assert {path: path.stat().st_mtime_ns for path in logs} == logs
