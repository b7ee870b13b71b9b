import json
from dataclasses import replace

import numpy as np
import pytest

from tests.datasets import layouts
from tests.datasets.layouts import KEYPOINTS, person
from unibench.datasets import posetrack
from unibench.errors import DataError
from unibench.geometry import masks
from unibench.metrics import posetrack as scorer
from unibench.records import EXCUSED, Truth

NAME = "000001_mpii"


def test_joints_scales_and_scored_frames(tmp_path):
    nobody = person(0, 9, keypoints=[0.0] * 51)
    layouts.posetrack(tmp_path, [person(0, 4), person(0, 2), nobody])
    assert posetrack.names(tmp_path) == [NAME]
    clip, truth = posetrack.load(tmp_path, NAME)
    assert [labels.ids.tolist() for labels in truth.labels] == [[2, 4], [], []]
    assert truth.scored == (0, 1)
    assert [scale.tolist() for scale in truth.scales] == [[3.0, 3.0], [], []]
    assert truth.labels[0].keypoints.shape == (2, 15, 3)
    ankle, neck, nose, top = truth.labels[0].keypoints[0, [0, 12, 13, 14], 0].astype(int)
    names = [KEYPOINTS[index] for index in (ankle, neck, nose, top)]
    assert names == ["right_ankle", "head_bottom", "nose", "head_top"]
    assert clip.length == len(list(clip.frames())) == 3


def test_fully_labelled_clip_scores_all_frames(tmp_path):
    layouts.posetrack(tmp_path, [person(0, 1)], labelled=(True, True))
    assert posetrack.load(tmp_path, NAME)[1].scored is None


def change(file, **other):
    file.write_text(json.dumps({**json.loads(file.read_text()), **other}))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"images": []}, "an empty clip"),
        ({"images": [{"id": 0}]}, r"images\[0\]: missing field 'file_name'"),
        ({"images": "none"}, "images: found 'none', expected tuple"),
        ({"images": [1]}, r"images\[0\]: found 1, expected a table"),
        ({"categories": [{"id": 1, "keypoints": KEYPOINTS[1:]}]}, "without the keypoints nose"),
        ({"annotations": [person(7, 1)]}, r"annotations\[0\]: of an unknown image or category"),
        ({"annotations": [person(0, 1), person(0, 1)]}, r"annotations\[1\]: track_id 1 twice in image 0"),
        (
            {"annotations": [person(0, 1, bbox_head=[1, 1, 0, 0])]},
            r"annotations\[0\]: a head box without size",
        ),
        ({"annotations": [person(0, 1, bbox_head=None)]}, r"annotations\[0\]: no bbox_head"),
        (
            {"annotations": [person(0, 1, keypoints=[1, 2])]},
            r"annotations\[0\]: keypoints: found 2 numbers, expected 3",
        ),
        ({"annotations": [person(0, 1, keypoints=[float("nan")] * 51)]}, "NaN is no number"),
        ({"annotations": [person(0, 1, keypoints=[1] * 50 + [10**30])]}, "an integer of 31 digits"),
        (
            {"annotations": [person(0, 1, keypoints=[1] * 50 + [1e300])]},
            r"keypoints\[50\]: found 1e.300, expected",
        ),
        (
            {"annotations": [person(0, 1, track_id=1.5)]},
            r"annotations\[0\]\.track_id: found 1\.5, expected int",
        ),
        ({"annotations": [person(0, 1, track_id=2**53)]}, r"track_id: found 9007199254740992, expected int"),
        ({"annotations": [person(0, 1, track_id=-1)]}, r"track_id: found -1, expected int, at least 0"),
        ({"annotations": [person(0, 1, track_id=None)]}, r"annotations\[0\]: no track_id"),
        (
            {"annotations": [person(0, 1, bbox_head=[1, 1, -3, -4])]},
            "bbox_head: found .1, 1, -3, -4., expected tuple",
        ),
        (
            {"annotations": [person(0, 1, image_id=[0])]},
            r"annotations\[0\]\.image_id: found \[0\], expected int",
        ),
        ({"annotations": [person(0, 1, category_id=[1])]}, r"category_id: found \[1\], expected int"),
        (
            {"categories": [{"id": 1, "keypoints": {}}]},
            r"categories\[0\]\.keypoints: found \{\}, expected tuple",
        ),
        ({"categories": [{"id": 1, "keypoints": KEYPOINTS}] * 2}, "a category that is listed twice"),
        (
            {"images": [{"id": 0, "file_name": "a"}, {"id": 0, "file_name": "b"}]},
            "an image's id that is listed twice",
        ),
        ({"images": [{"id": 0, "file_name": ["a"]}]}, r"images\[0\]\.file_name: found \['a'\], expected str"),
        (
            {"images": [{"id": 0, "file_name": "a", "vid_id": {}}]},
            r"images\[0\]\.vid_id: found \{\}, expected int",
        ),
        ({"images": [{"id": 0, "file_name": "x" * 300}]}, "cannot be a file's"),
    ],
)
def test_malformed_files(other, message, tmp_path):
    file = layouts.posetrack(tmp_path, [person(0, 1)])
    change(file, **other)
    with pytest.raises(DataError, match=message) as caught:
        posetrack.load(tmp_path, NAME)
    assert "\n" not in str(caught.value)


