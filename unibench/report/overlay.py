"""What a tracker says, drawn over the frames: boxes, masks and joints with their track ids.

An id has one colour in all frames, and no other id has it.
"""

from collections.abc import Mapping, Sequence
from colorsys import hsv_to_rgb

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw, ImageFont

from unibench.geometry import masks
from unibench.records import Labels
from unibench.report.figures import COLOURS

INCHES = 2.0
"""Side of a frame."""
_OPACITY = 0.5
_LINE = 1 / 400
"""Width of a line, as a share of the frame's longer side."""
_GOLDEN = (5**0.5 - 1) / 2


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
        A figure in which an id has one colour in every frame and every row, and no other id has it.
    """
    size = (INCHES * len(shown), INCHES * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    ids = sorted({int(one) for _, labels in rows for frame in labels for one in frame.ids})
    colour = {identity: _shade(place) for place, identity in enumerate(ids)}
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
                axes.text(left + 1, top + 1, str(identity), fontsize=6, color="white", va="top",
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


def _shade(place: int) -> str:
    """The colours of the figures as far as they go, then hues a golden ratio apart, which never repeat."""
    if place < len(COLOURS):
        return COLOURS[place]
    return to_hex(hsv_to_rgb((place - len(COLOURS)) * _GOLDEN % 1, 0.75, 0.85))


def paint(
    image: UInt8[np.ndarray, "height width 3"], labels: Labels, places: Mapping[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the labels of one frame over it.

    Args:
        image: RGB, 0 to 255; is not changed.
        labels: Boxes, masks or joints, with ids.
        places: Id -> place in the order of the colours, the same in all frames of a clip.

    Returns:
        RGB, 0 to 255.
    """
    shades = [np.array(to_rgb(_shade(places[int(one)]))) * 255 for one in labels.ids]
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
        draw.text(corner, str(identity), fill="white", font=font)
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
