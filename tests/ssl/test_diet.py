"""What the zoo learns from: free photographs, checked, and nothing that a benchmark shows."""

import hashlib
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unibench.datasets.synthetic import benchmark, shapes
from unibench.datasets.synthetic.levels import DIFFICULTIES
from unibench.errors import DataError
from unibench.models.download import sha256
from unibench.ssl import diet as diets
from unibench.ssl import photographs
from unibench.ssl.photographs import Photograph

ROWS = [*photographs.manifest("train"), *photographs.manifest("probe")]
FREE = {"CC0-1.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "GPL-2+", "LGPL-3.0"}
PLAN = shapes.scene("ssl/test", 2)


def test_every_photograph_is_free_and_stands_in_one_split() -> None:
    assert len({one.sha256 for one in ROWS}) == len(ROWS) == 36
    assert {one.licence for one in ROWS} <= FREE
    for one in ROWS:
        assert re.fullmatch("[0-9a-f]{64}", one.sha256)
        assert one.author
        assert one.file.startswith("/usr/share/")


def test_no_photograph_of_scikit_image_is_among_them() -> None:
    """The benchmarks' photographs come from there."""
    files = [Path(str(one)) for one in resources.files("skimage.data").iterdir()]
    known = {sha256(one) for one in files if one.suffix in (".png", ".jpg", ".tif", ".gif")}
    assert len(known) > 20
    assert not known & {one.sha256 for one in ROWS}


def test_no_clip_of_a_benchmark_is_rendered_for_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "read", lambda one, side: np.zeros((512, 512, 3), np.uint8))
    train, probe = (diets.prepare(split, windows=1, clips=3) for split in ("train", "probe"))
    seeds = [{one.word for one in diet.clips} for diet in (train, probe)]
    seeds.append({f"{shapes.TASK}/{name}" for name in shapes.NAMES})
    seeds.append({
        benchmark.scene(subject, level, f"{subject}-{number}").seed
        for subject in benchmark._SUBJECTS
        for level in DIFFICULTIES
        for number in range(1, benchmark.CLIPS + 1)
    })  # fmt: skip
    assert sum(map(len, seeds)) == len(set.union(*seeds))
    shown = {_hash(image) for diet in (train, probe) for clip in diet.clips for image in clip.frames}
    for name in shapes.NAMES:
        clip, _ = shapes.clip(f"{shapes.TASK}/{name}", 12)
        assert not shown & {_hash(frame.image) for frame in clip.frames()}


def _hash(image: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def test_a_diet_is_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 600, 3), dtype=np.uint8)
    monkeypatch.setattr(photographs, "read", lambda one, side: noise)
    one, again = (diets.prepare(windows=8, clips=2) for _ in range(2))
    assert np.array_equal(one.windows, again.windows)
    assert len(np.unique(one.windows, axis=0)) == 8
    assert np.array_equal(one.clips[1].frames, again.clips[1].frames)
    assert not np.array_equal(one.clips[0].frames, one.clips[1].frames)


def test_a_rendered_shape_lies_in_the_middle_of_its_window_with_its_class() -> None:
    clip = diets.RenderedClip(
        "x", np.zeros((1, 128, 128, 3), np.uint8), (np.array([[0.0, 40, 40, 80]]),), (np.array([5]),)
    )
    clip.frames[0, 40:80, 0:40] = 255
    image, label = diets.shape(
        diets.Diet(np.zeros((1, 96, 96, 3), np.uint8), (clip,)), np.random.default_rng(0)
    )
    assert label == 5
    grey = np.asarray(image)[..., 0]
    side = round(96 / diets.MARGIN)
    assert abs(int((grey > 127).sum()) - side**2) < 4 * side
    assert grey[48, 48] == 255
    assert grey[2, 2] == 0


def test_a_walk_sees_frames_of_one_clip_in_order() -> None:
    frames = np.arange(12, dtype=np.uint8)[:, None, None, None].repeat(128, 1).repeat(128, 2).repeat(3, 3)
    clip = diets.RenderedClip("x", frames, (), ())
    diet = diets.Diet(np.zeros((1, 96, 96, 3), np.uint8), (clip,))
    for seed in range(20):
        steps = np.diff(diets.clip(diet, np.random.default_rng(seed), 4)[:, 0, 0, 0].astype(int))
        assert len(set(steps)) == 1
        assert abs(steps[0]) in (1, 2)


def _photograph(path: Path) -> Photograph:
    return replace(ROWS[0], file=str(path), sha256=sha256(path) if path.is_file() else "0" * 64)


def test_a_photograph_is_scaled_by_its_shorter_side(tmp_path: Path) -> None:
    path = tmp_path / "one.jpg"
    Image.new("RGB", (60, 40), (255, 0, 0)).save(path)
    image = photographs.read(_photograph(path), 20)
    assert image.shape == (20, 30, 3)
    assert image[10, 10].tolist() == pytest.approx([254, 0, 0], abs=2)


def test_an_absent_photograph_names_the_packages(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file, .*apt-get install .*mate-backgrounds"):
        photographs.read(_photograph(tmp_path / "none.jpg"), 20)


def test_another_file_of_the_same_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.jpg"
    Image.new("RGB", (60, 40)).save(path)
    with pytest.raises(DataError, match=r"sha256 .*expected bd86b081f997.* install that version"):
        photographs.read(replace(ROWS[0], file=str(path)), 20)
