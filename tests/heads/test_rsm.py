from collections.abc import Sequence
from pathlib import Path
from time import process_time

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from heads import rsm
from heads.rsm import VARIANTS, similarity

Case = tuple[str, list[Tensor], list[Tensor], Tensor]
RECONSTRUCTIVE = ("paper", "as-coded", "mass")


def objects(sizes: Sequence[int], seed: int, channels: int = 16) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(size, channels, generator=generator) for size in sizes]


def cosine(first: Tensor, second: Tensor) -> Tensor:
    return functional.cosine_similarity(first.flatten(), second.flatten(), dim=0, eps=1e-24)


def by_the_book(tracks: list[Tensor], detections: list[Tensor], variant: str = "paper") -> Tensor:
    """Equation 2 pair by pair, with the reconstructions written out (and the padding, if it is as coded)."""
    if variant == "as-coded":
        tracks, detections = (list(torch.nn.utils.rnn.pad_sequence(s, True)) for s in (tracks, detections))
    tracks, detections = ([functional.normalize(p, dim=1) for p in s] for s in (tracks, detections))
    affinity = 100 * torch.cat(tracks) @ torch.cat(detections).T
    result = affinity.new_zeros(len(tracks), len(detections))
    for (i, t), (j, d) in ((a, b) for a in enumerate(tracks) for b in enumerate(detections)):
        rows = slice(start := sum(map(len, tracks[:i])), start + len(t))
        columns = slice(start := sum(map(len, detections[:j])), start + len(d))
        attention = affinity.softmax(1)[rows, columns], affinity.T.softmax(1)[columns, rows]
        masses = [a.sum(1).mean() if variant == "mass" else 1 for a in attention]
        pair = masses[0] * cosine(attention[0] @ d, t) + masses[1] * cosine(attention[1] @ t, d)
        result[i, j] = pair / 2
    return result


@pytest.fixture(params=["rsm_box", "rsm_ragged"])
def case(request: pytest.FixtureRequest, gold: Path) -> Case:
    with np.load(gold / "unitrack_primitives" / f"{request.param}.npz") as file:
        sides = [
            [
                torch.from_numpy(file[key].T)
                for key in sorted(k for k in file.files if k[0] == side and k[1:].isdigit())
            ]
            for side in "td"
        ]
        return request.param, sides[0], sides[1], torch.from_numpy(file["cost"])


def test_as_coded_gives_the_costs_of_the_2021_code(case: Case) -> None:
    _, tracks, detections, cost = case
    assert (1 - similarity(tracks, detections, "as-coded") - cost).abs().max() <= 1e-5


def test_paper_differs_from_the_2021_code_only_by_its_padding(case: Case) -> None:
    name, tracks, detections, cost = case
    gap = (1 - similarity(tracks, detections) - cost).abs().max()
    if name == "rsm_box":
        assert gap <= 1e-5
    else:
        assert len({len(points) for points in (*tracks, *detections)}) > 1
        assert 1e-3 < gap < 1e-2


@pytest.mark.parametrize("variant", RECONSTRUCTIVE)
@pytest.mark.parametrize("sizes", [([3, 3], [3, 3, 3]), ([1, 5, 2], [4, 7]), ([6], [1]), ([2, 9], [5, 5])])
@pytest.mark.parametrize("spread", [0.05, 0.4, 3.0])
def test_equals_the_written_out_formula(
    variant: str, sizes: tuple[list[int], list[int]], spread: float
) -> None:
    base = objects([1], seed=5)[0].double()
    tracks, detections = (
        [base + spread * points.double() for points in objects(side, seed)] for seed, side in enumerate(sizes)
    )
    found = similarity(tracks, detections, variant)
    torch.testing.assert_close(found, by_the_book(tracks, detections, variant), atol=1e-9, rtol=0)
    single = similarity([p.float() for p in tracks], [p.float() for p in detections], variant)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), found, atol=2e-5, rtol=0)


@pytest.mark.parametrize("variant", RECONSTRUCTIVE)
@pytest.mark.parametrize("seed", range(3))
def test_many_ragged_objects_equal_the_formula(variant: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    common = objects([1], seed=5, channels=64)[0]
    tracks, detections = (
        [common + points for points in objects(rng.integers(1, 40, count).tolist(), seed + side, channels=64)]
        for side, count in ((10, 12), (20, 1 + 7 * seed))
    )
    found = similarity(tracks, detections, variant)
    doubles = ([points.double() for points in side] for side in (tracks, detections))
    torch.testing.assert_close(found.double(), by_the_book(*doubles, variant), atol=1e-5, rtol=0)


def test_equal_sizes_have_no_padding_to_take_part() -> None:
    tracks, detections = objects([4] * 3, 0), objects([6] * 5, 1)
    paper, coded = (similarity(tracks, detections, variant) for variant in ("paper", "as-coded"))
    assert torch.equal(paper, coded)


def test_single_points_by_hand() -> None:
    # Track along x; detections along x and y: logits 100 and 0, so all attention goes to the first.
    x, y = torch.eye(2)[:1], torch.eye(2)[1:]
    found = similarity([x], [5 * x, 2 * y], "paper")
    # Rebuilding y from its only source x gives x: cosine 0 in both directions.
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0]]))


