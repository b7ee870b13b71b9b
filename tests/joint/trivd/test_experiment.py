"""The comparison runs from training to picture, does nothing twice, and its controls are controls."""

import csv
from pathlib import Path

import pytest

from unibench.experiments import trivd
from unibench.experiments.trivd import COLUMNS, Row


def test_a_summary_has_mean_and_spread_over_the_seeds() -> None:
    rows = [Row(seed, dict.fromkeys(COLUMNS, value)) for seed, value in ((0, 0.2), (1, 0.4))]
    head, first, *others = trivd._summary_table(rows).decode().splitlines()
    assert head == "task,metric,seeds,mean,spread"
    assert first == "det/shapes@coco,AP,2,0.3,0.14"
    assert len(others) == len(COLUMNS) - 1


@pytest.mark.slow
def test_the_experiment_writes_its_tables_and_its_picture_and_does_nothing_twice(tmp_path: Path) -> None:
    """Two steps of each stage, two frames of each clip."""
    trivd.run(tmp_path, quick=True)
    with (tmp_path / "trivd.csv").open(newline="") as stream:
        (line,) = csv.DictReader(stream)
    assert set(line) == {"seed", *(f"{about} {metric}" for about, metric in COLUMNS)}
    first = {
        path: path.read_bytes()
        for path in [*tmp_path.glob("trivd*"), *tmp_path.rglob("*.safetensors")]
        if path.is_file()
    }
    assert {path.name for path in first} >= {
        "trivd.csv",
        "trivd_summary.csv",
        "trivd.png",
        "trivd-0.safetensors",
    }
    trivd.run(tmp_path, quick=True)
    assert {path: path.read_bytes() for path in first} == first
