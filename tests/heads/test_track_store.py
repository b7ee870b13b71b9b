from dataclasses import replace

import numpy as np
import pytest

from heads.track_store import Observations, Store, StoreOptions, greedy, step

JOINT = StoreOptions(embeddings=True, min_iou=0.4, min_cosine=0.5, history=5, patience=40)
OVERLAP = replace(JOINT, embeddings=False)


def objects(*rows, label=0):
    """Rows (look, x) as objects of 10 x 10 pixels: `look` numbers one of 8 orthogonal appearances."""
    boxes = np.array([[x, 0, x + 10, 10] for _, x in rows], dtype=float).reshape(-1, 4)
    looks = np.eye(8)[[look for look, _ in rows]].reshape(-1, 8)
    return Observations(boxes, np.full(len(rows), label), looks)


def play(frames, options=JOINT):
    """The ids of every frame, and the last store."""
    store, ids = Store(), []
    for found in frames:
        store, new = step(store, found, options)
        ids.append(new.tolist())
    return ids, store


def test_greedy_takes_the_best_pair_first_though_the_sum_would_be_higher_otherwise():
    assert greedy(np.array([[0.9, 0.8], [0.8, 0.1]])) == [(0, 0), (1, 1)]  # 1.0; the other pairing has 1.6


def test_greedy_leaves_forbidden_pairs_and_breaks_ties_by_order():
    forbidden = -np.inf
    assert greedy(np.array([[0.5, 0.5], [0.5, forbidden]])) == [(0, 0)]
    assert greedy(np.zeros((0, 3))) == greedy(np.zeros((3, 0))) == []


def test_objects_are_new_in_the_first_frame_and_known_in_the_next():
    assert play([objects((0, 0), (1, 100)), objects((1, 101), (0, 2), (2, 50))])[0] == [[1, 2], [2, 1, 3]]


def test_similarity_is_half_truncated_overlap_and_half_cosine():
    """Object x = 4: IoU 6/14 = .43, other look (cosine .6); object x = 5: IoU 1/3 -> 0, same look (1.0).

    (.43 + .6) / 2 = .514 beats (0 + 1) / 2 = .5; with a truncation at .5 the second wins.
    """
    track = objects((0, 0))
    look = np.zeros((2, 8))
    look[0, :2], look[1, 0] = (0.6, 0.8), 1.0
    found = Observations(objects((0, 4), (0, 5)).boxes, np.zeros(2, int), look)
    assert play([track, found])[0][1] == [1, 2]
    assert play([track, found], replace(JOINT, min_iou=0.5))[0][1] == [2, 1]


def test_a_crossing_is_resolved_by_looks_and_not_by_overlap():
    """Two objects change places between two frames."""
    frames = [objects((0, 0), (1, 8)), objects((0, 8), (1, 0))]
    assert play(frames)[0] == [[1, 2], [1, 2]]
    assert play(frames, OVERLAP)[0] == [[1, 2], [2, 1]]


def test_an_occluded_object_is_found_again_elsewhere_by_its_look():
    """Object 0 passes behind object 1, unseen for 9 frames in which it moves 40 pixels."""
    frames = [objects((0, 0), (1, 30)), *[objects((1, 30))] * 9, objects((0, 40), (1, 30))]
    assert play(frames)[0][-1] == [1, 2]
    assert play(frames, OVERLAP)[0][-1] == [3, 2]


@pytest.mark.parametrize(("absent", "known"), [(40, True), (41, False)])
@pytest.mark.parametrize("options", [JOINT, OVERLAP])
def test_a_track_lives_for_40_frames_without_an_observation(absent, known, options):
    """Observed in frame 0 and again `absent` frames later."""
    nothing = objects()
    ids, store = play([objects((0, 0)), *[nothing] * (absent - 1), objects((0, 0))], options)
    assert ids[-1] == ([1] if known else [2])
    assert len(store.tracks) == 1  # the dead one is not kept


def test_alike_places_with_unlike_looks_are_not_matched():
    assert play([objects((0, 0)), objects((1, 0))])[0] == [[1], [2]]
    assert play([objects((0, 0)), objects((1, 0))], OVERLAP)[0] == [[1], [1]]


def test_another_class_is_another_object():
    assert play([objects((0, 0)), objects((0, 0), label=1)])[0] == [[1], [2]]


def test_any_of_the_last_observations_may_match_but_no_older_one():
    """The object turns: look 0, then `turned` frames of looks 1, 2, ...; then look 0 again.

    Each look is near the one before (cosine .71), so the track goes on.
    """

    def turning(count):
        looks = [np.eye(8)[0]]
        for number in range(1, count + 1):
            looks.append(np.eye(8)[number - 1] + np.eye(8)[number])
            looks.append(np.eye(8)[number])
        boxes = objects((0, 0)).boxes
        back = Observations(objects((0, 500)).boxes, np.zeros(1, int), np.eye(8)[:1])
        return [Observations(boxes, np.zeros(1, int), look[None]) for look in looks] + [back]

    assert play(turning(1))[0][-1] == [1]  # look 0 is two observations ago
    assert play(turning(3))[0] == [[1]] * 7 + [[2]]  # observations 2 to 6 are remembered, none like look 0
    assert play(turning(3), replace(JOINT, history=7))[0][-1] == [1]


def test_the_store_is_not_changed_and_embeddings_may_have_any_length():
    store, _ = step(Store(), objects((0, 0)), JOINT)
    scaled = Observations(objects((0, 0)).boxes, np.zeros(1, int), 100 * np.eye(8)[:1])
    first, second = step(store, scaled, JOINT), step(store, objects((0, 0)), JOINT)
    assert first[1].tolist() == second[1].tolist() == [1]
    assert len(store.tracks[0].observations.boxes) == 1


def test_a_zero_embedding_and_an_empty_box_match_nothing():
    blank = Observations(np.zeros((1, 4)), np.zeros(1, int), np.zeros((1, 8)))
    assert play([blank, blank])[0] == play([blank, blank], OVERLAP)[0] == [[1], [2]]
