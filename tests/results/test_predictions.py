"""Predictions on disk: every bit comes back, the same labels make the same bytes, damage is one clear line."""

import subprocess
import sys
import tracemalloc
import zipfile
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from unibench.errors import OutputError
from unibench.geometry import masks
from unibench.records import Labels
from unibench.results import predictions, store
from unibench.results.predictions import FRAMES, Predictions, Writer
from unibench.results.store import ClipResult, UnitKey

KEY = UnitKey("dino", "c0ffee", "vos/davis2016", "unitrack", "layer3", "catch/ball_1.avi")
RESULT = ClipResult(KEY, 40, False, "f00d", "da7a", {"tp": 3.0})


def frame(rng: np.random.Generator, objects: int = 3) -> Labels:
    drawn = [rng.random((9, 7)) < share for share in rng.random(objects)]
    boxes = rng.normal(size=(objects, 4)) * 1e3
    if objects:
        boxes[0] = [np.nan, -0.0, np.inf, 5e-324]
    return Labels(
        ids=rng.integers(-(2**62), 2**62, objects),
        boxes=boxes,
        masks=tuple(map(masks.encode, drawn)),
        keypoints=rng.normal(size=(objects, 15, 3)),
        scores=rng.random(objects).astype(np.float32),
        classes=rng.integers(0, 3, objects),
    )


def clip(length: int) -> list[Labels]:
    rng = np.random.default_rng(length)
    kinds = (
        lambda: frame(rng),
        Labels,
        lambda: frame(rng, 0),
        lambda: replace(frame(rng), boxes=Labels().boxes),
    )
    return [kinds[index % len(kinds)]() for index in range(length)]


def write(path: Path, labels: list[Labels]) -> str:
    with closing(Writer()) as writer:
        for one in labels:
            writer.append(one)
        made = writer.finish()
        made.save(path)
        return made.checksum


def assert_equal(found: Labels, expected: Labels) -> None:
    for field in fields(Labels):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
        else:
            assert one == other


@pytest.mark.parametrize("length", [0, 1, FRAMES - 1, FRAMES, 2 * FRAMES + 5])
def test_every_bit_comes_back_in_any_order(length: int, tmp_path: Path) -> None:
    expected = clip(length)
    checksum = write(tmp_path / "a.zip", expected)
    with predictions.opened(tmp_path / "a.zip", checksum) as found:
        assert len(found) == length
        for index in [*range(length), *reversed(range(length)), *range(-length, 0)]:
            assert_equal(found[index], expected[index])
        for one, other in zip(found[::2], expected[::2], strict=True):
            assert_equal(one, other)
        for index in (length, -length - 1):
            with pytest.raises(IndexError, match=f"frame {index} of {length}"):
                found[index]


def test_the_same_labels_make_the_same_bytes_and_others_another_checksum(tmp_path: Path) -> None:
    labels = clip(70)
    sums = [write(tmp_path / name, labels) for name in ("a", "b")]
    assert sums[0] == sums[1]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    moved = replace(labels[68], boxes=np.nextafter(labels[68].boxes, np.inf))
    assert write(tmp_path / "c", [*labels[:68], moved, labels[69]]) != sums[0]


def test_any_tool_that_reads_zip_reads_it(tmp_path: Path) -> None:
    write(tmp_path / "a.zip", clip(70))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["000000.msgpack", "000001.msgpack", "000002.msgpack"]


