import json

import numpy as np
import pytest

from tests.datasets import layouts
from tests.datasets.layouts import KEYPOINTS, person
from unibench.datasets import posetrack
from unibench.errors import DataError

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
        ({"images": [{"id": 0}]}, "an image without file_name or id"),
        ({"images": "none"}, "another form of JSON"),
        ({"images": [1]}, "a list of something else than objects"),
        ({"categories": [{"id": 1, "keypoints": KEYPOINTS[1:]}]}, "without the keypoints nose"),
        ({"annotations": [person(7, 1)]}, "annotation 701 of an unknown image"),
        ({"annotations": [person(0, 1), person(0, 1)]}, "a track_id twice in image 0"),
        ({"annotations": [person(0, 1, bbox_head=[1, 1, 0, 0])]}, "a head box without size in image 0"),
        ({"annotations": [person(0, 1, bbox_head=None)]}, "cannot be understood"),
        ({"annotations": [person(0, 1, keypoints=[1, 2])]}, "cannot be understood"),
        (
            {"annotations": [person(0, 1, keypoints=[float("nan")] * 51)]},
            "annotation 1 has a keypoint that is not",
        ),
    ],
)
def test_malformed_files(other, message, tmp_path):
    file = layouts.posetrack(tmp_path, [person(0, 1)])
    change(file, **other)
    with pytest.raises(DataError, match=message) as caught:
        posetrack.load(tmp_path, NAME)
    assert "\n" not in str(caught.value)


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