LEFT = {"ignore_regions_x": [[0, 8, 8, 0], [1, 2]], "ignore_regions_y": [[0, 0, 24, 24], [1, 2]]}
DIAMOND = {"ignore_regions_x": [[16, 26, 16, 6]], "ignore_regions_y": [[2, 12, 22, 12]]}


def regions(tmp_path, *of_images):
    file = layouts.posetrack(
        tmp_path, [person(0, 4), person(0, 2), person(1, 4), person(2, 4)], labelled=(True,) * 3
    )
    images = json.loads(file.read_text())["images"]
    change(file, images=[image | region for image, region in zip(images, of_images, strict=True)])
    return posetrack.load(tmp_path, NAME)


def test_ignore_regions_are_masks_of_their_frames(tmp_path):
    _, truth = regions(tmp_path, {}, LEFT, DIAMOND)
    assert [len(labels.masks) for labels in truth.ignored] == [0, 1, 1]
    assert truth.ignored[1].classes.tolist() == [EXCUSED]
    left, diamond = (masks.decode(labels.masks[0]) for labels in truth.ignored[1:])
    assert left[:, :8].all()
    assert not left[:, 8:].any()
    rows, columns = np.mgrid[:24, :32] + 0.5
    np.testing.assert_array_equal(diamond, np.abs(columns - 16) + np.abs(rows - 12) < 10)
    assert posetrack.load(tmp_path, NAME)[1].ignored[0].masks == ()


def test_no_image_with_regions_is_no_mask(tmp_path):
    assert regions(tmp_path, {}, {"ignore_regions_x": [], "ignore_regions_y": []}, {})[1].ignored == ()


def test_overlapping_regions_are_one_and_what_lies_outside_the_frame_is_cut(tmp_path):
    big = {
        "ignore_regions_x": [[-50, 90, 90, -50], [2, 9, 9, 2]],
        "ignore_regions_y": [[-9, -9, 5, 5], [2, 2, 9, 9]],
    }
    mask = masks.decode(regions(tmp_path, big, {}, {})[1].ignored[0].masks[0])
    expected = np.zeros((24, 32), dtype=bool)
    expected[:5] = expected[2:9, 2:9] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("region", [
    {"ignore_regions_x": [[1, 2, 3]], "ignore_regions_y": [[1, 2]]},
    {"ignore_regions_x": [[1, 2, 3]], "ignore_regions_y": []},
    {"ignore_regions_x": [[1, 2, 3]]},
])  # fmt: skip
def test_a_region_whose_coordinates_do_not_pair_is_refused(region, tmp_path):
    with pytest.raises(
        DataError, match=r"images\[1\]: ignore_regions_x and ignore_regions_y of different lengths"
    ):
        regions(tmp_path, {}, region, {})


