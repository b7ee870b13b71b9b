"""Points on maps of noise that is moved: where they must be is known."""

import math

import pytest
import torch
import torch.nn.functional as F

from heads.mask import MaskOptions
from heads.point_tracks import (
    Belief,
    Nearest,
    Occlusion,
    PointState,
    SoftArgmax,
    centre,
    draw,
    match,
    nearest,
    sample,
    soft_argmax,
    step,
)

H, W, C = 20, 24, 32
NEAR = MaskOptions(radius=5, context=1, pad_start=False)
HEADS = [Nearest(), SoftArgmax(radius=3, temperature=0.05), Belief(propagation=NEAR)]
PLACES = torch.tensor([[4.0, 5.0], [10.0, 8.0], [7.0, 14.0]])


def noise(seed: int = 0) -> torch.Tensor:
    """Smooth noise, so that what lies between cells is between them."""
    fine = torch.randn(1, C, H, W, generator=torch.Generator().manual_seed(seed))
    return F.avg_pool2d(F.pad(fine, (1, 1, 1, 1), mode="circular"), 3, 1)[0]


def moved(features: torch.Tensor, right: int, down: int) -> torch.Tensor:
    return torch.roll(features, (down, right), dims=(1, 2))


def names(one: object) -> str:
    return type(one).__name__


@pytest.mark.parametrize("head", HEADS, ids=names)
def test_points_follow_the_picture(head):
    first = noise()
    state = step(PointState(), first, PLACES, head, Occlusion(min_similarity=0.9, max_cycle=1.0))
    assert torch.equal(state.places, PLACES)
    for t in range(1, 5):
        state = step(
            state, moved(first, t, t), PLACES[:0], head, Occlusion(min_similarity=0.9, max_cycle=1.0)
        )
        near = 0.5 if isinstance(head, Nearest) else 0.2  # the most alike cell is moved by up to half a cell
        torch.testing.assert_close(state.places, PLACES + t, rtol=0, atol=near)
        assert state.visible.all()


@pytest.mark.parametrize("head", HEADS, ids=names)
def test_a_point_that_is_given_later_is_found_by_the_feature_it_has_there(head):
    first, other = noise(), noise(1)
    state = step(PointState(), first, PLACES[:0], head, Occlusion())
    assert not len(state.places)
    state = step(state, first, PLACES[:1], head, Occlusion())
    state = step(state, other, PLACES[1:2], head, Occlusion())
    assert len(state.places) == 2
    state = step(state, moved(other, 2, 1), PLACES[:0], head, Occlusion())
    torch.testing.assert_close(state.places[1], PLACES[1] + torch.tensor([2.0, 1.0]), rtol=0, atol=0.2)


@pytest.mark.parametrize(
    "occlusion", [Occlusion(min_similarity=0.8), Occlusion(max_cycle=1.0)], ids=["cosine", "cycle"]
)
@pytest.mark.parametrize("head", HEADS, ids=names)
def test_a_point_whose_place_is_painted_over_is_occluded(head, occlusion):
    first = noise()
    covered = first.clone()
    covered[:, 3:8, 2:7] = noise(2)[:, 3:8, 2:7]
    state = step(PointState(), first, PLACES, head, occlusion)
    state = step(state, covered, PLACES[:0], head, occlusion)
    assert state.visible.tolist() == [False, True, True]
    state = step(state, first, PLACES[:0], head, occlusion)
    assert state.visible.tolist() == [True, True, True]


def test_without_a_limit_every_point_is_visible_and_no_map_is_kept():
    state = step(PointState(), noise(), PLACES, Nearest(), Occlusion())
    assert state.given[0].keys is None
    assert step(state, noise(3), PLACES[:0], Nearest(), Occlusion()).visible.all()


