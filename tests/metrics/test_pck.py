"""Pose propagation: tables counted by hand, and the published rule written out as loops."""

import numpy as np
import pytest

from tests.metrics.scenes import poses
from unibench.errors import DataError, TrackerError
from unibench.metrics import pck
from unibench.records import Labels, Truth

# a box of 30 x 40: diagonal 50, of which 0.6 is 30 pixels; PCK@0.1 allows 3, @0.5 15
PERSON = np.array([[10, 10, 1], [40, 10, 1], [40, 50, 1], [10, 50, 1]], dtype=float)


def shifted(*pixels):
    """The person with joint k moved right by the k-th number of pixels."""
    return PERSON + np.array([[x, 0, 0] for x in pixels])


def clip(*people):
    return tuple(Labels() if person is None else poses({1: person}) for person in people)


def score(truth, prediction):
    return pck.pool([pck.tally(Truth(clip(*truth)), clip(*prediction))])


def test_two_frames_counted_by_hand():
    scores = score([PERSON] * 3, [shifted(99, 99, 99, 99), shifted(0, 2, 5, 50), shifted(0, 8, 11, 14)])
    expected = [(2 + 1 + 0 + 0) / 8, (2 + 1 + 1 + 0) / 8, (2 + 2 + 1 + 0) / 8, (2 + 2 + 2 + 0) / 8, 7 / 8]
    assert scores == pytest.approx(dict(zip((f"PCK@0.{k}" for k in range(1, 6)), expected, strict=True)))


def test_truth_as_prediction_is_perfect_and_nothing_scores_nothing():
    assert set(score([PERSON] * 3, [PERSON] * 3).values()) == {1.0}
    assert set(score([PERSON] * 3, [None] * 3).values()) == {0.0}


def test_a_lost_joint_does_not_count_and_shrinks_the_box():
    lost = shifted(0, 0, 0, 4)
    lost[1:3, :2] = -1, -1
    # the box of the other two is 0 x 40: unit 24 pixels, so that 4 pixels are within 0.2 and not 0.1
    scores = score([PERSON] * 2, [PERSON, lost])
    assert (scores["PCK@0.1"], scores["PCK@0.2"]) == (1 / 2, 1)


def test_joints_weigh_the_same_and_unlabelled_ones_nothing():
    hidden = PERSON * [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 0]]
    lost = PERSON.copy()
    lost[0, 0] = -1
    scores = score([hidden] * 4, [hidden, lost, lost, shifted(99, 0, 0, 99)])
    assert scores["PCK@0.5"] == pytest.approx((0 / 1 + 3 / 3 + 3 / 3) / 3)


def test_clips_are_summed_before_dividing():
    right = pck.tally(Truth(clip(*[PERSON] * 4)), clip(*[PERSON] * 4))
    wrong = pck.tally(Truth(clip(*[PERSON] * 2)), clip(*[PERSON + 99] * 2))
    assert pck.pool([right, wrong])["PCK@0.2"] == 3 / 4


def test_equals_the_published_rule_written_out():
    rng = np.random.default_rng(5)
    true = np.concatenate([rng.uniform(0, 200, (12, 15, 2)), np.ones((12, 15, 1))], axis=2)
    guess = true + rng.normal(0, 25, true.shape) * [1, 1, 0]
    guess[rng.random((12, 15)) < 0.1] = -1
    guess[..., 1] = np.abs(guess[..., 1])
    ratios = [[] for _ in range(15)]
    for t in range(1, 12):
        seen = [j for j in range(15) if guess[t, j, 0] >= 0]
        xs, ys = [true[t, j, 0] for j in seen], [true[t, j, 1] for j in seen]
        unit = 0.6 * ((max(xs) - min(xs)) ** 2 + (max(ys) - min(ys)) ** 2) ** 0.5
        for j in seen:
            dx, dy = guess[t, j, :2] - true[t, j, :2]
            ratios[j].append((dx**2 + dy**2) ** 0.5 / unit)
    for threshold in (0.1, 0.2, 0.3, 0.4, 0.5):
        expected = sum(sum(r <= threshold for r in joint) / len(joint) for joint in ratios) / 15
        assert score(true, guess)[f"PCK@{threshold}"] == pytest.approx(expected, abs=1e-12)
        assert 0 < expected < 1


def test_errors_say_what_to_do():
    truth = Truth(clip(PERSON, PERSON))
    with pytest.raises(
        TrackerError, match=r"prediction: 1 frames, expected 2; yield the Labels of every frame"
    ):
        pck.tally(truth, clip(PERSON))
    with pytest.raises(
        TrackerError, match=r"frame 1 has 1 persons of 3 joints, expected 1 of 4; give one pose"
    ):
        pck.tally(truth, clip(PERSON, PERSON[:3]))
    with pytest.raises(
        TrackerError, match=r"frame 1 has 2 persons of 4 joints, expected 1 of 4; give one pose"
    ):
        pck.tally(truth, [Labels(), poses({1: PERSON, 2: PERSON})])
    with pytest.raises(DataError, match=r"pck: no frame with a person after frame 0; use a longer clip"):
        pck.tally(Truth(clip(PERSON)), clip(PERSON))
    with pytest.raises(
        TrackerError, match=r"pck: no joint counts, as the tracker lost all of them in every clip"
    ):
        pck.pool([pck.tally(truth, clip(PERSON, PERSON * 0 - 1))])
