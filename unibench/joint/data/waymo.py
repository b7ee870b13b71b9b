"""Waymo Open Dataset, unpacked into folders, as COCO JSON of videos.

The data set comes as Parquet (v2). Unpacked here means: the table `camera_box` of a segment as CSV, with its own
column names, and the images of its table `camera_image` as files:

    <root>/<segment>/camera_box.csv
    <root>/<segment>/<camera>/<timestamp>.jpg       camera 1 to 5, timestamp in microseconds

Every camera of a segment becomes a video: identities are not shared between cameras.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unibench.datasets.files import (
    FARTHEST,
    fail,
    found_clips,
    inside,
    integer,
    number,
    read_text,
    require_folder,
    subfolders,
    visible,
)
from unibench.datasets.images import SUFFIXES, frame_number, image_size

TYPES = {1: "vehicle", 2: "pedestrian", 3: "sign", 4: "cyclist"}
BOX = "[CameraBoxComponent].box."
COLUMNS = {
    "frame": "key.frame_timestamp_micros",
    "camera": "key.camera_name",
    "object": "key.camera_object_id",
    "type": "[CameraBoxComponent].type",
    "x": f"{BOX}center.x",
    "y": f"{BOX}center.y",
    "width": f"{BOX}size.x",
    "height": f"{BOX}size.y",
}
LAYOUT = "<segment>/camera_box.csv and <segment>/<camera>/<timestamp>.jpg"


def convert(root: Path) -> dict[str, Any]:
    """Convert all segments.

    Args:
        root: Folder of the segments.

    Returns:
        COCO JSON of videos: `videos`, `images`, `annotations` and `categories`; `file_name`s start from `root`.

    Raises:
        DataError: There are no segments, or a table or an image is missing or malformed.
    """
    segments = [one for one in subfolders(require_folder(root, LAYOUT)) if (one / "camera_box.csv").is_file()]
    found_clips([one.name for one in segments], root, LAYOUT)
    table: dict[str, Any] = {"videos": [], "images": [], "annotations": []}
    table["categories"] = [{"id": number, "name": name} for number, name in TYPES.items()]
    for segment in segments:
        images: dict[tuple[str, int], int] = {}
        for camera in subfolders(segment):
            images |= _add_video(table, root, camera)
        _add_boxes(table, segment / "camera_box.csv", images)
    return table


def _add_video(table: dict[str, Any], root: Path, camera: Path) -> dict[tuple[str, int], int]:
    """Add one camera's images; (camera, timestamp) -> number of the image."""
    video = len(table["videos"]) + 1
    table["videos"].append({"id": video, "name": str(camera.relative_to(root))})
    paths = sorted((one for one in visible(camera, "*") if one.suffix.lower() in SUFFIXES), key=frame_number)
    known = {}
    for index, path in enumerate(paths):
        height, width = image_size(path)
        image = len(table["images"]) + 1
        known[camera.name, frame_number(path)] = image
        table["images"].append(
            {
                "id": image,
                "file_name": str(path.relative_to(root)),
                "height": height,
                "width": width,
                "video_id": video,
                "frame_id": index,
            }
        )
    return known


def _add_boxes(table: dict[str, Any], file: Path, images: Mapping[tuple[str, int], int]) -> None:
    tracks: dict[str, int] = {}
    try:
        lines = [*csv.DictReader(read_text(file).splitlines())]
    except csv.Error as error:
        fail(file, f"not a table ({error})", "write the table camera_box as it is")
    for row_number, cells in enumerate(lines, start=2):
        where = f"{file}:{row_number}"
        if None in cells:
            fail(where, "more cells than columns", "write the table camera_box as it is")
        row = _row(cells, where)
        key = (str(row["camera"]), row["frame"])
        if key not in images:
            image = inside(file.parent, f"{key[0]}/{key[1]}.jpg")
            fail(
                where,
                f"a box in {str(image)!r}, which is not there",
                "unpack this camera, or remove the line",
            )
        if row["type"] not in TYPES:
            fail(
                where,
                f"type {row['type']}, expected one of {', '.join(map(str, TYPES))}",
                "correct this line",
            )
        width, height = row["width"], row["height"]
        table["annotations"].append(
            {
                "id": len(table["annotations"]) + 1,
                "image_id": images[key],
                "category_id": row["type"],
                "instance_id": tracks.setdefault(str(row["object"]), len(tracks) + 1),
                "bbox": [row["x"] - width / 2, row["y"] - height / 2, width, height],
                "area": width * height,
                "iscrowd": 0,
            }
        )


def _row(cells: Mapping[str, str | None], where: str) -> dict[str, Any]:
    """One line of the table under short names, numbers as numbers."""
    row: dict[str, Any] = {}
    for name, column in COLUMNS.items():
        text = cells.get(column)
        if text is None:
            fail(where, f"no column {column!r}", "write the table camera_box as it is")
        row[name] = text if name == "object" else _number(text, name, f"{where}: {column}")
    return row


def _number(text: str, name: str, where: str) -> float | int:
    if name in ("frame", "camera", "type"):
        return integer(text, where)
    lowest = 0 if name in ("width", "height") else -FARTHEST
    value = number(text, where)
    if not lowest <= value <= FARTHEST:
        fail(where, f"found {text!r}, expected {lowest:g} to {FARTHEST:g} pixels", "correct this line")
    return value