@pytest.mark.parametrize("seed", range(60))
def test_damage_anywhere_is_one_clear_line(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    labels = clip(70)
    checksum = write(path, labels)
    rng = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    place = int(rng.integers(len(data)))
    if seed % 3 == 0:
        del data[place:]
    else:
        data[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    message = ""
    try:
        with predictions.opened(path, checksum) as found:  # a bit that says nothing: a time, a version
            for one, other in zip(found, labels, strict=True):
                assert_equal(one, other)
    except OutputError as error:
        message = str(error)
    assert message or seed % 3, "a file that was cut short was read"
    if message:
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        assert "give the run's command again" in message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([{"ids": ["|O", [1], b"12345678"]}]),
        msgspec.msgpack.encode([{"ids": ["<i8", [2], b"12345678"]}]),
        msgspec.msgpack.encode([{"ids": ["what", [1], b"12345678"]}]),
        msgspec.msgpack.encode([{"ids": ["<i8", [-1, -1], b"12345678"]}]),
        msgspec.msgpack.encode([{"names": []}]),
        msgspec.msgpack.encode({"ids": []}),
    ],
)
def test_a_sound_archive_of_something_else_is_damage(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"unibench labels 1"
        archive.writestr("000000.msgpack", data)
    with (
        pytest.raises(OutputError, match=r"^.*a\.zip: damaged predictions"),
        predictions.opened(path, "0" * 16),
    ):
        pass


def test_other_labels_than_the_results_are_refused(tmp_path: Path) -> None:
    checksum = write(tmp_path / "a.zip", clip(5))
    other = write(tmp_path / "a.zip", clip(6))
    with (
        pytest.raises(OutputError, match=f"checksum {other}, expected {checksum}"),
        predictions.opened(tmp_path / "a.zip", checksum),
    ):
        pass


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"gone\.zip: predictions cannot be read \(No such file"),
        predictions.opened(tmp_path / "gone.zip", "0" * 16),
    ):
        pass


def test_memory_does_not_grow_with_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "SPOOL", 2**16)
    labels = frame(np.random.default_rng(1), objects=20)

    def most(length: int) -> int:
        tracemalloc.start()
        with closing(Writer()) as writer:
            for _ in range(length):
                writer.append(labels)
            for _ in writer.finish():
                pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    short, long = most(4 * FRAMES), most(32 * FRAMES)
    assert long < 1.2 * short


def predicted(labels: list[Labels], writer: Writer) -> Predictions:
    for one in labels:
        writer.append(one)
    return writer.finish()


def test_a_result_replaces_the_predictions_of_the_one_before(tmp_path: Path) -> None:
    for length in (3, 4):
        with closing(Writer()) as writer:
            made = predicted(clip(length), writer)
            result = replace(RESULT, predictions=made.checksum)
            path = store.write_clip(tmp_path, result, made)
        folder = path.parent.parent / "predictions"
        assert [one.name for one in folder.iterdir()] == [f"catch%2Fball_1.avi.{made.checksum}.zip"]
        assert store.predictions_file(tmp_path, result).parent == folder
    assert store.predictions_size(tmp_path) == (1, next(folder.iterdir()).stat().st_size)
    store.write_clip(tmp_path, result)  # scored again: they stay
    assert len(list(folder.iterdir())) == 1
    store.write_clip(tmp_path, RESULT)  # run again with --no-predictions
    assert not list(folder.iterdir())


def test_a_kill_between_predictions_and_score_leaves_the_result_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_one(length: int) -> ClipResult:
        with closing(Writer()) as writer:
            made = predicted(clip(length), writer)
            result = replace(RESULT, predictions=made.checksum)
            store.write_clip(tmp_path, result, made)
            return result

    def killed(path: Path, data: bytes) -> Path:
        raise KeyboardInterrupt

    first = write_one(3)
    with monkeypatch.context() as patch:
        patch.setattr(store, "replace_file", killed)
        with pytest.raises(KeyboardInterrupt):
            write_one(4)
    stored = store.read_clip(tmp_path, KEY)
    assert stored is not None
    assert stored.predictions == first.predictions
    with predictions.opened(store.predictions_file(tmp_path, stored), stored.predictions) as found:
        assert len(found) == 3
    last = write_one(4)
    assert [one.name for one in store.predictions_file(tmp_path, last).parent.iterdir()] == [
        f"catch%2Fball_1.avi.{last.predictions}.zip"
    ]


def test_predictions_of_a_clip_whose_name_begins_like_another_stay(tmp_path: Path) -> None:
    for name in ("a", "a.0123456789abcdef", "[ab]", "a"):
        with closing(Writer()) as writer:
            made = predicted(clip(3), writer)
            key = replace(KEY, clip=name)
            store.write_clip(tmp_path, replace(RESULT, key=key, predictions=made.checksum), made)
    assert store.predictions_size(tmp_path)[0] == 3


def test_reading_loads_no_torch() -> None:
    code = "import sys, unibench.results.predictions, unibench.evaluation.score_again; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
