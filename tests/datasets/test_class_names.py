"""Some classes of a benchmark: what is left of truth and detections, and what a user may have mistyped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unibench.datasets import class_names
from unibench.errors import DataError, UnknownNameError
from unibench.geometry import masks
from unibench.records import Clip, Frame, Labels, Truth
from unibench.tasks import registry

BOXES = np.arange(12.0).reshape(3, 4)
LABELS = Labels(ids=np.array([7, 8, 9]), boxes=BOXES, classes=np.array([2, 0, 1]))
FOUND = Labels(boxes=BOXES, scores=np.array([0.3, 0.2, 0.1]), classes=np.array([2, 0, 1]))


def clip(vocabulary: tuple[str, ...], detections: Labels = FOUND) -> Clip:
    image = np.zeros((4, 4, 3), np.uint8)
    return Clip("c", 4, 4, 1.0, 1, lambda: iter([Frame(0, image, detections=detections)]), vocabulary)


def test_only_some_classes_are_left_and_they_are_counted_anew() -> None:
    truth = Truth((LABELS,), (LABELS,), scales=(np.array([1.0, 2.0, 3.0]),), scored=(0,))
    shown, left = class_names.restrict(clip(("person", "cat", "dog")), truth, ("Dog", "pedestrian"))
    assert shown.vocabulary == ("Dog", "pedestrian")
    assert left.labels[0].ids.tolist() == [7, 8]
    assert left.labels[0].classes.tolist() == [0, 1]
    assert left.labels[0].boxes.tolist() == BOXES[:2].tolist()
    assert left.scales[0].tolist() == [1.0, 2.0]
    assert left.ignored is truth.ignored
    (frame,) = shown.frames()
    assert frame.detections.classes.tolist() == [0, 1]
    assert frame.detections.scores.tolist() == [0.3, 0.2]
    assert len(frame.detections.ids) == 0


def test_a_class_of_the_clip_gets_the_word_of_a_tracker() -> None:
    classes = class_names.parse(" dog = hund, person=pedestrian")
    assert classes == ("dog=hund", "person=pedestrian")
    shown, left = class_names.restrict(clip(("person", "cat", "dog")), Truth((LABELS,)), classes)
    assert shown.vocabulary == ("hund", "pedestrian")
    assert left.labels[0].ids.tolist() == [7, 8]
    assert left.labels[0].classes.tolist() == [0, 1]
    assert class_names.in_clip(("car", "hund"), shown).tolist() == [-1, 0]
    task = registry.find("mot/shapes:disc=ball@private")
    shown, _ = registry.load_clip(task, Path(), "shapes-1", 2)
    assert (task.name, shown.vocabulary) == ("mot/shapes:disc=ball", ("ball",))


def test_masks_go_with_their_objects() -> None:
    drawn = tuple(masks.encode(np.eye(4, k=k, dtype=bool)) for k in range(3))
    truth = Truth((replace(LABELS, boxes=Labels().boxes, masks=drawn),))
    _, left = class_names.restrict(clip(("a", "b", "c")), truth, ("b",))
    assert left.labels[0].masks == (drawn[2],)


def test_objects_without_a_class_are_of_the_only_one() -> None:
    plain = replace(LABELS, classes=Labels().classes)
    _, left = class_names.restrict(clip(("pedestrian",), Labels()), Truth((plain,)), ("person",))
    assert left.labels[0].ids.tolist() == [7, 8, 9]


def test_a_class_that_is_not_there_is_named() -> None:
    with pytest.raises(UnknownNameError, match="no class in clip 'c' 'zebra'; there are: cat, dog"):
        class_names.restrict(clip(("cat", "", "dog")), Truth((LABELS,)), ("cat", "zebra"))
    with pytest.raises(DataError, match="clip 'c': its objects have no class names; leave the classes out"):
        class_names.restrict(clip(()), Truth((LABELS,)), ("cat",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is no class name"),
        ("a,,b", "'' is no class name"),
        ("a/b", "'a/b' is no class name"),
        ("../x", "is no class name"),
        ("a@b", "is no class name"),
        ("a, A", "'A' is there twice; remove one"),
        ("person,pedestrian", "'pedestrian' is there twice"),
        ("a\nb\x00", "is no class name"),
        ("a=", "'a=' is no class name"),
        ("a=b=c", "'a=b=c' is no class name"),
        ("a=c,b=C", "'C' is there twice"),
        ("a=b,A=c", "'A' is there twice"),
    ],
)
def test_names_are_checked(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        class_names.parse(text)


def test_names_may_be_words_of_any_script() -> None:
    assert class_names.parse(" traffic  light ,\u732b") == ("traffic light", "\u732b")


def test_a_task_of_some_classes_is_a_task_of_its_own() -> None:
    task = registry.find("mot/shapes:disc, square@private")
    assert (task.name, task.classes) == ("mot/shapes:disc,square", ("disc", "square"))
    shown, truth = registry.load_clip(task, Path(), "shapes-1", 5)
    whole = registry.load_clip(registry.find("mot/shapes@private"), Path(), "shapes-1", 5)[1]
    assert shown.vocabulary == ("disc", "square")
    for some, every in zip(truth.labels, whole.labels, strict=True):
        assert some.ids.tolist() == every.ids[every.classes != 2].tolist()
        assert (some.classes == 1 - every.classes[every.classes != 2]).all()
    public = registry.find("mot/shapes:disc@public")
    shown, truth = registry.load_clip(public, Path(), "shapes-1", 5)
    counts = [len(frame.detections.boxes) for frame in shown.frames()]
    assert sum(counts) < sum(len(one.ids) for one in whole.labels)
