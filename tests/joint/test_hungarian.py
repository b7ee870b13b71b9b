"""The matching of DETR's queries: as the authors of TrackFormer and MDETR have it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.joint.known import arrays
from unibench.errors import TrainingError
from unibench.joint.hungarian import FREE, NOTHING, focal_cost, match, softmax_cost, token_cost


def told(known: dict[str, Tensor], image: int) -> Tensor:
    """What TrackFormer's three masks say of each query."""
    fixed = torch.full((known["logits"].shape[1],), FREE)
    false = known[f"track_queries_fal_pos_mask_{image}"]
    fixed[known[f"track_queries_mask_{image}"] & ~false] = known[f"track_query_match_ids_{image}"]
    fixed[false] = NOTHING
    return fixed


@pytest.mark.parametrize(("name", "weight", "cost"), [("focal", 2, focal_cost), ("softmax", 1, softmax_cost)])
@pytest.mark.parametrize("image", [0, 1])
def test_matches_are_those_of_trackformers_code(gold: Path, name, weight, cost, image) -> None:
    known = arrays(gold, "trackformer_matcher")
    classes = weight * cost(known["logits"][image], known[f"labels_{image}"])
    found = match(classes, known["boxes"][image], known[f"boxes_{image}"], told(known, image))
    assert torch.equal(found.queries, known[f"{name}_query_{image}"])
    assert torch.equal(found.objects, known[f"{name}_target_{image}"])


@pytest.mark.parametrize("image", [0, 1])
def test_matches_are_those_of_mdetrs_code(gold: Path, image) -> None:
    known = arrays(gold, "mdetr_criterion")
    tokens = known["positive_map"].split([3, 2])[image]
    found = match(
        token_cost(known["logits"][image], tokens), known["boxes"][image], known[f"true_boxes{image}"]
    )
    assert torch.equal(found.queries, known[f"query{image}"])
    assert torch.equal(found.objects, known[f"target{image}"])


BOXES = torch.tensor([[0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2], [0.8, 0.8, 0.2, 0.2]])


def pairs(boxes, truth, fixed=None, costs=None):
    costs = torch.zeros(len(boxes), len(truth)) if costs is None else costs
    found = match(costs, boxes, truth, None if fixed is None else torch.tensor(fixed))
    return list(zip(found.queries.tolist(), found.objects.tolist(), strict=True))


def test_each_object_goes_to_the_nearest_query() -> None:
    assert pairs(BOXES, BOXES.flip(0)) == [(0, 2), (1, 1), (2, 0)]


def test_a_forced_pair_is_matched_however_far_it_is_and_the_others_share_the_rest() -> None:
    assert pairs(BOXES, BOXES[:2], [1, FREE, FREE]) == [(0, 1), (1, 0)]
    assert pairs(BOXES, BOXES[:1], [FREE, FREE, 0]) == [(2, 0)]


def test_a_false_query_matches_nothing_even_when_objects_are_left_over() -> None:
    assert pairs(BOXES, BOXES[:1], [NOTHING, FREE, FREE]) == [(1, 0)]
    assert pairs(BOXES, BOXES, [NOTHING, FREE, NOTHING]) == [(1, 1)]
    assert pairs(BOXES, BOXES, [NOTHING] * 3) == []


def test_the_class_outweighs_the_box_where_its_cost_does() -> None:
    costs = torch.tensor([[0.0], [0.0], [-11.0]])
    assert pairs(BOXES, BOXES[:1], costs=costs) == [(2, 0)]


def test_no_queries_or_no_objects_match_nothing() -> None:
    assert pairs(BOXES, BOXES[:0]) == []
    assert pairs(BOXES[:0], BOXES) == []


def test_the_costs_of_classes_by_hand() -> None:
    logits = torch.log(torch.tensor([[1.0, 3.0]]))
    torch.testing.assert_close(softmax_cost(logits, torch.tensor([1, 0])), torch.tensor([[-0.75, -0.25]]))
    shares = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    torch.testing.assert_close(token_cost(logits, shares), torch.tensor([[-0.5, -0.75]]))
    said, denied = 0.25 * 0.25**2 * -torch.tensor(0.75).log(), 0.75 * 0.75**2 * -torch.tensor(0.25).log()
    torch.testing.assert_close(focal_cost(logits, torch.tensor([1])), (said - denied)[None, None])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_refused_in_one_line(value) -> None:
    broken = BOXES.clone()
    broken[1, 2] = value
    with pytest.raises(
        TrainingError, match=r"^matching: 1 of 3 queries have a box or a class that is not finite"
    ):
        pairs(broken, BOXES)
    with pytest.raises(
        TrainingError, match=r"^matching: 1 of 3 queries have a box or a class that is not finite"
    ):
        pairs(BOXES, BOXES, costs=torch.tensor([[0.0, 0, 0], [0, 0, value], [0, 0, 0]]))
    with pytest.raises(
        TrainingError, match=r"^matching: the box of object 1 is .*; correct the annotations$"
    ):
        pairs(BOXES, broken)


def test_empty_boxes_have_a_cost() -> None:
    empty = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.1, 0.1, 0.0, 0.0]])
    assert pairs(empty, empty.flip(0)) == [(0, 1), (1, 0)]
