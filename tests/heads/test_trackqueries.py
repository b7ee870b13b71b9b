import numpy as np
import pytest

from heads.trackqueries import TrackQueryOptions, TrackQueryState

DEFAULT = TrackQueryOptions()


def play(frames, options=DEFAULT):
    """The ids of every frame, and the tracker after the last.

    A frame is the answers to the tracks (score, or (x, score), or (x, score, class)), those to the object queries, and
    perhaps public boxes by their x. A track's box stays where it was unless x is said.
    """
    tracker, ids = TrackQueryState(options), []
    for tracks, objects, *public in frames:
        assert len(tracks) == len(tracker.asked.ids)
        places = tracker.asked.boxes[:, 0].tolist() + [0.0] * len(objects)
        answers = [
            one if isinstance(one, tuple) else (place, one)
            for one, place in zip([*tracks, *objects], places, strict=True)
        ]
        given = np.array([boxed(x) for x in public[0]], dtype=float).reshape(-1, 4) if public else None
        tracker, found = tracker.step(
            np.array([boxed(x) for x, *_ in answers], dtype=float).reshape(-1, 4),
            np.array([score for _, score, *_ in answers], dtype=float),
            np.array([label[0] if label else 0 for _, _, *label in answers], dtype=np.int64),
            np.arange(len(answers), dtype=float)[:, None] * np.ones((1, 3)),
            given,
        )
        ids.append(found.tolist())
    return ids, tracker


def boxed(x):
    return [x, 0, x + 10, 10]


def test_trackformers_code_gives_the_same_ids_in_the_same_frames(gold):
    case, tracker, rows = np.load(gold / "joint_parts/trackformer_tracker.npz"), TrackQueryState(), []
    asked = [*case["track_queries"], None]
    for frame, scores in enumerate(case["scores"]):
        count = int(case["track_queries"][frame] + case["object_queries"])
        assert (scores[:count] >= 0).all()
        assert (scores[count:] == -1).all()
        boxes = case["boxes"][frame, :count]
        tracker, ids = tracker.step(boxes, scores[:count], np.zeros(count, np.int64), boxes)
        for row in np.flatnonzero(ids)[np.argsort(ids[ids > 0])]:
            rows.append([frame, ids[row] - 1, *boxes[row], scores[row]])
        assert asked[frame + 1] in (None, len(tracker.asked.ids)), frame
        ended = case["inactive_after"][frame] - len(tracker.inactive.ids)
        assert ended == (
            frame == 9
        )  # lost in frame 4; ours ends when its last frame does, theirs before the next
    np.testing.assert_array_equal(np.array(rows), case["rows_frame_id_xyxy_score"])


BIRTHS = ([], [(0, 0.9), (100, 0.8)])


def test_a_track_is_born_goes_on_is_lost_and_returns():
    ids, tracker = play([BIRTHS, ([0.9, 0.1], [0.0]), ([0.9, 0.1], [0.0]), ([0.9, (130, 0.5)], [0.0])])
    assert ids == [[1, 2], [1, 0, 0], [1, 0, 0], [1, 2, 0]]
    assert tracker.active.boxes[:, 0].tolist() == [0, 130]
    assert len(tracker.inactive.ids) == 0


def test_a_lost_track_is_asked_for_where_it_was_last_found_after_those_lost_before():
    births = ([], [(0, 0.9), (100, 0.9), (200, 0.9)])
    _, tracker = play([births, ([0.9, (50, 0.1), 0.9], []), ([(9, 0.1), 0.9, 0.2], [])])
    assert tracker.asked.ids.tolist() == [3, 2, 1]
    assert tracker.asked.boxes[:, 0].tolist() == [200, 100, 0]
    assert tracker.asked.embeddings[:, 0].tolist() == [
        1,
        1,
        0,
    ]  # rows of the queries in which they were last found


def test_scores_at_a_limit_are_too_low():
    assert play([([], [(0, 0.4), (50, 0.41)])])[0] == [[0, 1]]
    assert play([([], [(0, 0.9)]), ([0.4], []), ([0.4], [])])[0] == [[1], [0], [0]]


def test_a_track_ends_after_more_than_five_frames_without_it():
    born, absent = ([], [(0, 0.9)]), ([0.1], [])
    assert play([born, *[absent] * 5])[1].asked.ids.tolist() == [1]
    assert play([born, *[absent] * 6])[1].asked.ids.tolist() == []
    assert play([born, *[absent] * 5, ([0.5], [])])[0][-1] == [1]


