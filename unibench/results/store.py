"""Results on disk: one file a clip, one a pooled result, each there whole or not at all.

    <out>/<model>/<fingerprint>/<task>@<protocol>/<layer>/
        clips/<clip>.json                    what one clip adds (`ClipResult`)
        predictions/<clip>.<checksum>.zip    what was predicted of it (`results.predictions`)
        result.json                          the pooled scores (`Score`)
        run.json                             how they came about
        cost.json                            what a frame costs (`Cost`)
    <out>/<model>/<fingerprint>/loaded.json  what became of the weights (`LoadReport`), where there are any
    <out>/<model>/<fingerprint>/card.toml    the card, where it is not one that its name finds (a library's model, a
                                             checkpoint, a card that was given by its file)

A clip's result names the checksum of its predictions, and is written after them: a result never lacks them, and
predictions that no result names (a process was killed in between) are nobody's; the next result of the clip removes
them.

`<fingerprint>` is the hash of card and weights, so two models of one name lie in two folders. A task such as
`vos/davis2016` makes two folder levels. Every other name is percent-quoted into one level (`urllib.parse.unquote` gives
it back), so that the clip `catch/ball` is the file `catch%2Fball.json` and only the `<task>@<protocol>` level contains
an `@`. Clip and result files hold no times, so the same run writes the same bytes;
`run.json` and `cost.json` do. A value that is not defined (NaN) is
`null`.
"""

import glob
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import numpy as np

from unibench import schema
from unibench.errors import OutputError
from unibench.records import Cost, LoadReport, Score, Tally
from unibench.results.atomic import replace_by, replace_file
from unibench.results.predictions import Predictions

_NUMBERS = ("value", "ci_low", "ci_high")
"""Fields of a Score that may be NaN."""
_RESULT = {"clips": list, "scores": list, "checksum": str}
"""Fields of a file of pooled scores."""
Record = TypeVar("Record")
_ADVICE = "delete the file or rerun with --overwrite always"


@dataclass(frozen=True)
class RunKey:
    """What names one pooled result: a model's layer on a task under a protocol."""

    model: str
    fingerprint: str
    """Of the model: its card and its weights."""
    task: str
    """Family and benchmark: `vos/davis2016`."""
    protocol: str
    """With its detections: `unitrack+public`."""
    layer: str


@dataclass(frozen=True)
class UnitKey:
    """What names one unit of work: a model's layer on one clip of a task under a protocol."""

    model: str
    fingerprint: str
    task: str
    protocol: str
    layer: str
    clip: str
    """May contain '/'."""

    @property
    def run(self) -> RunKey:
        """The pooled result that it is a part of."""
        return RunKey(self.model, self.fingerprint, self.task, self.protocol, self.layer)


@dataclass(frozen=True, eq=False)
class ClipResult:
    """What one unit of work gave."""

    key: UnitKey
    frames: int
    """Number of frames that were tracked."""
    partial: bool
    """Only a part of the clip was tracked (a limit was set)."""
    fingerprint: str
    """Hash over everything that the predictions depend on; another fingerprint means: track it again."""
    data: str
    """Hash over the pixels, the detections and the truth that were read."""
    tally: Tally
    note: str = ""
    """What casts doubt on it, as `Score.note`."""
    scoring: str = ""
    """Version of the scoring that made the tally; another version means: score the predictions again."""
    truth: str = ""
    """Hash over the truth that it was scored against."""
    predictions: str = ""
    """Checksum of the predictions; empty where they were not kept."""


def write_clip(out: Path, result: ClipResult, predicted: Predictions | None = None) -> Path:
    """Write the result of one clip, in one step.

    Args:
        out: Root folder of the results.
        result: What the clip gave; an earlier result of the same key is replaced.
        predicted: The predictions, if the result names any that are not stored yet.

    Returns:
        The file written.

    Raises:
        OutputError: A file cannot be written, or the tally holds an infinite number.
    """
    path = _clip_path(out, result.key)
    record = {
        "key": asdict(result.key),
        "frames": int(result.frames),
        "partial": bool(result.partial),
        "fingerprint": result.fingerprint,
        "data": result.data,
        "note": result.note,
        "scoring": result.scoring,
        "truth": result.truth,
        "predictions": result.predictions,
        "tally": {name: _stored(path, name, value) for name, value in result.tally.items()},
    }
    kept = predictions_file(out, result)
    if predicted is not None:
        assert result.predictions == predicted.checksum, "other predictions than the result's"
        replace_by(kept, predicted.save)
    replace_file(path, _json({**record, "checksum": _checksum(record)}))
    for old in kept.parent.glob(f"{glob.escape(_quote(result.key.clip))}.{'[0-9a-f]' * 16}.zip"):
        if old != kept:
            old.unlink(missing_ok=True)
    return path


