"""Single-object tracking: tables counted by hand, loops written out, and mmtracking's published case."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.metrics.scenes import boxes, square
from unibench.errors import DataError, TrackerError
from unibench.metrics import sot
from unibench.records import Labels, Truth

NAN = (np.nan,) * 4


def clip(*frames):
    return tuple(boxes({1: frame}) if frame is not None else Labels() for frame in frames)


def later(value):
    """GOT-10k's metrics, which leave frame 0 out, all of one value."""
    return dict.fromkeys(("AO", "SR50", "SR75"), value)


def test_four_frames_counted_by_hand():
    truth = Truth(clip(*[square(0)] * 4))
    # given; exact; IoU 50 / 150, half a width off; far away
    scores = sot.pool([sot.tally(truth, clip(square(500), square(0), square(5), square(100)))])
    assert scores["AUC"] == pytest.approx((7 * 3 / 4 + 13 * 2 / 4 + 0) / 21)
    assert scores["P@20"] == 3 / 4
    assert scores["NormP"] == 2 / 4
    assert scores["SR.5"] == 2 / 4


def test_got10k_leaves_frame_0_out_and_averages_over_the_frames_of_all_clips():
    # IoU .5 exactly, 2/3, 4/5, 1; and a clip of its own: 0
    long = Truth(clip(square(0), *[(0, 0, 10, 10)] * 4))
    said = clip(square(500), (0, 0, 10, 5), (0, 0, 10, 15), (0, 0, 10, 8), (0, 0, 10, 10))
    short = Truth(clip(square(0), square(0)))
    scores = sot.pool([sot.tally(long, said), sot.tally(short, clip(None, None))])
    assert scores["AO"] == pytest.approx((1 / 2 + 2 / 3 + 4 / 5 + 1 + 0) / 5)
    assert (scores["SR50"], scores["SR75"]) == (3 / 5, 2 / 5)


def test_got10k_metrics_are_those_of_its_toolkit_on_boxes_within_the_frame():
    """The toolkit, written out: IoU of frames 1.. of all clips in one list; hidden frames are not in it."""
    rng, tallies, ious = np.random.default_rng(8), [], []
    for length in (5, 30, 12):
        corner, side = rng.uniform(50, 80, (length, 2)), rng.uniform(5, 40, (length, 2))
        true, visible = np.hstack([corner, corner + side]), rng.random(length) < 0.8
        guess = true + rng.normal(0, 4, true.shape)
        visible[0] = True
        scored = tuple(np.flatnonzero(visible).tolist())
        tallies.append(sot.tally(Truth(clip(*true), scored=scored), clip(*guess)))
        sides = np.maximum(np.minimum(true[:, 2:], guess[:, 2:]) - np.maximum(true[:, :2], guess[:, :2]), 0)
        shared, areas = (
            sides.prod(axis=1),
            [np.prod(one[:, 2:] - one[:, :2], axis=1) for one in (true, guess)],
        )
        ious.append((shared / (areas[0] + areas[1] - shared + np.finfo(float).eps))[1:][visible[1:]])
    iou, scores = np.concatenate(ious), sot.pool(tallies)
    assert scores["AO"] == pytest.approx(iou.mean(), abs=1e-12)
    assert (scores["SR50"], scores["SR75"]) == ((iou > 0.5).mean(), (iou > 0.75).mean())


def test_got10k_brings_boxes_into_the_frame_as_its_toolkit_does():
    """`rect_iou(..., bound)`: a corner before 0 takes the box along; widths and heights end at the frame."""
    truth = Truth(clip(square(0), (-1, -1, 9, 9), (60, 0, 80, 20), (60, 0, 80, 20)), size=(50, 80))
    # the corner is moved from 1-based -9 to 0; beyond the right edge nothing is left; all of it lies outside
    said = clip(square(0), (-10, -1, 0, 9), (60, 0, 100, 20), (90, 0, 110, 20))
    scores = sot.pool([sot.tally(truth, said)])
    assert scores["AO"] == pytest.approx((1 + 1 + 0) / 3)
    unbounded = sot.pool([sot.tally(replace(truth, size=None), said)])
    assert unbounded["AO"] == pytest.approx((10 / 190 + 1 / 2 + 0) / 3)
    assert {name: scores[name] for name in ("AUC", "P@20", "NormP")} == {
        name: unbounded[name] for name in ("AUC", "P@20", "NormP")
    }


def test_a_clip_of_one_frame_has_no_ao():
    scores = sot.pool([sot.tally(Truth(clip(square(0))), clip(square(0)))])
    assert [np.isnan(scores[name]) for name in ("AO", "SR50", "SR75")] == [True] * 3


def test_overlap_must_be_strictly_larger_and_distance_may_be_equal():
    truth = Truth(clip(square(0), (0, 0, 10, 10), (0, 0, 100, 100)))
    scores = sot.pool([sot.tally(truth, clip(None, (0, 0, 10, 5), (20, 0, 120, 100)))])
    assert scores["SR.5"] == 2 / 3  # IoU exactly 0.5 fails; 0.667 does not
    assert scores["P@20"] == 1
    assert scores["NormP"] == 2 / 3  # (0, 0.25) fails; (0.2, 0) does not


