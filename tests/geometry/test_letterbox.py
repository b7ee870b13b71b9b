import numpy as np
import pytest

from unibench.geometry.letterbox import GREY, fit, paste, place


@pytest.mark.parametrize(
    ("frame", "inner", "corner"),
    [
        ((480, 640), (608, 811), (138, 0)),
        ((1080, 1920), (608, 1081), (3, 0)),
        ((304, 1088), (304, 1088), (0, 152)),
    ],
)
def test_a_frame_is_centred_and_as_large_as_it_fits(frame, inner, corner):
    where = fit(frame, (608, 1088))
    assert (where.inner, where.corner) == (inner, corner)


def test_the_border_is_grey_and_the_frame_is_inside():
    canvas = paste(np.full((10, 10, 3), 7, dtype=np.uint8), fit((10, 10), (20, 50)))
    assert canvas.shape == (20, 50, 3)
    assert (canvas[:, 15:35] == 7).all()
    assert (canvas[:, :15] == GREY).all()
    assert (canvas[:, 35:] == GREY).all()


def test_a_pixel_is_the_mean_of_the_area_it_covers():
    """By hand, 3 -> 2 columns: (2 a + b) / 3 and (b + 2 c) / 3; 1 -> 2 rows: copies."""
    row = np.array([0, 90, 240], dtype=np.uint8)
    image = np.repeat(row[None, :, None], 3, axis=2)
    where = fit((1, 3), (2, 2))
    assert where.inner == (1, 2)
    assert paste(image, where)[0, :, 0].tolist() == [30, 190]
    doubled = paste(image, fit((1, 3), (2, 6)))
    assert doubled[:, :, 1].tolist() == [[0, 0, 90, 90, 240, 240]] * 2


def test_boxes_stay_on_their_objects():
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    image[100:300, 200:280] = 255
    where = fit((480, 640), (608, 1088))
    x1, y1, x2, y2 = place(np.array([[200.0, 100, 280, 300]]), where)[0]
    row, column = (paste(image, where)[:, :, 0][index] / 255 for index in ((300,), (slice(None), 430)))
    # The border pixel's brightness says to the sub-pixel where the object begins.
    inside = np.flatnonzero(row[200:900] == 1) + 200
    assert inside[0] - row[inside[0] - 1] == pytest.approx(x1, abs=0.01)
    assert inside[-1] + 1 + row[inside[-1] + 1] == pytest.approx(x2, abs=0.01)
    assert (column > 0.999).sum() == pytest.approx(y2 - y1, abs=2)


def test_as_coded_boxes_are_a_fraction_of_a_pixel_off():
    """810.67 columns become 811: the margins are 138 (done), 138.5 (forth) and 138.67 (back)."""
    where = fit((480, 640), (608, 1088), as_coded=True)
    box = np.array([[0.0, 0, 640, 480]])
    np.testing.assert_allclose(place(box, where), [[138.5, 0, 138.5 + 640 * 608 / 480, 608]])
    np.testing.assert_allclose(where.drift, [(138.5 - (1088 - 640 * 608 / 480) / 2) * 480 / 608, 0])
    assert fit((480, 640), (608, 1088)).drift == (0, 0)
    assert where.corner == fit((480, 640), (608, 1088)).corner
