"""What may stand in one column of a board: scores of the same protocol, on the same data, of one set of weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unibench.errors import OutputError
from unibench.records import Score
from unibench.results.store import read_run, run_of

RERUN = "rerun the older with --overwrite always"
SEPARATE = "keep the runs in separate folders"


def check_weights(scores: Sequence[Score]) -> None:
    """Demand one set of weights a model.

    Raises:
        OutputError: A model has two.
    """
    weights: dict[str, Score] = {}
    for score in scores:
        first = weights.setdefault(score.model, score)
        if first.weights_hash != score.weights_hash:
            raise OutputError(
                f"{score.model}: weights_hash is {first.weights_hash} for {first.task} and "
                f"{score.weights_hash} for {score.task}, expected one set of weights; {RERUN}"
            )


def check_column(setting: str, rows: Sequence[Score], out: Path | None) -> None:
    """Demand that the scores of one column were measured alike.

    Args:
        setting: Task and protocol, for messages.
        rows: The scores of all models, layers and metrics.
        out: Root folder of the results: there an error finds in which knobs protocols differ; None: it names hashes.

    Raises:
        OutputError: Two scores for one cell, or another protocol, other data, clips or frames.
    """
    if out is not None:
        check_knobs(setting, rows, out)
    first, seen = rows[0], set[tuple[str, str, str]]()
    for row in rows:
        cell = (row.model, row.layer, row.metric)
        if cell in seen:
            raise OutputError(f"{setting}: two scores for {'/'.join(cell)}, expected one; {SEPARATE}")
        seen.add(cell)
        for field in ("protocol_hash", "data_hash", "partial", "clips", "frames"):
            here, there = getattr(first, field), getattr(row, field)
            if here != there:
                raise OutputError(
                    f"{setting} {row.metric}: {field} is {here} for {first.model}/{first.layer} and {there} "
                    f"for {row.model}/{row.layer}, expected the same in one column; {RERUN} or {SEPARATE}"
                )


def check_knobs(setting: str, rows: Sequence[Score], out: Path) -> None:
    """Say which rows were run under another protocol of the same name, and in what it differs, as the runs noted it.

    Args:
        setting: Task and protocol, for messages.
        rows: Scores that shall be compared.
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
    names = [
        ", ".join(dict.fromkeys(f"{row.model}/{row.layer}" for row in group)) for group in groups.values()
    ]
    differing = [
        f"{knob} ({' | '.join(str(one.get(knob, 'not there')) for one in noted)})"
        for knob in dict.fromkeys(knob for one in noted for knob in one)
        if any(one.get(knob) != noted[0].get(knob) for one in noted)
    ]
    if differing:
        raise OutputError(
            f"{setting}: {' | '.join(names)} differ in {', '.join(differing)}, expected one protocol in one column; "
            f"{RERUN} or {SEPARATE}"
        )


def _noted(score: Score, out: Path) -> dict[str, Any]:
    """What changes a score in the protocol that a run was under: name -> value, nested names joined by dots."""
    run = read_run(out, run_of(score))
    protocol = run.get("protocol")
    if not isinstance(protocol, dict):
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
