from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align

from heads.points import box_points, mask_box, mask_points, pose_box, pose_mask
from heads.rsm import similarity

GRIDS = [(8, 0.0), (16, 7.5), (14, 6.5)]


def places(h: int, w: int, stride: float, offset: float) -> Tensor:
    """A map whose two channels are the x and y of the pixel on which each cell is centred."""
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return offset + stride * torch.stack([x, y]).double()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def blob(height: int, width: int, row: float, column: float, radius: float) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


def pose(**places: tuple[float, float]) -> np.ndarray:
    keypoints = np.zeros((15, 3))
    for joint, place in places.items():
        keypoints[int(joint[1:])] = (*place, 1)
    return keypoints


# --- boxes


@pytest.mark.parametrize(("stride", "offset"), GRIDS)
def test_box_points_lie_in_the_box_around_its_centre(stride: int, offset: float) -> None:
    boxes = torch.tensor([[100, 40, 160, 200], [33.3, 51.7, 71.2, 143.9]], dtype=torch.float64)
    for points, box in zip(
        box_points(places(30, 30, stride, offset), boxes, stride, offset), boxes, strict=True
    ):
        assert points.shape == (40, 2)
        grid = points.reshape(10, 4, 2)
        x1, y1, x2, y2 = box.tolist()
        columns = x1 + (x2 - x1) * (torch.arange(4) + 0.5) / 4
        rows = y1 + (y2 - y1) * (torch.arange(10) + 0.5) / 10
        torch.testing.assert_close(grid[..., 0], columns.double().expand(10, 4))
        torch.testing.assert_close(grid[..., 1], rows.double()[:, None].expand(10, 4))


def test_box_points_of_the_2021_code_are_four_rows_of_ten() -> None:
    points = box_points(places(20, 20, 8, 0), np.array([[20.0, 20, 120, 60]]), 8, 0, size=(4, 10))[0]
    torch.testing.assert_close(points[:10, 0], torch.arange(25, 120, 10).double())
    torch.testing.assert_close(points[::10, 1], torch.arange(25, 60, 10).double())


def test_box_points_off_the_map_are_zero() -> None:
    inside, outside = box_points(
        torch.ones(3, 5, 5), torch.tensor([[0.0, 0, 32, 32], [90, 90, 120, 120]]), 8, 0
    )
    assert (inside == 1).all()
    assert (outside == 0).all()


@pytest.mark.parametrize("size", [(10, 4), (4, 10), (1, 1)])
def test_box_points_are_those_of_roi_align(size: tuple[int, int]) -> None:
    """Boxes of all sizes, on the map, over its border, and off it."""
    rng = np.random.default_rng(3)
    corners = rng.uniform(-60, 260, (200, 2))
    boxes = torch.from_numpy(
        np.concatenate([corners, corners + rng.uniform(0, 1, (200, 2)) ** 3 * 300], axis=1)
    )
    features = noise(5, 23, 31).double()
    expected = roi_align(features[None], [boxes - 2.5], size, spatial_scale=1 / 8)
    points = torch.stack(box_points(features, boxes, 8, 2.5, size))
    torch.testing.assert_close(points, expected.flatten(2).transpose(1, 2), rtol=1e-9, atol=1e-9)
    last = features.float()[None].contiguous(memory_format=torch.channels_last)[0]
    torch.testing.assert_close(torch.stack(box_points(last, boxes, 8, 2.5, size)), points.float())


def test_no_boxes_give_no_points() -> None:
    assert box_points(torch.ones(3, 5, 5), torch.zeros(0, 4), 8, 0) == ()


@pytest.mark.parametrize("options", [{"stride": 0}, {"stride": 8, "size": (0, 4)}])
def test_a_box_grid_that_is_not_positive_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^box points: stride .* expected both > 0; check the protocol"):
        box_points(torch.ones(3, 5, 5), torch.ones(1, 4), offset=0, **options)


