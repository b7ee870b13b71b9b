import numpy as np
import pytest

from tests.datasets import layouts
from unibench.datasets import motchallenge
from unibench.errors import DataError
from unibench.records import BYSTANDER, EXCUSED

GT_15 = "2,5,10,4,6,8,1,-1,-1,-1\n1,5,9,4,6,8,1,-1,-1,-1\n1,3,2,2,4,8,0,-1,-1,-1\n"
GT_16 = "1,1,2,3,4,8,1,1,1.0\n1,2,9,3,4,8,0,1,1\n1,3,2,3,4,8,0,8,1\n2,4,2,3,4,8,1,3,.5\n2,1,3,3,4,8,1,1,.5\n"
DET = "2,-1,1.5,2,3,4,0.25,-1,-1,-1\n1,-1,5,5,3,4,0.5,-1,-1,-1\n2,-1,8,2,3,4,0.75,-1,-1,-1\n"


def test_mot15_drops_rows_marked_0(tmp_path):
    layouts.mot_clip(tmp_path / "train" / "TUD", GT_15, DET)
    assert motchallenge.names(tmp_path) == ["TUD"]
    clip, truth = motchallenge.load_mot15(tmp_path, "TUD")
    assert (clip.length, clip.fps, truth.ignored, truth.scored) == (3, 14.0, (), None)
    assert [labels.ids.tolist() for labels in truth.labels] == [[5], [5], []]
    assert truth.labels[0].boxes.tolist() == [[9, 4, 15, 12]]
    frames = list(clip.frames())
    assert frames[1].detections.boxes.tolist() == [[1.5, 2, 4.5, 6], [8, 2, 11, 6]]
    assert frames[1].detections.scores.tolist() == [0.25, 0.75]
    assert not len(frames[2].detections.scores)
    assert all(not len(frame.prompt.ids) for frame in frames)


def test_mot16_splits_scored_excused_and_bystanders(tmp_path):
    layouts.mot_clip(tmp_path / "train" / "MOT16-02", GT_16)
    clip, truth = motchallenge.load(tmp_path, "MOT16-02")
    assert [labels.ids.tolist() for labels in truth.labels] == [[1], [1], []]
    assert [labels.classes.tolist() for labels in truth.ignored] == [[BYSTANDER, EXCUSED], [BYSTANDER], []]
    assert truth.ignored[0].boxes.tolist() == [[9, 3, 13, 11], [2, 3, 6, 11]]
    assert clip.frames.detections is None


def test_only_mot20_excuses_vehicles(tmp_path):
    layouts.mot_clip(tmp_path / "train" / "A", "1,1,2,3,4,8,1,1,1\n1,2,2,3,4,8,0,6,1\n")
    assert motchallenge.load(tmp_path, "A")[1].ignored[0].classes.tolist() == [BYSTANDER]
    assert motchallenge.load_mot20(tmp_path, "A")[1].ignored[0].classes.tolist() == [EXCUSED]


def test_validation_split(tmp_path):
    layouts.mot_clip(tmp_path / "val" / "dancetrack0004", "1,1,2,3,4,8,1,1,1\n")
    assert motchallenge.names_val(tmp_path) == ["dancetrack0004"]
    assert motchallenge.load_val(tmp_path, "dancetrack0004")[0].length == 3


@pytest.mark.parametrize(
    "row", ["1,1,2,3,4,8,0,1,1", "1,1,2,3,4,8,1,2,1", "1,1,2,3,4,0,1,1,1", "1,1,2,3,0,4,1,1,1"]
)
def test_truth_in_which_nothing_can_be_scored_is_refused(row, tmp_path):
    layouts.mot_clip(tmp_path / "train" / "A", f"{row}\n")
    with pytest.raises(DataError, match=r"gt\.txt: no box to be scored, expected at least one of some size"):
        motchallenge.load(tmp_path, "A")


