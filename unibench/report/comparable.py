"""What may share a column of a board: scores of the same protocol, on the same data."""

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from unibench.errors import OutputError
from unibench.records import Score
from unibench.report import stored

RERUN = "rerun the older with --overwrite always"
SEPARATE = "keep the runs in separate folders"
_DIGITS = 8
"""Digits of a hash that tell two models of one name apart; more where so many do not."""

RowNames = Mapping[tuple[str, str], str]
"""Model and hash of its weights -> name of its rows."""


def row_names(scores: Sequence[Score]) -> RowNames:
    """Name the rows of every model: its own name, with the hash of its weights behind it where two models share one."""
    hashes: dict[str, set[str]] = {}
    for score in scores:
        hashes.setdefault(score.model, set()).add(score.weights_hash)
    names: dict[tuple[str, str], str] = {}
    for model, own in hashes.items():
        digits = next(n for n in count(_DIGITS) if len({_short(one, n) for one in own}) == len(own))
        names |= {(model, one): f"{model} {_short(one, digits)}" if len(own) > 1 else model for one in own}
    return names


def _short(weights_hash: str, digits: int) -> str:
    """The first digits of a hash, and how features were stored (`+features=float16`) where it says so."""
    base, plus, features = weights_hash.partition("+")
    return base[:digits] + plus + features


def check_column(setting: str, rows: Sequence[Score], names: RowNames) -> None:
    """Demand that the scores of one column are of the same clips, and one a cell.

    Args:
        setting: Task and protocol, for messages.
        rows: The scores of all models, layers and metrics.
        names: From `row_names`.

    Raises:
        OutputError: Two scores for one cell, or other data, clips or frames.
    """
    cells = set[tuple[str, str]]()
    for row in rows:
        cell = (_row(row, names), row.metric)
        if cell in cells:
            raise OutputError(f"{setting}: two scores for {'/'.join(cell)}, expected one; {SEPARATE}")
        cells.add(cell)
    for field in ("data_hash", "partial", "clips", "frames"):
        _check_equal(setting, field, rows, names)


def check_protocols(setting: str, rows: Sequence[Score], names: RowNames, out: Path | None) -> None:
    """Demand one protocol in a column.

    Args:
        setting: Task and protocol, for messages.
        rows: The scores of all models, layers and metrics.
        names: From `row_names`.
        out: Root folder of the results: there an error finds in which knobs protocols differ; None: it names hashes.

    Raises:
        OutputError: Another protocol hash.
    """
    if out is not None:
        check_knobs(setting, rows, names, out)
    _check_equal(setting, "protocol_hash", rows, names)


def _check_equal(setting: str, field: str, rows: Sequence[Score], names: RowNames) -> None:
    first = rows[0]
    for row in rows:
        here, there = getattr(first, field), getattr(row, field)
        if here != there:
            raise OutputError(
                f"{setting} {row.metric}: {field} is {here} for {_row(first, names)} and {there} for "
                f"{_row(row, names)}, expected the same in one column; {RERUN} or {SEPARATE}"
            )


def check_knobs(setting: str, rows: Sequence[Score], names: RowNames, out: Path) -> None:
    """Say which rows were run under another protocol of the same name, and in what it differs, as the runs noted it.

    Args:
        setting: Task and protocol, for messages.
        rows: Scores to compare.
        names: From `row_names`.
        out: Root folder of the results.

    Raises:
        OutputError: Protocols differ, and it is noted in what.
    """
    groups: dict[str, list[Score]] = {}
    for row in rows:
        groups.setdefault(row.protocol_hash, []).append(row)
    if len(groups) == 1:
        return
    noted = [_noted(group[0], out) for group in groups.values()]
    if not all(noted):
        return
    sides = [", ".join(dict.fromkeys(_row(row, names) for row in group)) for group in groups.values()]
    differing = [
        f"{knob} ({' | '.join(str(one.get(knob, 'not there')) for one in noted)})"
        for knob in dict.fromkeys(knob for one in noted for knob in one)
        if any(one.get(knob) != noted[0].get(knob) for one in noted)
    ]
    if differing:
        raise OutputError(
            f"{setting}: {' | '.join(sides)} differ in {', '.join(differing)}, expected one protocol in one column; "
            f"{RERUN} or {SEPARATE}"
        )


def _noted(score: Score, out: Path) -> dict[str, Any]:
    """What changes a score in the protocol that a run was under: name -> value, nested names joined by dots."""
    protocol = stored.protocol(out, score)
    if not protocol:
        return {}
    version = str(protocol.get("version", "")).partition(".")[0]
    return _flat({**protocol, "version": version}, skip=("name", "source", "hash", "kinds", "private"))


def _flat(table: Mapping[str, Any], prefix: str = "", skip: Sequence[str] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            found |= _flat(value, "" if name == "knobs" else f"{prefix}{name}.")
        elif name not in skip:
            found[prefix + name] = value
    return found


def _row(score: Score, names: RowNames) -> str:
    return f"{names[score.model, score.weights_hash]}/{score.layer}"
