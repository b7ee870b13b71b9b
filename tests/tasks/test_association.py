import gc
from dataclasses import replace

import numpy as np
import pytest
import torch

from heads.associate import CascadeOptions
from heads.bytetrack import ByteTrackOptions
from heads.qdtrack import QDTrackOptions
from unibench.errors import DataError, TrackerError, UnknownNameError
from unibench.geometry import masks
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.tasks.association.observations import MOST_DETECTIONS
from unibench.tasks.association.tracker import AssociationOptions, track

STUDY_KNOBS = {"motion_weight": 1.0, "gate": False}
LOOKS_KNOBS = {**STUDY_KNOBS, "use_kalman": False, "use_iou": False}
HEIGHT, WIDTH, STRIDE = 96, 160, 4
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], dtype=np.uint8)
BOXES = AssociationOptions(letterbox=(96, 200), min_area=50.0)
BORN = CascadeOptions(confirm_at_birth=True)
MASKS = AssociationOptions(observation="mask", letterbox=None, cascade=BORN)
POSES = replace(MASKS, observation="pose", max_points=400)
LAYERS = ["fine", "coarse"]


class Counting:
    """Colour itself as features, at two strides; counts its passes."""

    def __init__(self):
        self.passes = 0

    def model(self):
        def prepare(image):
            return torch.from_numpy(image).permute(2, 0, 1).float() / 127.5 - 1

        def network(images, layers):
            self.passes += 1
            strides = {"fine": STRIDE, "coarse": 2 * STRIDE}
            return {layer: images[:, :, :: strides[layer], :: strides[layer]] for layer in layers}

        strides = {"fine": STRIDE, "coarse": 2 * STRIDE}
        return FrozenModel(
            "colours", prepare, network, strides, dict.fromkeys(strides, 0.0), torch.device("cpu")
        )


def clip(scene, describe, *, fps=30.0):
    """A clip in which every frame of the scene is a list of (colour, x, y): rectangles, 24 wide and 48 high."""

    def frames():
        for index, things in enumerate(scene):
            image = np.full((HEIGHT, WIDTH, 3), 128, dtype=np.uint8)
            for colour, x, y in things:
                image[max(y, 0) : y + 48, max(x, 0) : x + 24] = COLOURS[colour]
            yield Frame(index, image, detections=describe(things) if things else Labels())

    return Clip("scene", HEIGHT, WIDTH, fps, len(scene), frames)


def as_boxes(things):
    boxes = np.array([[x, y, x + 24, y + 48] for _, x, y in things], dtype=float)
    return Labels(boxes=boxes, scores=np.linspace(0.9, 0.8, len(things)))


def mask(x, y):
    canvas = np.zeros((HEIGHT, WIDTH), dtype=bool)
    canvas[y : y + 48, x : x + 24] = True
    return masks.encode(canvas)


def as_masks(things):
    return Labels(masks=tuple(mask(x, y) for _, x, y in things), classes=np.full(len(things), 2))


def as_poses(things):
    standing = [(8, 46), (8, 38), (8, 28), (16, 28), (16, 38), (16, 46), (4, 26), (4, 18), (7, 10), (17, 10)]
    standing += [(20, 18), (20, 26), (12, 8), (12, 4), (12, 1)]
    poses = [[(x + dx, y + dy, 1) for dx, dy in standing] for _, x, y in things]
    return Labels(keypoints=np.array(poses, dtype=float), scores=np.full(len(things), 0.7))


CROSSING = [[(0, 10 + 6 * t, 20), (1, 120 - 6 * t, 30)] for t in range(18)]
KINDS = [(as_boxes, BOXES), (as_masks, MASKS), (as_poses, POSES)]


def ids(predictions, layer="fine"):
    return [labels[layer].ids.tolist() for labels in predictions]


@pytest.mark.parametrize(("describe", "options"), KINDS)
def test_objects_that_cross_keep_their_ids_on_every_layer(describe, options):
    study = replace(options, cascade=replace(options.cascade, **STUDY_KNOBS))
    predictions = list(track(clip(CROSSING, describe), Counting().model(), LAYERS, study))
    for layer in LAYERS:
        # Where one hides the other the detector of this scene still sees both; the hidden one may be missed.
        assert ids(predictions, layer)[:5] == [[1, 2]] * 5
        assert ids(predictions, layer)[-5:] == [[1, 2]] * 5