def test_what_is_not_considered_is_a_bystander(tmp_path):
    layouts.mot_clip(tmp_path / "train" / "A", "1,1,2,3,4,8,0,1,1\n2,1,2,3,4,8,1,1,1\n")
    truth = motchallenge.load(tmp_path, "A")[1]
    assert [len(labels.ids) for labels in truth.labels] == [0, 1, 0]
    assert truth.ignored[0].classes.tolist() == [BYSTANDER]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,-1,nan,2,3,4,.5", r"det\.txt:2: a value that is not finite in '1,-1,nan"),
        ("1,-1,1,2,inf,4,.5", r"det\.txt:2: a value that is not finite"),
        ("1,-1,1,2,-3,4,.5", r"det\.txt:2: a negative width or height"),
        ("1,-1,1,2,3,tall,.5", r"det\.txt:2: not a number"),
        ("1,-1,1,2,3", r"det\.txt:2: 5 columns, expected 7 to 10"),
        ("4,-1,1,2,3,4,.5", r"det\.txt:2: no such frame in '4,.*; the clip has frames 1 to 3"),
        ("1.5,-1,1,2,3,4,.5", r"det\.txt:2: no such frame"),
    ],
)
def test_malformed_detections(row, message, tmp_path):
    layouts.mot_clip(tmp_path / "train" / "A", GT_16, f"1,-1,1,2,3,4,.5\n{row}\n")
    with pytest.raises(DataError, match=message) as caught:
        motchallenge.load(tmp_path, "A")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("gt", "message"),
    [
        ("1,1,2,3,4,8,1\n", r"gt\.txt:1: 7 columns, expected 8 to 10"),
        ("", r"gt\.txt: an empty annotation"),
        ("1,1,2,3,4,8,1,1,1\n1,1,9,3,4,8,1,1,1\n", r"gt\.txt:2: an id that stands twice"),
        ("1,1.5,2,3,4,8,1,1,1\n", r"gt\.txt:1: an id that is not an integer"),
    ],
)
def test_malformed_truth(gt, message, tmp_path):
    layouts.mot_clip(tmp_path / "train" / "A", gt)
    with pytest.raises(DataError, match=message):
        motchallenge.load(tmp_path, "A")


def test_missing_parts(tmp_path):
    folder = layouts.mot_clip(tmp_path / "train" / "A", GT_16)
    layouts.text(folder / "seqinfo.ini", "[Sequence]\nframeRate=14\nseqLength=4\n")
    with pytest.raises(DataError, match=r"img1: 3 images, expected 4 \(seqLength in"):
        motchallenge.load(tmp_path, "A")
    layouts.text(folder / "seqinfo.ini", "[Sequence]\nimDir=../../B\nframeRate=14\nseqLength=3\n")
    with pytest.raises(DataError, match=r"'\.\./\.\./B' leads out of this folder"):
        motchallenge.load(tmp_path, "A")
    (folder / "seqinfo.ini").unlink()
    with pytest.raises(
        DataError, match=r"seqinfo\.ini: no such file, and no published frame rate .*frameRate"
    ):
        motchallenge.load(tmp_path, "A")
    (folder / "gt" / "gt.txt").unlink()
    with pytest.raises(DataError, match=r"no clips, expected <clip>/gt/gt\.txt"):
        motchallenge.names(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("[Sequence]\nframeRate=fast", r"ini: frameRate: not a number in 'fast'"),
        ("[Sequence]\nframeRate=1_0", r"ini: frameRate: not a number in '1_0'"),
        ("[Sequence]\nframeRate=0", r"ini: frameRate is 0, expected more than 0 and at most 1000"),
        ("[Sequence]\nframeRate=-1", "frameRate is -1, expected more than 0"),
        ("[Sequence]\nframeRate=nan", "frameRate is nan, expected more than 0"),
        ("[Sequence]\nframeRate=inf", "frameRate is inf, expected more than 0"),
        ("[Sequence]\nframeRate=1e308", r"frameRate is 1e\+308, expected more than 0"),
        ("[Sequence]\nframeRate=25\nseqLength=3.0", "seqLength: found '3.0', expected an integer"),
        ("[Sequence]\nframeRate=25\nframerate=30", "ini:3: framerate stands twice"),
        ("[Sequence]\nname", "ini:2: found 'name', expected key=value"),
        (
            "[Sequence]\nname=A\nseqLength=3",
            r"ini: no frameRate; write the lines \[Sequence\] and frameRate=25",
        ),
        ("[Other]\nframeRate=25", "ini: no frameRate"),
        ("frameRate=14", r"ini: no section \[Sequence\]"),
        ("", r"ini: no section \[Sequence\]"),
    ],
)
def test_what_seqinfo_may_not_say(lines, message, tmp_path):
    folder = layouts.mot_clip(tmp_path / "train" / "A", GT_16)
    layouts.text(folder / "seqinfo.ini", lines)
    with pytest.raises(DataError, match=message) as caught:
        motchallenge.load(tmp_path, "A")
    assert "\n" not in str(caught.value)


