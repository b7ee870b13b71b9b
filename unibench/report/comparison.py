"""A comparison of two models: `compare.csv`, a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unibench.metrics.catalogue import show
from unibench.report.boards import Setting
from unibench.results.atomic import csv_bytes, replace_file
from unibench.stats.bootstrap import FEWEST_CLIPS
from unibench.stats.tests import FEWEST_PAIRS, Paired

if TYPE_CHECKING:
    import rich.table

_COLUMNS = ("task", "protocol", "detections", "metric", "first", "first_layer", "second", "second_layer", "first_score",
            "second_score", "difference", "ci_low", "ci_high", "p", "p_holm", "clips", "verdict")  # fmt: skip


TOO_FEW, ALIKE, APART, UNDEFINED = "too few clips", "cannot be told apart", "differ", "not defined"


@dataclass(frozen=True)
class Comparison:
    """Two models on the clips of one task that both have."""

    setting: Setting
    metric: str
    names: tuple[str, str]
    """The models, as the user named them."""
    layers: tuple[str, str]
    paired: Paired
    p_holm: float | None
    """Adjusted over the tasks that were compared together; None: too few clips, or not defined."""
    verdict: str
    """`<model> is better` (`differ` where no side of the metric is better), ALIKE, TOO_FEW or UNDEFINED; the last with
    the clips whose tallies are NaN."""


def write(found: Sequence[Comparison], out: Path) -> Path:
    """Write `compare.csv`: one row a task, fractions and counts in full precision, blank where not defined.

    Args:
        found: What `compare` gave.
        out: Folder to write to.

    Returns:
        The path.

    Raises:
        OutputError: The file cannot be written.
    """
    lines: list[Sequence[object]] = [_COLUMNS]
    for one in found:
        paired, interval = one.paired, one.paired.interval
        ends = (interval.low, interval.high) if interval else ("", "")
        chances = ["" if p is None else p for p in (paired.p, one.p_holm)]
        setting = one.setting
        lines.append(
            [setting.task, setting.protocol, setting.detections, one.metric, one.names[0], one.layers[0],
             one.names[1], one.layers[1], paired.first, paired.second, paired.first - paired.second, *ends, *chances,
             paired.clips, one.verdict]
        )  # fmt: skip
    return replace_file(Path(out, "compare.csv"), csv_bytes(lines))


def table(found: Sequence[Comparison]) -> "rich.table.Table":
    """Lay out a comparison for the terminal; 80 columns are enough.

    Args:
        found: What `compare` gave; at least one.

    Returns:
        A table that `rich` prints: fractions times 100, counts as integers. Two models stand one below the other.
    """
    from rich.table import Table  # only a terminal needs it
    from rich.text import Text

    laid = Table(title=Text(" against ".join(found[0].names)), title_justify="left")
    laid.add_column("task", overflow="fold")
    laid.add_column("scores", overflow="fold")
    for head in ("difference\n95 % interval", "p\n(Holm)"):
        laid.add_column(head, justify="right")
    laid.add_column("verdict", overflow="fold")
    for one in found:
        paired, interval = one.paired, one.paired.interval
        ends = [signed(one.metric, end) for end in (interval.low, interval.high)] if interval else []
        task, protocol = str(one.setting).split("@", 1)
        scores = zip((paired.first, paired.second), one.layers, strict=True)
        adjusted = _chance(one.p_holm)
        cells = [
            f"{task}\n@{protocol}\n{one.metric}, {paired.clips} clips",
            "\n".join(f"{show(one.metric, score)} {layer}" for score, layer in scores),
            "\n".join([signed(one.metric, paired.first - paired.second), " to ".join(ends)]),
            "\n".join([_chance(paired.p), adjusted and f"({adjusted})"]),
            one.verdict,
        ]
        laid.add_row(*map(Text, cells))
        laid.add_section()
    return laid


def notes(found: Sequence[Comparison]) -> list[str]:
    """Say what the numbers of a comparison are.

    Args:
        found: What `compare` gave.

    Returns:
        Lines of plain text.
    """
    lines = [
        "On the clips that both have; fractions x 100. Interval: paired bootstrap over clips. p: permutation test that "
        "swaps the models clip by clip. The verdict goes by p, Holm-adjusted over the tasks."
    ]
    if any(one.paired.interval is None and not one.verdict.startswith(UNDEFINED) for one in found):
        lines.append(
            f"Where no interval stands, fewer than {FEWEST_CLIPS} clips were compared, or clips too alike for one; p "
            f"needs {FEWEST_PAIRS} clips."
        )
    return lines


def signed(metric: str, value: float) -> str:
    """Print a difference as boards print values, with its sign."""
    text = show(metric, value)
    return text if text.startswith("-") or not text.strip("0.") else f"+{text}"


def _chance(p: float | None) -> str:
    return "" if p is None else "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
