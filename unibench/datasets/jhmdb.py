"""JHMDB: `Rename_Images/<action>/<clip>/00001.png`, `joint_positions/<action>/<clip>/joint_positions.mat`.

Joints: neck, belly, face, then right and left shoulder, hip, elbow, knee, wrist, ankle.

Reference:
    Jhuang et al., ICCV 2013; clips of the first test split as in TimeCycle, UVC and UniTrack.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from unibench.datasets.clips import image_clip
from unibench.datasets.files import (
    FARTHEST,
    fail,
    found_clips,
    inside,
    read_bytes,
    read_list,
    require_folder,
    visible,
)
from unibench.datasets.images import list_images
from unibench.datasets.mat import read_array
from unibench.records import Clip, Labels, Truth

FPS = 25.0  # the benchmark does not say
JOINTS = 15
MAT = "joint_positions.mat"


def names(root: Path) -> list[str]:
    """List the clips, `action/clip`: those that `splits/*_test_split1.txt` marks 2 (test), else all with
    joints.

    Raises:
        DataError: There are none.
    """
    require_folder(root, f"JHMDB: Rename_Images and joint_positions/<action>/<clip>/{MAT}")
    splits = visible(root / "splits", "*_test_split1.txt")
    if splits:
        return found_clips([name for file in splits for name in _tested(file)], root / "splits", "test clips")
    files = visible(root / "joint_positions", f"*/*/{MAT}")
    return found_clips(
        [f"{file.parts[-3]}/{file.parts[-2]}" for file in files], root, f"<action>/<clip>/{MAT}"
    )


def load(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read one clip; images after the last annotated frame are left out.

    Args:
        root: The benchmark's folder.
        name: Clip, `action/clip`.

    Raises:
        DataError: Joints or frames are missing or damaged.
    """
    file = inside(root / "joint_positions", name) / MAT
    joints = read_joints(file)
    images = list_images(inside(root / "Rename_Images", name))
    if len(images) < len(joints):
        fail(
            file,
            f"{len(joints)} frames of joints for {len(images)} images",
            "fetch the frames of this clip again",
        )
    one = np.array([1], dtype=np.int64)
    labels = tuple(Labels(ids=one, keypoints=person[None]) for person in joints)
    return image_clip(name, images[: len(joints)], FPS, prompt=labels[0]), Truth(labels)


def _tested(file: Path) -> list[str]:
    action = file.name.removesuffix("_test_split1.txt")
    rows = [line.split() for line in read_list(file)]
    return [f"{action}/{row[0].removesuffix('.avi')}" for row in rows if row[1:] == ["2"]]


def read_joints(file: Path) -> Float[np.ndarray, "frame 15 3"]:
    """Read `pos_img` (2, joint, frame), which counts pixels from 1, as (frame, joint, 3) counting from 0.

    Raises:
        DataError: The file is missing or damaged, or holds other joints.
    """
    try:
        positions = read_array(read_bytes(file), "pos_img").astype(np.float64)
    except ValueError as error:
        fail(file, f"no joints can be read ({error})", "the file is damaged; fetch it again")
    if positions.ndim != 3 or positions.shape[:2] != (2, JOINTS) or not positions.shape[2]:
        fail(
            file,
            f"pos_img of shape {positions.shape}, expected (2, {JOINTS}, frames)",
            "fetch the file again",
        )
    if not (np.abs(positions) <= FARTHEST).all():
        fail(file, "a joint that is no place in pixels", "the file is damaged; fetch it again")
    labelled = np.ones((positions.shape[2], JOINTS, 1))
    return np.concatenate([positions.transpose(2, 1, 0) - 1, labelled], axis=2)
