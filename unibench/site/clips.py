"""Clips to look at: truth and predictions as scripts, frames as pictures, one page a clip and setting."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unibench.errors import DataError, OutputError
from unibench.evaluation.score_again import load_clip, predicted_of
from unibench.metrics.catalogue import show
from unibench.records import Clip, Labels, Truth
from unibench.report.boards import Setting
from unibench.results.atomic import replace_file
from unibench.results.store import ClipResult
from unibench.site import timelines
from unibench.site.contents import Contents, RowKey, clip_order
from unibench.site.names import script
from unibench.tasks import registry
from unibench.tasks.family import Task

QUALITY = 80
"""Of the frames, as WebP counts it: 0 to 100."""
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


@dataclass(frozen=True)
class ClipPage:
    """One clip of one setting."""

    setting: Setting
    name: str
    file: str
    """Path of the page within the site."""
    rows: tuple[Shown, ...]
    """As the setting's ranking has them, best first."""
    shown: dict[str, Any]
    """What the viewer's script is given."""


def chosen(site: Contents, setting: Setting, most: int | None) -> list[str]:
    """The clips of a setting that get a page, worst first: so many, or all for None."""
    return [name for name, _ in clip_order(site, setting)][:most]


def write(
    site: Contents, setting: Setting, names: Sequence[str], folder: Path, data: Path | None, copied: dict[Path, int],
    *, frames: bool,
) -> Iterator[ClipPage]:  # fmt: skip
    """Write what the pages of some clips of a setting show.

    Args:
        site: What there is.
        setting: Task and protocol.
        names: Of the clips.
        folder: Of the site.
        data: Folder that holds the benchmarks' folders; rendered benchmarks need none.
        copied: Folder of frames -> how many this call and earlier ones have written there; is added to.
        frames: Whether frames of data sets are copied; those of rendered benchmarks always are.

    Yields:
        A page for each clip.

    Raises:
        DataError: The data are not there, or are not those of the run.
        OutputError: Predictions are damaged, or a file cannot be written.
    """
    task = registry.find(setting.task)
    for name in names:
        there = {
            row: column.clips[name]
            for row, column in site.columns[setting].items()
            if name in column.clips and column.clips[name].predictions
        }
        if there:
            first = next(iter(there.values()))
            clip, truth = load_clip(first, task, data)
            page = _write(site, setting, task, there, folder, clip, truth)
            if frames or not task.benchmark.folder:
                place = Path("frames", site.files.tasks[setting.task], Path(page.file).stem)
                if copied.get(place, 0) < clip.length:
                    _copy_frames(clip, folder / place)
                    copied[place] = clip.length
                page.shown["frames"] = f"../../{place}"
            yield page


def _write(
    site: Contents, setting: Setting, task: Task, there: Mapping[RowKey, ClipResult], folder: Path,
    clip: Clip, truth: Truth,
) -> ClipPage:  # fmt: skip
    name = clip.name
    page = Path("clips", site.files.settings[setting], site.files.clips[setting.task][name])
    for row, result in there.items():
        with predicted_of(site.out, result) as predicted:
            told = _record(task, truth, predicted)
        replace_file(folder / page / f"{site.files.rows[row]}.js", script(site.files.rows[row], told))
    replace_file(folder / page / "truth.js", script("truth", _truth(truth)))
    headline = site.board.metrics[setting][0]
    columns = site.columns[setting]
    rows = [Shown(*row, site.files.rows[row], show(headline, columns[row].values[name])) for row in there]
    return ClipPage(
        setting=setting,
        name=name,
        file=f"{page}.html",
        rows=tuple(rows),
        shown={
            "width": clip.width,
            "height": clip.height,
            "fps": clip.fps or 25,
            "length": clip.length,
            "frames": "",
            "limbs": LIMBS.get(setting.task, LIMBS[""]),
            "folder": page.name,
            "rows": {one.file: f"{one.name} / {one.layer}" for one in rows},
        },
    )


def _copy_frames(clip: Clip, folder: Path) -> None:
    for frame in clip.frames():
        file = io.BytesIO()
        Image.fromarray(frame.image).save(file, "WEBP", quality=QUALITY)
        replace_file(folder / f"{frame.index:05d}.webp", file.getvalue())


def _truth(truth: Truth) -> dict[str, Any]:
    frames = [_labels(labels, joints_seen=True) for labels in truth.labels]
    for frame, ignored in zip(frames, truth.ignored, strict=False):
        if len(ignored.boxes) or ignored.masks:
            frame["ignored"] = _labels(ignored, joints_seen=True)
    return {"frames": frames, "ids": _ids(truth.labels)}


def _record(task: Task, truth: Truth, predicted: Sequence[Labels]) -> dict[str, Any]:
    joints_seen = task.family.name != "pose"  # whose third value says nothing
    told: dict[str, Any] = {
        "frames": [_labels(labels, joints_seen=joints_seen) for labels in predicted],
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
    if len(labels.keypoints):
        x, _, third = np.moveaxis(labels.keypoints, -1, 0)
        there = np.isfinite(labels.keypoints[..., :2]).all(axis=-1) & (third > 0 if joints_seen else x >= 0)
        poses = np.where(there[..., None], labels.keypoints[..., :2], np.nan)
        found["joints"] = [_numbers(pose.ravel()) for pose in poses]
    return found


def _numbers(values: np.ndarray) -> list[float | None]:
    return [round(one, 1) if math.isfinite(one) else None for one in values.tolist()]
