"""The synthetic benchmark: the same bytes every time, exact truth, harder from level to level, lazy."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unibench.datasets.synthetic import benchmark as rendered
from unibench.datasets.synthetic import paint, photos
from unibench.datasets.synthetic.benchmark import benchmarks, scene
from unibench.datasets.synthetic.figure import JOINTS, walk_cycle
from unibench.datasets.synthetic.levels import DIFFICULTIES
from unibench.datasets.synthetic.photos import Window
from unibench.datasets.synthetic.scene import HEIGHT, WIDTH
from unibench.errors import DataError, UnknownNameError
from unibench.geometry import masks as rle
from unibench.geometry.boxes import iou
from unibench.records import Clip, Truth
from unibench.stats.bootstrap import FEWEST_CLIPS

ROOT = Path()
TASKS = ("sot", "vos", "mot", "mots", "posetrack", "pose", "points")
LEVELS = ("synthetic-easy", "synthetic", "synthetic-hard")
KEYS = [f"{task}/{level}" for task in TASKS for level in LEVELS]


def load(key: str, number: int = 0) -> tuple[Clip, Truth]:
    row = benchmarks()[key]
    return row.load(ROOT, row.names(ROOT)[number])


def digest(clip: Clip, frames: int) -> str:
    total = hashlib.sha256()
    for _, frame in zip(range(frames), clip.frames(), strict=False):
        total.update(frame.image.tobytes())
        for given in (frame.prompt, frame.detections):
            total.update(given.boxes.tobytes() + given.keypoints.tobytes() + given.scores.tobytes())
            total.update(b"".join(mask["counts"] for mask in given.masks))
    return total.hexdigest()


def test_a_fresh_process_has_as_many_clips_as_an_interval_needs():
    code = (
        "from unibench.datasets.synthetic.benchmark import benchmarks;"
        "print(len(benchmarks()['mot/synthetic'].names(None)))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(told.stdout) == FEWEST_CLIPS


def test_every_task_at_every_level():
    assert sorted(benchmarks()) == sorted(KEYS)
    for key, row in benchmarks().items():
        assert row.task == key
        assert row.folder == ""
        assert len(row.names(ROOT)) == FEWEST_CLIPS


@pytest.mark.parametrize("key", KEYS)
def test_truth_fits_the_task(key):
    clip, truth = load(key)
    task = key.partition("/")[0]
    assert len(truth.labels) == clip.length
    assert len(truth.ignored) == (0 if task in ("sot", "vos", "pose", "points") else clip.length)
    assert len(truth.scales) == (clip.length if task == "posetrack" else 0)
    for labels in truth.labels:
        count = len(labels.ids)
        assert len(set(labels.ids.tolist())) == count
        assert len(labels.boxes) == (count if task in ("sot", "mot") else 0)
        assert len(labels.masks) == (count if task in ("vos", "mots") else 0)
        joints = {"posetrack": 15, "pose": 15, "points": 1}.get(task)
        assert labels.keypoints.shape[:2] == ((count, joints) if joints else (0, 0))
        assert len(labels.classes) == (count if task in ("mot", "mots") else 0)
        assert clip.vocabulary == (("person",) if task in ("mot", "mots", "posetrack") else ())


@pytest.mark.parametrize("key", ["mots/synthetic", "sot/synthetic-hard", "posetrack/synthetic-easy"])
def test_same_name_same_bytes(key):
    first, second = load(key)[0], load(key)[0]
    assert digest(first, 4) == digest(first, 4) == digest(second, 4)
    assert digest(first, 4) != digest(load(key, 1)[0], 4)


def test_another_process_gives_the_same_bytes():
    code = (
        "from tests.datasets.synthetic.test_benchmark import digest, load;"
        "print(digest(load('mot/synthetic')[0], 3), end='')"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout == digest(load("mot/synthetic")[0], 3)


def test_a_frame_does_not_depend_on_those_before():
    plan = scene("crowd", "synthetic", "crowd-1")
    short = replace(plan, length=2)
    for whole, part in zip(paint.images(plan), paint.images(short), strict=False):
        np.testing.assert_array_equal(whole, part)


def test_images_show_what_the_truth_says():
    """Painting the actors changes the pixels of their silhouettes and no others."""
    plan = scene("crowd", "synthetic-easy", "crowd-1")
    clip, _ = load("mot/synthetic-easy")
    bare = paint.images(type(plan)(plan.seed, plan.length, plan.background, plan.camera, (), plan.difficulty))
    painted = np.zeros((clip.height, clip.width), dtype=np.int64)
    for actor in plan.actors:
        paint.silhouette(actor, 0).claim(painted, 1)
    change = np.abs(next(clip.frames()).image.astype(int) - next(bare).astype(int)).max(axis=-1) > 12
    assert change[painted > 0].mean() > 0.8
    assert change[painted == 0].mean() < 0.02  # soft edges only


@pytest.mark.parametrize("level", LEVELS)
def test_masks_are_disjoint_and_boxes_tight_around_them(level):
    (_, masks), (_, boxes), (_, poses) = (load(f"{task}/{level}") for task in ("mots", "mot", "posetrack"))
    for frame, labels in enumerate(masks.labels):
        decoded = [rle.decode(mask) for mask in (*labels.masks, *masks.ignored[frame].masks)]
        assert np.sum(decoded, axis=0).max() <= 1
        same = boxes.labels[frame]
        np.testing.assert_array_equal(labels.ids, same.ids)
        for mask, box in zip(decoded, same.boxes, strict=False):
            rows, columns = np.nonzero(mask)
            np.testing.assert_array_equal(box, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        np.testing.assert_array_equal(labels.ids, poses.labels[frame].ids)
        for mask, pose in zip(decoded, poses.labels[frame].keypoints, strict=False):
            column, row = np.rint(pose[pose[:, 2] > 0, :2]).astype(int).T
            near = [
                mask[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any()
                for x, y in zip(column, row, strict=True)
            ]
            assert all(near)
        assert (poses.scales[frame] > 5).all()


def test_joints_mark_the_body():
    """Head above hips above ankles, and right is the viewer's left when the figure comes towards the viewer."""
    zero = np.zeros(1)
    joints = dict(zip(JOINTS, walk_cycle(zero, zero + np.pi / 2, zero)[0], strict=True))
    heights = [
        joints[name][1] for name in ("right ankle", "right knee", "right hip", "neck", "nose", "head top")
    ]
    assert heights == sorted(heights)
    assert joints["right shoulder"][0] < joints["neck"][0] < joints["left shoulder"][0]
    assert joints["nose"][2] > joints["neck"][2]
    sideways = walk_cycle(zero, zero, zero)[0]
    assert sideways[JOINTS.index("right hip"), 2] > sideways[JOINTS.index("left hip"), 2]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("number", range(0, 20, 4))