def test_two_points_attended_evenly_by_hand() -> None:
    # A point halfway between two others attends evenly to both and is rebuilt exactly in direction;
    # each of the two is rebuilt as the halfway point: cosine cos(45 degrees).
    half = torch.tensor([[1.0, 1.0]])
    found = similarity([half], [torch.eye(2)], "paper")
    torch.testing.assert_close(found, torch.tensor([[(1 + 0.5**0.5) / 2]]))


def test_padding_by_hand() -> None:
    # Tracks of 1 and 2 points, one detection of 1 point, all alike. The padded query attends evenly to the
    # one key there is, so the rebuilt first track has two unit points, the track one: cosine 1 / sqrt(2).
    # Backward, the padded key takes e^-100 of the weight: cosine 1.
    unit = torch.tensor([[1.0, 0.0]])
    found = similarity([unit, unit.repeat(2, 1)], [unit], "as-coded")
    torch.testing.assert_close(found, torch.tensor([[(1 + 0.5**0.5) / 2], [1.0]]))
    torch.testing.assert_close(similarity([unit, unit.repeat(2, 1)], [unit]), torch.ones(2, 1))


def test_mass_is_zero_where_the_attention_is_and_paper_is_not() -> None:
    # Angles, in the plane, of unit points; the middle detection is 20 degrees off and outdone by the first.
    def at(degrees: float) -> Tensor:
        return torch.tensor([[np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]], dtype=torch.float64)

    tracks, detections = [at(0), at(40)], [at(0), at(20.5), at(40)]
    paper, mass = (similarity(tracks, detections, variant) for variant in ("paper", "mass"))
    weak = np.exp(100 * (np.cos(np.radians(20.5)) - 1)) * 1.0  # about 2e-3 of the attention
    assert paper[0, 1] == pytest.approx(np.cos(np.radians(20.5)), abs=1e-6)
    share = np.exp(
        100 * (np.cos(np.radians(20.5)) - np.cos(np.radians(19.5)))
    )  # which track the detection sees
    expected = (weak / (1 + weak) + share / (1 + share)) / 2 * np.cos(np.radians(20.5))
    assert mass[0, 1] == pytest.approx(expected, abs=1e-6)
    assert mass[0, 2] < 1e-9
    assert paper[0, 2] > 0.5
    assert (mass <= paper + 1e-12).all()
    assert mass[0, 0] == pytest.approx(1, abs=5e-3)