def predictions_file(out: Path, result: ClipResult) -> Path:
    """Where the predictions lie that a clip's result names."""
    folder = _folder(out, result.key.run) / "predictions"
    return folder / f"{_quote(result.key.clip)}.{result.predictions}.zip"


def predictions_size(out: Path) -> tuple[int, int]:
    """Number of files of predictions below a folder, and their bytes in all."""
    sizes = [path.stat().st_size for path in Path(out).rglob("*@*/*/predictions/*.zip")]
    return len(sizes), sum(sizes)


def read_clip(out: Path, key: UnitKey) -> ClipResult | None:
    """Read the result of one clip.

    Args:
        out: Root folder of the results.
        key: The unit asked for.

    Returns:
        Its result; None where it has not been written yet. Compare the fingerprint before use.

    Raises:
        OutputError: The file is damaged, was edited, or belongs to another unit.
    """
    path = _clip_path(out, key)
    record = _load(path)
    if record is None:
        return None
    _check(
        path,
        record,
        {
            "key": dict,
            "frames": int,
            "partial": bool,
            "fingerprint": str,
            "data": str,
            "tally": dict,
            "note": str,
            "scoring": str,
            "truth": str,
            "predictions": str,
            "checksum": str,
        },
    )
    _check_sum(path, record)
    if record["key"] != asdict(key):
        raise OutputError(f"{path}: holds {record['key']}, expected {asdict(key)}; {_ADVICE}")
    tally = {name: _restored(path, name, value) for name, value in record["tally"].items()}
    if not re.fullmatch("(?:[0-9a-f]{16})?", record["predictions"]):
        raise OutputError(f"{path}: predictions is {record['predictions']!r}, expected a checksum; {_ADVICE}")
    return ClipResult(**{**record, "key": key, "tally": tally})


def read_clips(out: Path, run: RunKey) -> list[ClipResult]:
    """Read the results of the clips that the result of a run is pooled from; of all clips where it does not name them.

    Args:
        out: Root folder of the results.
        run: Which.

    Returns:
        In the order in which they were pooled, or of their names; none where nothing is stored.

    Raises:
        OutputError: A file is damaged, was edited, or belongs to another unit.
    """
    stored = {unquote(path.stem) for path in (_folder(out, run) / "clips").glob("*.json")}
    pooled = _pooled_clips(result_file(out, run))
    names = [name for name in pooled if name in stored] if pooled else sorted(stored)
    found = [read_clip(out, UnitKey(**asdict(run), clip=name)) for name in names]
    return [one for one in found if one is not None]


def find_runs(out: Path, task: str, protocol: str) -> list[RunKey]:
    """Find what is stored of a task under a protocol, by any model and layer, sorted by path.

    Args:
        out: Root folder of the results.
        task: Family and benchmark: `vos/davis2016`.
        protocol: With its detections: `unitrack+public`.
    """
    below = _folder(Path(), RunKey("model", "fingerprint", task, protocol, "layer")).parts[2:-1]
    folders = sorted(Path(out).glob(str(Path("*", "*", *map(glob.escape, below), "*", "clips"))))
    return [
        RunKey(unquote(path.parts[0]), unquote(path.parts[1]), task, protocol, unquote(path.parts[-2]))
        for path in (folder.relative_to(out) for folder in folders)
    ]


def write_result(out: Path, scores: Sequence[Score], clips: Sequence[str] = ()) -> Path:
    """Write the pooled scores of one (model, task, protocol, layer), in one step.

    Args:
        out: Root folder of the results.
        scores: One per metric, in the order in which a board shall show them.
        clips: Names of the clips that they are pooled from; others may lie beside them.

    Returns:
        The file written.

    Raises:
        OutputError: The file cannot be written, or a value is infinite.
    """
    runs = {run_of(score) for score in scores}
    assert len(runs) == 1, f"scores of {len(runs)} runs, expected one"
    path = result_file(out, runs.pop())
    records = [{**asdict(score), **_numbers(path, score)} for score in scores]
    record = {"clips": list(clips), "scores": records}
    return replace_file(path, _json({**record, "checksum": _checksum(record)}))


def card_file(out: Path, model: str, fingerprint: str) -> Path:
    """Where the card of a model lies that no other file describes."""
    return _model_folder(out, model, fingerprint) / "card.toml"


def card_files(out: Path) -> dict[tuple[str, str], Path]:
    """Find the cards beside results: name and fingerprint of a model -> its file, sorted by path."""
    found = sorted(Path(out).glob("*/*/card.toml"))
    return {(unquote(path.parts[-3]), unquote(path.parts[-2])): path for path in found}


