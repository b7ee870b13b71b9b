import numpy as np
import pytest

from tests.datasets import layouts
from unibench.datasets import otb
from unibench.errors import DataError


def rows(count, separator=","):
    return "".join(separator.join(map(str, (1 + index, 2, 5, 6))) + "\n" for index in range(count))


@pytest.mark.parametrize("separator", [",", "\t", " ", ", "])
def test_boxes_become_corners_that_count_from_0(separator, tmp_path):
    layouts.images(tmp_path / "Bolt" / "img", range(1, 4), digits=4)
    layouts.text(tmp_path / "Bolt" / "groundtruth_rect.txt", rows(3, separator))
    clip, truth = otb.load(tmp_path, "Bolt")
    np.testing.assert_array_equal(truth.labels[1].boxes, [[1, 1, 6, 7]])
    assert (clip.length, clip.height, clip.width, truth.scored) == (3, layouts.HEIGHT, layouts.WIDTH, None)
    frames = list(clip.frames())
    assert [frame.index for frame in frames] == [0, 1, 2]
    np.testing.assert_array_equal(frames[0].prompt.boxes, [[0, 1, 5, 7]])
    assert frames[0].prompt.ids.tolist() == [1]
    assert [len(frame.prompt.boxes) for frame in frames] == [1, 0, 0]
    assert all(not len(frame.detections.boxes) for frame in frames)


def test_two_targets_are_two_clips_over_one_folder(tmp_path):
    layouts.images(tmp_path / "Jogging" / "img", range(1, 3), digits=4)
    layouts.text(tmp_path / "Jogging" / "groundtruth_rect.1.txt", rows(2))
    layouts.text(tmp_path / "Jogging" / "groundtruth_rect.2.txt", "9,9,3,3\n8,8,3,3\n")
    assert otb.names(tmp_path) == ["Jogging-1", "Jogging-2"]
    assert otb.load(tmp_path, "Jogging-2")[1].labels[0].boxes.tolist() == [[8, 8, 11, 11]]


def test_official_range_is_cut_by_file_number(tmp_path):
    layouts.images(tmp_path / "David" / "img", range(298, 303), digits=4)
    layouts.text(tmp_path / "David" / "groundtruth_rect.txt", rows(3))
    clip, _ = otb.load(tmp_path, "David")
    assert [path.stem for path in clip.frames.paths] == ["0300", "0301", "0302"]


def test_tiger1_starts_after_its_hidden_frames(tmp_path):
    layouts.images(tmp_path / "Tiger1" / "img", range(1, 9), digits=4)
    layouts.text(tmp_path / "Tiger1" / "groundtruth_rect.txt", rows(8))
    clip, truth = otb.load(tmp_path, "Tiger1")
    assert (clip.length, clip.frames.paths[0].stem, truth.labels[0].boxes[0, 0]) == (3, "0006", 5)


def test_frames_without_target_are_not_scored(tmp_path):
    layouts.images(tmp_path / "Box" / "img", range(1, 4), digits=4)
    file = layouts.text(tmp_path / "Box" / "groundtruth_rect.txt", "5,5,2,2\n0,0,0,0\n5,5,2,2\n")
    truth = otb.load(tmp_path, "Box")[1]
    assert truth.scored == (0, 2)
    assert not len(truth.labels[1].boxes)
    file.write_text("NaN,NaN,NaN,NaN\n5,5,2,2\n5,5,2,2\n")
    with pytest.raises(DataError, match="no target in frame 0"):
        otb.load(tmp_path, "Box")


def test_errors(tmp_path):
    tmp_path.joinpath("Bolt").mkdir()
    with pytest.raises(DataError, match=r"no clips, expected <clip>/groundtruth_rect\.txt"):
        otb.names(tmp_path)
    with pytest.raises(DataError, match="no clip 'Bolt'"):
        otb.load(tmp_path, "Bolt")
    file = layouts.text(tmp_path / "Bolt" / "groundtruth_rect.txt", rows(3))
    with pytest.raises(DataError, match="img: no such folder"):
        otb.load(tmp_path, "Bolt")
    layouts.images(tmp_path / "Bolt" / "img", range(1, 3), digits=4)
    with pytest.raises(DataError, match=r"groundtruth_rect\.txt: 3 boxes for 2 frames"):
        otb.load(tmp_path, "Bolt")
    file.write_text("1,2,3\n")
    with pytest.raises(DataError, match=r"groundtruth_rect\.txt:1: 3 columns, expected 4"):
        otb.load(tmp_path, "Bolt")


@pytest.mark.parametrize(
    ("row", "message"),
    [("inf,2,3,4", "more than 1e.06"), ("1,2,1e9,4", "more than"), ("1_0,2,3,4", "not a number")],
)
def test_boxes_that_are_none(row, message, tmp_path):
    layouts.images(tmp_path / "Bolt" / "img", [1, 2], digits=4)
    layouts.text(tmp_path / "Bolt" / "groundtruth_rect.txt", f"1,2,3,4\n{row}\n")
    with pytest.raises(DataError, match=rf"groundtruth_rect\.txt:2: {message}"):
        otb.load(tmp_path, "Bolt")


def test_a_frame_of_another_size_is_refused(tmp_path):
    layouts.images(tmp_path / "Bolt" / "img", [1, 2], digits=4)
    layouts.images(tmp_path / "Bolt" / "img", [2], digits=4, size=(10, 10))
    layouts.text(tmp_path / "Bolt" / "groundtruth_rect.txt", rows(2))
    frames = otb.load(tmp_path, "Bolt")[0].frames()
    next(frames)
    with pytest.raises(DataError, match=r"0002\.png: 10x10 pixels, expected 32x24"):
        next(frames)


@pytest.mark.parametrize(
    ("name", "length", "first"),
    [("Crossing", 120, "0001"), ("Couple", 140, "0001"), ("David", 150, "0300"), ("DragonBaby", 60, "0001")],
)
def test_real_clips(name, length, first, shared_data):
    root = shared_data / "OTB"
    assert name in otb.names(root)
    clip, truth = otb.load(root, name)
    assert (clip.length, len(truth.labels), clip.frames.paths[0].stem) == (length, length, first)
    boxes = np.concatenate([labels.boxes for labels in truth.labels])
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert (centres >= 0).all()
    assert (centres < [clip.width, clip.height]).all()
    image = next(clip.frames()).image
    assert image.shape == (clip.height, clip.width, 3)
