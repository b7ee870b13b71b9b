from dataclasses import replace

import numpy as np
import pytest

from heads.bytetrack import MOT17, MOT17_BUFFERS, MOT20, ByteTrack, ByteTrackOptions, interpolate, plausible


def play(frames, options=MOT17):
    """The ids of every frame; a frame is rows (x, score) of objects of 40 x 100 pixels."""
    tracker, ids = ByteTrack(options), []
    for frame in frames:
        boxes = np.array([[x, 0, x + 40, 100] for x, _ in frame], dtype=float).reshape(-1, 4)
        tracker, found, _ = tracker.step(boxes, np.array([score for _, score in frame], dtype=float))
        ids.append(found.tolist())
    return ids


@pytest.mark.parametrize(("name", "options"), [("mot17", MOT17), ("mot20", MOT20)])
def test_the_published_code_gives_the_same_tracks(gold, name, options):
    """Its scripts do not call the tracker in frames without an observation: time stands still in them."""
    case = np.load(gold / "joint_parts/bytetrack.npz")
    tracker, rows = ByteTrack(options), []
    for frame, count in enumerate(case["counts"]):
        if not count:
            continue
        found = case["detections_xyxy_score"][frame, :count]
        tracker, ids, boxes = tracker.step(found[:, :4], found[:, 4])
        sized = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], found[:, 4]])
        rows += [(frame, id, *row) for id, row in zip(ids.tolist(), sized.tolist(), strict=True) if id]
    expected = sorted(case[f"{name}_rows_frame_id_tlwh_score"].tolist())
    assert [row[:2] for row in sorted(rows)] == [tuple(row[:2]) for row in expected]
    np.testing.assert_allclose(sorted(rows), expected, atol=1e-4, rtol=0)


def test_a_weak_observation_continues_a_track_and_starts_none():
    assert play([[(0, 0.9), (300, 0.3)], [(1, 0.3), (300, 0.3)]]) == [[1, 0], [1, 0]]


def test_a_score_at_the_limit_takes_part_in_no_stage():
    assert play([[(0, 0.9)], [(0, 0.6)]]) == [[1], [0]]
    assert play([[(0, 0.9)], [(0, 0.61)]]) == [[1], [1]]


def test_a_weak_observation_does_not_bring_a_lost_track_back():
    assert play([[(0, 0.9)], [], [(0, 0.3)]]) == [[1], [], [0]]
    assert play([[(0, 0.9)], [], [(0, 0.9)]]) == [[1], [], [1]]


def test_a_score_lowers_the_overlap_that_is_enough():
    """IoU 11 / 71 of 40 pixels that moved by 30, last pixels counted: alone it is enough for a limit of .9."""
    assert play([[(0, 0.9)], [(30, 0.61)]]) == [[1], [0]]
    assert play([[(0, 0.9)], [(30, 0.61)]], replace(MOT17, fuse_score=False)) == [[1], [1]]


def test_a_track_is_forgotten_after_its_clips_own_buffer():
    options = replace(MOT17, buffer=3.0, buffers={"MOT17-05": 1.0})
    gone = [[(0, 0.9)], [], [], [(0, 0.9)]]
    assert play(gone, options.for_clip("MOT17-02-FRCNN"))[-1] == [1]
    assert play(gone, options.for_clip("MOT17-05-FRCNN"))[-1] == [0]


def test_buffers_of_single_sequences_are_off_by_default():
    assert not MOT17.buffers
    assert MOT17.for_clip("MOT17-05-FRCNN") == MOT17
    assert replace(MOT17, buffers=MOT17_BUFFERS).for_clip("MOT17-05-FRCNN").buffer == 14


def test_objects_of_two_classes_are_never_one():
    box = np.array([[0.0, 0, 40, 100]])
    tracker, first, _ = ByteTrack().step(box, np.ones(1), np.array([0]))
    assert tracker.step(box, np.ones(1), np.array([0]))[1] == first
    assert tracker.step(box, np.ones(1), np.array([1]))[1] == [0]


def test_what_is_written_is_neither_small_nor_wide():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10.1], [0, 0, 16.1, 10], [0, 0, 16, 10]], dtype=float)
    assert plausible(boxes, MOT17).tolist() == [1, 3]


def test_gaps_are_filled_by_straight_lines():
    frames = [0, 1, 2, 3, 4, 7]
    ids = [np.array([5] if index in frames else [], dtype=np.int64) for index in range(8)]
    boxes = [np.full((len(one), 4), 10.0 * index) for index, one in enumerate(ids)]
    filled = interpolate(ids, boxes)
    assert [names.tolist() for names, _ in filled] == [[]] * 5 + [[5], [5]] + [[]]
    np.testing.assert_allclose([filled[5][1][0], filled[6][1][0]], [[50.0] * 4, [60.0] * 4])
    assert not any(len(names) for names, _ in interpolate(ids, boxes, gap=3))
    assert not any(len(names) for names, _ in interpolate(ids, boxes, length=6))


def test_scores_out_of_order_are_refused():
    with pytest.raises(
        ValueError, match=r"^bytetrack: low_score 0.1, high_score 0.8, birth_score 0.7, expected"
    ):
        ByteTrackOptions(high_score=0.8)
