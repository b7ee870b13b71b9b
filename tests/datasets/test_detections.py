import pickle
from dataclasses import replace

import numpy as np
import pytest

from tests.datasets import layouts
from tests.datasets.layouts import person, rectangle, rle_row
from unibench.datasets import kitti_mots, motchallenge, posetrack, truncate, with_detections
from unibench.datasets.detections import Noise
from unibench.errors import DataError
from unibench.geometry import masks as rle
from unibench.geometry.boxes import iou
from unibench.records import Labels

GT = "".join(f"{t},{i},{4 * i + t},2,3,9,1,1,1\n" for t in range(1, 21) for i in range(1, 6))
MASKS = (rectangle(2, 2, 10, 12), rectangle(11, 2, 18, 12), rectangle(20, 8, 30, 20))


@pytest.fixture
def boxes(tmp_path):
    layouts.mot_clip(tmp_path / "train" / "A", GT, "2,-1,1,2,3,4,.5\n", length=20)
    return motchallenge.load(tmp_path, "A")


@pytest.fixture
def masks(tmp_path):
    layouts.images(tmp_path / "training" / "image_02" / "0001", range(5, 9))
    rows = "".join(rle_row(t, 1000 + i, 1 + i % 2, mask) for t in range(5, 9) for i, mask in enumerate(MASKS))
    layouts.text(tmp_path / "instances_txt" / "0001.txt", rows)
    return kitti_mots.load(tmp_path, "0001")


@pytest.fixture
def poses(tmp_path):
    layouts.posetrack(tmp_path, [person(0, 1), person(0, 2), person(1, 1)])
    return posetrack.load(tmp_path, "000001_mpii")


def detections(clip):
    return [frame.detections for frame in clip.frames()]


def test_public(boxes, masks):
    assert [len(found.scores) for found in detections(with_detections(*boxes, "public"))][:3] == [0, 1, 0]
    with pytest.raises(DataError, match="0001: no public detections; there are: oracle, oracle"):
        with_detections(*masks, "public")


def test_oracle_is_the_truth_without_identity(boxes):
    clip, truth = boxes
    orders = set()
    for found, labels in zip(detections(with_detections(clip, truth, "oracle")), truth.labels, strict=True):
        assert not len(found.ids)
        assert found.scores.tolist() == [1.0] * 5
        order = tuple(labels.boxes.tolist().index(box) for box in found.boxes.tolist())
        assert sorted(order) == list(range(5))
        orders.add(order)
    assert len(orders) > 5


def test_oracle_of_masks_and_poses(masks, poses):
    found = detections(with_detections(*masks, "oracle"))[0]
    assert sorted(mask["counts"] for mask in found.masks) == sorted(
        mask["counts"] for mask in masks[1].labels[0].masks
    )
    areas = {rle.area(mask): kind for mask, kind in zip(found.masks, found.classes.tolist(), strict=True)}
    assert areas == {80: 1, 70: 2, 120: 1}
    found = detections(with_detections(*poses, "oracle"))
    assert [one.keypoints.shape[0] for one in found] == [2, 1, 0]


@pytest.mark.parametrize("source", ["oracle", "oracle+noise"])
def test_same_in_every_pass_and_for_every_length(boxes, source):
    clip, truth = boxes
    made = with_detections(clip, truth, source)
    short = with_detections(*truncate(clip, truth, 7), source)
    for first, second, third in zip(detections(made), detections(made), detections(short), strict=False):
        for other in (second, third):
            np.testing.assert_array_equal(first.boxes, other.boxes)
            np.testing.assert_array_equal(first.scores, other.scores)
    other = with_detections(replace(clip, name="B"), truth, source)
    assert detections(other)[0].boxes.tolist() != detections(made)[0].boxes.tolist()


