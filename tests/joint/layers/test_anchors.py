import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator

from unibench.geometry.boxes import iou
from unibench.joint.layers import anchors as module
from unibench.joint.layers.anchors import BACKGROUND, IGNORED, AnchorOptions, assign, grid

RETINATRACK = AnchorOptions(ratios=(1.0, 2.0, 0.5), scales=(1.0, 2**0.5))
TDT = AnchorOptions(ratios=(0.25, 0.5, 1.0), scales=(1.0, 2 ** (1 / 3), 2 ** (2 / 3)))


def centres_and_sizes(anchors):
    return (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]


def test_six_anchors_of_retinatrack_by_hand():
    (level,) = grid([(2, 3)], [8], RETINATRACK)
    centres, sizes = centres_and_sizes(level)
    assert level.shape == (2 * 3 * 6, 4)
    # Cells' centres, row by row; the six of a cell stand together.
    cells = [(4, 4), (12, 4), (20, 4), (4, 12), (12, 12), (20, 12)]
    torch.testing.assert_close(centres, torch.tensor(cells).repeat_interleave(6, dim=0).float())
    # 4 strides of 8 pixels: 32; the second scale sqrt(2) times that; the ratio parts sqrt(2) each way.
    expected = [(32, 32), (45.2548, 45.2548), (45.2548, 22.6274), (64, 32), (22.6274, 45.2548), (32, 64)]
    torch.testing.assert_close(sizes[:6], torch.tensor(expected, dtype=torch.float32))
    torch.testing.assert_close(sizes, sizes[:6].repeat(6, 1))


def test_nine_anchors_of_tdt_by_hand():
    fine, coarse = grid([(1, 1), (1, 1)], [8, 128], TDT)
    centres, sizes = centres_and_sizes(coarse)
    torch.testing.assert_close(centres, torch.full((9, 2), 64.0))
    # Side 4 * 128 = 512: a quarter as wide as high is 256 x 1024; half as wide 362.04 x 724.08.
    expected = torch.tensor([[256, 1024], [362.0387, 724.0773], [512, 512]]).repeat_interleave(3, dim=0)
    factors = torch.tensor([1, 1.259921, 1.587401]).repeat(3)[:, None]
    torch.testing.assert_close(sizes, expected * factors)
    torch.testing.assert_close(centres_and_sizes(fine)[1] * 16, sizes)


def test_anchors_are_those_of_torchvisions_retinanet_up_to_half_a_cell():
    options = AnchorOptions(ratios=(2.0, 1.0, 0.5), scales=(1.0, 2 ** (1 / 3), 2 ** (2 / 3)))
    sizes = [32.0, 32 * 2 ** (1 / 3), 32 * 2 ** (2 / 3)]
    theirs = AnchorGenerator(((1,),)).generate_anchors(sizes, [0.5, 1.0, 2.0])  # height / width; rounded
    (ours,) = grid([(1, 1)], [8], options)
    torch.testing.assert_close(ours - 4, theirs, rtol=0, atol=0.5)


def test_anchors_know_their_levels_and_their_device():
    levels = grid(
        [(112, 112), (56, 56), (28, 28), (14, 14), (7, 7)], [8, 16, 32, 64, 128], RETINATRACK, "meta"
    )
    assert sum(map(len, levels)) == 100254
    assert {level.device.type for level in levels} == {"meta"}
    with pytest.raises(ValueError, match="shorter"):
        grid([(4, 4), (2, 2)], [8], RETINATRACK)


# A row of unit squares, 10 wide: anchor i reaches from 10 i to 10 i + 10.
ROW = torch.tensor([[10.0 * i, 0, 10.0 * i + 10, 10] for i in range(6)])


def test_assignment_on_a_drawn_example():
    """
    anchors   |    0    |    1    |    2    |    3    |    4    |    5    |
    objects     [  A   ]     [    B    ]                    [C]
              0        10        20        30        40        50        60
    """
    truth = torch.tensor([[2.0, 0, 10, 10], [15.0, 0, 25, 10], [47.0, 0, 50, 10]])
    overlap = iou(ROW, truth)
    torch.testing.assert_close(overlap[:, 0], torch.tensor([0.8, 0, 0, 0, 0, 0]))
    torch.testing.assert_close(overlap[:, 1], torch.tensor([0, 1 / 3, 1 / 3, 0, 0, 0]))
    torch.testing.assert_close(overlap[:, 2], torch.tensor([0, 0, 0, 0, 0.3, 0]))

    # A is overlapped enough. B and C are not: each gets its best anchor, B the first of two equal ones.
    assert assign(ROW, truth, threshold=0.5).tolist() == [0, 1, -1, -1, 2, -1]
    assert assign(ROW, truth, threshold=0.5, force_best=False).tolist() == [0, -1, -1, -1, -1, -1]
    assert assign(ROW, truth, threshold=0.3).tolist() == [0, 1, 1, -1, 2, -1]


