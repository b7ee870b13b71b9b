"""Box propagation by cross-correlation with the target's features in frame 0, never updated (SiamFC)."""

from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from heads.correlation import CorrelationHead
from heads.dcf import CHANNELS_AT_ONCE, hann, target_cells

DECODES = ("corrected", "as-coded")


@dataclass(frozen=True)
class XcorrOptions:
    """What the correlation depends on. The default is UniTrack's, but for the decode."""

    gain: float = 0.1
    """Factor of the response; it changes no decision."""
    decode: str = "corrected"
    """How a peak becomes a shift. `corrected`: distance from where an unmoved target peaks, refined below a cell.
    `as-coded`: UniTrack's 2021 code, which takes the middle of the response for that point and the response's
    size for the map's: with 65 cells, one cell of bias to the upper left and 1.25 times the shift."""

    def __post_init__(self) -> None:
        if not self.gain > 0:
            raise ValueError(f"xcorr options: gain {self.gain}, expected more than 0")
        if self.decode not in DECODES:
            raise ValueError(f"xcorr options: decode {self.decode!r}; there are: {', '.join(DECODES)}")


@dataclass(frozen=True, eq=False)
class XcorrState:
    """The template."""

    template: Float[Tensor, "channel side side"]
    """Features of the target's cells, raw."""
    first: int
    """Row and column of the target's first cell in its window: where the response of an unmoved target peaks."""


def fit(features: Float[Tensor, "channel size size"], padding: float) -> XcorrState:
    """Cut the template out of a window's map.

    Args:
        features: Map of a window centred on the target, raw (not normalised).
        padding: The window's sides are 1 + padding times the target's.
    """
    cells = target_cells(features.shape[-1], padding)
    return XcorrState(features[:, cells, cells].clone(), cells.start)


def response(
    state: XcorrState, search: Float[Tensor, "scale channel size size"], options: XcorrOptions
) -> Float[Tensor, "scale places places"]:
    """Correlate the template with search windows, damped towards their borders by a cosine window.

    Args:
        state: The template.
        search: Maps of windows around where the target was, one a scale.
        options: The correlation's knobs.

    Returns:
        One value for each place of the template inside the map (52 x 52 for 65 cells and a target of 14), at the
        row and column of its first cell.

    Reference:
        Bertinetto et al.: SiamFC, ECCV workshops 2016, equation 1; UniTrack, NeurIPS 2021, section 3.2.
    """
    # A convolution with many outputs is fast: each column of the template gives one, then they are shifted and added.
    window, kernels = hann(search), state.template.permute(2, 0, 1)[..., None]
    parts = zip(*(torch.split(side, CHANNELS_AT_ONCE, 1) for side in (search, kernels)), strict=True)
    with torch.backends.cudnn.flags(
        enabled=True, deterministic=True, allow_tf32=False
    ):  # TF32 is cuDNN's default
        columns = reduce(torch.add, (F.conv2d(part * window, kernel) for part, kernel in parts))
    places = columns.shape[2]
    shifted = [columns[:, i, :, i : i + places] for i in range(columns.shape[1])]
    return options.gain * torch.stack(shifted).sum(0)


def displacement(
    state: XcorrState, response: Float[Tensor, "places places"], options: XcorrOptions
) -> tuple[float, float]:
    """Read the target's shift off a response.

    Args:
        state: The template.
        response: Of one scale.
        options: The decode.

    Returns:
        (down, right), cells of the map.
    """
    places = response.shape[-1]
    row, column = divmod(int(response.argmax()), places)
    if options.decode == "as-coded":
        gain = (places + state.template.shape[-1] - 1) / places
        return (row - places // 2) * gain, (column - places // 2) * gain
    down = row + _vertex(response[:, column], row)
    right = column + _vertex(response[row], column)
    return down - state.first, right - state.first


def _vertex(values: Float[Tensor, " places"], peak: int) -> float:
    """Where between its neighbours the parabola through a peak is highest, -0.5 to 0.5; 0 at a border."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    before, top, after = values[peak - 1 : peak + 2].tolist()
    bend = before - 2 * top + after
    return float((before - after) / (2 * bend)) if bend < 0 else 0.0


HEAD = CorrelationHead(
    options=XcorrOptions,
    fit=lambda features, padding, options: fit(features, padding),
    response=response,
    displacement=displacement,
)