def test_a_box_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^box points: a box is not finite; check the detections"):
        box_points(torch.ones(3, 5, 5), torch.full((1, 4), torch.nan), 8, 0)


# --- masks


def test_mask_points_by_hand() -> None:
    features = torch.arange(2 * 3 * 4).reshape(2, 3, 4).float()
    mask = np.zeros((24, 32), dtype=bool)
    mask[8:17, 8:16] = True  # of the pixels 0, 8, 16 (24) it holds rows 8 and 16, column 8
    points, cells = mask_points(features, mask, 200)
    assert cells.nonzero().tolist() == [[1, 1], [2, 1]]
    assert points.tolist() == [[5, 17], [9, 21]]


@pytest.mark.parametrize(("stride", "offset"), GRIDS)
def test_a_cell_is_on_the_mask_if_its_centre_is(stride: int, offset: float) -> None:
    mask = blob(10 * stride, 12 * stride, 61, 73, 37)
    centres, cells = mask_points(places(10, 12, stride, offset), mask, 1000, offset=offset)
    pixel = centres.long()
    assert mask[pixel[:, 1], pixel[:, 0]].all()
    everywhere = places(10, 12, stride, offset).long().flatten(1)
    assert int(cells.sum()) == len(centres) == int(mask[everywhere[1], everywhere[0]].sum())


def test_cells_are_those_of_torch_nearest() -> None:
    for height, h in [(480, 60), (481, 61), (1080, 135), (719, 90), (37, 5), (33, 33), (50, 100), (97, 13)]:
        mask = noise(height, 3, seed=height) > 0
        expected = functional.interpolate(mask[None, None].float(), size=(h, 3), mode="nearest")[0, 0] > 0
        assert torch.equal(mask_points(torch.ones(1, h, 3), mask, 10**6)[1], expected), (height, h)


@pytest.mark.parametrize("max_points", [7, 40, 120, 199])
def test_shrinking_with_bleed_is_that_of_the_2021_code(max_points: int) -> None:
    features = noise(6, 30, 41)
    cells = blob(30, 41, 13, 22, 9.3) & (noise(30, 41, seed=1) > -1.2)
    assert cells.sum() > 200
    scale = np.sqrt(max_points / int(cells.sum()))
    dense = functional.interpolate((features * cells)[None], scale_factor=scale, mode="bilinear")[0]
    small = functional.interpolate(cells[None, None].float(), scale_factor=scale, mode="nearest")[0, 0] >= 0.5
    points, found = mask_points(features, cells, max_points, bleed=True)
    assert torch.equal(found, cells)
    torch.testing.assert_close(points, dense[:, small].T, atol=1e-5, rtol=0)
    assert 0 < len(points) <= max_points * 1.15


def test_without_bleed_the_border_keeps_the_directions_and_gets_its_length_back() -> None:
    features, cells = noise(6, 30, 41).abs() + 1, blob(30, 41, 13, 22, 9.3)
    with_bleed, without = (mask_points(features, cells, 150, bleed=bleed)[0] for bleed in (True, False))
    assert without.min() >= 1  # a mean of values >= 1; zeros would show
    read = with_bleed.any(dim=1)  # the others read only cells off the mask: see the next test
    assert 0.95 < read.float().mean() < 1
    with_bleed, without = with_bleed[read], without[read]
    lengths = with_bleed.norm(dim=1) / without.norm(dim=1)
    assert lengths.min() < 0.5
    assert lengths.max() <= 1 + 1e-6
    together = functional.cosine_similarity(with_bleed, without, dim=1)
    torch.testing.assert_close(together, torch.ones(len(without)), atol=1e-5, rtol=0)
    others = [noise(9, 6, seed=3), noise(5, 6, seed=4)]
    likeness = similarity([without], others)
    torch.testing.assert_close(similarity([with_bleed], others), likeness, atol=1e-5, rtol=0)


