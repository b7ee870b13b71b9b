"""Box propagation by a discriminative correlation filter, trained and updated in the Fourier domain (DCFNet)."""

from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from heads.correlation import CorrelationHead

CHANNELS_AT_ONCE = 32
"""Search windows are correlated channels by channels: what is made of a few stays in cache, and in memory at hand."""


@dataclass(frozen=True)
class DcfOptions:
    """What the filter depends on. The default is UniTrack's."""

    regularisation: float = 1e-4
    """Lambda of the ridge regression."""
    label_sigma: float = 0.1
    """Standard deviation of the wanted response, as a share of the target's side."""
    learning_rate: float = 0.01
    """Weight of a new frame in the running filter."""

    def __post_init__(self) -> None:
        if not self.regularisation > 0:
            raise ValueError(f"dcf options: regularisation {self.regularisation}, expected more than 0")
        if not self.label_sigma > 0:
            raise ValueError(f"dcf options: label_sigma {self.label_sigma}, expected more than 0")
        if not 0 <= self.learning_rate <= 1:
            raise ValueError(f"dcf options: learning_rate {self.learning_rate}, expected 0 to 1")


@dataclass(frozen=True, eq=False)
class DcfState:
    """The filter: half spectra of real maps, as `torch.fft.rfft2` gives them."""

    z_hat: Complex[Tensor, "channel size half"]
    """Spectrum of the target's features."""
    alpha_hat: Complex[Tensor, "size half"]
    """Dual coefficients of the ridge regression."""


def target_cells(size: int, padding: float) -> slice:
    """Cells of a window's map, along either axis, that the target covers.

    Args:
        size: Side of the map, cells.
        padding: The window's sides are 1 + padding times the target's.

    Returns:
        A centred range, one cell nearer to 0 where it cannot be centred: 25 to 38 for 65 cells and padding 3.5.
    """
    side = max(1, round(size / (1 + padding)))
    first = (size - side) // 2
    return slice(first, first + side)


def hann(like: Float[Tensor, "*batch size size"]) -> Float[Tensor, "size size"]:
    """Make the cosine window (0 at the borders) for maps, on their device and in their precision."""
    side = torch.hann_window(like.shape[-1], periodic=False, dtype=like.dtype, device=like.device)
    return torch.outer(side, side)


def fit(features: Float[Tensor, "channel size size"], options: DcfOptions, padding: float) -> DcfState:
    """Train the filter on one frame; only the cells that the target covers count.

    Args:
        features: Map of a window centred on the target, raw (not normalised).
        options: The filter's knobs.
        padding: The window's sides are 1 + padding times the target's.

    Returns:
        The filter whose response to the same window peaks at (0, 0).

    Reference:
        Wang et al.: DCFNet, 2017, equations 3 and 4; UniTrack, NeurIPS 2021, section 3.2.
    """
    size = features.shape[-1]
    cells = target_cells(size, padding)
    z_hat = _spectrum(features, cells)
    sigma = options.label_sigma * size / (1 + padding)
    wanted = torch.fft.rfft2(_label(size, sigma, features))
    energy = torch.linalg.vecdot(z_hat, z_hat, dim=0).real
    return DcfState(z_hat, wanted / (energy + options.regularisation))


def update(
    state: DcfState, features: Float[Tensor, "channel size size"], options: DcfOptions, padding: float
) -> DcfState:
    """Blend the filter of one more frame into the running one, with the weight `learning_rate`.

    Args:
        state: The running filter.
        features: Map of the window centred on where the target was found, as in `fit`.
        options: The filter's knobs.
        padding: As in `fit`.
    """
    new = fit(features, options, padding)
    return DcfState(
        _blend(state.z_hat, new.z_hat, options.learning_rate),
        _blend(state.alpha_hat, new.alpha_hat, options.learning_rate),
    )


def response(
    state: DcfState, search: Float[Tensor, "scale channel size size"]
) -> Float[Tensor, "scale size size"]:
    """Apply the filter to search windows, damped towards their borders by a cosine window.

    Args:
        state: The filter.
        search: Maps of windows around where the target was, one a scale.

    Returns:
        How much the target seems shifted by (row, column) cells, modulo the size; the wanted peak is 1.
    """
    size = search.shape[-1]
    window, z_bar = hann(search), state.z_hat.conj()
    parts = zip(torch.split(search, CHANNELS_AT_ONCE, 1), torch.split(z_bar, CHANNELS_AT_ONCE), strict=True)
    correlation = reduce(torch.add, ((torch.fft.rfft2(part * window) * z).sum(1) for part, z in parts))
    # Without `s` an odd map would come back one column narrower.
    answer: Tensor = torch.fft.irfft2(correlation * state.alpha_hat, s=(size, size))
    return answer


def displacement(response: Float[Tensor, "size size"]) -> tuple[float, float]:
    """Read the target's shift off a response: its largest value, in whole cells.

    Returns:
        (down, right), cells of the map, each within half its size.
    """
    size = response.shape[-1]
    row, column = divmod(int(response.argmax()), size)
    return float(_signed(row, size)), float(_signed(column, size))


def _spectrum(
    features: Float[Tensor, "channel size size"], cells: slice
) -> Complex[Tensor, "channel size half"]:
    """What `rfft2` gives where all other cells are zero, without the transforms of rows of zeros."""
    rows = torch.zeros_like(features[:, cells])
    rows[..., cells] = features[:, cells, cells]
    half = torch.fft.rfft(rows)
    spectrum = half.new_zeros(*features.shape[:2], half.shape[2])
    spectrum[:, cells] = half
    whole: Tensor = torch.fft.fft(spectrum, dim=1)
    return whole


def _blend(
    old: Complex[Tensor, "*shape"], new: Complex[Tensor, "*shape"], rate: float
) -> Complex[Tensor, "*shape"]:
    """Torch's `lerp`, which is ten times as fast on real numbers."""
    return torch.view_as_complex(torch.lerp(torch.view_as_real(old), torch.view_as_real(new), rate))


def _signed(index: int, size: int) -> int:
    return index - size if index > size // 2 else index


def _label(size: int, sigma: float, like: Tensor) -> Float[Tensor, "size size"]:
    """A Gaussian of peak 1 at (0, 0), wrapped around the borders."""
    distance = torch.tensor([_signed(index, size) for index in range(size)], dtype=like.dtype)
    side = torch.exp(-0.5 * (distance.to(like.device) / sigma).square())
    return torch.outer(side, side)


HEAD = CorrelationHead(
    options=DcfOptions,
    fit=lambda features, padding, options: fit(features, options, padding),
    response=lambda state, search, options: response(state, search),
    displacement=lambda state, response, options: displacement(response),
    update=lambda state, features, padding, options: update(state, features, options, padding),
)
