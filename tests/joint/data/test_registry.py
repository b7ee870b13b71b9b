"""Reading annotated images: every kind of data set, what is ignored, and one line for what is wrong."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from unibench.datasets.synthetic import shapes
from unibench.errors import DataError, UnknownNameError
from unibench.geometry import masks
from unibench.joint.data import registry, sampling, waymo
from unibench.joint.data.sampling import SampleOptions, ViewOptions
from unibench.joint.system import AnnotatedImage, TrainingSet
from unibench.records import Labels

HEADER = ",".join(waymo.COLUMNS.values())


def picture(path: Path, width: int = 40, height: int = 30) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 90, dtype=np.uint8)).save(path)


def coco_table() -> dict[str, Any]:
    return {
        "categories": [{"id": 7, "name": "car"}, {"id": 3, "name": "person"}],
        "images": [{"id": 5, "file_name": "a.png"}, {"id": 4, "file_name": "b/c.png"}],
        "annotations": [
            {"image_id": 5, "category_id": 7, "bbox": [1, 2, 10, 20], "area": 150.5, "iscrowd": 0},
            {"image_id": 5, "category_id": 3, "bbox": [0, 0, 30, 5], "area": 20, "iscrowd": 1},
            {"image_id": 5, "category_id": 3, "bbox": [4.5, 0, 2, 2]},
            {"image_id": 5, "category_id": 3, "bbox": [4, 4, 0, 2], "area": 0},
        ],
    }


def video_table() -> dict[str, Any]:
    table = coco_table()
    for index, (row, video) in enumerate(zip(table["images"], (9, 9), strict=True)):
        row |= {"video_id": video, "frame_id": 1 - index}
    for track, row in enumerate(table["annotations"], start=11):
        row["instance_id"] = track
    return table


def write(folder: Path, table: object) -> Path:
    file = folder / "annotations.json"
    file.write_text(json.dumps(table))
    return file


def test_coco(tmp_path):
    picture(tmp_path / "images/a.png")
    data = registry.read(f"coco:{write(tmp_path, coco_table())}@{tmp_path / 'images'}")
    assert data.classes == ("person", "car")
    first, second = data.images
    assert (first.name, first.video, second.name) == ("a.png", "", "b/c.png")
    assert first.labels.boxes.tolist() == [[1, 2, 11, 22], [4.5, 0, 6.5, 2]]
    assert first.labels.classes.tolist() == [1, 0]
    assert len(first.labels.ids) == 0
    assert first.areas.tolist() == [150.5, 4]
    assert first.ignored.tolist() == [[0, 0, 30, 5]]
    assert first.ignored_classes.tolist() == [0]
    assert first.image().shape == (30, 40, 3)
    assert len(second.labels.boxes) == 0
    with pytest.raises(DataError, match=r"c\.png: no such image"):
        second.image()


def test_images_lie_beside_the_file_where_no_folder_is_named(tmp_path):
    picture(tmp_path / "a.png")
    assert registry.read(f"coco:{write(tmp_path, coco_table())}").images[0].image().shape == (30, 40, 3)


def test_videos_are_put_in_order_and_have_identities(tmp_path):
    first, second = registry.read(f"video:{write(tmp_path, video_table())}").images
    assert [(one.video, one.index, one.name) for one in (first, second)] == [
        ("9", 0, "b/c.png"),
        ("9", 1, "a.png"),
    ]
    assert second.labels.ids.tolist() == [11, 13]
    text = json.dumps(video_table()).replace("instance_id", "track_id")
    renamed = json.loads(text.replace("frame_id", "frame_index"))
    same = registry.read(f"video:{write(tmp_path, renamed)}").images
    assert same[1].labels.ids.tolist() == [11, 13]


def put(name: str, row: int, **fields: object) -> Callable[[dict[str, Any]], object]:
    return lambda table: table[name][row].update(fields)


def drop(name: str, row: int, field: str) -> Callable[[dict[str, Any]], object]:
    return lambda table: table[name][row].pop(field)


WRONG = [
    (lambda table: table.pop("images"), "annotations.json: missing field 'images'; correct"),
    (lambda table: table["annotations"].append(3), "annotations[4]: found 3, expected a table"),
    (drop("images", 0, "id"), "images[0]: missing field 'id'"),
    (drop("images", 0, "file_name"), "images[0]: missing field 'file_name'"),
    (put("images", 0, file_name="../a.png"), "the name '../a.png' leads out of this folder"),
    (put("images", 0, file_name="b/c.png"), "two images are called 'b/c.png'"),
    (put("annotations", 1, image_id=77), "annotations[1]: no image 77"),
    (put("annotations", 1, category_id=77), "annotations[1]: no category 77"),
    (
        put("annotations", 0, bbox=[1, 2, 3]),
        "annotations[0].bbox: found [1, 2, 3], expected tuple[float, at least",
    ),
    (put("annotations", 0, bbox=[1, 2, -3, 4]), "annotations[0].bbox: found [1, 2, -3, 4], expected"),
    (put("annotations", 0, bbox=[1, float("nan"), 3, 4]), "not JSON (NaN is no number)"),
    (put("annotations", 0, area="big"), "annotations[0].area: found 'big', expected float"),
    (put("categories", 0, id="x"), "categories[0].id: found 'x', expected int"),
    (drop("images", 0, "video_id"), "images[0]: no video_id, expected an integer"),
    (drop("images", 0, "frame_id"), "images[0]: no frame_id or frame_index, expected an integer"),
    (
        drop("annotations", 0, "instance_id"),
        "annotations[0]: no instance_id or track_id, expected an integer",
    ),
    (put("annotations", 0, area=-1), "annotations[0].area: found -1, expected float, at least 0"),
    (put("annotations", 0, area=10**400), "an integer of 401 digits"),
    (put("annotations", 0, bbox=[1e308, 0, 1e308, 4]), "annotations[0].bbox: found [1e+308, 0, 1e+308, 4]"),
    (put("annotations", 0, iscrowd="0"), "annotations[0].iscrowd: found '0', expected bool | int"),
    (put("annotations", 0, iscrowd=2), "annotations[0].iscrowd: found 2, expected bool | int"),
    (put("annotations", 0, instance_id=10**30), "an integer of 31 digits"),
    (put("annotations", 0, instance_id=2**53), "annotations[0].instance_id: found 9007199254740992"),
    (put("annotations", 0, instance_id=1.5), "annotations[0].instance_id: found 1.5"),
    (put("categories", 1, id=7), "categories: two have the id 7"),
    (put("images", 1, id=5), "images: two have the id 5"),
    (put("images", 1, frame_id=1), "two images have the video and frame ('9', 1)"),
    (put("images", 0, file_name="\ud800.png"), "half of a surrogate pair in a text"),
    (lambda table: table["annotations"].clear(), "no annotations, expected at least one"),
    (put("annotations", 2, instance_id=11), "images[0]: an identity stands twice in 'a.png'"),
]


@pytest.mark.parametrize(("spoil", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_in_a_json_file_is_named(tmp_path, spoil, message):
    table = video_table()
    spoil(table)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        registry.read(f"video:{write(tmp_path, table)}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_json(tmp_path):
    file = tmp_path / "x.json"
    file.write_text("{")
    with pytest.raises(DataError, match=r"x\.json: not JSON \(.*\); correct"):
        registry.read(f"coco:{file}")
    with pytest.raises(DataError, match=r"y\.json: no such file"):
        registry.read(f"coco:{tmp_path / 'y.json'}")


def odgt(*boxes: object, name: str = "27,1a") -> str:
    return json.dumps({"ID": name, "gtboxes": list(boxes)})


def test_crowdhuman(tmp_path):
    picture(tmp_path / "Images/27,1a.jpg")
    line = odgt(
        {"tag": "person", "fbox": [-3, 2, 10, 20], "vbox": [0, 2, 7, 9], "extra": {"box_id": 0, "occ": 1}},
        {"tag": "person", "fbox": [5, 5, 4, 4], "extra": {"ignore": 1}},
        {"tag": "mask", "fbox": [20, 0, 9, 9], "extra": {"ignore": 1}},
    )
    file = tmp_path / "annotation_val.odgt"
    file.write_text(f"{line}\n\n{odgt(name='other')}\n")
    data = registry.read(f"crowdhuman:{file}@{tmp_path / 'Images'}")
    assert data.classes == ("person",)
    first, second = data.images
    assert (first.name, first.video) == ("27,1a", "")
    assert first.labels.boxes.tolist() == [[-3, 2, 7, 22]]
    assert first.ignored.tolist() == [[5, 5, 9, 9], [20, 0, 29, 9]]
    assert first.image().shape == (30, 40, 3)
    assert second.labels.boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":1: not JSON ("),
        ('{"ID": "x"}', ":1: missing field 'gtboxes'; correct this line"),
        (odgt({"tag": "person", "fbox": [1, 2, 3]}), ":1: gtboxes[0].fbox: found [1, 2, 3], expected tuple"),
        (odgt({"tag": "person"}), ":1: gtboxes[0]: missing field 'fbox'"),
        ("[" * 100_000, ":1: not JSON that can be read (nested too deeply)"),
        (odgt({"tag": "person", "fbox": [1, 2, 3, 10**400]}), "an integer of 401 digits"),
        (odgt(), ": no persons, expected at least one"),
        (odgt(name="../../x"), "the name '../../x.jpg' leads out of this folder"),
    ],
)
def test_what_is_wrong_in_a_line_of_crowdhuman_is_named(tmp_path, line, message):
    file = tmp_path / "x.odgt"
    file.write_text(line)
    with pytest.raises(DataError, match=re.escape(message)):
        registry.read(f"crowdhuman:{file}")


def waymo_folder(root: Path, *rows: str) -> Path:
    for camera, stamp in ((1, 100), (1, 200), (2, 100)):
        picture(root / f"segment-1/{camera}/{stamp}.jpg")
    (root / "segment-1/camera_box.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return root


def test_waymo_becomes_a_video_of_each_camera(tmp_path):
    rows = ("200,1,car-a,1,10,12,8,4", "100,1,car-a,1,9,12,8,4", "100,1,b,2,30,10,2,6", "100,2,c,4,5,5,2,2")
    data = registry.read(f"waymo:{waymo_folder(tmp_path, *rows)}")
    assert data.classes == ("vehicle", "pedestrian", "sign", "cyclist")
    assert [(one.video, one.index, one.name) for one in data.images] == [
        ("1", 0, "segment-1/1/100.jpg"),
        ("1", 1, "segment-1/1/200.jpg"),
        ("2", 0, "segment-1/2/100.jpg"),
    ]
    first, second, other = (one.labels for one in data.images)
    assert first.boxes.tolist() == [[5, 10, 13, 14], [29, 7, 31, 13]]
    assert first.classes.tolist() == [0, 1]
    assert second.ids.tolist() == first.ids[:1].tolist()
    assert other.classes.tolist() == [3]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("300,1,a,1,9,9,2,2", "camera_box.csv:2: a box in '"),
        ("100,1,a,9,9,9,2,2", "camera_box.csv:2: type 9, expected one of 1, 2, 3, 4"),
        ("100,1,a,1,x,9,2,2", "[CameraBoxComponent].box.center.x: not a number in 'x'"),
        (
            "100,1,a,1,9,inf,2,2",
            "[CameraBoxComponent].box.center.y: found 'inf', expected -1e+06 to 1e+06 pixels",
        ),
        (
            "100,1,a,1,9,9,2,-2",
            "[CameraBoxComponent].box.size.y: found '-2', expected 0 to 1e+06 pixels",
        ),
        ("1_00,1,a,1,9,9,2,2", "key.frame_timestamp_micros: found '1_00', expected an integer"),
        ("100,1,a,1,9,9,2,2,3", "camera_box.csv:2: more cells than columns"),
        ("100,1,a,1,9", "no column '[CameraBoxComponent].box.center.y'"),
    ],
)
def test_what_is_wrong_in_a_table_of_waymo_is_named(tmp_path, row, message):
    with pytest.raises(DataError, match=re.escape(message)):
        registry.read(f"waymo:{waymo_folder(tmp_path, row)}")


def test_a_waymo_folder_without_segments(tmp_path):
    with pytest.raises(DataError, match=r"no clips, expected <segment>/camera_box\.csv"):
        registry.read(f"waymo:{tmp_path}")


def mot_clip(root: Path, name: str, *rows: str) -> None:
    for number in (1, 2):
        picture(root / name / f"img1/{number:06}.jpg")
    (root / name / "gt").mkdir()
    (root / name / "gt/gt.txt").write_text("\n".join(rows))
    info = "[Sequence]\nimDir=img1\nframeRate=10\nseqLength=2\n"
    (root / name / "seqinfo.ini").write_text(info)


def test_motchallenge_old_and_new(tmp_path):
    root = tmp_path / "train"
    mot_clip(root, "old", "1,4,1,2,5,6,1,-1,-1,-1", "2,4,2,2,5,6,0,-1,-1,-1")
    mot_clip(root, "new", "1,8,1,2,5,6,1,1,1", "1,9,20,2,5,6,0,8,1", "2,7,3,3,3,3,0,3,1")
    data = registry.read(f"mot:{root}")
    assert data.classes == ("pedestrian",)
    assert [(one.video, one.index, one.name) for one in data.images[:2]] == [
        ("new", 0, "new/000001.jpg"),
        ("new", 1, "new/000002.jpg"),
    ]
    assert [one.labels.ids.tolist() for one in data.images] == [[8], [], [4], []]
    assert data.images[0].ignored.tolist() == [[20, 2, 25, 8]]
    assert data.images[1].ignored.shape == (0, 4)  # a car is background
    assert data.images[0].labels.classes.tolist() == [0]
    some = registry.read(f"mot:{root}#old")
    assert {one.video for one in some.images} == {"old"}
    with pytest.raises(UnknownNameError, match=r"no clip in '.*train' 'odl'; did you mean 'old'"):
        registry.read(f"mot:{root}#old,odl")
    with pytest.raises(DataError, match="no such folder, expected MOTChallenge"):
        registry.read(f"mot:{tmp_path / 'val'}")


@pytest.mark.parametrize("place", ["MOT15/train", "MOT17-mini/train"])
def test_real_clips_of_motchallenge(shared_data, place):
    data = registry.read(f"mot:{shared_data / place}", ["person"])
    assert data.classes == ("person",)
    one = data.images[0]
    height, width = one.image().shape[:2]
    middles = (one.labels.boxes[:, :2] + one.labels.boxes[:, 2:]) / 2
    assert len(one.labels.ids) == len(middles) > 1
    assert ((middles > 0) & (middles < [width, height])).all()


def test_synthetic_stills_have_no_identities_and_clips_have():
    stills, clips = registry.read("synthetic:stills"), registry.read("synthetic:clips")
    assert [one.name for one in registry.read("synthetic:stills#3").images] == [
        one.name for one in stills.images[:3]
    ]
    assert stills.classes == clips.classes == shapes.VOCABULARY
    assert len({one.image().tobytes() for one in stills.images[:4]}) == 4
    assert all(one.video == "" and len(one.labels.ids) == 0 for one in stills.images[:4])
    first, second = clips.images[39:41]
    assert (first.index, second.index) == (39, 0)
    assert first.video != second.video
    assert len(first.labels.ids) == len(first.labels.boxes) > 0


def test_training_never_shows_the_benchmark():
    test = registry.read("synthetic:test")
    assert len(test.images) == 320
    row = shapes.benchmarks()["mot/shapes"]
    clip, truth = row.load(Path(), "shapes-2")
    for index, frame in enumerate(clip.frames()):
        one = test.images[40 + index]
        np.testing.assert_array_equal(frame.image, one.image())
        np.testing.assert_array_equal(truth.labels[index].boxes, one.labels.boxes)
    words = {one.video for one in test.images[::40]}
    assert all(word.startswith("mot/shapes/") for word in words)
    for spec in ("synthetic:clips", "synthetic:stills"):
        assert registry.read(spec).images[0].name.startswith("train/")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "cocoa:x.json",
            "data 'cocoa:x.json': no kind 'cocoa'; there are: synthetic:stills[#N], synthetic:clips[#CLASS,CLASS,...]",
        ),
        ("x.json", "data 'x.json': no kind 'x.json'; there are:"),
        ("coco:", "data 'coco:': nothing after 'coco:'; there are:"),
        ("synthetic:still", "no synthetic data 'still'; did you mean 'stills'"),
        ("synthetic:stills#0", "data 'synthetic:stills#0': #0, expected stills#N with N of 1 to 20000"),
        (f"synthetic:stills#{'9' * 5000}", "#99999999999999999999, expected stills#N with N of 1 to 20000"),
        (
            "synthetic:clips#cat",
            "data 'synthetic:clips': classes square, disc, triangle, expected some of cat",
        ),
        ("synthetic:noisy#3", "data 'synthetic:noisy#3': #3, expected stills#N"),
    ],
)
def test_an_unknown_spec_is_named(spec, message):
    with pytest.raises((DataError, UnknownNameError), match=re.escape(message)):
        registry.read(spec)


def small_set() -> TrainingSet:
    labels = Labels(
        ids=np.array([1, 2, 3]),
        boxes=np.arange(12.0).reshape(3, 4),
        classes=np.array([0, 1, 2], dtype=np.int64),
    )
    one = AnnotatedImage(
        "one", lambda: np.zeros((8, 8, 3), np.uint8), labels, np.arange(8.0).reshape(2, 4),
        embeddings=np.arange(3.0)[:, None], areas=np.array([5.0, 6.0, 7.0]), ignored_classes=np.array([1, 2]),
    )  # fmt: skip
    return TrainingSet("set", ("Car", "Pedestrian", "dog"), [one, replace(one, name="two")])


def test_classes_are_put_in_the_order_that_is_wanted():
    data = registry.align(small_set(), ("person", "bus", "car"))
    assert data.classes == ("person", "bus", "car")
    assert len(data.images) == 2
    one = data.images[1]
    assert one.name == "two"
    assert one.labels.classes.tolist() == [2, 0]
    assert one.labels.ids.tolist() == [1, 2]
    assert one.areas.tolist() == [5, 6]
    assert one.embeddings.tolist() == [[0], [1]]
    assert one.ignored.tolist() == [[0, 1, 2, 3]]
    assert one.ignored_classes.tolist() == [0]
    with pytest.raises(
        DataError, match="data 'set': classes Car, Pedestrian, dog, expected some of cat; name other"
    ):
        registry.align(small_set(), ("cat",))


def test_lazy_lazy_are_a_sequence():
    lazy = registry.Lazy(3, lambda row: replace(small_set().images[0], name=str(row)))
    assert [one.name for one in lazy] == ["0", "1", "2"]
    assert lazy[-1].name == "2"
    assert [one.name for one in lazy[1:]] == ["1", "2"]
    with pytest.raises(IndexError, match="3"):
        lazy[3]


SQUARE = [4.0, 4.0, 20.0, 4.0, 20.0, 14.0, 4.0, 14.0]
RUNS = [30 * 4 + 2, 5, 30 * 40 - 30 * 4 - 7]


def drawn(tmp_path: Path, segmentation: object) -> AnnotatedImage:
    """An image whose first object is drawn so; the others are a crowd, a small one and one without area."""
    picture(tmp_path / "a.png")
    table = coco_table()
    table["images"].pop()
    for row in table["annotations"]:
        row["segmentation"] = [SQUARE]
    table["annotations"][0]["segmentation"] = segmentation
    return registry.read(f"coco:{write(tmp_path, table)}").images[0]


@pytest.mark.parametrize(
    "segmentation",
    [
        [SQUARE],
        [[30.0, 20.0, 34.5, 20.0, 34.5, 28.0], SQUARE],
        [[-10.0, -3.0, 50.0, 3.0, 20.0, 40.0]],
        {"size": [30, 40], "counts": RUNS},
    ],
)
def test_masks_are_those_of_the_reference(tmp_path: Path, segmentation: Any) -> None:
    found = drawn(tmp_path, segmentation).masks()
    if isinstance(segmentation, list):
        parts = [np.clip(np.reshape(one, (-1, 2)), 0, [40, 30]).ravel().tolist() for one in segmentation]
        expected = coco_masks.merge(coco_masks.frPyObjects(parts, 30, 40))
    else:
        expected = coco_masks.frPyObjects(segmentation, 30, 40)
    assert len(found) == 2, "neither the crowd nor the object without area"
    np.testing.assert_array_equal(masks.decode(found[0]), coco_masks.decode(expected))
    assert masks.area(found[1]) == 16 * 10


def test_compressed_runs_are_taken_over(tmp_path: Path) -> None:
    expected = coco_masks.frPyObjects({"size": [30, 40], "counts": RUNS}, 30, 40)
    text = {"size": [30, 40], "counts": expected["counts"].decode()}
    assert drawn(tmp_path, text).masks()[0] == expected


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (
            None,
            r"annotations\[0\]\.segmentation: nothing, expected polygons or runs, since masks are learnt or objects",
        ),
        ([], r"annotations\[0\]\.segmentation"),
        (
            [[*SQUARE, 1.0]],
            r"segmentation: a polygon of 9 numbers, expected x and y in turn; correct this entry$",
        ),
        ([[1.0, 2.0, 3.0, 4.0]], r"annotations\[0\]\.segmentation"),
        ([[1.0, 2.0, 3.0, 4.0, 5.0, 1e12]], r"annotations\[0\]\.segmentation"),
        (
            {"size": [30, 40], "counts": [1, 2]},
            r"segmentation: runs that do not fill the image; correct this entry$",
        ),
        ({"size": [30, 40], "counts": [-1, 1201]}, r"annotations\[0\]\.segmentation"),
        ({"size": [30, 40], "counts": "\u0001x"}, r"segmentation: runs that do not fill the image"),
        ({"size": [40, 30], "counts": RUNS}, r"a mask of 30x40 pixels, expected the image's 40x30; correct"),
        ("polygon", r"annotations\[0\]\.segmentation"),
    ],
)
def test_masks_that_are_wrong_are_one_line(tmp_path: Path, segmentation: object, message: str) -> None:
    image = drawn(tmp_path, segmentation)
    assert image.image().shape == (30, 40, 3), "boxes can be learnt all the same"
    with pytest.raises(DataError, match=message) as caught:
        image.masks()
    assert "\n" not in str(caught.value)


def test_masks_are_learnt_from(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table = coco_table()
    table["images"].pop()
    for row in table["annotations"]:
        row["segmentation"] = [SQUARE]
    data = registry.read(f"coco:{write(tmp_path, table)}")
    options, canvas = SampleOptions(flip=0.0), ViewOptions(64, 96)
    batch = sampling.batches([data], options, canvas, seed=0, step=0, size=1, masks=True)
    target = batch.targets[0][0]
    assert target.masks.shape == (2, 64, 96)
    assert target.masks[0].sum() == pytest.approx(160 * (64 / 30) ** 2, rel=0.1)
