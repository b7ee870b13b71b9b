"""Box propagation: the heads' response to three scales of a search window, and what is learnt of a new one."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from heads import dcf, xcorr
from heads.dcf import DcfOptions
from heads.xcorr import XcorrOptions
from tests.benchmarks.cases import Case

PADDING = 3.5


def cases(*, quick: bool = False) -> list[Case]:
    """Maps of UniTrack's windows, ResNet-50's layer3 cut to 256 channels."""
    channels, size = 256, 65  # quick enough as it is
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(channels, size, size, generator=generator)
    search = torch.randn(3, channels, size, size, generator=generator)
    template, state = xcorr.fit(features, PADDING), dcf.fit(features, DcfOptions(), PADDING)

    def learn() -> None:
        dcf.response(state, search)
        dcf.update(state, features, DcfOptions(), PADDING)

    shape = f"3x{channels}x{size}x{size}"
    return [
        Case(
            f"XCorr response {shape}",
            lambda: xcorr.response(template, search, XcorrOptions()),
            lambda: F.conv2d(search * dcf.hann(search), template.template[None]),
            limit=15 / 83,
            note="one convolution with one output, as in the 2021 code",
        ),
        Case(
            f"DCF response + update {shape}",
            learn,
            partial(_in_pairs, features, search),
            limit=10 / 21,
            note="the 2021 code's steps: whole spectra, complex numbers as pairs of real ones",
        ),
    ]


def _in_pairs(features: Tensor, search: Tensor) -> Tensor:
    """Response and update of DCFNet, every product over all channels, frequencies and both parts at once."""
    cells = dcf.target_cells(features.shape[-1], PADDING)
    box, window = torch.zeros_like(features[0]), dcf.hann(search)
    box[cells, cells] = 1
    size = features.shape[-2:]
    x, z = (torch.view_as_real(torch.fft.rfft2(maps)) for maps in (search * window, (features * box)[None]))
    label = torch.view_as_real(torch.fft.rfft2(window))

    alpha = label / (z.square().sum(-1).sum(1) + 1e-4)[..., None]
    seen = torch.stack(
        [x[..., 0] * z[..., 0] + x[..., 1] * z[..., 1], x[..., 1] * z[..., 0] - x[..., 0] * z[..., 1]], dim=-1
    ).sum(1)
    answer = torch.stack(
        [seen[..., 0] * alpha[..., 0] - seen[..., 1] * alpha[..., 1],
         seen[..., 0] * alpha[..., 1] + seen[..., 1] * alpha[..., 0]], dim=-1
    )  # fmt: skip
    response = torch.fft.irfft2(torch.view_as_complex(answer), s=size)

    new = torch.view_as_real(torch.fft.rfft2((features * box)[None]))
    energy = new.square().sum(-1).sum(1)
    return response.sum() + ((1 - 0.01) * z + 0.01 * new).sum() + (label / (energy + 1e-4)[..., None]).sum()
