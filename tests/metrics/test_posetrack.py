"""Pose tracking: tables counted by hand, motmetrics and TrackEval called directly, and the hand-made gold case."""

import json

import motmetrics
import numpy as np
import pytest
from trackeval.metrics import HOTA

from tests.metrics.scenes import block, masks, poses
from unibench.errors import DataError, TrackerError
from unibench.metrics import posetrack
from unibench.records import EXCUSED, Labels, Truth

FRACTIONS = ("IDF1", "MOTA", "MOTP", "precision", "recall", "HOTA", "DetA", "AssA")


def person(x, joints=3):
    return np.array([[x, 20 * k, 1] for k in range(joints)], dtype=float)


def make_truth(frames, head=10.0, **options):
    scales = tuple(np.full(len(labels.ids) or 1, head) for labels in frames)  # not read where nobody is
    return Truth(tuple(frames), scales=scales, **options)


def score(truth, prediction, **options):
    return posetrack.pool([posetrack.tally(truth, prediction, **options)])


def drawn(seed, frames=12, people=4, joints=3):
    """People who wander, with joints that come and go, and a tracker that errs."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 60, (people, 1, 2)) + rng.uniform(0, 20, (1, joints, 2))
    truth, prediction = [], []
    for t in range(frames):
        points = start + 2 * t
        visible = rng.random((people, joints, 1)) < 0.8
        true = np.concatenate([points, visible], axis=2)
        noisy = points + rng.normal(0, 2.5, points.shape)
        guess = np.concatenate([noisy, rng.random((people, joints, 1)) < 0.9], axis=2)
        found = rng.random(people) < 0.85
        truth.append(Labels(np.arange(people), keypoints=true))
        names = np.roll(np.arange(people) + 10, t // 5)
        prediction.append(Labels(names[found], keypoints=guess[found]))
    return make_truth(truth), prediction


def test_a_switch_and_a_near_miss_counted_by_hand():
    truth = make_truth([poses({1: person(0)})] * 5)
    near, far = poses({7: person(5)}), poses({7: person(6)})  # 0.5 and 0.6 heads away
    # the last frame does not count
    scores = score(truth, [poses({6: person(0)}), near, far, near, Labels()])
    assert scores["MOTA"] == pytest.approx(1 - (1 + 1 + 1) / 4)  # a miss, a false alarm, a switch
    assert scores["IDSW"] == 3  # one for each joint
    assert scores["MOTP"] == pytest.approx(1 - (0 + 0.5 + 0.5) / 3)
    assert (scores["precision"], scores["recall"]) == (3 / 4, 3 / 4)
    assert scores["IDF1"] == pytest.approx(2 * 2 / (4 + 4))


def test_the_last_frame_counts_on_request():
    truth = make_truth([poses({1: person(0)})] * 2)
    prediction = [truth.labels[0], Labels()]
    assert score(truth, prediction)["MOTA"] == 1
    assert score(truth, prediction, drop_last=False)["MOTA"] == 1 / 2


def test_frames_without_people_do_not_count_before_the_last_is_dropped():
    one = poses({1: person(0)})
    truth = make_truth([one, Labels(), one, Labels()])
    scores = score(truth, [one, poses({9: person(40)}), Labels(), Labels()])
    assert (scores["MOTA"], scores["precision"]) == (1, 1)


def test_only_scored_frames_count():
    one = poses({1: person(0)})
    truth = make_truth([one] * 4, scored=(0, 2, 3))
    assert score(truth, [one, Labels(), one, Labels()])["MOTA"] == 1


def test_a_frame_without_predictions_is_misses_only():
    truth = make_truth([poses({1: person(0), 2: person(50)})] * 2)
    scores = score(truth, [Labels(), Labels()])
    assert (scores["MOTA"], scores["recall"]) == (0, 0)


def test_truth_as_prediction_is_perfect_and_nothing_scores_nothing():
    truth, _ = drawn(0)
    perfect = score(truth, truth.labels)
    assert {name: perfect[name] for name in FRACTIONS} == pytest.approx(dict.fromkeys(FRACTIONS, 1.0))
    nothing = score(truth, [Labels()] * len(truth.labels))
    assert nothing == {**dict.fromkeys(FRACTIONS, 0.0), "IDSW": 0}


def test_joints_that_are_never_labelled_are_left_out():
    hidden = person(0)
    hidden[2, 2] = 0
    truth = make_truth([poses({1: hidden})] * 3)
    assert score(truth, [poses({1: person(0)})] * 3)["precision"] == 1
    assert score(truth, [poses({1: person(0)})] * 3)["MOTA"] == 1


def test_ignored_regions_swallow_joints_of_both_sides():
    region = masks({1: block(0, 100, 60, 100, 100, 100)}, [EXCUSED])
    truth = make_truth([poses({1: person(0), 2: person(70)})] * 2, ignored=(region,) * 2)
    scores = score(truth, [poses({1: person(0), 5: person(90)})] * 2)
    assert {name: scores[name] for name in FRACTIONS} == pytest.approx(dict.fromkeys(FRACTIONS, 1.0))


def test_idf1_is_a_mean_over_clips_and_mota_is_not():
    one = poses({1: person(0)})
    good = posetrack.tally(make_truth([one] * 4), [one] * 4)
    bad = posetrack.tally(make_truth([one] * 2), [Labels()] * 2)
    scores = posetrack.pool([good, bad])
    assert scores["IDF1"] == 1 / 2
    assert scores["MOTA"] == 3 / 4


def test_equals_motmetrics_and_trackeval_on_each_joint():
    clips = [drawn(seed) for seed in range(3)]
    scores = posetrack.pool([posetrack.tally(*clip, drop_last=False) for clip in clips])
    columns = {name: [] for name in ("MOTA", "MOTP", "recall", "IDF1", "HOTA")}
    switches = 0
    for joint in range(3):
        accumulators, hotas, distances = [], {}, []
        for truth, prediction in clips:
            accumulator = motmetrics.MOTAccumulator(auto_id=True)
            pairs = []
            for true, guess in zip(truth.labels, prediction, strict=True):
                a, b = true.keypoints[:, joint], guess.keypoints[:, joint]
                rows, cells = a[:, 2] > 0, b[:, 2] > 0
                gaps = np.linalg.norm(a[rows, None, :2] - b[None, cells, :2], axis=2) / 10
                accumulator.update(true.ids[rows], guess.ids[cells], np.where(gaps <= 0.5, gaps, np.nan))
                pairs.append((true.ids[rows], guess.ids[cells] - 10, np.maximum(0, 1 - gaps / 0.5001)))
            accumulators.append(accumulator)
            events = accumulator.mot_events
            distances.append(events[events.Type.isin(["MATCH", "SWITCH"])].D)
            data = {
                **{"num_timesteps": 12, "num_gt_ids": 4, "num_tracker_ids": 4},
                "num_gt_dets": sum(len(pair[0]) for pair in pairs),
                "num_tracker_dets": sum(len(pair[1]) for pair in pairs),
                **dict(
                    zip(("gt_ids", "tracker_ids", "similarity_scores"), zip(*pairs, strict=True), strict=True)
                ),
            }
            hotas[len(hotas)] = HOTA().eval_sequence(data)
        names = ["mota", "idf1", "recall", "num_switches"]
        table = motmetrics.metrics.create().compute_many(accumulators, metrics=names, generate_overall=True)
        columns["MOTA"].append(table.mota["OVERALL"])
        columns["recall"].append(table.recall["OVERALL"])
        columns["IDF1"].append(table.idf1.iloc[:3].mean())
        columns["MOTP"].append(1 - np.concatenate(distances).mean())
        columns["HOTA"].append(HOTA().combine_sequences(hotas)["HOTA"].mean())
        switches += table.num_switches["OVERALL"]
    for name, values in columns.items():
        assert scores[name] == pytest.approx(np.mean(values), abs=1e-12), name
        assert 0.05 < scores[name] < 0.98, name
    assert scores["IDSW"] == switches > 0


def read_annolist(file):
    labels, heads = [], []
    for frame in json.loads(file.read_text())["annolist"]:
        people = frame["annorect"]
        keypoints = np.zeros((len(people), 15, 3))
        for row, rect in enumerate(people):
            for point in rect["annopoints"][0]["point"]:
                keypoints[row, point["id"][0]] = point["x"][0], point["y"][0], 1
        labels.append(Labels(np.array([rect["track_id"][0] for rect in people]), keypoints=keypoints))
        sides = [(rect["x2"][0] - rect["x1"][0], rect["y2"][0] - rect["y1"][0]) for rect in people]
        heads.append(0.6 * np.hypot(*np.array(sides, dtype=float).T))
    return tuple(labels), tuple(heads)


@pytest.mark.parametrize(
    ("drop_last", "row"),
    [(True, "hand_computed_last_frame_dropped"), (False, "hand_computed_all_11_frames")],
)
def test_hand_made_clip(gold, drop_last, row):
    folder = gold / "posetrack_hand"
    labels, scales = read_annolist(folder / "gt/seq1.json")
    prediction, _ = read_annolist(folder / "pred/seq1.json")
    scores = score(Truth(labels, scales=scales), prediction, drop_last=drop_last)
    expected = json.loads((folder / "expected.json").read_text())[row]
    names = {"mota": "MOTA", "motp": "MOTP", "pre": "precision", "rec": "recall"}
    assert {name: 100 * scores[ours] for name, ours in names.items()} == pytest.approx(expected, abs=1e-9)
    assert scores["IDSW"] == 2 * 15


def test_tallies_survive_json():
    tally = posetrack.tally(*drawn(2))
    assert json.loads(json.dumps(tally, allow_nan=False)) == tally


def test_errors_say_what_to_do():
    one = poses({1: person(0)})
    truth = make_truth([one] * 2)
    with pytest.raises(
        TrackerError, match=r"prediction: 1 frames, expected 2; yield the Labels of every frame"
    ):
        posetrack.tally(truth, [one])
    with pytest.raises(
        TrackerError, match=r"prediction: frame 0 has poses of 4 joints, expected 3; use the joints"
    ):
        posetrack.tally(truth, [poses({1: person(0, 4)}), one])
    with pytest.raises(TrackerError, match=r"prediction: frame 0 has id 3 more than once; give"):
        posetrack.tally(truth, [Labels(np.array([3, 3]), keypoints=np.ones((2, 3, 3))), one])
    with pytest.raises(
        DataError, match=r"posetrack: frame 0 has a person without a head size; check the clip's"
    ):
        posetrack.tally(Truth(truth.labels), [one] * 2)
    with pytest.raises(
        DataError, match=r"posetrack: the truth labels no joint, expected one or more; check the"
    ):
        posetrack.pool([posetrack.tally(Truth((Labels(),)), [Labels()])])
