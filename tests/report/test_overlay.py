from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from unibench.geometry import masks
from unibench.records import Labels
from unibench.report import overlay
from unibench.report.overlay import TRACKS

HEIGHT, WIDTH = 60, 90


def labels(**boxes):
    """Labels of one frame: `id7=[x1, y1, x2, y2]`."""
    ids = np.array([int(name.removeprefix("id")) for name in boxes], dtype=np.int64)
    return Labels(ids=ids, boxes=np.array(list(boxes.values()), dtype=np.float64).reshape(-1, 4))


def painted(rows, shown):
    """The figure as pixels: a function from row, column and a point of the frame to the colour there, 0 to 1."""
    frames = [np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8) for _ in rows[0][1]]
    figure = overlay.strips(frames, rows, shown)
    figure.set_dpi(300)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3] / 255

    def colour(row, column, x, y):
        right, up = figure.axes[row * len(shown) + column].transData.transform((x, y))
        return image[image.shape[0] - 1 - round(up), round(right)]

    return colour


BOX, OTHER, THIRD = [10.0, 20.0, 40.0, 50.0], [50.0, 5.0, 80.0, 30.0], [55.0, 35.0, 70.0, 55.0]
TOP, RIGHT, INSIDE = (30.0, 20.0), (40.0, 40.0), (30.0, 40.0)


def test_a_box_is_painted_on_its_edge_and_nowhere_else():
    colour = painted([("a", [labels(id7=BOX), Labels()])], [0, 1])
    for point in (TOP, RIGHT):
        np.testing.assert_allclose(colour(0, 0, *point), to_rgb(TRACKS[0]), atol=0.01)
        np.testing.assert_allclose(colour(0, 1, *point), 1)  # nothing is said of this frame
    np.testing.assert_allclose(colour(0, 0, *INSIDE), 1)
    np.testing.assert_allclose(colour(0, 0, 85.0, 55.0), 1)


def test_a_mask_is_tinted_within_its_box_and_an_empty_one_leaves_no_trace():
    visible, empty = np.zeros((2, HEIGHT, WIDTH), dtype=bool)
    visible[20:50, 10:40] = True
    frame = Labels(ids=np.array([7, 9]), masks=(masks.encode(visible), masks.encode(empty)))
    colour = painted([("a", [frame])], [0])
    np.testing.assert_allclose(colour(0, 0, *INSIDE), (1 + np.array(to_rgb(TRACKS[0]))) / 2, atol=0.02)
    for point in ((1.5, 1.5), (3.0, 3.0), (85.0, 55.0)):
        np.testing.assert_allclose(colour(0, 0, *point), 1)


def test_an_id_has_one_colour_in_every_frame_and_every_row():
    first, later = labels(id7=BOX, id9=OTHER), labels(id9=BOX)
    colour = painted([("a", [first, later]), ("b", [later, first])], [0, 1])
    seven, nine = to_rgb(TRACKS[0]), to_rgb(TRACKS[1])
    expected = {(0, 0): seven, (0, 1): nine, (1, 0): nine, (1, 1): seven}
    for place, shade in expected.items():
        np.testing.assert_allclose(colour(*place, *TOP), shade, atol=0.01)


def test_ids_that_are_far_apart_in_a_long_list_still_differ_in_colour():
    """Colours that repeat after so many ids would paint 1, 13 and 25 alike."""
    others = {f"id{number}": [0.0, 0.0, 1.0, 1.0] for number in range(1, 26) if number not in (1, 13, 25)}
    frame = labels(id1=BOX, id13=OTHER, id25=THIRD)
    colour = painted([("a", [frame, labels(**others)])], [0])
    shades = [colour(0, 0, 30.0, 20.0), colour(0, 0, 70.0, 5.0), colour(0, 0, 65.0, 35.0)]
    for index, one in enumerate(shades):
        assert all(np.abs(one - other).max() > 0.3 for other in shades[:index])


def lab(colour):
    """CIELAB of a colour of sRGB under D65."""
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in to_rgb(colour)]
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.array(to_xyz) @ linear / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_no_two_colours_look_alike():
    for index, one in enumerate(TRACKS):
        assert all(np.linalg.norm(lab(one) - lab(other)) > 45 for other in TRACKS[:index])


