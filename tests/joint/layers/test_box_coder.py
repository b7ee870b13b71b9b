import math

import pytest
import torch
from torchvision.ops import batched_nms

from unibench.joint.layers import box_coder
from unibench.joint.layers.box_coder import decode, encode, select


def test_offsets_by_hand():
    anchor = torch.tensor([[10.0, 20, 30, 60]])  # centre 20, 40; 20 wide, 40 high
    box = torch.tensor([[20.0, 30, 60, 50]])  # centre 40, 40; 40 wide, 20 high
    expected = [[1, 0, math.log(2), -math.log(2)]]
    torch.testing.assert_close(encode(box, anchor, (1.0, 1.0, 1.0, 1.0)), torch.tensor(expected))
    weighted = [[10, 0, 5 * math.log(2), -5 * math.log(2)]]
    torch.testing.assert_close(encode(box, anchor), torch.tensor(weighted))


@pytest.mark.parametrize(
    "weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0), (1.0, 2.0, 3.0, 4.0)], ids=str
)
def test_offsets_there_and_back(weights):
    generator = torch.Generator().manual_seed(0)
    corner, size = 500 * torch.rand(2, 200, 4, generator=generator)
    given, anchors = (
        torch.cat([corner[:, k : k + 2], corner[:, k : k + 2] + size[:, k : k + 2] + 8], 1) for k in (0, 2)
    )
    torch.testing.assert_close(
        decode(encode(given, anchors, weights), anchors, weights), given, rtol=0, atol=1e-3
    )


def test_no_offset_makes_an_infinite_box():
    anchor = torch.tensor([[0.0, 0, 16, 16]])
    huge = decode(torch.tensor([[0.0, 0, 1e9, 1e9]]), anchor)
    torch.testing.assert_close(huge, torch.tensor([[-492.0, -492, 508, 508]]))
    assert torch.isfinite(encode(torch.tensor([[5.0, 5, 5, 5]]), anchor)).all()


def test_selection_by_hand():
    given = torch.tensor([[0.0, 0, 10, 10], [1.0, 0, 11, 10], [50.0, 50, 60, 60], [90.0, 90, 95, 95]])
    scores = torch.tensor([[0.9, 0.2], [0.8, 0.7], [0.3, 0.3], [0.04, 0.0]])

    rows, classes = select(scores, given, min_score=0.05, iou=0.5, per_class=10, total=10)

    # Row 1 overlaps row 0 by 90 / 110: it loses class 0 to it, and wins class 1 from it. Row 3 is too weak.
    assert rows.tolist() == [0, 1, 2, 2]
    assert classes.tolist() == [0, 1, 0, 1]
    rows, classes = select(scores, given, min_score=0.05, iou=0.85, per_class=10, total=10)
    assert list(zip(rows.tolist(), classes.tolist(), strict=True)) == [
        (0, 0),
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
        (0, 1),
    ]
    assert select(scores, given, min_score=0.05, iou=0.5, per_class=1, total=10)[0].tolist() == [0, 1]
    assert select(scores, given, min_score=0.05, iou=0.5, per_class=10, total=3)[0].tolist() == [0, 1, 2]
    assert [len(one) for one in select(scores, given, min_score=0.95, iou=0.5, per_class=1, total=1)] == [
        0,
        0,
    ]


def test_boxes_left_of_the_image_do_not_meet_those_of_another_class():
    given = torch.tensor([[-100.0, -100, 10, 10], [-100.0, -100, 10, 10]])
    rows, classes = select(torch.eye(2), given, min_score=0.5, iou=0.1, per_class=5, total=5)
    assert (rows.tolist(), classes.tolist()) == ([0, 1], [0, 1])


@pytest.mark.parametrize("per_class", [5, 100])
def test_selection_agrees_with_suppression_of_everything_at_once(per_class, monkeypatch):
    monkeypatch.setattr(box_coder, "FIRST_ROWS", 16)  # so that it takes a second round
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(3000, 2, generator=generator) * 100
    given = torch.cat([corner, corner + 5 + 20 * torch.rand(3000, 2, generator=generator)], dim=1)
    scores = torch.rand(3000, 3, generator=generator)

    rows, classes = select(scores, given, min_score=0.2, iou=0.5, per_class=per_class, total=150)

    flat, each = scores.flatten(), torch.arange(3).repeat(3000)
    above = (flat >= 0.2).nonzero()[:, 0]
    kept = above[batched_nms(given.repeat_interleave(3, dim=0)[above], flat[above], each[above], 0.5)]
    expected, seen = [], [0, 0, 0]
    for index in kept.tolist():
        seen[index % 3] += 1
        expected += [(index // 3, index % 3)] if seen[index % 3] <= per_class else []
    assert list(zip(rows.tolist(), classes.tolist(), strict=True)) == expected[:150]
