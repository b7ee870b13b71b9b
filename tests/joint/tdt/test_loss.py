import math
from dataclasses import replace

import pytest
import torch

from unibench.errors import TrainingError
from unibench.joint.system import Batch, Targets
from unibench.joint.tdt import SYSTEM
from unibench.joint.tdt.network import Embedder, Outputs
from unibench.joint.training import config as configs

TINY = replace(configs.read("tiny", SYSTEM), losses=configs.read("paper", SYSTEM).losses)
DIM = TINY.network.dim


def targets(boxes, classes=None, embeddings=None, ignored=()):
    count = len(boxes)
    return Targets(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        classes=torch.zeros(count, dtype=torch.int64) if classes is None else torch.tensor(classes),
        ids=torch.full((count,), -1),
        embeddings=torch.zeros(count, DIM) if embeddings is None else embeddings,
        ignored=torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4),
    )


def batch(*each):
    return Batch(torch.zeros(len(each), 1, 3, 8, 8, dtype=torch.uint8), tuple((one,) for one in each))


A, B, C = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0], [40.0, 0.0, 50.0, 10.0]


class Told(Embedder):
    """Has an embedding ready for every anchor of every image."""

    def __init__(self, said):
        torch.nn.Module.__init__(self)
        self.said = said

    def at(self, hidden, images, rows):
        return self.said[images, rows]


def saying(logits, offsets, embeddings):
    """A network that says this of the anchors A, B, C, whatever it sees."""
    outputs = Outputs(
        torch.tensor(logits), torch.tensor(offsets), torch.tensor([A, B, C]), (), Told(embeddings)
    )
    network = torch.nn.Module()
    network.forward = lambda images: outputs
    return network


def test_the_three_terms_by_hand():
    """Anchors A, B, C; an object on A that is 2 pixels to the right, one exactly on C, nothing on B.

    IoU of A and its object: 8 x 10 over 12 x 10, above .5. Of three classes, the objects' are 0 and 2.
    """
    network = saying(
        logits=[[[2.0, -3.0, -3.0], [-1.0, -3.0, -3.0], [-3.0, -3.0, 0.0]]],
        offsets=[[[0.0, 0.0, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0], [0.05, 0.0, 0.0, 0.0]]],
        embeddings=torch.stack([torch.zeros(3, DIM)]),
    )
    teacher = torch.zeros(2, DIM + 3)
    teacher[0, 0], teacher[1, 1], teacher[:, DIM:] = (
        0.6,
        0.8,
        100.0,
    )  # elements after the first D_s do not count
    found = SYSTEM.losses(network, batch(targets([[2.0, 0, 12, 10], C], [0, 2], teacher)), TINY, "all")

    def focal(logit, positive):
        chance = 1 / (1 + math.exp(-logit))
        right = chance if positive else 1 - chance
        return (0.25 if positive else 0.75) * (1 - right) ** 1.5 * -math.log(right)

    classes = focal(2, True) + focal(0, True) + focal(-1, False) + 6 * focal(-3, False)
    huber = (
        0.1 * (0.2 - 0.05) + 0.05**2 / 2
    )  # a shift of .2 anchors lies beyond delta = .1, one of .05 does not
    assert float(found["classification"]) == pytest.approx(classes / 3, rel=1e-5)
    assert float(found["localisation"]) == pytest.approx(50 * huber / (4 * 3), rel=1e-5)
    assert float(found["embedding"]) == pytest.approx(10 * (0.36 + 0.64) / 2, rel=1e-5)


def test_the_embedding_loss_is_a_mean_over_the_anchors_of_an_image_then_over_images():
    """First image: errors 1 and 0 on two anchors; second: 4 on one; third: nobody. (1/2 + 4) / 3."""
    said = torch.zeros(3, 3, DIM)
    said[0, 0, 0], said[1, 1, 5] = 1.0, 2.0
    network = saying(torch.zeros(3, 3, 3).tolist(), torch.zeros(3, 3, 4).tolist(), said)
    found = SYSTEM.losses(network, batch(targets([A, C]), targets([B]), targets([])), TINY, "all")
    assert float(found["embedding"]) == pytest.approx(10 * (0.5 + 4) / 3)


def test_anchors_in_ignored_regions_teach_nothing():
    logits = torch.full((1, 3, 3), -3.0)
    logits[0, 1] = 5.0
    network = saying(logits.tolist(), torch.zeros(1, 3, 4).tolist(), torch.zeros(1, 3, DIM))
    shown = SYSTEM.losses(network, batch(targets([A])), TINY, "all")["classification"]
    hidden = SYSTEM.losses(network, batch(targets([A], ignored=[B])), TINY, "all")["classification"]
    assert float(shown) > 5 * float(hidden)


def test_images_without_objects_have_a_loss():
    torch.manual_seed(0)
    network = SYSTEM.build(TINY).train()
    nothing = replace(targets([]), embeddings=torch.zeros(0, 0))
    images = torch.zeros(2, 1, 3, 64, 64, dtype=torch.uint8)
    found = SYSTEM.losses(network, Batch(images, ((nothing,), (nothing,))), TINY, "all")
    assert found["localisation"].item() == found["embedding"].item() == 0
    assert found["classification"].item() > 0
    sum(found.values()).backward()


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = SYSTEM.build(TINY).train()
    images = torch.randint(0, 255, (2, 1, 3, 128, 128), dtype=torch.uint8)
    seen = targets([[10, 10, 42, 42], [30, 40, 94, 104], [1, 2, 127, 125]], [0, 1, 2], torch.rand(3, DIM))
    sum(SYSTEM.losses(network, Batch(images, ((seen,), (seen,))), TINY, "all").values()).backward()
    without = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()]
    assert without == []


def test_without_its_weight_no_embedding_is_asked_for():
    alone = replace(TINY, losses=replace(TINY.losses, embedding=0.0))
    network = saying(torch.zeros(1, 3, 3).tolist(), torch.zeros(1, 3, 4).tolist(), torch.zeros(1, 3, DIM))
    one = replace(targets([A]), embeddings=torch.zeros(1, 0))
    assert set(SYSTEM.losses(network, batch(one), alone, "all")) == {"classification", "localisation"}
    with pytest.raises(TrainingError, match=r"0 elements of a teacher's embeddings, expected 64 .*--prepare"):
        SYSTEM.losses(network, batch(one), TINY, "all")
