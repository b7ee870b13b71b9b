import math

import pytest
import torch

from unibench.joint.retinatrack import SYSTEM
from unibench.joint.retinatrack.config import changed
from unibench.joint.retinatrack.loss import goals
from unibench.joint.retinatrack.network import Outputs
from unibench.joint.system import UNKNOWN, Batch, Targets
from unibench.joint.training import config as configs

TINY = changed(configs.read("tiny", SYSTEM), {"losses": {"triplet": 1.0}})
ANCHORS = torch.tensor(
    [
        [0.0, 0.0, 10.0, 10.0],  # IoU 1 with the first object
        [0.0, 0.0, 10.0, 6.0],  # .6 with the first object
        [0.0, 0.0, 10.0, 4.0],  # .4 with the first object
        [50.0, 0.0, 60.0, 10.0],  # .25 with the second object, and no other overlaps that more
        [80.0, 80.0, 90.0, 90.0],  # in the ignored region
    ]
)
NOTHING = torch.zeros(0, 4)


def targets(*rows, ignored=NOTHING):
    """Rows (box, class, id)."""
    boxes = torch.tensor([box for box, _, _ in rows]).reshape(-1, 4)
    kinds, ids = (torch.tensor([row[i] for row in rows], dtype=torch.int64) for i in (1, 2))
    return Targets(boxes, kinds, ids, torch.zeros(len(rows), 0), ignored)


DRAWN = targets(
    ([0.0, 0.0, 10.0, 10.0], 2, 7),
    ([56.0, 0.0, 66.0, 10.0], 0, 9),
    ignored=torch.tensor([[70.0, 70.0, 128.0, 128.0]]),
)


class Says(torch.nn.Module):
    """A network that always says the same."""

    def __init__(self, *, images=2, offsets=0.0, logits=0.0, embeddings=None):
        super().__init__()
        count = len(ANCHORS)
        self.outputs = Outputs(
            torch.full((images, count, 3), logits),
            torch.full((images, count, 4), offsets),
            torch.zeros(images, count, 2) if embeddings is None else embeddings,
            ANCHORS,
        )

    def forward(self, images):
        return self.outputs


def batch(*clips):
    time = len(clips[0])
    return Batch(torch.zeros(len(clips), time, 3, 128, 128, dtype=torch.uint8), clips)


def losses(network, *clips, config=TINY):
    return {name: float(one) for name, one in SYSTEM.losses(network, batch(*clips), config, "all").items()}


def test_anchors_stand_for_objects_from_iou_a_half_on_and_for_identities_from_0_7_on():
    found = goals(ANCHORS, [DRAWN, targets()], TINY)
    assert found.matched.tolist() == [[1, 1, 0, 1, 0], [0] * 5]
    assert found.classes.tolist() == [[2, 2, -1, 0, -1], [-1] * 5]
    assert found.kept.tolist() == [[1, 1, 1, 1, 0], [1] * 5]
    assert found.ids.tolist() == [[7, UNKNOWN, UNKNOWN, 9, UNKNOWN], [UNKNOWN] * 5]


def test_offsets_are_those_of_the_box_coder():
    """Anchor 1 has the middle (5, 3) and 10 x 6 pixels, its object (5, 5) and 10 x 10."""
    found = goals(ANCHORS, [DRAWN], TINY)
    assert found.offsets[0, 1].tolist() == pytest.approx([0, 10 * 2 / 6, 0, 5 * math.log(10 / 6)], rel=1e-5)
    assert found.offsets[0, 3].tolist() == pytest.approx([10 * 0.6, 0, 0, 0], rel=1e-5)