@pytest.mark.parametrize("seed", range(10))
def test_ids_that_are_seen_together_or_one_after_the_other_differ(seed):
    """A tracker that loses its objects: 150 ids in 60 frames, three to five at a time."""
    rng = np.random.default_rng(seed)
    frames, first = [], 0
    for _ in range(60):
        frames.append(list(range(first, first + int(rng.integers(3, 6)))))
        first += int(rng.integers(0, 5))
    rows = [frames, [[one % 7 for one in frame] for frame in frames]]
    found, streamed = overlay.colour_ids(rows), {}
    before = []
    for now in frames:
        overlay.colour_more(streamed, before, now)
        before = now
    for colours in (found, streamed):
        for one, other in pairwise(frames):
            together = {*one, *other}
            assert len({colours[identity] for identity in together}) == len(together)


@pytest.mark.parametrize("colour", TRACKS)
def test_ids_are_readable_on_their_colour(colour):
    bright = lab(colour)[0]
    assert abs(bright - lab(overlay._on(colour))[0]) > 46


def test_more_ids_than_colours_share_as_few_as_can_be():
    colours = overlay.colour_ids([[list(range(24))]])
    assert sorted(colours.values()) == sorted(2 * TRACKS)


def test_every_box_says_its_id():
    frames = [np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)] * 3
    figure = overlay.strips(frames, [("a", [labels(id7=BOX, id9=OTHER)] * 3)], [0, 2])
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["7", "9"]] * 2
    assert [axes.get_title() for axes in figure.axes] == ["frame 0", "frame 2"]


def test_an_id_keeps_its_colour_in_all_frames_of_a_video():
    ground = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    colours: dict[int, str] = {}
    before: list[int] = []
    edges: dict[int, set[tuple[int, ...]]] = {7: set(), 9: set(), 70: set()}
    for frame in (labels(id7=BOX), labels(id9=OTHER, id7=THIRD), labels(id70=BOX, id7=OTHER, id9=THIRD)):
        overlay.colour_more(colours, before, frame.ids.tolist())
        before = frame.ids.tolist()
        drawn = overlay.paint(ground, frame, colours)
        for identity, box in zip(frame.ids.tolist(), frame.boxes, strict=True):
            edges[identity].add(tuple(drawn[int(box[3]) - 1, int(box[2]) - 1].tolist()))
    assert [len(found) for found in edges.values()] == [1, 1, 1]
    assert len(set.union(*edges.values())) == 3
    assert not ground.any()


def test_masks_and_joints_are_drawn_in_the_colour_of_their_id():
    ground = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    visible = np.zeros((HEIGHT, WIDTH), dtype=bool)
    visible[20:50, 10:40] = True
    colour = np.array(to_rgb(TRACKS[0])) * 255
    tinted = overlay.paint(ground, Labels(ids=np.array([7]), masks=(masks.encode(visible),)), {7: TRACKS[0]})
    np.testing.assert_allclose(tinted[45, 35], colour / 2, atol=1)
    assert not tinted[55, 80].any()
    person = np.array([[[30.0, 40.0, 1.0], [60.0, 40.0, 0.0], [70.0, 50.0, 0.8]]])
    dotted = overlay.paint(ground, Labels(ids=np.array([7]), keypoints=person), {7: TRACKS[0]})
    np.testing.assert_allclose(dotted[50, 70], colour, atol=1)
    assert not dotted[40, 60].any()  # not seen


def test_what_is_not_in_sight_is_not_drawn():
    ground = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    empty = masks.encode(np.zeros((HEIGHT, WIDTH), dtype=bool))
    for one in (
        Labels(),
        Labels(ids=np.array([7]), masks=(empty,)),
        labels(id7=[np.nan] * 4),
        Labels(ids=np.array([7]), keypoints=np.full((1, 2, 3), (-1.0, -1.0, 0.0))),
    ):
        assert not overlay.paint(ground, one, {7: TRACKS[0]}).any()


def test_points_are_painted_where_they_are_visible_and_without_names():
    keypoints = np.array([[[20.0, 30.0, 1.0]], [[60.0, 30.0, 0.0]]])
    frame = Labels(ids=np.array([1, 2]), keypoints=keypoints)
    colour = painted([("points", [frame])], [0])
    np.testing.assert_allclose(colour(0, 0, 20, 30), to_rgb(TRACKS[0]), atol=0.02)
    assert (colour(0, 0, 60, 30) == 1).all()
    video = overlay.paint(np.full((HEIGHT, WIDTH, 3), 255, np.uint8), frame, {1: TRACKS[0], 2: TRACKS[1]})
    changed = (video != 255).any(axis=2)
    assert changed[30, 20]
    assert np.ptp(np.argwhere(changed), axis=0).max() < 12  # a name would reach further
