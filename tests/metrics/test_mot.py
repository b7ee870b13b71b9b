"""Boxes and masks with identities: tables counted by hand, TrackEval itself, and published tables."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco
from trackeval.datasets import MotChallenge2DBox, MOTSChallenge
from trackeval.metrics import CLEAR, HOTA, Identity

from tests.metrics import gold_mot
from tests.metrics.scenes import block, boxes, drawn_masks, drawn_tracks, masks, moved, square
from unibench.errors import DataError, TrackerError
from unibench.geometry import masks as rle
from unibench.geometry.boxes import iou
from unibench.metrics import mot
from unibench.metrics.association import (
    HOTA_COUNTS,
    HOTA_MEANS,
    Pairing,
    clear_and_identity_counts,
    hota_counts,
)
from unibench.records import BYSTANDER, EXCUSED, Labels, Truth

QUIET = {"PRINT_CONFIG": False}
COUNTS = ("IDSW", "MT", "PT", "ML", "Frag", "FP", "FN")
FRACTIONS = ("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1", "IDP", "IDR")


def score(truth, prediction, ignored=()):
    return mot.pool([mot.tally_boxes(Truth(tuple(truth), tuple(ignored)), prediction)])


def test_a_switch_counted_by_hand():
    truth = [boxes({1: square(0)})] * 4
    prediction = [boxes({5: square(0)})] * 2 + [boxes({6: square(0)})] * 2
    scores = score(truth, prediction)
    assert scores["MOTA"] == (4 - 0 - 1) / 4
    assert scores["IDF1"] == 2 * 2 / (2 * 2 + 2 + 2)  # one identity is right, for two frames
    assert scores["AssA"] == pytest.approx(2 / (2 + 2))  # of four frames, two are of the same pair
    assert (scores["DetA"], scores["LocA"], scores["MOTP"]) == pytest.approx((1, 1, 1))
    assert scores["HOTA"] == pytest.approx(0.5**0.5)
    assert {name: scores[name] for name in COUNTS} == {**dict.fromkeys(COUNTS, 0), "IDSW": 1, "MT": 1}


def test_misses_and_false_alarms_counted_by_hand():
    truth = [boxes({1: square(0), 2: square(50)})] * 4
    both, one, shifted = boxes({1: square(0), 2: square(50)}), boxes({1: square(0)}), boxes({1: square(5)})
    scores = score(truth, [both, one, shifted, both])  # IoU of the third is 1/3: a miss and a false alarm
    assert (scores["FN"], scores["FP"], scores["IDSW"]) == (1 + 2, 1, 0)
    assert scores["MOTA"] == (5 - 1) / 8
    assert (scores["MT"], scores["PT"], scores["ML"], scores["Frag"]) == (0, 2, 0, 2)
    assert (scores["IDP"], scores["IDR"]) == (5 / 6, 5 / 8)


def test_mostly_tracked_is_more_than_four_fifths():
    truth = [boxes({1: square(0)})] * 5
    assert score(truth, [*truth[:4], Labels()])["PT"] == 1
    assert score(truth, truth)["MT"] == 1


def test_truth_as_prediction_is_perfect():
    truth, _ = drawn_tracks(0)
    scores = score(truth, truth)
    assert {name: scores[name] for name in FRACTIONS} == pytest.approx(dict.fromkeys(FRACTIONS, 1.0))
    assert (scores["IDSW"], scores["FP"], scores["FN"], scores["MT"]) == (0, 0, 0, 5)


def test_a_tracker_that_says_nothing():
    truth, _ = drawn_tracks(0)
    objects = sum(len(labels.ids) for labels in truth)
    scores = score(truth, [Labels()] * len(truth))
    assert {name: scores[name] for name in FRACTIONS} == {**dict.fromkeys(FRACTIONS, 0.0), "LocA": 1.0}
    assert (scores["FN"], scores["ML"], scores["FP"]) == (objects, 5, 0)


def test_a_clip_without_anything_adds_nothing():
    empty = mot.tally_boxes(Truth((Labels(),) * 3), [Labels()] * 3)
    full = mot.tally_boxes(Truth((boxes({1: square(0)}),)), [boxes({1: square(0)})])
    assert mot.pool([full, empty]) == mot.pool([full])
    unscored = mot.tally_boxes(Truth((boxes({1: square(0)}),), scored=()), [Labels()])
    assert mot.pool([full, unscored]) == mot.pool([full])


def test_classes_never_match_one_another():
    truth = [boxes({1: square(0), 2: square(50)}, [0, 1])]
    right, wrong = boxes({1: square(0), 2: square(50)}, [0, 1]), boxes({1: square(0), 2: square(50)}, [1, 0])
    assert score(truth, [right])["MOTA"] == 1
    assert (score(truth, [wrong])["FP"], score(truth, [wrong])["FN"]) == (2, 2)


def test_one_class_goes_without_saying():
    plain, named = [boxes({1: square(0)})], [boxes({1: square(0)}, [3])]
    assert score(plain, named)["MOTA"] == score(named, plain)["MOTA"] == score(named, named)["MOTA"] == 1
    assert score(named, [boxes({1: square(0)}, [4])])["FP"] == 1


def test_only_scored_frames_count():
    truth = Truth((boxes({1: square(0)}), Labels(), boxes({1: square(0)})), scored=(0, 2))
    wrong = boxes({9: square(30)})
    assert mot.pool([mot.tally_boxes(truth, [truth.labels[0], wrong, truth.labels[0]])])["MOTA"] == 1


def test_excused_boxes_swallow_predictions_and_bystanders_protect_them():
    truth = [boxes({1: square(0)})]
    prediction = [boxes({1: square(0), 2: square(50)})]
    assert score(truth, prediction)["FP"] == 1
    assert score(truth, prediction, [boxes({7: square(52)}, [EXCUSED])])["FP"] == 0
    assert score(truth, prediction, [boxes({7: square(50)}, [BYSTANDER])])["FP"] == 1
    both = [boxes({7: square(52), 8: square(50)}, [EXCUSED, BYSTANDER])]
    assert score(truth, prediction, both)["FP"] == 1  # the bystander is the better match
    assert score(truth, prediction, [boxes({7: square(0, 2)}, [EXCUSED])])["MOTA"] == (1 - 1) / 1


def test_ignored_regions_swallow_unmatched_masks_of_which_they_hold_more_than_half():
    def tried(guess, region):
        truth = Truth((masks({1: block(0, 10, 0, 10)}),), (masks({9: region}, [EXCUSED]),))
        return mot.pool_masks([mot.tally_masks(truth, [masks({1: block(0, 10, 0, 10), 2: guess})])])["FP"]

    guess = block(10, 20, 10, 20)
    assert tried(guess, block(10, 20, 10, 16)) == 0
    assert tried(guess, block(10, 20, 10, 15)) == 1  # exactly half
    assert tried(guess, block(0, 0, 0, 0)) == 1
    truth = Truth((masks({1: block(0, 10, 0, 10)}),), (masks({9: block(0, 20, 0, 30)}, [EXCUSED]),))
    assert mot.pool_masks([mot.tally_masks(truth, truth.labels)])["MOTSA"] == 1  # matched, so it stays
    stands_by = Truth((Labels(),), (masks({9: guess}, [BYSTANDER]),))
    assert mot.pool_masks([mot.tally_masks(stands_by, [masks({1: guess})])])["FP"] == 1


def test_mask_scores_counted_by_hand():
    truth = Truth((masks({1: block(0, 10, 0, 10), 2: block(10, 20, 0, 10)}),))
    prediction = [masks({1: block(0, 10, 0, 8), 2: block(10, 20, 15, 25)})]
    scores = mot.pool_masks([mot.tally_masks(truth, prediction)])
    assert scores["sMOTSA"] == pytest.approx((0.8 - 1) / 2)
    assert (scores["MOTSA"], scores["MOTSP"]) == pytest.approx((0, 0.8))
    assert not {"MOTA", "MOTP", "sMOTA"} & set(scores)


def test_masks_that_are_the_truth_are_perfect_and_none_are_worth_nothing():
    clip = drawn_masks(0)
    scores = mot.pool_masks([mot.tally_masks(Truth(clip), clip)])
    names = ("HOTA", "DetA", "AssA", "LocA", "MOTSA", "MOTSP", "sMOTSA", "IDF1")
    assert {name: scores[name] for name in names} == pytest.approx(dict.fromkeys(names, 1.0))
    nothing = mot.pool_masks([mot.tally_masks(Truth(clip), [Labels()] * len(clip))])
    assert (nothing["HOTA"], nothing["sMOTSA"], nothing["IDF1"]) == (0, 0, 0)


def trackeval_data(pairs):
    """Frames of (truth ids, prediction ids, IoU) as TrackEval takes them, built without our code."""
    names = [sorted({int(n) for frame in pairs for n in frame[side]}) for side in (0, 1)]
    ids = [[np.array([names[side].index(n) for n in f[side]], dtype=int) for f in pairs] for side in (0, 1)]
    return {
        "num_timesteps": len(pairs),
        **{f"num_{who}_ids": len(names[side]) for side, who in enumerate(("gt", "tracker"))},
        **{f"num_{who}_dets": sum(map(len, ids[side])) for side, who in enumerate(("gt", "tracker"))},
        "gt_ids": ids[0],
        "tracker_ids": ids[1],
        "similarity_scores": [f[2] for f in pairs],
    }


def test_pooling_equals_trackevals_combination_of_sequences():
    metrics = [HOTA(), CLEAR(dict(QUIET)), Identity(dict(QUIET))]
    results, tallies = [{} for _ in metrics], []
    for seed in range(4):
        truth, prediction = drawn_tracks(seed)
        prediction = prediction if seed else [Labels()] * len(truth)
        tallies.append(mot.tally_boxes(Truth(truth), prediction))
        pairs = [(a.ids, b.ids, iou(a.boxes, b.boxes)) for a, b in zip(truth, prediction, strict=True)]
        for metric, result in zip(metrics, results, strict=True):
            result[seed] = metric.eval_sequence(trackeval_data(pairs))
    combined = {}
    for metric, result in zip(metrics, results, strict=True):
        combined |= metric.combine_sequences(result)
    expected = {"FP": combined["CLR_FP"], "FN": combined["CLR_FN"]}
    scores = mot.pool(tallies)
    for name, value in scores.items():
        assert value == pytest.approx(np.mean(expected.get(name, combined.get(name))), abs=1e-12), name
    assert 0.1 < scores["HOTA"] < 0.9
    assert scores["IDSW"] > 0


def test_tallies_are_flat_and_survive_json():
    truth, prediction = drawn_tracks(1)
    tally = mot.tally_boxes(Truth(truth), prediction)
    assert json.loads(json.dumps(tally, allow_nan=False)) == tally
    assert {key.split("/")[0] for key in tally if "/" in key} == {*HOTA_COUNTS, *HOTA_MEANS}


def test_prediction_ids_may_be_any_integers():
    pairing = Pairing(np.array([10**12, -3]), np.array([7, 2**40]), np.eye(2))
    assert clear_and_identity_counts([pairing] * 2)["IDTP"] == 4
    assert hota_counts([pairing] * 2)["AssA/0.50"] == 4


@pytest.mark.parametrize("seed", range(5))
def test_boxes_are_taken_away_as_in_trackeval(seed):
    truth, prediction = drawn_tracks(seed, objects=8)
    kinds = np.array([1, 1, 1, 8, 7, 1, 12, 3])  # MOT17: 1 pedestrian; 7, 8, 12 distractors; 3 car
    raw = {key: [] for key in ("gt_ids", "gt_classes", "gt_extras", "tracker_ids", "similarity_scores")}
    scored, ignored = [], []
    for true, guess in zip(truth, prediction, strict=True):
        names = (true.ids - 2) // 3
        marked = np.where(names == 5, 0, 1)
        counts = (kinds[names] == 1) & (marked == 1)
        rows = np.where(np.isin(kinds[names], gold_mot.DISTRACTORS), EXCUSED, BYSTANDER)[~counts]
        scored.append(Labels(true.ids[counts], true.boxes[counts]))
        ignored.append(Labels(boxes=true.boxes[~counts], classes=rows))
        entries = true.ids, kinds[names], {"zero_marked": marked}, guess.ids
        for key, value in zip(raw, (*entries, iou(true.boxes, guess.boxes)), strict=True):
            raw[key].append(value)
    raw["gt_dets"], raw["tracker_dets"] = [one.boxes for one in truth], [one.boxes for one in prediction]
    raw["tracker_classes"] = raw["tracker_confidences"] = [np.ones(len(one.ids)) for one in prediction]
    scorer = MotChallenge2DBox.__new__(MotChallenge2DBox)
    scorer.benchmark, scorer.do_preproc, scorer.valid_class_numbers = "MOT17", True, [1, 3, 7, 8, 12]
    classes = {"pedestrian": 1, "person_on_vehicle": 2, "static_person": 7, "distractor": 8, "reflection": 12}
    scorer.class_name_to_class_id = classes
    data = scorer.get_preprocessed_seq_data({**raw, "num_timesteps": len(truth), "seq": "x"}, "pedestrian")
    assert data["num_tracker_dets"] < sum(len(one.ids) for one in prediction)
    assert_equals_trackeval(mot.tally_boxes(Truth(tuple(scored), tuple(ignored)), prediction), data)


@pytest.mark.parametrize("seed", range(5))
def test_masks_are_taken_away_as_in_trackeval(seed):
    clip = drawn_masks(seed, objects=4)
    prediction = [moved(labels, 0, 4 * (t % 2) + 1) for t, labels in enumerate(clip)]
    truth = [
        masks({int(n): rle.decode(m) for n, m in zip(f.ids, f.masks, strict=True) if n < 3}) for f in clip
    ]
    region = block(0, 48, 0, 30, 48, 64)
    ignored = tuple(masks({1: region, 2: block(40, 48, 0, 64, 48, 64)}, [EXCUSED] * 2) for _ in clip)
    raw = {
        "gt_ids": [f.ids for f in truth],
        "gt_dets": [f.masks for f in truth],
        "gt_classes": [np.full(len(f.ids), 2) for f in truth],
        "tracker_ids": [f.ids for f in prediction],
        "tracker_dets": [f.masks for f in prediction],
        "tracker_classes": [np.full(len(f.ids), 2) for f in prediction],
        "similarity_scores": [rle.iou(a.masks, b.masks) for a, b in zip(truth, prediction, strict=True)],
        "gt_ignore_region": [coco.merge(list(one.masks)) for one in ignored],
        "num_timesteps": len(clip),
        "seq": "x",
    }
    scorer = MOTSChallenge.__new__(MOTSChallenge)
    scorer.class_name_to_class_id = {"pedestrian": "2"}
    data = scorer.get_preprocessed_seq_data(raw, "pedestrian")
    assert data["num_tracker_dets"] < sum(len(one.ids) for one in prediction)
    assert_equals_trackeval(mot.tally_masks(Truth(tuple(truth), ignored), prediction), data)


def assert_equals_trackeval(tally, data):
    scores = mot.pool([tally])
    results = HOTA().eval_sequence(data) | CLEAR(dict(QUIET)).eval_sequence(data)
    results |= Identity(dict(QUIET)).eval_sequence(data)
    for name in FRACTIONS:
        assert scores[name] == pytest.approx(np.mean(results[name]), abs=1e-12), name
    assert (scores["FP"], scores["FN"], scores["IDSW"]) == (
        results["CLR_FP"],
        results["CLR_FN"],
        results["IDSW"],
    )


def check_reference(scores, row):
    """Every number of a reference table: percentages to their 6 decimals, counts exactly."""
    names = {"FP": "CLR_FP", "FN": "CLR_FN"}
    for name in (*FRACTIONS, *COUNTS):
        value = row[names.get(name, name)]
        factor = 1 if name in COUNTS else 100
        assert factor * scores[name] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("name", [f"MOT17-{n}-{d}" for n in ("05", "09") for d in ("DPM", "FRCNN", "SDP")])
def test_lif_t_on_mot17(gold, name):
    folder = gold / "mot17_lif_t"
    row = gold_mot.expected(folder)["reference_run"]["trackeval"][name]
    check_reference(mot.pool([mot.tally_boxes(*gold_mot.mot17(folder, name))]), row)


@pytest.mark.slow
def test_lif_t_on_all_of_mot17_has_the_official_table(gold):
    folder = gold / "mot17_lif_t"
    names = sorted(file.name.removesuffix(".txt.gz") for file in (folder / "pred").iterdir())
    assert len(names) == 21
    scores = mot.pool([mot.tally_boxes(*gold_mot.mot17(folder, name)) for name in names])
    expected = gold_mot.expected(folder)
    check_reference(scores, expected["reference_run"]["trackeval"]["OVERALL"])
    official = expected["published"]["MOTChallenge_official"]
    for name in ("MOTA", "MOTP", "IDF1", "IDP", "IDR"):
        assert round(100 * scores[name], 2) == official[name], name
    assert {n: scores[n] for n in COUNTS} == {n: official["FM" if n == "Frag" else n] for n in COUNTS}


@pytest.mark.parametrize("case", ["mot15_sort", "mot15_tud_cem"])
def test_published_tables_of_mot15(gold, case):
    folder = gold / case
    expected = gold_mot.expected(folder)
    reference = expected["reference_run"]["trackeval"]
    tallies = {n: mot.tally_boxes(*gold_mot.mot15(folder, n)) for n in reference if n != "OVERALL"}
    published = {"IDs": "IDSW", "FM": "Frag"}
    for name, parts in {**{n: [t] for n, t in tallies.items()}, "OVERALL": list(tallies.values())}.items():
        scores = mot.pool(parts)
        check_reference(scores, reference[name])
        for column, value in expected["published"].get(name, {}).items():
            if (ours := published.get(column, column)) in scores:
                factor = 1 if ours in COUNTS else 100
                assert round(factor * scores[ours], 1) == value, (name, column)


def test_errors_say_what_to_do():
    one = boxes({1: square(0)})
    with pytest.raises(
        TrackerError, match=r"prediction: 2 frames, expected 1; yield the Labels of every frame"
    ):
        score([one], [one, one])
    twice = Labels(np.array([4, 4]), np.array([square(0), square(50)]))
    with pytest.raises(
        TrackerError, match=r"frame 0 has id 4 more than once; give the objects of a frame diff"
    ):
        score([one], [twice])
    with pytest.raises(
        TrackerError, match=r"prediction: frame 0 has 0 ids, expected 1; give each object one id"
    ):
        score([one], [Labels(boxes=one.boxes)])
    with pytest.raises(TrackerError, match=r"frame 0 has a box that is not finite; leave lost objects out"):
        score([one], [boxes({1: (0, 0, np.inf, 1)})])
    with pytest.raises(
        TrackerError, match=r"has 0 classes for 1 objects, expected one of \[0, 1\] each; give each"
    ):
        score([boxes({1: square(0), 2: square(50)}, [0, 1])], [one])
    with pytest.raises(DataError, match=r"metrics: no clip to pool; score at least one clip"):
        mot.pool([])


def test_errors_of_masks_say_what_to_do():
    truth = Truth((masks({1: block(0, 10, 0, 10)}),))
    with pytest.raises(TrackerError, match=r"frame 0 has masks that overlap; give each pixel to one object"):
        mot.tally_masks(truth, [masks({1: block(0, 10, 0, 10), 2: block(9, 20, 9, 20)})])
    with pytest.raises(
        TrackerError, match=r"has masks of sizes \[\(4, 4\), \(20, 30\)\], expected one; use the fr"
    ):
        mot.tally_masks(truth, [masks({1: np.ones((4, 4), dtype=bool)})])
