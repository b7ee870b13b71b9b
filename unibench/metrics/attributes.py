"""What makes a clip hard, computed from its truth: the attributes of OTB and VOT, as far as boxes say them.

References:
    Wu, Lim, Yang: Object Tracking Benchmark, PAMI 2015, table 2 (scale variation, fast motion, out of view, low
    resolution, with its thresholds); Kristan et al.: The VOT2015 Challenge Results (occlusion, here by other objects
    of the truth). `similar objects` is ours.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from unibench.geometry import boxes, masks
from unibench.records import Clip, Labels, Truth

SCALE = 2.0
"""Factor between an object's area and that in its first frame."""
MOTION = 20.0
"""Pixels between the middles of an object in neighbouring frames."""
PIXELS = 400.0
"""Area of a small box."""
COVERED = 0.3
"""Share of an object's box that another one's covers."""
NEAR = 2.0
"""Distance of the middles of two objects of one class, in sides (the root of the area) of the one that is looked at."""
NAMES = ("scale variation", "fast motion", "out of view", "low resolution", "occlusion", "similar objects")


def shares(clip: Clip, truth: Truth) -> dict[str, float]:
    """Say how often each attribute holds.

    Args:
        clip: Whose frame sizes count.
        truth: Boxes or masks; poses have none of these attributes.

    Returns:
        Name -> share of all objects in all frames that have it, 0 to 1; empty where the truth has no boxes.
    """
    rows = list(_rows(clip, truth))
    if not rows:
        return {}
    return {name: float(np.mean([row[name] for row in rows])) for name in NAMES}


def _rows(clip: Clip, truth: Truth) -> Iterator[Mapping[str, bool]]:
    """One row an object and frame; a frame from which an object is gone, between two with it, counts as out of view."""
    first: dict[int, float] = {}
    latest: dict[int, tuple[int, Float[np.ndarray, " 2"]]] = {}
    for t, labels in enumerate(truth.labels):
        table = boxes_of(labels)
        covered = boxes.iou(table, table, over_first=True) if len(table) else np.zeros((0, 0))
        middles = (table[:, :2] + table[:, 2:]) / 2
        for row, identity in enumerate(labels.ids.tolist()[: len(table)]):
            area = float(np.prod(table[row, 2:] - table[row, :2]))
            before, place = latest.get(identity, (t - 1, middles[row]))
            yield from [dict.fromkeys(NAMES, False) | {"out of view": True}] * (t - 1 - before)
            ratio = area / first.setdefault(identity, area) if area else 1.0
            others = np.arange(len(table)) != row
            alike = others & (labels.classes == labels.classes[row] if len(labels.classes) else True)
            distances = np.linalg.norm(middles - middles[row], axis=1)
            left, top, right, bottom = table[row].tolist()
            yield {
                "scale variation": not 1 / SCALE <= ratio <= SCALE,
                "fast motion": before == t - 1 and float(np.linalg.norm(middles[row] - place)) > MOTION,
                "out of view": left <= 0 or top <= 0 or right >= clip.width or bottom >= clip.height,
                "low resolution": area < PIXELS,
                "occlusion": bool((covered[row] >= COVERED)[others].any()),
                "similar objects": bool((distances <= NEAR * area**0.5)[alike].any()),
            }
            latest[identity] = (t, middles[row])


def boxes_of(labels: Labels) -> Float[np.ndarray, "object 4"]:
    """Boxes of a frame, those around masks where there are no others."""
    if len(labels.boxes) or not labels.masks:
        return labels.boxes.astype(np.float64)
    return np.array([masks.box(mask) for mask in labels.masks], dtype=np.float64).reshape(-1, 4)
