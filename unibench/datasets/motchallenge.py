"""MOTChallenge boxes: `<split>/<clip>/{img1, gt/gt.txt, det/det.txt, seqinfo.ini}` (MOT15/16/17/20,
DanceTrack, ...).

Left and top are taken as they stand in the files, for truth and for detections alike: nominally they count
from 1, but the official scorer does not shift them, and neither do published trackers.

Reference:
    Milan et al., arXiv 1603.00831 (classes, distractors); rules as in TrackEval's `MotChallenge2DBox`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from unibench.datasets.clips import image_clip
from unibench.datasets.files import (
    Table,
    fail,
    found_clips,
    frame_index,
    inside,
    integer,
    number,
    read_table,
    read_text,
    require_folder,
    rows_by_frame,
    subfolders,
)
from unibench.datasets.images import frame_number, list_images
from unibench.records import BYSTANDER, EXCUSED, Clip, Labels, Truth

PEDESTRIAN = 1
DISTRACTORS = (2, 7, 8, 12)
"""Person on vehicle, static person, distractor, reflection: a prediction on one of them does not count."""
DISTRACTORS_MOT20 = (*DISTRACTORS, 6)
"""MOT20 adds non-motorised vehicles."""
VOCABULARY = ("pedestrian",)
NO_CLASSES: Int[np.ndarray, " none"] = np.zeros(0, dtype=np.int64)
FASTEST = 1000.0
"""Frames per second; more is a mistake."""
FPS_MOT15 = {
    "ADL-Rundle-6": 30.0,
    "ADL-Rundle-8": 30.0,
    "ETH-Bahnhof": 14.0,
    "ETH-Pedcross2": 14.0,
    "ETH-Sunnyday": 14.0,
    "KITTI-13": 10.0,
    "KITTI-17": 10.0,
    "PETS09-S2L1": 7.0,
    "TUD-Campus": 25.0,
    "TUD-Stadtmitte": 25.0,
    "Venice-2": 30.0,
}
"""Frame rates of MOT15's training clips, whose first release has no `seqinfo.ini`. Those of PETS09-S2L1 and TUD-Campus
were compared with the released files, the others were not; a `seqinfo.ini` always wins."""
LAYOUT = "MOTChallenge: <split>/<clip>/{img1, gt/gt.txt, seqinfo.ini}"


@dataclass(frozen=True)
class SequenceInfo:
    """What `seqinfo.ini` says of a clip."""

    images: Path
    fps: float
    length: int | None
    """Number of frames; None where it is not said."""


def names(root: Path, split: str = "train") -> list[str]:
    """List the clips of a split that have truth.

    In MOT17 the three detectors' copies (`-DPM`, `-FRCNN`, `-SDP`) of a video are separate clips, as in the
    official scores; choose one detector by clip names.

    Args:
        root: The benchmark's folder.
        split: Folder of the split.

    Raises:
        DataError: There are none.
    """
    folder = require_folder(root / split, LAYOUT)
    clips = [clip.name for clip in subfolders(folder) if (clip / "gt" / "gt.txt").is_file()]
    return found_clips(clips, folder, "<clip>/gt/gt.txt")


def load_mot15(root: Path, name: str, split: str = "train") -> tuple[Clip, Truth]:
    """Read a clip of MOT15, which has no classes: rows marked 0 are dropped, everything else is scored.

    Args:
        root: The benchmark's folder.
        name: Clip.
        split: Folder of the split.

    Raises:
        DataError: Files are missing or malformed.
    """
    folder = inside(root / split, name)
    images, info, numbers = open_sequence(folder)
    table, index = _truth_rows(folder, range(7, 11), numbers)
    considered = table.values[:, 6] != 0
    truth = Truth(_by_frame(table, index, considered, len(images)))
    return image_clip(
        name, images, info.fps, detections=_published(folder, numbers), vocabulary=VOCABULARY
    ), truth


def load(
    root: Path, name: str, split: str = "train", distractors: Sequence[int] = DISTRACTORS
) -> tuple[Clip, Truth]:
    """Read a clip of MOT16, MOT17, DanceTrack or SportsMOT; see `load_mot20` for MOT20.

    Scored: class 1 that is marked to be considered. Excused: distractors, whatever their mark. Bystanders:
    all the rest (they take part in the official scorer's matching and excuse nothing).

    Args:
        root: The benchmark's folder.
        name: Clip.
        split: Folder of the split.
        distractors: Classes on which a prediction does not count.

    Raises:
        DataError: Files are missing or malformed.
    """
    folder = inside(root / split, name)
    images, info, numbers = open_sequence(folder)
    table, index = _truth_rows(folder, range(8, 11), numbers)
    classes = table.integers(7, "a class")
    scored = (classes == PEDESTRIAN) & (table.values[:, 6] != 0)
    kinds = np.where(np.isin(classes, distractors), EXCUSED, BYSTANDER)
    ignored = tuple(
        Labels(boxes=_xyxy(table.values[rows]), classes=kinds[rows])
        for rows in rows_by_frame(np.where(scored, -1, index), len(images))
    )
    truth = Truth(_by_frame(table, index, scored, len(images)), ignored)
    return image_clip(
        name, images, info.fps, detections=_published(folder, numbers), vocabulary=VOCABULARY
    ), truth


def load_mot20(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read a clip of MOT20: as `load`, with one more class of distractors.

    Args:
        root: The benchmark's folder.
        name: Clip.

    Raises:
        DataError: Files are missing or malformed.
    """
    return load(root, name, distractors=DISTRACTORS_MOT20)


def names_val(root: Path) -> list[str]:
    """List the clips of the validation split (DanceTrack, SportsMOT).

    Raises:
        DataError: There are none.
    """
    return names(root, "val")


def load_val(root: Path, name: str) -> tuple[Clip, Truth]:
    """Read a clip of the validation split (DanceTrack, SportsMOT).

    Args:
        root: The benchmark's folder.
        name: Clip.

    Raises:
        DataError: Files are missing or malformed.
    """
    return load(root, name, "val")


def open_sequence(folder: Path) -> tuple[list[Path], SequenceInfo, tuple[int, ...]]:
    """Find the frames of a clip.

    Args:
        folder: The clip's folder, with `seqinfo.ini`; clips of MOT15, as first released, need none.

    Returns:
        images: One for each frame, in order.
        info: What `seqinfo.ini` says.
        numbers: The number of each frame, as `gt.txt` and `det.txt` count.

    Raises:
        DataError: `seqinfo.ini` is malformed, or frames are missing.
    """
    info = _sequence_info(folder)
    images = list_images(info.images)
    if info.length not in (None, len(images)):
        found = f"{len(images)} images, expected {info.length} (seqLength in {folder / 'seqinfo.ini'})"
        fail(info.images, found, "the data set is incomplete; fetch it again")
    return images, info, tuple(frame_number(path) for path in images)


def frame_rate(folder: Path) -> float | None:
    """Frames per second of a clip as its `seqinfo.ini` says; None: there is none, or it does not say.

    Raises:
        DataError: `seqinfo.ini` is malformed.
    """
    file = folder / "seqinfo.ini"
    lines = _section(file) if file.exists() else {}
    return (
        _checked_rate(file, number(lines["framerate"], f"{file}: frameRate"))
        if "framerate" in lines
        else None
    )


def read_truth(file: Path, numbers: tuple[int, ...], kinds: int = 0) -> tuple[Labels, ...]:
    """Read rows `frame,id,left,top,width,height,considered[,class[,visibility[,...]]]`; those marked 0 are dropped.

    Args:
        file: Text file.
        numbers: The number of each frame of the clip.
        kinds: Number of classes, which the eighth column then counts from 1; 0: it is not read.

    Raises:
        DataError: A row is malformed, not finite, of negative size, of a class or a frame that does not exist, or
            repeats an id; or no box is left.
    """
    table = _boxes(file, range(8 if kinds else 7, 11))
    kept, classes = table.values[:, 6] != 0, _classes(table, kinds)
    return _by_frame(table, frame_index(table, numbers), kept, len(numbers), classes)


def read_detections(file: Path, numbers: tuple[int, ...], kinds: int = 0) -> tuple[Labels, ...]:
    """Read detections in MOTChallenge's rows: `frame,-1,left,top,width,height,score,...`.

    Args:
        file: Text file.
        numbers: The number of each frame of the clip.
        kinds: As in `read_truth`.

    Returns:
        Boxes, scores and classes of each frame, in the file's order.

    Raises:
        DataError: A row is malformed, not finite, of negative size, or of a class or a frame that does not exist.
    """
    table = _boxes(file, range(8 if kinds else 7, 11))
    classes = _classes(table, kinds)
    return tuple(
        Labels(
            boxes=_xyxy(table.values[rows]),
            scores=table.values[rows, 6],
            classes=classes[rows] if kinds else classes,
        )
        for rows in rows_by_frame(frame_index(table, numbers), len(numbers))
    )


def read_tracks(file: Path, numbers: tuple[int, ...], kinds: int = 0) -> tuple[Labels, ...]:
    """Read what a tracker has written in the same rows, with the id of its track in each.

    Args:
        file: Text file; it may be empty.
        numbers: The number of each frame of the clip.
        kinds: Number of classes, which the eighth column then counts from 1; 0: none.

    Returns:
        Ids, boxes, scores and classes of each frame, in the file's order.

    Raises:
        DataError: A row is malformed, not finite, of negative size, of a class or a frame that does not exist, or
            repeats an id.
    """
    table = _boxes(file, range(8 if kinds else 7, 11))
    classes = _classes(table, kinds)
    index, ids = frame_index(table, numbers), table.integers(1, "an id")
    _refuse_repeats(table, index, ids, np.ones(len(ids), dtype=bool))
    return tuple(
        Labels(
            ids=ids[rows],
            boxes=_xyxy(table.values[rows]),
            scores=table.values[rows, 6],
            classes=classes[rows] if kinds else classes,
        )
        for rows in rows_by_frame(index, len(numbers))
    )


def _classes(table: Table, kinds: int) -> Int[np.ndarray, " row_or_none"]:
    """The classes of the rows, from 0; none where there are no kinds to tell apart."""
    if not kinds:
        return NO_CLASSES
    classes = table.integers(7, "a class") - 1
    table.refuse((classes < 0) | (classes >= kinds), "a class", f"expected 1 to {kinds}")
    return classes


def _truth_rows(
    folder: Path, columns: range, numbers: tuple[int, ...]
) -> tuple[Table, Int[np.ndarray, " row"]]:
    table = _boxes(folder / "gt" / "gt.txt", columns)
    if not len(table.lines):
        fail(
            table.path,
            "an empty annotation, expected at least one box",
            "the file is damaged; fetch it again",
        )
    return table, frame_index(table, numbers)


def _published(folder: Path, numbers: tuple[int, ...]) -> tuple[Labels, ...] | None:
    file = folder / "det" / "det.txt"
    return read_detections(file, numbers) if file.is_file() else None


def _sequence_info(folder: Path) -> SequenceInfo:
    """What `seqinfo.ini` says; without it, and where it lacks a line, what the files themselves and the papers say."""
    file = folder / "seqinfo.ini"
    lines = _section(file) if file.exists() else {}
    images = inside(folder, lines.get("imdir", "img1"))
    length = integer(lines["seqlength"], f"{file}: seqLength") if "seqlength" in lines else None
    if "framerate" not in lines and folder.name not in FPS_MOT15:
        found = "no frameRate" if file.exists() else "no such file, and no published frame rate of this clip"
        fail(
            file, found, "write the lines [Sequence] and frameRate=25 (frames per second of the video) in it"
        )
    fps = number(lines["framerate"], f"{file}: frameRate") if "framerate" in lines else FPS_MOT15[folder.name]
    return SequenceInfo(images, _checked_rate(file, fps), length)


def _checked_rate(file: Path, fps: float) -> float:
    if not 0 < fps <= FASTEST:
        fail(
            file,
            f"frameRate is {fps:g}, expected more than 0 and at most {FASTEST:g}",
            "write the video's own",
        )
    return fps


def _section(file: Path) -> dict[str, str]:
    """The lines `key=value` of the section `[Sequence]`, keys in lower case."""
    lines: dict[str, str] = {}
    section = ""
    for row, line in enumerate(map(str.strip, read_text(file).splitlines()), start=1):
        key, equals, value = (part.strip() for part in line.partition("="))
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line and line[0] not in ";#" and section == "Sequence":
            if not equals:
                fail(f"{file}:{row}", f"found {line[:80]!r}, expected key=value", "correct this line")
            if key.lower() in lines:
                fail(f"{file}:{row}", f"{key} stands twice", "remove one of the two lines")
            lines[key.lower()] = value
    if not section:
        fail(file, "no section [Sequence]", "expected [Sequence], then frameRate and seqLength")
    return lines


def _boxes(file: Path, columns: range) -> Table:
    table = read_table(file, columns)
    hint = "correct or remove this line"
    table.refuse(~np.isfinite(table.values).all(axis=1), "a value that is not finite", hint)
    table.refuse(table.values[:, 4:6].min(axis=1) < 0, "a negative width or height", hint)
    table.refuse_far(table.values[:, 2:6])
    return table


def _xyxy(rows: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row 4"]:
    return np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)


def _by_frame(
    table: Table, index: Int[np.ndarray, " row"], keep: Bool[np.ndarray, " row"], length: int,
    classes: Int[np.ndarray, " row_or_none"] = NO_CLASSES,
) -> tuple[Labels, ...]:  # fmt: skip
    """Group the kept rows by frame, ordered by id within each."""
    if not (table.values[keep, 4:6] > 0).all(axis=1).any():
        fail(
            table.path,
            "no box to be scored, expected at least one of some size",
            "check ids, marks and classes",
        )
    ids = table.integers(1, "an id")
    _refuse_repeats(table, index, ids, keep)
    groups = [rows[np.argsort(ids[rows])] for rows in rows_by_frame(np.where(keep, index, -1), length)]
    return tuple(
        Labels(
            ids=ids[rows],
            boxes=_xyxy(table.values[rows]),
            classes=classes[rows] if len(classes) else NO_CLASSES,
        )
        for rows in groups
    )


def _refuse_repeats(
    table: Table, index: Int[np.ndarray, " row"], ids: Int[np.ndarray, " row"], keep: Bool[np.ndarray, " row"]
) -> None:
    rows = np.flatnonzero(keep)
    _, first = np.unique(np.stack([index[rows], ids[rows]]), axis=1, return_index=True)
    repeated = np.zeros(len(index), dtype=bool)
    repeated[np.delete(rows, first)] = True
    table.refuse(repeated, "an id that stands twice in this frame", "remove one of the two lines")
