"""MATLAB's arrays are read as scipy reads them, and a damaged file is an error, never the end of the process."""

import random
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from tests.corpus.mutations import torn
from unibench.datasets import mat


def saved(*, compressed: bool, **variables: object) -> bytes:
    stream = BytesIO()
    savemat(stream, variables, do_compression=compressed)
    return stream.getvalue()


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["f8", "f4", "i8", "i4", "i2", "i1", "u1", "u2", "u4", "u8"])
def test_numbers_are_those_of_scipy(compressed: bool, kind: str) -> None:
    for shape in ((2, 15, 3), (1, 1), (3, 1), (2, 0)):
        values = np.arange(np.prod(shape)).reshape(shape).astype(kind)
        data = saved(compressed=compressed, before="text", pos_img=values, x=np.ones(3))
        found = mat.read_array(data, "pos_img")
        assert np.array_equal(found, loadmat(BytesIO(data))["pos_img"])
        assert np.array_equal(found, values)


def test_real_files_are_read_as_by_scipy(shared_data: Path) -> None:
    files = sorted(shared_data.rglob("joint_positions.mat"))
    assert files
    for file in files:
        data = file.read_bytes()
        assert np.array_equal(mat.read_array(data, "pos_img"), loadmat(BytesIO(data))["pos_img"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((2, 2)) * 1j, "no array of real numbers"),
        ("text", "no array of real numbers"),
        ({"a": 1}, "no array of real numbers"),
    ],
)
def test_what_is_no_array_of_real_numbers_is_said(values: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mat.read_array(saved(compressed=False, pos_img=values), "pos_img")
    with pytest.raises(ValueError, match="no variable 'y'"):
        mat.read_array(saved(compressed=True, pos_img=values), "y")


def test_a_small_file_of_many_numbers_is_refused() -> None:
    data = saved(compressed=True, pos_img=np.zeros((3000, 3000)))
    with pytest.raises(ValueError, match="too large"):
        mat.read_array(data, "pos_img")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_damaged_file_is_a_value_error_or_an_array(compressed: bool) -> None:
    whole = saved(compressed=compressed, pos_img=np.arange(2.0 * 15 * 3).reshape(2, 15, 3))
    chance, refused = random.Random(0), 0
    for _ in range(3000):
        try:
            mat.read_array(torn(whole, chance), "pos_img")
        except ValueError:
            refused += 1
    assert refused > 1000
