"""Video object segmentation: tables counted by hand, TrackEval's JAndF, and 13 DAVIS sequences of OSVOS."""

import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist
from trackeval.metrics import JAndF

from tests.metrics.scenes import block, drawn_masks, masks, moved
from unibench.errors import DataError, TrackerError
from unibench.geometry import masks as rle
from unibench.metrics import vos
from unibench.records import Labels, Truth

# pycocotools 2.0.11 decodes through NumPy's old __array__ protocol
PERFECT = {"J&F": 1, "J-mean": 1, "J-recall": 1, "J-decay": 0, "F-mean": 1, "F-recall": 1, "F-decay": 0}


def score(truth, prediction, **options):
    return vos.pool([vos.tally(Truth(tuple(truth)), prediction, **options)])


def test_four_frames_counted_by_hand():
    truth = [masks({1: block(0, 10, 0, 10)})] * 6
    guesses = [block(0, 10, 0, 10), block(0, 10, 5, 15), block(0, 10, 0, 5), block(0, 10, 20, 30)]
    scores = score(truth, [Labels(), *[masks({1: guess}) for guess in guesses], Labels()])
    assert scores["J-mean"] == pytest.approx((1 + 1 / 3 + 1 / 2 + 0) / 4)
    assert scores["J-recall"] == 1 / 4
    assert scores["J-decay"] == pytest.approx((1 + 1 / 3) / 2 - (1 / 2 + 0) / 2)  # quarters share their ends


def test_contour_counted_by_hand():
    # 20 x 30 pixels: tolerance ceil(0.008 x 36.06) = 1. Contours are up-left of the edges.
    true, predicted = block(5, 9, 5, 9), block(5, 9, 8, 12)
    # truth: rows 4..8, columns 4..8, less the inner 3 x 3: 16 pixels; prediction: the same, 3 further right.
    # Columns 4 5 6 7 8 against 7 8 9 10 11: truth's column 7 (rows 4, 8) and 8 (5 pixels) are near the other's
    # left column (7), so is column 6 (rows 4, 8), one to its left: 9 of 16; the other way round the same.
    assert vos.boundary_f(rle.encode(true), rle.encode(predicted)) == pytest.approx(9 / 16)


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [
        (block(0, 0, 0, 0), block(0, 0, 0, 0), 1),
        (block(2, 9, 2, 9), block(0, 0, 0, 0), 0),
        (block(0, 0, 0, 0), block(2, 9, 2, 9), 0),
        (block(0, 20, 0, 30), block(0, 0, 0, 0), 1),  # neither has a contour
        (block(0, 20, 0, 30), block(2, 9, 2, 9), 0),
        (block(15, 20, 25, 30), block(15, 20, 25, 30), 1),
    ],
)
def test_contours_that_are_not_there(true, predicted, expected):
    assert vos.boundary_f(rle.encode(true), rle.encode(predicted)) == expected


