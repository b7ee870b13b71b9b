"""PoseTrack18 JSON: images, annotations with a track's id and the 17 keypoints, categories."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unibench.datasets import posetrack
from unibench.datasets.clips import image_files
from unibench.datasets.exchange.boxes import path
from unibench.datasets.files import inside
from unibench.records import Clip, Labels

KEYPOINTS = (
    *(
        "nose",
        "head_bottom",
        "head_top",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
    ),
    *(
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
    ),
    "right_ankle",
)
"""In the order of the benchmark's files; the ears are 0."""
_PLACES = [KEYPOINTS.index(joint) for joint in posetrack.JOINTS]


def write(folder: Path, clip: Clip, predicted: Sequence[Labels]) -> None:
    """Write the poses of a clip: x, y and score of each keypoint."""
    files = image_files(clip)
    images = [
        {"id": index, "file_name": str(files[index]) if files else f"{clip.name}/{index:06d}.jpg"}
        for index in range(clip.length)
    ]
    people = []
    for index, labels in enumerate(predicted):
        points = np.zeros((len(labels.ids), len(KEYPOINTS), 3))
        points[:, _PLACES] = labels.keypoints.reshape(len(labels.ids), len(_PLACES), 3)
        for identity, pose in zip(labels.ids.tolist(), points, strict=True):
            people.append(
                {
                    "image_id": index,
                    "track_id": identity,
                    "category_id": 1,
                    "keypoints": pose.ravel().tolist(),
                    "scores": pose[:, 2].tolist(),
                }
            )
    categories = [{"id": 1, "name": "person", "keypoints": KEYPOINTS}]
    content = {"images": images, "annotations": people, "categories": categories}
    path(folder, clip.name, ".json").write_text(json.dumps(content, allow_nan=False) + "\n")


def read(folder: Path, clip: Clip) -> tuple[Labels, ...]:
    """Read the poses of a clip.

    Raises:
        DataError: The file is missing or malformed, or has another number of frames.
    """
    return posetrack.read_tracks(inside(folder, f"{clip.name}.json"), clip.length)
