"""Tracks of the rendered points: the renderer's own geometry, so that what is seen at a point stays the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unibench.datasets.synthetic import paint, tracked
from unibench.datasets.synthetic.benchmark import benchmarks, scene

CLIPS = [
    (level, f"objects-{number}")
    for level in ("synthetic-easy", "synthetic", "synthetic-hard")
    for number in (1, 2)
]


@pytest.mark.parametrize(("level", "name"), CLIPS)
def test_a_visible_point_keeps_its_colour(level, name):
    """Without light, blur and noise, the pixel of a point is that of its texture, whatever moves."""
    plan = scene("objects", level, name)
    plan = replace(plan, difficulty=replace(plan.difficulty, light=0.0, tint=0.0, noise=0.0, blur=0.0))
    frames = np.stack(list(paint.images(plan))).astype(float)
    places, visible = tracked.follow(plan)
    x, y = np.moveaxis(np.rint(places).astype(int), 2, 0)
    x, y = x.clip(0, frames.shape[2] - 1), y.clip(0, frames.shape[1] - 1)
    times = np.arange(plan.length)[None]
    first = visible.argmax(axis=1)
    seen = frames[times, y, x]
    change = np.abs(seen - seen[np.arange(len(seen)), first][:, None]).mean(axis=2)
    still = np.abs(seen - frames[times, y[:, :1], x[:, :1]]).mean(axis=2)
    assert np.median(change[visible]) < 6  # grey levels: of textures read between pixels
    assert np.median(still[visible]) > 2 * np.median(change[visible])  # staying where it was is no answer
    assert np.median(change[~visible]) > 3 * np.median(change[visible])  # what hides it looks otherwise


@pytest.mark.parametrize(("level", "name"), CLIPS)
def test_points_lie_on_the_background_and_on_what_is_followed(level, name):
    plan = scene("objects", level, name)
    _, visible = tracked.follow(plan)
    assert visible.shape == (tracked.POINTS, plan.length)
    assert visible.any(axis=1).all()
    assert 0.05 < 1 - visible.mean() < 0.4
    alone = replace(plan, actors=())
    assert paint.surfaces(alone, 0).owner.max() == 0


def test_a_point_of_the_background_moves_with_the_camera():
    plan = scene("objects", "synthetic", "objects-1")
    for frame in (0, 9):
        to_frame = paint.surfaces(plan, frame).to_frame[0]
        back = plan.camera[frame]
        place = np.array([12.5, -40.0])
        there = to_frame[:, :2] @ place + to_frame[:, 2]
        np.testing.assert_allclose(back[:, :2] @ there + back[:, 2], place, atol=1e-9)


def test_surfaces_agree_with_the_masks_of_the_benchmark():
    plan = scene("objects", "synthetic", "objects-2")
    one = paint.surfaces(plan, 4)
    owner = np.zeros_like(one.owner)
    for number in paint.back_to_front(plan, 4):
        paint.silhouette(plan.actors[number], 4).claim(owner, number + 1)
    np.testing.assert_array_equal(one.actors[one.owner] + 1, owner)


def test_the_prompts_are_the_points_where_they_are_first_visible():
    clip, truth = benchmarks()["points/synthetic"].load(Path(), "objects-1")
    prompts = {frame.index: frame.prompt for frame in clip.frames()}
    visible = np.stack([labels.keypoints[:, 0, 2] > 0 for labels in truth.labels], axis=1)
    for point, first in enumerate(visible.argmax(axis=1), start=1):
        given = prompts[int(first)]
        assert point in given.ids
        row = given.ids.tolist().index(point)
        np.testing.assert_array_equal(given.keypoints[row], truth.labels[first].keypoints[point - 1])
