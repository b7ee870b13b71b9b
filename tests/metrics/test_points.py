"""Point tracking: TAP-Vid's known answers, tables counted by hand, and VOT's measure under its own name."""

import json
from dataclasses import replace

import numpy as np
import pytest

from unibench.errors import DataError, TrackerError
from unibench.metrics import points
from unibench.records import Labels, Truth

NAMES = {"AJ": "average_jaccard", "delta_avg": "average_pts_within_thresh", "OA": "occlusion_accuracy"}
SIZE = (256, 256)


def frame(*rows: tuple[float, float, float]) -> Labels:
    """One point a row: x, y and whether it is visible; None leaves the point out."""
    kept = [(place, row) for place, row in enumerate(rows, start=1) if row is not None]
    keypoints = np.array([row for _, row in kept], dtype=np.float64).reshape(len(kept), 1, 3)
    return Labels(ids=np.array([place for place, _ in kept], dtype=np.int64), keypoints=keypoints)


def score(truth: Truth, prediction: list[Labels]) -> dict[str, float]:
    return points.pool([points.tally(truth, prediction)])


@pytest.mark.parametrize("mode", ["first", "strided"])
def test_the_benchmarks_own_scorer(mode, gold):
    expected = json.loads((gold / "tapvid" / "expected.json").read_text())
    with np.load(gold / "tapvid" / f"{mode}.npz", allow_pickle=False) as content:
        case = {name: content[name][0] for name in content if not name.startswith(("tracks", "occluded"))}
    visible = ~case["target_occluded"]
    asked = None if mode == "first" else case["query_points"][:, 0].round().astype(np.int64)
    counted = points.evaluated(visible, asked)
    arrays = (case["target_points"], visible, case["predicted_points"], ~case["predicted_occluded"], counted)
    arrays = tuple(one if one.dtype == bool else one.astype(np.float64) for one in arrays)
    pooled, alone = points.scores(*arrays), points.scores(*arrays, by_point=True)
    assert set(pooled) == set(points.NAMES)
    for name in pooled:
        theirs = NAMES.get(name, name)
        assert pooled[name] == pytest.approx(expected[mode][theirs], abs=1e-9)
        np.testing.assert_allclose(alone[name], case[f"trackwise_{theirs}"], rtol=0, atol=1e-9)


def test_two_points_counted_by_hand():
    truth = Truth(
        (
            frame((10, 10, 1), (50, 50, 0)),
            frame((10, 10, 1), (50, 50, 1)),  # the second point is asked for here
            frame((10, 10, 1), (50, 50, 1)),
            frame((10, 10, 0), (50, 50, 1)),
        ),
        size=SIZE,
    )
    said = [
        frame((99, 99, 0), None),
        frame((13, 10, 1), (0, 0, 0)),  # 3 px off
        frame((10, 10, 1), (50, 50, 0)),  # right; right place, but called occluded
        frame((10, 10, 1), (50, 70, 1)),  # called visible; 20 px off
    ]
    scores = score(truth, said)
    # visible and counted: first point in frames 1, 2; second in frames 2, 3
    assert [scores[f"pts_within_{limit}"] for limit in points.THRESHOLDS] == [
        2 / 4,
        2 / 4,
        3 / 4,
        3 / 4,
        3 / 4,
    ]
    # true positives: frame 2 of the first, from 4 px on frame 1 too; false alarms: frame 3 of both, below 4 px frame 1
    assert [scores[f"jaccard_{limit}"] for limit in points.THRESHOLDS] == [1 / 7, 1 / 7, 2 / 6, 2 / 6, 2 / 6]
    assert scores["OA"] == 3 / 5
    assert scores["AJ"] == pytest.approx((2 / 7 + 1) / 5)


def test_a_point_that_is_asked_for_again_counts_in_all_other_frames():
    labels = tuple(frame((10, 10, 1)) for _ in range(4))
    truth = Truth(labels, size=SIZE, queries=np.array([2]))
    early, late = [frame((99, 10, 1)), *labels[1:]], [*labels[:2], frame((99, 10, 1)), labels[3]]
    assert score(truth, early)["pts_within_1"] == 2 / 3
    assert score(truth, late)["pts_within_1"] == 1
    assert score(replace(truth, queries=None), early)["pts_within_1"] == 1


def test_pixels_are_those_of_a_square_raster_and_vots_another():
    wide = Truth(tuple(frame((100, 10, 1)) for _ in range(2)), size=(101, 513))
    beside = [frame((100, 10, 1)), frame((108, 10, 1))]  # 3.99 px of 256, 3.98 of VOT's
    assert score(wide, beside)["pts_within_4"] == 1
    narrow = replace(wide, size=(101, 512))  # 4 px, which is not below 4; 3.99 of VOT's
    assert score(narrow, beside)["pts_within_4"] == 0
    assert score(narrow, beside)["delta_avg"] == pytest.approx(2 / 5)
    assert score(narrow, beside)["vot:d_avg"] == pytest.approx(3 / 5)


def test_clips_are_averaged_and_vots_frames_are_pooled():
    right, wrong = frame((10, 10, 1)), frame((99, 10, 1))
    long = points.tally(Truth((right,) * 5, size=SIZE), [right] * 5)
    short = points.tally(Truth((right,) * 2, size=SIZE), [right, wrong])
    pooled = points.pool([long, short])
    assert pooled["AJ"] == pooled["delta_avg"] == 1 / 2
    assert pooled["vot:d_avg"] == 4 / 5


def test_what_is_defined_in_no_clip_has_no_value_and_no_say():
    right, hidden = frame((10, 10, 1)), frame((10, 10, 0))
    unseen = Truth((right, hidden, hidden), size=SIZE)
    alone = score(unseen, [right, hidden, hidden])
    assert (alone["OA"], np.isnan(alone["AJ"]), alone["vot:d_avg"]) == (1, True, 0)
    seen = points.tally(Truth((right, right), size=SIZE), [right, right])
    pooled = points.pool([seen, points.tally(unseen, [right, right, right])])
    assert (pooled["delta_avg"], pooled["AJ"], pooled["OA"]) == (1, 1 / 2, 1 / 2)


def test_errors_say_what_to_do():
    truth = Truth((frame((1, 1, 1)),) * 2, size=SIZE)
    with pytest.raises(
        TrackerError, match=r"prediction: 1 frames, expected 2; yield the Labels of every frame"
    ):
        points.tally(truth, [frame()])
    pose = Labels(ids=np.array([1]), keypoints=np.zeros((1, 2, 3)))
    with pytest.raises(
        TrackerError, match=r"frame 1 has 1 objects of 2 keypoints for 1 ids, expected 1 for each"
    ):
        points.tally(truth, [frame(), pose])
    with pytest.raises(DataError, match="points: frames of unknown size, expected height and width"):
        points.tally(replace(truth, size=None), [frame(), frame()])
