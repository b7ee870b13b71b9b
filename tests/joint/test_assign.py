"""SimOTA: the cells that the authors' code chooses."""

from pathlib import Path

import torch

from tests.joint.known import arrays, close
from unibench.joint.assign import simota


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """cx, cy, width, height -> xyxy."""
    return torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1)


def test_matches_are_those_of_the_authors_code(gold: Path) -> None:
    known = arrays(gold, "unicorn_simota")
    cells = known["cells_xy_stride"]
    scores = known["cls_logits"].sigmoid() * known["obj_logits"].sigmoid()
    points = torch.cat([(cells[:, :2] + 0.5) * cells[:, 2:], cells[:, 2:]], dim=1)
    size = (int(known["image_hw"][0]), int(known["image_hw"][1]))
    found = simota(
        points, corners(known["pred_boxes"]), scores, corners(known["boxes"]), known["classes"].long(), size
    )
    assert torch.equal(found.cells, known["foreground"].nonzero()[:, 0])
    assert torch.equal(found.objects, known["matched_box"])
    assert torch.equal(known["classes"][found.objects], known["matched_classes"])
    close(found.overlaps, known["matched_iou"])
    assert len(found.cells) == known["count"]


def test_no_objects_and_no_candidates_match_nothing() -> None:
    points = torch.tensor([[4.0, 4, 8], [12, 4, 8]])
    boxes, scores = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8]]), torch.full((2, 1), 0.5)
    for truth in (torch.zeros(0, 4), torch.tensor([[500.0, 500, 501, 501]])):
        size = (1000, 1000)
        found = simota(points, boxes, scores, truth, torch.zeros(len(truth), dtype=torch.int64), size)
        assert (len(found.cells), len(found.objects), len(found.overlaps)) == (0, 0, 0)


def test_a_cell_that_two_objects_want_goes_to_the_cheaper_one() -> None:
    points = torch.tensor([[8.0, 8, 8]])
    truth = torch.tensor([[0.0, 0, 16, 16], [2, 2, 18, 18]])
    found = simota(points, torch.tensor([[2.0, 2, 18, 18]]), torch.full((1, 1), 0.5), truth, torch.zeros(2).long(),
                   (32, 32))  # fmt: skip
    assert (found.cells.tolist(), found.objects.tolist()) == ([0], [1])