def test_without_bleed_a_point_that_reads_only_background_takes_its_own_cell() -> None:
    features, cells = noise(3, 16, 16), torch.zeros(16, 16, dtype=torch.bool)
    cells[::4, ::4] = True  # 16 cells; at a scale of 1/4, nearest reads cell 4i, bilinear 4i + 1 and 4i + 2
    assert (mask_points(features, cells, 1, bleed=True)[0] == 0).all()
    assert torch.equal(mask_points(features, cells, 1)[0], features[:, cells].T)


def test_a_mask_too_thin_to_shrink_gives_cells_at_even_steps() -> None:
    features = places(50, 9, 1, 0)
    line = torch.zeros(50, 9, dtype=torch.bool)
    line[:, 1] = True  # at a scale of sqrt(5 / 50), nearest reads columns 0 and 3
    points, cells = mask_points(features, line, 5)
    assert torch.equal(cells, line)
    assert points.tolist() == [[1, 0], [1, 12], [1, 24], [1, 37], [1, 49]]
    row = mask_points(places(1, 50, 1, 0), torch.ones(1, 50, dtype=torch.bool), 2)[0]  # a map of no rows
    assert row.tolist() == [[0, 0], [49, 0]]


@pytest.mark.parametrize(("stride", "offset"), GRIDS)
def test_a_mask_between_the_cells_gives_the_cell_under_its_centre(stride: int, offset: float) -> None:
    mask = torch.zeros(10 * stride, 10 * stride, dtype=torch.bool)
    row, column = (int(offset + stride * cell + 2) for cell in (4, 7))
    mask[row : row + 2, column : column + 2] = True
    points, cells = mask_points(places(10, 10, stride, offset), mask, 200, offset=offset)
    assert cells.nonzero().tolist() == [[4, 7]]
    assert points.tolist() == [[offset + stride * 7, offset + stride * 4]]


def test_a_small_mask_at_the_edge_stays_on_the_map() -> None:
    mask = torch.zeros(80, 80, dtype=torch.bool)
    mask[79, 79] = True
    assert mask_points(noise(3, 10, 10), mask, 200)[1].nonzero().tolist() == [[9, 9]]


def test_a_mask_without_pixels_gives_no_points() -> None:
    points, cells = mask_points(noise(3, 10, 10), torch.zeros(80, 80, dtype=torch.bool), 200)
    assert points.shape == (0, 3)
    assert not cells.any()


def test_max_points_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^mask points: max_points is 0, expected >= 1; check the protocol"):
        mask_points(noise(3, 4, 4), torch.ones(8, 8, dtype=torch.bool), 0)


def test_mask_box_by_hand() -> None:
    cells = torch.zeros(10, 20, dtype=torch.bool)
    cells[2:4, 5:15] = True
    # x: 5..14, mean 9.5, mean absolute deviation 2.5; y: 2 and 3, mean 2.5, deviation .5, counted as 1.
    assert mask_box(cells).tolist() == [4.5, 0.5, 14.5, 4.5]
    assert mask_box(torch.zeros(4, 4, dtype=torch.bool)).tolist() == [0, 0, 0, 0]


# --- poses


def test_one_limb_is_a_bar_with_round_ends() -> None:
    # Right knee to right ankle, 60 px down: thickness max(8, 3): 4 px to each side.
    mask = pose_mask(pose(j1=(50.9, 20.2), j0=(50, 80)), 100, 90).numpy()
    assert mask.shape == (100, 90)
    assert mask[20:81, 46:55].all()
    assert np.flatnonzero(mask.any(1))[[0, -1]].tolist() == [16, 84]
    assert np.flatnonzero(mask.any(0))[[0, -1]].tolist() == [46, 54]
    assert mask[16, 50]
    assert not mask[16, 47]


def test_limbs_grow_with_the_person_not_with_the_image() -> None:
    ends = {"j1": (300.0, 10.0), "j0": (300.0, 410.0)}  # 400 px: thickness 20
    for side in (500, 2000):
        mask = pose_mask(pose(**ends), side, side).numpy()
        assert np.flatnonzero(mask[200])[[0, -1]].tolist() == [290, 310]


