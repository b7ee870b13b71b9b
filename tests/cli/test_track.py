"""`unibench track`: a tracker on a video or a folder of images, what it draws and what it saves."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests import videos
from tests.datasets import layouts
from unibench.cli import main
from unibench.datasets import motchallenge, mots, otb, own_clips, video
from unibench.datasets.images import read_ids
from unibench.geometry import boxes as geometry

COUNT = 6
PROMPT = "8,10,24,26"


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A video `a.mp4`, the same frames in `frames`, a mask, joints and detections of the square in it."""
    monkeypatch.chdir(tmp_path)
    videos.write(tmp_path / "a.mp4", videos.images(COUNT))
    videos.write_images(tmp_path / "frames", videos.images(COUNT))
    left, top, right, bottom = videos.box(0)
    mask = np.zeros((48, 64), dtype=np.uint8)
    mask[top:bottom, left:right] = 255
    Image.fromarray(mask).save("mask.png")
    Path("joints.json").write_text(json.dumps([[[left + 4, top + 4], [right - 4, bottom - 4]]]))
    found = [videos.box(index) for index in range(COUNT)]
    Path("det.txt").write_text(
        "".join(f"{index + 1} -1 {a} {b} {c - a} {d - b} 0.9\n" for index, (a, b, c, d) in enumerate(found))
    )
    rows = []
    for index, (a, b, c, d) in enumerate(found):
        area = np.zeros((48, 64), dtype=bool)
        area[b:d, a:c] = True
        rows.append(layouts.rle_row(index + 1, 1, 2, area))
    Path("masks.txt").write_text("".join(rows))


def track(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["track", *arguments])


def saved(*arguments: str) -> str:
    """Track, and check that it went well; what it said."""
    done = track(*arguments)
    assert done.exit_code == 0, done.output
    return done.output


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return float(geometry.iou(np.array([one], dtype=float), np.array([other], dtype=float))[0, 0])


@pytest.mark.parametrize("source", ["a.mp4", "frames"])
def test_a_box_is_followed(source: str) -> None:
    said = saved(source, "-m", "lab-colour", "--prompt", PROMPT, "-o", "out.mp4", "--save", "out.txt")
    assert "lab-colour sot@unitrack: 6 frames, 1 ids" in said
    assert "frames a second" in said
    rows = otb.read_boxes(Path("out.txt"))
    found = np.concatenate([rows[:, :2] - 1, rows[:, :2] - 1 + rows[:, 2:]], axis=1)
    assert found[0].tolist() == [8, 10, 24, 26]
    assert len(found) == COUNT
    assert overlap(tuple(found[-1]), videos.box(COUNT - 1)) > 0.5


def test_the_drawn_video_has_every_frame_at_its_time() -> None:
    times = [0.0, 0.1, 0.15, 0.5, 0.6]
    videos.write(Path("b.mp4"), videos.images(5), times)
    saved("b.mp4", "-m", "lab-colour", "--prompt", PROMPT, "-o", "out.mp4")
    drawn = video.open_video(Path("out.mp4"))
    assert drawn.times == pytest.approx(times, abs=1e-4)
    first = next(video.VideoFrames(drawn)()).image.astype(int)
    assert first[25, 12:22, 2].mean() > first[25, 12:22, 0].mean() + 60  # the box's lower side is blue


def test_a_video_that_is_turned_is_tracked_as_it_is_seen() -> None:
    videos.turn(Path("a.mp4"))
    saved("a.mp4", "-m", "lab-colour", "--prompt", "22,8,38,24", "-o", "out.mp4", "--save", "out.txt")
    assert video.open_video(Path("out.mp4")).size == (64, 48)
    left, top, width, height = otb.read_boxes(Path("out.txt"))[-1]
    assert overlap((left - 1, top - 1, left - 1 + width, top - 1 + height), (22, 18, 38, 34)) > 0.5


def test_a_mask_is_propagated() -> None:
    saved("a.mp4", "-m", "lab-colour", "--prompt", "mask.png", "--save", "masks", "-o", "out.mkv")
    files = sorted(Path("masks").iterdir())
    assert [file.name for file in files] == [f"{index:05d}.png" for index in range(COUNT)]
    assert read_ids(files[-1], (48, 64))[18, 26] == 1
    saved("a.mp4", "-m", "lab-colour", "--prompt", "mask.png", "--save", "masks.json")
    frames = json.loads(Path("masks.json").read_text())["frames"]
    assert [frame["frame"] for frame in frames] == list(range(COUNT))
    assert frames[0]["objects"][0]["mask"]["size"] == [48, 64]


