import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tests.joint import known
from tests.joint.test_assign import corners
from unibench.joint.layers.losses import batch_hard, dice, focal, giou_loss, huber, iou_loss


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def close(value, expected):
    torch.testing.assert_close(value, torch.tensor(expected, dtype=value.dtype))


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.25, 1.5)])
def test_focal_loss_by_hand(alpha, gamma):
    logits = torch.tensor(
        [[math.log(3), -math.log(3)], [0.0, math.log(9)]]
    )  # probabilities 3/4, 1/4; 1/2, 9/10
    targets = torch.tensor([[1.0, 0], [1.0, 0]])
    expected = (
        alpha * 0.25**gamma * -math.log(0.75)
        + (1 - alpha) * 0.25**gamma * -math.log(0.75)
        + alpha * 0.5**gamma * -math.log(0.5)
        + (1 - alpha) * 0.9**gamma * -math.log(0.1)
    )
    close(focal(logits, targets, alpha=alpha, gamma=gamma), expected)


def test_focal_loss_without_focus_is_half_the_cross_entropy():
    logits = torch.randn(20, 3, generator=generator())
    targets = (logits + torch.randn(20, 3, generator=generator(1)) > 0).float()
    plain = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    torch.testing.assert_close(2 * focal(logits, targets, alpha=0.5, gamma=0.0), plain)


@pytest.mark.parametrize(
    ("delta", "expected"),
    [(1.0, 0.5 * 0.25 + 1 * (2 - 0.5) + 0.0), (0.1, 0.1 * (0.5 - 0.05) + 0.1 * (2 - 0.05) + 0.0)],
)
def test_huber_loss_by_hand(delta, expected):
    close(huber(torch.tensor([0.5, -1.0, 3.0]), torch.tensor([0.0, 1.0, 3.0]), delta), expected)


def test_losses_compute_in_single_precision():
    logits = torch.full((4096,), 2.0, dtype=torch.bfloat16)
    targets = torch.zeros(4096, dtype=torch.bfloat16)
    assert focal(logits, targets, alpha=0.25, gamma=2.0).dtype == torch.float32
    torch.testing.assert_close(huber(logits, targets, 1.0), torch.tensor(4096 * 1.5))


def softplus(x):
    return math.log1p(math.exp(x))


# Objects on a line. Clip 0: object 0 at 0 and 3, object 1 at 4; clip 1: object 0 at 5, object 1 at 9.
LINE = torch.tensor([[0.0, 0], [3, 0], [4, 0], [5, 0], [9, 0]])
IDS = torch.tensor([0, 0, 1, 0, 1])
CLIPS = torch.tensor([0, 0, 0, 1, 1])


def test_batch_hard_by_hand():
    margin = 0.1
    terms = [
        3 - 4,  # 0: its partner at 3, the other object at 4
        3 - 1,  # 3: its partner at 0, the other object at 4
        0 - 1,  # 4: no partner but itself, the other object at 3
        0 - 4,  # 5: the other object of its own clip is at 9, though 4 is nearer
        0 - 4,
    ]
    expected = sum(softplus(margin + term) for term in terms) / 5
    close(batch_hard(LINE, IDS, CLIPS, margin=margin, generator=generator(), count=64), expected)


def test_rows_without_an_identity_take_no_part():
    more = torch.cat([LINE, torch.tensor([[3.5, 0.0]])])
    ids, clips = torch.cat([IDS, torch.tensor([-1])]), torch.cat([CLIPS, torch.tensor([0])])
    with_one = batch_hard(more, ids, clips, margin=0.1, generator=generator(), count=64)
    assert with_one == batch_hard(LINE, IDS, CLIPS, margin=0.1, generator=generator(), count=64)


def test_only_some_rows_are_drawn_and_by_the_generator_alone():
    embeddings = torch.randn(50, 4, generator=generator(2))
    ids, clips = torch.arange(50) % 7, torch.arange(50) % 2

    def draw(seed, count=8):
        return batch_hard(embeddings, ids, clips, margin=0.1, generator=generator(seed), count=count).item()

    assert draw(0) == draw(0)
    assert len({draw(seed) for seed in range(5)}) == 5
    # The mean over all single rows is the mean over everything: partners come from all rows, drawn or not.
    torch.manual_seed(5)
    assert draw(0) == draw(0)
    single = [draw(seed, count=1) for seed in range(400)]
    assert len(set(single)) == 50
    assert sum(set(single)) / 50 == pytest.approx(draw(0, count=50), abs=1e-6)


@pytest.mark.parametrize(
    ("ids", "clips"),
    [([], []), ([-1, -1], [0, 0]), ([3, 3], [0, 0]), ([1, 2], [0, 1])],
    ids=["nothing", "unknown", "one object", "one object a clip"],
)
def test_without_two_objects_in_a_clip_there_is_nothing_to_learn(ids, clips):
    embeddings = torch.ones(len(ids), 4, requires_grad=True)
    loss = batch_hard(
        embeddings,
        torch.tensor(ids, dtype=torch.int64),
        torch.tensor(clips, dtype=torch.int64),
        margin=0.1,
        generator=generator(),
        count=64,
    )
    loss.backward()
    assert loss.item() == 0
    assert (embeddings.grad == 0).all()


def test_gradients_are_finite_where_embeddings_coincide_and_pull_objects_apart():
    embeddings = torch.zeros(4, 3)
    embeddings[2:, 0] = 1e-3
    embeddings[3, 1] = 0.5
    embeddings.requires_grad_()
    ids = torch.tensor([0, 0, 1, 1])
    loss = batch_hard(embeddings, ids, torch.zeros_like(ids), margin=0.1, generator=generator(), count=64)
    loss.backward()
    assert torch.isfinite(embeddings.grad).all()
    moved = (embeddings - 0.01 * embeddings.grad).detach()
    assert batch_hard(moved, ids, torch.zeros_like(ids), margin=0.1, generator=generator(), count=64) < loss


def test_box_and_dice_losses_are_those_of_unicorns_authors(gold: Path) -> None:
    answers = known.arrays(gold, "unicorn_losses")
    first, second = corners(answers["pred_cxcywh"]), corners(answers["true_cxcywh"])
    known.close(iou_loss(first, second), answers["iou_loss"])
    known.close(giou_loss(first, second), answers["giou_loss"])
    predicted, truth = answers["dice_pred"], answers["dice_true"]
    known.close(dice(predicted, truth), answers["dice_per_instance"])
    known.close(dice(predicted.flatten()[None], truth.flatten()[None])[0], answers["dice_whole_batch"])


def test_losses_of_empty_boxes_and_masks_are_finite() -> None:
    empty = torch.zeros(1, 4, requires_grad=True)
    for loss in (iou_loss, giou_loss):
        value = loss(empty, torch.zeros(1, 4))
        (slope,) = torch.autograd.grad(value.sum(), empty)
        assert value.isfinite().all()
        assert slope.isfinite().all()
    assert dice(torch.zeros(1, 5), torch.zeros(1, 5)).item() == 1
