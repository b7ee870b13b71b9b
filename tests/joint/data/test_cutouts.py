"""Objects that are cut out of a still and move over another: where they are, who they are, what they hide."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from unibench.errors import TrainingError
from unibench.geometry import masks
from unibench.joint.data import cutouts, registry, sampling
from unibench.joint.data.cutouts import CutoutOptions
from unibench.joint.data.sampling import SampleOptions, ViewOptions
from unibench.joint.system import AnnotatedImage
from unibench.records import Labels

CANVAS = ViewOptions(128, 128)


def still(*places: tuple[int, int, int, int], grey: int = 100, width: int = 64) -> AnnotatedImage:
    """Boxes filled with a grey of their own on black; the later ones hide the earlier ones, numbered from 0."""
    image, owner = np.zeros((48, width, 3), np.uint8), np.full((48, width), -1)
    for number, (x1, y1, x2, y2) in enumerate(places):
        image[y1:y2, x1:x2], owner[y1:y2, x1:x2] = grey + number, number
    labels = Labels(
        ids=np.arange(len(places)),
        boxes=np.array(places, float).reshape(-1, 4),
        classes=np.arange(len(places)) % 3,
    )
    encoded = [masks.encode(owner == number) for number in range(len(places))]
    return AnnotatedImage("still", lambda: image, labels, masks=lambda: encoded)


def cutout(
    x: float, y: float, step: tuple[float, float] = (0.0, 0.0), there: Sequence[bool] = (True,) * 3
) -> cutouts.Cutout:
    pixels, mask = np.full((10, 10, 3), 255, np.uint8), np.ones((10, 10), bool)
    return cutouts.Cutout(pixels, mask, 2, np.array([x, y]), np.array(step), np.array(there))


def test_whole_objects_are_cut_out_and_others_are_not():
    donor = still((0, 5, 12, 15), (20, 5, 32, 15), (26, 2, 40, 20), (45, 30, 60, 44))
    found = {
        int(one.pixels[0, 0, 0])
        for seed in range(40)
        for one in cutouts.moving(donor, 2, (48, 64), CutoutOptions(4, 0.1), np.random.default_rng(seed))
    }
    assert found == {102, 103}, "100 is at the edge, a side of 101 is hidden"


def test_their_number_places_and_ways():
    donor = still((5, 5, 15, 15), (20, 5, 30, 15), (35, 5, 45, 15), (50, 5, 60, 15))
    options = CutoutOptions(3, 0.25, gone=0.2)
    drawn = [cutouts.moving(donor, 3, (48, 64), options, np.random.default_rng(seed)) for seed in range(200)]
    assert {len(some) for some in drawn} == {1, 2, 3}
    centres = np.array([one.start + 5 for some in drawn for one in some])
    assert (centres >= 0).all()
    assert (centres <= [64, 48]).all()
    assert (centres.std(axis=0) > [15, 11]).all(), "anywhere"
    steps = np.array([one.step / [64, 48] for some in drawn for one in some])
    lengths = np.linalg.norm(steps, axis=1)
    assert lengths.max() <= 0.25
    assert lengths.max() > 0.24
    assert np.abs(steps.mean(axis=0)).max() < 0.02, "in all directions"
    there = np.array([one.there for some in drawn for one in some])
    assert there.shape[1] == 3
    assert abs(there.mean() - 0.8) < 0.05


def test_boxes_and_pixels_move_together_and_keep_their_number():
    below = still((2, 30, 12, 40))
    frames = [cutouts.over(below, [cutout(20, 10, (7, -3))], index, 0.25) for index in range(3)]
    for index, frame in enumerate(frames):
        labels = frame.labels
        assert labels.ids.tolist() == [0, 1]
        assert labels.classes.tolist() == [0, 2]
        assert labels.boxes[0].tolist() == [2, 30, 12, 40], "the still's own objects stay"
        x1, y1, x2, y2 = labels.boxes[1].astype(int)
        assert (x1, y1, x2, y2) == (20 + 7 * index, 10 - 3 * index, 30 + 7 * index, 20 - 3 * index)
        assert (frame.image()[y1:y2, x1:x2] == 255).all()
        assert int((frame.image() == 255).sum()) == 3 * 100
        assert [masks.box(one).tolist() for one in frame.masks()] == labels.boxes.tolist()
    assert not (below.image() == 255).any(), "the still itself is not painted on"


@pytest.mark.parametrize(
    ("x", "left", "ignored"),
    [(40.0, [0, 1], 0), (16.0, [0, 1], 0), (12.0, [1], 1), (10.0, [1], 0)],
    ids=["apart", "hidden a little", "hidden mostly", "hidden"],
)
def test_who_is_hidden_is_not_in_the_truth(x: float, left: list[int], ignored: int):
    frame = cutouts.over(still((10, 10, 20, 20)), [cutout(x, 10)], 0, 0.25)
    assert frame.labels.ids.tolist() == left
    assert len(frame.ignored) == ignored


def test_the_box_of_a_partly_hidden_object_is_that_of_the_whole():
    frame = cutouts.over(still((10, 10, 20, 20)), [cutout(16, 10), cutout(20, 14)], 0, 0.25)
    assert frame.labels.boxes.tolist() == [[10, 10, 20, 20], [16, 10, 26, 20], [20, 14, 30, 24]]
    assert [int(masks.area(one)) for one in frame.masks()] == [60, 64, 100]


@pytest.mark.parametrize(
    ("x", "there", "ignored"), [(-5, True, 0), (-8, False, 1), (-10, False, 0), (70, False, 0)]
)
def test_who_leaves_is_gone(x: float, there: bool, ignored: int):
    frame = cutouts.over(still(), [cutout(x, 10)], 0, 0.25)
    assert len(frame.labels.ids) == there
    assert len(frame.ignored) == ignored
    if there:
        assert frame.labels.boxes.tolist() == [[0, 10, x + 10, 20]]


def test_who_is_not_there_leaves_no_trace():
    below = still((10, 10, 20, 20))
    there, gone, back = (
        cutouts.over(below, [cutout(14, 10, (2, 0), (True, False, True))], index, 0.25) for index in range(3)
    )
    assert there.labels.ids.tolist() == back.labels.ids.tolist() == [0, 1]
    assert gone.labels.ids.tolist() == [0]
    assert (gone.image() == below.image()).all()
    assert len(gone.ignored) == 0
    assert back.labels.boxes[1].tolist() == [18, 10, 28, 20], "it has moved meanwhile"


def test_batches_have_them_and_stay_the_same():
    given, options = [registry.read("synthetic:stills")], SampleOptions(time=2, stills=True, flip=0.0)
    plain = sampling.batches(given, options, CANVAS, seed=3, step=0, size=8)
    options = replace(options, cutouts=CutoutOptions(3, 0.1))
    first, again = (sampling.batches(given, options, CANVAS, seed=3, step=0, size=8) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(plain.images[:, 0], plain.images[:, 1])
    assert (first.images[:, 0] != first.images[:, 1]).flatten(1).any(dim=1).sum() >= 6
    for before, clip in zip(plain.targets, first.targets, strict=True):
        here = {int(one) for one in clip[0].ids}
        assert max(here) <= len(before[0].ids) + 2
        assert len(clip[0].boxes) == len(clip[0].ids) == len(clip[0].classes)


@pytest.mark.parametrize("masks_of", [tuple, lambda: [masks.encode(np.ones((48, 64), bool))] * 3])
def test_stills_without_masks_are_named(masks_of: Callable[[], Sequence[object]]):
    donor = replace(still((5, 5, 15, 15)), masks=masks_of)
    with pytest.raises(TrainingError, match=r"image 'still': [03] masks of 1 objects.*sample\.cutouts\.most"):
        cutouts.moving(donor, 2, (48, 64), CutoutOptions(3, 0.1), np.random.default_rng(0))
    with pytest.raises(TrainingError, match="set it to 0"):
        cutouts.over(donor, [], 0, 0.25)