def test_joints_are_propagated() -> None:
    saved("a.mp4", "-m", "lab-colour", "--prompt", "joints.json", "--save", "out.json", "-o", "out.mp4")
    content = json.loads(Path("out.json").read_text())
    assert (content["width"], content["height"], content["fps"]) == (64, 48, 25.0)
    assert content["frames"][0]["objects"][0]["keypoints"] == [[12, 14, 1], [20, 22, 1]]
    assert len(content["frames"]) == COUNT


def test_points_are_tracked() -> None:
    said = saved("a.mp4", "-m", "lab-colour", "--prompt", "12,14;20,22", "--save", "out.npz", "-o", "out.mp4")
    assert "lab-colour points@nearest: 6 frames, 2 ids" in said
    with np.load("out.npz", allow_pickle=False) as found:
        assert found["points"].shape == (2, COUNT, 2)
        assert not found["occluded"][:, 0].any()
        places = found["points"] * (64, 48) - 0.5
    np.testing.assert_allclose(places[:, 0], [[12, 14], [20, 22]], atol=1e-9)
    Path("points.json").write_text("[[12, 14], [20, 22]]")
    saved("a.mp4", "-m", "lab-colour", "-t", "points", "--prompt", "points.json", "--save", "out.json")
    first = json.loads(Path("out.json").read_text())["frames"][0]["objects"]
    assert [one["keypoints"] for one in first] == [[[12, 14, 1]], [[20, 22, 1]]]


def test_detections_are_linked() -> None:
    saved("a.mp4", "-m", "lab-colour", "--detections", "det.txt", "--save", "out.txt", "-o", "out.mp4")
    numbers = tuple(range(1, COUNT + 1))
    found = motchallenge.read_tracks(Path("out.txt"), numbers)
    assert {len(one.ids) for one in found[1:]} == {1}
    assert len({int(one.ids[0]) for one in found[1:]}) == 1
    assert found[-1].boxes[0].tolist() == list(videos.box(COUNT - 1))
    protocol = saved(
        "a.mp4", "-m", "hog", "-t", "mot@bytetrack", "--detections", "det.txt", "--save", "b.txt"
    )
    assert "hog mot@bytetrack" in protocol


def test_masks_are_linked() -> None:
    saved("a.mp4", "-m", "lab-colour", "-t", "mots", "--detections", "masks.txt", "--save", "out.txt")
    rows = mots.read_rows(Path("out.txt"), tuple(range(1, COUNT + 1)), (48, 64), (1, 2, 3))
    assert [len(row) for row in rows] == [1] * COUNT


def test_a_joint_tracker_finds_the_objects_itself() -> None:
    saved("a.mp4", "-m", "unicorn-tiny", "-o", "out.mp4", "--save", "out.json")
    assert len(json.loads(Path("out.json").read_text())["frames"]) == COUNT


