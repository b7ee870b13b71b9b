"""Rank correlation of real with rendered clips over the zoo's methods: python against_rendered.py RENDERED REAL OUT.

RENDERED and REAL are `long.csv` of two runs; of each method the network of the first seed counts, at its default layer.
"""

import csv
import sys
from pathlib import Path

from unibench.results.atomic import csv_bytes, replace_file
from unibench.stats.correlation import correlate


def headlines(path: Path) -> dict[str, dict[str, float]]:
    """Read the headline of every family of tasks: family -> model -> value."""
    found: dict[str, dict[str, float]] = {}
    with path.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["headline"] == "True":
                found.setdefault(row["task"].partition("/")[0], {})[row["model"]] = float(row["value"])
    return found


rendered, real = (headlines(Path(path)) for path in sys.argv[1:3])
rows: list[list[object]] = [["task", "n", "spearman", "low", "high", "p"]]
for family, scores in real.items():
    one = correlate([rendered[family][model] for model in scores], list(scores.values()))
    if one.spearman is None or one.spearman_interval is None:  # all the same
        rows.append([family, one.n, "", "", "", ""])
        continue
    numbers = one.spearman, one.spearman_interval.low, one.spearman_interval.high, one.spearman_p
    rows.append([family, one.n, *(f"{number:.2f}" for number in numbers)])
replace_file(Path(sys.argv[3]), csv_bytes(rows))