def test_noise_has_the_amounts_that_it_says(boxes):
    clip, truth = boxes
    clean = Noise(shift=0.0, scale=0.0, miss=0.0, false_alarm=0.0)
    for found, labels in zip(
        detections(with_detections(clip, truth, "oracle+noise", clean)), truth.labels, strict=True
    ):
        assert sorted(found.boxes.tolist()) == sorted(labels.boxes.tolist())
    long = replace(truth, labels=truth.labels * 40)
    clip = replace(clip, frames=list(clip.frames())[:1].__iter__, length=800)
    from unibench.datasets import detections as module

    counts, alarms, offsets = 0, 0, []
    for index in range(800):
        found = module._noisy(long, clip, Noise(), index)
        near = iou(found.boxes, long.labels[index].boxes).max(axis=1, initial=0) > 0.5
        counts += int(near.sum())
        alarms += int((~near).sum())
        centres = (found.boxes[near, :2] + found.boxes[near, 2:]) / 2
        true = (long.labels[index].boxes[:, :2] + long.labels[index].boxes[:, 2:]) / 2
        offsets += [np.min(np.abs(true[:, 0] - centre[0])) / 3 for centre in centres]
        assert ((found.scores >= 0.3) & (found.scores <= 1)).all()
    assert counts / 4000 == pytest.approx(0.9, abs=0.04)
    assert alarms / 4000 == pytest.approx(0.1, abs=0.04)
    assert np.sqrt(np.mean(np.square(offsets))) == pytest.approx(0.05, abs=0.015)


def test_noisy_masks_never_overlap(masks):
    made = with_detections(*masks, "oracle+noise", Noise(shift=0.3, scale=0.3, false_alarm=1.0))
    changed = 0
    for found in detections(made):
        assert len(found.masks) == len(found.scores) == len(found.classes) > 0
        assert sum(rle.decode(mask).astype(int) for mask in found.masks).max() == 1
        assert all(rle.area(mask) > 0 for mask in found.masks)
        changed += sum(rle.area(mask) not in (80, 70, 120) for mask in found.masks)
    assert changed


def test_noisy_poses_move_labelled_joints_only(poses):
    clip, truth = poses
    labels = Labels(ids=truth.labels[0].ids, keypoints=truth.labels[0].keypoints.copy())
    labels.keypoints[:, 3] = 0
    truth = replace(truth, labels=(labels, *truth.labels[1:]))
    found = detections(with_detections(clip, truth, "oracle+noise", Noise(miss=0.0, false_alarm=0.0)))[0]
    assert found.keypoints.shape == (2, 15, 3)
    assert not found.keypoints[:, 3].any()
    offsets = np.abs(found.keypoints - labels.keypoints)[:, [0, 1, 2], :2]
    assert 0 < offsets.mean() < 2


def test_frames_are_decoded_one_by_one(boxes):
    clip, truth = boxes
    clip.frames.paths[1].unlink()
    frames = with_detections(clip, truth, "oracle").frames()
    assert next(frames).index == 0
    with pytest.raises(DataError, match=r"000002\.jpg: no such image"):
        next(frames)


def test_clips_travel_to_other_processes(boxes):
    for source in ("public", "oracle", "oracle+noise"):
        clip = truncate(with_detections(*boxes, source), boxes[1], 2)[0]
        again = pickle.loads(pickle.dumps(clip))
        assert [len(found.scores) for found in detections(again)] == [
            len(found.scores) for found in detections(clip)
        ]


def test_a_folder_of_boxes(boxes, tmp_path):
    folder = tmp_path / "mine"
    layouts.text(folder / "A.txt", "3,-1,1,2,3,4,.5\n")
    found = detections(with_detections(*boxes, str(folder)))
    assert found[2].boxes.tolist() == [[1, 2, 4, 6]]
    layouts.text(folder / "A.txt", "3,-1,1,2,3,4,.5\n3,-1,1,2,3,-4,.5\n")
    with pytest.raises(DataError, match=r"A\.txt:2: a negative width or height"):
        with_detections(*boxes, str(folder))


def test_a_folder_of_masks_counts_as_the_files_do(masks, tmp_path):
    folder = tmp_path / "mine"
    layouts.text(folder / "0001.txt", rle_row(6, 1, 2, MASKS[0]))
    found = detections(with_detections(*masks, str(folder)))
    assert [len(one.masks) for one in found] == [0, 1, 0, 0]
    assert (found[1].classes.tolist(), found[1].scores.tolist()) == ([2], [1.0])


def test_a_folder_of_poses(poses, tmp_path):
    people = [person(0, 1, score=0.25), person(0, 2, scores=[0.5, 1.0]), person(1, 1)]
    file = layouts.posetrack(tmp_path / "made", people)
    found = detections(with_detections(*poses, str(file.parent)))
    assert [one.scores.tolist() for one in found] == [[0.25, 0.75], [1.0], []]
    with pytest.raises(DataError, match="3 images, expected 2 as in the clip"):
        with_detections(*truncate(*poses, 2), str(file.parent))


