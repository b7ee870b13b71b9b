"""TAP-Vid's pickles: read as data whatever their protocol, and refused in one line where they are anything else."""

import io
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unibench.datasets import BENCHMARKS, pickled
from unibench.errors import DataError

FRAMES, HEIGHT, WIDTH = 6, 24, 32


def video() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.repeat(np.repeat(rng.integers(0, 255, (FRAMES, 3, 4, 3), dtype=np.uint8), 8, 1), 8, 2)


def jpegs(frames: np.ndarray) -> list[bytes]:
    found = []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=95, subsampling=0)
        found.append(file.getvalue())
    return found


def clip(**changes: object) -> dict[str, object]:
    points = np.linspace(0.1, 0.9, 3 * FRAMES * 2, dtype=np.float32).reshape(3, FRAMES, 2)
    occluded = np.zeros((3, FRAMES), dtype=bool)
    occluded[1, :2] = occluded[2] = True
    return {"video": video(), "points": points, "occluded": occluded} | changes


def write(root: Path, content: object, protocol: int = 4, name: str = "tapvid_davis.pkl") -> Path:
    root.mkdir(exist_ok=True)
    file = root / name
    file.write_bytes(pickle.dumps(content, protocol=protocol))
    return file


def load(root: Path, name: str = "dog", task: str = "points/tapvid-davis"):
    return BENCHMARKS[task].load(root, name)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_clip_of_davis_is_what_was_pickled(protocol, tmp_path):
    write(tmp_path, {"dog": clip(), "cat": clip()}, protocol)
    assert BENCHMARKS["points/tapvid-davis"].names(tmp_path) == ["dog", "cat"]
    found, truth = load(tmp_path)
    assert (found.length, found.height, found.width) == (FRAMES, HEIGHT, WIDTH)
    frames = list(found.frames())
    np.testing.assert_array_equal([one.image for one in frames], video())
    assert [one.prompt.ids.tolist() for one in frames[:3]] == [[1], [], [2]]  # the third is never seen
    assert truth.size == (HEIGHT, WIDTH)
    expected = clip()["points"][1, 2] * (WIDTH, HEIGHT) - 0.5  # the middle of the first pixel is 0
    np.testing.assert_allclose(frames[2].prompt.keypoints[0, 0], [*expected, 1.0], atol=1e-6)
    assert [one.keypoints[1, 0, 2] for one in truth.labels] == [0, 0, 1, 1, 1, 1]


def test_shards_of_kinetics_hold_jpegs(tmp_path):
    for shard in range(2):
        write(tmp_path, [clip(video=jpegs(video()))] * (shard + 1), name=f"{shard:04d}_of_0002.pkl")
    row = BENCHMARKS["points/tapvid-kinetics"]
    names = row.names(tmp_path)
    assert names == ["0000_of_0002-0000", "0001_of_0002-0000", "0001_of_0002-0001"]
    found, _ = row.load(tmp_path, names[-1])
    images = np.array([frame.image for frame in found.frames()]).astype(int)
    assert images.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert np.abs(images - video()).mean() < 4


def test_rgb_stacking_is_a_list(tmp_path):
    write(tmp_path, [clip(), clip()], name="tapvid_rgb_stacking.pkl")
    row = BENCHMARKS["points/tapvid-rgb-stacking"]
    assert row.names(tmp_path) == ["tapvid_rgb_stacking-0000", "tapvid_rgb_stacking-0001"]
    assert row.load(tmp_path, "tapvid_rgb_stacking-0001")[0].length == FRAMES


def test_arrays_are_views_of_the_file(tmp_path):
    content = {
        "a": np.arange(12.0).reshape(3, 4),
        "b": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "c": b"bytes",
        "d": [1, -2, 2**40, 0.5, None, True, ("x", ())],
        "e": np.float32(0.25),
        "f": np.arange(3, dtype=">i4"),
    }
    for protocol in (2, 3, 4, 5):
        found = pickled.read(write(tmp_path, content, protocol))
        for name in "abf":
            np.testing.assert_array_equal(found[name], content[name])
        assert bytes(found["c"]) == b"bytes"
        assert found["d"] == content["d"]
        assert found["e"] == 0.25
        if protocol > 2:  # older ones keep bytes as text
            assert not found["a"].flags.writeable
            assert not found["a"].flags.owndata


