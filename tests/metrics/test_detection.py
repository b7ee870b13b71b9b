"""Average precision: counted by hand, COCO's own published example, and what is wrong with detections."""

import contextlib
import gzip
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unibench.errors import DataError
from unibench.joint.data import coco
from unibench.metrics import detection
from unibench.metrics.detection import Annotated
from unibench.records import BYSTANDER, EXCUSED, Labels, Truth

SQUARE = [0.0, 0.0, 40.0, 40.0]
FAR = [100.0, 0.0, 140.0, 40.0]


def truth(
    *boxes: list[float], classes: list[int] | None = None, crowd: list[bool] | None = None
) -> Annotated:
    array = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return Annotated(
        array,
        np.array(classes or [0] * len(boxes), dtype=np.int64),
        (array[:, 2] - array[:, 0]) * (array[:, 3] - array[:, 1]),
        np.array(crowd or [], dtype=bool),
    )


def found(*rows: tuple[list[float], float], classes: list[int] | None = None) -> Labels:
    return Labels(
        boxes=np.array([box for box, _ in rows], dtype=np.float64).reshape(-1, 4),
        scores=np.array([score for _, score in rows], dtype=np.float64),
        classes=np.array(classes or [0] * len(rows), dtype=np.int64),
    )


def test_the_truth_is_perfect_and_nothing_is_zero():
    perfect = detection.score([truth(SQUARE, FAR)], [found((SQUARE, 0.9), (FAR, 0.8))])
    assert perfect["AP"] == perfect["AP50"] == perfect["AR100"] == pytest.approx(1)
    assert perfect["AR1"] == pytest.approx(0.5)  # one detection cannot be two objects
    assert math.isnan(perfect["APs"])
    assert perfect["APm"] == pytest.approx(1)
    nothing = detection.score([truth(SQUARE)], [found()])
    assert nothing["AP"] == nothing["AR100"] == 0
    assert all(math.isnan(value) for value in detection.score([truth()], [found((SQUARE, 1.0))]).values())


def test_one_of_two_found():
    """Recall stays at 1/2; of COCO's 101 recall levels 0.00 to 0.50, 51, have precision 1."""
    scores = detection.score([truth(SQUARE, FAR)], [found((SQUARE, 0.9))])
    assert scores["AP50"] == pytest.approx(51 / 101)
    assert scores["AR100"] == pytest.approx(0.5)


def test_a_false_alarm_before_the_hit_halves_precision():
    scores = detection.score([truth(SQUARE)], [found((FAR, 0.9), (SQUARE, 0.8))])
    assert scores["AP50"] == pytest.approx(0.5)
    behind = detection.score([truth(SQUARE)], [found((FAR, 0.7), (SQUARE, 0.8))])
    assert behind["AP50"] == pytest.approx(1)


def test_a_loose_box_counts_at_the_thresholds_that_it_reaches():
    """30 x 40 of 40 x 40 is an IoU of .75: six of the ten thresholds .50, .55, ..., .95."""
    scores = detection.score([truth(SQUARE)], [found(([0.0, 0.0, 30.0, 40.0], 0.9))])
    assert scores["AP50"] == scores["AP75"] == pytest.approx(1)
    assert scores["AP"] == pytest.approx(0.6)


def test_classes_are_scored_apart_and_averaged():
    both = truth(SQUARE, FAR, classes=[0, 1])
    wrong = detection.score([both], [found((SQUARE, 0.9), (FAR, 0.9), classes=[0, 0])])
    assert wrong["AP50"] == pytest.approx(0.5)
    unknown = detection.score([truth(SQUARE)], [found((SQUARE, 0.9), (FAR, 0.99), classes=[0, 5])])
    assert unknown["AP50"] == pytest.approx(1)  # a class without objects has no average precision


def test_detections_in_a_crowd_do_not_count():
    crowded = truth(SQUARE, FAR, crowd=[False, True])
    part = [105.0, 5.0, 115.0, 15.0]
    scores = detection.score([crowded], [found((part, 0.99), (SQUARE, 0.9))])
    assert scores["AP50"] == pytest.approx(1)
    assert scores["AR100"] == pytest.approx(1)


def test_sizes_are_told_by_area():
    small, large = [0.0, 0.0, 31.0, 31.0], [0.0, 0.0, 97.0, 97.0]
    scores = detection.score([truth(small), truth(large)], [found((small, 0.9)), found()])
    assert scores["APs"] == pytest.approx(1)
    assert scores["APl"] == 0
    assert math.isnan(scores["APm"])


def test_images_are_told_apart():
    swapped = detection.score([truth(SQUARE), truth(FAR)], [found((FAR, 0.9)), found((SQUARE, 0.9))])
    assert swapped["AP50"] == 0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            Labels(boxes=np.zeros((1, 4)), classes=np.zeros(1, np.int64)),
            "image 1: 0 scores and 1 classes of 1",
        ),
        (
            found(([0.0, 0.0, math.nan, 1.0], 0.5)),
            "image 1: a box or a score that is not finite; leave it out",
        ),
        (found((SQUARE, math.inf)), "image 1: a box or a score that is not finite; leave it out"),
    ],
)
def test_what_is_wrong_with_detections_is_named(labels, message):
    with pytest.raises(DataError, match=message):
        detection.score([truth(SQUARE)], [labels])


