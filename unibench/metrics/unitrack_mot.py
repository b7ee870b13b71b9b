"""Multi-object tracking of boxes as motmetrics counts it: for comparison with UniTrack and other older work.

The names carry the prefix `motmetrics:` because the numbers are not the official ones of
`unibench.metrics.mot`:
motmetrics carries a match over any gap, counts an object tracked for exactly 80 % of its frames as mostly
tracked, and here ignored boxes are not taken away. IDSW, MT, PT and Frag differ visibly, MOTA and IDF1
hardly. Its MOTP is left out: it sums the distances of some matches twice.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from unibench.geometry import boxes
from unibench.metrics.counts import Number, scored_frames, total
from unibench.metrics.mot import MATCH, check_boxes, object_classes, truth_classes
from unibench.records import Labels, Truth

COUNTS = {
    "IDSW": "num_switches",
    "MT": "mostly_tracked",
    "PT": "partially_tracked",
    "ML": "mostly_lost",
    "FP": "num_false_positives",
    "FN": "num_misses",
    "Frag": "num_fragmentations",
}
SUMS = (*COUNTS.values(), "num_objects", "idtp", "idfp", "idfn")


def tally(truth: Truth, prediction: Sequence[Labels]) -> dict[str, float]:
    """Count one clip of boxes; boxes of different classes never match, nor is an identity shared between classes.

    Args:
        truth: Ids and boxes of each frame, classes if there are several.
        prediction: The same.

    Returns:
        motmetrics' counts under its own names.

    Raises:
        TrackerError: The number of frames is wrong, an id is doubled, a box is not finite, or classes are
            missing.

    Reference:
        Bernardin, Stiefelhagen: CLEAR MOT, 2008; motmetrics 1.4, MOTAccumulator.
    """
    import motmetrics  # it loads pandas, of which boards that pool stored tallies need nothing

    known, accumulator = truth_classes(truth), motmetrics.MOTAccumulator()
    kinds = 1 + max(known | truth_classes(Truth(tuple(prediction))), default=0)
    for t in scored_frames(truth, prediction):
        true, predicted = truth.labels[t], prediction[t]
        check_boxes(predicted, t)
        iou = boxes.iou(true.boxes, predicted.boxes)
        true_classes, classes = object_classes(true, t, known), object_classes(predicted, t, known)
        alike = (true_classes[:, None] == classes) & (iou >= MATCH)
        names = (true.ids * kinds + true_classes, predicted.ids * kinds + classes)
        accumulator.update(*names, np.where(alike, 1 - iou, np.nan), frameid=t)
    counts = motmetrics.metrics.create().compute(accumulator, metrics=SUMS, return_dataframe=False)
    return {name: float(counts[name]) for name in SUMS}


def pool(tallies: Sequence[Mapping[str, Number]]) -> dict[str, Number]:
    """`motmetrics:` MOTA, IDF1, IDP, IDR as fractions, IDSW, MT, PT, ML, FP, FN, Frag as counts."""
    sums = total(tallies)
    wrong = sums["num_misses"] + sums["num_switches"] + sums["num_false_positives"]
    idtp, idfp, idfn = sums["idtp"], sums["idfp"], sums["idfn"]
    scores = {
        "MOTA": 1 - wrong / np.maximum(1.0, sums["num_objects"]),
        "IDF1": 2 * idtp / np.maximum(1.0, 2 * idtp + idfp + idfn),
        "IDP": idtp / np.maximum(1.0, idtp + idfp),
        "IDR": idtp / np.maximum(1.0, idtp + idfn),
        **{name: sums[count] for name, count in COUNTS.items()},
    }
    return {f"motmetrics:{name}": value for name, value in scores.items()}
