import numpy as np
import pytest

from heads import kalman
from heads.kalman import State


@pytest.fixture
def start():
    """A box 50 wide and 100 high at (10, 20)."""
    return kalman.initiate(np.array([10.0, 20.0, 0.5, 100.0]))


def dense(state):
    """The textbook's mean of 8 and covariance of 8 x 8."""
    spread, shared, drift = map(np.diag, state.covariance)
    return state.mean.ravel(), np.block([[spread, shared], [shared, drift]])


def noise(height, position, aspect):
    return np.diag([position * height, position * height, aspect, position * height]) ** 2.0


def test_a_new_track_rests_with_twice_and_ten_times_the_noise(start):
    np.testing.assert_array_equal(start.mean, [[10, 20, 0.5, 100], [0, 0, 0, 0]])
    expected = [[100, 100, 1e-4, 100], [0, 0, 0, 0], [39.0625, 39.0625, 1e-10, 39.0625]]
    np.testing.assert_allclose(start.covariance, expected, rtol=1e-12)


def test_predict_by_hand(start):
    state = kalman.predict(State(start.mean + np.outer([0, 1], [3, 0, 0, 0]), start.covariance))
    np.testing.assert_allclose(state.mean, [[13, 20, 0.5, 100], [3, 0, 0, 0]])
    # 10^2 + 6.25^2 + 5^2; 6.25^2; 6.25^2 + .625^2; aspect: 1e-4 + 1e-10 + 1e-4
    assert state.covariance[:, 0] == pytest.approx([164.0625, 39.0625, 39.453125])
    assert state.covariance[0, 2] == pytest.approx(2.000001e-4)


def test_update_and_gate_by_hand(start):
    predicted = kalman.predict(start)
    # The innovation of cx is 164.0625 + 5^2 = 189.0625; the residual is a hundredth of it.
    measurement = np.array([11.890625, 20, 0.5, 100])
    assert kalman.gate(predicted, measurement[None]) == pytest.approx(1.890625**2 / 189.0625)
    state = kalman.update(predicted, measurement)
    np.testing.assert_allclose(state.mean, [[11.640625, 20, 0.5, 100], [0.390625, 0, 0, 0]])
    assert state.covariance[0, 0] == pytest.approx(164.0625 * 25 / 189.0625)


def test_it_is_the_textbook_s_filter_of_eight_numbers():
    rng = np.random.default_rng(0)
    transition, observe = np.eye(8) + np.eye(8, k=4), np.eye(4, 8)
    state = kalman.initiate(np.array([50.0, 60.0, 0.4, 80.0]))
    for step in range(12):
        mean, covariance = dense(state)
        moves = np.block([[noise(mean[3], 1 / 20, 1e-2), np.zeros((4, 4))], [np.zeros((4, 8))]])
        moves[4:, 4:] = noise(mean[3], 1 / 160, 1e-5)
        state = kalman.predict(state)
        mean, covariance = transition @ mean, transition @ covariance @ transition.T + moves
        np.testing.assert_allclose(dense(state)[0], mean, rtol=1e-12)
        np.testing.assert_allclose(dense(state)[1], covariance, rtol=1e-12)

        seen = observe @ covariance @ observe.T + noise(mean[3], 1 / 20, 1e-1)
        others = mean[:4] + rng.normal(size=(5, 4)) * [5, 5, 0.05, 5]
        residuals = others - mean[:4]
        expected = [residual @ np.linalg.inv(seen) @ residual for residual in residuals]
        np.testing.assert_allclose(kalman.gate(state, others), expected, rtol=1e-9)
        if step % 4 == 3:  # unseen
            continue
        gain = covariance @ observe.T @ np.linalg.inv(seen)
        state = kalman.update(state, others[0])
        np.testing.assert_allclose(dense(state)[0], mean + gain @ residuals[0], rtol=1e-12)
        updated = (np.eye(8) - gain @ observe) @ covariance
        np.testing.assert_allclose(dense(state)[1], updated, rtol=1e-9, atol=1e-12)


def test_many_tracks_at_once_are_each_track_alone():
    rng = np.random.default_rng(1)
    measurements = rng.uniform([0, 0, 0.3, 20], [100, 100, 0.6, 90], size=(2, 5, 4))
    many = kalman.predict(kalman.initiate(measurements[0]))
    updated, distances = kalman.update(many, measurements[1]), kalman.gate(many, measurements[1])
    alone = [kalman.predict(kalman.initiate(measurement)) for measurement in measurements[0]]
    np.testing.assert_array_equal(kalman.stack(alone).mean, many.mean)
    np.testing.assert_array_equal(kalman.stack(alone).covariance, many.covariance)
    for index, one in enumerate(alone):
        np.testing.assert_allclose(updated.mean[index], kalman.update(one, measurements[1, index]).mean)
        np.testing.assert_allclose(distances[index], kalman.gate(one, measurements[1]))


def test_the_height_of_lost_tracks_is_held():
    moving = State(np.tile([[0.0, 0, 1, 50], [0, 0, 0, 5]], (2, 1, 1)), np.ones((2, 3, 4)))
    state = kalman.predict(moving, hold_height=np.array([True, False]))
    assert state.mean[:, 0, 3].tolist() == [50, 55]
    assert state.mean[:, 1, 3].tolist() == [0, 5]
    assert moving.mean[0, 1, 3] == 5  # the argument is left alone


def test_a_steady_object_is_foreseen():
    state = kalman.initiate(np.array([0.0, 0, 0.5, 40]))
    for frame in range(1, 30):
        state = kalman.update(kalman.predict(state), np.array([4.0 * frame, 0, 0.5, 40]))
    np.testing.assert_allclose(kalman.predict(state).mean[:, 0], [120, 4], atol=0.05)


def test_boxes_are_measured_and_given_back():
    boxes = np.array([[10.0, 20, 60, 120], [-5, 0, 5, 40]])
    np.testing.assert_allclose(kalman.measure(boxes)[0], [35, 70, 0.5, 100])
    np.testing.assert_allclose(kalman.box(kalman.initiate(kalman.measure(boxes))), boxes)


def test_a_flat_box_is_finite():
    state = kalman.predict(kalman.initiate(kalman.measure(np.array([3.0, 7, 9, 7]))))
    assert np.isfinite(kalman.update(state, kalman.measure(np.array([3.0, 8, 9, 8]))).mean).all()
    np.testing.assert_array_equal(
        kalman.box(State(np.array([[0.0, 0, -1, 2], [0, 0, 0, 0]]), np.ones((3, 4)))), [0, -1, 0, 1]
    )
