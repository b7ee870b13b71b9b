from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from heads import dcf
from heads.dcf import DcfOptions, DcfState, target_cells

PADDING = 3.5


def noise(size: int, channels: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(channels, size, size, generator=torch.Generator().manual_seed(seed))


def test_the_2021_code_gives_the_same_response(gold) -> None:
    case = {name: torch.from_numpy(a) for name, a in np.load(gold / "unitrack_primitives/dcf.npz").items()}
    state = dcf.fit(case["template"], DcfOptions(), PADDING)
    response = dcf.response(state, case["search"])
    torch.testing.assert_close(response, case["response"], rtol=0, atol=1e-6)
    assert dcf.displacement(response[1]) == (3, -5)


def test_the_2021_windows(gold) -> None:
    case = np.load(gold / "unitrack_primitives/dcf.npz")
    cells = target_cells(65, PADDING)
    box = np.zeros((65, 65))
    box[cells, cells] = 1
    np.testing.assert_array_equal(box, case["template_window"])
    np.testing.assert_allclose(dcf.hann(torch.zeros(65, 65)), case["search_window"], atol=1e-6)


@pytest.mark.parametrize(
    ("size", "padding", "first", "last"),
    [(65, 3.5, 25, 38), (33, 3.5, 13, 19), (37, 3.5, 14, 21), (3, 3.5, 1, 1)],
)
def test_target_cells_are_the_middle_of_the_window(size: int, padding: float, first: int, last: int) -> None:
    assert target_cells(size, padding) == slice(first, last + 1)


def test_the_definition_written_out_in_space() -> None:
    """Ridge regression over all cyclic shifts of the target (one channel), solved as a dense linear system."""
    size, options = 9, DcfOptions(regularisation=0.3, label_sigma=0.5)
    features = noise(size, channels=1).double()
    state = dcf.fit(features, options, PADDING)
    cells = target_cells(size, PADDING)
    target = torch.zeros(size, size, dtype=torch.float64)
    target[cells, cells] = features[0, cells, cells]
    shifts = [(row, column) for row in range(size) for column in range(size)]
    shifted = torch.stack([target.roll(shift, (0, 1)).flatten() for shift in shifts])
    apart = torch.tensor([min(i, size - i) for i in range(size)], dtype=torch.float64)
    side = torch.exp(-0.5 * (apart / (0.5 * size / (1 + PADDING))) ** 2)
    wanted = torch.outer(side, side).flatten()
    kernel = shifted @ shifted.T
    dual = torch.linalg.solve(kernel + 0.3 * torch.eye(size**2, dtype=torch.float64), wanted)
    search = noise(size, channels=1, seed=1).double()
    seen = (search[0] * dcf.hann(search)).flatten()
    every = torch.stack([seen.reshape(size, size).roll((-r, -c), (0, 1)).flatten() for r, c in shifts])
    # Response at a shift: the filter, applied to what is seen, shifted back.
    expected = (every @ (shifted.T @ dual)).reshape(size, size)
    torch.testing.assert_close(dcf.response(state, search[None])[0], expected)


@pytest.mark.parametrize("channels", [1, 40, 64])
@pytest.mark.parametrize("size", [33, 64, 65])
def test_the_definition_written_out_in_whole_spectra(size: int, channels: int) -> None:
    features, search = noise(size, channels), torch.stack([noise(size, channels, seed) for seed in (1, 2, 3)])
    cells = target_cells(size, PADDING)
    target = torch.zeros_like(features)
    target[:, cells, cells] = features[:, cells, cells]
    z_hat = torch.fft.rfft2(target.double())
    apart = torch.tensor([min(i, size - i) for i in range(size)], dtype=torch.float64)
    side = torch.exp(-0.5 * (apart / (0.1 * size / (1 + PADDING))) ** 2)
    alpha_hat = torch.fft.rfft2(torch.outer(side, side)) / (z_hat.abs().square().sum(0) + 1e-4)
    x_hat = torch.fft.rfft2(search.double() * dcf.hann(search).double())
    expected = torch.fft.irfft2((x_hat * z_hat.conj()).sum(1) * alpha_hat, s=(size, size))
    state = dcf.fit(features, DcfOptions(), PADDING)
    torch.testing.assert_close(state.z_hat, torch.fft.rfft2(target))
    found = dcf.response(state, search).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("size", [33, 64, 65])
@pytest.mark.parametrize("shift", [(0, 0), (3, -5), (-7, 2)])
def test_shifts_are_recovered_for_odd_and_even_maps(size: int, shift: tuple[int, int]) -> None:
    features = noise(size)
    state = dcf.fit(features, DcfOptions(), PADDING)
    search = features.roll(shift, (1, 2))
    response = dcf.response(state, search[None])
    assert response.shape == (1, size, size)
    assert dcf.displacement(response[0]) == shift


def test_the_response_to_an_undamped_target_is_the_label() -> None:
    features = noise(65)
    state = dcf.fit(features, DcfOptions(), PADDING)
    cells = target_cells(65, PADDING)
    target = torch.zeros_like(features)
    target[:, cells, cells] = features[:, cells, cells]
    undone = torch.where(dcf.hann(features) > 0, target / dcf.hann(features), 0)
    response = dcf.response(state, undone[None])[0]
    sigma = 0.1 * 65 / 4.5
    assert response[0, 0] == pytest.approx(1, abs=1e-4)
    assert response[0, 2] == pytest.approx(np.exp(-2 / sigma**2), abs=1e-4)


def test_each_scale_is_answered_on_its_own() -> None:
    features = noise(33)
    state = dcf.fit(features, DcfOptions(), PADDING)
    search = torch.stack([features, noise(33, seed=1)])
    alone = [dcf.response(state, one[None])[0] for one in search]
    torch.testing.assert_close(dcf.response(state, search), torch.stack(alone))


def test_updates_blend_both_parts_of_the_filter() -> None:
    first, second = noise(33), noise(33, seed=1)
    options = DcfOptions(learning_rate=0.25)
    old, new = dcf.fit(first, options, PADDING), dcf.fit(second, options, PADDING)
    state = dcf.update(old, second, options, PADDING)
    torch.testing.assert_close(state.z_hat, 0.75 * old.z_hat + 0.25 * new.z_hat)
    torch.testing.assert_close(state.alpha_hat, 0.75 * old.alpha_hat + 0.25 * new.alpha_hat)


def test_learning_rates_0_and_1_keep_and_replace() -> None:
    def same(one: DcfState, other: DcfState) -> bool:
        return torch.equal(one.z_hat, other.z_hat) and torch.equal(one.alpha_hat, other.alpha_hat)

    first, second = noise(33), noise(33, seed=1)
    options = DcfOptions(learning_rate=0.0)
    old, new = dcf.fit(first, options, PADDING), dcf.fit(second, options, PADDING)
    assert same(dcf.update(old, second, options, PADDING), old)
    assert same(dcf.update(old, second, replace(options, learning_rate=1.0), PADDING), new)


def test_precision_follows_the_features() -> None:
    state = dcf.fit(noise(33).double(), DcfOptions(), PADDING)
    assert state.z_hat.dtype == torch.complex128
    assert dcf.response(state, noise(33).double()[None]).dtype == torch.float64


def test_without_the_targets_surroundings() -> None:
    """What lies outside the target's cells takes no part in the filter."""
    features = noise(33)
    cells = target_cells(33, PADDING)
    other = noise(33, seed=1)
    other[:, cells, cells] = features[:, cells, cells]
    one, two = dcf.fit(features, DcfOptions(), PADDING), dcf.fit(other, DcfOptions(), PADDING)
    assert torch.equal(one.z_hat, two.z_hat)
    assert torch.equal(one.alpha_hat, two.alpha_hat)


def test_an_unlike_search_window_scores_lower() -> None:
    smooth = F.avg_pool2d(noise(65), 3, stride=1, padding=1)
    state = dcf.fit(smooth, DcfOptions(), PADDING)
    peaks = dcf.response(state, torch.stack([smooth, noise(65, seed=1)])).amax(dim=(1, 2))
    assert peaks[0] > 2 * peaks[1]


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("regularisation", 0.0, r"^dcf options: regularisation 0.0, expected more than 0"),
        ("label_sigma", -1.0, r"^dcf options: label_sigma -1.0, expected more than 0"),
        ("learning_rate", 1.5, r"^dcf options: learning_rate 1.5, expected 0 to 1"),
    ],
)
def test_impossible_options_are_refused(knob: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DcfOptions(), **{knob: value})