def test_prompts_show_every_target_and_targets_stay(level, number):
    clip, truth = load(f"vos/{level}", number)
    first = next(clip.frames())
    assert first.prompt is truth.labels[0]
    assert first.prompt.ids.tolist() == [1, 2, 3]
    assert min(map(rle.area, first.prompt.masks)) > 100
    _, sot = load(f"sot/{level}", number)
    sides = np.concatenate([labels.boxes[:, 2:] - labels.boxes[:, :2] for labels in sot.labels])
    assert sides.min() > 20
    _, pose = load(f"pose/{level}", number)
    assert all((labels.keypoints[..., 2] == 1).all() for labels in pose.labels)


@pytest.mark.parametrize("task", ["mot", "mots", "posetrack"])
def test_detections_are_near_the_truth_and_carry_no_ids(task):
    clip, truth = load(f"{task}/synthetic")
    found, expected = 0, 0
    for frame in clip.frames():
        given = frame.detections
        assert not len(given.ids)
        assert not len(frame.prompt.ids)
        count = max(len(given.boxes), len(given.masks), len(given.keypoints))
        assert given.scores.shape == (count,)
        found, expected = found + count, expected + len(truth.labels[frame.index].ids)
    assert 0.8 * expected < found < 1.3 * expected
    if task == "mot":
        overlap = iou(truth.labels[0].boxes, next(clip.frames()).detections.boxes)
        assert np.median(overlap.max(axis=1)) > 0.7


def test_boxes_of_later_frames_overlap_less_at_harder_levels():
    means = []
    for level in LEVELS:
        overlaps = []
        for number in range(rendered.CLIPS):
            _, truth = load(f"mot/{level}", number)
            for before, after in zip(truth.labels, truth.labels[1:], strict=False):
                same = before.ids[:, None] == after.ids[None]
                overlaps.extend(iou(before.boxes, after.boxes)[same])
        means.append(np.mean(overlaps))
    assert means[0] > means[1] + 0.1 > means[2] + 0.15


@pytest.mark.parametrize("level", ["synthetic", "synthetic-hard"])
def test_people_leave_and_come_in(level):
    changes = list[int]()
    for number in range(rendered.CLIPS):
        _, truth = load(f"mot/{level}", number)
        for identity in range(1, DIFFICULTIES[level].people + 1):
            seen = np.array([identity in labels.ids for labels in truth.labels])
            changes.extend(np.diff(seen.astype(int)).tolist())
    assert min(changes.count(1), changes.count(-1)) >= 3