def crowded_images(rng: np.random.Generator, count: int) -> tuple[list[Annotated], list[Labels]]:
    """Images of several classes and sizes, with crowds; detections that are near, far, doubled and equal in score."""
    annotated, detected = [], []
    for _ in range(count):
        number = int(rng.integers(0, 6))
        corners = rng.uniform(0, 200, (number, 2))
        sides = rng.choice([12, 50, 150], (number, 1)) * rng.uniform(0.8, 1.2, (number, 2))
        boxes = np.hstack([corners, corners + sides])
        classes = rng.integers(0, 3, number)
        annotated.append(Annotated(boxes, classes, np.prod(sides, axis=1), rng.random(number) < 0.2))
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 4, (2 * number, 4))
        far = rng.uniform(0, 200, (3, 2))
        rows = np.vstack([near, np.hstack([far, far + 40])])
        labels = np.concatenate([np.repeat(classes, 2), rng.integers(0, 4, 3)])
        detected.append(Labels(boxes=rows, scores=rng.random(len(rows)).round(1), classes=labels))
    return annotated, detected


def by_coco(annotated: list[Annotated], detected: list[Labels]) -> list[float]:
    """The twelve numbers as pycocotools accumulates and summarizes them."""
    tables = []
    for rows in (
        [row for image, one in enumerate(annotated, 1) for row in detection._annotations(image, one)],
        [row for image, one in enumerate(detected, 1) for row in detection._detections(image, one)],
    ):
        table = COCO()
        table.dataset = {
            "images": [{"id": image + 1} for image in range(len(annotated))],
            "categories": [{"id": name} for name in range(4)],
            "annotations": [{**row, "id": number} for number, row in enumerate(rows, 1)],
        }
        tables.append(table)
    with contextlib.redirect_stdout(io.StringIO()):
        for table in tables:
            table.createIndex()
        evaluation = COCOeval(*tables, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [value if value >= 0 else math.nan for value in evaluation.stats.tolist()]


@pytest.mark.parametrize("seed", range(6))
def test_pooled_tallies_of_clips_are_what_pycocotools_gives_of_all_images(seed: int) -> None:
    annotated, detected = crowded_images(np.random.default_rng(seed), 12)
    tallies = [detection.match(annotated[at : at + 4], detected[at : at + 4]) for at in (0, 4, 8)]
    expected = pytest.approx(by_coco(annotated, detected), abs=1e-12, nan_ok=True)
    assert list(detection.pool(tallies).values()) == expected
    assert list(detection.score(annotated, detected).values()) == expected
    stored = [{key: np.asarray(value).tolist() for key, value in one.items()} for one in tallies]
    assert list(detection.pool(json.loads(json.dumps(stored))).values()) == expected


def test_a_clip_is_scored_frame_by_frame_without_its_ignored_regions() -> None:
    frame = Labels(ids=np.array([1]), boxes=np.array([SQUARE]), classes=np.array([2]))
    region = Labels(boxes=np.array([FAR, SQUARE]), classes=np.array([EXCUSED, BYSTANDER]))
    clip = Truth(labels=(frame, frame, Labels()), ignored=(region,) * 3, scored=(0, 2))
    part = [105.0, 5.0, 115.0, 15.0]
    said = found((SQUARE, 0.9), (part, 0.99), classes=[2, 2])
    sums = detection.tally(clip, [said, Labels(), found((part, 0.95), classes=[2])])
    assert detection.pool([sums])["AP"] == pytest.approx(1)
    wrong = detection.tally(clip, [said, Labels(), found((SQUARE, 0.95), classes=[2])])
    assert detection.pool([wrong])["AP"] == pytest.approx(0.5)  # a bystander excuses nothing
    assert detection.pool([sums, wrong])["AP50"] < 1


def test_a_clip_without_classes_has_one() -> None:
    clip = Truth(labels=(Labels(ids=np.array([1]), boxes=np.array([SQUARE])),))
    assert detection.pool([detection.tally(clip, [found((SQUARE, 0.9))])])["AP"] == pytest.approx(1)


def test_no_clip_and_clips_without_objects() -> None:
    with pytest.raises(DataError, match="metrics: no clip to pool; score at least one clip"):
        detection.pool([])
    empty = detection.tally(Truth(labels=(Labels(),)), [Labels()])
    assert all(math.isnan(value) for value in detection.pool([empty]).values())


def unpack(file: Path) -> Any:
    return json.loads(gzip.decompress(file.read_bytes()))


def test_coco_s_own_example(gold):
    """The twelve numbers that the COCO API publishes for its fake results on 100 images of val2014."""
    folder = gold / "coco_val2014_100"
    table = unpack(folder / "instances_val2014_100.json.gz")
    data = coco.from_table(table, Path(), "instances")
    categories = sorted(row["id"] for row in table["categories"])
    rows: dict[int, list[dict[str, Any]]] = {row["id"]: [] for row in table["images"]}
    for row in unpack(folder / "instances_val2014_fakebbox100_results.json.gz"):
        rows[row["image_id"]].append(row)
    annotated = [
        Annotated(
            np.concatenate([one.labels.boxes, one.ignored]),
            np.concatenate([one.labels.classes, one.ignored_classes]),
            np.concatenate([one.areas, np.zeros(len(one.ignored))]),
            np.arange(len(one.areas) + len(one.ignored)) >= len(one.areas),
        )
        for one in data.images
    ]
    detected = [
        found(
            *(([x, y, x + w, y + h], row["score"]) for row in image for x, y, w, h in [row["bbox"]]),
            classes=[categories.index(row["category_id"]) for row in image],
        )
        for image in rows.values()
    ]
    scores = detection.score(annotated, detected)
    published = json.loads((folder / "expected.json").read_text())["published"]["bbox"]
    assert [round(scores[name], 3) for name in detection.ORDER] == published
