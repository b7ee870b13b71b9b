"""What a tracker says, drawn over the frames: boxes and masks with their track ids, some frames side by side."""

from collections.abc import Sequence
from colorsys import hsv_to_rgb

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from unibench.geometry import masks
from unibench.records import Labels
from unibench.report.figures import COLOURS

INCHES = 2.0
"""Side of a frame."""
_OPACITY = 0.5
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
    colour = dict(zip(ids, _shades(len(ids)), strict=True))
    for (name, labels), line in zip(rows, grid, strict=True):
        for index, axes in zip(shown, line, strict=True):
            axes.imshow(frames[index])
            shades = [colour[int(identity)] for identity in labels[index].ids]
            for mask, shade in zip(labels[index].masks, shades, strict=False):
                visible = masks.decode(mask)[..., None]
                axes.imshow(visible * np.array([*to_rgb(shade), _OPACITY]))
            for box, shade, identity in zip(_boxes(labels[index]), shades, labels[index].ids, strict=True):
                left, top, right, bottom = box
                if right <= left or bottom <= top:  # an empty mask has no place
                    continue
                axes.add_patch(
                    Rectangle((left, top), right - left, bottom - top, fill=False, color=shade, linewidth=2)
                )
                axes.text(left + 1, top + 1, str(identity), fontsize=6, color="white", va="top",
                          bbox={"facecolor": shade, "edgecolor": "none", "pad": 0.8}, clip_on=True)  # fmt: skip
            axes.set(xticks=[], yticks=[], title=f"frame {index}" if name == rows[0][0] else "")
        line[0].set_ylabel(name)
    return figure


def _boxes(labels: Labels) -> Float[np.ndarray, "object 4"]:
    """The boxes, or those around the masks."""
    if not labels.masks:
        return labels.boxes
    return np.array([masks.box(one) for one in labels.masks]).reshape(-1, 4)


def _shades(count: int) -> list[str]:
    """So many colours: those of the figures as far as they go, then hues a golden ratio apart, which never repeat."""
    more = [hsv_to_rgb(index * _GOLDEN % 1, 0.75, 0.85) for index in range(count - len(COLOURS))]
    return [*COLOURS[:count], *map(to_hex, more)]
