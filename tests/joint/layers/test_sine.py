"""Sine position encodings: the authors' values, and those of maps that are nearly all padding."""

from pathlib import Path

import pytest
import torch

from tests.joint.known import arrays, close
from unibench.joint.layers.sine import sine_2d, sine_3d


@pytest.mark.parametrize("level", [0, 1])
def test_values_are_those_of_the_authors_code(gold: Path, level: int) -> None:
    known = arrays(gold, "trackformer_position_encoding")
    padding = known[f"mask{level}"]
    assert padding.any()
    close(sine_2d(padding, 2 * int(known["features_2d"])), known[f"sine2d_{level}"])
    close(sine_3d(padding, 3 * int(known["features_3d"]), 2), known[f"sine3d_{level}"])


def test_cells_of_an_image_are_encoded_as_without_its_padding() -> None:
    padding = torch.ones(1, 6, 9, dtype=torch.bool)
    padding[:, :4, :5] = False
    alone = torch.zeros(1, 4, 5, dtype=torch.bool)
    assert torch.equal(sine_2d(padding, 8)[:, :, :4, :5], sine_2d(alone, 8))
    assert torch.equal(sine_3d(padding, 12, 3)[..., :4, :5], sine_3d(alone, 12, 3))


@pytest.mark.parametrize("rows", [0, 1])
def test_maps_of_nothing_but_padding_have_finite_encodings(rows: int) -> None:
    padding = torch.ones(1, 5, 7, dtype=torch.bool)
    padding[:, :rows] = False
    assert sine_2d(padding, 8).isfinite().all()
    assert sine_3d(padding, 12, 2).isfinite().all()
