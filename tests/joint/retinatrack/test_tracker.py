from dataclasses import replace

import numpy as np
import pytest
import torch

from unibench.errors import TrackerError
from unibench.joint.layers import box_coder
from unibench.joint.retinatrack import SYSTEM
from unibench.joint.retinatrack.config import changed
from unibench.joint.retinatrack.network import Outputs
from unibench.joint.system import EmbedderOptions
from unibench.joint.training import config as configs
from unibench.records import Clip, Frame, Labels
from unibench.tasks import registry as tasks

TINY = configs.read("tiny", SYSTEM)
STORE = TINY.tracking.store
OVERLAP = replace(TINY, tracking=replace(TINY.tracking, store=replace(STORE, embeddings=False)))


def a_clip(count=3, *, size=(128, 128), vocabulary=TINY.classes, given=None, seed=0):
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]
    given = given or [Labels()] * count

    def frames():
        for index, image in enumerate(images):
            yield Frame(index, image, detections=given[index])

    return Clip("a", *size, 10.0, count, frames, vocabulary)


class Says(torch.nn.Module):
    """Finds the same objects in every image: rows (box on the canvas, class, score); looks[i] is that of object i.

    One more anchor a row is background.
    """

    def __init__(self, *rows, looks):
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(1))
        anchors = torch.tensor([box for box, _, _ in rows])
        logits = torch.full((1, len(rows), len(TINY.classes)), -30.0)
        for index, (_, kind, score) in enumerate(rows):
            logits[0, index, kind] = torch.tensor(score).logit()
        self.outputs = Outputs(logits, torch.zeros(1, len(rows), 4), torch.eye(8)[looks][None], anchors)

    def forward(self, images):
        assert images.shape == (1, 3, 128, 128)
        assert images.dtype == torch.uint8
        return self.outputs


def run(network, clip, config=TINY, protocol="private"):
    return list(SYSTEM.track(network, config, clip, tasks.find(f"mot/shapes@{protocol}")))


TWO = Says(
    ([0.0, 0.0, 40.0, 40.0], 0, 0.9),
    ([1.0, 0.0, 41.0, 40.0], 0, 0.8),  # suppressed: overlaps the first, of the same class
    ([60.0, 60.0, 140.0, 90.0], 2, 0.7),
    ([90.0, 0.0, 120.0, 30.0], 1, 0.3),  # below the threshold of tracking
    looks=[0, 1, 2, 3],
)


def test_objects_come_best_first_each_with_the_embedding_of_its_anchor():
    (found,) = SYSTEM.detect(TWO, torch.zeros(1, 3, 128, 128, dtype=torch.uint8), TINY)
    assert found.scores[:3].tolist() == pytest.approx([0.9, 0.7, 0.3], rel=1e-5)
    assert found.classes[:3].tolist() == [0, 2, 1]
    assert torch.equal(found.embeddings[:3], torch.eye(8)[[0, 2, 3]])
    assert found.boxes[1].tolist() == pytest.approx([60, 60, 140, 90])


def test_tracks_are_in_pixels_of_the_frame_and_inside_it():
    """The frame has 64 x 256 pixels, the canvas 128 x 128: half the size, the lower half is empty."""
    labels = run(TWO, a_clip(size=(64, 256)))[0]
    assert labels.boxes.tolist() == [
        pytest.approx([0, 0, 80, 64], rel=1e-5),
        pytest.approx([120, 64, 256, 64], rel=1e-5),
    ]


def test_objects_keep_their_ids_scores_and_classes():
    labels = run(TWO, a_clip())
    assert [one.ids.tolist() for one in labels] == [[1, 2]] * 3
    assert labels[2].scores.tolist() == pytest.approx([0.9, 0.7], rel=1e-5)
    assert labels[2].classes.tolist() == [0, 2]


def test_classes_are_those_of_the_clips_vocabulary():
    labels = run(TWO, a_clip(vocabulary=("triangle", "dog", "square")))
    assert labels[0].classes.tolist() == [2, 0]
    labels = run(TWO, a_clip(vocabulary=("triangle",)))
    assert labels[0].classes.tolist() == [0]
    assert run(TWO, a_clip(vocabulary=()))[0].classes.tolist() == [0, 2]
    people = replace(TINY, classes=("person", "Dog", "cat"))
    assert run(TWO, a_clip(vocabulary=("dog", "pedestrian")), people)[0].classes.tolist() == [1]


def test_a_clip_of_other_classes_is_an_error():
    with pytest.raises(
        TrackerError, match=r"'a': its classes are dog, expected .* \(square, disc, triangle\)"
    ):
        run(TWO, a_clip(vocabulary=("", "dog")))


