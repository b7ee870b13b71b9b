"""Writes small data sets in the official layouts."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from unibench.geometry import masks

HEIGHT, WIDTH = 24, 32


def images(folder: Path, numbers, digits=6, suffix=".png", size=(HEIGHT, WIDTH)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:0{digits}d}{suffix}")


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def ids_png(path: Path, values, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if mode == "P":
        image = image.convert("L")
        image.putpalette([*range(256)] * 3)
    image.save(path)


def rectangle(x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


def rle_row(frame: int, identity: int, kind: int, mask: np.ndarray) -> str:
    counts = masks.encode(mask)["counts"].decode()
    return f"{frame} {identity} {kind} {mask.shape[0]} {mask.shape[1]} {counts}\n"


def mot_clip(folder: Path, gt: str, det: str | None = None, length: int = 3) -> Path:
    images(folder / "img1", range(1, length + 1), suffix=".jpg")
    info = f"[Sequence]\nname={folder.name}\nimDir=img1\nframeRate=14\nseqLength={length}\n"
    text(folder / "seqinfo.ini", info + f"imWidth={WIDTH}\nimHeight={HEIGHT}\nimExt=.jpg\n")
    text(folder / "gt" / "gt.txt", gt)
    if det is not None:
        text(folder / "det" / "det.txt", det)
    return folder


KEYPOINTS = [
    *("nose", "head_bottom", "head_top", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee"),
    *("right_knee", "left_ankle", "right_ankle"),
]


def person(image: int, track: int, **other) -> dict:
    points = [[index, index + 1, 0 if name.endswith("ear") else 1] for index, name in enumerate(KEYPOINTS)]
    return {
        "id": image * 100 + track,
        "image_id": image,
        "track_id": track,
        "category_id": 1,
        "keypoints": [value for point in points for value in point],
        "bbox_head": [1, 1, 3, 4],
        **other,
    }


def posetrack(root: Path, people: list[dict], labelled=(True, True, False), name="000001_mpii") -> Path:
    images(root / "images" / "val" / name, range(len(labelled)), suffix=".jpg")
    content = {
        "images": [
            {
                "file_name": f"images/val/{name}/{index:06d}.jpg",
                "id": index,
                "vid_id": "000001",
                "is_labeled": flag,
            }
            for index, flag in enumerate(labelled)
        ],
        "annotations": people,
        "categories": [{"id": 1, "name": "person", "keypoints": KEYPOINTS}],
    }
    return text(root / "annotations" / "val" / f"{name}.json", json.dumps(content))
