"""Round trips: how far what is read back from each export format is from what was predicted, as a table.

uv run python -m tests.benchmarks.exports results/reference/exports/round_trip.csv
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import unibench
from unibench.datasets import exchange
from unibench.datasets.exchange import Format
from unibench.evaluation.score_again import predicted_of
from unibench.geometry import masks
from unibench.records import Labels
from unibench.results import store
from unibench.results.atomic import csv_bytes, replace_file
from unibench.tasks import registry

FRAMES = 12
COLUMNS = ("format", "task", "clips", "frames", "objects", "pixels", "mask_pixels", "metric", "loss")
"""Objects are counted in every frame; `pixels` is the largest difference of a coordinate, `mask_pixels` the number of
pixels of masks that differ, `metric` the largest difference of any metric, as fractions; `loss` is what `export` says.
"""


def rows(out: Path) -> list[tuple[object, ...]]:
    """Run every family on rendered clips, and send its predictions through each of its formats.

    Args:
        out: Gets the results and the exports.
    """
    found = []
    for key, form in exchange.FORMATS.items():
        family = key.partition("/")[0]
        model, task = (
            ("tdt-tiny", "det/noisy") if family == "det" else ("lab-colour", f"{family}/synthetic-hard")
        )
        made = unibench.evaluate([model], [task], output=out, frames=FRAMES)
        (run,) = dict.fromkeys(map(store.run_of, made.rows))
        scores = {row.metric: row.value for row in made.rows}
        found.append((form.name, task, *_round_trip(form, out, run, scores), form.loss))
    return found


def _round_trip(form: Format, out: Path, run: store.RunKey, scores: dict[str, float]) -> tuple[object, ...]:
    task, folder = registry.find(run.task), out / form.name
    tallies, frames, objects, furthest, pixels = [], 0, 0, 0.0, 0
    for stored in store.read_clips(out, run):
        clip, truth = registry.load_clip(task, Path(), stored.key.clip, FRAMES)
        with predicted_of(out, stored) as expected:
            form.write(folder, clip, expected)
            read = form.read(folder, clip)
            for ours, theirs in zip(read, expected, strict=True):
                objects += max(len(theirs.ids), len(theirs.boxes))
                furthest = max(furthest, _furthest(ours, theirs))
                pixels += _differing(ours, theirs)
        frames += clip.length
        tallies.append(task.family.scoring.tally(truth, read))
    pooled = task.family.scoring.pool(tallies)
    metric = np.nanmax([abs(pooled[name] - value) for name, value in scores.items()])
    return len(tallies), frames, objects, furthest, pixels, float(metric)


def _furthest(found: Labels, expected: Labels) -> float:
    """Largest difference of an edge or a joint, pixels; what is nowhere in one alone is infinitely far."""
    furthest = 0.0
    for ours, theirs in (
        (found.boxes, expected.boxes),
        (found.keypoints[..., :2], expected.keypoints[..., :2]),
    ):
        apart = np.nan_to_num(abs(ours - theirs), nan=np.inf)
        furthest = max(furthest, np.where(np.isnan(ours) & np.isnan(theirs), 0, apart).max(initial=0.0))
    return float(furthest)


def _differing(found: Labels, expected: Labels) -> int:
    """Pixels in which the masks of the objects differ; a mask that is not there is empty."""
    ours, theirs = (dict(zip(one.ids.tolist(), one.masks, strict=False)) for one in (found, expected))
    drawn = [
        [masks.decode(some[one]) if one in some else np.zeros((), bool) for some in (ours, theirs)]
        for one in ours.keys() | theirs.keys()
    ]
    return sum(int((one != other).sum()) for one, other in drawn)


def main(path: Path) -> None:
    """Write the table."""
    with TemporaryDirectory() as folder:
        table = rows(Path(folder))
    replace_file(path, csv_bytes([COLUMNS, *table]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
