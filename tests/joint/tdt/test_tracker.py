from dataclasses import replace

import numpy as np
import pytest
import torch

from heads.associate import CascadeState, Observation, step
from unibench.datasets.synthetic import shapes
from unibench.geometry.boxes import iou
from unibench.joint import detector
from unibench.joint.system import Detections, EmbedderOptions
from unibench.joint.tdt import SYSTEM, tracker
from unibench.joint.tdt.tracker import advance, similarity, smoothed
from unibench.joint.training import config as configs
from unibench.records import Clip, Frame, Labels
from unibench.tasks import registry as tasks

PAPER, TINY = configs.read("paper", SYSTEM), configs.read("tiny", SYSTEM)
FPS = 30.0


def network(seed=0):
    torch.manual_seed(seed)
    return SYSTEM.build(TINY).eval()


def unit(*values):
    return torch.nn.functional.normalize(torch.tensor([values], dtype=torch.float32))


def objects(boxes, embeddings, scores=None):
    count = len(boxes)
    return Detections(
        torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
        torch.full((count,), 0.9, dtype=torch.float64) if scores is None else torch.tensor(scores),
        torch.zeros(count, dtype=torch.int64),
        torch.cat(embeddings) if count else torch.zeros(0, 2),
    )


def follow(frames, options=PAPER.tracking):
    state, tracks = CascadeState(), []
    for one in frames:
        state, labels = advance(state, one, options, FPS)
        tracks.append(labels)
    return state, tracks


FIRST, SECOND = [100.0, 100.0, 140.0, 200.0], [300.0, 100.0, 340.0, 200.0]
RED, BLUE = unit(1, 0), unit(0, 1)


def test_appearance_keeps_two_who_change_places_near_each_other():
    """They stand 30 pixels apart, within both gates and overlapping; only the embedding tells who is who."""
    left, right = [100.0, 100.0, 160.0, 250.0], [120.0, 100.0, 180.0, 250.0]
    frames = [objects([left, right], [RED, BLUE])] * 2 + [objects([left, right], [BLUE, RED])]
    _, tracks = follow(frames)
    assert tracks[1].ids.tolist() == [1, 2]
    assert tracks[2].ids.tolist() == [2, 1]
    options = replace(PAPER.tracking, cascade=replace(PAPER.tracking.cascade, appearance_limit=0.0))
    _, tracks = follow(frames, options)
    assert tracks[2].ids.tolist() == [1, 2]


def test_an_object_hidden_for_a_while_comes_back_by_its_looks_within_the_buffer():
    there, nobody = objects([FIRST], [RED]), objects([], [])
    for gap, same in ((28, True), (32, False)):
        _, tracks = follow([there, there, *[nobody] * gap, there, there])
        assert (tracks[-1].ids.tolist() == [1]) is same


def test_a_new_object_counts_from_its_second_frame_but_in_frame_0():
    _, tracks = follow(
        [
            objects([FIRST], [RED]),
            objects([FIRST, SECOND], [RED, BLUE]),
            objects([FIRST, SECOND], [RED, BLUE]),
        ]
    )
    assert [one.ids.tolist() for one in tracks] == [[1], [1], [1, 2]]


def test_small_and_wide_boxes_are_not_written():
    """[C] FairMOT: an area of 100 square pixels or less, or wider than 1.6 heights."""
    wide, small = [0.0, 0.0, 90.0, 50.0], [200.0, 0.0, 210.0, 10.0]
    _, tracks = follow([objects([FIRST, wide, small], [RED, BLUE, unit(1, 1)])])
    assert tracks[0].ids.tolist() == [1]


def test_a_track_keeps_nine_tenths_of_its_embedding():
    before = CascadeState()
    options = PAPER.tracking.cascade
    first = [Observation(RED, np.array(FIRST))]
    second = [Observation(unit(1, 0.5), np.array(FIRST))]
    before, _ = step(before, first, similarity, options, FPS)
    after, _ = step(before, second, similarity, options, FPS)
    (kept,) = smoothed(before, after, 0.9).tracked[0].points
    torch.testing.assert_close(kept, torch.nn.functional.normalize(0.9 * RED + 0.1 * unit(1, 0.5)))
    torch.testing.assert_close(smoothed(before, after, 0.0).tracked[0].points, after.tracked[0].points)
    lost, _ = step(after, [], similarity, options, FPS)
    assert smoothed(after, lost, 0.9).lost == lost.lost


