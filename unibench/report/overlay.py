"""What a tracker says, drawn over the frames: boxes, masks and joints with their track ids.

An id has one colour in all frames and rows; ids that are seen together, or one frame apart, have others.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw, ImageFont

from unibench.geometry import masks
from unibench.records import Labels

INCHES = 2.0
"""Side of a frame."""
_OPACITY = 0.5
_LINE = 1 / 400
"""Width of a line, as a share of the frame's longer side."""
TRACKS = ("#0072b2", "#ff0000", "#00bf00", "#0000ff", "#ff00aa", "#00e5ff", "#ad73ff", "#990033", "#f0f000", "#ff9500",
          "#ffc0b5", "#7fffbf")  # fmt: skip
"""Colours of ids: no two are nearer than 45 in CIELAB, so that no three of them are all called orange."""


def strips(
    frames: Sequence[UInt8[np.ndarray, "height width 3"]],
    rows: Sequence[tuple[str, Sequence[Labels]]],
    shown: Sequence[int],
) -> Figure:
    """Draw the same frames under the labels of several trackers, one tracker a row.

    Args:
        frames: Of one clip, RGB, 0 to 255.
        rows: Name of each tracker, and its labels of every frame.
        shown: Indices of the frames that are drawn, from left to right.

    Returns:
        A figure in which an id has one colour in every frame and every row.
    """
    size = (INCHES * len(shown), INCHES * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    colour = colour_ids([[frame.ids.tolist() for frame in labels] for _, labels in rows])
    for (name, labels), line in zip(rows, grid, strict=True):
        for index, axes in zip(shown, line, strict=True):
            axes.imshow(frames[index])
            shades = [colour[int(identity)] for identity in labels[index].ids]
            for mask, shade in zip(labels[index].masks, shades, strict=False):
                visible = masks.decode(mask)[..., None]
                axes.imshow(visible * np.array([*to_rgb(shade), _OPACITY]))
            for box, shade, identity in zip(_boxes(labels[index]), shades, labels[index].ids, strict=False):
                left, top, right, bottom = box
                if right <= left or bottom <= top:  # an empty mask has no place
                    continue
                axes.add_patch(
                    Rectangle((left, top), right - left, bottom - top, fill=False, color=shade, linewidth=2)
                )
                axes.text(left + 1, top + 1, str(identity), fontsize=6, color=_on(shade), va="top",
                          bbox={"facecolor": shade, "edgecolor": "none", "pad": 0.8}, clip_on=True)  # fmt: skip
            for points, shade in zip(labels[index].keypoints, shades, strict=False):
                seen = points[points[:, 2] > 0]
                axes.plot(seen[:, 0], seen[:, 1], "o", color=shade, markersize=2.5, clip_on=True)
            axes.set(xticks=[], yticks=[], title=f"frame {index}" if name == rows[0][0] else "")
        line[0].set_ylabel(name)
    return figure


def _boxes(labels: Labels) -> Float[np.ndarray, "object 4"]:
    """The boxes, or those around the masks."""
    if not labels.masks:
        return labels.boxes
    return np.array([masks.box(one) for one in labels.masks]).reshape(-1, 4)


def colour_ids(rows: Sequence[Sequence[Sequence[int]]]) -> dict[int, str]:
    """Give every id one colour, another than all ids have with which it is seen.

    Args:
        rows: For each tracker the ids of each frame; all of one clip.

    Returns:
        Id -> one of TRACKS. Where an id is seen with more others than there are colours, one of them shares its own.
    """
    beside: dict[int, set[int]] = {}
    for frames in rows:
        for before, now in pairwise([(), *frames]):
            together = {*before, *now}
            for identity in now:
                beside.setdefault(identity, set()).update(together - {identity})
    for identity, others in beside.items():
        for other in others:
            beside[other].add(identity)
    colours: dict[int, str] = {}
    for identity, others in beside.items():
        colours[identity] = _free(colours, others)
    return colours


def colour_more(colours: dict[int, str], before: Iterable[int], now: Iterable[int]) -> None:
    """Give the new ids of a frame colours, while later frames are not known.

    Args:
        colours: Id -> colour, of all ids up to this frame; the new ones are added.
        before: Ids of the frame before.
        now: Ids of this one.
    """
    together = {*before, *now}
    for identity in now:
        if identity not in colours:
            colours[identity] = _free(colours, together)


def _free(colours: Mapping[int, str], others: Iterable[int]) -> str:
    """The colour that the fewest of some ids have, and of these the one that the fewest of all ids have."""
    near = Counter(colours[other] for other in others if other in colours)
    every = Counter(colours.values())
    return min(TRACKS, key=lambda colour: (near[colour], every[colour]))


def _on(colour: str) -> str:
    """Black or white: what is readable on a colour."""
    red, green, blue = to_rgb(colour)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.35 else "white"


def paint(
    image: UInt8[np.ndarray, "height width 3"], labels: Labels, colours: Mapping[int, str]
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the labels of one frame over it.

    Args:
        image: RGB, 0 to 255; is not changed.
        labels: Boxes, masks or joints, with ids.
        colours: Id -> colour, the same in all frames of a clip.

    Returns:
        RGB, 0 to 255.
    """
    shades = [np.array(to_rgb(colours[int(one)])) * 255 for one in labels.ids]
    blended = image.copy()
    for mask, shade in zip(labels.masks, shades, strict=False):
        visible = masks.decode(mask)
        blended[visible] = np.rint(image[visible] * (1 - _OPACITY) + shade * _OPACITY)
    picture = Image.fromarray(blended)
    draw = ImageDraw.Draw(picture)
    unit = max(2, round(max(image.shape[:2]) * _LINE))
    font = ImageFont.load_default(size=6 * unit)
    for row, (identity, shade) in enumerate(zip(labels.ids.tolist(), shades, strict=True)):
        colour = tuple(shade.round().astype(int).tolist())
        points = labels.keypoints[row] if len(labels.keypoints) else np.zeros((0, 3))
        for x, y, _ in points[points[:, 2] > 0]:
            draw.circle((x, y), 2 * unit, fill=colour)
        place = _extent(labels, row)
        if place is None or labels.keypoints.shape[1] == 1:  # names of points would hide what they are on
            continue
        left, top, right, bottom = place
        if len(labels.boxes):
            draw.rectangle(
                (left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=unit
            )
        corner = (min(max(left, 0.0), image.shape[1] - 2.0), min(max(top, 0.0), image.shape[0] - 2.0))
        draw.rectangle(draw.textbbox(corner, str(identity), font=font), fill=colour)
        draw.text(corner, str(identity), fill=_on(colours[identity]), font=font)
    return np.asarray(picture)


def _extent(labels: Labels, row: int) -> tuple[float, float, float, float] | None:
    """Box of an object, or around its mask or joints: xyxy, pixels; None where it is not to be seen."""
    if len(labels.keypoints):
        seen = labels.keypoints[row][labels.keypoints[row, :, 2] > 0, :2]
        return (*seen.min(axis=0).tolist(), *seen.max(axis=0).tolist()) if len(seen) else None
    box = _boxes(labels)[row]
    if not np.isfinite(box).all() or box[2] <= box[0] or box[3] <= box[1]:
        return None
    left, top, right, bottom = box.tolist()
    return left, top, right, bottom
