import numpy as np
import pytest
from scipy.io import savemat

from tests.datasets import layouts
from unibench.datasets import jhmdb
from unibench.errors import DataError


def write(root, name="walk/a", length=4, pictures=4):
    layouts.images(root / "Rename_Images" / name, range(1, pictures + 1), digits=5)
    file = root / "joint_positions" / name / "joint_positions.mat"
    file.parent.mkdir(parents=True)
    savemat(file, {"pos_img": np.arange(2.0 * 15 * length).reshape(2, 15, length)})
    return file


def test_joints_count_from_0(tmp_path):
    write(tmp_path, pictures=5)
    assert jhmdb.names(tmp_path) == ["walk/a"]
    clip, truth = jhmdb.load(tmp_path, "walk/a")
    assert (clip.name, clip.length, len(truth.labels)) == ("walk/a", 4, 4)
    expected = [2 * 4 + 1 - 1, 60 + 2 * 4 + 1 - 1, 1]
    assert truth.labels[1].keypoints[0, 2].tolist() == expected
    frames = list(clip.frames())
    np.testing.assert_array_equal(frames[0].prompt.keypoints, truth.labels[0].keypoints)
    assert not len(frames[1].prompt.ids)


def test_names_follow_the_first_split(tmp_path):
    write(tmp_path)
    layouts.text(tmp_path / "splits" / "walk_test_split1.txt", "b.avi 2\na.avi 1\n")
    layouts.text(tmp_path / "splits" / "walk_test_split2.txt", "a.avi 2\n")
    assert jhmdb.names(tmp_path) == ["walk/b"]


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (np.full((2, 15, 4), 1j), "no joints can be read"),
        (np.full((2, 15, 4), "a"), "no joints can be read"),
        (np.full((2, 15, 4), np.nan), "a joint that is no place in pixels"),
        (np.full((2, 15, 4), 1e9), "a joint that is no place in pixels"),
    ],
)
def test_joints_that_are_no_places(positions, message, tmp_path):
    savemat(write(tmp_path), {"pos_img": positions})
    with pytest.raises(DataError, match=message):
        jhmdb.load(tmp_path, "walk/a")


def test_what_begins_with_a_dot_is_no_list_and_no_clip(tmp_path):
    write(tmp_path)
    layouts.text(tmp_path / "joint_positions" / "walk" / "._a" / "joint_positions.mat", "")
    assert jhmdb.names(tmp_path) == ["walk/a"]
    layouts.text(tmp_path / "splits" / "walk_test_split1.txt", "a.avi 2\n")
    layouts.text(tmp_path / "splits" / "._walk_test_split1.txt", "\0").write_bytes(b"\0\5\x16\xff")
    assert jhmdb.names(tmp_path) == ["walk/a"]


def test_errors(tmp_path):
    with pytest.raises(DataError, match="no clips"):
        jhmdb.names(tmp_path)
    with pytest.raises(DataError, match=r"joint_positions\.mat: no such file"):
        jhmdb.load(tmp_path, "walk/a")
    file = write(tmp_path, length=6)
    with pytest.raises(DataError, match="6 frames of joints for 4 images"):
        jhmdb.load(tmp_path, "walk/a")
    savemat(file, {"pos_img": np.zeros((2, 13, 4))})
    with pytest.raises(DataError, match=r"pos_img of shape \(2, 13, 4\), expected"):
        jhmdb.load(tmp_path, "walk/a")
    savemat(file, {"pos_img": np.full((2, 15, 4), np.nan)})
    with pytest.raises(DataError, match="no place in pixels"):
        jhmdb.load(tmp_path, "walk/a")
    savemat(file, {"other": np.zeros(3)})
    with pytest.raises(DataError, match="no joints can be read"):
        jhmdb.load(tmp_path, "walk/a")
    for damaged in (b"", file.read_bytes()[:140], b"MATLAB" * 40):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match="no joints can be read"):
            jhmdb.load(tmp_path, "walk/a")


def test_real_clips(shared_data):
    root = shared_data / "JHMDB"
    clips = {name: jhmdb.load(root, name) for name in jhmdb.names(root)}
    assert sorted(clip.length for clip, _ in clips.values()) == [37, 38, 39, 40, 40, 40]
    for clip, truth in clips.values():
        assert (clip.width, clip.height) == (320, 240)
        joints = np.concatenate([labels.keypoints[:, :, :2] for labels in truth.labels])
        assert ((joints > -20) & (joints < [340, 260])).all(axis=2).mean() > 0.9
        assert next(clip.frames()).image.shape == (240, 320, 3)
