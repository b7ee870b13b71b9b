import pytest

from tests.datasets import layouts
from unibench.datasets import got10k, lasot
from unibench.errors import DataError

BOXES = "1,2,5,6\n2,2,5,6\n3,2,5,6\n"


@pytest.fixture
def airplane(tmp_path):
    folder = tmp_path / "airplane" / "airplane-1"
    layouts.images(folder / "img", range(1, 4), digits=8, suffix=".jpg")
    layouts.text(folder / "groundtruth.txt", BOXES)
    layouts.text(folder / "full_occlusion.txt", "0,1,0\n")
    layouts.text(folder / "out_of_view.txt", "0,0,0")
    return folder


def test_lasot(airplane, tmp_path):
    assert lasot.names(tmp_path) == ["airplane-1"]
    clip, truth = lasot.load(tmp_path, "airplane-1")
    assert (clip.length, truth.scored) == (3, (0, 2))
    assert truth.labels[2].boxes.tolist() == [[2, 1, 7, 7]]
    layouts.text(tmp_path / "testing_set.txt", "bear-2\n")
    assert lasot.names(tmp_path) == ["bear-2"]


def test_lasot_errors(airplane, tmp_path):
    layouts.text(airplane / "out_of_view.txt", "0,0")
    with pytest.raises(DataError, match=r"out_of_view\.txt: 2 flags, expected 3 times 0 or 1"):
        lasot.load(tmp_path, "airplane-1")
    layouts.text(airplane / "groundtruth.txt", BOXES * 2)
    with pytest.raises(DataError, match="6 boxes for 3 frames"):
        lasot.load(tmp_path, "airplane-1")


def test_got10k(tmp_path):
    folder = tmp_path / "val" / "GOT-10k_Val_000001"
    layouts.images(folder, range(1, 4), digits=8, suffix=".jpg")
    layouts.text(folder / "groundtruth.txt", BOXES)
    layouts.text(folder / "absence.label", "0\n0\n1\n")
    assert got10k.names(tmp_path) == ["GOT-10k_Val_000001"]
    clip, truth = got10k.load(tmp_path, "GOT-10k_Val_000001")
    assert (clip.length, clip.fps, truth.scored) == (3, 10.0, (0, 1))
    assert truth.size == (clip.height, clip.width)
    layouts.text(folder / "cover.label", "8\n0\n3\n")
    assert got10k.load(tmp_path, "GOT-10k_Val_000001")[1].scored == (0, 2)
    layouts.text(folder / "cover.label", "8\n0\n")
    with pytest.raises(DataError, match=r"cover\.label: 2 values for 3 frames"):
        got10k.load(tmp_path, "GOT-10k_Val_000001")
    layouts.text(tmp_path / "val" / "list.txt", "GOT-10k_Val_000002\n")
    assert got10k.names(tmp_path) == ["GOT-10k_Val_000002"]
    layouts.text(folder / "groundtruth.txt", BOXES * 2)
    with pytest.raises(DataError, match="6 boxes for 3 frames"):
        got10k.load(tmp_path, "GOT-10k_Val_000001")
