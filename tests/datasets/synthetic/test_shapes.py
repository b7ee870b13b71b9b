"""Clips of textured shapes: the same every time, exact truth, fast, and too quick for boxes alone."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unibench.datasets.synthetic import shapes
from unibench.errors import UnknownNameError
from unibench.geometry import masks as rle
from unibench.geometry.boxes import iou
from unibench.metrics import sot
from unibench.records import EXCUSED, Clip, Labels, Truth

ROOT = Path()


def load(number: int = 0) -> tuple[Clip, Truth]:
    row = shapes.benchmarks()["mot/shapes"]
    return row.load(ROOT, row.names(ROOT)[number])


def test_the_benchmark_has_eight_clips_of_forty_frames():
    row = shapes.benchmarks()["mot/shapes"]
    assert (row.task, row.folder, len(row.names(ROOT))) == ("mot/shapes", "", 8)
    clip, truth = load()
    assert (clip.length, clip.height, clip.width) == (40, 128, 128)
    assert clip.vocabulary == ("square", "disc", "triangle")
    frames = list(clip.frames())
    assert [frame.index for frame in frames] == list(range(40))
    assert len(truth.labels) == len(truth.ignored) == 40
    assert any(len(frame.detections.boxes) for frame in frames)


def test_a_frame_depends_on_nothing_but_word_length_and_index():
    plan = shapes.scene("one", 12)
    alone = shapes.paint(plan, 7)
    for index in range(12):
        shapes.paint(plan, index)
    shapes.scene.cache_clear()
    again = shapes.paint(shapes.scene("one", 12), 7)
    np.testing.assert_array_equal(alone[0], again[0])
    np.testing.assert_array_equal(alone[1].boxes, again[1].boxes)
    assert (shapes.paint(shapes.scene("two", 12), 7)[0] != alone[0]).mean() > 0.5


def test_clips_stay_as_they_are():
    """The shipped joint trackers were trained and measured on these pixels and boxes; `results/joint` says how well."""
    total = hashlib.sha256()
    for row in shapes.benchmarks().values():
        clip, truth = row.load(ROOT, row.names(ROOT)[0])
        for frame, labels in zip(clip.frames(), truth.labels, strict=True):
            total.update(frame.image.tobytes() + labels.ids.tobytes() + labels.boxes.tobytes())
            total.update(b"".join(mask["counts"] for mask in labels.masks))
    assert total.hexdigest() == "626bf9fc33dddd052b0ff852bdcf03dd12a7a88c99dde7de157afbc6c9ca76ce"


def test_another_process_gives_the_same_bytes():
    code = (
        "import hashlib; from unibench.datasets.synthetic import shapes as s;"
        "print(hashlib.sha256(s.paint(s.scene('one', 12), 7)[0].tobytes()).hexdigest(), end='')"
    )
    told = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert told[0] == told[1] != ""


@pytest.mark.parametrize("number", range(8))
def test_truth_is_sound(number):
    _, truth = load(number)
    kinds: dict[int, set[int]] = {}
    for labels, ignored in zip(truth.labels, truth.ignored, strict=True):
        assert len(set(labels.ids.tolist())) == len(labels.ids) == len(labels.boxes) == len(labels.classes)
        assert (ignored.classes == EXCUSED).all()
        boxes = np.concatenate([labels.boxes, ignored.boxes])
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= 128).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        for identity, kind in zip(labels.ids.tolist(), labels.classes.tolist(), strict=True):
            kinds.setdefault(identity, set()).add(kind)
    assert all(len(kind) == 1 for kind in kinds.values())
    assert len(kinds) >= 5


def test_boxes_are_tight_around_what_is_painted():
    """Without the shape, nothing outside its box changes; with it, every edge of its box does."""
    plan = shapes.scene("tight", 8)
    for index in range(8):
        image, labels, _ = shapes.paint(plan, index)
        for number in labels.ids.tolist():
            if number != len(plan.shapes):  # only the nearest is hidden by none
                continue
            bare = shapes.Scene(
                plan.word, plan.background, plan.window, plan.light, plan.shapes[:-1], plan.grain
            )
            changed = (shapes.paint(bare, index)[0] != image).any(axis=2)
            rows, columns = np.nonzero(changed)
            box = labels.boxes[labels.ids == number][0]
            tight = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert np.abs(box - tight).max() <= 1  # a pixel of the pattern may match the background


def test_a_hidden_shape_is_ignored():
    plan = shapes.scene("hidden", 4)
    behind, front = plan.shapes[0], plan.shapes[-1]
    middle = np.full((4, 2), 64.0)
    small = shapes.Shape(behind.kind, behind.colours, 0, 2.0, 6.0, middle, behind.angles)
    large = shapes.Shape(1, front.colours, 0, 2.0, 19.0, middle, front.angles)
    for order, ids, hidden in (((small, large), [2], 0), ((large, small), [1, 2], 0)):
        _, labels, ignored = shapes.paint(
            shapes.Scene("x", plan.background, plan.window, plan.light, order, 0.0), 0
        )
        assert labels.ids.tolist() == ids
        assert len(ignored.boxes) == hidden
    partly = shapes.Shape(1, front.colours, 0, 2.0, 19.0, middle + np.array([25.0, 0.0]), front.angles)
    same = shapes.Shape(1, front.colours, 0, 2.0, 19.0, middle, front.angles)
    over = shapes.Shape(1, front.colours, 0, 2.0, 19.0, middle + np.array([8.0, 0.0]), front.angles)
    scene = shapes.Scene("x", plan.background, plan.window, plan.light, (same, over), 0.0)
    _, labels, ignored = shapes.paint(scene, 0)
    assert labels.ids.tolist() == [2]  # a disc moved by 8/19 of its radius leaves 27 % of the other one
    assert ignored.boxes.tolist() == [[45.0, 45.0, 83.0, 83.0]]
    scene = shapes.Scene("x", plan.background, plan.window, plan.light, (same, partly), 0.0)
    assert shapes.paint(scene, 0)[1].ids.tolist() == [1, 2]


def test_shapes_leave_and_come_back_and_hide_each_other():
    returns, hidden = 0, 0
    for number in range(8):
        _, truth = load(number)
        presence = np.array([[one in labels.ids for one in range(1, 8)] for labels in truth.labels])
        for track in presence.T:
            changes = np.flatnonzero(np.diff(track.astype(int)) == 1)
            returns += int((changes > np.argmax(track)).sum())
        hidden += sum(len(ignored.boxes) for ignored in truth.ignored)
    assert returns > 50
    assert hidden > 100


def test_boxes_alone_lose_identities():
    """Most boxes overlap by less than half with themselves a frame later."""
    own = []
    for number in range(8):
        _, truth = load(number)
        for before, after in zip(truth.labels, truth.labels[1:], strict=False):
            for identity in np.intersect1d(before.ids, after.ids):
                pair = (before.boxes[before.ids == identity], after.boxes[after.ids == identity])
                own.append(iou(*pair)[0, 0])
    assert np.median(own) < 0.4
    assert np.mean(np.array(own) < 0.5) > 0.8


def test_an_unknown_clip_is_named():
    with pytest.raises(UnknownNameError, match=r"no clip of the rendered shapes 'shapes-9'; did you mean"):
        shapes.benchmarks()["mot/shapes"].load(ROOT, "shapes-9")


@pytest.mark.parametrize("number", range(8))
def test_masks_are_the_visible_parts_of_the_same_shapes(number):
    row = shapes.benchmarks()["mots/shapes"]
    clip, truth = row.load(ROOT, row.names(ROOT)[number])
    for boxed, masked, frame in zip(load(number)[1].labels, truth.labels, clip.frames(), strict=True):
        assert boxed.ids.tolist() == masked.ids.tolist()
        assert not len(frame.detections.boxes)
        drawn = [rle.decode(mask) for mask in masked.masks]
        assert np.sum(drawn, axis=0).max(initial=0) <= 1
        for mask, box in zip(masked.masks, boxed.boxes, strict=True):
            tight = rle.box(mask)
            assert (tight[:2] >= box[:2]).all()
            assert (tight[2:] <= box[2:]).all()
    assert any(len(frame.detections.masks) for frame in clip.frames())


@pytest.mark.parametrize("number", range(8))
def test_one_target_is_prompted_and_a_box_that_stays_loses_it(number):
    row = shapes.benchmarks()["sot/shapes"]
    clip, truth = row.load(ROOT, row.names(ROOT)[number])
    prompts = [frame.prompt for frame in clip.frames()]
    assert len(prompts[0].boxes) == 1
    assert not any(len(one.boxes) for one in prompts[1:])
    assert truth.scored is not None
    assert truth.scored[0] == 0
    assert len(truth.scored) >= 20
    assert all(len(truth.labels[index].boxes) == 1 for index in truth.scored)
    static = [Labels(ids=prompts[0].ids, boxes=prompts[0].boxes)] * clip.length
    score = sot.pool([sot.tally(truth, static)])
    assert score["AUC"] < 0.3


def test_all_objects_of_frame_0_are_prompted_by_masks():
    row = shapes.benchmarks()["vos/shapes"]
    clip, truth = row.load(ROOT, "shapes-1")
    prompts = [frame.prompt for frame in clip.frames()]
    assert len(prompts[0].masks) == len(prompts[0].ids) >= 2
    assert not any(prompt.masks for prompt in prompts[1:])
    assert {int(id) for one in truth.labels for id in one.ids} == set(prompts[0].ids.tolist())
