"""Clips to look at: truth and predictions as scripts, frames as pictures, one page a clip and setting."""

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unibench.evaluation.score_again import load_clip, predicted_of
from unibench.metrics import detection, timelines
from unibench.metrics.catalogue import show
from unibench.records import Clip, Labels, Truth
from unibench.report.boards import Setting
from unibench.results.atomic import replace_file
from unibench.results.store import ClipResult
from unibench.site.contents import Contents, RowKey, clip_order
from unibench.site.names import script
from unibench.tasks import registry
from unibench.tasks.family import Task

QUALITY = 70
"""Of the frames, as WebP counts it: 0 to 100."""
FPS = 25.0
"""Of a clip that does not say."""
LIMBS = {
    "pose/jhmdb": ((0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6), (3, 7), (4, 8), (5, 9), (6, 10), (7, 11), (8, 12),
                   (9, 13), (10, 14)),
    "": ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11), (8, 12), (9, 12), (2, 8), (3, 9),
         (12, 13), (13, 14)),
}  # fmt: skip
"""Task -> joints that a line joins; of every other task, in poseval's order of joints."""


@dataclass(frozen=True)
class Shown:
    """One row's prediction of a clip, as its page lists it."""

    name: str
    layer: str
    file: str
    score: str
    """Of this clip alone, as boards print it."""


@dataclass(frozen=True, eq=False)
class ClipPage:
    """One clip of one setting."""

    clip: Clip
    file: str
    """Path of the page within the site."""
    frames: str
    """Path of the folder of its frames within the site; empty: they are not shown."""
    rows: tuple[Shown, ...]
    """As the setting's ranking has them, best first."""
    shown: Mapping[str, Any]
    """What the viewer's script is given."""


def chosen(site: Contents, setting: Setting, most: int | None) -> list[str]:
    """The clips of a setting that get a page, worst first: so many, or all for None."""
    return clip_order(site, setting)[:most]


def write(
    site: Contents, setting: Setting, names: Sequence[str], folder: Path, data: Path | None, *, frames: bool
) -> Iterator[ClipPage]:
    """Write what scripts read of some clips of a setting: the truth, and every row's prediction.

    Args:
        site: What there is.
        setting: Task and protocol.
        names: Of the clips; those without stored predictions are passed over.
        folder: Of the site.
        data: Folder that holds the benchmarks' folders; rendered benchmarks need none.
        frames: Whether frames of data sets are shown; those of rendered benchmarks always are.

    Yields:
        A page for each clip.

    Raises:
        DataError: The data are not there, or are not those of the run.
        UnknownNameError: No benchmark of that name is here.
        OutputError: Predictions are damaged, or a file cannot be written.
    """
    task = registry.find(setting.task)
    for name in names:
        there = {
            row: one.clips[name]
            for row, one in site.results[setting].items()
            if name in one.clips and one.clips[name].predictions
        }
        if there:
            yield _write(site, setting, task, there, folder, data, shown=frames or not task.benchmark.folder)


def copy_frames(pages: Iterable[ClipPage], folder: Path) -> None:
    """Write the frames that pages show, once for all settings of a task.

    Args:
        pages: Of all settings.
        folder: Of the site.

    Raises:
        DataError: A frame is missing or damaged.
        OutputError: A file cannot be written.
    """
    longest: dict[str, Clip] = {}
    for page in pages:
        if page.frames and (page.frames not in longest or page.clip.length > longest[page.frames].length):
            longest[page.frames] = page.clip
    for place, clip in longest.items():
        for frame in clip.frames():
            file = io.BytesIO()
            Image.fromarray(frame.image).save(file, "WEBP", quality=QUALITY)
            replace_file(folder / place / f"{frame.index:05d}.webp", file.getvalue())


