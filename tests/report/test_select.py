"""The best of several layers is too good on the clips it is chosen on; a choice on other clips is not."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from unibench.cli import main
from unibench.records import Tally
from unibench.report import select

LAYERS, CLIPS = 8, 40
EXPECTED_MAXIMUM = 1.42360
"""Mean of the largest of eight independent standard normal numbers (Harter 1961, table 1)."""


def mean(some: Sequence[Tally]) -> float:
    return float(np.mean([one["value"] for one in some]))


def noise(draw: np.random.Generator, lift: Sequence[float] = (0.0,) * LAYERS) -> dict[str, list[Tally]]:
    values = draw.normal(size=(LAYERS, CLIPS)) + np.array(lift)[:, None]
    return {f"layer{row}": [{"value": float(one)} for one in of_layer] for row, of_layer in enumerate(values)}


def test_of_layers_of_noise_the_best_is_as_optimistic_as_theory_says_and_a_selection_is_not() -> None:
    draw = np.random.default_rng(0)
    found = [select.choose(noise(draw), mean, 1, splits=10, seed=number) for number in range(400)]
    best, selected = (np.array([getattr(one, name) for one in found]) for name in ("best_value", "value"))
    error = best.std() / math.sqrt(len(best))
    assert best.mean() == pytest.approx(EXPECTED_MAXIMUM / math.sqrt(CLIPS), abs=4 * error)
    assert best.mean() > 20 * error
    assert selected.mean() == pytest.approx(0.0, abs=4 * selected.std() / math.sqrt(len(selected)))


def test_a_layer_that_is_better_is_chosen_and_its_score_is_its_own() -> None:
    draw = np.random.default_rng(1)
    one = select.choose(noise(draw, [0.0] * (LAYERS - 1) + [3.0]), mean, 1)
    assert one.chosen == {"layer7": 1.0}
    assert one.value == pytest.approx(one.best_value)
    assert one.low < one.value < one.high
    lowest = select.choose(noise(draw, [0.0] * (LAYERS - 1) + [-3.0]), mean, -1)
    assert lowest.best == "layer7"


def test_the_same_seed_gives_the_same_splits() -> None:
    layers = noise(np.random.default_rng(2))
    first, again, other = (select.choose(layers, mean, 1, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


def test_a_choice_of_one_or_of_too_few_clips_is_none() -> None:
    layers = noise(np.random.default_rng(3))
    with pytest.raises(ValueError, match="1 layers on 40 clips, expected 2 on 4 or more"):
        select.choose({"layer0": layers["layer0"]}, mean, 1)
    with pytest.raises(ValueError, match="8 layers on 3 clips"):
        select.choose({name: values[:3] for name, values in layers.items()}, mean, 1)


def test_the_command_reads_stored_results(tmp_path: Path) -> None:
    few = ["run", "-m", "hog", "-t", "vos/shapes", "--frames", "3", "-o", str(tmp_path)]
    assert CliRunner().invoke(main, few, catch_exceptions=False).exit_code == 0
    refused = CliRunner().invoke(main, ["select", "-o", str(tmp_path)])
    assert (
        refused.exit_code,
        "no model with several layers or scales on 4 clips or more" in refused.output,
    ) == (
        2,
        True,
    )
    both = ["run", "-m", "random-vit-tiny", "-t", "vos/shapes", "--frames", "3", "--layers", "all",
            "-o", str(tmp_path)]  # fmt: skip
    assert CliRunner().invoke(main, both, catch_exceptions=False).exit_code == 0
    result = CliRunner().invoke(
        main, ["select", "-o", str(tmp_path), "--splits", "5"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    (row,) = csv.DictReader((tmp_path / "select.csv").read_text().splitlines())
    assert (row["model"], row["metric"]) == ("random-vit-tiny", "J-mean")
    assert 0 <= float(row["selected"]) <= 1
    assert {part.split()[0] for part in row["chosen"].split("; ")} <= {"block6", "block12"}
