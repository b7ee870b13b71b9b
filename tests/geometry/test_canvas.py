import numpy as np
import pytest
import torch

from unibench.geometry.canvas import (
    BORDER,
    GREY,
    Placement,
    draw_letterbox,
    draw_top_left,
    letterbox,
    to_canvas,
    to_frame,
    top_left,
)


def place(image, size):
    where = top_left(image.shape[:2], size)
    return draw_top_left(image, where.scale[0], size), where


def blob(height, width, centre, radius):
    """White on black, with soft edges, so that its centre of mass is known to a small part of a pixel."""
    y, x = np.mgrid[:height, :width] + 0.5
    distance = np.hypot(x - centre[0], y - centre[1])
    grey = np.clip(radius - distance + 0.5, 0, 1) * 255
    return np.repeat(grey.round().astype(np.uint8)[:, :, None], 3, axis=2)


def centre_of_mass(canvas):
    weight = canvas[0].double()
    y, x = (torch.arange(side, dtype=torch.float64) + 0.5 for side in weight.shape)
    return (weight.sum(0) @ x / weight.sum()).item(), (weight.sum(1) @ y / weight.sum()).item()


def test_a_frame_of_the_canvas_size_stays_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    canvas, where = place(image, (20, 30))
    assert where == Placement((20, 30), (20, 30), (20, 30), (0, 0), (1.0, 1.0), (0.0, 0.0))
    assert np.array_equal(canvas.permute(1, 2, 0).numpy(), image)


@pytest.mark.parametrize(
    ("frame", "canvas", "scale", "inner"),
    [
        ((1080, 1920), (608, 1088), 608 / 1080, (608, 1080)),
        ((1080, 1920), (896, 896), 896 / 1920, (504, 896)),
        ((480, 640), (896, 896), 1.4, (672, 896)),
        ((90, 33), (30, 40), 1 / 3, (30, 11)),
        (
            (103, 20),
            (128, 128),
            128 / 103,
            (128, 24),
        ),  # 103 * (128 / 103) is less than 128 in double precision
    ],
)
def test_the_frame_fits_and_the_rest_is_the_border(frame, canvas, scale, inner):
    placed, where = place(np.full((*frame, 3), 255, dtype=np.uint8), canvas)
    assert (where.frame, where.size, where.corner, where.shift) == (frame, inner, (0, 0), (0, 0))
    assert where.scale == pytest.approx((scale, scale))
    assert placed.shape == (3, *canvas)
    assert placed.dtype == torch.uint8
    border = torch.tensor(BORDER)[:, None]
    assert (placed[:, : inner[0], : inner[1]] == 255).all()
    assert (placed[:, inner[0] :].flatten(1) == border).all()
    assert (placed[:, :, inner[1] :].flatten(1) == border).all()


@pytest.mark.parametrize("canvas", [(64, 64), (77, 101), (200, 300), (300, 200)], ids=str)
def test_boxes_stay_on_their_objects(canvas):
    image = blob(111, 160, (120.25, 70.5), 20)
    placed, where = place(image, canvas)
    held = placed.clone()
    held[:, where.size[0] :] = 0
    held[:, :, where.size[1] :] = 0
    box = to_canvas(np.array([[100.25, 50.5, 140.25, 90.5]]), where)
    expected = ((box[0, 0] + box[0, 2]) / 2, (box[0, 1] + box[0, 3]) / 2)
    assert centre_of_mass(held) == pytest.approx(expected, abs=0.02)


def test_boxes_there_and_back():
    boxes = np.random.default_rng(1).uniform(-20, 2000, (50, 4))
    where = top_left((1080, 1920), (608, 1088))
    np.testing.assert_allclose(to_frame(to_canvas(boxes, where), where), boxes)
    tensor = torch.from_numpy(boxes).float()
    torch.testing.assert_close(to_frame(to_canvas(tensor, where), where), tensor)
    assert to_canvas(torch.tensor([[0.0, 0, 1920, 1080]]), where)[0].tolist() == pytest.approx(
        [0, 0, 9728 / 9, 608]
    )


