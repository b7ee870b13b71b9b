"""Inputs of readers that once gave a wrong score without a word, another library's exception, or no end."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.datasets import layouts
from tests.datasets.layouts import HEIGHT, WIDTH, person, rectangle, rle_row

Make = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """One input, and what the program has to say about it."""

    id: str
    make: Make
    """Writes the input into a folder, which is the working directory of the command."""
    command: str
    """Arguments of `unibench`, as a shell would split them."""
    code: int
    """Exit code."""
    text: str
    """Regular expression that the output holds."""


MOT = "run -m lab-colour -t mot/mot17 --data data -o out"
MOT15 = "run -m lab-colour -t mot/mot15 --data data -o out"
DETS = f"{MOT} --detections dets"
MOTS = "run -m lab-colour -t mots/mots20 --data data -o out --detections oracle"
POSE = "run -m lab-colour -t posetrack/posetrack18 --data data -o out --detections oracle"
JHMDB = "run -m lab-colour -t pose/jhmdb --data data -o out"
OTB = "run -m lab-colour -t sot/otb --data data -o out"
DAVIS16 = "run -m lab-colour -t vos/davis2016 --data data -o out"
DAVIS17 = "run -m lab-colour -t vos/davis2017 --data data -o out"
YOUTUBE = "run -m lab-colour -t vos/youtube-vos --data data -o out"
COCO = "detect -m tdt-tiny --data coco:a.json@im"
VIDEO = "detect -m tdt-tiny --data video:a.json@im"
CHECK = "data check --data data"
GT = "1,1,2,3,8,9,1,1,1\n2,1,3,3,8,9,1,1,1\n3,1,4,3,8,9,1,1,1\n"
DET = "1,-1,2,3,8,9,.9\n2,-1,3,3,8,9,.9\n3,-1,4,3,8,9,.9\n"
DONE = r"IDF1"
NO_END = "9" * 400


def mot(root: Path, gt: str = GT, det: str = DET, *, name: str = "MOT17/train/C") -> Path:
    return layouts.mot_clip(root / "data" / name, gt, det)


def seqinfo(lines: str, root: Path) -> None:
    layouts.text(mot(root) / "seqinfo.ini", f"[Sequence]\nname=C\n{lines}\n")


def without_seqinfo(root: Path, *, name: str, more: str = "") -> None:
    (mot(root, GT.replace(",1,1,1", ",1,-1,-1,-1"), name=f"MOT15/train/{name}") / "seqinfo.ini").unlink()


def detections(rows: str, root: Path, *, name: str = "C.txt") -> None:
    mot(root)
    layouts.text(root / "dets" / name, rows)


def frame(write: Callable[[Path], object], root: Path) -> None:
    file = mot(root) / "img1" / "000002.jpg"
    file.unlink()
    write(file)


def animated(file: Path) -> None:
    shades = [Image.new("RGB", (WIDTH, HEIGHT), (grey, 9, 9)) for grey in (0, 99)]
    shades[0].save(file, "PNG", save_all=True, append_images=shades[1:])


def flat(file: Path, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    Image.new("RGB", size, (90, 30, 60)).save(file, "PNG")


def mots(row: str, root: Path) -> None:
    rows = [rle_row(number, 2001, 2, rectangle(2, 2, 10, 12)) for number in (1, 2, 3)]
    layouts.mot_clip(root / "data" / "MOTS20" / "train" / "C", "".join(rows) + row)


def pose(change: Callable[[dict[str, Any]], object], root: Path) -> Path:
    people = [person(0, 1), person(0, 2), person(1, 1)]
    file = layouts.posetrack(root / "data" / "PoseTrack18", people)
    content = json.loads(file.read_text())
    change(content)
    return layouts.text(file, json.dumps(content))


def one(name: str, **fields: object) -> Make:
    """A pose file, the first of its images, annotations or categories changed."""
    return partial(pose, lambda content: content[name][0].update(fields))


def poses_detected(root: Path, **fields: object) -> None:
    file = pose(lambda content: None, root)
    content = json.loads(file.read_text())
    content["annotations"][0].update(fields)
    layouts.text(root / "dets" / file.name, json.dumps(content))


def hidden(file: str, root: Path) -> None:
    """What macOS leaves beside a file on other file systems."""
    layouts.text(root / file, "").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        \xff")


def pose_with_hidden(root: Path) -> None:
    hidden(f"{pose(lambda content: None, root).parent}/._000001_mpii.json", root)


def jhmdb(positions: np.ndarray, root: Path) -> None:
    layouts.images(root / "data" / "JHMDB" / "Rename_Images" / "walk" / "a", (1, 2, 3), digits=5)
    file = layouts.text(
        root / "data" / "JHMDB" / "joint_positions" / "walk" / "a" / "joint_positions.mat", ""
    )
    savemat(file, {"pos_img": positions})


def jhmdb_with_hidden(root: Path) -> None:
    jhmdb(np.random.default_rng(0).uniform(2, 20, (2, 15, 3)), root)
    layouts.text(root / "data" / "JHMDB" / "splits" / "walk_test_split1.txt", "a.avi 2\n")
    hidden("data/JHMDB/splits/._walk_test_split1.txt", root)


def otb(write: Callable[[Path, int], object], boxes: str, root: Path) -> None:
    for number in (1, 2, 3):
        (root / "data/OTB/A/img").mkdir(parents=True, exist_ok=True)
        write(root / f"data/OTB/A/img/{number:04}.png", number)
    layouts.text(root / "data/OTB/A/groundtruth_rect.txt", boxes)


def sixteen_bits(file: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(8200, 40400, (48, 64)).astype(np.uint16)
    pixels[20:30, 10 + number : 22 + number] = 60000
    Image.fromarray(pixels).save(file)


def small(file: Path, number: int) -> None:
    flat(file, (64, 48))


def vos(values: tuple[int, ...], root: Path, *, folder: str = "DAVIS2017", inner: str = "480p") -> None:
    """Squares of these values side by side."""
    layouts.images(root / "data" / folder / "JPEGImages" / inner / "dog", range(3), digits=5, suffix=".jpg")
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for place, value in enumerate(values):
        mask[4:12, 2 + 8 * place : 9 + 8 * place] = value
    for number in range(3):
        layouts.ids_png(root / "data" / folder / "Annotations" / inner / "dog" / f"{number:05}.png", mask)


def youtube(values: tuple[int, ...], root: Path) -> None:
    vos(values, root, folder="YouTube-VOS/train", inner="")


def listed(name: str, root: Path) -> None:
    vos((1,), root, folder="DAVIS2016")
    layouts.text(root / "data/DAVIS2016/ImageSets/2016/val.txt", name)


def looped(root: Path) -> None:
    listed("dog\n", root)
    clip = root / "data/DAVIS2016/JPEGImages/480p/dog"
    clip.rename(clip.with_name("other"))
    clip.symlink_to("cat")
    clip.with_name("cat").symlink_to("dog")


def coco(change: Callable[[dict[str, Any]], object], root: Path) -> None:
    layouts.images(root / "im", (1, 2), suffix=".jpg")
    boxes = [
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, 9, 8], "area": 72, "iscrowd": 0, "instance_id": 1}
    ]
    images = [{"id": n, "file_name": f"{n:06}.jpg", "video_id": 1, "frame_id": n} for n in (1, 2)]
    table = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "circle"}]}
    change(table)
    layouts.text(root / "a.json", json.dumps(table))


def of_coco(name: str, **fields: object) -> Make:
    return partial(coco, lambda table: table[name][0].update(fields))


def twice(name: str) -> Make:
    return partial(coco, lambda table: table[name].append(table[name][0]))


def probed(root: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (root / "im" / split / name).mkdir(parents=True)
            flat(root / "im" / split / name / "1.png", (60000, 1) if name == "b" else (32, 32))


def text(file: str, content: str) -> Make:
    return lambda root: layouts.text(root / file, content)


ODGT = '{"ID": "000001", "gtboxes": [{"tag": "person", "fbox": [1, 2, 3, %s]}]}'
CROWD = "detect -m tdt-tiny --data crowdhuman:a.odgt@im"
DEEP = "[" * 100_000

CASES = (
    # frame rates, and what seqinfo.ini lacks
    *(
        Case(f"ini_fps_{value}", partial(seqinfo, f"frameRate={value}"), MOT, 1, rf"seqinfo\.ini.*frameRate.*{value}")
        for value in ("0", "-1", "-3", "nan", "inf", "1_0", "fast", "infinity", "2000")
    ),
    Case("ini_fps_30", partial(seqinfo, "frameRate=30\nseqLength=3"), MOT, 0, DONE),
    Case("ini_minimal", partial(seqinfo, "seqLength=3"), MOT, 1, r"seqinfo\.ini: no frameRate; write the lines"),
    Case("ini_length", partial(seqinfo, "frameRate=30\nseqLength=3.0"), MOT, 1, "seqLength: found '3.0', expected an int"),
    Case("ini_length_huge", partial(seqinfo, f"frameRate=30\nseqLength={NO_END}"), MOT, 1, "expected an integer of at most"),
    Case("ini_twice", partial(seqinfo, "frameRate=30\nframeRate=10"), MOT, 1, r"seqinfo\.ini:4: frameRate stands twice"),
    Case("ini_leaves", partial(seqinfo, "frameRate=30\nimDir=../../x"), MOT, 1, "leads out of this folder"),
    Case("mot15_noini", partial(without_seqinfo, name="ADL-Rundle-6"), MOT15, 0, DONE),
    Case("mot15_noini_unknown", partial(without_seqinfo, name="Mine"), MOT15, 1, "no such file, and no published frame"),
    # truth in boxes
    Case("gt_id_2p53", partial(mot, gt=f"{GT}1,{2**53},9,9,3,3,1,1,1\n1,{2**53 + 1},9,9,3,3,1,1,1\n"), MOT, 1, "below 2.53"),
    Case("gt_id_huge2", partial(mot, gt="1,1e30,2,3,8,9,1,1,1\n2,2e30,3,3,8,9,1,1,1\n"), MOT, 1, "id that is not an integer"),
    Case("gt_id_frac", partial(mot, gt=f"{GT}1,2.5,9,9,3,3,1,1,1\n"), MOT, 1, r"gt\.txt:4: an id that is not an integer"),
    Case("gt_id_python", partial(mot, gt=f"{GT}1,1_0,9,9,3,3,1,1,1\n"), MOT, 1, r"gt\.txt:4: not a number in '1,1_0"),
    Case("gt_id_arabic", partial(mot, gt=f"{GT}1,\u0663,9,9,3,3,1,1,1\n"), MOT, 1, r"gt\.txt:4: not a number"),
    Case("gt_class_huge", partial(mot, gt=f"{GT}1,2,9,9,3,3,1,1e30,1\n"), MOT, 1, "a class that is not an integer"),
    Case("gt_coord_1e308", partial(mot, gt=f"{GT}1,2,1e308,9,1e308,3,1,1,1\n"), MOT, 1, r"gt\.txt:4: more than 1e\+06"),
    Case("gt_all_ignored", partial(mot, gt="1,1,2,3,8,9,0,1,1\n2,1,3,3,8,9,1,7,1\n"), MOT, 1, "no box to be scored"),
    Case("gt_zero_size", partial(mot, gt="1,1,2,3,0,0,1,1,1\n2,1,3,3,0,0,1,1,1\n"), MOT, 1, "no box to be scored"),
    Case("gt_empty", partial(mot, gt=""), MOT, 1, r"gt\.txt: an empty annotation"),
    Case("gt_binary", lambda root: (mot(root) / "gt/gt.txt").write_bytes(b"\xff\xfe\0"), MOT, 1, "cannot be read as text"),
    # detections in boxes
    Case("det_coord_1e308", partial(mot, det=f"{DET}1,-1,1e308,9,1e308,3,1\n"), MOT, 1, r"det\.txt:4: more than 1e\+06"),
    Case("det_huge_box", partial(mot, det=f"{DET}1,-1,1,9,1e9,1e9,1\n"), MOT, 1, r"det\.txt:4: more than 1e\+06 pixels"),
    Case("det_score_nan", partial(mot, det=f"{DET}1,-1,1,9,3,3,nan\n"), MOT, 1, r"det\.txt:4: a value that is not finite"),
    Case("det_negative", partial(mot, det=f"{DET}1,-1,1,9,-3,3,1\n"), MOT, 1, r"det\.txt:4: a negative width or height"),
    Case("dets_spaces", partial(detections, "1 1 2 3 8 9 0.9 0 -1\n2 2 3 3 8 9 0.8 0 -1\n"), DETS, 0, DONE),
    Case("dets_tabs", partial(detections, "1\t-1\t2\t3\t8\t9\t0.9\n2\t-1\t3\t3\t8\t9\t.9\n"), DETS, 0, DONE),
    Case("dets_masks", partial(detections, rle_row(1, 1, 2, rectangle(2, 2, 9, 9))), DETS, 1, r"C\.txt:1: 6 columns, expected 7"),
    Case("dets_missing", partial(detections, "", name="D.txt"), DETS, 1, r"no detections of clip 'C'; expected C\.txt"),
    Case("dets_fifo", lambda root: (detections("", root, name="D.txt"), os.mkfifo(root / "dets/C.txt")), DETS, 1,
         r"C\.txt: cannot be read \(not a regular file\)"),
    # frames
    Case("img_fifo", partial(frame, os.mkfifo), MOT, 1, r"000002\.jpg: not a whole image \(no regular file\)"),
    Case("img_folder", partial(frame, Path.mkdir), MOT, 1, r"000002\.jpg: not a whole image"),
    Case("img_animated", partial(frame, animated), MOT, 1, "an animation, expected one frame"),
    Case("img_empty", partial(frame, Path.touch), MOT, 1, r"000002\.jpg: not a whole image"),
    Case("img_text", partial(frame, lambda file: file.write_text("no image")), MOT, 1, r"000002\.jpg: not a whole image"),
    Case("img_other_size", partial(frame, partial(flat, size=(9, 9))), MOT, 1, "9x9 pixels, expected 32x24 as in frame 0"),
    Case("img_line", partial(frame, partial(flat, size=(60000, 1))), MOT, 1, "a side of at most 32 times the other"),
    Case("img_gone", partial(frame, lambda file: None), MOT, 1, "frame 2 is missing|2 images, expected 3"),
    Case("img_hidden", lambda root: (mot(root), hidden("data/MOT17/train/C/img1/._000001.jpg", root)), MOT, 0, DONE),
    Case("img_16_bits", partial(otb, sixteen_bits, "12,21,12,10\n13,21,12,10\n14,21,12,10\n"), OTB, 0, "AUC"),
    # masks in rows
    *(
        Case(f"mots_id_{name}", partial(mots, f"1 {value} 2 24 32 x\n"), MOTS, 1, expected)
        for name, value, expected in (
            ("30digits", "9" * 30, "expected an integer of at most 18 digits"),
            ("2p53", str(2**53), "expected one below 2.53"),
            ("python", "1_0", "found '1_0', expected an integer"),
        )
    ),
    Case("mots_datacheck_id", partial(mots, f"1 {'9' * 30} 2 24 32 x\n"), CHECK, 1, "1 unreadable"),
    Case("mots_plan_id", partial(mots, f"1 {'9' * 30} 2 24 32 x\n"),
         "plan -m lab-colour -t mots/mots20 --detections oracle --data data -o plan.json", 2, "of at most 18 digits"),
    # poses
    Case("pt_good", partial(pose, lambda content: None), POSE, 0, DONE),
    Case("pt_ann_image_list", one("annotations", image_id=[0]), POSE, 1, r"annotations\[0\]\.image_id: found \[0\], expected int"),
    Case("pt_cat_id_list", one("categories", id=[1]), POSE, 1, r"categories\[0\]\.id: found \[1\], expected int"),
    Case("pt_cat_kp_dict", one("categories", keypoints={"a": 1}), POSE, 1, r"categories\[0\]\.keypoints: found a table"),
    Case("pt_cat_twice", partial(pose, lambda c: c["categories"].append(c["categories"][0])), POSE, 1, "listed twice"),
    Case("pt_image_twice", partial(pose, lambda c: c["images"][1].update(id=0)), POSE, 1, "an image's id that is listed twice"),
    Case("pt_head_hugeint", one("annotations", bbox_head=[1, 1, 3, 10**400]), POSE, 1, "an integer of 401 digits"),
    Case("pt_head_inf", one("annotations", bbox_head=[1, 1, 3, float("inf")]), POSE, 1, "Infinity is no number"),
    Case("pt_head_neg", one("annotations", bbox_head=[1, 1, -3, -4]), POSE, 1, r"annotations\[0\]\.bbox_head: found"),
    Case("pt_head_none", one("annotations", bbox_head=[1, 1, 0, 0]), POSE, 1, "a head box without size"),
    Case("pt_kp_hugeint", one("annotations", keypoints=[10**400] * 51), POSE, 1, "an integer of 401 digits"),
    Case("pt_kp_nan", one("annotations", keypoints=[float("nan")] * 51), POSE, 1, "NaN is no number"),
    Case("pt_kp_short", one("annotations", keypoints=[1, 1, 1]), POSE, 1, "keypoints: found 3 numbers, expected 3 x 17"),
    Case("pt_kp_far", one("annotations", keypoints=[1e300] * 51), POSE, 1, "keypoints"),
    Case("pt_name_list", one("images", file_name=["a"]), POSE, 1, r"images\[0\]\.file_name: found \['a'\], expected str"),
    Case("pt_name_long", one("images", file_name="x" * 999), POSE, 1, "cannot be a file's"),
    Case("pt_vid_dict", one("images", vid_id={"a": 1}), POSE, 1, r"images\[0\]\.vid_id: found a table"),
    Case("pt_track_frac", one("annotations", track_id=1.5), POSE, 1, r"track_id: found 1\.5, expected int"),
    Case("pt_track_huge", one("annotations", track_id=10**30), POSE, 1, "an integer of 31 digits"),
    Case("pt_track_inf", one("annotations", track_id=float("inf")), POSE, 1, "Infinity is no number"),
    Case("pt_track_2p53", one("annotations", track_id=2**53), POSE, 1, "track_id: found 9007199254740992"),
    Case("pt_region_odd", one("images", ignore_regions_x=[[1, 2, 3]]), POSE, 1, "of different lengths"),
    Case("pt_region", one("images", ignore_regions_x=[[0, 2, 2, 0]], ignore_regions_y=[[0, 0, 9, 9]]), POSE, 0, DONE),
    Case("pt_deep", lambda root: pose(lambda c: None, root).write_text(DEEP), POSE, 1, "nested too deeply"),
    Case("pt_key_twice", lambda root: pose(lambda c: None, root).write_text('{"images": [], "images": []}'), POSE, 1, "twice"),
    Case("pt_check_id_list", one("annotations", image_id=[0]), CHECK, 1, "1 unreadable"),
    Case("pt_plan_id_list", one("annotations", image_id=[0]),
         "plan -m lab-colour -t posetrack/posetrack18 --detections oracle --data data -o plan.json", 2, "image_id: found"),
    Case("pt_cache_id_list", one("annotations", image_id=[0]),
         "cache build cache -m lab-colour -t posetrack/posetrack18 --detections oracle --data data", 2, "image_id: found"),
    Case("pt_hidden", pose_with_hidden, POSE, 0, DONE),
    Case("dets_json_hugescore", partial(poses_detected, score=10**400), POSE.replace("oracle", "dets"), 1, "of 401 digits"),
    Case("dets_json_score", partial(poses_detected, score="high"), POSE.replace("oracle", "dets"), 1, "score: found 'high'"),
    Case("dets_json_scores", partial(poses_detected, scores=["a"]), POSE.replace("oracle", "dets"), 1, "scores"),
    # joints
    Case("jhmdb_complex", partial(jhmdb, np.full((2, 15, 3), 1 + 1j)), JHMDB, 1, "no joints can be read"),
    Case("jhmdb_nan", partial(jhmdb, np.full((2, 15, 3), np.nan)), JHMDB, 1, "a joint that is no place in pixels"),
    Case("jhmdb_far", partial(jhmdb, np.full((2, 15, 3), 1e300)), JHMDB, 1, "a joint that is no place in pixels"),
    Case("jhmdb_hidden", jhmdb_with_hidden, JHMDB, 0, "PCK"),
    # boxes of one target
    Case("otb_inf", partial(otb, small, "1,2,9,9\ninf,2,9,9\n1,2,9,9\n"), OTB, 1, r"groundtruth_rect\.txt:2: more than"),
    Case("otb_python", partial(otb, small, "1,2,9,9\n1_0,2,9,9\n1,2,9,9\n"), OTB, 1, r"groundtruth_rect\.txt:2: not a number"),
    Case("otb_short", partial(otb, small, "1,2,9,9\n"), OTB, 1, "1 boxes for 3 frames"),
    # masks
    Case("void_255", partial(vos, (1, 2, 255)), DAVIS17, 0, "J-mean"),
    Case("void_255_youtube", partial(youtube, (1, 2, 255)), YOUTUBE, 0, "J-mean"),
    Case("void_only_youtube", partial(youtube, (255,)), YOUTUBE, 1, r"no object in any annotation.*255 is void"),
    Case("mask_0_255", partial(vos, (255,)), DAVIS17, 1, "only 255, which is void here, expected object ids 1, 2"),
    Case("mask_0_255_2016", partial(vos, (255,), folder="DAVIS2016"), DAVIS16, 0, "J-mean"),
    Case("mask_smooth", partial(vos, (255, 250)), DAVIS17, 1, "grey value 250, expected object ids 1 to 100"),
    Case("mask_smooth_2016", partial(vos, (255, 250), folder="DAVIS2016"), DAVIS16, 1, "grey value 250"),
    Case("mask_smooth_youtube", partial(youtube, (1, 128)), YOUTUBE, 1, "grey value 128"),
    Case("davis_list_long", partial(listed, "x" * 999), DAVIS16, 1, "cannot be a file's"),
    Case("davis_list_out", partial(listed, "../../x\n"), DAVIS16, 1, "leads out of this folder"),
    Case("davis_list_hidden", lambda root: (vos((1,), root, folder="DAVIS2016"),
                                            hidden("data/DAVIS2016/ImageSets/2016/._val.txt", root)), DAVIS16, 0, "J-mean"),
    Case("davis_loop", looped, DAVIS16, 1, "no such folder|cannot be followed"),
    # annotated images
    Case("coco_area_huge", of_coco("annotations", area=10**400), COCO, 2, "an integer of 401 digits"),
    Case("coco_area_neg", of_coco("annotations", area=-1), COCO, 2, r"annotations\[0\]\.area: found -1, expected float"),
    Case("coco_crowd_text", of_coco("annotations", iscrowd="0"), COCO, 2, r"iscrowd: found '0', expected bool"),
    Case("coco_box_far", of_coco("annotations", bbox=[1e308, 0, 1e308, 1]), COCO, 2, r"annotations\[0\]\.bbox: found"),
    Case("coco_box_text", of_coco("annotations", bbox="1 2 3 4"), COCO, 2, r"annotations\[0\]\.bbox: found '1 2 3 4'"),
    Case("coco_deep", text("a.json", DEEP), COCO, 2, r"a\.json: not JSON that can be read \(nested too deeply\)"),
    Case("coco_dup_cat", twice("categories"), COCO, 2, "categories: two have the id 1"),
    Case("coco_dup_image", twice("images"), COCO, 2, "images: two have the id 1"),
    Case("coco_name_surrogate", of_coco("images", file_name="\ud800"), COCO, 2, "half of a surrogate pair"),
    Case("coco_name_out", of_coco("images", file_name="../../x.jpg"), COCO, 2, "leads out of this folder"),
    Case("coco_nothing", partial(coco, lambda table: table["annotations"].clear()), COCO, 2, "no annotations, expected at"),
    Case("coco_fifo", lambda root: os.mkfifo(root / "a.json"), COCO, 2, r"a\.json: cannot be read \(not a regular file\)"),
    Case("video_id_huge", of_coco("annotations", instance_id=10**30), VIDEO, 2, "an integer of 31 digits"),
    Case("video_id_text", of_coco("annotations", instance_id="1"), VIDEO, 2, "instance_id: found '1', expected int"),
    Case("crowdhuman_deep", text("a.odgt", DEEP), CROWD, 2, r"a\.odgt:1: not JSON that can be read"),
    Case("crowdhuman_huge", text("a.odgt", ODGT % NO_END), CROWD, 2, "an integer of 400 digits"),
    Case("crowdhuman_text", text("a.odgt", ODGT % '"4"'), CROWD, 2, r"gtboxes\[0\]\.fbox: found"),
    Case("data_n5000", lambda root: None, f"train tdt --data synthetic:stills#{'9' * 5000} --steps 1 -o out", 2, "expected stills#N"),
    # plans
    *(
        Case(f"plan_{name}", text("plan.json", content), "work plan.json -o out", 2, rf"plan\.json: {expected}")
        for name, content, expected in (
            ("empty", "", "not JSON"),
            ("list", "[]", r"found \[\], expected a table"),
            ("nan", '{"cost": NaN}', r"not JSON \(NaN is no number\)"),
            ("inf", '{"cost": 1e999}', r"not JSON \(1e999 is too large for a number\)"),
            ("huge", f'{{"cost": {NO_END}}}', r"not JSON \(an integer of 400 digits"),
            ("deep", DEEP, "not JSON that can be read"),
            ("half", '{"x": "\\ud800"}', r"not JSON \(half of a surrogate pair"),
            ("key_twice", '{"format": "a", "format": "b"}', r"not JSON \(key 'format' stands twice"),
        )
    ),
    Case("plan_fifo", lambda root: os.mkfifo(root / "plan.json"), "work plan.json -o out", 2, "not a regular file"),
    # cards
    Case("card_no_utf8", lambda root: (root / "m.toml").write_bytes(b"a = \xff"), "models show m.toml", 2, "not a readable TOML"),
    Case("card_fifo", lambda root: os.mkfifo(root / "m.toml"), "models show m.toml", 2, "not a regular file"),
    Case("card_hidden", partial(hidden, "model_cards/._mine.toml"), "models", 0, "lab-colour"),
    # training configs
    *(
        Case(f"config_{name}", text("c.toml", content), "train tdt --config c.toml --data synthetic:stills#20 --steps 1 -o out",
             2, rf"c\.toml: {expected}")
        for name, content, expected in (
            ("5000digits", f"a = {'9' * 5000}", "not a readable TOML file"),
            ("deep", f"a = {'[' * 9999}", r"not a readable TOML file \(nested too deeply\)"),
            ("400digits", f"classes = ['a']\n[train]\nrate = {NO_END}", "train.rate: found an integer of more than 64 bits"),
            ("nan", "classes = ['a']\n[train]\nrate = nan", "train.rate: found nan, expected a finite number"),
            ("unknown", "klasses = ['a']", "unknown field 'klasses'"),
        )
    ),
    # images to probe
    Case("probe_wide", probed, "probe -m lab-colour --data im", 2, "a side of at most 32 times the other"),
    *(
        Case(f"card_{name}", text("m.toml", content), "models show m.toml", 2, rf"m\.toml: {expected}")
        for name, content, expected in (
            ("5000digits", f"a = {'9' * 5000}", "not a readable TOML file"),
            ("deep", f"a = {'[' * 9999}", r"not a readable TOML file \(nested too deeply\)"),
            ("twice", "a = 1\na = 2", "not a readable TOML file"),
        )
    ),
)  # fmt: skip