def result_file(out: Path, run: RunKey) -> Path:
    """Where the pooled scores of a run lie."""
    return _folder(out, run) / "result.json"


def result_files(out: Path) -> list[Path]:
    """Find every file of pooled scores below a folder, sorted by path."""
    return sorted(Path(out).rglob("*@*/*/result.json"))


def read_scores(out: Path) -> list[Score]:
    """Read every pooled score below a folder, sorted by path; within a file in the order written.

    Args:
        out: Root folder of the results.

    Returns:
        All scores; at least one.

    Raises:
        OutputError: There are none, or a file is damaged or of another version.
    """
    paths = result_files(out)
    if not paths:
        raise OutputError(
            f"{out}: no results, expected <model>/<fingerprint>/<task>@<protocol>/<layer>/result.json; "
            f"run `unibench run -o {out} ...` first"
        )
    return [score for path in paths for score in _read_result(out, path)]


def result_schema() -> dict[str, Any]:
    """The JSON Schema of a file of pooled scores."""
    made = schema.json_schema(Score)
    score = made["$defs"]["Score"]["properties"]
    for name in _NUMBERS:
        score[name] = {"type": ["number", "null"]}
    text = {"type": "string"}
    return {
        "$schema": made["$schema"],
        "type": "object",
        "properties": {
            "clips": {"type": "array", "items": text},
            "scores": {"type": "array", "items": {"$ref": "#/$defs/Score"}},
            "checksum": text,
        },
        "required": list(_RESULT),
        "additionalProperties": False,
        "$defs": made["$defs"],
    }


def run_of(score: Score) -> RunKey:
    """The run that a score is of."""
    return RunKey(score.model, score.weights_hash, score.task, score.protocol, score.layer)


def write_run(out: Path, run: RunKey, provenance: Mapping[str, Any]) -> Path:
    """Write how a result came about (command, versions, hardware, start, end, ...), beside the result.

    Args:
        out: Root folder of the results.
        run: Of which result.
        provenance: Anything that JSON can hold.

    Returns:
        The file written.

    Raises:
        OutputError: The file cannot be written.
    """
    return replace_file(_folder(out, run) / "run.json", _json(dict(provenance)))


def read_run(out: Path, run: RunKey) -> dict[str, Any]:
    """Read how a result came about.

    Args:
        out: Root folder of the results.
        run: Of which result.

    Returns:
        What `write_run` was given; empty where nothing is stored.

    Raises:
        OutputError: The file is damaged.
    """
    path = _folder(out, run) / "run.json"
    record = _load(path)
    if record is None:
        return {}
    if not isinstance(record, dict):
        raise OutputError(f"{path}: found a {type(record).__name__}, expected named fields; {_ADVICE}")
    return record


def write_loaded(out: Path, model: str, fingerprint: str, report: LoadReport) -> Path:
    """Write what became of a model's weights, beside its results.

    Raises:
        OutputError: The file cannot be written.
    """
    path = _model_folder(out, model, fingerprint) / "loaded.json"
    return replace_file(path, _json(asdict(report)))


def read_loaded(out: Path, model: str, fingerprint: str) -> LoadReport | None:
    """Read what became of a model's weights; None where it is not stored.

    Raises:
        OutputError: The file is damaged.
    """
    return _read_record(_model_folder(out, model, fingerprint) / "loaded.json", LoadReport)


def write_cost(out: Path, run: RunKey, cost: Cost) -> Path:
    """Write what a frame costs, beside the result.

    Raises:
        OutputError: The file cannot be written.
    """
    return replace_file(_folder(out, run) / "cost.json", _json(asdict(cost)))


def read_cost(out: Path, run: RunKey) -> Cost | None:
    """Read what a frame costs; None where it was not measured.

    Raises:
        OutputError: The file is damaged.
    """
    return _read_record(_folder(out, run) / "cost.json", Cost)


def _read_record(path: Path, kind: type[Record]) -> Record | None:
    record = _load(path)
    if record is None:
        return None
    try:
        found: Record = schema.record(kind, record, str(path))
    except schema.SchemaError as error:
        raise OutputError(f"{error}; {_ADVICE}") from error
    return found


