"""motmetrics' own numbers: a table counted by hand, motmetrics called directly, and its published column."""

import motmetrics
import numpy as np
import pytest

from tests.metrics import gold_mot
from tests.metrics.scenes import boxes, drawn_tracks, square
from unibench.errors import TrackerError
from unibench.geometry.boxes import iou
from unibench.metrics import unitrack_mot
from unibench.records import Labels, Truth

NAMES = {
    "IDF1": "idf1",
    "IDP": "idp",
    "IDR": "idr",
    "MOTA": "mota",
    "IDSW": "num_switches",
    "MT": "mostly_tracked",
    "PT": "partially_tracked",
    "ML": "mostly_lost",
    "FP": "num_false_positives",
    "FN": "num_misses",
    "Frag": "num_fragmentations",
}


def score(truth, prediction):
    return unitrack_mot.pool([unitrack_mot.tally(Truth(tuple(truth)), prediction)])


def check(scores, row):
    assert scores == pytest.approx(
        {f"motmetrics:{ours}": row[name] for ours, name in NAMES.items()}, abs=1e-12
    )


def test_a_switch_and_four_fifths_counted_by_hand():
    truth = [boxes({1: square(0)})] * 5
    prediction = [boxes({5: square(0)})] * 2 + [Labels()] + [boxes({6: square(0)})] * 2
    scores = score(truth, prediction)
    assert scores["motmetrics:MOTA"] == pytest.approx(1 - (1 + 1) / 5)
    assert scores["motmetrics:IDF1"] == pytest.approx(2 * 2 / (5 + 4))
    assert (scores["motmetrics:MT"], scores["motmetrics:Frag"], scores["motmetrics:IDSW"]) == (1, 1, 1)


def test_truth_as_prediction_is_perfect_and_nothing_scores_nothing():
    truth, _ = drawn_tracks(0)
    perfect, nothing = score(truth, truth), score(truth, [Labels()] * len(truth))
    for name in ("MOTA", "IDF1", "IDP", "IDR"):
        assert (perfect[f"motmetrics:{name}"], nothing[f"motmetrics:{name}"]) == (1, 0)
    assert nothing["motmetrics:ML"] == perfect["motmetrics:MT"] == 5


def test_a_clip_without_anything_adds_nothing():
    empty = unitrack_mot.tally(Truth((Labels(),) * 3), [Labels()] * 3)
    full = unitrack_mot.tally(Truth((boxes({1: square(0)}),)), [boxes({1: square(0)})])
    assert unitrack_mot.pool([full, empty]) == unitrack_mot.pool([full])


def test_classes_never_match_one_another():
    truth = [boxes({1: square(0), 2: square(50)}, [0, 1])]
    wrong = boxes({1: square(0), 2: square(50)}, [1, 0])
    assert score(truth, truth)["motmetrics:MOTA"] == 1
    assert score(truth, [wrong])["motmetrics:FP"] == 2


def test_equals_motmetrics_over_clips():
    accumulators, tallies = [], []
    for seed in range(3):
        truth, prediction = drawn_tracks(seed)
        accumulator = motmetrics.MOTAccumulator(auto_id=True)
        for a, b in zip(truth, prediction, strict=True):
            distance = 1 - iou(a.boxes, b.boxes)
            accumulator.update(a.ids, b.ids, np.where(distance <= 0.5, distance, np.nan))
        accumulators.append(accumulator)
        tallies.append(unitrack_mot.tally(Truth(truth), prediction))
    names = list(NAMES.values())
    table = motmetrics.metrics.create().compute_many(accumulators, metrics=names, generate_overall=True)
    check(unitrack_mot.pool(tallies), table.loc["OVERALL"])


@pytest.mark.parametrize("name", ["MOT17-05-SDP", "MOT17-09-DPM", "MOT17-09-SDP"])
def test_lif_t_on_mot17(gold, name):
    folder = gold / "mot17_lif_t"
    truth, prediction = gold_mot.mot17(folder, name)
    row = gold_mot.expected(folder)["reference_run"]["motmetrics_no_preproc"][name]
    check(unitrack_mot.pool([unitrack_mot.tally(truth, prediction)]), row)


@pytest.mark.slow
def test_lif_t_on_all_of_mot17(gold):
    folder = gold / "mot17_lif_t"
    expected = gold_mot.expected(folder)
    rows = expected["reference_run"]["motmetrics_no_preproc"]
    clips = [gold_mot.mot17(folder, name) for name in rows if name != "OVERALL"]
    scores = unitrack_mot.pool([unitrack_mot.tally(*clip) for clip in clips])
    check(scores, rows["OVERALL"])
    published = expected["published"]["py-motmetrics"]
    for name in ("FP", "FN", "MT", "PT", "ML", "IDSW"):
        assert scores[f"motmetrics:{name}"] == published[name]


@pytest.mark.parametrize("case", ["mot15_sort", "mot15_tud_cem"])
def test_mot15(gold, case):
    rows = gold_mot.expected(gold / case)["reference_run"]["motmetrics"]
    names = [name for name in rows if name != "OVERALL"]
    tallies = [unitrack_mot.tally(*gold_mot.mot15(gold / case, name)) for name in names]
    check(unitrack_mot.pool(tallies), rows["OVERALL"])


def test_errors_say_what_to_do():
    with pytest.raises(
        TrackerError, match=r"prediction: 0 frames, expected 1; yield the Labels of every frame"
    ):
        score([boxes({1: square(0)})], [])
    twice = Labels(np.array([4, 4]), np.array([square(0), square(50)]))
    with pytest.raises(TrackerError, match=r"prediction: frame 0 has id 4 more than once; give"):
        score([boxes({1: square(0)})], [twice])