def test_joints_in_a_region_are_taken_from_both_sides_as_poseval_does(tmp_path):
    """Joints stand at (k, k + 1): those that the regions hold are removed by hand, then nothing is ignored."""
    _, truth = regions(tmp_path, LEFT, DIAMOND, {})

    def without(labels, frame):
        x, y = labels.keypoints[..., 0], labels.keypoints[..., 1]
        within = [x < 8, np.abs(x - 16) + np.abs(y - 12) < 10, np.zeros_like(x, dtype=bool)][frame]
        seen = np.where(within, 0, labels.keypoints[..., 2])
        return replace(labels, keypoints=np.concatenate([labels.keypoints[..., :2], seen[..., None]], axis=2))

    prediction = [replace(labels, ids=labels.ids + index) for index, labels in enumerate(truth.labels)]
    moved = [replace(one, keypoints=one.keypoints + np.array([0.25, 0.25, 0])) for one in prediction]
    by_hand = Truth(tuple(map(without, truth.labels, range(3))), scales=truth.scales)
    expected = scorer.tally(
        by_hand, [without(one, frame) for frame, one in enumerate(moved)], drop_last=False
    )
    found = scorer.tally(truth, moved, drop_last=False)
    assert found == expected
    assert found != scorer.tally(replace(truth, ignored=()), moved, drop_last=False)


def test_detections_with_scores_that_are_none(tmp_path):
    file = layouts.posetrack(tmp_path, [person(0, 1, score="high")])
    with pytest.raises(DataError, match=r"annotations\[0\]\.score: found 'high', expected float \| null"):
        posetrack.read_detections(file, 3)
    change(file, annotations=[person(0, 1, scores=[0.5, 0.25]), person(1, 1, score=0), person(2, 1)])
    assert [one.scores.tolist() for one in posetrack.read_detections(file, 3)] == [[0.375], [0.0], [1.0]]


def test_what_begins_with_a_dot_is_no_clip(tmp_path):
    file = layouts.posetrack(tmp_path, [])
    (file.parent / f"._{file.name}").write_bytes(b"\0\5\x16\7")
    assert posetrack.names(tmp_path) == [NAME]


def test_file_names_stay_inside(tmp_path):
    file = layouts.posetrack(tmp_path, [])
    change(file, images=[{"id": 0, "file_name": "../../secret.jpg"}])
    with pytest.raises(DataError, match="leads out of this folder"):
        posetrack.load(tmp_path, NAME)


def test_two_videos_and_missing_frames(tmp_path):
    file = layouts.posetrack(tmp_path, [])
    images = json.loads(file.read_text())["images"]
    change(file, images=[images[0], {**images[1], "vid_id": "000002"}])
    with pytest.raises(DataError, match="frames of more than one video"):
        posetrack.load(tmp_path, NAME)
    change(file, images=[images[0], images[0]])
    with pytest.raises(DataError, match="an image that is listed twice"):
        posetrack.load(tmp_path, NAME)
    change(file, images=images)
    (tmp_path / images[1]["file_name"]).unlink()
    with pytest.raises(DataError, match=r"000001\.jpg: no such image"):
        posetrack.load(tmp_path, NAME)
    file.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        posetrack.load(tmp_path, NAME)
    file.unlink()
    with pytest.raises(DataError, match="no clips"):
        posetrack.names(tmp_path)


def test_real_bonn(shared_data):
    root = shared_data / "BonnPoseTrack"
    assert posetrack.names(root) == ["060470979"]
    clip, truth = posetrack.load(root, "060470979")
    assert (clip.length, clip.width, clip.height, truth.scored) == (41, 960, 540, None)
    assert {identity for labels in truth.labels for identity in labels.ids.tolist()} == {0, 1, 2, 3}
    labelled = np.concatenate([labels.keypoints for labels in truth.labels])
    assert not labelled[:, 13, 2].any()  # noses are not labelled here
    inner = labelled[labelled[:, :, 2] > 0]
    assert ((inner[:, :2] >= 0) & (inner[:, :2] < [960, 540])).all(axis=1).mean() > 0.95
    assert all((scale > 0).all() for scale in truth.scales)
    heads, feet = labelled[:, 14], labelled[:, 0]
    both = (heads[:, 2] > 0) & (feet[:, 2] > 0)
    assert (heads[both, 1] < feet[both, 1]).all()


def test_real_posetrack18(shared_data):
    root = shared_data / "PoseTrack18_mini"
    people = {name: len(posetrack.load(root, name)[1].labels[0].ids) for name in posetrack.names(root)}
    assert people == {"003418_mpii_test": 1, "009473_mpii_test": 2, "012834_mpii_test": 11}