def test_an_anchor_stands_for_the_object_that_it_overlaps_most_and_of_two_equal_ones_for_the_first():
    truth = torch.tensor([[0.0, 0, 10, 6], [0.0, 0, 10, 8], [0.0, 0, 10, 8]])
    assert assign(ROW[:2], truth, threshold=0.5, force_best=False).tolist() == [1, BACKGROUND]


def test_the_threshold_itself_is_enough():
    half = torch.tensor([[0.0, 0, 10, 5]])
    assert assign(ROW[:2], half, threshold=0.5, force_best=False).tolist() == [0, BACKGROUND]
    assert assign(ROW[:2], half, threshold=0.51, force_best=False).tolist() == [BACKGROUND, BACKGROUND]


def test_of_two_objects_with_one_best_anchor_the_nearer_gets_it():
    far, near = [0.0, 0, 10, 2], [0.0, 0, 10, 4]
    for truth, expected in (([far, near], 1), ([near, far], 0), ([near, near], 0)):
        assert assign(ROW[:2], torch.tensor(truth), threshold=0.5).tolist() == [expected, BACKGROUND]


def test_a_forced_match_wins_against_one_over_the_threshold():
    anchors = torch.tensor([[0.0, 0, 10, 10], [4.0, 0, 14, 10]])
    truth = torch.tensor(
        [[1.0, 0, 11, 10], [12.0, 0, 22, 10]]
    )  # the second overlaps anchor 1 alone, a little
    assert assign(anchors, truth, threshold=0.5, force_best=False).tolist() == [0, 0]
    assert assign(anchors, truth, threshold=0.5).tolist() == [0, 1]


def test_an_object_that_overlaps_no_anchor_gets_none():
    truth = torch.tensor([[500.0, 500, 510, 510], [2.0, 0, 2, 10], [0.0, 0, 10, 10]])
    assert assign(ROW, truth, threshold=0.5).tolist() == [2, -1, -1, -1, -1, -1]


def test_without_objects_everything_is_background():
    none = torch.zeros(0, 4)
    assert assign(ROW, none, threshold=0.5).tolist() == [BACKGROUND] * 6
    assert assign(ROW, none, threshold=0.5, ignored=none).tolist() == [BACKGROUND] * 6
    assert assign(none, ROW, threshold=0.5).tolist() == []


def test_background_within_an_ignored_region_does_not_count():
    truth = torch.tensor([[10.0, 0, 20, 10]])
    ignored = torch.tensor([[0.0, 0, 35, 10], [44.0, 0, 50, 5]])
    # Anchor 1 stays an object, anchor 3 lies half in the first region, anchor 4 only three tenths in the second.
    expected = [IGNORED, 0, IGNORED, IGNORED, BACKGROUND, BACKGROUND]
    assert assign(ROW, truth, threshold=0.5, ignored=ignored).tolist() == expected
    # A best match counts wherever it lies.
    small = torch.tensor([[20.0, 0, 22, 10]])
    assert assign(ROW, small, threshold=0.5, ignored=ignored).tolist()[2] == 0


@pytest.mark.parametrize("ignored", [None, 5])
def test_assignment_does_not_depend_on_how_it_is_cut(monkeypatch, ignored):
    generator = torch.Generator().manual_seed(3)
    anchors = torch.cat(grid([(16, 16), (8, 8)], [8, 16], RETINATRACK))
    corner = (torch.rand(40, 2, generator=generator) * 110).round()
    truth = torch.cat([corner, corner + 8 * torch.randint(1, 8, (40, 2), generator=generator)], dim=1)
    regions = None if ignored is None else truth[:ignored] + 3
    whole = assign(anchors, truth, threshold=0.5, ignored=regions)
    monkeypatch.setattr(module, "PAIRS", 40 * 7)
    assert torch.equal(assign(anchors, truth, threshold=0.5, ignored=regions), whole)

    overlap = iou(anchors, truth)
    forced = {}  # anchor -> object, by plain loops
    for index in range(40):
        anchor = int(overlap[:, index].argmax())
        rival = forced.get(anchor)
        if rival is None or overlap[anchor, index] > overlap[anchor, rival]:
            forced[anchor] = index
    for anchor, found in enumerate(whole.tolist()):
        best = int(overlap[anchor].argmax())
        enough = best if overlap[anchor, best] >= 0.5 else BACKGROUND
        assert found == forced.get(anchor, enough) or (found == IGNORED and enough == BACKGROUND)
