"""Run-length encodings, held to the masks that they encode."""

import numpy as np
import pytest

from unibench.geometry import masks


def drawn(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 60, size=2) if seed else (1080, 1920)
    mask = rng.random((height, width)) < rng.choice([0.002, 0.5, 0.998])
    mask[height // 3 : height // 2, : width // 2] ^= True
    return mask


@pytest.mark.parametrize("seed", range(25))
def test_flips_are_where_a_mask_goes_on_and_off(seed):
    mask = drawn(seed)
    expected = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=False))
    assert masks.flips(masks.encode(mask)).tolist() == expected.tolist()


@pytest.mark.parametrize(("value", "expected"), [(False, []), (True, [0])])
def test_flips_of_nothing_and_of_everything(value, expected):
    assert masks.flips(masks.encode(np.full((480, 854), value))).tolist() == expected