def test_detection_losses_by_hand():
    """All logits 0, so every probability is .5 and every term alpha * .25 * log 2, alpha .25 or .75.

    Image 0: 3 ones and 4 * 3 - 3 = 9 zeros; image 1: 15 zeros. Three anchors are matched. The errors of the offsets
    are 0 (anchor 0); 10/3 and 5 log(5/3) (anchor 1); 6 (anchor 3): Huber with delta 1 is |error| - .5 for all of them.
    """
    found = losses(Says(), (DRAWN, targets()))
    term = 0.25 * math.log(2)
    assert found["classification"] == pytest.approx((3 * 0.25 + 24 * 0.75) * term / 3, rel=1e-5)
    errors = [10 / 3 - 0.5, 5 * math.log(5 / 3) - 0.5, 6 - 0.5]
    assert found["localisation"] == pytest.approx(sum(errors) / (4 * 3), rel=1e-5)


def test_the_right_answer_costs_almost_nothing():
    truth = targets(([0.0, 0.0, 10.0, 10.0], 1, 1))
    network = Says(images=1, logits=-20.0)
    network.outputs.logits[0, :2, 1] = 20.0
    network.outputs.offsets[0, 1] = goals(ANCHORS, [truth], TINY).offsets[0, 1]
    found = losses(network, (truth,))
    assert max(found.values()) < 1e-6


def test_an_image_without_objects_teaches_the_background_only():
    found = losses(Says(), (targets(), targets()))
    assert found["classification"] == pytest.approx(30 * 0.75 * 0.25 * math.log(2), rel=1e-5)
    assert found["localisation"] == found["triplet"] == 0


def test_triplet_loss_by_hand():
    """Object 7 is at 0 in frame 0 and at (3, 0) in frame 1, object 9 at (0, 4) in both.

    Farthest of the same object, nearest of the other: 7 (frame 0): 3, 4. 7 (frame 1): 3, 5. 9: 0, 4, twice.
    """
    embeddings = torch.zeros(2, 5, 2)
    embeddings[1, 0] = torch.tensor([3.0, 0.0])
    embeddings[:, 3] = torch.tensor([0.0, 4.0])
    embeddings[:, [1, 2, 4]] = 1000.0  # these carry no identity
    terms = [math.log1p(math.exp(0.1 + far - near)) for far, near in ((3, 4), (3, 5), (0, 4), (0, 4))]
    found = losses(Says(embeddings=embeddings), (DRAWN, DRAWN))
    assert found["triplet"] == pytest.approx(sum(terms) / 4, rel=1e-5)


def test_the_detector_stage_has_no_triplet_loss():
    batch = Batch(torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8), ((DRAWN, DRAWN),))
    names = [set(SYSTEM.losses(Says(), batch, TINY, stage)) for stage in ("detector", "joint")]
    assert names == [{"classification", "localisation"}, {"classification", "localisation", "triplet"}]


def test_triplets_are_made_within_a_clip():
    """In each clip there is one object, so there are no triplets, though the numbers of the objects differ."""
    first, second = (targets(([0.0, 0.0, 10.0, 10.0], 0, number)) for number in (1, 2))
    embeddings = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(0))
    apart = losses(Says(embeddings=embeddings), (first,), (second,))
    together = losses(Says(embeddings=embeddings), (first, second))
    assert apart["triplet"] == 0
    assert together["triplet"] > 0


def test_weights_of_the_triplet_loss():
    embeddings = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(0))
    once, thrice, none = (
        losses(
            Says(embeddings=embeddings),
            (DRAWN, DRAWN),
            config=changed(TINY, {"losses": {"triplet": weight}}),
        )
        for weight in (1.0, 3.0, 0.0)
    )
    assert thrice["triplet"] == pytest.approx(3 * once["triplet"])
    assert "triplet" not in none


def test_anchors_are_drawn_by_torchs_global_generator():
    embeddings = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(0))
    config = changed(TINY, {"losses": {"triplets": 1}})
    found = []
    for seed in (0, 0, 1, 2, 3, 4):
        torch.manual_seed(seed)
        found.append(losses(Says(embeddings=embeddings), (DRAWN, DRAWN), config=config)["triplet"])
    assert found[0] == found[1]
    assert len(set(found)) > 1
