"""What detectors share: the protocol's meaning, the choice of objects, and the way from the canvas to the frame."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unibench.errors import UnknownNameError
from unibench.joint import detector, systems
from unibench.joint.data.sampling import ViewOptions
from unibench.joint.detector import DetectionOptions
from unibench.joint.system import Detections
from unibench.joint.training import config as configs
from unibench.records import Clip, Frame
from unibench.tasks import registry as tasks

PRIVATE = tasks.find("mot/shapes@private")


@pytest.mark.parametrize("name", systems.SYSTEMS)
def test_every_system_refuses_a_protocol_that_it_does_not_know(name):
    system = systems.find(name)
    config = configs.read("toy" if "toy" in configs.shipped(system) else "tiny", system)
    frame = Frame(0, np.zeros((64, 64, 3), dtype=np.uint8))
    clip = Clip("one", 64, 64, 10.0, 1, lambda: iter([frame]), config.classes)
    third = replace(PRIVATE, protocol=replace(PRIVATE.protocol, name="publik"))
    network = system.build(config).eval()
    with pytest.raises(UnknownNameError, match=r"no protocol of .* 'publik'"):
        next(system.track(network, config, clip, third))
    assert len(list(system.track(network, config, clip, PRIVATE))) == 1


def test_the_protocol_says_who_finds_the_objects():
    assert detector.finds_objects(PRIVATE)
    assert not detector.finds_objects(tasks.find("mot/shapes@public"))
    with pytest.raises(UnknownNameError, match="there are: private, public"):
        detector.finds_objects(tasks.find("mot/shapes@unitrack"))


def test_unused_fields_are_empty_tensors():
    empty = Detections()
    assert {len(value) for value in vars(empty).values()} == {0}
    assert empty.boxes.shape == (0, 4)
    assert empty.masks.dtype == torch.bool
    assert empty.classes.dtype == torch.int64


def test_objects_of_all_classes_compete_where_the_options_say_so():
    scores = torch.tensor([[0.9, 0.2], [0.1, 0.8], [0.3, 0.4]])
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]])
    options = DetectionOptions(min_score=0.25, nms_iou=0.5, across_classes=False, per_class=5, total=5)
    rows, classes = detector.choose(scores, boxes, options)
    assert (rows.tolist(), classes.tolist()) == ([0, 1, 2, 2], [0, 1, 1, 0])
    rows, classes = detector.choose(scores, boxes, replace(options, across_classes=True))
    assert (rows.tolist(), classes.tolist()) == ([0, 2], [0, 1])


def test_objects_come_back_to_the_frame_and_to_the_clips_classes():
    """A frame of 100 x 200 pixels is drawn half as large; the clip has class 1 of the network as its class 5."""
    image, placement = detector.on_canvas(
        torch.nn.Linear(1, 1), np.zeros((100, 200, 3), dtype=np.uint8), ViewOptions(64, 100)
    )
    assert image.shape == (3, 64, 100)
    found = Detections(
        torch.tensor([[0.0, 0, 10, 20], [30, 10, 60, 40], [30, 10, 60, 40]]),
        torch.tensor([0.9, 0.8, 0.1]),
        torch.tensor([0, 1, 1]),
        torch.eye(3),
    )
    back = detector.in_frame(found, placement, np.array([-1, 5]), 0.5)
    assert back.boxes.tolist() == [[60, 20, 120, 80]]
    assert back.boxes.dtype == back.scores.dtype == torch.float64
    assert (back.classes.tolist(), back.embeddings.tolist()) == ([5], [[0, 1, 0]])
