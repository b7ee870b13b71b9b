"""A user's own clips: frames as images or as a video, annotations in the layout of their family."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests import videos
from tests.datasets import layouts
from unibench.cli import main
from unibench.datasets import BENCHMARKS, class_names, exchange, own_clips, truncate, with_detections
from unibench.datasets.clips import frame_numbers, hash_files
from unibench.errors import DataError
from unibench.geometry import masks
from unibench.records import Clip, Truth

COUNT = 6
SIZE = (48, 64)
BOXES = [videos.box(index) for index in range(COUNT)]


def rows(first: int = 1) -> str:
    """The square, and one that is marked as not considered."""
    text = ""
    for index, (left, top, right, bottom) in enumerate(BOXES):
        text += f"{index + first},7,{left},{top},{right - left},{bottom - top},1,2,1\n"
        text += f"{index + first},9,1,1,5,5,0,1,1\n"
    return text


def area(index: int) -> np.ndarray:
    left, top, right, bottom = BOXES[index]
    found = np.zeros(SIZE, dtype=np.uint8)
    found[top:bottom, left:right] = 1
    return found


def annotate(clip: Path, family: str) -> None:
    if family == "mot":
        layouts.text(clip / "gt" / "gt.txt", rows())
    elif family == "mots":
        text = "".join(layouts.rle_row(index + 1, 7, 2, area(index) > 0) for index in range(COUNT))
        layouts.text(clip / "gt" / "gt.txt", text)
    elif family == "sot":
        text = "".join(f"{a + 1},{b + 1},{c - a},{d - b}\n" for a, b, c, d in BOXES)
        layouts.text(clip / "groundtruth.txt", text)
    elif family == "vos":
        for index in (0, 2, 5):
            layouts.ids_png(clip / "masks" / f"{index + 1:06d}.png", area(index))
    elif family == "points":
        corners = np.array(BOXES, dtype=float)[:, :2] / SIZE[::-1]
        np.savez(clip / "points.npz", points=corners[None], occluded=np.zeros((1, COUNT), dtype=bool))
    else:
        text = json.dumps([[[[a, b], [c, d], None]] for a, b, c, d in BOXES])
        layouts.text(clip / "joints.json", text)


FAMILIES = ["sot", "vos", "mot", "mots", "pose", "points"]
PLACES = ["img1", "images", "video inside", "video beside"]


def put(root: Path, place: str, family: str) -> Path:
    clip = root / "a"
    clip.mkdir(parents=True)
    if place.startswith("video"):
        videos.write(root / "a.mp4" if "beside" in place else clip / "film.mkv", videos.images(COUNT))
    else:
        videos.write_images(clip / place, videos.images(COUNT))
    annotate(clip, family)
    return root


def load(root: Path, family: str) -> tuple[Clip, Truth]:
    benchmark = BENCHMARKS[f"{family}/folder"]
    assert benchmark.names(root) == ["a"]
    return benchmark.load(root, "a")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("family", FAMILIES)
def test_frames_lie_where_they_like_and_the_truth_is_the_same(
    tmp_path: Path, family: str, place: str
) -> None:
    clip, truth = load(put(tmp_path, place, family), family)
    assert (clip.length, clip.height, clip.width, clip.fps) == (COUNT, *SIZE, 25.0)
    assert len(list(clip.frames())) == len(truth.labels) == COUNT
    assert frame_numbers(clip) == tuple(range(1, COUNT + 1))
    last = truth.labels[-1]
    if family in ("mot", "sot"):
        assert last.boxes.tolist() == [list(BOXES[-1])]
        assert last.ids.tolist() == [7 if family == "mot" else 1]
    elif family == "pose":
        assert last.keypoints[0].tolist() == [[*BOXES[-1][:2], 1], [*BOXES[-1][2:], 1], [0, 0, 0]]
    elif family == "points":  # shares of the frame, from its corner: the middle of the first pixel is 0
        assert last.keypoints.tolist() == [[[BOXES[-1][0] - 0.5, BOXES[-1][1] - 0.5, 1]]]
    else:
        assert (masks.decode(last.masks[0]) == area(COUNT - 1)).all()
    prompt = next(clip.frames()).prompt
    assert len(prompt.ids) == (family not in ("mot", "mots"))
    assert truth.scored == ((0, 2, 5) if family == "vos" else None)


def test_masks_of_a_video_count_from_0_or_1(tmp_path: Path) -> None:
    folder = put(tmp_path, "video inside", "vos") / "a" / "masks"
    for file in sorted(folder.iterdir()):
        file.rename(file.with_name(f"{int(file.stem) - 1:05d}.png"))
    assert load(tmp_path, "vos")[1].scored == (0, 2, 5)
    layouts.ids_png(folder / "00006.png", area(0))
    with pytest.raises(DataError, match=r"masks 00000\.png to 00006\.png for 6 frames"):
        load(tmp_path, "vos")


def test_masks_lie_in_folders_as_davis_has_them(tmp_path: Path) -> None:
    videos.write_images(tmp_path / "JPEGImages" / "a", videos.images(COUNT), first=0)
    for index in (0, 2, 5):
        layouts.ids_png(tmp_path / "Annotations" / "a" / f"{index:06d}.png", area(index))
    clip, truth = load(tmp_path, "vos")
    assert (clip.length, truth.scored) == (COUNT, (0, 2, 5))
    assert (masks.decode(truth.labels[5].masks[0]) == area(5)).all()


def test_what_cvat_exports_as_mot_counts_from_1_while_its_images_count_from_0(tmp_path: Path) -> None:
    videos.write_images(tmp_path / "a" / "img1", videos.images(COUNT), first=0)
    annotate(tmp_path / "a", "mot")
    with pytest.raises(DataError, match=r"gt\.txt:11: no such frame"):
        load(tmp_path, "mot")
    layouts.text(tmp_path / "a" / "gt" / "labels.txt", "car\nperson\n")
    clip, truth = load(tmp_path, "mot")
    assert clip.vocabulary == ("car", "person")
    assert [one.boxes[0].tolist() for one in truth.labels] == [list(box) for box in BOXES]
    assert [one.classes.tolist() for one in truth.labels] == [[1]] * COUNT
    found, left = class_names.restrict(clip, truth, ("person=pedestrian",))
    assert (found.vocabulary, left.labels[0].ids.tolist()) == (("pedestrian",), [7])
    assert not any(len(one.ids) for one in class_names.restrict(clip, truth, ("car",))[1].labels)
    layouts.text(tmp_path / "a" / "det" / "det.txt", "1,-1,1,2,3,4,.5,1\n")
    (first, *_) = load(tmp_path, "mot")[0].frames()
    assert first.detections.classes.tolist() == [0]
    layouts.text(tmp_path / "a" / "det" / "det.txt", "1,-1,1,2,3,4,.5,-1\n")
    with pytest.raises(DataError, match=r"det\.txt:1: a class in '.*'; expected 1 to 2"):
        load(tmp_path, "mot")


@pytest.mark.parametrize(
    ("zipped", "clip"), [("street.zip", "street"), ("street/task 7.zip", "street")], ids=["beside", "inside"]
)
def test_a_zip_as_cvat_exports_it_is_to_be_unpacked(zipped: str, clip: str, tmp_path: Path) -> None:
    """Other clips are there, which are not run as if they were all."""
    put(tmp_path, "video inside", "mot")
    (tmp_path / zipped).parent.mkdir(exist_ok=True)
    with ZipFile(tmp_path / zipped, "w") as opened:
        opened.writestr("gt/gt.txt", rows())
        opened.writestr("gt/labels.txt", "person\n")
    layouts.text(tmp_path / "notes.zip", "of something else")
    command = f"unzip {quote(str(tmp_path / zipped))} -d {tmp_path / clip}"
    told = f"{tmp_path / zipped}: a clip in a zip file; expected its folder; unpack it: {command}"
    with pytest.raises(DataError, match=re.escape(told)):
        own_clips.names_mot(tmp_path)
    assert own_clips.names_vos(put(tmp_path / "other", "video inside", "vos")) == ["a"]
    with ZipFile(tmp_path / zipped) as opened:
        opened.extractall(tmp_path / clip)
    assert own_clips.names_mot(tmp_path) == ["a", "street"]


def test_data_check_names_what_is_wrong_with_coco_json(tmp_path: Path) -> None:
    table = coco_videos(tmp_path)
    table["videos"][0].pop("name")
    layouts.text(tmp_path / "annotations.json", json.dumps(table))
    with pytest.raises(DataError, match=r"annotations\.json: .*name") as fault:
        own_clips.names_mot(tmp_path)
    done = CliRunner().invoke(main, ["data", "check", "--data", str(tmp_path)])
    assert done.exit_code == 1, done.output
    assert done.output.count("unreadable") == 1
    assert "".join(str(fault.value).split()) in re.sub(r"[\s│]", "", done.output)


def coco_videos(root: Path) -> dict[str, Any]:
    """Two clips of one file: in both the square, in the first a crowd and a box without area, too."""
    images, annotations = [], []
    for video, name in ((4, "a"), (9, "deep/b")):
        for index, file in enumerate(
            sorted(videos.write_images(root / name, videos.images(COUNT)).iterdir())
        ):
            number = 100 * video + index
            images.append(
                {
                    "id": number,
                    "video_id": video,
                    "frame_id": 5 + index,
                    "file_name": str(file.relative_to(root)),
                }
            )
            left, top, right, bottom = BOXES[index]
            square = {"image_id": number, "category_id": 3, "bbox": [left, top, right - left, bottom - top]}
            annotations.append({**square, "instance_id": 7, "area": 1})
    first = {"image_id": 400, "category_id": 8, "track_id": 8, "bbox": [1, 2, 3, 4]}
    annotations += [{**first, "iscrowd": 1}, {**first, "bbox": [1, 2, 0, 4]}]
    return {
        "videos": [{"id": 4, "name": "a", "fps": 12.5}, {"id": 9, "name": "deep/b"}],
        "images": images[::-1],
        "annotations": annotations,
        "categories": [{"id": 8, "name": "car"}, {"id": 3, "name": "person"}],
    }


def test_coco_json_with_videos_is_one_file_of_all_clips(tmp_path: Path) -> None:
    table = coco_videos(tmp_path)
    layouts.text(tmp_path / "annotations.json", json.dumps(table))
    assert own_clips.names_mot(tmp_path) == ["a", "deep/b"]
    for name, fps, crowds in (("a", 12.5, 1), ("deep/b", 25.0, 0)):
        clip, truth = own_clips.load_mot(tmp_path, name)
        assert (clip.name, clip.fps, clip.length, clip.vocabulary) == (name, fps, COUNT, ("person", "car"))
        assert [one.boxes.tolist() for one in truth.labels] == [[list(box)] for box in BOXES]
        assert {(*one.ids, *one.classes) for one in truth.labels} == {(7, 0)}
        assert truth.ignored[0].boxes.tolist() == [[1, 2, 4, 6]] * crowds
        assert [frame.image.mean() for frame in clip.frames()] == [one.mean() for one in videos.images(COUNT)]
    run = [
        "run",
        "-m",
        "lab-colour",
        "-t",
        "mot/folder",
        "--detections",
        "oracle",
        "--classes",
        "person=pedestrian",
    ]
    done = CliRunner().invoke(main, [*run, "--data", str(tmp_path), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "IDF1" in done.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table["videos"].append({"id": 5, "name": "a"}), r"videos have the name 'a' twice"),
        (lambda table: table["images"][0].update(id=401), r"images have the id 401 twice"),
        (lambda table: table["images"][0].update(video_id=1), r"video_id 1, of which there is no entry"),
        (
            lambda table: table["images"][-1].update(frame_id=6),
            r"frames of video 'a' have the number 6 twice",
        ),
        (
            lambda table: table["images"][-1].pop("frame_id"),
            r"video 'a' has \d+ images; expected some, each with a fr",
        ),
        (
            lambda table: table["annotations"][0].update(category_id=1),
            r"category_id 1, of which there is no entry",
        ),
        (
            lambda table: table["annotations"][0].pop("instance_id"),
            r"an annotation without instance_id or track_id",
        ),
        (lambda table: table["annotations"].append(table["annotations"][0]), r"have the identity 7 twice"),
        (lambda table: table["annotations"].clear(), r"video 'a' has no object to be scored"),
        (lambda table: table["images"][-1].update(file_name="../x.png"), r"x\.png"),
    ],
)
def test_what_is_wrong_with_coco_json_is_one_line(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    table = coco_videos(tmp_path)
    change(table)
    layouts.text(tmp_path / "annotations.json", json.dumps(table))
    with pytest.raises(DataError, match=message) as caught:
        own_clips.load_mot(tmp_path, "a")
    assert "\n" not in str(caught.value)


def test_seqinfo_says_the_frame_rate(tmp_path: Path) -> None:
    root = put(tmp_path, "video inside", "mot")
    layouts.text(root / "a" / "seqinfo.ini", "[Sequence]\nframeRate=12.5\n")
    assert load(root, "mot")[0].fps == 12.5
    layouts.text(root / "a" / "seqinfo.ini", "[Sequence]\nframeRate=0\n")
    with pytest.raises(DataError, match="frameRate is 0"):
        load(root, "mot")


def test_detections_come_with_the_clip_or_are_missed(tmp_path: Path) -> None:
    root = put(tmp_path, "video inside", "mot")
    clip, truth = load(root, "mot")
    with pytest.raises(DataError, match="no public detections; there are: oracle"):
        with_detections(clip, truth, "public")
    layouts.text(root / "a" / "det" / "det.txt", "2 -1 1 2 3 4 .5\n")
    clip, truth = load(root, "mot")
    frames = list(with_detections(clip, truth, "public").frames())
    assert [len(frame.detections.boxes) for frame in frames] == [0, 1, 0, 0, 0, 0]


def test_a_changed_video_is_noticed(tmp_path: Path) -> None:
    root = put(tmp_path, "video inside", "sot")
    before = hash_files(load(root, "sot")[0])
    videos.write(root / "a" / "film.mkv", videos.images(COUNT)[::-1])
    assert hash_files(load(root, "sot")[0]) != before != ""


def test_masks_of_a_video_are_exported_frame_by_frame(tmp_path: Path) -> None:
    clip, truth = truncate(*load(put(tmp_path / "in", "video inside", "vos"), "vos"), 3)
    exchange.find("vos/folder").write(tmp_path / "out", clip, truth.labels)
    assert sorted(file.name for file in (tmp_path / "out" / "a").iterdir()) == [
        "00000.png",
        "00001.png",
        "00002.png",
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_without_clips_says_what_is_expected(tmp_path: Path, family: str) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="no clips, expected <clip>/"):
        BENCHMARKS[f"{family}/folder"].names(tmp_path)


@pytest.mark.parametrize(
    ("family", "name", "content", "told"),
    [
        ("sot", "groundtruth.txt", "1,1,5,5\n", "1 boxes for 6 frames"),
        ("mot", "gt/gt.txt", "9,1,1,1,5,5,1\n", "no such frame"),
        ("mot", "gt/gt.txt", "1,1,1,1,5,5\n", "6 columns, expected 7 to 10"),
        ("pose", "joints.json", "[[[[1, 2]]]]", "joints of 1 frames, expected 6"),
        ("pose", "joints.json", '[[[["x", 2]]]]', "frame 0: no joints can be read"),
        ("pose", "joints.json", "[[[[1, 2]]], [[[1, 2], [3, 4]]]]", "another number of persons or joints"),
        ("pose", "joints.json", "{", "not JSON"),
        ("pose", "joints.json", "[[[[1e9, 2]]]]", "no place in pixels"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, family: str, name: str, content: str, told: str) -> None:
    root = put(tmp_path, "video inside", family)
    layouts.text(root / "a" / name, content)
    with pytest.raises(DataError, match=told) as error:
        load(root, family)
    assert name in str(error.value)


TRACK, SEEN = np.full((1, COUNT, 2), 0.5), np.zeros((1, COUNT), dtype=bool)


def test_what_is_no_archive_is_not_called_a_pickle_to_be_trusted(tmp_path: Path) -> None:
    root = put(tmp_path, "video inside", "points")
    (root / "a/points.npz").write_bytes(b"junk")
    with pytest.raises(
        DataError, match=r"points\.npz: no NumPy archive; expected a \.npz with points and occluded"
    ):
        load(root, "points")


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"points": TRACK}, "no points can be read .*occluded.*; expected a .npz with points and occluded"),
        ({"points": TRACK[:, 1:], "occluded": SEEN[:, 1:]}, "points of 5 frames, expected 6"),
        ({"points": TRACK * np.nan, "occluded": SEEN}, "point 0 of frame 0 is visible and not finite"),
        (
            {"points": TRACK * 40, "occluded": SEEN},
            r"point 0 of frame 0 is visible at \[20\.0, 20\.0\]; expected x",
        ),
        ({"points": TRACK[..., :1], "occluded": SEEN}, r"points of shape \(1, 6, 1\)"),
        ({"points": TRACK[:0], "occluded": SEEN[:0]}, r"points of shape \(0, 6, 2\)"),
        ({"points": TRACK.astype("U3"), "occluded": SEEN}, "points of shape .* and type <U3"),
        (
            {"points": np.array([object()]), "occluded": SEEN},
            "no points can be read .Object arrays cannot be loaded",
        ),
        ({"points": TRACK, "occluded": ~SEEN}, "no point is visible in any frame"),
    ],
)
def test_points_that_do_not_fit_are_refused_in_one_line(arrays: dict, told: str, tmp_path: Path) -> None:
    root = put(tmp_path, "video inside", "points")
    np.savez(root / "a" / "points.npz", **arrays)
    with pytest.raises(DataError, match=told) as error:
        load(root, "points")
    assert "points.npz" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_clip_has_one_video(tmp_path: Path) -> None:
    root = put(tmp_path, "video inside", "sot")
    videos.write(root / "a" / "other.mp4", videos.images(COUNT))
    with pytest.raises(DataError, match=r"a: film\.mkv, other\.mp4; expected images .* or one video file"):
        load(root, "sot")


def test_data_check_explains_what_it_sees(tmp_path: Path) -> None:
    root = put(tmp_path, "video beside", "mot")
    layouts.text(root / "a" / "gt" / "labels.txt", "car\nperson\n")
    videos.write_images(root / "b" / "img1", videos.images(COUNT))
    layouts.text(root / "b" / "gt" / "gt.txt", rows())
    layouts.text(root / "b" / "det" / "det.txt", "2,-1,1,2,3,4,.5\n")
    done = CliRunner().invoke(main, ["data", "check", "--data", str(root)])
    assert done.exit_code == 0
    line = next(one for one in done.output.splitlines() if "mot/folder" in one)
    assert "ok; frames are images in 1 clips, a video in 1; det/det.txt in 1; classes: car, person" in line
    assert "none; clips of your own" in next(one for one in done.output.splitlines() if "mots/folder" in one)
    layouts.text(root / "b" / "gt" / "gt.txt", "bad\n")
    done = CliRunner().invoke(main, ["data", "check", "--data", str(root)])
    assert done.exit_code == 1
    assert "1 unreadable" in done.output


def test_a_run_scores_own_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "clips", "video inside", "sot")
    command = ("run", "-m", "lab-colour", "-t", "sot/folder", "--data", "clips", "-o", "out")
    done = CliRunner().invoke(main, list(command))
    assert done.exit_code == 0, done.output
    assert "sot/folder@unitrack a: " in done.output
    again = CliRunner().invoke(main, list(command))
    assert "there already" in again.output
    missing = CliRunner().invoke(main, [*command[:5], "-o", "out"])
    assert missing.exit_code == 2
    assert "sot/folder: no data folder, expected --data DIR with your clips in it" in missing.output


def test_a_video_that_is_damaged_is_named_by_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    videos.damage(put(tmp_path, "video beside", "sot") / "a.mp4")
    done = CliRunner().invoke(
        main, ["run", "-m", "lab-colour", "-t", "sot/folder", "--data", ".", "-o", "out"]
    )
    assert done.exit_code == 1
    assert "a.mp4: frame 0 cannot be decoded" in done.output


def test_open_frames_takes_a_folder_of_images(tmp_path: Path) -> None:
    frames = own_clips.open_frames(videos.write_images(tmp_path / "a", videos.images(3), first=5))
    assert frames.numbers == (5, 6, 7)
    assert frames.size == SIZE
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no frames; expected images in it or in img1"):
        own_clips.open_frames(tmp_path / "empty")
    Image.new("RGB", (9, 9)).save(tmp_path / "empty" / "a.png")
    with pytest.raises(DataError, match="no frame number"):
        own_clips.open_frames(tmp_path / "empty")
