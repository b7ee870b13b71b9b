import pytest
import torch
from torch.nn import functional as F

from unibench.joint.retinatrack import SYSTEM
from unibench.joint.retinatrack.config import VARIANTS, changed
from unibench.joint.system import UNKNOWN, Batch, Targets
from unibench.joint.training import config as configs
from unibench.joint.training import pretrained

TINY = configs.read("tiny", SYSTEM)
PAPER = configs.read("paper", SYSTEM)
BODY = 23_508_032  # ResNet-50 without its classifier
PYRAMID = (512 + 1024 + 2048 + 3) * 256 + 5 * (9 * 256 * 256 + 256)  # three 1x1, five 3x3 convolutions
CONV, NORMS = 9 * 256 * 256, 5 * 2 * 256  # without bias; of five levels, scale and shift


def last(outputs):
    return 9 * 256 * outputs + outputs


def count(network):
    return sum(one.numel() for one in network.parameters())


def build(config, place="cpu"):
    torch.manual_seed(0)
    with torch.device(place):
        return SYSTEM.build(config)


def variant(name, config=TINY):
    return changed(config, VARIANTS[name])


def a_batch(clips=2, time=2, seed=0):
    """Each clip shows an object of each level of the pyramid; they move by two pixels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (clips, time, 3, 128, 128), dtype=torch.uint8, generator=generator)
    boxes = torch.tensor([[10.0, 10.0, 40.0, 40.0], [60.0, 50.0, 120.0, 105.0], [5.0, 8.0, 115.0, 110.0]])
    nothing = torch.zeros(0, 4)
    targets = tuple(
        tuple(
            Targets(boxes + 2 * t, torch.tensor([0, 2, 1]), torch.arange(3), torch.zeros(3, 0), nothing)
            for t in range(time)
        )
        for _ in range(clips)
    )
    return Batch(images, targets)


def test_the_papers_network_has_the_parameters_that_the_paper_implies():
    """m1 = 3 convolutions for each of K = 6 shapes; one each for class and box; m3 = 2 of 1x1 for the embedding."""
    with torch.device("meta"):
        network = SYSTEM.build(PAPER)
    shared = 3 * 6 * (CONV + NORMS)
    tasks = 2 * (CONV + NORMS) + last(1) + last(4)
    embedding = 256 * 256 + NORMS + 256 * 256 + 256
    assert count(network) == BODY + PYRAMID + shared + tasks + embedding == 39_369_797


@pytest.mark.parametrize(
    ("name", "convolutions", "outputs", "embedding"),
    [
        ("retinatrack-1-3", 6 + 2 * 3, 5, 2),
        ("retinatrack-2-2", 2 * 6 + 2 * 2, 5, 2),
        ("retinatrack-m3-0", 3 * 6 + 2, 5, 0),
        ("retinatrack-m3-4", 3 * 6 + 2, 5, 4),
        ("retinatrack-without-triplet", 3 * 6 + 2, 5, 0),
        ("retinanet-unshared", 2 * 4, 30, 0),
        ("retinanet-shared", 4, 30, 0),
        ("retinanet*-unshared", 2 * 4, 30, 2),
        ("retinanet*-shared", 4, 30, 2),
        ("retinanet-k1-unshared", 2 * 4, 5, 2),
        ("retinanet-k1-shared", 4, 5, 2),
    ],
)
def test_the_ablations_have_the_convolutions_of_the_papers_tables(name, convolutions, outputs, embedding):
    """3x3 convolutions with batch norms, outputs of the last ones together, 1x1 convolutions of the embedding."""
    with torch.device("meta"):
        network = SYSTEM.build(variant(name, PAPER))
    ones = embedding * 256 * 256 + max(0, embedding - 1) * NORMS + bool(embedding) * 256
    assert count(network.head) == convolutions * (CONV + NORMS) + last(outputs) + ones
    assert set(VARIANTS) - {"retinatrack"} >= {name}


def test_the_papers_outputs_have_the_shapes_that_the_paper_implies():
    """1024 x 1024 pixels, levels of stride 8 to 128, six anchors a cell."""
    with torch.device("meta"):
        outputs = SYSTEM.build(PAPER)(torch.zeros(1, 3, 1024, 1024))
    anchors = 6 * (128**2 + 64**2 + 32**2 + 16**2 + 8**2)
    assert outputs.logits.shape == (1, anchors, 1)
    assert outputs.offsets.shape == (1, anchors, 4)
    assert outputs.embeddings.shape == (1, anchors, 256)
    assert outputs.anchors.shape == (anchors, 4)


def test_gradients_reach_every_parameter():
    for name in VARIANTS:
        config = variant(name)
        network = build(config)
        sum(SYSTEM.losses(network, a_batch(), config, "all").values()).backward()
        missing = [key for key, one in network.named_parameters() if one.grad is None or not one.grad.any()]
        assert missing == [], name


def test_anchor_shapes_have_features_of_their_own_only_behind_the_split():
    """RetinaNet*: colliding anchors share the embedding. RetinaTrack: each has its own."""
    images = a_batch().images[:, 0]
    for name, alike in (("retinatrack", False), ("retinanet*-shared", True), ("retinanet*-unshared", True)):
        config = variant(name)
        embeddings = build(config)(images).embeddings
        cells = embeddings.reshape(2, -1, config.anchors.count, embeddings.shape[2])
        assert torch.equal(cells, cells[:, :, :1].expand_as(cells)) == alike, name


def test_a_change_of_one_shapes_parameters_changes_the_outputs_of_that_shape_alone():
    network = build(TINY).eval()
    images = a_batch().images[:1, 0]
    before = network(images)
    width = TINY.network.channels
    with torch.no_grad():
        network.head.shared.blocks[1].conv.weight[2 * width : 3 * width] += 1
    after = network(images)
    for one in ("logits", "offsets", "embeddings"):
        moved = (getattr(before, one) != getattr(after, one)).any(dim=2)[0].reshape(-1, 6).any(dim=0)
        assert moved.tolist() == [False, False, True, False, False, False], one


def test_rows_of_the_outputs_stand_for_the_anchors_of_the_same_row():
    """An impulse in one cell of one level moves the outputs of anchors nearby only."""
    network = build(variant("retinatrack-1-3")).eval()
    maps = [torch.zeros(1, 32, 16, 16), torch.zeros(1, 32, 16, 16)]
    maps[1][0, :, 3, 9] = 1.0
    before, after = (network.head(one, 0)[0][0] for one in maps)
    moved = (before != after).any(dim=1).reshape(16, 16, 6)
    rows, columns, shapes = moved.nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 8, 4, 14)  # five 3x3 in a row
    assert shapes.unique().tolist() == [0, 1, 2, 3, 4, 5]


def test_an_untrained_network_believes_in_the_prior():
    scores = build(TINY).eval()(a_batch().images[:, 0]).logits.detach().sigmoid()
    assert scores.median().item() == pytest.approx(TINY.network.prior, rel=0.2)


def test_every_level_has_batch_statistics_of_its_own():
    network = build(TINY).train()
    network(a_batch().images.flatten(0, 1))
    for block in (*network.head.shared.blocks, *network.head.classification.blocks):
        means = torch.stack([one.running_mean for one in block.norm.norms])
        assert len(means) == 3
        assert len({tuple(row.tolist()) for row in means}) == 3
        assert means.abs().sum(dim=1).min() > 0


def test_the_statistics_of_a_level_are_those_of_its_maps():
    network = build(TINY).train()
    maps = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(0))
    block = network.head.shared.blocks[0]
    raw = F.conv2d(maps, block.conv.weight, padding=1)
    network.head(maps, 1)
    torch.testing.assert_close(block.norm.norms[1].running_mean, 0.1 * raw.mean(dim=(0, 2, 3)))
    assert not block.norm.norms[0].running_mean.any()
    assert not block.norm.norms[2].running_mean.any()


def test_unknown_identities_take_no_part():
    batch = a_batch()
    nobody = [[_without_ids(one) for one in clip] for clip in batch.targets]
    terms = SYSTEM.losses(build(TINY), Batch(batch.images, tuple(map(tuple, nobody))), TINY, "all")
    assert terms["triplet"] == 0
    assert terms["classification"] > 0


def _without_ids(one):
    return Targets(one.boxes, one.classes, torch.full_like(one.ids, UNKNOWN), one.embeddings, one.ignored)


def test_towers_begin_as_copies_of_those_of_torchvisions_retinanet(tmp_path):
    """Four convolutions a task there; the first three become the task-shared ones of every anchor shape."""
    held = {
        f"head.{task}_head.conv.{index}.0.weight": torch.randn(32, 32, 3, 3)
        for task in ("classification", "regression")
        for index in range(4)
    }
    torch.save(held, tmp_path / "retinanet.pt")
    network = build(TINY)
    report = pretrained.start(network, tmp_path / "retinanet.pt")
    assert [one.partition(" <- ")[2] for one in report.replicated] == [
        f"6 x head.classification_head.conv.{index}.0.weight" for index in range(3)
    ]
    shared = network.head.shared.blocks[1].conv.weight.reshape(6, 32, 32, 3, 3)
    for own in shared:
        assert torch.equal(own, held["head.classification_head.conv.1.0.weight"])
    for task, there in (
        (network.head.classification, "classification"),
        (network.head.localisation, "regression"),
    ):
        assert torch.equal(task.blocks[0].conv.weight, held[f"head.{there}_head.conv.3.0.weight"])
    assert set(report.left_over) == {f"head.regression_head.conv.{index}.0.weight" for index in range(3)}