def in_pixels(true, predicted):
    """F by its definition: contours as pictures, distances between all their pixels."""
    contours = []
    for mask in (true, predicted):
        padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
        corners = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
        contours.append(np.argwhere(np.any([mask != corner for corner in corners], axis=0)))
    if not all(map(len, contours)):
        return float(len(contours[0]) == len(contours[1]))
    near = cdist(*contours) <= np.ceil(0.008 * np.hypot(*true.shape))
    recall, precision = near.any(axis=1).mean(), near.any(axis=0).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def patches(rng, height, width):
    coarse = rng.random((height // 5 + 1, width // 5 + 1)) < rng.choice([0.1, 0.5, 0.9])
    noise = rng.random((height, width)) < rng.choice([0.0, 0.01])
    return np.kron(coarse, np.ones((5, 5), dtype=bool))[:height, :width] ^ noise


@pytest.mark.parametrize("seed", range(40))
def test_contours_of_runs_are_those_of_pixels(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 130 if seed % 4 else 8, size=2)
    true, other = patches(rng, height, width), patches(rng, height, width)
    for predicted in (other, np.roll(true, rng.integers(-4, 5, size=2), (0, 1))):
        found = vos.boundary_f(rle.encode(true), rle.encode(predicted))
        assert found == pytest.approx(in_pixels(true, predicted), abs=1e-12)


def test_truth_as_prediction_is_perfect_and_nothing_scores_nothing():
    truth = drawn_masks(0)
    assert score(truth, truth) == pytest.approx(PERFECT)
    always = [masks({1: block(2, 9, 2, 9)})] * 5
    assert score(always, [Labels()] * 5) == dict.fromkeys(PERFECT, 0.0)


def test_means_are_over_objects_not_clips():
    one, two = (
        [masks({1: block(2, 9, 2, 9)})] * 3,
        [masks({1: block(2, 9, 2, 9), 2: block(12, 19, 2, 9)})] * 3,
    )
    tallies = [vos.tally(Truth(tuple(one)), one), vos.tally(Truth(tuple(two)), [Labels()] * 3)]
    assert vos.pool(tallies)["J-mean"] == pytest.approx(1 / 3)


def test_objects_are_those_of_the_first_frame_and_absence_can_be_right():
    first = masks({3: block(2, 9, 2, 9)})
    truth = [first, Labels(), masks({3: block(2, 9, 2, 9), 4: block(12, 19, 2, 9)}), first]
    scores = score(truth, [Labels(), Labels(), first, Labels()])
    assert (scores["J-mean"], scores["F-mean"]) == (1, 1)


def test_an_object_that_comes_later_counts_from_the_frame_after():
    early, late = block(2, 9, 2, 9), block(12, 19, 2, 9)
    both = masks({1: early, 2: late})
    truth = [masks({1: early}), masks({1: early}), both, both, both, both]
    prediction = [Labels(), masks({1: early}), masks({1: early}), masks({1: early}), both, both]
    tally = vos.tally(Truth(tuple(truth)), prediction)
    assert tally["objects"] == 2
    assert tally["J-mean"] == pytest.approx(1 + 1 / 2)  # of object 2, frames 3 and 4 count, and 3 is missed
    given = vos.tally(Truth(tuple(truth)), [*prediction[:2], both, *prediction[3:]])
    assert given == tally  # what is said where it is given does not count
    with pytest.raises(TrackerError, match=r"frame 1 has id 2, expected ids of \[1\]; keep to them"):
        vos.tally(Truth(tuple(truth)), [Labels(), both, *prediction[2:]])


def test_only_annotated_frames_count():
    early, late = block(2, 9, 2, 9), block(12, 19, 2, 9)
    both, nothing = masks({1: early, 2: late}), Labels()
    truth = Truth((masks({1: early}), nothing, both, nothing, both, nothing, both), scored=(0, 2, 4, 6))
    tally = vos.tally(truth, [Labels(), both, masks({1: early}), both, both, both, both])
    assert (tally["objects"], tally["J-mean"]) == (2, 2)


def test_the_last_frame_counts_on_request():
    truth = [masks({1: block(2, 9, 2, 9)})] * 3
    assert score(truth, [*truth[:2], Labels()])["J-mean"] == 1
    assert score(truth, [*truth[:2], Labels()], drop_last=False)["J-mean"] == 1 / 2


def test_only_scored_frames_count():
    truth = Truth((*[masks({1: block(2, 9, 2, 9)})] * 5,), scored=(1, 3, 4))
    prediction = [Labels(), Labels(), Labels(), truth.labels[0], Labels()]
    assert vos.pool([vos.tally(truth, prediction)])["J-mean"] == 1


def test_memory_does_not_grow_with_the_clip():
    truth = drawn_masks(0, frames=10)
    peaks = []
    for times in (1, 1, 16):  # once to warm up
        clip = Truth(truth * times)
        prediction = [*clip.labels[1:], truth[0]]
        tracemalloc.start()
        vos.tally(clip, prediction)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    bytes_a_frame = (peaks[2] - peaks[1]) / (15 * len(truth))
    assert bytes_a_frame < 1000  # a picture of these masks has 3072 pixels; J and F of three objects are kept


@pytest.mark.parametrize("frames", [3, 4, 258, 302])
def test_decay_of_any_length(frames):
    truth = [masks({1: block(2, 9, 2, 9)})] * frames
    kept = frames - 2
    prediction = [*truth[: 1 + kept // 2], *[Labels()] * (frames - 1 - kept // 2)]
    curve = np.arange(kept) < kept // 2
    bounds = np.round(np.linspace(1, kept, 5) + 1e-10).astype(int)
    expected = curve[bounds[0] - 1 : bounds[1]].mean() - curve[bounds[3] - 1 : bounds[4]].mean()
    assert score(truth, prediction)["J-decay"] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(6))
def test_equals_trackeval(seed):
    truth = drawn_masks(seed, frames=9)
    prediction = [moved(labels, seed % 3, t - 4) for t, labels in enumerate(truth)]
    names = sorted(set(truth[0].ids.tolist()))
    empty = rle.encode(np.zeros((48, 64), dtype=bool))
    rows = [
        [[dict(zip(one.ids.tolist(), one.masks, strict=True)).get(n, empty) for n in names] for one in side]
        for side in (truth[1:-1], prediction[1:-1])
    ]
    pairs = zip(*rows, strict=True)
    per_frame = [JAndF._compute_j([a], [b], len(names), len(names), 1)[..., 0].diagonal() for a, b in pairs]
    curves = [JAndF._compute_f(*rows, index, index, 0.008) for index in range(len(names))]
    scores = score(truth, prediction)
    assert scores["J-mean"] == pytest.approx(np.mean(per_frame), abs=1e-12)
    assert scores["F-mean"] == pytest.approx(np.mean(curves), abs=1e-12)
    assert scores["F-recall"] == pytest.approx(np.mean(np.array(curves) > 0.5), abs=1e-12)
    assert 0 < scores["F-mean"] < 1


def test_contour_equals_davis2017():
    reason = "davis2017-evaluation is on no package index; install it from its repository to run this"
    metrics = pytest.importorskip("davis2017.metrics", reason=reason)
    for true, predicted in zip(drawn_masks(1), drawn_masks(2), strict=True):
        pair = [rle.decode(labels.masks[0]) for labels in (true, predicted)]
        assert vos.boundary_f(true.masks[0], predicted.masks[0]) == pytest.approx(
            metrics.f_measure(pair[1], pair[0]), abs=1e-12
        )
        iou = rle.iou(true.masks[:1], predicted.masks[:1])[0, 0]
        assert iou == pytest.approx(metrics.db_eval_iou(*pair), abs=1e-12)


def osvos(folder, name):
    def read(file, value):
        values = np.array(Image.open(file))
        return masks({1: values > 0 if value is None else values == value})

    files = sorted((folder / "gt" / name).glob("*.png"))
    prediction = [
        read(file, 1) if (file := folder / "pred" / name / true.name).is_file() else Labels()
        for true in files
    ]
    return vos.tally(Truth(tuple(read(file, None) for file in files)), prediction)


def check_osvos(folder, names):
    expected = json.loads((folder / "expected.json").read_text())["reference_run"]
    columns = [f"{column[0]}-{column[2:].lower()}" for column in expected["columns"]]
    tallies = {name: osvos(folder, name) for name in names}
    for name, tally in tallies.items():
        scores = vos.pool([tally])
        assert [scores[column] for column in columns] == pytest.approx(expected["davis2017"][name], abs=1e-6)
    return [vos.pool(list(tallies.values()))[column] for column in columns], expected["davis2017"]["MEAN"]


def test_osvos_on_three_davis_sequences(gold):
    check_osvos(gold / "davis16_osvos", ["car-shadow", "drift-straight", "drift-chicane"])


@pytest.mark.slow
def test_osvos_on_all_davis_sequences(gold):
    folder = gold / "davis16_osvos"
    names = sorted(path.name for path in (folder / "gt").iterdir())
    assert len(names) == 13
    mean, expected = check_osvos(folder, names)
    assert mean == pytest.approx(expected, abs=1e-6)


def test_errors_say_what_to_do():
    truth = Truth((*[masks({1: block(2, 9, 2, 9)})] * 3,))
    with pytest.raises(
        TrackerError, match=r"prediction: 2 frames, expected 3; yield the Labels of every frame"
    ):
        vos.tally(truth, [Labels()] * 2)
    with pytest.raises(
        TrackerError, match=r"prediction: frame 1 has id 7, expected ids of \[1\]; keep to them"
    ):
        vos.tally(truth, [Labels(), masks({7: block(2, 9, 2, 9)}), Labels()])
    with pytest.raises(
        TrackerError, match=r"frame 1 has a mask of \[8, 8\], expected \[20, 30\]; give masks at"
    ):
        vos.tally(truth, [Labels(), masks({1: np.ones((8, 8), dtype=bool)}), Labels()])
    with pytest.raises(
        TrackerError, match=r"prediction: frame 1 has 0 ids, expected 1; give each object one id"
    ):
        vos.tally(truth, [Labels(), Labels(masks=truth.labels[0].masks), Labels()])
    with pytest.raises(DataError, match=r"vos: 2 scored frames, expected 3 or more; use a longer clip"):
        vos.tally(Truth(truth.labels[:2]), [Labels()] * 2)
    with pytest.raises(
        DataError, match=r"vos: no object before frame 1, expected one or more; check the clip's truth"
    ):
        vos.tally(Truth((Labels(),) * 3), [Labels()] * 3)
