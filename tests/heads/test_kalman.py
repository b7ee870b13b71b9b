import numpy as np
import pytest

from heads import kalman
from heads.kalman import State


@pytest.fixture
def start():
    """A box 50 wide and 100 high at (10, 20)."""
    return kalman.initiate(np.array([10.0, 20.0, 0.5, 100.0]))


def test_a_new_track_rests_with_twice_and_ten_times_the_noise(start):
    np.testing.assert_array_equal(start.mean, [10, 20, 0.5, 100, 0, 0, 0, 0])
    expected = [100, 100, 1e-4, 100, 39.0625, 39.0625, 1e-10, 39.0625]
    np.testing.assert_allclose(start.covariance, np.diag(expected), rtol=1e-12)


def test_predict_by_hand(start):
    state = kalman.predict(State(start.mean + np.eye(8)[4] * 3, start.covariance))
    np.testing.assert_allclose(state.mean, [13, 20, 0.5, 100, 3, 0, 0, 0])
    # 10^2 + 6.25^2 + 5^2; 6.25^2; 6.25^2 + .625^2; aspect: 1e-4 + 1e-10 + 1e-4
    assert state.covariance[0, 0] == pytest.approx(164.0625)
    assert state.covariance[0, 4] == pytest.approx(39.0625)
    assert state.covariance[4, 4] == pytest.approx(39.453125)
    assert state.covariance[2, 2] == pytest.approx(2.000001e-4)
    assert state.covariance[0, 1] == 0


def test_update_and_gate_by_hand(start):
    predicted = kalman.predict(start)
    # The innovation of cx is 164.0625 + 5^2 = 189.0625; the residual is a hundredth of it.
    measurement = np.array([11.890625, 20, 0.5, 100])
    assert kalman.gate(predicted, measurement[None]) == pytest.approx(1.890625**2 / 189.0625)
    state = kalman.update(predicted, measurement)
    np.testing.assert_allclose(state.mean, [11.640625, 20, 0.5, 100, 0.390625, 0, 0, 0])
    assert state.covariance[0, 0] == pytest.approx(164.0625 * 25 / 189.0625)


def test_predict_and_update_are_the_textbook_s():
    rng = np.random.default_rng(0)
    mean = np.array([50.0, 60.0, 0.4, 80.0, 1.0, -2.0, 0.01, 3.0])
    root = rng.normal(size=(8, 8))
    covariance = root @ root.T
    transition = np.eye(8)
    transition[range(4), range(4, 8)] = 1
    noise = np.diag([4, 4, 1e-2, 4, 0.5, 0.5, 1e-5, 0.5]) ** 2.0
    predicted = kalman.predict(State(mean, covariance))
    np.testing.assert_allclose(predicted.mean, transition @ mean)
    np.testing.assert_allclose(predicted.covariance, transition @ covariance @ transition.T + noise)

    height = predicted.mean[3]
    observe = np.eye(4, 8)
    seen = (
        observe @ predicted.covariance @ observe.T
        + np.diag([height / 20, height / 20, 0.1, height / 20]) ** 2
    )
    gain = predicted.covariance @ observe.T @ np.linalg.inv(seen)
    measurement = np.array([53.0, 55.0, 0.5, 85.0])
    updated = kalman.update(predicted, measurement)
    residual = measurement - observe @ predicted.mean
    np.testing.assert_allclose(updated.mean, predicted.mean + gain @ residual)
    np.testing.assert_allclose(
        updated.covariance, (np.eye(8) - gain @ observe) @ predicted.covariance, rtol=1e-7, atol=1e-9
    )
    others = rng.normal(size=(5, 4)) + measurement
    expected = [
        (o - observe @ predicted.mean) @ np.linalg.inv(seen) @ (o - observe @ predicted.mean) for o in others
    ]
    np.testing.assert_allclose(kalman.gate(predicted, others), expected)


def test_many_tracks_at_once_are_each_track_alone():
    rng = np.random.default_rng(1)
    measurements = rng.uniform([0, 0, 0.3, 20], [100, 100, 0.6, 90], size=(2, 5, 4))
    many = kalman.predict(kalman.initiate(measurements[0]))
    updated, distances = kalman.update(many, measurements[1]), kalman.gate(many, measurements[1])
    for index in range(5):
        one = kalman.predict(kalman.initiate(measurements[0, index]))
        np.testing.assert_allclose(updated.mean[index], kalman.update(one, measurements[1, index]).mean)
        np.testing.assert_allclose(distances[index], kalman.gate(one, measurements[1]))


def test_the_height_of_lost_tracks_is_held():
    moving = State(np.tile([0.0, 0, 1, 50, 0, 0, 0, 5], (2, 1)), np.tile(np.eye(8), (2, 1, 1)))
    state = kalman.predict(moving, hold_height=np.array([True, False]))
    assert state.mean[:, 3].tolist() == [50, 55]
    assert state.mean[:, 7].tolist() == [0, 5]
    assert moving.mean[0, 7] == 5  # the argument is left alone


def test_a_steady_object_is_foreseen():
    state = kalman.initiate(np.array([0.0, 0, 0.5, 40]))
    for frame in range(1, 30):
        state = kalman.update(kalman.predict(state), np.array([4.0 * frame, 0, 0.5, 40]))
    np.testing.assert_allclose(kalman.predict(state).mean[[0, 4]], [120, 4], atol=0.05)


def test_boxes_are_measured_and_given_back():
    boxes = np.array([[10.0, 20, 60, 120], [-5, 0, 5, 40]])
    np.testing.assert_allclose(kalman.measure(boxes)[0], [35, 70, 0.5, 100])
    np.testing.assert_allclose(kalman.box(kalman.initiate(kalman.measure(boxes))), boxes)


def test_a_flat_box_is_finite():
    state = kalman.predict(kalman.initiate(kalman.measure(np.array([3.0, 7, 9, 7]))))
    assert np.isfinite(kalman.update(state, kalman.measure(np.array([3.0, 8, 9, 8]))).mean).all()
    np.testing.assert_array_equal(
        kalman.box(State(np.array([0.0, 0, -1, 2, 0, 0, 0, 0]), np.eye(8))), [0, -1, 0, 1]
    )