@pytest.mark.parametrize(("describe", "options"), KINDS)
def test_one_pass_a_frame_serves_all_layers_and_none_without_detections(describe, options):
    counting = Counting()
    scene = [[(0, 10, 10)], [], [(0, 12, 10)]]
    predictions = list(track(clip(scene, describe), counting.model(), LAYERS, options))
    assert counting.passes == 2
    assert ids(predictions) == [[1], [], [1]]


@pytest.mark.parametrize(("describe", "options"), KINDS)
def test_frames_are_pulled_one_by_one(describe, options):
    pulled = []
    whole = clip(CROSSING, describe)

    def frames():
        for frame in whole.frames():
            pulled.append(frame.index)
            yield frame

    for index, _ in enumerate(track(replace(whole, frames=frames), Counting().model(), LAYERS, options)):
        assert pulled == list(range(index + 1))


def test_what_is_written_is_what_was_detected():
    for describe, options in KINDS:
        scene = CROSSING[0]
        given = describe(scene)
        (found,) = track(clip([scene], describe), Counting().model(), ["fine"], options)
        labels = found["fine"]
        np.testing.assert_array_equal(labels.boxes, given.boxes)
        np.testing.assert_array_equal(labels.keypoints, given.keypoints)
        np.testing.assert_array_equal(labels.scores, given.scores)
        np.testing.assert_array_equal(labels.classes, given.classes)
        assert labels.masks == given.masks
        assert labels.ids.tolist() == [1, 2]


def test_the_filtered_box_lags_behind_an_object_that_sets_off():
    scene = [[(0, 20, 20)]] * 3 + [[(0, 32, 20)]]
    options = replace(BOXES, write="kalman", cascade=replace(CascadeOptions(), **STUDY_KNOBS))
    *_, last = track(clip(scene, as_boxes), Counting().model(), ["fine"], options)
    assert 20 < last["fine"].boxes[0, 0] < 32
    np.testing.assert_allclose(last["fine"].boxes[0, 2:] - last["fine"].boxes[0, :2], [24, 48], atol=0.5)


def test_a_frame_without_detections_ages_the_tracks():
    options = replace(BOXES, cascade=replace(replace(CascadeOptions(), **STUDY_KNOBS), buffer=2.0))
    scene = [[(0, 20, 20)], [], [], [(0, 20, 20)], [], [], [], [(0, 20, 20)], [(0, 20, 20)]]
    predictions = list(track(clip(scene, as_boxes), Counting().model(), ["fine"], options))
    assert ids(predictions) == [[1], [], [], [1], [], [], [], [], [2]]
    assert len(predictions[1]["fine"].boxes) == 0


def tensor_bytes():
    """Of the memory of all tensors that are alive."""
    gc.collect()
    storages = [one.untyped_storage() for one in gc.get_objects() if type(one) is torch.Tensor]
    return sum({one.data_ptr(): one.nbytes() for one in storages}.values())


