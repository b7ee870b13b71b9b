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


def test_truth_in_which_nobody_is_scored(tmp_path):
    layouts.mot_clip(tmp_path / "train" / "A", "1,1,2,3,4,8,0,1,1\n")
    truth = motchallenge.load(tmp_path, "A")[1]
    assert [len(labels.ids) for labels in truth.labels] == [0, 0, 0]
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
    layouts.text(folder / "seqinfo.ini", "[Sequence]\nframeRate=fast\nseqLength=3\n")
    with pytest.raises(DataError, match=r"seqinfo\.ini: cannot be understood"):
        motchallenge.load(tmp_path, "A")
    layouts.text(folder / "seqinfo.ini", "frameRate=14\n")
    with pytest.raises(DataError, match=r"seqinfo\.ini: cannot be understood") as caught:
        motchallenge.load(tmp_path, "A")
    assert "\n" not in str(caught.value)
    layouts.text(folder / "seqinfo.ini", "[Sequence]\nimDir=../../B\nframeRate=14\nseqLength=3\n")
    with pytest.raises(DataError, match=r"'\.\./\.\./B' leads out of this folder"):
        motchallenge.load(tmp_path, "A")
    (folder / "seqinfo.ini").unlink()
    with pytest.raises(DataError, match=r"seqinfo\.ini: no such file"):
        motchallenge.load(tmp_path, "A")
    (folder / "gt" / "gt.txt").unlink()
    with pytest.raises(DataError, match=r"no clips, expected <clip>/gt/gt\.txt"):
        motchallenge.names(tmp_path)


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
