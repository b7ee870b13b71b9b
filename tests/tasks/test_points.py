"""The tracker of points on a picture that moves, in both query modes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

import unibench
from tests.datasets import layouts
from tests.tasks.test_pose import HEIGHT, SHIFT, WIDTH, Recorder, canvas, pixels
from unibench.datasets import points as tracked
from unibench.errors import DataError, UnknownNameError
from unibench.evaluation import score_again
from unibench.records import Clip, Frame, Labels, Truth
from unibench.results import store
from unibench.tasks import registry
from unibench.tasks.points.tracker import PointTrackerOptions, track

PLACES = np.array([[24.0, 24.0], [40.0, 56.0], [64.0, 32.0]])
SMALL = PointTrackerOptions(input_size=None, max_cycle=None)
LENGTH = 6


def made(visible: np.ndarray | None = None, offset: int = 0) -> tuple[Clip, Truth]:
    """A picture of coloured blocks that moves to the right with its points; they do not leave the frame."""
    picture = canvas()

    def frames() -> Iterator[Frame]:
        for t in range(LENGTH):
            yield Frame(t, np.roll(picture, SHIFT * t, axis=1))

    places = offset + PLACES[:, None] + np.arange(LENGTH)[None, :, None] * (SHIFT, 0)
    seen = np.ones(places.shape[:2], dtype=bool) if visible is None else visible
    truth = tracked.make_truth(places, seen, (HEIGHT, WIDTH))
    clip = Clip("blocks", HEIGHT, WIDTH, 25.0, LENGTH, frames)
    return tracked.with_queries(clip, truth), truth


def follow(clip: Clip, options: PointTrackerOptions = SMALL, offset: int = 0) -> list[Labels]:
    return [labels["a"] for labels in track(clip, pixels(Recorder(8, offset)), ["a"], options)]


@pytest.mark.parametrize("offset", [0, 4])
def test_points_follow_the_picture(offset):
    clip, truth = made(offset=offset)
    said = follow(clip, offset=offset)
    assert np.array_equal(said[0].keypoints, truth.labels[0].keypoints)
    for labels, true in zip(said, truth.labels, strict=True):
        assert labels.ids.tolist() == [1, 2, 3]
        assert np.abs(labels.keypoints - true.keypoints)[..., :2].max() <= 4  # half a cell
        assert (labels.keypoints[..., 2] == 1).all()


def test_a_point_is_said_from_the_frame_in_which_it_is_given():
    visible = np.ones((3, LENGTH), dtype=bool)
    visible[1, :2] = False
    clip, _ = made(visible)
    assert [labels.ids.tolist() for labels in follow(clip)] == [[1, 3]] * 2 + [[1, 2, 3]] * 4


def test_points_that_are_asked_for_again_are_followed_both_ways():
    visible = np.ones((3, LENGTH), dtype=bool)
    visible[1, 0] = visible[2, 5] = False
    clip, truth = tracked.ask_again(*made(visible))
    assert truth.queries.tolist() == [0, 0, 5, 5]  # points 1, 3 in frame 0, points 1, 2 in frame 5
    said = follow(clip, replace(SMALL, query_mode="strided"))
    for labels, true in zip(said, truth.labels, strict=True):
        assert labels.ids.tolist() == [1, 2, 3, 4]
        assert np.abs(labels.keypoints - true.keypoints)[..., :2].max() <= 4


def test_frames_are_squeezed_to_the_input_size_and_points_come_back_in_pixels():
    clip, truth = made()
    network = Recorder(8, 0)
    squeezed = replace(SMALL, input_size=(HEIGHT * 2, WIDTH * 3))
    for mode in ("first", "strided"):
        network.sizes.clear()
        asked = clip if mode == "first" else tracked.ask_again(clip, truth)[0]
        *_, last = track(asked, pixels(network), ["a"], replace(squeezed, query_mode=mode))
        assert set(network.sizes) == {(1, 3, 2 * HEIGHT, 3 * WIDTH)}
        assert len(network.sizes) == LENGTH * (1 if mode == "first" else 2)
        assert np.abs(last["a"].keypoints[:3, 0, :2] - PLACES - (SHIFT * 5, 0)).max() <= 4


def test_layers_share_the_pass():
    network = Recorder(8, 0)
    both = list(track(made()[0], pixels(network), ["a", "b"], SMALL))
    assert len(network.sizes) == LENGTH
    for labels in both:  # the second layer is the first one scaled
        np.testing.assert_allclose(labels["a"].keypoints, labels["b"].keypoints, atol=1e-4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda one: Labels(), "no point in any prompt, expected one or more; check its truth"),
        (
            lambda one: replace(one, ids=one.ids[:2]),
            r"frame 0 gives keypoints of shape \(3, 1, 3\) for 2 ids",
        ),
        (
            lambda one: replace(one, keypoints=np.zeros((3, 2, 3))),
            r"frame 0 gives keypoints of shape \(3, 2, 3\) for 3 ids; give each point one keypoint",
        ),
    ],
    ids=["none", "count", "pose"],
)
def test_bad_prompts_are_refused(spoil, message):
    clip, _ = made()

    def frames() -> Iterator[Frame]:
        for frame in clip.frames():
            yield replace(frame, prompt=Labels() if frame.index else spoil(frame.prompt))

    with pytest.raises(DataError, match=f"clip 'blocks': {message}"):
        follow(replace(clip, frames=frames))


def test_a_point_that_is_given_twice_is_refused():
    clip, truth = made()

    def frames() -> Iterator[Frame]:
        for frame in clip.frames():
            yield replace(frame, prompt=truth.labels[0])

    with pytest.raises(DataError, match="frame 1 gives a point again, expected new ids; check its truth"):
        follow(replace(clip, frames=frames))


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match=r"point tracker: input_size \(256, 0\), expected 1 or more pixels"):
        PointTrackerOptions((256, 0))
    with pytest.raises(UnknownNameError, match="no query mode of the point tracker 'last'"):
        PointTrackerOptions(query_mode="last")
    with pytest.raises(UnknownNameError, match="no head of the point tracker 'magic'"):
        PointTrackerOptions(head="magic")


def test_cut_short_only_the_frames_that_are_left_are_asked_for(tmp_path):
    layouts.images(tmp_path / "clip" / "img1", range(1, 13), digits=6, suffix=".jpg")
    tracks = np.random.default_rng(0).uniform(0.2, 0.8, (3, 12, 2))
    np.savez(tmp_path / "clip" / "points.npz", points=tracks, occluded=np.zeros((3, 12), dtype=bool))
    task = registry.find("points/folder@nearest-strided")
    clip, truth = registry.load_clip(task, tmp_path, "clip", 7)
    assert len(truth.labels) == clip.length == 7
    assert set(truth.queries.tolist()) == {0, 5}
    prompts = {frame.index: frame.prompt.ids.tolist() for frame in clip.frames() if len(frame.prompt.ids)}
    assert sorted(chain(*prompts.values())) == list(range(1, len(truth.queries) + 1))
    assert set(prompts) == {0, 5}


@pytest.mark.parametrize("preset", ["nearest", "nearest-strided"])
def test_what_is_stored_is_scored_again_in_its_query_mode(preset, tmp_path):
    made = unibench.evaluate(["lab-colour"], [f"points/synthetic-easy@{preset}"], output=tmp_path, frames=6)
    assert not made.failed
    (run,) = dict.fromkeys(map(store.run_of, made.rows))
    before = store.read_clips(tmp_path, run)
    (done,) = score_again.score_runs(tmp_path, [run], None)
    assert (done.clips, done.changed) == (2, 0)
    assert [one.truth for one in store.read_clips(tmp_path, run)] == [one.truth for one in before]
    assert {row.metric for row in made.rows} >= {"AJ", "delta_avg", "OA", "jaccard_4", "vot:d_avg"}


def test_both_query_modes_of_a_clip_in_one_run_are_what_they_are_alone(tmp_path):
    presets = ("nearest", "nearest-strided")
    torch.manual_seed(0)
    together = unibench.evaluate(
        ["random-resnet18"],
        [f"points/synthetic-easy@{one}" for one in presets],
        output=tmp_path / "a",
        frames=6,
    )
    alone = [
        unibench.evaluate(
            ["random-resnet18"], [f"points/synthetic-easy@{one}"], output=tmp_path / one, frames=6
        ).rows
        for one in presets
    ]
    assert sorted(map(str, together.rows)) == sorted(map(str, chain(*alone)))