def test_frames_without_a_track_add_up_over_its_life():
    _, tracker = play([([], [(0, 0.9)]), *[([0.1], [])] * 4, ([0.9], []), ([0.1], [])])
    assert tracker.inactive.missed.tolist() == [5]
    _, tracker = play([([], [(0, 0.9)]), *[([0.1], [])] * 4, ([0.9], []), ([0.1], []), ([0.1], [])])
    assert tracker.asked.ids.tolist() == []


def test_of_two_tracks_in_one_place_the_weaker_one_ends_at_once():
    ids, tracker = play([BIRTHS, ([(50, 0.6), (50, 0.7)], [])])
    assert ids[1] == [0, 2]
    assert tracker.asked.ids.tolist() == [2]


def test_a_track_that_returns_to_anothers_place_ends():
    ids, tracker = play([BIRTHS, ([0.9, 0.1], []), ([0.9, (0, 0.8)], [])])
    assert ids[2] == [1, 0]
    assert tracker.asked.ids.tolist() == [1]


def test_a_birth_in_a_tracks_place_is_suppressed_however_strong_and_its_id_is_lost():
    ids, _ = play([([], [(0, 0.9)]), ([0.5], [(0, 0.99)]), ([0.5], [(50, 0.6), (50, 0.9), (54, 0.7)])])
    assert ids == [[1], [1, 0], [1, 0, 4, 5]]


def test_overlaps_of_less_than_nine_tenths_are_two_objects():
    assert play([([], [(0, 0.9), (0.4, 0.8), (1, 0.7)])])[0] == [[1, 0, 3]]  # IoU 9.6 / 10.4 and 9 / 11


def test_a_track_that_is_found_as_another_class_is_not_found():
    ids, tracker = play([([], [(0, 0.9, 1)]), ([(0, 0.9, 0)], []), ([(0, 0.9, 1)], [])])
    assert ids == [[1], [0], [1]]
    assert tracker.active.classes.tolist() == [1]


def test_a_birth_needs_a_public_box_that_half_covers_it():
    assert play([([], [(0, 0.9), (100, 0.9)], [3, 104])])[0] == [[1, 0]]  # IoU 7 / 13 and 6 / 14
    assert play([([], [(0, 0.9)], [])])[0] == [[0]]
    assert play([([], [(0, 0.9)], [5])], TrackQueryOptions(public_iou=1 / 3))[0] == [[1]]  # at the limit


def test_each_public_box_allows_one_birth():
    assert play([([], [(0, 0.5), (1.5, 0.9)], [0])])[0] == [[1, 0]]
    assert play([([], [(0, 0.5), (1.5, 0.9)], [0, 0.5])])[0] == [[1, 2]]  # the second takes the next best


def test_a_track_goes_on_without_a_public_box():
    assert play([([], [(0, 0.9)], [0]), ([0.9], [(0, 0.0)], [])])[0] == [[1], [1, 0]]


def test_a_lost_track_with_an_empty_box_is_not_asked_for():
    tracker, one = TrackQueryState(), np.ones(1)
    line = np.array([[5.0, 0, 5, 10]])
    tracker, _ = tracker.step(line, one, np.zeros(1, np.int64), np.zeros((1, 2)))
    assert tracker.asked.ids.tolist() == [1]
    tracker, _ = tracker.step(line, 0 * one, np.zeros(1, np.int64), np.zeros((1, 2)))
    assert tracker.asked.ids.tolist() == []


def test_a_step_changes_nothing_but_what_it_returns():
    _, tracker = play([BIRTHS, ([0.9, 0.1], [])])
    before = [value.copy() for value in vars(tracker.asked).values()]
    answers = (np.zeros((3, 4)), np.array([0.9, 0.9, 0.0]), np.zeros(3, np.int64), np.zeros((3, 3)))
    twice = [tracker.step(*answers)[1].tolist() for _ in range(2)]
    assert twice[0] == twice[1]
    for value, old in zip(vars(tracker.asked).values(), before, strict=True):
        np.testing.assert_array_equal(value, old)


def test_answers_that_do_not_fit_are_refused():
    _, tracker = play([BIRTHS])
    none = np.zeros(1, np.int64)
    with pytest.raises(
        ValueError, match=r"^trackqueries: 1 queries, expected at least the 2 tracks that are asked for"
    ):
        tracker.step(np.zeros((1, 4)), np.zeros(1), none, np.zeros((1, 3)))
    for box, score in ((np.nan, 1.0), (np.inf, 1.0), (0.0, np.nan)):
        with pytest.raises(ValueError, match=r"^trackqueries: a box or a score is not finite"):
            TrackQueryState().step(np.full((1, 4), box), np.array([score]), none, np.zeros((1, 3)))
