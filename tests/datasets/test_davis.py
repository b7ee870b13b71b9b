import shutil

import numpy as np
import pytest

from tests.datasets import layouts
from unibench.datasets import davis
from unibench.errors import DataError
from unibench.geometry import masks


def write(root, name, annotations, mode="P"):
    layouts.images(root / "JPEGImages" / "480p" / name, range(len(annotations)), digits=5, suffix=".jpg")
    for index, values in enumerate(annotations):
        layouts.ids_png(root / "Annotations" / "480p" / name / f"{index:05d}.png", values, mode)


def annotation(*objects):
    values = np.zeros((layouts.HEIGHT, layouts.WIDTH), dtype=np.uint8)
    for identity, x in objects:
        values[4:10, x : x + 4] = identity
    return values


def test_names_follow_the_official_list_then_others_then_all(tmp_path):
    write(tmp_path, "bear", [annotation((1, 2))])
    write(tmp_path, "dog", [annotation((1, 2))])
    assert davis.names_2016(tmp_path) == ["bear", "dog"]
    lines = "/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png\n" * 2
    layouts.text(tmp_path / "ImageSets" / "480p" / "val.txt", lines)
    assert davis.names_2016(tmp_path) == ["bear"]
    layouts.text(tmp_path / "ImageSets" / "2016" / "val_mini.txt", "dog\n")
    assert davis.names_2016(tmp_path) == ["dog"]
    layouts.text(tmp_path / "ImageSets" / "2016" / "val.txt", "dog\nbear\n\n")
    assert davis.names_2016(tmp_path) == ["dog", "bear"]
    assert davis.names_2017(tmp_path) == ["bear", "dog"]


@pytest.mark.parametrize("value", [1, 255])
def test_2016_is_object_or_background(value, tmp_path):
    write(tmp_path, "dog", [annotation((value, 2)), annotation((value, 3))], mode=None)
    clip, truth = davis.load_2016(tmp_path, "dog")
    assert [labels.ids.tolist() for labels in truth.labels] == [[1], [1]]
    np.testing.assert_array_equal(masks.decode(truth.labels[1].masks[0]), annotation((1, 3)) > 0)
    frames = list(clip.frames())
    assert frames[0].prompt.masks == truth.labels[0].masks
    assert frames[1].prompt.masks == ()


def test_2017_follows_the_objects_of_the_first_frame(tmp_path):
    first = annotation((1, 2), (3, 10), (255, 20))
    write(tmp_path, "dogs", [first, annotation((1, 2), (2, 20))])
    _, truth = davis.load_2017(tmp_path, "dogs")
    assert [labels.ids.tolist() for labels in truth.labels] == [[1, 3], [1, 3]]
    assert [masks.area(mask) for mask in truth.labels[1].masks] == [24, 0]


def test_2016_takes_255_as_void_where_frame_0_has_other_ids(tmp_path):
    write(tmp_path, "dogs", [annotation((1, 2), (2, 10), (255, 20)), annotation((1, 2), (255, 20))])
    _, truth = davis.load_2016(tmp_path, "dogs")
    np.testing.assert_array_equal(masks.decode(truth.labels[1].masks[0]), annotation((1, 2)) > 0)


def test_2017_says_that_255_is_void(tmp_path):
    write(tmp_path, "dog", [annotation((255, 2))], mode=None)
    with pytest.raises(
        DataError, match=r"00000\.png: only 255, which is void here, expected object ids 1, 2, \.\.\.;"
    ):
        davis.load_2017(tmp_path, "dog")


@pytest.mark.parametrize("load", [davis.load_2016, davis.load_2017])
@pytest.mark.parametrize("later", [True, False])
def test_a_smoothed_mask_is_refused(load, later, tmp_path):
    smooth = annotation((255, 3), (250, 2))
    write(
        tmp_path,
        "dog",
        [annotation((255 if load is davis.load_2016 else 1, 2)), smooth][1 - later :],
        mode=None,
    )
    with pytest.raises(
        DataError, match=r"png: grey value 250, expected object ids 1 to 100, or 255 for void; store"
    ):
        load(tmp_path, "dog")


def test_errors(tmp_path):
    write(tmp_path, "dog", [annotation((1, 2))] * 3)
    folder = tmp_path / "Annotations" / "480p" / "dog"
    layouts.ids_png(folder / "00000.png", annotation())
    with pytest.raises(DataError, match=r"00000\.png: an empty annotation"):
        davis.load_2016(tmp_path, "dog")
    layouts.ids_png(folder / "00000.png", annotation((1, 2)))
    layouts.ids_png(folder / "00001.png", annotation((1, 2))[:20])
    with pytest.raises(DataError, match=r"00001\.png: 32x20 pixels, expected the frame's 32x24"):
        davis.load_2016(tmp_path, "dog")
    (folder / "00001.png").unlink()
    with pytest.raises(DataError, match=r"00001\.png: no such image"):
        davis.load_2016(tmp_path, "dog")
    with pytest.raises(DataError, match="cat: no such folder"):
        davis.load_2016(tmp_path, "cat")
    (tmp_path / "JPEGImages" / "480p" / "dog" / "00001.jpg").unlink()
    layouts.images(tmp_path / "JPEGImages" / "480p" / "dog", [3], digits=5, suffix=".jpg")
    with pytest.raises(DataError, match="frame 1 is missing"):
        davis.load_2016(tmp_path, "dog")
    layouts.text(tmp_path / "ImageSets" / "2016" / "val.txt", "\n")
    with pytest.raises(DataError, match="no clips"):
        davis.names_2016(tmp_path)


def test_real_clips(shared_data):
    root = shared_data / "DAVIS2016"
    assert davis.names_2016(root) == ["breakdance", "dog", "libby", "parkour"]
    for name in davis.names_2016(root):
        clip, truth = davis.load_2016(root, name)
        assert (clip.length, clip.width, clip.height, len(truth.labels)) == (30, 854, 480, 30)
        shares = [masks.area(labels.masks[0]) / (854 * 480) for labels in truth.labels]
        assert 0.001 < min(shares) < max(shares) < 0.5
        assert next(clip.frames()).prompt.masks[0]["size"] == [480, 854]


def test_real_annotations_of_many_objects(shared_data, tmp_path):
    for part in ("JPEGImages", "Annotations"):
        source = {
            "JPEGImages": "KITTI_MOTS/training/image_02",
            "Annotations": "KITTI_MOTS_as_DAVIS/Annotations",
        }
        shutil.copytree(shared_data / source[part] / "0016", tmp_path / part / "480p" / "0016")
    _, truth = davis.load_2017(tmp_path, davis.names_2017(tmp_path)[0])
    assert truth.labels[2].ids.tolist() == list(range(1, 13))