@pytest.mark.parametrize("between", [" ", "\t", ",", ", "])
def test_rows_of_boxes_may_be_separated_by_anything(between, boxes, tmp_path):
    rows = [(1, -1, 21, 31, 16, 24, 0.9, 0, -1), (3, -1, 1, 2, 3, 4, 0.5, 0, -1)]
    layouts.text(tmp_path / "dets" / "A.txt", "".join(between.join(map(str, row)) + "\n" for row in rows))
    found = detections(with_detections(*boxes, str(tmp_path / "dets")))
    assert [one.scores.tolist() for one in found[:3]] == [[0.9], [], [0.5]]
    assert found[0].boxes.tolist() == [[21, 31, 37, 55]]


def test_the_truth_says_what_a_file_holds_not_its_first_line(boxes, masks, tmp_path):
    layouts.text(tmp_path / "A.txt", rle_row(1, 1, 2, MASKS[0]))
    with pytest.raises(DataError, match=r"A\.txt:1: 6 columns, expected 7 to 10"):
        with_detections(*boxes, str(tmp_path))
    layouts.text(tmp_path / "0001.txt", "5,-1,1,2,3,4,.5\n")
    with pytest.raises(DataError, match=r"0001\.txt:1: 7 columns, expected 6: frame id class"):
        with_detections(*masks, str(tmp_path))


@pytest.mark.parametrize(
    "row", ["1,-1,1,2,3,4,nan", "1,-1,1e7,2,3,4,1", "1,-1,1,2,1e9,4,1", "1,-1,1,2,-3,4,1"]
)
def test_detections_that_are_none(row, boxes, tmp_path):
    layouts.text(tmp_path / "A.txt", f"{row}\n")
    with pytest.raises(DataError, match=r"A\.txt:1: (a value that is not finite|more than 1e.06|a negative)"):
        with_detections(*boxes, str(tmp_path))


def test_unknown_sources(boxes, tmp_path):
    with pytest.raises(DataError, match="no detections 'magic'; there are: public, oracle, oracle"):
        with_detections(*boxes, "magic")
    with pytest.raises(DataError, match=r"no detections of clip 'A'; expected A\.txt$"):
        with_detections(*boxes, str(tmp_path / "train"))
    with pytest.raises(DataError, match=r"'\.\./A\.txt' leads out"):
        with_detections(replace(boxes[0], name="../A"), boxes[1], str(tmp_path / "train"))


def test_truncate(boxes, poses):
    clip, truth = truncate(*boxes, 4)
    assert (clip.length, len(truth.labels), len(truth.ignored)) == (4, 4, 4)
    assert [frame.index for frame in clip.frames()] == [0, 1, 2, 3]
    assert truncate(*boxes, 99) == boxes
    clip, truth = truncate(*poses, 1)
    assert (truth.scored, len(truth.scales)) == ((0,), 1)
    oracle = truncate(with_detections(*boxes, "oracle"), boxes[1], 2)[0]
    assert len(list(oracle.frames())) == 2
    with pytest.raises(DataError, match="0 frames asked for"):
        truncate(*boxes, 0)


@pytest.mark.parametrize("separator", [",", " ", "\t", ", ", ";"])
def test_rows_of_a_folder_are_separated_as_one_likes(boxes, tmp_path, separator):
    clip, truth = boxes
    row = separator.join(["2", "-1", "1", "2", "3", "4", ".5"])
    layouts.text(tmp_path / "mine" / "A.txt", row + "\n")
    frames = list(with_detections(clip, truth, str(tmp_path / "mine")).frames())
    assert frames[1].detections.boxes.tolist() == [[1, 2, 4, 6]]
    assert sum(len(frame.detections.boxes) for frame in frames) == 1


@pytest.mark.parametrize("separator", [",", " ", "\t", ", "])
def test_rows_of_masks_are_separated_as_one_likes(masks, tmp_path, separator):
    clip, truth = masks
    row = separator.join(rle_row(5, 1, 1, MASKS[0]).split())
    layouts.text(tmp_path / "mine" / "0001.txt", row + "\n")
    frames = list(with_detections(clip, truth, str(tmp_path / "mine")).frames())
    assert (rle.decode(frames[0].detections.masks[0]) == MASKS[0]).all()
