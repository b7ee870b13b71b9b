"""Images resized before the network: where the cells lie, what the hash says, and the choice among scales."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from unibench import plugins
from unibench.cli import main
from unibench.errors import CardError
from unibench.models import cards, draft_card, frozen
from unibench.models.cards import Architecture, Card, Layer, Preprocessing
from unibench.results import store


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> Card:
    """Means of cells of 8 x 8 pixels."""
    monkeypatch.setattr(plugins, "MODULES", plugins.MODULES | {"tests.models.clips"})
    return replace(
        cards.find("random-resnet18"), name="means", layers={"map": Layer("map", 8, 6, 3.5)}, default_layer="map",
        architecture=Architecture("python", "tests.models.clips:blind"),
        preprocessing=Preprocessing("rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    )  # fmt: skip


@pytest.mark.parametrize(("scale", "stride", "offset"), [(0.5, 16, 7.5), (1.0, 8, 3.5), (2.0, 4, 1.5)])
def test_cells_lie_where_strides_and_offsets_say(
    means: Card, scale: float, stride: int, offset: float
) -> None:
    model = frozen.load(cards.scaled(means, scale))
    assert (model.strides["map"], model.offsets["map"]) == (stride, offset)
    ramp = np.tile(
        np.arange(128, dtype=np.uint8)[None, :, None], (64, 1, 3)
    )  # a pixel has the value of its column
    maps = model.network(model.prepare(ramp)[None], ["map"])["map"]
    assert maps.shape == (1, 6, 64 // stride, 128 // stride)
    inside = maps[0, 0, 0, 2:-2]  # enlarging repeats the pixels beyond the border
    expected = offset + stride * torch.arange(2, 128 // stride - 2)
    assert torch.allclose(inside, expected.float(), atol=1e-4)


def test_the_hash_tells_scales_apart_and_is_the_old_one_at_scale_1(means: Card) -> None:
    plain = frozen.fingerprint(means, None)
    assert frozen.fingerprint(cards.scaled(means, 1.0), None) == plain
    assert frozen.fingerprint(cards.scaled(means, 0.5), None) == f"{plain}+scale=0.5"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("random-resnet18", r"layer .* at scale 0.75 has a stride of 10.67 pixels, expected a whole number"),
        ("tdt-tiny", r"a joint tracker resizes images itself; run it without --scales"),
    ],
)
def test_what_cannot_be_scaled_is_refused(name: str, message: str) -> None:
    with pytest.raises(CardError, match=message):
        cards.scaled(cards.find(name), 0.75)


def test_a_card_file_says_nothing_of_scales(tmp_path: Path) -> None:
    text = draft_card.dump(cards.scaled(cards.find("random-resnet18"), 2.0))
    assert "scale" not in text
    path = tmp_path / "mine.toml"
    path.write_text(f"scale = 2.0\n{text}")
    with pytest.raises(CardError, match="unknown field 'scale'"):
        cards.read(path)


def test_a_sweep_over_scales_is_stored_and_select_chooses_among_them(tmp_path: Path) -> None:
    arguments = [
        "run",
        "-m",
        "lab-colour",
        "-t",
        "vos/shapes",
        "--frames",
        "4",
        "--scales",
        "0.5,1",
        "-o",
        str(tmp_path),
    ]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    hashes = {score.weights_hash for score in store.read_scores(tmp_path)}
    assert sorted(one.partition("+")[2] for one in hashes) == ["", "scale=0.5"]
    chosen = CliRunner().invoke(main, ["select", "-o", str(tmp_path), "--splits", "20"])
    assert chosen.exit_code == 0, chosen.output
    with (tmp_path / "select.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["model"] == "lab-colour"
    assert {part.rpartition(" ")[0] for part in row["chosen"].split("; ")} <= {"pooled", "pooled x0.5"}
    with (tmp_path / "leaderboard.csv").open() as file:
        assert sorted(row["stride"] for row in csv.DictReader(file)) == ["16", "8"]


@pytest.mark.parametrize("text", ["", "0.5,big", "0", "-1", "100"])
def test_scales_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    arguments = ["run", "-m", "hog", "-t", "vos/shapes", "--scales", text, "-o", str(tmp_path)]
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, "expected factors from 0.125 to 8" in done.output) == (2, True)
