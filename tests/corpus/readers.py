"""Every reader of files of other people's, each with a small valid file to spoil."""

import json
import pickle
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

from tests import videos
from tests.corpus.mutations import Mutation, json_lines, lines, noise, torn, tree
from tests.datasets import layouts
from unibench.datasets import (
    coco_video,
    davis,
    exchange,
    got10k,
    images,
    jhmdb,
    kitti_mots,
    lasot,
    motchallenge,
    mots,
    otb,
    own_clips,
    posetrack,
    prompts,
    tapvid,
    video,
    youtube_vos,
)
from unibench.evaluation import plan_file
from unibench.geometry.masks import encode
from unibench.joint import systems
from unibench.joint.data import registry as joint_data
from unibench.joint.data import waymo
from unibench.joint.training import config as training
from unibench.models import cards
from unibench.records import Clip, Labels, Score
from unibench.results import predictions, store

JOINTS = "[[[[1, 2], null]], [[[2, 2], [3, 4]]], [[null, [1, 1]]]]"
BOXES = "1,2,10,12\n2,3,10,12\n3,4,10,12\n"
GT = "1,1,2,3,8,9,1,1,1\n2,1,3,3,8,9,1,1,0.5\n2,2,20,3,8,9,0,7,1\n3,1,4,3,8,9,1,1,1\n"
DETECTIONS = "1,-1,2,3,8,9,0.9,-1,-1,-1\n3,-1,4,3,8,9,0.25,-1,-1,-1\n"
POSE = "PoseTrack18/annotations/val/a.json"
KEYPOINTS = [*layouts.KEYPOINTS]
SCORE = Score(
    model="m", layer="l", task="vos/davis2016", benchmark="davis2016", protocol="unitrack", protocol_version="1",
    detections="", metric="J", value=0.5, ci_low=0.4, ci_high=0.6, clips=3, frames=9, partial=False, headline=True,
    protocol_hash="p", weights_hash="w", data_hash="d",
)  # fmt: skip
RUN = store.RunKey("m", "w", "vos/davis2016", "unitrack", "l")
UNIT = store.UnitKey("m", "w", "vos/davis2016", "unitrack", "l", "dog")


@dataclass(frozen=True)
class Reader:
    """One reader."""

    name: str
    prepare: Callable[[Path], Path]
    """Writes what is needed into a folder; gives the file to spoil."""
    read: Callable[[Path], object]
    """Reads, given the folder."""
    mutations: tuple[Mutation, ...]


def clip(folder: Path, *, suffix: str = ".jpg", digits: int = 6) -> Path:
    layouts.images(folder, range(1, 4), digits=digits, suffix=suffix)
    return folder


def _otb(root: Path) -> Path:
    clip(root / "Bolt" / "img")
    return layouts.text(root / "Bolt" / "groundtruth_rect.txt", BOXES)


def _lasot(root: Path, spoilt: str) -> Path:
    clip(root / "bus" / "bus-1" / "img")
    for name in ("full_occlusion.txt", "out_of_view.txt"):
        layouts.text(root / "bus" / "bus-1" / name, "0,0,1")
    layouts.text(root / "bus" / "bus-1" / "groundtruth.txt", BOXES)
    return root / "bus" / "bus-1" / spoilt


def _got10k(root: Path) -> Path:
    folder = clip(root / "val" / "A")
    layouts.text(folder / "absence.label", "0\n1\n0\n")
    return layouts.text(folder / "groundtruth.txt", BOXES)


def _mot(root: Path, spoilt: str) -> Path:
    return layouts.mot_clip(root / "train" / "A", GT, DETECTIONS) / spoilt


def _mots(root: Path, *, kitti: bool) -> Path:
    first, region = layouts.rectangle(2, 2, 10, 12), layouts.rectangle(20, 8, 30, 20)
    rows = "".join(
        layouts.rle_row(t, 2001, 2, first) + layouts.rle_row(t, 10000, 10, region) for t in range(1, 4)
    )
    if kitti:
        clip(root / "training" / "image_02" / "0001")
        return layouts.text(root / "instances_txt" / "0001.txt", rows)
    return layouts.mot_clip(root / "train" / "A", rows) / "gt" / "gt.txt"


def _pose(root: Path) -> Path:
    people = [layouts.person(0, 1, scores=[0.5]), layouts.person(0, 2, score=0.25), layouts.person(1, 1)]
    file = layouts.posetrack(root, people, name="a")
    content = json.loads(file.read_text())
    content["images"][1] |= {"ignore_regions_x": [[2, 9, 9.5]], "ignore_regions_y": [[2, 2, 9]]}
    return layouts.text(file, json.dumps(content))