def _read_result(out: Path, path: Path) -> list[Score]:
    record = _load(path)
    _check(path, record, _RESULT)
    kinds = {field.name: field.type for field in fields(Score)}
    scores = []
    for entry in record["scores"]:
        _check(path, entry, {**kinds, **dict.fromkeys(_NUMBERS, object)})
        numbers = {name: _value(path, f"{name} of {entry['metric']}", entry[name]) for name in _NUMBERS}
        scores.append(Score(**{**entry, **numbers}))
    _check_sum(path, record)
    if not scores:
        raise OutputError(f"{path}: no scores, expected at least one; {_ADVICE}")
    for score in scores:
        place = result_file(out, run_of(score))
        own = place.relative_to(out).parts
        if path.parts[-len(own) :] != own:  # `path` may lie in a folder of results within `out`
            raise OutputError(f"{path}: holds scores of {place}, expected those of its own folder; {_ADVICE}")
    return scores


def _pooled_clips(path: Path) -> list[str]:
    record = _load(path)
    if record is None:
        return []
    _check(path, record, _RESULT)
    _check_sum(path, record)
    if wrong := [name for name in record["clips"] if not isinstance(name, str)]:
        raise OutputError(f"{path}: clips has {wrong[0]!r}, expected names of clips; {_ADVICE}")
    return list(record["clips"])


def _check_sum(path: Path, record: dict[str, Any]) -> None:
    """Take the checksum out of a record, and demand that it is that of the rest."""
    if record.pop("checksum") != _checksum(record):
        raise OutputError(f"{path}: changed after it was written (its checksum is another one); {_ADVICE}")


def _model_folder(out: Path, model: str, fingerprint: str) -> Path:
    return Path(out, _quote(model), _quote(fingerprint))


def _folder(out: Path, run: RunKey) -> Path:
    levels = [_quote(level) for level in (run.model, run.fingerprint, *run.task.split("/"))]
    levels[-1] = f"{levels[-1]}@{_quote(run.protocol)}"
    return Path(out, *levels, _quote(run.layer))


def _clip_path(out: Path, key: UnitKey) -> Path:
    return _folder(out, key.run) / "clips" / f"{_quote(key.clip)}.json"


def _checksum(record: Mapping[str, Any]) -> str:
    """Hash over a clip's result or pooled scores: it tells an accident or an edit by hand, not an attack."""
    text = json.dumps(record, sort_keys=True, allow_nan=False)  # without an indent it is made in C
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _quote(name: str) -> str:
    """One safe folder level; a leading dot is quoted too, so that neither `..` nor hidden files arise."""
    if not name:
        raise OutputError("results: empty name, expected a model, task, protocol, layer and clip; name it")
    quoted = quote(name, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


def _json(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _load(path: Path) -> Any:
    """The parsed file; None where there is none."""
    try:
        return schema.parse_json(schema.read_file(path), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be read ({error.strerror or error}); free the path or choose another folder"
        ) from error
    except schema.SchemaError as error:
        raise OutputError(f"{error}; {_ADVICE}") from error


def _check(path: Path, record: object, kinds: Mapping[str, Any]) -> None:
    if not isinstance(record, dict):
        raise OutputError(f"{path}: found a {type(record).__name__}, expected named fields; {_ADVICE}")
    if unknown := sorted(record.keys() - kinds.keys()):
        raise OutputError(f"{path}: unknown fields {', '.join(unknown)}, expected none; {_ADVICE}")
    if missing := sorted(kinds.keys() - record.keys()):
        raise OutputError(f"{path}: fields {', '.join(missing)} are missing; {_ADVICE}")
    for name, kind in kinds.items():
        value = record[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise OutputError(f"{path}: {name} is {value!r}, expected {kind.__name__}; {_ADVICE}")


def _numbers(path: Path, score: Score) -> dict[str, float | None]:
    return {name: _number(path, f"{name} of {score.metric}", getattr(score, name)) for name in _NUMBERS}


def _number(path: Path, name: str, value: float) -> float | None:
    """As it is stored: a finite float, or null for NaN."""
    if math.isinf(value):
        raise OutputError(f"{path}: {name} is {value}, expected a finite number; correct the metric")
    return None if math.isnan(value) else float(value)


def _stored(path: Path, name: str, value: Any) -> float | list[float | None] | None:
    """A number of a tally, or an array of numbers, as JSON has it."""
    if np.ndim(value):
        return [_number(path, name, one) for one in np.asarray(value, dtype=np.float64).tolist()]
    return _number(path, name, value)


def _restored(path: Path, name: str, stored: object) -> float | np.ndarray:
    if isinstance(stored, list):
        return np.array([_value(path, name, one) for one in stored], dtype=np.float64)
    return _value(path, name, stored)


def _value(path: Path, name: str, stored: object) -> float:
    if stored is None:
        return math.nan
    if isinstance(stored, bool) or not isinstance(stored, int | float):
        raise OutputError(f"{path}: {name} is {stored!r}, expected a number; {_ADVICE}")
    return float(stored)
