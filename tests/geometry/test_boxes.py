import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from torchvision.ops import box_iou

from unibench.geometry.box_tensors import area
from unibench.geometry.boxes import iou, paired_iou


def drawn(count, seed):
    """Boxes of which some overlap; a few are empty."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 100, (count, 2))
    sides = rng.uniform(0, 60, (count, 2))
    sides[::7] = 0
    return np.concatenate([corners, corners + sides], axis=1)


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_overlap_by_hand(kind):
    first = kind([[0.0, 0, 4, 4], [10.0, 10, 12, 12]])
    second = kind([[0.0, 0, 4, 4], [2.0, 0, 6, 4], [4.0, 0, 8, 4], [1.0, 1, 3, 3]])
    expected = [[1, 8 / 24, 0, 4 / 16], [0, 0, 0, 0]]
    np.testing.assert_allclose(iou(first, second), expected, rtol=1e-6)
    share = [[1, 8 / 16, 0, 4 / 16], [0, 0, 0, 0]]
    np.testing.assert_allclose(iou(first, second, over_first=True), share, rtol=1e-6)


def test_overlap_is_torchvisions_to_the_bit():
    generator = torch.Generator().manual_seed(4)
    first, second = (torch.rand(count, 4, generator=generator) * 100 for count in (300, 70))
    first[:, 2:] += first[:, :2]
    second[:, 2:] += second[:, :2]
    assert torch.equal(iou(first, second), box_iou(first, second))


def test_two_empty_boxes_do_not_overlap():
    empty = torch.tensor([[3.0, 3, 3, 3]])
    assert iou(empty, empty).item() == 0
    assert iou(empty, torch.zeros(0, 4)).shape == (1, 0)
    nothing = np.zeros((0, 4))
    assert iou(nothing, nothing).shape == (0, 0)
    assert iou(np.ones((2, 4)), nothing).shape == (2, 0)


@pytest.mark.parametrize("over_first", [False, True])
def test_overlap_of_arrays_is_that_of_coco_to_the_bit_and_that_of_tensors_to_rounding(over_first):
    first, second = drawn(60, 0), drawn(40, 1)
    sides = [np.concatenate([one[:, :2], one[:, 2:] - one[:, :2]], axis=1) for one in (first, second)]
    found = iou(first, second, over_first=over_first)
    np.testing.assert_array_equal(found, coco.iou(*sides, [int(over_first)] * len(second)))
    tensors = iou(torch.from_numpy(first), torch.from_numpy(second), over_first=over_first)
    assert tensors.dtype == torch.float64
    np.testing.assert_allclose(tensors.numpy(), found, atol=1e-12)
    assert 0.01 < (found > 0).mean() < 0.9


def test_paired_overlap_is_the_diagonal():
    first, second = drawn(60, 0), drawn(60, 1)
    np.testing.assert_allclose(paired_iou(first, second), np.diag(iou(first, second)), atol=1e-12)
    backwards = np.array([[4.0, 4, 0, 0]])
    assert paired_iou(backwards, first[:1]).tolist() == [0]


def test_areas():
    assert area(torch.tensor([[1.0, 2, 4, 6], [3, 3, 3, 9]])).tolist() == [12, 0]
