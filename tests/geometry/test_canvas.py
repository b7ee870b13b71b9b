import numpy as np
import pytest
import torch

from unibench.geometry import canvas as view
from unibench.geometry.canvas import BORDER, View, back, forth, paste, place


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
    assert where == View(1.0, 20, 30)
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
    assert (where.height, where.width) == frame
    assert where.scale == pytest.approx(scale)
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
    held[:, int(where.height * where.scale) :] = 0
    held[:, :, int(where.width * where.scale) :] = 0
    box = forth(np.array([[100.25, 50.5, 140.25, 90.5]]), where)
    expected = ((box[0, 0] + box[0, 2]) / 2, (box[0, 1] + box[0, 3]) / 2)
    assert centre_of_mass(held) == pytest.approx(expected, abs=0.02)


def test_boxes_there_and_back():
    boxes = np.random.default_rng(1).uniform(-20, 2000, (50, 4))
    where = view.fit(1080, 1920, (608, 1088))
    np.testing.assert_allclose(back(forth(boxes, where), where), boxes)
    tensor = torch.from_numpy(boxes).float()
    torch.testing.assert_close(back(forth(tensor, where), where), tensor)
    assert forth(torch.tensor([[0.0, 0, 1920, 1080]]), where)[0].tolist() == pytest.approx(
        [0, 0, 9728 / 9, 608]
    )


def test_what_stands_out_is_cut_off():
    image = blob(40, 60, (10, 10), 6)
    canvas = paste(image, 2.0, (64, 64))
    assert canvas.shape == (3, 64, 64)
    assert centre_of_mass(canvas) == pytest.approx((20, 20), abs=0.02)
    assert place(np.zeros((3, 2000, 3), dtype=np.uint8), (64, 64))[0][:, 1:].unique().tolist() == sorted(
        BORDER
    )
    small = paste(image, 0.5, (64, 64))
    assert (small[:, 20:].flatten(1) == torch.tensor(BORDER)[:, None]).all()


def test_the_callers_frame_is_left_alone():
    image = np.full((8, 8, 3), 7, dtype=np.uint8)
    image.flags.writeable = False
    with pytest.warns(UserWarning, match="not writable"):
        torch.from_numpy(image)
    canvas, _ = place(image, (8, 8))
    canvas += 1
    assert (image == 7).all()