class Harmful:
    """Runs a command where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch harmed",)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"dog": Harmful()}, "posix.system"),
        ({"dog": clip(video=Path("x"))}, "pathlib"),
        ({"dog": np.array([object()], dtype=object)}, "builtins.object"),
        ({"dog": {1, 2}}, "EMPTY_SET"),
        ({"dog": 1 + 2j}, "builtins.complex"),
    ],
    ids=["command", "path", "object", "set", "complex"],
)
def test_what_is_no_data_is_refused_and_nothing_is_run(content, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, content)
    with pytest.raises(
        DataError, match=rf"tapvid_davis\.pkl: a pickle that asks for .*{re.escape(name)}.*; expected dicts"
    ):
        load(tmp_path)
    assert not (tmp_path / "harmed").exists()


def _points(**changes: object) -> np.ndarray:
    points = clip()["points"].copy()
    points[0, 1] = changes.get("place", points[0, 1])
    return points


WRONG = [
    ({"points": _points(place=(np.nan, 0.5))}, "point 0 of frame 1 is visible and not finite; mark it as occluded"),
    ({"points": _points(place=(0.5, 1.2))}, r"point 0 of frame 1 is visible at \[0\.5, 1\.2\d*\]; expected x and y"),
    ({"points": np.zeros((3, FRAMES, 3))}, r"points of shape \(3, 6, 3\) and type float64; expected \(point, frame"),
    ({"points": np.zeros((3, 5, 2)), "occluded": np.zeros((3, 5), bool)}, "points of 5 frames, expected 6; give every"),
    ({"points": np.zeros((0, FRAMES, 2)), "occluded": np.zeros((0, FRAMES), bool)}, r"points of shape \(0, 6, 2\)"),
    ({"occluded": np.zeros((3, 5), bool)}, r"occluded of shape \(3, 5\) and type bool for points of shape \(3, 6, 2\)"),
    ({"occluded": np.ones((3, FRAMES), bool)}, "no point is visible in any frame; expected one point or more"),
    ({"video": video()[:0]}, r"a video of shape \(0, 24, 32, 3\) and type uint8; expected \(frame, height, width, 3\)"),
    ({"video": video().astype(float)}, "a video of shape .* and type float64"),
    ({"video": []}, "no frames; expected an array .* or a list of JPEGs"),
    ({"video": [b"no jpeg"] * FRAMES}, "frame 0: not a whole image"),
    ({"video": ["text"] * FRAMES}, "frame 0 is a str; expected the bytes of a JPEG"),
    ({"points": [[1, 2]]}, "points or occluded are no arrays"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_a_wrong_clip_is_refused_in_one_line(changes, message, tmp_path):
    write(tmp_path, {"dog": clip(**changes)})
    with pytest.raises(DataError, match=f"tapvid_davis.pkl: clip 'dog'.*{message}") as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


def test_what_is_said_of_an_occluded_point_is_of_no_matter(tmp_path):
    points = clip()["points"].copy()
    points[2] = np.nan
    points[1, :2] = -1e30
    write(tmp_path, {"dog": clip(points=points)})
    assert np.isfinite([one.keypoints for one in load(tmp_path)[1].labels]).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"dog": {"video": video()}}, r"clip 'dog': holds \['video'\]; expected video, points, occluded"),
        ({"dog": 3}, "clip 'dog': holds int; expected video, points, occluded"),
        ({1: clip()}, "a dict; expected a dict of clips by name, or a list of clips"),
        (4, "a int; expected a dict of clips by name, or a list of clips"),
        ({"cat": clip()}, "no clip 'dog' in tapvid_davis.pkl"),
    ],
)
def test_another_pickle_is_refused_in_one_line(content, message, tmp_path):
    write(tmp_path, content)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_a_damaged_file_is_refused_in_one_line(tmp_path):
    whole = write(tmp_path, {"dog": clip()}).read_bytes()
    chance = np.random.default_rng(4)
    refused = []
    for _ in range(300):
        spoilt = bytearray(whole)
        if chance.random() < 0.3:
            del spoilt[int(chance.integers(len(spoilt))) :]
        for _ in range(int(chance.integers(1, 4))):
            edge = 400 if chance.random() < 0.7 else len(spoilt)  # most instructions stand before the pixels
            if spoilt:
                spoilt[int(chance.integers(min(edge, len(spoilt))))] = int(chance.integers(256))
        (tmp_path / "tapvid_davis.pkl").write_bytes(spoilt)
        try:
            list(load(tmp_path)[0].frames())
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 100
    assert not [one for one in refused if "\n" in one or "\r" in one]


def test_a_list_that_holds_itself_is_refused(tmp_path):
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(DataError, match=r"a damaged pickle \(ValueError: a container that holds itself\)"):
        pickled.read(write(tmp_path, loop))


def test_no_file_and_no_folder(tmp_path):
    with pytest.raises(DataError, match=r"no clips, expected tapvid_davis\.pkl"):
        BENCHMARKS["points/tapvid-davis"].names(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        pickled.read(tmp_path / "none.pkl")
    (tmp_path / "empty.pkl").touch()
    with pytest.raises(DataError, match="cannot be read"):
        pickled.read(tmp_path / "empty.pkl")
