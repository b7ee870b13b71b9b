import math

import pytest
import torch

from heads.mask import MaskOptions
from heads.pose import decode, decode_people, encode, encode_people, propagate


def pose(*places: tuple[float, float]) -> torch.Tensor:
    return torch.tensor([(x, y, 1.0) for x, y in places])


def test_a_joint_is_a_gaussian_of_peak_one_cut_off_at_three_sigma():
    maps = encode(pose((5, 3)), 8, 12)
    expected = torch.zeros(8, 12)
    for y in (2, 3, 4):  # sigma 0.5: one cell lies within 1.5 cells on either side
        for x in (4, 5, 6):
            expected[y, x] = math.exp(-((x - 5) ** 2 + (y - 3) ** 2) / 0.5)
    torch.testing.assert_close(maps[0], expected)
    torch.testing.assert_close(maps[1], (expected == 0).float())


@pytest.mark.parametrize(
    ("width", "reach"),
    [(30, 1), (60, 2), (80, 3)],  # sigma 0.5, 0.9, 1.2 -> 3 sigma 1.5, 2.7, 3.6
)
def test_sigma_grows_with_the_pose(width, reach):
    maps = encode(pose((10, 10), (10 + width, 12)), 24, 120)
    assert (maps[0, 10] > 0).sum() == 2 * reach + 1
    sigma = max(0.5, 0.015 * width)
    assert maps[0, 10, 10].item() == 1
    assert maps[0, 10, 11].item() == pytest.approx(math.exp(-1 / (2 * sigma**2)))


def test_joints_without_a_label_have_an_empty_map_and_no_say_in_sigma():
    keypoints = torch.tensor([[4.0, 4.0, 1.0], [200.0, 4.0, 0.0], [math.nan, 2.0, 1.0]])
    maps = encode(keypoints, 8, 8)
    assert (maps[0] > 0).sum() == 9
    assert not maps[1:3].any()
    assert decode(maps)[1:].tolist() == [[-1, -1], [-1, -1]]


def test_joints_off_the_map_keep_only_what_lies_on_it():
    maps = encode(pose((-1, 4), (20, 4)), 8, 8)
    assert maps[0, 4].nonzero().flatten().tolist() == [0]
    assert maps[0, 4, 0].item() == pytest.approx(math.exp(-2))
    assert not maps[1].any()


def test_decoding_is_the_mean_of_the_three_best_cells_weighted_by_value():
    maps = torch.zeros(2, 5, 6)
    maps[0, 1, 2], maps[0, 1, 3], maps[0, 4, 2], maps[0, 0, 0] = 0.6, 0.3, 0.1, 0.05
    maps[1] = 1  # the background takes no part
    assert decode(maps)[0].tolist() == pytest.approx([2.3, 1.3])


def test_an_empty_map_decodes_to_minus_one():
    assert decode(torch.zeros(4, 5, 6)).tolist() == [[-1, -1]] * 3


def test_maps_smaller_than_three_cells_decode():
    assert decode(torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])).tolist() == [[0.5, 0.0]]


def test_a_joint_on_a_cell_comes_back_to_within_a_third_of_a_cell():
    # The two best neighbours tie, and both may lie on the same side: the published rule is biased by at most this.
    places = pose((3, 2), (7, 5), (9, 9))
    error = decode(encode(places, 12, 12)) - places[:, :2]
    assert error.abs().max() <= 0.22
    assert decode(encode(pose((0.4, 2.6)), 12, 12))[0].tolist() == pytest.approx([0, 3], abs=0.22)


def test_people_keep_their_own_maps():
    people = torch.stack([pose((2, 2), (9, 9)), pose((5, 7), (30, 3))])
    maps = encode_people(people, 12, 12)
    assert maps.shape == (6, 12, 12)
    torch.testing.assert_close(maps[3:], encode(people[1], 12, 12))
    back = decode_people(maps, 2)
    torch.testing.assert_close(back[0, :, :2], decode(maps[:3]))
    assert back[0, :, 2].tolist() == [1, 1]
    assert back[1, 1].tolist() == [-1, -1, 0]


def test_keypoints_follow_a_moving_pattern():
    canvas = torch.randn(32, 16, 30, generator=torch.Generator().manual_seed(0))
    people = torch.stack([pose((6, 4), (10, 9)), pose((12, 12), (5, 11))])
    first, *_, last = propagate([canvas.roll(3 * t, dims=2) for t in range(5)], people, MaskOptions(topk=1))
    torch.testing.assert_close(last[..., 0], first[..., 0] + 12)
    torch.testing.assert_close(last[..., 1], first[..., 1])


def test_nobody_to_follow_is_an_error():
    with pytest.raises(ValueError, match=r"no person in the keypoints of frame 0, expected 1 or more"):
        list(propagate(iter([torch.ones(2, 4, 4)]), torch.zeros(0, 15, 3)))


def test_no_frames_give_no_poses():
    assert list(propagate(iter([]), torch.ones(1, 15, 3))) == []