def test_memory_does_not_grow_with_the_clip():
    """Objects come, are lost and come again all the time, each frame with other sizes of what is compared."""
    scene = [[(t % 4, 30 * (t // 4 % 4), 5 * (t % 9)) for _ in range(1 + t % 3)] for t in range(300)]
    labels = track(
        clip(scene, as_boxes), Counting().model(), LAYERS[:1], replace(BOXES, letterbox=None, cascade=BORN)
    )
    alive = []
    for time, _ in enumerate(labels):
        if time in (150, 294):  # the scene repeats itself after 144 frames
            alive.append(tensor_bytes())
    before, after = alive
    assert 0 < after <= 1.05 * before


def test_ids_start_at_1_in_every_clip():
    for _ in range(2):
        runs = [ids(track(clip(CROSSING, as_boxes), Counting().model(), ["fine"], BOXES)) for _ in range(2)]
        assert runs[0] == runs[1]
        assert runs[0][0] == [1, 2]


def test_interleaved_clips_do_not_touch_each_other():
    model = Counting().model()
    other = [list(reversed(things)) for things in reversed(CROSSING)]
    alone = [ids(track(clip(scene, as_boxes), model, ["fine"], BOXES)) for scene in (CROSSING, other)]
    both = zip(
        *(track(clip(scene, as_boxes), model, ["fine"], BOXES) for scene in (CROSSING, other)), strict=True
    )
    assert [ids(side) for side in zip(*both, strict=True)] == alone


def test_boxes_that_are_weak_small_or_wide_are_not_written():
    def describe(things):
        boxes = np.array(
            [[0, 0, 24, 48], [40, 0, 64, 48], [80, 0, 85, 10], [90, 0, 90 + 33, 20]], dtype=float
        )
        return Labels(boxes=boxes, scores=np.array([0.9, 0.49, 0.9, 0.9]))

    def written(**change):
        (found,) = track(
            clip([CROSSING[0]], describe), Counting().model(), ["fine"], replace(BOXES, **change)
        )
        return found["fine"].boxes[:, 0].tolist()

    assert written() == [0]
    assert written(min_score=0.4) == [0]  # seen, but too weak for a birth
    assert written(min_score=0.4, cascade=CascadeOptions(birth_score=0.4)) == [0, 40]
    assert written(min_area=49.0) == [0, 80]
    assert written(max_aspect=1.7) == [0, 90]


def test_a_mask_over_an_earlier_one_is_dropped():
    def describe(things):
        return Labels(masks=(mask(20, 20), mask(22, 20), mask(100, 20)), classes=np.array([2, 2, 2]))

    (found,) = track(clip([CROSSING[0]], describe), Counting().model(), ["fine"], MASKS)
    assert found["fine"].masks == (mask(20, 20), mask(100, 20))
    (found,) = track(
        clip([CROSSING[0]], describe), Counting().model(), ["fine"], replace(MASKS, duplicate_iou=1.0)
    )
    assert len(found["fine"].ids) == 3


def test_masks_and_poses_that_cover_nothing_are_left_out():
    nothing = masks.encode(np.zeros((HEIGHT, WIDTH), dtype=bool))
    for describe, options in (
        (lambda _: Labels(masks=(nothing, mask(20, 20))), MASKS),
        (lambda _: Labels(keypoints=as_poses([(0, 20, 20)] * 2).keypoints * [[[0]], [[1]]]), POSES),
    ):
        (found,) = track(clip([CROSSING[0]], describe), Counting().model(), ["fine"], options)
        assert found["fine"].ids.tolist() == [1]


def test_appearance_only_knows_no_place():
    """The same objects, shuffled over the image in every frame."""
    rng = np.random.default_rng(0)
    places = [(4, 4), (52, 30), (100, 10), (130, 44)]
    scene = [[(colour, *places[at]) for colour, at in enumerate(rng.permutation(4))] for _ in range(8)]
    for describe, options in KINDS:
        looks = replace(options, cascade=replace(options.cascade, **LOOKS_KNOBS))
        assert ids(track(clip(scene, describe), Counting().model(), ["fine"], looks)) == [[1, 2, 3, 4]] * 8
    full = list(ids(track(clip(scene, as_boxes), Counting().model(), ["fine"], BOXES)))
    assert full != [[1, 2, 3, 4]] * 8


def test_a_letter_box_gives_the_same_answer_as_the_frame_itself():
    for letterbox in ((96, 160), (96, 200), (192, 320), None):
        options = replace(BOXES, letterbox=letterbox, cascade=replace(CascadeOptions(), **STUDY_KNOBS))
        found = ids(track(clip(CROSSING[:8], as_boxes), Counting().model(), ["fine"], options))
        assert found == [[1, 2]] * 8


@pytest.mark.parametrize(
    ("detections", "options", "message"),
    [
        (
            as_boxes([(0, 0, 0)]),
            MASKS,
            r"frame 0: detections with 0 masks for 1 objects; association by mask needs",
        ),
        (
            as_masks([(0, 0, 0)]),
            BOXES,
            r"frame 0: detections with 0 boxes for 1 objects; association by box needs",
        ),
        (Labels(scores=np.ones(2)), POSES, r"frame 0: detections with 0 keypoints for 2 objects"),
    ],
)
def test_detections_of_another_kind_are_refused(detections, options, message):
    with pytest.raises(DataError, match=message):
        list(track(clip([CROSSING[0]], lambda _: detections), Counting().model(), ["fine"], options))


def test_more_detections_than_can_be_compared_are_refused_before_they_are():
    many = [(0, 0, 0)] * (MOST_DETECTIONS + 1)
    message = f"frame 0: {len(many)} detections with a score of at least 0.5, expected at most {MOST_DETECTIONS}; raise"
    with pytest.raises(DataError, match=message):
        list(track(clip([many], as_boxes), Counting().model(), LAYERS, BOXES))


MOTION = AssociationOptions(bytetrack=ByteTrackOptions(), min_score=0.0, letterbox=None)
LOOKS = QDTrackOptions(birth_score=0.0, track_score=0.0, temperature=0.02)


def test_by_motion_alone_no_network_is_run_and_all_layers_say_the_same():
    counting = Counting()
    predictions = list(track(clip(CROSSING, as_boxes), counting.model(), LAYERS, MOTION))
    assert counting.passes == 0
    assert ids(predictions)[0] == [1, 2]
    assert all(labels["fine"] is labels["coarse"] for labels in predictions)


def test_by_motion_alone_a_clip_has_its_own_buffer():
    scene = [[(0, 10, 10)], *[[]] * 20, [(0, 10, 10)]]
    named = replace(clip(scene, as_boxes), name="scene-05-X")
    short = replace(MOTION, bytetrack=ByteTrackOptions(buffers={"scene-05": 14.0}))
    # after a gap it is another one, which is confirmed by a second frame only
    assert ids(list(track(named, Counting().model(), LAYERS, MOTION)))[-1] == [1]
    assert ids(list(track(named, Counting().model(), LAYERS, short)))[-1] == []


def test_by_motion_alone_what_is_written_is_plausible_and_filtered():
    scene = [[(0, 10 + 8 * t, 20)] for t in range(6)]
    predictions = list(track(clip(scene, as_boxes), Counting().model(), LAYERS, MOTION))
    assert 0 < abs(predictions[2]["fine"].boxes[0, 0] - 26) < 8  # the filter's box, not the detector's
    wide = replace(MOTION, bytetrack=ByteTrackOptions(max_aspect=0.4))
    assert ids(list(track(clip(scene, as_boxes), Counting().model(), LAYERS, wide))) == [[]] * 6


@pytest.mark.parametrize(("describe", "options"), KINDS)
def test_by_embedding_objects_that_jump_across_each_other_keep_their_ids(describe, options):
    """Nothing but their colour says who is who: they change places in every frame."""
    scene = [[(0, 10 + 80 * (t % 2), 20), (1, 90 - 80 * (t % 2), 30)] for t in range(8)]
    looks = replace(options, qdtrack=LOOKS)
    counting = Counting()
    predictions = list(track(clip(scene, describe), counting.model(), LAYERS, looks))
    assert counting.passes == 8
    assert ids(predictions) == ids(predictions, "coarse") == [[1, 2]] * 8


def test_by_embedding_frames_without_detections_give_nothing():
    predictions = list(
        track(
            clip([[], [(0, 10, 10)], []], as_boxes), Counting().model(), LAYERS, replace(BOXES, qdtrack=LOOKS)
        )
    )
    assert ids(predictions) == [[], [1], []]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"observation": "mask", "letterbox": None, "bytetrack": ByteTrackOptions()},
            TrackerError,
            r"association: bytetrack is set, expected observation='box' and no qdtrack; leave one of them out",
        ),
        (
            {"bytetrack": ByteTrackOptions(), "qdtrack": LOOKS},
            TrackerError,
            r"association: bytetrack is set, expected",
        ),
        ({"observation": "boxes"}, UnknownNameError, r"no observation 'boxes'; did you mean 'box'"),
        ({"rsm": "papers"}, UnknownNameError, r"no similarity 'papers'; did you mean 'paper'"),
        ({"write": "both"}, UnknownNameError, r"no output 'both'; there are: detection, kalman"),
        ({"observation": "mask"}, TrackerError, r"association by mask: letterbox=\(608, 1088\) and write="),
        (
            {"write": "kalman", "cascade": replace(CascadeOptions(), **LOOKS_KNOBS)},
            TrackerError,
            r"association: write='kalman' without a filter; set",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        AssociationOptions(**change)
