"""Deformable attention: the authors' results, for points, boxes and padded images."""

from pathlib import Path

import torch

from tests.joint.known import arrays, close, fill
from unibench.joint.layers.deformable_attention import DeformableAttention


def test_results_are_those_of_the_authors_code(gold: Path) -> None:
    known = arrays(gold, "msdeformattn")
    heads, points = int(known["heads"]), int(known["points"])
    layer = fill(DeformableAttention(32, levels=2, heads=heads, points=points), gold, "msdeformattn")
    shapes = [(int(h), int(w)) for h, w in known["shapes"]]
    given = (known["value"], shapes)
    close(layer(known["query"], known["reference2"], *given), known["out2"])
    close(layer(known["query"], known["reference2"], *given, known["padding"]), known["out2_padded"])
    close(layer(known["query"], known["reference4"], *given), known["out4"])


def test_untrained_heads_look_in_different_directions_farther_with_each_point() -> None:
    offsets = DeformableAttention(8, levels=2, heads=4, points=3).sampling_offsets.bias.view(4, 2, 3, 2)
    expected = (
        torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])[:, None, None] * torch.tensor([1, 2, 3])[:, None]
    )
    torch.testing.assert_close(offsets.data, expected.expand(-1, 2, -1, -1), atol=1e-6, rtol=0)