def _write(
    site: Contents, setting: Setting, task: Task, there: Mapping[RowKey, ClipResult], folder: Path,
    data: Path | None, *, shown: bool,
) -> ClipPage:  # fmt: skip
    first = next(iter(there.values()))
    clip, truth = load_clip(first, task, data)
    there = {
        row: one for row, one in there.items() if one.truth == first.truth
    }  # others were scored on other frames
    file = site.files.clips[setting.task][clip.name]
    page = Path("clips", site.files.settings[setting], file)
    for row, result in there.items():
        name = site.files.rows[row]
        with predicted_of(site.out, result) as predicted:
            replace_file(folder / page / f"{name}.js", script(name, _prediction(task, truth, predicted)))
    replace_file(folder / page / "truth.js", script("truth", _truth(truth)))
    frames = f"frames/{site.files.tasks[setting.task]}/{file}" if shown else ""
    headline, results = site.board.metrics[setting][0], site.results[setting]
    return ClipPage(
        clip=clip,
        file=f"{page.as_posix()}.html",
        frames=frames,
        rows=tuple(
            Shown(*row, site.files.rows[row], show(headline, results[row].values[clip.name])) for row in there
        ),
        shown={
            "width": clip.width,
            "height": clip.height,
            "fps": clip.fps or FPS,
            "length": clip.length,
            "frames": frames and f"../../{frames}",
            "limbs": LIMBS.get(setting.task, LIMBS[""]),
            "folder": file,
            "rows": {site.files.rows[row]: " / ".join(row) for row in there},
        },
    )


def _truth(truth: Truth) -> dict[str, Any]:
    frames = [_labels(labels, joints_seen=True) for labels in truth.labels]
    for frame, ignored in zip(frames, truth.ignored, strict=False):
        if len(ignored.boxes) or ignored.masks:
            frame["ignored"] = _labels(ignored, joints_seen=True)
    return {"frames": frames, "ids": _ids(truth.labels)}


def _prediction(task: Task, truth: Truth, predicted: Sequence[Labels]) -> dict[str, Any]:
    joints_seen = task.family.name != "pose"  # whose third value says nothing
    drawn = _counted(truth, predicted) if task.family.name == "det" else predicted
    told: dict[str, Any] = {
        "frames": [_labels(labels, joints_seen=joints_seen) for labels in drawn],
        "ids": _ids(predicted),
    }
    found = timelines.timeline(task.family.name, truth, predicted)
    if found:
        told |= {
            "score": found.name,
            "values": timelines.rounded(found.values),
            "words": list(found.words) if any(found.words) else [],
            "events": [list(event) for event in found.events],
        }
    return told


def _counted(truth: Truth, predicted: Sequence[Labels]) -> list[Labels]:
    """The boxes of detections that score as high as is best for F1: a detector says a hundred things of a frame."""
    lowest = detection.best_scores(truth, predicted)
    found = []
    for labels in predicted:
        scores = [lowest.get(name, math.inf) for name in labels.classes.tolist()]
        found.append(Labels(boxes=labels.boxes[labels.scores >= np.array(scores)]))
    return found


def _ids(frames: Sequence[Labels]) -> list[int]:
    return sorted({one for labels in frames for one in labels.ids.tolist()})


def _labels(labels: Labels, *, joints_seen: bool) -> dict[str, Any]:
    """One frame: ids, boxes to a tenth of a pixel, masks as runs, joints as x and y in turn (null: not there)."""
    found: dict[str, Any] = {}
    if len(labels.ids):
        found["ids"] = labels.ids.tolist()
    if len(labels.boxes):
        found["boxes"] = [_numbers(box) for box in labels.boxes]
    if labels.masks:
        found["masks"] = [mask["counts"].decode() for mask in labels.masks]
    if labels.keypoints.shape[1] == 1:  # points, each an object of its own: what is hidden is drawn as a ring
        found["joints"] = [_numbers(place) for place in labels.keypoints[:, 0, :2]]
        found["hidden"] = np.flatnonzero(labels.keypoints[:, 0, 2] <= 0).tolist()
    elif len(labels.keypoints):
        x, _, third = np.moveaxis(labels.keypoints, -1, 0)
        there = np.isfinite(labels.keypoints[..., :2]).all(axis=-1) & (third > 0 if joints_seen else x >= 0)
        poses = np.where(there[..., None], labels.keypoints[..., :2], np.nan)
        found["joints"] = [_numbers(pose.ravel()) for pose in poses]
    return found


def _numbers(values: np.ndarray) -> list[float | None]:
    return [round(one, 1) if math.isfinite(one) else None for one in values.tolist()]
