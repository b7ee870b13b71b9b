import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.datasets import layouts
from unibench.datasets import BENCHMARKS, files
from unibench.datasets import images as pictures
from unibench.errors import DataError


def test_every_benchmark_is_keyed_by_its_task():
    assert all(key == row.task for key, row in BENCHMARKS.items())
    expected = {
        "sot/otb",
        "vos/davis2016",
        "vos/davis2017",
        "mot/mot15",
        "mot/mot16",
        "mot/mot17",
        "mot/mot20",
    }
    expected |= {"mots/mots20", "mots/kitti-mots", "posetrack/posetrack18", "posetrack/bonn", "pose/jhmdb"}
    assert expected <= set(BENCHMARKS)


@pytest.mark.parametrize("task", [task for task, row in BENCHMARKS.items() if row.folder])
def test_every_benchmark_says_that_its_folder_is_missing(task, tmp_path):
    row = BENCHMARKS[task]
    assert row.obtain
    assert "\n" not in row.obtain
    with pytest.raises(DataError, match=r"no such folder, expected .*; `unibench data check`"):
        row.names(tmp_path / "absent")


@pytest.mark.parametrize("task", [task for task, row in BENCHMARKS.items() if row.folder])
@pytest.mark.parametrize("name", ["../other", "/etc", "a/../../../b"])
def test_no_clip_name_leaves_the_folder(task, name, tmp_path):
    for folder in ("annotations", "gt"):
        (tmp_path / folder).mkdir()
    with pytest.raises(DataError, match="leads out of this folder"):
        BENCHMARKS[task].load(tmp_path, name)


def test_a_link_does_not_lead_out_either(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    (root / "clip").symlink_to(other)
    with pytest.raises(DataError, match="'clip' leads out"):
        files.inside(root, "clip")


def test_the_registry_imports_nothing_heavy():
    code = "import sys, unibench.datasets; print([m for m in ('torch','pandas','scipy','skimage') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("row", ["1,2,3", "1\t2\t3", "1 2  3", " 1, 2, 3, ", "1;2;3"])
def test_table_takes_every_separator(row, tmp_path):
    table = files.read_table(layouts.text(tmp_path / "a.txt", f"{row}\n\n4,5,6\n"), range(3, 4))
    np.testing.assert_array_equal(table.values, [[1, 2, 3], [4, 5, 6]])
    assert table.lines.tolist() == [1, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,2,3\n1,2\n", r"a\.txt:2: 2 columns, expected 3;"),
        ("1,2,3\n1,x,3\n", r"a\.txt:2: not a number in '1,x,3'"),
        ("1,2,3,4,5\n", r"a\.txt:1: 5 columns, expected 3"),
    ],
)
def test_table_names_the_line(content, message, tmp_path):
    with pytest.raises(DataError, match=message):
        files.read_table(layouts.text(tmp_path / "a.txt", content), range(3, 4))


def test_text_errors(tmp_path):
    with pytest.raises(DataError, match=r"b\.txt: no such file"):
        files.read_text(tmp_path / "b.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as text"):
        files.read_text(tmp_path / "b.txt")


def test_rows_by_frame_keeps_the_order():
    groups = files.rows_by_frame(np.array([2, 0, -1, 2, 0]), 4)
    assert [group.tolist() for group in groups] == [[1, 4], [], [0, 3], []]


def test_frames_are_ordered_by_number_not_by_name(tmp_path):
    layouts.images(tmp_path, [9, 10, 11], digits=1)
    assert [path.stem for path in pictures.list_images(tmp_path)] == ["9", "10", "11"]


def test_every_fifth_frame_is_a_clip(tmp_path):
    layouts.images(tmp_path, [2, 7, 12])
    assert len(pictures.list_images(tmp_path)) == 3