def test_the_trunk_is_filled() -> None:
    square = {"j2": (20, 60), "j3": (60, 60), "j9": (60, 20), "j8": (20, 20)}
    mask = pose_mask(pose(**square), 90, 90).numpy()
    assert mask[20:61, 20:61].all()
    assert not mask[:16].any()
    # Hips and one shoulder: a triangle; hips swapped: the hull does not care.
    for hips in ((20, 60), (60, 20)):
        half = pose_mask(pose(j2=(hips[0], 80), j3=(hips[1], 80), j9=(60, 20)), 120, 90).numpy()
        assert half[70, 40]
        assert not half[30, 20]


def test_two_or_collinear_trunk_joints_fill_nothing() -> None:
    assert not pose_mask(pose(j2=(20, 60), j9=(60, 20)), 90, 90).any()  # no limb joins these two
    line = pose_mask(pose(j2=(20, 60), j3=(40, 60), j9=(60, 60)), 90, 90)  # limb 9-3 only
    assert line[60, 36:65].all()
    assert not line[:, :36].any()


def test_the_nose_is_not_drawn_and_a_missing_joint_breaks_its_limbs() -> None:
    assert not pose_mask(pose(j13=(40, 40)), 90, 90).any()
    missing = pose(j9=(20, 20), j10=(40, 40), j11=(60, 60))
    missing[10, 2] = 0
    assert not pose_mask(missing, 90, 90).any()


def test_a_whole_person_is_one_piece_within_reach_of_the_joints() -> None:
    rng = np.random.default_rng(0)
    keypoints = np.concatenate([rng.uniform(20, 180, (15, 2)), np.ones((15, 1))], axis=1)
    mask = pose_mask(torch.from_numpy(keypoints), 200, 220).numpy()
    assert label(mask, np.ones((3, 3)))[1] == 1
    x, y = keypoints[[j for j in range(15) if j != 13], :2].astype(int).T
    assert mask[y, x].all()
    assert not mask[: int(y.min()) - 4].any()


def test_a_person_partly_or_wholly_off_the_image_is_clipped() -> None:
    inside = pose_mask(pose(j1=(-30, 40), j0=(30, 40)), 60, 50)
    assert inside[40, :31].all()
    rng = np.random.default_rng(1)
    keypoints = np.concatenate([rng.integers(-80, 120, (15, 2)), np.ones((15, 1))], axis=1)
    whole = pose_mask(keypoints + np.array([100.0, 100, 0]), 250, 250)
    assert torch.equal(pose_mask(keypoints, 60, 50), whole[100:160, 100:150])
    assert not pose_mask(pose(j1=(500, 500), j0=(600, 500)), 60, 50).any()


def test_a_pose_without_joints_is_an_empty_mask_and_box() -> None:
    assert pose_mask(np.zeros((15, 3)), 30, 40).shape == (30, 40)
    assert not pose_mask(np.zeros((15, 3)), 30, 40).any()
    assert pose_box(np.zeros((15, 3))).tolist() == [0, 0, 0, 0]


def test_pose_box_spans_the_joints_that_exist() -> None:
    keypoints = pose(j1=(10.5, 40), j13=(30, 4.25), j7=(5, 5))
    keypoints[7, 2] = 0
    assert pose_box(keypoints).tolist() == [10.5, 4.25, 30, 40]
    assert pose_box(torch.from_numpy(keypoints).float()).tolist() == [10.5, 4.25, 30, 40]


def test_a_pose_of_other_joints_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^pose mask: 17 joints, expected 15; use PoseTrack's"):
        pose_mask(np.ones((17, 3)), 30, 40)


def test_a_joint_that_is_not_finite_is_refused() -> None:
    bad = pose(j1=(np.nan, 4))
    with pytest.raises(ValueError, match=r"^pose: a joint is not finite; give a joint that is missing"):
        pose_box(bad)
    bad[1, 2] = 0
    assert pose_box(bad).tolist() == [0, 0, 0, 0]
