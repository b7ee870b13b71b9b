"""Names beside dots: none lies over another, over a dot or beyond the edge."""

import numpy as np
import pytest

from unibench.report import labels

AREA = (250.0, 180.0)


def boxes(dots, sizes):
    found = []
    for place, (width, height) in zip(labels.place(dots, sizes, AREA), sizes, strict=True):
        if place is not None:
            x, y = place
            found.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
    return found


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_overlaps_and_nothing_is_cut_off(seed):
    rng = np.random.default_rng(seed)
    dots = rng.uniform((5, 5), np.array(AREA) - 5, (24, 2))
    dots[12:] = dots[:12] + rng.normal(0, 3, (12, 2))  # pairs that nearly coincide
    dots = dots.clip(4, np.array(AREA) - 4)
    sizes = [(float(width), 7.0) for width in rng.uniform(8, 60, 24)]
    found = boxes(dots, sizes)
    assert len(found) > 20
    for index, box in enumerate(found):
        assert min(box[:2]) >= 0
        assert box[2] <= AREA[0]
        assert box[3] <= AREA[1]
        assert not any(overlap(box, other) for other in found[:index])
        assert not any(overlap(box, (x - 3, y - 3, x + 3, y + 3)) for x, y in dots)


def test_a_dot_alone_has_its_name_at_its_right():
    ((x, y),) = labels.place(np.array([[100.0, 90.0]]), [(30.0, 7.0)], AREA)
    assert y == 90
    assert 115 < x < 122


def test_what_has_no_room_has_no_place():
    dots = np.array([[10.0, 10.0]] * 400)
    places = labels.place(dots, [(40.0, 7.0)] * 400, AREA)
    assert 0 < sum(place is None for place in places) < 400


def test_a_longer_name_is_wider():
    short, long = labels.text_size("moco", 6), labels.text_size("mobilenetv2-imagenet", 6)
    assert short[0] < long[0] < 20 * 6
    assert short[1] == long[1]