def test_pooled_is_the_cosine_of_the_mean_raw_features() -> None:
    tracks, detections = objects([3, 1], 2), objects([5, 2, 4], 3)
    means = [torch.stack([p.mean(0) for p in side]) for side in (tracks, detections)]
    expected = functional.cosine_similarity(means[0][:, None], means[1][None], dim=2)
    torch.testing.assert_close(similarity(tracks, detections, "pooled"), expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_is_symmetric_bounded_and_blind_to_the_scale_of_the_features(variant: str) -> None:
    tracks, detections = objects([3, 5, 1], 2), objects([5, 2], 3)
    found = similarity(tracks, detections, variant)
    assert found.shape == (3, 2)
    assert found.abs().max() <= 1
    torch.testing.assert_close(similarity(detections, tracks, variant), found.T)
    scaled = [1e-3 * points for points in tracks], [1e3 * points for points in detections]
    torch.testing.assert_close(similarity(*scaled, variant), found, atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_object_is_most_like_itself(variant: str) -> None:
    same = objects([4, 7, 3], 8)
    found = similarity(same, [same[i] for i in (2, 0, 1)], variant)
    assert found.argmax(1).tolist() == [1, 2, 0]
    assert found.max(1).values.min() > 0.95


def test_the_order_of_objects_and_points_does_not_matter() -> None:
    tracks, detections = objects([4, 7, 3], 8), objects([5, 6], 9)
    found = similarity(tracks, detections)
    turned = similarity([tracks[i].flip(0) for i in (2, 0, 1)], [d.flip(0) for d in detections])
    torch.testing.assert_close(turned, found[[2, 0, 1]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_object_without_points_is_alike_to_nothing(variant: str) -> None:
    tracks, detections = objects([4, 0, 3], 8), objects([5, 5], 9)
    found = similarity(tracks, detections, variant)
    assert (found[1] == 0).all()
    assert (found[[0, 2]] != 0).all()
    if variant != "as-coded":  # there, it joins as padding
        torch.testing.assert_close(found[[0, 2]], similarity(tracks[::2], detections, variant))
    else:
        torch.testing.assert_close(found, by_the_book(tracks, detections, variant).nan_to_num(0))
    assert (similarity(objects([0, 0], 1), detections, variant) == 0).all()
    assert (similarity(detections, objects([0], 1), variant) == 0).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_objects_there_is_nothing_to_compare(variant: str) -> None:
    some = objects([4, 2], 0)
    assert similarity([], some, variant).shape == (0, 2)
    assert similarity(some, [], variant).shape == (2, 0)
    assert similarity([], [], variant).shape == (0, 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_zero_features_are_harmless(variant: str) -> None:
    found = similarity([torch.zeros(3, 16), *objects([2], 0)], objects([4], 1), variant)
    assert found.isfinite().all()
    assert (found[0] == 0).all()


def test_nearly_opposite_features_do_not_overflow() -> None:
    ray = objects([1], 0)[0]
    found = similarity([ray, -ray], [ray, -ray])
    # The wrong partner gets e^-200 of the weight: in single precision nothing, so nothing is rebuilt.
    torch.testing.assert_close(found, torch.eye(2))


def test_half_precision_is_computed_in_single() -> None:
    tracks, detections = ([p.half() for p in objects([3, 5], seed)] for seed in (0, 1))
    found = similarity(tracks, detections)
    assert torch.equal(found, similarity([p.float() for p in tracks], [p.float() for p in detections]))


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^rsm: unknown variant 'papre'; there are: paper, as-coded, mass, poo"
    ):
        similarity([], [], "papre")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    good = objects([3], 0)
    with pytest.raises(ValueError, match=r"^rsm: a detection has features that are not finite; check"):
        similarity(good, [good[0], torch.full((2, 16), bad)])
    with pytest.raises(ValueError, match=r"^rsm: a track has features that are not finite; check"):
        similarity([torch.full((2, 16), bad)], good)


def test_different_numbers_of_channels_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^rsm: features with \[8, 16\] channels, expected one number; compare"
    ):
        similarity(objects([3, 2], 0, channels=16), objects([3], 0, channels=8))


class Results(TorchDispatchMode):
    """Counts calls, and remembers how many numbers the largest tensor held that was made."""

    numbers = 0
    calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        if isinstance(result, Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


@pytest.mark.parametrize("variant", RECONSTRUCTIVE)
def test_many_objects_are_compared_in_parts_that_give_the_same(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = ([3, 40, 1, 20, 20, 6] * 5, [8, 0, 30, 12] * 6)
    tracks, detections = (objects(side, seed, 4) for seed, side in enumerate(sizes))
    whole = similarity(tracks, detections, variant)
    monkeypatch.setattr(rsm, "PRODUCTS", 30_000)
    with Results() as largest:
        parts = similarity(tracks, detections, variant)
    torch.testing.assert_close(parts, whole, atol=2e-6, rtol=0)
    assert largest.numbers <= rsm.PRODUCTS < sum(sizes[0]) * sum(sizes[1])


def test_objects_of_one_size_share_their_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    tracks, detections = objects([4] * 500, 0), objects([4] * 5, 1)
    with Results() as counted:
        together = similarity(tracks, detections)
    assert counted.calls < 3 * len(tracks)
    monkeypatch.setattr(rsm, "BLOCK", 1)
    torch.testing.assert_close(together, similarity(tracks, detections), atol=1e-6, rtol=0)


def test_objects_that_are_not_alike_take_no_longer_than_those_that_are() -> None:
    """Weights that vanish would be denormal numbers, with which processors compute ten times slower."""

    def cpu_seconds(shared: float) -> float:
        base = shared * torch.ones(256)
        tracks, detections = ([base + points for points in objects([40] * 30, s, 256)] for s in (0, 1))
        detections = [points + 2 * twin for points, twin in zip(detections, tracks, strict=True)]
        times = []
        for _ in range(4):
            start = process_time()
            similarity(tracks, detections)
            times.append(process_time() - start)
        return min(times)

    assert cpu_seconds(0.0) < 4 * cpu_seconds(3.0)


@pytest.mark.parametrize("variant", RECONSTRUCTIVE)
def test_objects_that_are_opposites_have_a_similarity(variant: str) -> None:
    points = objects([6], seed=0)[0]
    alike = torch.ones(3, 2)
    assert similarity([alike], [-alike], variant).item() == pytest.approx(-1, abs=1e-6)
    assert (
        similarity([points, alike @ torch.ones(2, 16)], [-alike @ torch.ones(2, 16)], variant)
        .isfinite()
        .all()
    )
