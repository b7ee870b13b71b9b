"""MDETR's losses: as its authors' code computes them."""

from pathlib import Path

import pytest
import torch

from tests.joint.known import arrays, close
from unibench.joint.hungarian import Pairs
from unibench.joint.trivd.loss import box_losses, contrastive_loss, soft_token_loss, token_map


@pytest.fixture
def known(gold: Path) -> dict[str, torch.Tensor]:
    return arrays(gold, "mdetr_criterion")


def pairs(known, image):
    return Pairs(known[f"query{image}"], known[f"target{image}"])


def spans(known):
    return list(zip(known["span_first"].tolist(), (known["span_last"] + 1).tolist(), strict=True))


def test_the_token_map_is_that_of_mdetrs_code(known) -> None:
    classes = torch.cat([known["labels0"], known["labels1"]])
    close(token_map(spans(known), 256)[classes], known["positive_map"])


def test_the_losses_are_those_of_mdetrs_code(known) -> None:
    shares, sums = token_map(spans(known), 256), torch.zeros(4)
    for image in range(2):
        tokens, matched = shares[known[f"labels{image}"]], pairs(known, image)
        sums[0] += soft_token_loss(known["logits"][image], tokens, matched, 0.1)
        sums[1:3] += torch.stack(box_losses(known["boxes"][image], known[f"true_boxes{image}"], matched))
        sums[3] += contrastive_loss(
            known["proj_queries"][image][None], known["proj_tokens"][image], tokens[:, :12] > 0, matched
        )
    names = ("loss_ce", "loss_bbox", "loss_giou", "loss_contrastive_align")
    close(sums / 5, torch.stack([known[name] for name in names]).float())


NONE = Pairs(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
ONE = Pairs(torch.tensor([1]), torch.tensor([0]))


def test_the_soft_token_loss_by_hand() -> None:
    logits = torch.log(torch.tensor([[1.0, 1, 2], [2.0, 1, 1]]))
    tokens = torch.tensor([[0.5, 0.5, 0.0]])
    half, quarter = torch.tensor([0.5, 0.25]).log()
    close(soft_token_loss(logits, tokens, ONE, 0.1), -0.1 * half - (half + quarter) / 2)
    close(soft_token_loss(logits, tokens[:0], NONE, 0.1), -0.1 * (half + quarter))


def test_without_objects_boxes_and_words_cost_nothing_and_have_a_gradient() -> None:
    boxes, queries = torch.rand(3, 4, requires_grad=True), torch.rand(1, 3, 8, requires_grad=True)
    none = torch.zeros(0, 5, dtype=torch.bool)
    total = sum(box_losses(boxes, torch.zeros(0, 4), NONE)) + contrastive_loss(
        queries, torch.rand(5, 8), none, NONE
    )
    assert total == 0
    total.backward()
    assert (boxes.grad == 0).all()
    assert (queries.grad == 0).all()


def test_a_query_that_stands_for_nothing_is_pulled_to_no_word() -> None:
    """It is in the denominators of its neighbour's words only."""
    queries = torch.nn.functional.normalize(
        torch.randn(1, 2, 8, generator=torch.Generator().manual_seed(0)), dim=2
    )
    queries.requires_grad_()
    words = torch.eye(8)[:3]
    contrastive_loss(queries, words, torch.tensor([[True, False, False]]), ONE).backward()
    assert queries.grad[0, 0, 0] > 0  # away from the first word
    assert (queries.grad[0, 0, 1:] == 0).all()
    assert queries.grad[0, 1, 0] < 0  # towards it


def test_images_that_stand_one_after_the_other_are_scored_apart(known) -> None:
    shares = token_map(spans(known), 256)
    found, together = [], []
    for image in range(2):
        tokens, matched = shares[known[f"labels{image}"]][:, :12] > 0, pairs(known, image)
        queries = known["proj_queries"][image][None]
        found.append(contrastive_loss(queries, known["proj_tokens"][0], tokens, matched))
        together.append((queries, tokens, matched))
    (first, names, one), (second, others, two) = together
    both = Pairs(
        torch.cat([one.queries, two.queries + first.shape[1]]),
        torch.cat([one.objects, two.objects + len(names)]),
    )
    close(
        contrastive_loss(
            torch.cat([first, second]), known["proj_tokens"][0], torch.cat([names, others]), both
        ),
        sum(found),
    )


def test_losses_compute_in_single_precision() -> None:
    logits = torch.full((2, 3), 2.0, dtype=torch.bfloat16)
    assert soft_token_loss(logits, torch.tensor([[0.5, 0.5, 0.0]]), ONE, 0.1).dtype == torch.float32