SOT = ("-m", "lab-colour", "--prompt", PROMPT, "--save", "out.txt")
MOT = ("-m", "lab-colour", "--detections", "det.txt", "--save", "out.txt")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("none.mp4", *SOT), "none.mp4: no such file or folder"),
        (("det.txt", *SOT), "det.txt: not the name of a video file"),
        (("empty", *SOT), "empty: no frames; expected images in it"),
        (("text.mp4", *SOT), "text.mp4: cannot be read as a video"),
        (("a.mp4", *SOT[:2], "--save", "out.txt", "-t", "sot"), "no prompt, expected a box LEFT,TOP,RIGHT,BOTTOM"),
        (("a.mp4", *SOT[:2], "--save", "out.txt", "-t", "vos"), "no prompt, expected a mask FILE.png"),
        (("a.mp4", *SOT, "-t", "vos"), "not a prompt for vos; expected a mask FILE.png"),
        (("a.mp4", *SOT, "-t", "mot"), "takes no prompt, it tracks all objects"),
        (("a.mp4", *SOT, "--prompt", "8,10,24,99"), "a box outside the frame; expected one within its 64x48"),
        (("a.mp4", *SOT, "--prompt", "8,10,8,26"), "a box without area"),
        (("a.mp4", *SOT, "--prompt", "8,10,24"), "not a box; expected LEFT,TOP,RIGHT,BOTTOM"),
        (("a.mp4", *SOT, "--prompt", "a,b,c,d"), "not a number in 'a'"),
        (("a.mp4", *SOT[:4], "--save", "o.npz", "--prompt", "8,99"), "a point outside the frame; expected all within"),
        (("a.mp4", *SOT[:4], "--save", "o.npz", "--prompt", "8,10;9"), "a point without x and y; expected X,Y;X,Y"),
        (("a.mp4", *SOT[:4], "--save", "o.npz", "--prompt", "8,nan"), "a point outside the frame"),
        (("a.mp4", *SOT[:2], "--save", "o.npz", "-t", "points"), "no prompt, expected places X,Y;X,Y;... or FILE"),
        (("a.mp4", *SOT[:2], "--save", "o.txt", "--prompt", "8,10"), "no format of points ends in '.txt'"),
        (("a.mp4", *SOT, "--prompt", "none.png"), "none.png: no such image"),
        (("a.mp4", *SOT, "--prompt", "small.png"), "9x9 pixels, expected the frame's 64x48"),
        (("a.mp4", *SOT, "--prompt", "black.png"), "an empty mask"),
        (("a.mp4", *SOT[:4], "--save", "o.json", "--prompt", "far.json"), "a joint outside the frame"),
        (("a.mp4", *MOT[:2], "--save", "out.txt"), "links detections, expected a file of them"),
        (("a.mp4", *MOT, "--detections", "none.txt"), "none.txt: no such file"),
        (("a.mp4", *MOT, "--detections", "long.txt"), "long.txt:1: no such frame"),
        (("a.mp4", *SOT, "--detections", "det.txt"), "takes no detections"),
        (("a.mp4", *MOT, "-m", "unicorn-tiny"), "takes no detections; leave --detections out"),
        (("a.mp4", *MOT, "-t", "mot@private"), "protocol 'private' is not for frozen models"),
        (("a.mp4", *SOT, "-m", "retinatrack-tiny"), "model 'retinatrack-tiny': "),
        (("a.mp4", *SOT, "-m", "lab-color"), "did you mean 'lab-colour'"),
        (("a.mp4", *SOT, "-t", "det"), "nothing to track in a video, expected mot, sot, vos, mots, pose"),
        (("a.mp4", *SOT, "-t", "sot@no"), "no protocol of 'sot' 'no'"),
        (("a.mp4", *SOT[:4]), "nothing to write; name a video with -o"),
        (("a.mp4", *SOT, "-o", "out.avi"), "no video format ends in '.avi'"),
        (("a.mp4", *SOT, "-o", "a.mp4"), "a.mp4: the same as another path"),
        (("a.mp4", *SOT, "-o", "./x/../a.mp4"), "a.mp4: the same as another path"),
        (("a.mp4", *SOT, "--save", "out.csv"), "no format of sot ends in '.csv'; there are: .txt, .json"),
        (("a.mp4", *SOT, "--save", "masks"), "no format of sot ends in ''"),
        (("a.mp4", *SOT, "--save", "det.txt/out.txt"), "det.txt/out.txt: cannot be written"),
        (("a.mp4", *SOT, "-o", "det.txt/out.mp4"), "det.txt/out.mp4: cannot be written"),
        (("a.mp4", *SOT, "--prompt", "mask.png", "--save", "frames"), "expected a new or an empty folder"),
        (("a.mp4", *SOT, "--device", "abacus"), "abacus"),
        (("a.mp4", *SOT, "--weights", "det.txt"), "has no weights to load"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(arguments: tuple[str, ...], told: str) -> None:
    Path("empty").mkdir()
    Path("text.mp4").write_text("no video")
    Path("long.txt").write_text("7,-1,1,1,5,5,1\n")
    Path("far.json").write_text("[[[70, 1]]]")
    for name, side in (("small.png", (9, 9)), ("black.png", (64, 48))):
        Image.new("L", side).save(name)
    done = track(*arguments)
    assert done.exit_code == 2, done.output
    assert told in done.output
    assert done.output.count("\n") == 1
    assert not list(Path().glob("out*"))


def test_a_damaged_frame_ends_it_and_nothing_is_left() -> None:
    videos.write(Path("b.mp4"), videos.images(24))
    videos.damage(Path("b.mp4"))
    Path("out.txt").write_text("before")
    done = track("b.mp4", *SOT, "-o", "out.mp4")
    assert done.exit_code == 2
    assert "is damaged" in done.output
    assert Path("out.txt").read_text() == "before"
    assert [path.name for path in Path().glob("*out*")] == ["out.txt"]
    assert not list(Path().glob(".*"))


def test_a_folder_of_images_needs_no_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    saved("frames", *SOT)
    done = track("frames", *SOT, "-o", "out.mp4")
    assert done.exit_code == 2
    assert "pip install 'unibench-tracking[video]'" in done.output


def test_labels_of_a_video_are_those_of_its_frames() -> None:
    """The frames that are decoded from the file, given as images, are tracked to the same bits."""
    Path("same").mkdir()
    for frame in video.VideoFrames(video.open_video(Path("a.mp4")))():
        Image.fromarray(frame.image).save(f"same/{frame.index:06d}.png")
    saved("a.mp4", *SOT)
    saved("same", *SOT[:-1], "same.txt")
    assert Path("out.txt").read_bytes() == Path("same.txt").read_bytes()
    assert own_clips.open_frames(Path("same")).fps == own_clips.open_frames(Path("a.mp4")).fps