def test_truth_as_prediction_scores_twenty_of_twenty_one():
    truth = Truth(clip(square(3.3), square(4.7), (0.1, 0.2, 17.3, 9.9)))
    scores = sot.pool([sot.tally(truth, truth.labels)])
    assert scores == pytest.approx({"AUC": 20 / 21, "P@20": 1, "NormP": 1, "SR.5": 1, **later(1)})


def test_a_tracker_that_says_nothing_has_the_first_frame():
    truth = Truth(clip(*[square(0)] * 5))
    scores = sot.pool([sot.tally(truth, [Labels()] * 5)])
    assert scores == pytest.approx(
        {"AUC": 20 / 21 / 5, "P@20": 1 / 5, "NormP": 1 / 5, "SR.5": 1 / 5, **later(0)}
    )


@pytest.mark.parametrize("bad", [(5, 5, 5, 20), (5, 5, 20, 5), (9, 9, 3, 3), NAN, None])
def test_a_frame_without_a_proper_truth_fails_whatever_is_said(bad):
    truth = Truth(clip(square(0), bad))
    for guess in (bad, square(0), None):
        scores = sot.pool([sot.tally(truth, clip(square(0), guess))])
        assert scores == pytest.approx(
            {"AUC": 20 / 21 / 2, "P@20": 1 / 2, "NormP": 1 / 2, "SR.5": 1 / 2, **later(0)}
        )


@pytest.mark.parametrize("corner", [0.0, -4.0])
def test_a_box_at_or_beyond_the_left_edge_is_a_box(corner):
    truth = Truth(clip(square(1), square(corner, corner)))
    assert sot.pool([sot.tally(truth, truth.labels)])["AUC"] == pytest.approx(20 / 21)


def test_clips_weigh_the_same_whatever_their_length():
    long, short = Truth(clip(*[square(0)] * 10)), Truth(clip(*[square(0)] * 2))
    tallies = [sot.tally(long, [Labels()] * 10), sot.tally(short, short.labels)]
    assert sot.pool(tallies)["SR.5"] == pytest.approx((1 / 10 + 1) / 2)


def test_only_scored_frames_count():
    truth = Truth(clip(square(0), None, square(0)), scored=(0, 2))
    assert sot.pool([sot.tally(truth, clip(None, None, square(0)))])["SR.5"] == 1


def test_equals_loops_written_out():
    rng = np.random.default_rng(3)
    corner, side = rng.uniform(0, 50, (40, 2)), rng.uniform(5, 40, (40, 2))
    true = np.concatenate([corner, corner + side], axis=1)
    guess = true + rng.normal(0, 6, true.shape)
    success, precise, normal = [0] * 21, 0, 0
    for (ax, ay, aX, aY), (bx, by, bX, bY) in zip(true, np.concatenate([true[:1], guess[1:]]), strict=True):
        shared = max(0, min(aX, bX) - max(ax, bx)) * max(0, min(aY, bY) - max(ay, by))
        iou = shared / ((aX - ax) * (aY - ay) + max(0, bX - bx) * max(0, bY - by) - shared)
        dx, dy = (ax + aX - bx - bX) / 2, (ay + aY - by - bY) / 2
        success = [hits + (iou > k * 0.05) for k, hits in enumerate(success)]
        precise += (dx**2 + dy**2) ** 0.5 <= 20
        normal += ((dx / (aX - ax)) ** 2 + (dy / (aY - ay)) ** 2) ** 0.5 <= 0.2
    scores = sot.pool([sot.tally(Truth(clip(*true)), clip(*guess))])
    assert scores["AUC"] == pytest.approx(sum(success) / 40 / 21, abs=1e-12)
    assert (scores["P@20"], scores["NormP"]) == (precise / 40, normal / 40)
    assert 0.2 < scores["NormP"] < 0.98
    assert 0.2 < scores["AUC"] < 0.9


def test_mmtracking_published(gold):
    tallies = []
    for folder in sorted((gold / "sot_ope_mmtracking").glob("video-*")):
        true = np.loadtxt(folder / "gt_xywh.txt", delimiter=",")
        true[:, 2:] += true[:, :2]
        guess = np.loadtxt(folder / "pred_xyxy.txt", delimiter=",")
        tallies.append(sot.tally(Truth(clip(*true)), clip(*guess), first_from_truth=False))
    published = json.loads((gold / "sot_ope_mmtracking/expected.json").read_text())["published"]
    scores = {name: round(100 * value, 3) for name, value in sot.pool(tallies).items()}
    assert scores["AUC"] == published["success"]
    assert scores["NormP"] == published["norm_precision"]
    assert scores["P@20"] == published["precision"]


def test_errors_say_what_to_do():
    truth = Truth(clip(square(0), square(0)))
    with pytest.raises(
        TrackerError, match=r"prediction: 1 frames, expected 2; yield the Labels of every frame"
    ):
        sot.tally(truth, clip(square(0)))
    with pytest.raises(TrackerError, match=r"prediction: frame 1 has 2 boxes, expected 1; give one target"):
        sot.tally(truth, [Labels(), boxes({1: square(0), 2: square(1)})])
    with pytest.raises(
        DataError, match=r"sot: no frame to score, expected one or more; check the clip's truth"
    ):
        sot.tally(Truth(()), [])
    with pytest.raises(DataError, match=r"metrics: no clip to pool; score at least one clip"):
        sot.pool([])