def test_what_stands_out_is_cut_off():
    image = blob(40, 60, (10, 10), 6)
    canvas = draw_top_left(image, 2.0, (64, 64))
    assert canvas.shape == (3, 64, 64)
    assert centre_of_mass(canvas) == pytest.approx((20, 20), abs=0.02)
    assert place(np.zeros((3, 2000, 3), dtype=np.uint8), (64, 64))[0][:, 1:].unique().tolist() == sorted(
        BORDER
    )
    small = draw_top_left(image, 0.5, (64, 64))
    assert (small[:, 20:].flatten(1) == torch.tensor(BORDER)[:, None]).all()


def test_the_callers_frame_is_left_alone():
    image = np.full((8, 8, 3), 7, dtype=np.uint8)
    image.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        torch.from_numpy(image)
    canvas, _ = place(image, (8, 8))
    canvas += 1
    assert (image == 7).all()


@pytest.mark.parametrize(
    ("frame", "inner", "corner"),
    [
        ((480, 640), (608, 811), (138, 0)),
        ((1080, 1920), (608, 1081), (3, 0)),
        ((304, 1088), (304, 1088), (0, 152)),
    ],
)
def test_a_frame_is_centred_and_as_large_as_it_fits(frame, inner, corner):
    where = letterbox(frame, (608, 1088))
    assert (where.size, where.corner) == (inner, corner)


def test_the_border_is_grey_and_the_frame_is_inside():
    canvas = draw_letterbox(np.full((10, 10, 3), 7, dtype=np.uint8), letterbox((10, 10), (20, 50)))
    assert canvas.shape == (20, 50, 3)
    assert (canvas[:, 15:35] == 7).all()
    assert (canvas[:, :15] == GREY).all()
    assert (canvas[:, 35:] == GREY).all()


def test_a_pixel_is_the_mean_of_the_area_it_covers():
    """By hand, 3 -> 2 columns: (2 a + b) / 3 and (b + 2 c) / 3; 1 -> 2 rows: copies."""
    row = np.array([0, 90, 240], dtype=np.uint8)
    image = np.repeat(row[None, :, None], 3, axis=2)
    where = letterbox((1, 3), (2, 2))
    assert where.size == (1, 2)
    assert draw_letterbox(image, where)[0, :, 0].tolist() == [30, 190]
    doubled = draw_letterbox(image, letterbox((1, 3), (2, 6)))
    assert doubled[:, :, 1].tolist() == [[0, 0, 90, 90, 240, 240]] * 2


def test_boxes_stay_on_their_objects_in_a_letterbox():
    image = np.zeros((480, 640, 3), dtype=np.uint8)
    image[100:300, 200:280] = 255
    where = letterbox((480, 640), (608, 1088))
    x1, y1, x2, y2 = to_canvas(np.array([[200.0, 100, 280, 300]]), where)[0]
    row, column = (
        draw_letterbox(image, where)[:, :, 0][index] / 255 for index in ((300,), (slice(None), 430))
    )
    # The border pixel's brightness says to the sub-pixel where the object begins.
    inside = np.flatnonzero(row[200:900] == 1) + 200
    assert inside[0] - row[inside[0] - 1] == pytest.approx(x1, abs=0.01)
    assert inside[-1] + 1 + row[inside[-1] + 1] == pytest.approx(x2, abs=0.01)
    assert (column > 0.999).sum() == pytest.approx(y2 - y1, abs=2)


def test_as_coded_boxes_are_a_fraction_of_a_pixel_off():
    """810.67 columns become 811: the margins are 138 (done), 138.5 (forth) and 138.67 (back)."""
    where = letterbox((480, 640), (608, 1088), as_coded=True)
    box = np.array([[0.0, 0, 640, 480]])
    np.testing.assert_allclose(to_canvas(box, where), [[138.5, 0, 138.5 + 640 * 608 / 480, 608]])
    np.testing.assert_allclose(where.drift, [(138.5 - (1088 - 640 * 608 / 480) / 2) * 480 / 608, 0])
    assert letterbox((480, 640), (608, 1088)).drift == (0, 0)
    assert where.corner == letterbox((480, 640), (608, 1088)).corner