def test_folder_errors(tmp_path):
    with pytest.raises(DataError, match="no images"):
        pictures.list_images(tmp_path)
    layouts.images(tmp_path, [1, 2, 4, 5])
    with pytest.raises(DataError, match="frame 3 is missing"):
        pictures.list_images(tmp_path)
    layouts.images(tmp_path, [3])
    layouts.images(tmp_path, [3], suffix=".jpg")
    with pytest.raises(DataError, match="two images are numbered 3"):
        pictures.list_images(tmp_path)
    Image.new("RGB", (4, 4)).save(tmp_path / "cover.png")
    with pytest.raises(DataError, match=r"cover\.png: the name holds no frame number"):
        pictures.list_images(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_every_truncation_is_one_clear_line(suffix, tmp_path):
    layouts.images(tmp_path, [1], suffix=suffix)
    path = tmp_path / f"000001{suffix}"
    whole = path.read_bytes()
    for length in [*range(0, 64), *range(64, len(whole) * 9 // 10, 41)]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="not a whole image") as caught:
            pictures.read_image(path)
        assert "\n" not in str(caught.value)


def test_damaged_images_are_one_clear_line(tmp_path):
    layouts.images(tmp_path, [1])
    path = tmp_path / "000001.png"
    whole = bytearray(path.read_bytes())
    whole[16:20] = struct.pack(">I", 2**31 - 1)  # a width that no memory could hold
    path.write_bytes(whole)
    with pytest.raises(DataError, match="not a whole image"):
        pictures.read_image(path)
    with pytest.raises(DataError, match="not a whole image"):
        pictures.image_size(layouts.text(path, "no picture"))
    with pytest.raises(DataError, match="no such image"):
        pictures.read_image(tmp_path / "000002.png")


def test_of_16_bit_grey_values_the_upper_8_count(tmp_path):
    values = np.array([[0, 255, 256], [32768, 40400, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "1.png")
    image = pictures.read_image(tmp_path / "1.png")
    np.testing.assert_array_equal(image, np.repeat([[[0], [0], [1]], [[128], [157], [255]]], 3, axis=2))


def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "1.png")
    for read in (pictures.read_image, pictures.image_size):
        with pytest.raises(DataError, match=r"1\.png: not a whole image \(no regular file\)"):
            read(tmp_path / "1.png")
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"a\.txt: cannot be read \(not a regular file\)"):
        files.read_text(tmp_path / "a.txt")
    (tmp_path / "2.png").mkdir()
    with pytest.raises(DataError, match=r"2\.png: not a whole image"):
        pictures.read_image(tmp_path / "2.png")


def test_a_line_of_pixels_and_an_animation_are_no_frames(tmp_path):
    Image.new("RGB", (60000, 1)).save(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"60000x1 pixels, expected a side of at most 32 times the other"):
        pictures.image_size(tmp_path / "1.png")
    Image.new("RGB", (320, 10)).save(tmp_path / "1.png")
    assert pictures.image_size(tmp_path / "1.png") == (10, 320)
    shades = [Image.new("RGB", (8, 8), (grey, 0, 0)) for grey in (0, 99)]
    shades[0].save(tmp_path / "2.png", save_all=True, append_images=shades[1:])
    with pytest.raises(DataError, match="an animation, expected one frame"):
        pictures.read_image(tmp_path / "2.png")
    shades[0].save(
        tmp_path / "3.jpg", "MPO", save_all=True, append_images=shades[1:]
    )  # as telephones write them
    assert pictures.read_image(tmp_path / "3.jpg").shape == (8, 8, 3)


def test_only_formats_that_hold_pixels_are_read(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png", "EPS")
    with pytest.raises(DataError, match="not a whole image"):
        pictures.read_image(tmp_path / "1.png")


def test_names_that_cannot_be_files(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for name in ("x" * 300, "\ud800", "a\0b"):
        with pytest.raises(DataError, match="cannot be a file's") as caught:
            files.inside(tmp_path, name)
        str(caught.value).encode()
    with pytest.raises(DataError, match=r"cannot be followed|no such folder"):
        files.require_folder(files.inside(tmp_path, "a/c"), "a clip")
    with pytest.raises(DataError, match="no such folder"):
        files.require_folder(tmp_path / ("x" * 300), "a clip")


@pytest.mark.parametrize("text", ["1_0", "infinity", "0x1", "\u0661", "", " 1", "1e", "--1", "1" * 19])
def test_integers_are_plain_digits(text):
    with pytest.raises(DataError, match=r"f: found .*, expected an integer of at most 18 digits"):
        files.integer(text, "f")
    assert (files.integer("-007", "f"), files.number("-.5e3", "f"), files.number("3.", "f")) == (
        -7,
        -500.0,
        3.0,
    )


def test_ids_of_every_kind_of_annotation(tmp_path):
    values = np.zeros((layouts.HEIGHT, layouts.WIDTH), dtype=np.uint8)
    values[2:5, 3:9] = 7
    size = values.shape
    for name, array, mode in [
        ("palette", values, "P"),
        ("grey", values, None),
        ("deep", values.astype(np.uint16), None),
        ("colour", np.repeat(values[:, :, None], 3, axis=2), None),
    ]:
        layouts.ids_png(tmp_path / f"{name}.png", array, mode)
        np.testing.assert_array_equal(pictures.read_ids(tmp_path / f"{name}.png", size), values)
    with pytest.raises(DataError, match="32x24 pixels, expected the frame's 24x24"):
        pictures.read_ids(tmp_path / "grey.png", (24, 24))
    tinted = np.repeat(values[:, :, None], 3, axis=2)
    tinted[0, 0, 1] = 1
    layouts.ids_png(tmp_path / "tinted.png", tinted)
    with pytest.raises(DataError, match="a colour image"):
        pictures.read_ids(tmp_path / "tinted.png", size)