def _jhmdb(root: Path) -> Path:
    clip(root / "Rename_Images" / "walk" / "a", suffix=".png")
    file = layouts.text(root / "joint_positions" / "walk" / "a" / "joint_positions.mat", "")
    savemat(file, {"pos_img": np.arange(2.0 * 15 * 3).reshape(2, 15, 3)})
    return file


def _vos(root: Path, spoilt: str, *, youtube: bool = False) -> Path:
    inner = "" if youtube else "480p"
    clip(root / "JPEGImages" / inner / "dog", digits=5)
    for number in range(1, 4):
        values = np.uint8(layouts.rectangle(2, 2, 10, 12)) + 2 * np.uint8(layouts.rectangle(12, 2, 20, 12))
        layouts.ids_png(root / "Annotations" / inner / "dog" / f"{number:05}.png", values, "P")
    layouts.text(root / "ImageSets" / "2017" / "val.txt", "dog\n")
    return root / spoilt


def _image(root: Path, suffix: str) -> Path:
    return clip(root, suffix=suffix) / f"000001{suffix}"


def _coco(root: Path) -> Path:
    clip(root)
    table = {
        "categories": [{"id": 7, "name": "car"}, {"id": 3, "name": "person"}],
        "images": [
            {"id": 5, "file_name": "000001.jpg", "video_id": 1, "frame_id": 0},
            {"id": 4, "file_name": "000002.jpg", "video_id": 1, "frame_id": 1},
        ],
        "annotations": [
            {"image_id": 5, "category_id": 7, "bbox": [1, 2, 10, 20], "area": 150.5, "iscrowd": 0, "instance_id": 1},
            {"image_id": 5, "category_id": 3, "bbox": [0, 0, 30, 5], "area": 20, "iscrowd": 1, "instance_id": 2},
            {"image_id": 4, "category_id": 3, "bbox": [4.5, 0, 2, 2], "instance_id": 1},
        ],
    }  # fmt: skip
    return layouts.text(root / "a.json", json.dumps(table))


def _crowdhuman(root: Path) -> Path:
    box = {"tag": "person", "fbox": [1, 2, 10, 20], "extra": {"ignore": 0, "box_id": 3}}
    rows = [{"ID": "000001", "gtboxes": [box, box | {"tag": "mask"}]}, {"ID": "000002", "gtboxes": []}]
    return layouts.text(root / "a.odgt", "\n".join(map(json.dumps, rows)))


def _waymo(root: Path) -> Path:
    layouts.images(root / "segment" / "1", (1000, 2000), digits=1, suffix=".jpg")
    header = ",".join(waymo.COLUMNS.values())
    rows = "1000,1,abc,1,10,12,5.5,6\n2000,1,abc,1,11,12,5.5,6\n2000,1,def,2,21,12,5,6\n"
    return layouts.text(root / "segment" / "camera_box.csv", f"{header}\n{rows}")


def _card(root: Path, name: str) -> Path:
    return layouts.text(root / "m.toml", cards.paths()[name].read_text())


def _training(root: Path, system: str) -> Path:
    return layouts.text(root / "c.toml", (systems.find(system).folder / "tiny.toml").read_text())


def _plan(root: Path) -> Path:
    unit = plan_file.PlannedUnit(0, 0, "dog", 0.5, {"pooled": "abc"})
    plan = plan_file.Plan(
        format=plan_file.FORMAT, models=(plan_file.PlannedModel("hog", "abc"),),
        tasks=(plan_file.PlannedTask("vos/davis2016", "unitrack", "abc", ("dog",)),), units=(unit,), frames=5,
    )  # fmt: skip
    (root / "plan.json").write_bytes(plan_file.dump(plan))
    return root / "plan.json"


def _clip_result(root: Path) -> Path:
    return store.write_clip(root, store.ClipResult(UNIT, 9, False, "f", "d", {"J": 1.5, "n": 3.0}))


TRACKED = Clip("a", 8, 9, 10.0, 3, lambda: iter(()), ("", "car", "pedestrian"))


def _said() -> list[Labels]:
    """What a tracker said of `TRACKED`."""
    square = np.zeros((8, 9), dtype=bool)
    square[2:5, 3:6] = True
    labels = Labels(
        ids=np.array([1]), boxes=np.array([[2.0, 3.0, 6.5, 7.0]]), masks=(encode(square),),
        keypoints=np.ones((1, 15, 3)), scores=np.array([0.5]), classes=np.array([2]),
    )  # fmt: skip
    return [labels, Labels(), labels]