@pytest.mark.parametrize("head", HEADS, ids=names)
def test_memory_does_not_grow_with_the_frames(head):
    def held(state: PointState) -> int:
        tensors = [state.features, state.places, *(one.keys for one in state.given)]
        for one in state.given:
            if one.beliefs is not None:
                past = (one.beliefs.now, *one.beliefs.kept, *one.beliefs.recent)
                tensors += [tensor for frame in past for tensor in (frame.features, frame.labels)]
        return sum(tensor.numel() for tensor in tensors)

    state, sizes = PointState(), []
    for t in range(12):
        state = step(
            state, moved(noise(), t, 0), PLACES if t == 0 else PLACES[:0], head, Occlusion(max_cycle=1.0)
        )
        sizes.append(held(state))
    assert len(set(sizes[3:])) == 1


def test_a_parabola_is_found_between_cells():
    x, y = torch.arange(W)[None, :], torch.arange(H)[:, None]
    tops = [(5.3, 7.8), (11.0, 3.5), (0.0, 0.0), (W - 1.0, H - 1.0)]
    maps = torch.stack([1 - 0.01 * ((x - a) ** 2 + (y - b) ** 2) for a, b in tops])
    torch.testing.assert_close(nearest(maps), torch.tensor(tops), rtol=0, atol=1e-3)


def test_a_plateau_and_a_border_are_not_left():
    maps = torch.zeros(2, H, W)
    maps[1, 4, 0] = 1.0
    assert nearest(maps).tolist() == [[0, 0], [0, 4]]


def test_the_soft_argmax_is_the_weighted_mean_of_the_cells_around():
    maps = torch.full((1, H, W), -5.0)
    maps[0, 6, 9], maps[0, 6, 10], maps[0, 7, 9], maps[0, 6, 20] = 1.0, 0.9, 0.8, 0.99
    weights = [math.exp(value / 0.1) for value in (1.0, 0.9, 0.8)]
    expected = [9 + weights[1] / sum(weights), 6 + weights[2] / sum(weights)]
    found = soft_argmax(maps, SoftArgmax(radius=2, temperature=0.1))
    assert found[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_a_gaussian_comes_back_to_where_it_was_drawn_between_cells():
    places = torch.tensor([[3.3, 4.8], [10.5, 9.1], [0.0, 19.0]])
    maps = draw(places, H, W, sigma=0.5)
    torch.testing.assert_close(centre(maps, 3)[:2], places[:2], rtol=0, atol=0.03)
    torch.testing.assert_close(centre(maps, 3)[2], places[2], rtol=0, atol=0.3)  # half of it is off the map
    assert centre(torch.zeros(1, H, W), 3).tolist() == [[0, 0]]


def test_features_between_cells_are_between_theirs():
    keys = noise()
    found = sample(keys, torch.tensor([[4.25, 6.0], [-3.0, 99.0]]))
    between = 0.75 * keys[:, 6, 4] + 0.25 * keys[:, 6, 5]
    torch.testing.assert_close(found[0], F.normalize(between, dim=0))
    torch.testing.assert_close(found[1], F.normalize(keys[:, H - 1, 0], dim=0))


def test_points_are_matched_in_parts_as_together(monkeypatch):
    keys = F.normalize(noise(), dim=0)
    features = sample(keys, torch.rand(50, 2) * torch.tensor([W - 1.0, H - 1.0]))
    whole = match(features, keys, Nearest())
    monkeypatch.setattr("heads.point_tracks.CHUNK", 7)
    torch.testing.assert_close(match(features, keys, Nearest()), whole)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftArgmax(radius=0), "point tracks: radius 0, expected more than 0"),
        (lambda: SoftArgmax(temperature=-1.0), "temperature -1.0, expected more than 0"),
        (lambda: Belief(sigma=0.0), "sigma 0.0, expected more than 0"),
        (
            lambda: step(PointState(), noise() * math.nan, PLACES, Nearest(), Occlusion()),
            "features are not finite",
        ),
        (
            lambda: step(
                step(PointState(), noise(), PLACES, Nearest(), Occlusion()),
                noise()[:8],
                PLACES[:0],
                Nearest(),
                Occlusion(),
            ),
            "a frame has 8 channels, expected 32 as before",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