def test_nothing_is_painted_before_it_is_asked_for(monkeypatch):
    painted = []
    real = paint._photograph
    monkeypatch.setattr(paint, "_photograph", lambda *given: painted.append(given[1]) or real(*given))
    rendered._film.cache_clear()
    clip, _ = load("mot/synthetic")
    frames = clip.frames()
    assert painted == []
    next(frames)
    next(frames)
    assert painted == [0, 1]


def test_tasks_and_models_share_the_frames_of_a_clip(monkeypatch):
    """What is painted once is not painted again; who writes on a frame spoils no other's."""
    painted = []
    real = paint._photograph
    monkeypatch.setattr(paint, "_photograph", lambda *given: painted.append(given[1]) or real(*given))
    rendered._film.cache_clear()
    first = [frame.image for frame in load("mot/synthetic")[0].frames()]
    kept = first[0].copy()
    first[0][:] = 0
    for task in ("mots", "posetrack", "mot"):
        np.testing.assert_array_equal(next(load(f"{task}/synthetic")[0].frames()).image, kept)
    assert painted == list(range(rendered.LENGTH))


def test_another_version_has_other_clips(monkeypatch):
    """Its results have another fingerprint, so that old ones are computed again."""
    before = load("mot/synthetic")[1].labels[0].boxes
    monkeypatch.setattr(rendered, "VERSION", rendered.VERSION + 1)
    for cached in (rendered.scene, rendered._views_of, rendered._truth):
        cached.cache_clear()
    try:
        other = load("mot/synthetic")[1].labels[0].boxes
    finally:
        for cached in (rendered.scene, rendered._views_of, rendered._truth):
            cached.cache_clear()
    assert before.shape != other.shape or not np.allclose(before, other)


@pytest.mark.parametrize(
    ("level", "least", "most"), [("synthetic-easy", 50, 100), ("synthetic", 0, 30), ("synthetic-hard", 0, 30)]
)
def test_clothes_of_a_crowd_differ_less_in_colour_at_harder_levels(level, least, most):
    """Largest difference between mean colours of two shirts of a crowd, grey levels, the median over clips."""
    apart = []
    for name in benchmarks()[f"mot/{level}"].names(ROOT):
        shirts = [actor.textures["body"] for actor in scene("crowd", level, name).actors if actor.identity]
        means = np.array([np.asarray(photos.cut(shirt, (40, 60))).mean(axis=(0, 1)) for shirt in shirts])
        apart.append(np.abs(means[:, None] - means).max())
    assert least < np.median(apart) < most


def test_the_view_never_leaves_the_background():
    corners = np.array([(x, y, 1) for x in (0, WIDTH) for y in (0, HEIGHT)], dtype=float)
    for key in KEYS:
        for name in benchmarks()[key].names(ROOT):
            plan = scene(name.partition("-")[0], key.partition("/")[2], name)
            reach = np.abs(plan.camera @ corners.T).max(axis=(0, 2))
            size = np.array(paint._background_size(plan))
            assert (reach < size / 2).all(), key


def test_listing_imports_no_heavy_library():
    code = (
        "import sys; from unibench.datasets.synthetic.benchmark import benchmarks; "
        "[row.names(None) for row in benchmarks().values()]; "
        "print([name for name in ('skimage', 'scipy', 'torch', 'PIL.PngImagePlugin') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "[]"


def test_unknown_clip_and_missing_photograph():
    with pytest.raises(UnknownNameError, match=r"no clip of mot/synthetic 'crowd-70'; did you mean"):
        benchmarks()["mot/synthetic"].load(ROOT, "crowd-70")
    with pytest.raises(DataError, match=r"scikit-image has no 'nobody.png'.*reinstall"):
        photos.cut(Window("nobody", (0, 0, 1, 1)), (2, 2))


def test_photographs_are_used_inside_their_borders():
    tables = (*photos.BACKGROUNDS, *photos.TROUSERS, *photos.OBJECTS)
    fabrics = (piece for kind in photos.FABRICS for piece in kind)
    rng = np.random.default_rng(0)
    for window in (*tables, *fabrics, photos.FACE, photos.POST):
        for used in (window, photos.beside(window, 0.4, rng)):
            width, height = photos.read(used.photo).size
            left, top, right, bottom = used.box
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            assert (right - left, bottom - top) == (
                window.box[2] - window.box[0],
                window.box[3] - window.box[1],
            )