def test_mot15_as_first_released_has_no_seqinfo(tmp_path):
    folder = layouts.mot_clip(tmp_path / "train" / "ADL-Rundle-6", "1,1,2,3,4,8,1,-1,-1,-1\n")
    (folder / "seqinfo.ini").unlink()
    clip, _ = motchallenge.load_mot15(tmp_path, "ADL-Rundle-6")
    assert (clip.length, clip.fps) == (3, 30.0)
    layouts.text(folder / "seqinfo.ini", "[Sequence]\nname=ADL-Rundle-6\n")
    assert motchallenge.load_mot15(tmp_path, "ADL-Rundle-6")[0].fps == 30.0
    layouts.text(folder / "seqinfo.ini", "[Sequence]\n; a comment\nFRAMERATE = 12.5\n")
    assert motchallenge.load_mot15(tmp_path, "ADL-Rundle-6")[0].fps == 12.5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,9007199254740993,2,3,4,8,1,1,1", "an id that is not an integer below 2.53"),
        ("1,1.5,2,3,4,8,1,1,1", "an id that is not an integer"),
        ("1,1e30,2,3,4,8,1,1,1", "an id that is not an integer"),
        ("1,1,2,3,4,8,1,1e30,1", "a class that is not an integer"),
        ("1,1,2,3,4,8,1,1.5,1", "a class that is not an integer"),
        ("1,1,1e308,3,1e308,8,1,1,1", "more than 1e.06 pixels"),
        ("1,1,2,3,1e9,8,1,1,1", "more than 1e.06 pixels"),
        ("1,1_0,2,3,4,8,1,1,1", "not a number in '1,1_0"),
        ("1,infinity,2,3,4,8,1,1,1", "not a number in '1,infinity"),
        ("1,\u0661,2,3,4,8,1,1,1", "not a number in"),
        ("1,0x1,2,3,4,8,1,1,1", "not a number in"),
    ],
)
def test_numbers_that_only_python_or_no_one_knows(row, message, tmp_path):
    layouts.mot_clip(tmp_path / "train" / "A", f"{GT_16.strip()}\n{row}\n")
    with pytest.raises(DataError, match=rf"gt\.txt:[0-9]+: {message}"):
        motchallenge.load(tmp_path, "A")


@pytest.mark.parametrize(("name", "length", "boxes"), [("PETS09-S2L1", 120, 648), ("TUD-Campus", 71, 359)])
def test_real_mot15(name, length, boxes, shared_data):
    clip, truth = motchallenge.load_mot15(shared_data / "MOT15", name)
    assert (clip.length, sum(len(labels.ids) for labels in truth.labels)) == (length, boxes)
    everything = np.concatenate([labels.boxes for labels in truth.labels])
    centres = (everything[:, :2] + everything[:, 2:]) / 2
    inside = ((centres >= 0) & (centres < [clip.width, clip.height])).all(axis=1)
    assert inside.mean() > 0.95
    assert next(clip.frames()).image.shape == (clip.height, clip.width, 3)


def test_real_mot17(shared_data):
    root = shared_data / "MOT17-mini"
    clips = {name: motchallenge.load(root, name) for name in motchallenge.names(root)}
    assert {name: clip.length for name, (clip, _) in clips.items()} == {
        "MOT17-02-FRCNN": 4,
        "MOT17-05-FRCNN": 6,
        "MOT17-09-FRCNN": 4,
    }
    for name, (_, truth) in clips.items():
        rows = [line.split(",") for line in (root / "train" / name / "gt" / "gt.txt").read_text().split()]
        scored = sum(row[7] == "1" and row[6] == "1" for row in rows)
        assert sum(len(labels.ids) for labels in truth.labels) == scored
        assert sum(len(labels.boxes) for labels in truth.ignored) == len(rows) - scored
