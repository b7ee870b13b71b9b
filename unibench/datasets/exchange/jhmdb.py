"""JHMDB's joints: `<action>/<clip>/joint_positions.mat` with `pos_img` (2, joint, frame), pixels from 1."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unibench.datasets.exchange.boxes import path
from unibench.datasets.files import fail, inside
from unibench.datasets.jhmdb import JOINTS, MAT, read_joints
from unibench.records import Clip, Labels


def write(folder: Path, clip: Clip, predicted: Sequence[Labels]) -> None:
    """Write the joints of a clip.

    Raises:
        DataError: A frame has not one person with all joints.
    """
    from scipy.io import savemat  # slow to import

    file = path(folder, f"{clip.name}/{MAT}", "")
    for index, labels in enumerate(predicted):
        if labels.keypoints.shape[:2] != (1, JOINTS):
            found = (
                f"{labels.keypoints.shape[0]} persons of {labels.keypoints.shape[1]} joints in frame {index}"
            )
            fail(file, f"{found}, expected 1 of {JOINTS}", "this format holds nothing else")
    poses = np.stack([labels.keypoints[0, :, :2] for labels in predicted])
    savemat(file, {"pos_img": poses.transpose(2, 1, 0) + 1})


def read(folder: Path, clip: Clip) -> tuple[Labels, ...]:
    """Read the joints of a clip.

    Raises:
        DataError: The file is missing or damaged, or has another number of frames.
    """
    file = inside(folder, f"{clip.name}/{MAT}")
    poses = read_joints(file)
    if len(poses) != clip.length:
        fail(file, f"joints of {len(poses)} frames, expected {clip.length}", "write every frame once")
    one = np.array([1], dtype=np.int64)
    return tuple(Labels(ids=one, keypoints=pose[None]) for pose in poses)
