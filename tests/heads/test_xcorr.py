import pytest
import torch
import torch.nn.functional as F

from heads import xcorr
from heads.dcf import hann
from heads.xcorr import XcorrOptions, XcorrState

PADDING = 3.5
CODED = XcorrOptions(decode="as-coded")


def noise(size: int = 65, channels: int = 8) -> torch.Tensor:
    return torch.randn(channels, size, size, generator=torch.Generator().manual_seed(0))


def answer(features: torch.Tensor, search: torch.Tensor) -> tuple[XcorrState, torch.Tensor]:
    state = xcorr.fit(features, PADDING)
    return state, xcorr.response(state, search[None], XcorrOptions())[0]


def test_the_template_is_the_targets_cells() -> None:
    features = noise()
    state = xcorr.fit(features, PADDING)
    assert torch.equal(state.template, features[:, 25:39, 25:39])
    assert state.first == 25


def test_the_definition_written_out() -> None:
    features = noise()
    state, response = answer(features, features)
    damped = features * hann(features)
    assert response.shape == (52, 52)
    for row, column in [(0, 0), (25, 25), (51, 3)]:
        overlap = (damped[:, row : row + 14, column : column + 14] * state.template).sum()
        assert response[row, column] == pytest.approx(0.1 * float(overlap), abs=1e-3)


@pytest.mark.parametrize("channels", [1, 40, 64])
@pytest.mark.parametrize(("size", "scales"), [(33, 1), (65, 3), (64, 2)])
def test_it_is_one_convolution(size: int, scales: int, channels: int) -> None:
    features = noise(size, channels)
    search = torch.stack([features.roll((3 * scale, -scale), (1, 2)) for scale in range(scales)])
    state = xcorr.fit(features, PADDING)
    expected = F.conv2d(search.double() * hann(search).double(), state.template[None].double())[:, 0]
    found = xcorr.response(state, search, XcorrOptions(gain=0.5))
    torch.testing.assert_close(found.double(), 0.5 * expected, rtol=0, atol=1e-6 * float(expected.max()))
    swapped = xcorr.response(state, search.to(memory_format=torch.channels_last), XcorrOptions(gain=0.5))
    torch.testing.assert_close(swapped, found, rtol=0, atol=1e-6 * float(expected.max()))


def test_the_response_is_float32_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, convolve = [], F.conv2d

    def spy(*arguments: torch.Tensor) -> torch.Tensor:
        seen.append(torch.backends.cudnn.allow_tf32)
        return convolve(*arguments)

    monkeypatch.setattr(F, "conv2d", spy)
    answer(noise(), noise())
    assert seen == [False]


def test_a_still_target_does_not_move_unless_as_coded() -> None:
    features = noise()
    state, response = answer(features, features)
    assert xcorr.displacement(state, response, XcorrOptions()) == pytest.approx((0, 0), abs=0.1)
    # One place of the response to the upper left, which is 1/52 of the window: 65/52 cells.
    assert xcorr.displacement(state, response, CODED) == (-65 / 52, -65 / 52)


@pytest.mark.parametrize("size", [33, 65, 131])
@pytest.mark.parametrize("shift", [(3, -5), (-7, 2), (0, 6)])
def test_shifts_are_recovered_at_every_size(size: int, shift: tuple[int, int]) -> None:
    features = noise(size)
    state, response = answer(features, features.roll(shift, (1, 2)))
    assert xcorr.displacement(state, response, XcorrOptions()) == pytest.approx(shift, abs=0.1)


def test_as_coded_has_a_gain_and_a_bias() -> None:
    features = noise()
    state, response = answer(features, features.roll((4, -8), (1, 2)))
    assert xcorr.displacement(state, response, CODED) == (3 * 65 / 52, -9 * 65 / 52)


def test_the_peak_is_found_between_cells() -> None:
    state = XcorrState(torch.zeros(1, 14, 14), 25)
    place = torch.arange(52.0)
    parabola = -((place[:, None] - 27.3) ** 2) - (place[None] - 24.6) ** 2
    assert xcorr.displacement(state, parabola, XcorrOptions()) == pytest.approx((2.3, -0.4), abs=1e-3)


def test_a_peak_at_the_border_stays_there() -> None:
    state = XcorrState(torch.zeros(1, 14, 14), 25)
    response = torch.zeros(52, 52)
    response[0, 51] = 1
    assert xcorr.displacement(state, response, XcorrOptions()) == (-25, 26)


def test_a_flat_response_has_no_vertex() -> None:
    state = XcorrState(torch.zeros(1, 14, 14), 25)
    assert xcorr.displacement(state, torch.zeros(52, 52), XcorrOptions()) == (-25, -25)


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^xcorr options: decode 'coded'; there are: corrected, as-coded$"):
        XcorrOptions(decode="coded")
    with pytest.raises(ValueError, match=r"^xcorr options: gain 0.0, expected more than 0$"):
        XcorrOptions(gain=0.0)