def test_a_new_track_has_the_embedding_it_was_seen_with():
    after, _ = step(
        CascadeState(), [Observation(RED, np.array(FIRST))], similarity, PAPER.tracking.cascade, FPS
    )
    assert smoothed(CascadeState(), after, 0.9).tracked[0].points[0].tolist() == RED.tolist()


def test_detections_lie_on_the_image_and_have_embeddings_of_length_1():
    images = torch.rand(2, 3, 96, 128) * 255
    sure = replace(TINY, detections=replace(TINY.detections, min_score=0.0, total=30))
    for found in tracker.detect(network(), images, sure):
        assert len(found.boxes) == 30
        assert found.boxes.min() >= 0
        assert found.boxes[:, 2].max() <= 128
        assert found.boxes[:, 3].max() <= 96
        assert (found.scores.diff() <= 0).all()
        torch.testing.assert_close(found.embeddings.norm(dim=1), torch.ones(30))
    nothing = replace(TINY, detections=replace(TINY.detections, min_score=0.99))
    (one, _) = tracker.detect(network(), images, nothing)
    assert one.embeddings.shape == (0, TINY.network.dim)


def test_a_given_object_has_the_embedding_of_the_anchor_that_overlaps_it_most():
    image, one = torch.rand(3, 128, 128) * 255, network()
    outputs = one(image[None])
    rows = torch.tensor([700, 40])
    given = outputs.anchors[rows] + 0.5
    wanted = torch.nn.functional.normalize(outputs.embeddings(torch.zeros_like(rows), rows))
    assert iou(outputs.anchors, given).argmax(dim=0).tolist() == rows.tolist()
    torch.testing.assert_close(tracker.embed_boxes(one, image, given), wanted)
    assert tracker.embed_boxes(one, image, given[:0]).shape == (0, TINY.network.dim)


def test_public_detections_are_written_as_they_were_given():
    """A frame of another size than the canvas, with and without scores and classes."""
    image = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    given = Labels(boxes=np.array([[10.0, 20.0, 60.0, 90.0], [150.0, 30.0, 280.0, 190.0]]))
    clip = Clip("one", 200, 300, FPS, 2, lambda: iter([Frame(0, image, detections=given), Frame(1, image)]))
    first, second = tracker.track(network(), TINY, clip, tasks.find("mot/shapes@public"))
    assert first.ids.tolist() == [1, 2]
    np.testing.assert_array_equal(first.boxes, given.boxes)
    assert len(second.ids) == 0


def test_private_boxes_come_back_to_the_frames_own_pixels():
    """A frame of 256 x 192 pixels is shown half as large."""
    frame = Frame(0, np.random.default_rng(0).integers(0, 255, (192, 256, 3), dtype=np.uint8))
    sure = replace(TINY, tracking=replace(TINY.tracking, min_score=0.0))
    sure = replace(sure, detections=replace(TINY.detections, min_score=0.0, total=5))
    image, placement = detector.on_canvas(network(), frame.image, sure.view)
    assert placement.scale == (0.5, 0.5)
    (found,) = tracker.detect(network(), image[None], sure)
    observe = tracker.observer(network(), sure, np.arange(len(sure.classes)))
    np.testing.assert_allclose(observe(frame).boxes, found.boxes.numpy() * 2, rtol=1e-6)
    assert len(observe(frame).boxes) == 5


@pytest.mark.parametrize("embedder", ["student", "teacher", "none"])
def test_embeddings_come_from_where_the_config_says(embedder):
    scene = shapes.scene("some", 1)
    image, labels, _ = shapes.paint(scene, 0)
    options = EmbedderOptions("random-resnet18", "layer3", (32, 32))
    config = replace(TINY, teacher=options, tracking=replace(TINY.tracking, embedder=embedder))
    observe = tracker.observer(network(), config, None)
    found = observe(Frame(0, image, detections=Labels(boxes=labels.boxes)))
    lengths = {"student": TINY.network.dim, "teacher": 256, "none": 1}
    assert found.embeddings.shape == (len(labels.boxes), lengths[embedder])
