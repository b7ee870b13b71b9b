"""Checkpoints of a training as one line: found by a pattern, scored, drawn."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from click.testing import CliRunner

from unibench.cli import main
from unibench.errors import OutputError, WeightsError
from unibench.models import cards, draft_card
from unibench.models.cards import Series
from unibench.records import Score
from unibench.report import boards, series
from unibench.results import store


def checkpoints(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        torch.manual_seed(seed)
        torch.save(timm.create_model("test_resnet").state_dict(), folder / name)


def test_a_pattern_finds_the_epochs_in_order(tmp_path: Path) -> None:
    for name in ("ckpt-10.pth", "ckpt-9.pth", "ckpt-0100.pth", "other-3.pth"):
        (tmp_path / name).touch()
    found = draft_card.find_series(tmp_path / "ckpt-*.pth")
    assert [(path.name, one) for path, one in found] == [
        ("ckpt-9.pth", Series("ckpt", 9.0)),
        ("ckpt-10.pth", Series("ckpt", 10.0)),
        ("ckpt-0100.pth", Series("ckpt", 100.0)),
    ]
    assert draft_card.find_series(tmp_path / "ckpt-10.pth") == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"ckpt-\*\.pth: no file matches"),
        (["ckpt-a.pth"], r"ckpt-a\.pth: no number in its name"),
        (["ckpt-1.pth", "ckpt-01.pth"], r"ckpt-1\.pth: epoch 1, which ckpt-01\.pth has too"),
    ],
)
def test_what_is_no_series_is_one_line(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(WeightsError, match=message):
        draft_card.find_series(tmp_path / "ckpt-*.pth")


def score(epoch: int, layer: str, value: float, half: float, task: str = "vos/davis2017") -> Score:
    return Score(
        model=f"ckpt-{epoch}", layer=layer, task=task, benchmark="davis2017", protocol="unitrack",
        protocol_version="1.0", detections="", metric="J-mean", value=value, ci_low=value - half,
        ci_high=value + half, clips=30, frames=900, partial=False, headline=True, protocol_hash="p",
        weights_hash=f"h{epoch}", data_hash="d",
    )  # fmt: skip


def store_cards(out: Path, epochs: list[int]) -> None:
    card = cards.find("random-resnet18")
    for epoch in epochs:
        draft_card.write(
            replace(card, series=Series("ckpt", epoch)), store.card_file(out, f"ckpt-{epoch}", f"h{epoch}")
        )


def test_lines_go_through_the_scores_and_bands_through_their_intervals(tmp_path: Path) -> None:
    epochs = [0, 5, 10, 20]
    store_cards(tmp_path, epochs)
    scores = [score(epoch, layer, 0.4 + 0.01 * epoch + lift, 0.05)
              for epoch in reversed(epochs) for layer, lift in (("layer3", 0.1), ("layer4", 0.0))]  # fmt: skip
    board = boards.arrange([*scores, replace(scores[0], model="another", weights_hash="x")])
    found = series.points(board, tmp_path)
    assert [(one.layer, one.epoch) for one in found] == [
        (layer, e) for layer in ("layer3", "layer4") for e in epochs
    ]
    axes = series.draw(board, found).axes[0]
    drawn = {line.get_label(): np.asarray(line.get_xydata()) for line in axes.lines}
    assert drawn["ckpt layer3"] == pytest.approx(np.array([[e, 50 + e] for e in epochs], dtype=float))
    low, high = axes.collections[0].get_paths()[0].get_extents().get_points()
    assert (low[1], high[1]) == pytest.approx((45.0, 75.0))
    paths = series.write(board, tmp_path)
    assert [path.name for path in paths] == ["series.svg", "series.png", "series.csv"]
    rows = list(csv.DictReader(paths[2].read_text().splitlines()))
    assert [row["epoch"] for row in rows[:4]] == ["0", "5", "10", "20"]


def test_results_without_a_series_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no checkpoints of a series; score some"):
        series.points(boards.arrange([score(1, "layer3", 0.5, 0.1)]), tmp_path)


def test_from_checkpoints_to_the_picture(tmp_path: Path) -> None:
    checkpoints(tmp_path, "ckpt-1.pth", "ckpt-20.pth")
    out = tmp_path / "out"
    arguments = ["run", "--checkpoint", str(tmp_path / "ckpt-*.pth"), "--arch", "test_resnet", "-t", "vos/synthetic",
                 "--frames", "3", "-o", str(out)]  # fmt: skip
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "; epoch 20 of ckpt" in result.output
    result = CliRunner().invoke(main, ["plot", "series", "-o", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((out / "series.csv").read_text().splitlines()))
    assert [(row["series"], row["epoch"]) for row in rows] == [("ckpt", "1"), ("ckpt", "20")]
    assert all(math.isfinite(float(row["value"])) for row in rows)
    refused = CliRunner().invoke(main, [*arguments, "--save-card", "x"])
    assert (refused.exit_code, "names a series, expected one file" in refused.output) == (2, True)