def _predicted(root: Path) -> Path:
    with closing(predictions.Writer()) as writer:
        for labels in _said():
            writer.append(labels)
        writer.finish().save(root / "a.zip")
    return root / "a.zip"


def _read_predicted(root: Path) -> None:
    with predictions.opened(root / "a.zip", CHECKSUM) as found:
        list(found)


CHECKSUM = "4a275483afc4ad0b"
"""Of what `_predicted` writes."""
EXCHANGED = {"sot": "a.txt", "sot/got10k": "a/a_001.txt", "vos": "a/00001.png", "mot": "a.txt", "mots": "a.txt",
             "posetrack": "a.json", "pose": "a/joint_positions.mat", "points": "a.npz", "det": "a.json"}  # fmt: skip
"""Format -> one of its files."""


def _exchanged(root: Path, task: str) -> Path:
    said = _said()
    if task == "points":
        said = [replace(one, keypoints=one.keypoints[:, :1]) for one in said]
    exchange.FORMATS[task].write(root, TRACKED, [said[0]] * 3 if task == "pose" else said)
    return root / EXCHANGED[task]


def resealed(data: bytes, chance: Any) -> bytes:
    """A result spoilt, with the checksum that it would have been written with."""
    spoilt = tree(data, chance)
    try:
        record = json.loads(spoilt)
        record["checksum"] = store._checksum(
            {key: value for key, value in record.items() if key != "checksum"}
        )
        return json.dumps(record).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return spoilt


TEXT, JSON, BYTES = (lines, lines, torn, noise), (tree, tree, tree, torn, noise), (torn, torn, noise)


def _own(root: Path, spoilt: str, content: str) -> Path:
    clip(root / "a" / "img1")
    return layouts.text(root / "a" / spoilt, content)


def _own_points(root: Path) -> Path:
    clip(root / "a" / "img1")
    count = len(list((root / "a" / "img1").iterdir()))
    np.savez(
        root / "a" / "points.npz", points=np.full((2, count, 2), 0.5), occluded=np.zeros((2, count), bool)
    )
    return root / "a" / "points.npz"


def _tapvid(root: Path) -> Path:
    content = {"video": np.zeros((3, 24, 32, 3), np.uint8), "points": np.full((2, 3, 2), 0.5, np.float32),
               "occluded": np.zeros((2, 3), bool)}  # fmt: skip
    (root / "tapvid_davis.pkl").write_bytes(pickle.dumps({"a": content}))
    return root / "tapvid_davis.pkl"


def _own_coco(root: Path) -> Path:
    table = json.loads(_coco(root).read_text())
    videos_of = [{"id": 1, "name": "v", "fps": 12.5}]
    return layouts.text(root / coco_video.FILE, json.dumps({"videos": videos_of, **table}))


def _video(root: Path) -> Path:
    return videos.write(root / "a.mp4", videos.images(6))


def _read_video(root: Path) -> None:
    for _ in video.VideoFrames(video.open_video(root / "a.mp4"))():
        pass


