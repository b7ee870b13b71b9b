import csv
from dataclasses import replace

import pytest

from unibench.experiments import reid, tdt
from unibench.joint import systems
from unibench.metrics import mot
from unibench.models import cards
from unibench.tasks import registry as tasks


def row(tracker, seed, value):
    return tdt.Row("stages", tracker, seed, dict.fromkeys(tdt.METRICS, value))


def test_a_summary_has_mean_and_spread_over_the_seeds():
    found = tdt.summarise([row("a", 0, 0.2), row("b", 0, 0.7), row("a", 1, 0.4)])
    assert found["stages", "a"]["MOTA"] == pytest.approx((0.3, 0.02**0.5))
    assert found["stages", "b"]["IDF1"] == (0.7, 0.0)


@pytest.mark.slow
def test_the_experiment_writes_its_tables_and_its_plot(tmp_path, monkeypatch):
    """Two steps of everything: that it runs, not what comes out."""
    monkeypatch.setattr(reid, "CLIPS", 2)
    monkeypatch.setattr(tdt, "QUICK", replace(tdt.QUICK, steps=2, teacher=2, training_images=12, images=2))
    tdt.run(tmp_path, quick=True)
    with (tmp_path / "tdt.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [(line["comparison"], line["tracker"]) for line in lines] == [
        ("stages", "overlap only"),
        ("stages", "TDT, one stage"),
        ("stages", "two stages"),
        ("teacher", "random"),
        ("teacher", "ImageNet"),
        ("teacher", "re-identification"),
        ("elements", "16"),
        ("elements", "64"),
    ]
    assert {"tdt.csv", "tdt_summary.csv", "tdt.png", "tdt_tracks.png"} <= {
        path.name for path in tmp_path.iterdir()
    }
    first = (tmp_path / "reid-0" / "student.safetensors").read_bytes()
    tdt.run(tmp_path, quick=True)
    assert (tmp_path / "reid-0" / "student.safetensors").read_bytes() == first


def test_the_model_that_is_shipped_tracks_the_benchmarks_first_clip():
    """58.3 IDF1 on all eight clips, and 6 with the same objects told apart by overlap alone."""
    card = cards.find("tdt-tiny")
    model = systems.load(card)
    shown, truth = tdt.shapes.clip("mot/shapes/shapes-1", 40)
    scores = mot.pool([mot.tally_boxes(truth, list(model.track(shown, tasks.find("mot/shapes@private"))))])
    assert scores["IDF1"] > 0.4
