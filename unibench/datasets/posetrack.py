"""PoseTrack18 JSON: `annotations/val/<clip>.json` (or `annotations/<clip>.json`) and the images that it
names.

The 17 keypoints of the files become the 15 of the official scorer: right ankle, knee, hip; left hip, knee,
ankle; right wrist, elbow, shoulder; left shoulder, elbow, wrist; neck (`head_bottom`), nose, head top. The
ears are never labelled.

Reference:
    Andriluka et al., CVPR 2018; joints and head size as in poseval.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from unibench.datasets.clips import image_clip
from unibench.datasets.files import fail, found_clips, inside, read_text, require_folder
from unibench.records import Clip, Labels, Truth

FPS = 25.0  # not given by the benchmark
JOINTS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("head_bottom", "nose", "head_top"),
)
HEAD = 0.6
"""Head size as a share of the head box's diagonal."""
VOCABULARY = ("person",)
_HINT = "expected PoseTrack18 JSON with images, annotations and categories"


def names(root: Path) -> list[str]:
    """List the clips: the files in `annotations/val`, without it those in `annotations`.

    Raises:
        DataError: there are none.
    """
    folder = _annotations(root)
    return found_clips(sorted(file.stem for file in folder.glob("*.json")), folder, "<clip>.json")


def load(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one clip with all its frames; those without labels are not scored.

    People without a single labelled joint are left out: no scorer can match them.

    Args:
        root: the benchmark's folder.
        name: clip.

    Raises:
        DataError: files are missing or malformed.
    """
    file = inside(_annotations(root), f"{name}.json")
    content = _read(file)
    images = content["images"]
    paths = [inside(root, str(image["file_name"])) for image in images]
    people = _by_image(file, content)
    try:
        frames = [_truth(file, people[image["id"]]) for image in images]
    except (KeyError, TypeError, ValueError) as error:
        fail(file, f"an annotation that cannot be understood ({error!r})", _HINT)
    scored = tuple(index for index, image in enumerate(images) if image.get("is_labeled", True))
    truth = Truth(
        tuple(labels for labels, _ in frames),
        scales=tuple(scale for _, scale in frames),
        scored=None if len(scored) == len(images) else scored,
    )
    for path in paths:
        if not path.is_file():
            fail(path, "no such image", f"named in {file}; fetch the images again")
    return image_clip(name, paths, FPS, vocabulary=VOCABULARY), truth


def read_detections(file: Path, length: int) -> tuple[Labels, ...]:
    """Read detected people in the same form; a `keypoints` triple is x, y, score.

    A person's score is its `score`, without it the mean of its `scores`, without both 1.

    Args:
        file: JSON file whose `images` are the clip's frames, in order.
        length: number of frames of the clip.

    Raises:
        DataError: the file is malformed or has another number of frames.
    """
    content = _read(file)
    if len(content["images"]) != length:
        fail(
            file,
            f"{len(content['images'])} images, expected {length} as in the clip",
            "list every frame once",
        )
    people = _by_image(file, content)
    try:
        return tuple(_detected(file, people[image["id"]]) for image in content["images"])
    except (KeyError, TypeError, ValueError) as error:
        fail(file, f"an annotation that cannot be understood ({error!r})", _HINT)


def _annotations(root: Path) -> Path:
    require_folder(root, "PoseTrack18: annotations/val and images")
    val = root / "annotations" / "val"
    return val if val.is_dir() else require_folder(root / "annotations", "PoseTrack18 JSON files")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        fail(file, f"not JSON ({error})", "the file is damaged; fetch it again")
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or any(not isinstance(content.get(key), list) for key in keys):
        fail(file, "another form of JSON", _HINT)
    if any(not isinstance(item, dict) for key in keys for item in content[key]):
        fail(file, "a list of something else than objects", _HINT)
    images = content["images"]
    if not images:
        fail(file, "an empty clip, expected images", "the file is damaged; fetch it again")
    if any("file_name" not in image or "id" not in image for image in images):
        fail(file, "an image without file_name or id", _HINT)
    if len({image["file_name"] for image in images}) != len(images):
        fail(file, "an image that is listed twice", "the file is damaged; fetch it again")
    if len({image.get("vid_id") for image in images}) > 1:
        fail(file, "frames of more than one video", "keep one file for each video")
    return content


def _by_image(file: Path, content: dict[str, Any]) -> dict[Any, list[tuple[dict[str, Any], list[int]]]]:
    """Annotations of every image, each with the place of our 15 joints among its own keypoints."""
    orders = {}
    for category in content["categories"]:
        known = category.get("keypoints") or []
        if missing := [joint for joint in JOINTS if joint not in known]:
            fail(file, f"a category without the keypoints {', '.join(missing)}", _HINT)
        orders[category.get("id")] = [known.index(joint) for joint in JOINTS]
    people: dict[Any, list[tuple[dict[str, Any], list[int]]]] = {
        image["id"]: [] for image in content["images"]
    }
    for person in content["annotations"]:
        if person.get("image_id") not in people or person.get("category_id") not in orders:
            fail(file, f"annotation {person.get('id')} of an unknown image or category", _HINT)
        people[person["image_id"]].append((person, orders[person["category_id"]]))
    return people


def _keypoints(file: Path, person: dict[str, Any], order: list[int]) -> Float[np.ndarray, "15 3"]:
    keypoints = np.array(person["keypoints"], dtype=np.float64).reshape(-1, 3)[order]
    if not np.isfinite(keypoints).all():
        fail(file, f"annotation {person.get('id')} has a keypoint that is not finite", "correct or remove it")
    return keypoints


def _truth(
    file: Path, annotations: list[tuple[dict[str, Any], list[int]]]
) -> tuple[Labels, Float[np.ndarray, " object"]]:
    people = [(person, _keypoints(file, person, order)) for person, order in annotations]
    people = sorted(
        (item for item in people if (item[1][:, 2] > 0).any()), key=lambda item: int(item[0]["track_id"])
    )
    ids = np.array([int(person["track_id"]) for person, _ in people], dtype=np.int64)
    if len(set(ids.tolist())) != len(ids):
        fail(
            file,
            f"a track_id twice in image {people[0][0]['image_id']}",
            "the file is damaged; fetch it again",
        )
    keypoints = np.array([points for _, points in people], dtype=np.float64).reshape(len(ids), len(JOINTS), 3)
    heads = np.array([person["bbox_head"] for person, _ in people], dtype=np.float64).reshape(len(ids), 4)
    scales = HEAD * np.hypot(heads[:, 2], heads[:, 3])
    if not (scales > 0).all():
        fail(file, f"a head box without size in image {people[0][0]['image_id']}", "correct its bbox_head")
    return Labels(ids=ids, keypoints=keypoints), scales


def _detected(file: Path, annotations: list[tuple[dict[str, Any], list[int]]]) -> Labels:
    keypoints = [_keypoints(file, person, order) for person, order in annotations]
    scores = [_score(person) for person, _ in annotations]
    count = len(scores)
    return Labels(
        keypoints=np.array(keypoints, dtype=np.float64).reshape(count, len(JOINTS), 3),
        scores=np.array(scores, dtype=np.float64),
    )


def _score(person: dict[str, Any]) -> float:
    if "score" in person:
        return float(person["score"])
    scores = person.get("scores") or [1.0]
    return float(np.mean(scores))
