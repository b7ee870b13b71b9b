import numpy as np
import pytest

from tests.datasets import layouts
from tests.datasets.layouts import rectangle, rle_row
from unibench.datasets import kitti_mots, mots
from unibench.errors import DataError
from unibench.geometry import masks
from unibench.records import EXCUSED

FIRST, SECOND, REGION = rectangle(1, 1, 6, 9), rectangle(10, 2, 14, 12), rectangle(20, 0, 32, 24)


def truth_text(start):
    return (
        rle_row(start, 2002, 2, SECOND)
        + rle_row(start, 1001, 1, FIRST)
        + rle_row(start, 10000, 10, REGION)
        + rle_row(start + 2, 2002, 2, FIRST)
    )


def check(truth):
    assert [labels.ids.tolist() for labels in truth.labels] == [[1001, 2002], [], [2002]]
    assert [labels.classes.tolist() for labels in truth.labels] == [[1, 2], [], [2]]
    np.testing.assert_array_equal(masks.decode(truth.labels[0].masks[1]), SECOND)
    assert [labels.classes.tolist() for labels in truth.ignored] == [[EXCUSED], [], []]
    np.testing.assert_array_equal(masks.decode(truth.ignored[0].masks[0]), REGION)


def test_mots20(tmp_path):
    layouts.mot_clip(tmp_path / "train" / "MOTS20-02", truth_text(1))
    assert mots.names(tmp_path) == ["MOTS20-02"]
    clip, truth = mots.load(tmp_path, "MOTS20-02")
    assert (clip.length, clip.fps, clip.vocabulary[2]) == (3, 14.0, "pedestrian")
    check(truth)


def write_kitti(root, name="0005", numbers=(0, 1, 2)):
    layouts.images(root / "training" / "image_02" / name, numbers)
    return layouts.text(root / "instances_txt" / f"{name}.txt", truth_text(numbers[0]))


def test_kitti_text_counts_from_0(tmp_path):
    write_kitti(tmp_path)
    clip, truth = kitti_mots.load(tmp_path, "0005")
    assert (clip.fps, clip.vocabulary) == (10.0, ("", "car", "pedestrian"))
    check(truth)


def test_kitti_png(tmp_path):
    layouts.images(tmp_path / "training" / "image_02" / "0005", range(3))
    frames = [10000 * REGION + 1001 * FIRST + 2002 * SECOND, 0 * FIRST, 2002 * FIRST]
    for index, values in enumerate(frames):
        layouts.ids_png(tmp_path / "instances" / "0005" / f"{index:06d}.png", values.astype(np.uint16))
    assert kitti_mots.names(tmp_path) == ["0005"]
    check(kitti_mots.load(tmp_path, "0005")[1])
    layouts.ids_png(tmp_path / "instances" / "0005" / "000001.png", (5 * FIRST).astype(np.uint16))
    with pytest.raises(DataError, match=r"000001\.png: ids \[5\], expected 1000 x class"):
        kitti_mots.load(tmp_path, "0005")
    layouts.ids_png(tmp_path / "instances" / "0005" / "000001.png", frames[0][:9].astype(np.uint16))
    with pytest.raises(DataError, match="32x9 pixels, expected the frame's 32x24"):
        kitti_mots.load(tmp_path, "0005")


def test_kitti_prefers_the_official_split(tmp_path):
    for name in (*kitti_mots.VAL, "0000"):
        write_kitti(tmp_path, name)
    assert kitti_mots.names(tmp_path) == list(kitti_mots.VAL)
    (tmp_path / "instances_txt" / "0018.txt").unlink()
    assert "0000" in kitti_mots.names(tmp_path)


def test_run_lengths_that_do_not_fill_the_frame_are_found():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = rng.random((40, 50)) < share
        counts = masks.encode(mask)["counts"]
        assert masks.covers(counts, mask.size)
        assert not masks.covers(counts, mask.size + 1)
        assert not masks.covers(counts[:-1], mask.size)
    assert not masks.covers(b"\x01", 4)
    assert not masks.covers(b"", 4)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0 1 1 24 32\n", r"0005\.txt:5: 5 columns, expected 6"),
        ("0 1 x 24 32 abc\n", r"0005\.txt:5: found 'x', expected an integer"),
        (rle_row(9, 1, 1, FIRST), r"0005\.txt:5: no such frame 9; the clip has frames 0 to 2"),
        (rle_row(0, 1, 3, FIRST), r"0005\.txt:5: class 3, expected 1"),
        (rle_row(0, 1, 1, FIRST[:9]), r"0005\.txt:5: a mask of 32x9 pixels, expected the frame's 32x24"),
        (rle_row(0, 1001, 1, FIRST), r"0005\.txt:5: id 1001 stands twice"),
        ("0 9007199254740993 1 24 32 abc\n", r"0005\.txt:5: id 9007199254740993, expected one below 2\^53"),
        (
            f"0 {'9' * 30} 1 24 32 abc\n",
            r"0005\.txt:5: found '9{30}', expected an integer of at most 18 digits",
        ),
        ("0 1_0 1 24 32 abc\n", r"0005\.txt:5: found '1_0', expected an integer"),
        ("0 1 1 24 32 a0\n", r"0005\.txt:5: a run-length mask that does not fill its frame"),
    ],
)
def test_malformed_rows(row, message, tmp_path):
    file = write_kitti(tmp_path)
    file.write_text(truth_text(0) + row)
    with pytest.raises(DataError, match=message):
        kitti_mots.load(tmp_path, "0005")


def test_empty_truth_and_missing_truth(tmp_path):
    file = write_kitti(tmp_path)
    file.write_text(rle_row(0, 10000, 10, REGION))
    with pytest.raises(DataError, match="an empty annotation"):
        kitti_mots.load(tmp_path, "0005")
    file.unlink()
    with pytest.raises(DataError, match="instances/0005: no such folder, expected the truth of clip '0005'"):
        kitti_mots.load(tmp_path, "0005")
    with pytest.raises(DataError, match="no clips"):
        kitti_mots.names(tmp_path)


def test_real_kitti_text_and_png_agree(shared_data, tmp_path):
    root = shared_data / "KITTI_MOTS"
    assert kitti_mots.names(root) == ["0005", "0016"]
    (tmp_path / "instances").symlink_to(root / "instances")
    (tmp_path / "training").symlink_to(root / "training")
    for name, length, objects in (("0005", 16, 3), ("0016", 3, 12)):
        clip, by_text = kitti_mots.load(root, name)
        _, by_png = kitti_mots.load(tmp_path, name)
        assert (clip.length, len(by_text.labels[0].ids), len(by_text.ignored[0].masks)) == (
            length,
            objects,
            1,
        )
        for first, second in zip(
            by_text.labels + by_text.ignored, by_png.labels + by_png.ignored, strict=True
        ):
            assert first.ids.tolist() == second.ids.tolist()
            assert first.classes.tolist() == second.classes.tolist()
            assert first.masks == second.masks
        assert all(mask["size"] == [clip.height, clip.width] for mask in by_text.labels[0].masks)
        assert [frame.index for frame in clip.frames()] == list(range(length))
