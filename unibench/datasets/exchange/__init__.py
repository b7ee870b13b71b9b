"""Predictions in the benchmarks' own formats, as their servers and TrackEval read them: written, and read back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unibench.datasets.exchange import boxes, coco, davis, jhmdb, mots, points, posetrack, rectangles
from unibench.errors import DataError, UnknownNameError
from unibench.records import Clip, Labels


@dataclass(frozen=True)
class Format:
    """How the predictions of one clip lie in a folder."""

    name: str
    layout: str
    """The files of a clip."""
    loss: str
    """What is not as it was when it is read back."""
    write: Callable[[Path, Clip, Sequence[Labels]], None]
    """Folder, clip, labels of every frame: write the clip's files."""
    read: Callable[[Path, Clip], tuple[Labels, ...]]
    """Folder, clip -> labels of every frame. Raises DataError."""


_ROUNDING = "a right or lower edge may differ in its last digit (1e-13 px)"
_SOT = Format(
    "OTB and LaSOT txt", "<clip>.txt: x,y,width,height from 1", _ROUNDING, rectangles.write, rectangles.read
)
FORMATS: Mapping[str, Format] = {
    "sot": _SOT,
    "sot/got10k": Format(
        "GOT-10k txt",
        "<clip>/<clip>_001.txt: x,y,width,height from 1",
        _ROUNDING,
        rectangles.write_got10k,
        rectangles.read_got10k,
    ),
    "vos": Format(
        "DAVIS and YouTube-VOS PNG",
        "<clip>/<frame>.png: the palette's index is the id",
        "nothing, where masks do not overlap; else the later object is on top",
        davis.write,
        davis.read,
    ),
    "mot": Format(
        "MOTChallenge txt",
        "<clip>.txt: frame,id,left,top,width,height,score,-1,-1,-1",
        _ROUNDING,
        boxes.write,
        boxes.read,
    ),
    "mots": Format(
        "MOTS and KITTI-MOTS txt",
        "<clip>.txt: frame id class height width rle",
        "scores",
        mots.write,
        mots.read,
    ),
    "posetrack": Format(
        "PoseTrack18 JSON",
        "<clip>.json: images, annotations, categories",
        "nothing",
        posetrack.write,
        posetrack.read,
    ),
    "pose": Format(
        "JHMDB joints",
        "<clip>/joint_positions.mat: pos_img, pixels from 1",
        "scores; a joint may differ in its last digit (1e-13 px)",
        jhmdb.write,
        jhmdb.read,
    ),
    "points": Format(
        "TAP-Vid npz",
        "<clip>.npz: points (point, frame, [x, y]) from 0 to 1, occluded (point, frame), ids",
        "a place may differ in its last digit (1e-12 px)",
        points.write,
        points.read,
    ),
    "det": Format(
        "COCO results JSON", "<clip>.json: image_id is the frame's number", _ROUNDING, coco.write, coco.read
    ),
}
"""Task, or family -> its format."""


def find(task: str) -> Format:
    """Look up the format of a task.

    Args:
        task: `family/benchmark`.

    Raises:
        UnknownNameError: Its predictions have no format.
        DataError: It is a task of chosen classes, which files count otherwise.
    """
    if ":" in task:
        raise DataError(
            f"task {task!r}: files of its format count all classes of the benchmark, not those chosen; name the task "
            f"{task.partition(':')[0]!r}"
        )
    found = FORMATS.get(task) or FORMATS.get(task.partition("/")[0])
    if found is None:
        raise UnknownNameError("format of predictions for the task", task, FORMATS)
    return found
