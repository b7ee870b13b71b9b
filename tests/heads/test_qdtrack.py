from dataclasses import replace

import numpy as np
import pytest

from heads.qdtrack import BDD_MOT, BDD_MOTS, MOTS20, QDTrack, QDTrackOptions, bisoftmax


def play(frames, options=MOTS20):
    """The ids of every frame, and the tracker after the last; an object is (look, x, score, class)."""
    tracker, ids = QDTrack(options), []
    for frame in frames:
        boxes = np.array([[x, 0, x + 10, 10] for _, x, _, _ in frame], dtype=float).reshape(-1, 4)
        looks = 9 * np.eye(8)[[look for look, *_ in frame]].reshape(-1, 8)
        scores = np.array([score for *_, score, _ in frame], dtype=float)
        classes = np.array([label for *_, label in frame], dtype=np.int64)
        tracker, found = tracker.step(boxes, scores, classes, looks)
        ids.append(found.tolist())
    return ids, tracker


@pytest.mark.parametrize(
    ("name", "options"), [("class_defaults", MOTS20), ("bdd_mot", BDD_MOT), ("bdd_mots", BDD_MOTS)]
)
def test_the_published_code_gives_the_same_ids(gold, name, options):
    case, tracker = np.load(gold / "joint_parts/qdtrack.npz"), QDTrack(options)
    for frame, count in enumerate(case["counts"]):
        given = case["boxes"][frame, :count]
        tracker, ids = tracker.step(
            given[:, :4].astype(float),
            given[:, 4].astype(float).round(6),  # .8 is no more than .8, in either precision
            case["labels"][frame, :count].astype(np.int64),
            case["embeddings"][frame, :count].astype(float),
        )
        expected = np.zeros(count, dtype=np.int64)
        kept = case[f"{name}_ids"][frame] != -9
        for id, box in zip(case[f"{name}_ids"][frame][kept], case[f"{name}_boxes"][frame][kept], strict=True):
            expected[np.flatnonzero((given == box).all(axis=1))[0]] = max(id + 1, 0)
        np.testing.assert_array_equal(ids, expected, err_msg=f"frame {frame}")


def test_objects_are_found_again_wherever_they_are():
    ids, _ = play([[(0, 0, 0.9, 0), (1, 100, 0.9, 0)], [(1, 500, 0.9, 0), (0, 300, 0.9, 0)]])
    assert ids == [[1, 2], [2, 1]]


def test_a_weak_object_joins_no_track_and_starts_none():
    ids, tracker = play([[(0, 0, 0.9, 0)], [(0, 0, 0.4, 0)], [(0, 0, 0.9, 0)]])
    assert ids == [[1], [0], [1]]
    assert tracker.next_id == 2


def test_objects_of_two_classes_are_never_one():
    assert play([[(0, 0, 0.9, 0)], [(0, 0, 0.9, 1)]])[0] == [[1], [2]]


def test_a_repeated_object_is_dropped_whatever_its_class():
    assert play([[(0, 0, 0.9, 0), (1, 1, 0.85, 1)]])[0] == [[1, 0]]  # IoU 9 / 11
    assert play([[(0, 0, 0.9, 0), (1, 4, 0.85, 1)]])[0] == [[1, 2]]  # IoU 6 / 14


def test_a_track_is_forgotten_when_it_was_not_seen_for_so_many_frames():
    options, other, both = replace(MOTS20, memory=3), [(1, 100, 0.9, 0)], [(0, 0, 0.9, 0), (1, 100, 0.9, 0)]
    assert play([both, other, other, both], options)[0][-1] == [1, 2]
    assert play([both, other, other, other, both], options)[0][-1] == [3, 2]


def test_the_only_object_joins_the_only_track_however_unlike_it_is():
    """A soft-max over one is 1, as published."""
    assert play([[(0, 0, 0.9, 0)], [(1, 100, 0.9, 0)]])[0] == [[1], [1]]


def test_an_object_that_was_a_backdrop_joins_no_track():
    """It is as alike to the track, but more so to the backdrop."""
    seen = [[(0, 0, 0.9, 0), (1, 100, 0.3, 0)], [(1, 100, 0.9, 0)]]
    assert play(seen)[0] == [[1, 0], [2]]
    assert len(play(seen[:1])[1].backdrops[0].ids) == 1
    assert play([*seen[:1], []])[1].backdrops[0].ids.tolist() == [0]  # an empty frame forgets nothing


def test_a_track_keeps_a_share_of_its_embedding():
    tracker = play([[(0, 0, 0.9, 0)], [(0, 0, 0.9, 0)]])[1]
    box, one, label = np.array([[0.0, 0, 10, 10]]), np.ones(1), np.zeros(1, np.int64)
    tracker, _ = tracker.step(box, one, label, np.full((1, 8), 9.0))
    np.testing.assert_allclose(tracker.tracks.embeddings, [[9.0] + [7.2] * 7])


def test_bisoftmax_is_the_mean_of_both_directions():
    found = bisoftmax(np.log([[1.0, 3.0], [1.0, 1.0]]))
    np.testing.assert_allclose(
        found, [[(1 / 4 + 1 / 2) / 2, (3 / 4 + 3 / 4) / 2], [1 / 2, (1 / 2 + 1 / 4) / 2]]
    )


def test_unit_vectors_need_a_temperature():
    """Of four orthogonal ones the soft-max of the right track is e / (e + 3) = .475, below the limit."""
    boxes, scores = np.array([[50.0 * x, 0, 50 * x + 10, 10] for x in range(4)]), np.ones(4)
    for temperature, expected in ((1.0, [5, 6, 7, 8]), (0.5, [1, 2, 3, 4])):
        tracker = QDTrack(QDTrackOptions(temperature=temperature))
        tracker, _ = tracker.step(boxes, scores, np.zeros(4, np.int64), np.eye(4))
        assert tracker.step(boxes, scores, np.zeros(4, np.int64), np.eye(4))[1].tolist() == expected


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"^qdtrack: temperature is 0.0, expected more than 0"):
        QDTrackOptions(temperature=0.0)