def test_given_objects_have_the_embedding_of_the_anchor_that_overlaps_them_most():
    """Objects at anchors 0 and 2 change places; each is where the other was, and looks as the other did."""
    first, second = [0.0, 5.0, 40.0, 45.0], [60.0, 60.0, 128.0, 90.0]
    given = [
        Labels(boxes=np.array(rows), scores=np.array([0.1, 0.2]))
        for rows in ([first, second], [second, first], [[85.0, 0.0, 120.0, 30.0], first])
    ]
    found = run(TWO, a_clip(given=given), protocol="public")
    assert [one.ids.tolist() for one in found] == [[1, 2], [2, 1], [3, 1]]  # anchor 3 looks like none of them
    assert np.array_equal(found[1].boxes, given[1].boxes)
    assert np.array_equal(found[1].scores, given[1].scores)


def test_given_classes_are_kept_whatever_the_network_knows():
    given = [Labels(boxes=np.array([[0.0, 0.0, 40.0, 40.0]]), classes=np.array([0]))] * 3
    labels = run(TWO, a_clip(given=given, vocabulary=("dog",)), protocol="public")
    assert [one.classes.tolist() for one in labels] == [[0]] * 3


def test_nothing_found_or_given_gives_empty_frames():
    quiet = Says(([0.0, 0.0, 40.0, 40.0], 0, 0.1), looks=[0])
    for protocol in ("private", "public"):
        assert [len(one.ids) for one in run(quiet, a_clip(), protocol=protocol)] == [0, 0, 0]


def test_one_frame_is_asked_for_at_a_time():
    asked = []
    clip = a_clip()

    def frames():
        for frame in clip.frames():
            asked.append(frame.index)
            yield frame

    labels = SYSTEM.track(TWO, TINY, replace(clip, frames=frames), tasks.find("mot/shapes@private"))
    assert asked == []
    next(labels)
    assert asked == [0]


def test_a_model_card_can_stand_in_for_the_embedding():
    """Same places; the second frame is blue where the first was red: alike by overlap, unlike by colour."""
    colours = [np.zeros((128, 128, 3), dtype=np.uint8) for _ in range(3)]
    colours[0][..., 0], colours[1][..., 2], colours[2][..., 0] = 200, 200, 190
    clip = replace(a_clip(), frames=lambda: (Frame(index, image) for index, image in enumerate(colours)))
    one = Says(([0.0, 0.0, 40.0, 40.0], 0, 0.9), looks=[0])
    config = replace(TINY, tracking=replace(TINY.tracking, reid=EmbedderOptions("lab-colour", "", (32, 32))))
    assert [labels.ids.tolist() for labels in run(one, clip)] == [[1], [1], [1]]
    assert [labels.ids.tolist() for labels in run(one, clip, config)] == [[1], [2], [1]]
    given = [Labels(boxes=np.tile([0.0, 0.0, 40.0, 40.0], (count, 1))) for count in (1, 0, 1)]
    assert [len(labels.ids) for labels in run(one, a_clip(given=given), config, "public")] == [1, 0, 1]


def test_images_of_a_batch_do_not_change_what_is_found():
    torch.manual_seed(0)
    network = SYSTEM.build(TINY).eval()
    images = torch.randint(0, 256, (3, 3, 128, 128), dtype=torch.uint8)
    together = SYSTEM.detect(network, images, TINY)
    for index, found in enumerate(together):
        (alone,) = SYSTEM.detect(network, images[index : index + 1], TINY)
        assert len(alone.boxes) == TINY.detections.total
        for field in ("boxes", "scores", "classes", "embeddings"):
            assert torch.equal(getattr(alone, field), getattr(found, field)), field


def test_objects_of_several_classes_suppress_each_other_where_the_config_says_so():
    """The second object overlaps the first and is of another class; the first is also a little of the second's."""
    network = Says(([0.0, 0.0, 40.0, 40.0], 0, 0.9), ([1.0, 0.0, 41.0, 40.0], 1, 0.8), looks=[0, 1])
    network.outputs.logits[0, 0, 1] = torch.tensor(0.6).logit()
    image = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    found = []
    for across in (True, False):
        config = changed(TINY, {"detections": {"across_classes": across, "min_score": 0.5}})
        found.append(SYSTEM.detect(network, image, config)[0])
    assert found[0].classes.tolist() == [0]
    assert found[1].classes.tolist() == [0, 1]
    assert found[1].scores.tolist() == pytest.approx([0.9, 0.8], rel=1e-5)


def test_boxes_are_decoded_from_their_anchors():
    truth = torch.tensor([[10.0, 20.0, 50.0, 70.0]])
    network = Says(([12.0, 18.0, 44.0, 66.0], 0, 0.9), looks=[0])
    network.outputs.offsets[0] = box_coder.encode(truth, network.outputs.anchors, TINY.anchors.weights)
    assert run(network, a_clip())[0].boxes[0].tolist() == pytest.approx([10, 20, 50, 70], rel=1e-5)


def test_overlap_alone_needs_no_looks():
    fickle = Says(([0.0, 0.0, 40.0, 40.0], 0, 0.9), looks=[0])
    config = replace(
        OVERLAP, tracking=replace(OVERLAP.tracking, store=replace(OVERLAP.tracking.store, min_cosine=2.0))
    )
    assert [one.ids.tolist() for one in run(fickle, a_clip(), config)] == [[1]] * 3