READERS = (
    Reader("own boxes", lambda root: _own(root, "gt/gt.txt", GT), lambda root: own_clips.load_mot(root, "a"), TEXT),
    Reader("own coco video", _own_coco, lambda root: own_clips.load_mot(root, "v"), JSON),
    Reader("own rectangles", lambda root: _own(root, "groundtruth.txt", BOXES),
           lambda root: own_clips.load_sot(root, "a"), TEXT),
    Reader("own points", _own_points, lambda root: own_clips.load_points(root, "a"), BYTES),
    Reader("tapvid", _tapvid, lambda root: list(tapvid.load(root, "a", "tapvid_davis.pkl")[0].frames()), BYTES),
    Reader("prompted points", lambda root: layouts.text(root / "a.json", "[[1, 2], [3, 4.5]]"),
           lambda root: prompts.read_prompt(str(root / "a.json"), "points", (24, 32)), JSON),
    Reader("own joints", lambda root: _own(root, "joints.json", JOINTS),
           lambda root: own_clips.load_pose(root, "a"), JSON),
    Reader("prompted joints", lambda root: layouts.text(root / "a.json", "[[[1, 2], null], [[2, 2], [3, 4]]]"),
           lambda root: prompts.read_prompt(str(root / "a.json"), "pose", (24, 32)), JSON),
    Reader("prompted mask", lambda root: _vos(root, "Annotations/480p/dog/00001.png"),
           lambda root: prompts.read_prompt(str(root / "Annotations/480p/dog/00001.png"), "vos", (24, 32)), BYTES),
    Reader("video", _video, _read_video, BYTES),
    Reader("otb", _otb, lambda root: otb.load(root, "Bolt"), TEXT),
    Reader("lasot boxes", lambda root: _lasot(root, "groundtruth.txt"), lambda root: lasot.load(root, "bus-1"), TEXT),
    Reader("lasot flags", lambda root: _lasot(root, "out_of_view.txt"), lambda root: lasot.load(root, "bus-1"), TEXT),
    Reader("got10k", _got10k, lambda root: got10k.load(root, "A"), TEXT),
    Reader("mot15 truth", lambda root: _mot(root, "gt/gt.txt"), lambda root: motchallenge.load_mot15(root, "A"), TEXT),
    Reader("mot truth", lambda root: _mot(root, "gt/gt.txt"), lambda root: motchallenge.load(root, "A"), TEXT),
    Reader("mot detections", lambda root: _mot(root, "det/det.txt"), lambda root: motchallenge.load(root, "A"), TEXT),
    Reader("seqinfo", lambda root: _mot(root, "seqinfo.ini"), lambda root: motchallenge.load(root, "A"), TEXT),
    Reader("mots", lambda root: _mots(root, kitti=False), lambda root: mots.load(root, "A"), TEXT),
    Reader("kitti-mots", lambda root: _mots(root, kitti=True), lambda root: kitti_mots.load(root, "0001"), TEXT),
    Reader("posetrack", _pose, lambda root: posetrack.load(root, "a"), JSON),
    Reader("poses detected", _pose, lambda root: posetrack.read_detections(root / "annotations/val/a.json", 3), JSON),
    Reader("jhmdb", _jhmdb, lambda root: jhmdb.load(root, "walk/a"), BYTES),
    Reader("davis list", lambda root: _vos(root, "ImageSets/2017/val.txt"),
           lambda root: [davis.load_2017(root, name) for name in davis.names_2017(root)[:3]], TEXT),
    Reader("davis mask", lambda root: _vos(root, "Annotations/480p/dog/00001.png"),
           lambda root: davis.load_2016(root, "dog"), BYTES),
    Reader("youtube-vos mask", lambda root: _vos(root, "Annotations/dog/00002.png", youtube=True),
           lambda root: youtube_vos.load(root, "dog"), BYTES),
    Reader("png", lambda root: _image(root, ".png"), lambda root: images.read_image(root / "000001.png"), BYTES),
    Reader("jpeg", lambda root: _image(root, ".jpg"), lambda root: images.read_image(root / "000001.jpg"), BYTES),
    Reader("coco", _coco, lambda root: joint_data.read(f"coco:{root / 'a.json'}"), JSON),
    Reader("coco video", _coco, lambda root: joint_data.read(f"video:{root / 'a.json'}"), JSON),
    Reader("crowdhuman", _crowdhuman, lambda root: joint_data.read(f"crowdhuman:{root / 'a.odgt'}"),
           (json_lines, json_lines, json_lines, torn, noise)),
    Reader("waymo", _waymo, lambda root: joint_data.read(f"waymo:{root}"), TEXT),
    Reader("frozen card", lambda root: _card(root, "dino-vit-s16"), lambda root: cards.read(root / "m.toml"), TEXT),
    Reader("joint card", lambda root: _card(root, "tdt-tiny"), lambda root: cards.read(root / "m.toml"), TEXT),
    *(
        Reader(f"{name} config", partial(_training, system=name),
               lambda root, name=name: training.read(root / "c.toml", systems.find(name)), TEXT)
        for name in systems.SYSTEMS
    ),
    Reader("plan", _plan, lambda root: plan_file.read(root / "plan.json"), JSON),
    Reader("clip result", _clip_result, lambda root: store.read_clip(root, UNIT), (resealed, resealed, *JSON)),
    Reader("result", lambda root: store.write_result(root, [SCORE]), store.read_scores, (resealed, resealed, *JSON)),
    Reader("predictions", _predicted, _read_predicted, BYTES),
    *(
        Reader(f"export {task}", partial(_exchanged, task=task),
               lambda root, read=form.read: read(root, TRACKED),
               {".txt": TEXT, ".json": JSON, ".png": BYTES, ".mat": BYTES, ".npz": BYTES}[Path(EXCHANGED[task]).suffix])
        for task, form in exchange.FORMATS.items()
    ),
    Reader("run", lambda root: store.write_run(root, RUN, {"command": ["a"], "versions": {"torch": "2"}}),
           lambda root: store.read_run(root, RUN), JSON),
)  # fmt: skip
