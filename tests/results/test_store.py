import hashlib
import json
import math
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from unibench.errors import OutputError
from unibench.records import LoadReport, Score
from unibench.results.atomic import replace_file
from unibench.results.store import (
    ClipResult,
    RunKey,
    UnitKey,
    read_clip,
    read_clips,
    read_loaded,
    read_run,
    read_scores,
    run_of,
    write_clip,
    write_loaded,
    write_result,
    write_run,
)

KEY = UnitKey("dino", "c0ffee", "pose/jhmdb", "unitrack", "layer3", "catch/ball_1.avi")
RESULT = ClipResult(KEY, 40, False, "f00d", "da7a", {"tp": 3.0, "distance": 0.1})
SCORE = Score(
    model="dino", layer="layer3", task="vos/davis2016", benchmark="davis2016", protocol="unitrack",
    protocol_version="1.0", detections="", metric="J-mean", value=0.1 + 0.2,
    ci_low=0.2, ci_high=0.4, clips=20, frames=1376, partial=False, headline=True,
    protocol_hash="p1", weights_hash="w1", data_hash="d1",
)  # fmt: skip
RESULT_FILE = Path("dino", "w1", "vos", "davis2016@unitrack", "layer3", "result.json")


def test_a_clip_comes_back_as_it_was_written(tmp_path):
    path = write_clip(tmp_path, RESULT)
    assert path == tmp_path / "dino/c0ffee/pose/jhmdb@unitrack/layer3/clips/catch%2Fball_1.avi.json"
    found = read_clip(tmp_path, KEY)
    assert found is not None
    assert vars(found) == vars(RESULT)


def test_a_clip_file_is_plain_sorted_json_without_times(tmp_path):
    numpy_values = replace(RESULT, frames=40, tally={"tp": np.float64(3), "distance": np.float64(0.1)})
    path = write_clip(tmp_path, numpy_values)
    assert re.sub(r'"[0-9a-f]{16}"', '"CHECK"', path.read_text()) == (
        "{\n"
        ' "checksum": "CHECK",\n'
        ' "data": "da7a",\n'
        ' "fingerprint": "f00d",\n'
        ' "frames": 40,\n'
        ' "key": {\n'
        '  "clip": "catch/ball_1.avi",\n'
        '  "fingerprint": "c0ffee",\n'
        '  "layer": "layer3",\n'
        '  "model": "dino",\n'
        '  "protocol": "unitrack",\n'
        '  "task": "pose/jhmdb"\n'
        " },\n"
        ' "note": "",\n'
        ' "partial": false,\n'
        ' "predictions": "",\n'
        ' "scoring": "",\n'
        ' "tally": {\n'
        '  "distance": 0.1,\n'
        '  "tp": 3.0\n'
        " },\n"
        ' "truth": ""\n'
        "}\n"
    )


@pytest.mark.parametrize(
    "clip", ["a/b", "a%2Fb", "..", ".hidden", "a b", "naïve", "result", "x@y", "C:\\a", "~"]
)
def test_any_clip_name_is_one_file_and_comes_back(tmp_path, clip):
    path = write_clip(tmp_path, replace(RESULT, key=replace(KEY, clip=clip)))
    assert path.parent == tmp_path / "dino/c0ffee/pose/jhmdb@unitrack/layer3/clips"
    assert unquote(path.name.removesuffix(".json")) == clip
    assert not path.name.startswith(".")
    assert read_clip(tmp_path, replace(KEY, clip=clip)) is not None


def test_all_clips_of_a_result_are_read_by_name(tmp_path):
    results = [replace(RESULT, key=replace(KEY, clip=name)) for name in ("b", "a/c", ".x")]
    for one in results:
        write_clip(tmp_path, one)
    write_clip(tmp_path, replace(RESULT, key=replace(KEY, layer="layer4")))
    found = read_clips(tmp_path, KEY.run)
    assert [vars(one) for one in found] == [vars(one) for one in reversed(results)]
    assert read_clips(tmp_path, replace(KEY.run, model="mae")) == []
    assert read_clips(tmp_path, replace(KEY.run, fingerprint="decaf")) == []


def test_different_clip_names_are_different_files(tmp_path):
    names = ["a/b", "a%2Fb", "a%252Fb", "a_b"]
    assert len({write_clip(tmp_path, replace(RESULT, key=replace(KEY, clip=name))) for name in names}) == 4


def test_a_name_cannot_leave_the_folder(tmp_path):
    escaping = replace(KEY, model="..", task="../../x", layer="../y")
    path = write_clip(tmp_path / "out", replace(RESULT, key=escaping))
    assert path.resolve().is_relative_to(tmp_path / "out")


def test_an_empty_name_is_refused(tmp_path):
    with pytest.raises(OutputError, match="empty name, expected a model, task, protocol, layer and clip"):
        write_clip(tmp_path, replace(RESULT, key=replace(KEY, clip="")))


def test_a_clip_that_is_not_there_is_none(tmp_path):
    assert read_clip(tmp_path, KEY) is None


def test_undefined_is_null_and_comes_back_as_nan(tmp_path):
    path = write_clip(tmp_path, replace(RESULT, tally={"ratio": math.nan}))
    assert json.loads(path.read_text())["tally"] == {"ratio": None}
    found = read_clip(tmp_path, KEY)
    assert found is not None
    assert math.isnan(found.tally["ratio"])


def test_infinity_is_refused(tmp_path):
    with pytest.raises(OutputError, match="ratio is inf, expected a finite number; correct the metric"):
        write_clip(tmp_path, replace(RESULT, tally={"ratio": math.inf}))


def _change(path, **changes):
    record = json.loads(path.read_text())
    record = {name: v for name, v in {**record, **changes}.items() if v != "drop"}
    path.write_text(json.dumps(record))
    return record


def _sign(path, record):
    """Write a record with the checksum that `write_clip` would give it."""
    record.pop("checksum")
    text = json.dumps(record, sort_keys=True)
    record["checksum"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"speed": 1}, r"unknown fields speed, expected none; delete the file or rerun"),
        ({"frames": "drop"}, r"fields frames are missing; delete the file or rerun"),
        ({"frames": 4.5}, r"frames is 4\.5, expected int; delete the file or rerun"),
        ({"frames": True}, r"frames is True, expected int; delete"),
        ({"tally": {"tp": "3"}}, r"tp is '3', expected a number; delete"),
        ({"key": {"clip": "other"}}, r"holds \{'clip': 'other'\}, expected \{'model': 'dino', .*; delete"),
    ],
)
def test_a_clip_file_with_other_content_is_an_error(tmp_path, changes, message):
    path = write_clip(tmp_path, RESULT)
    _sign(path, _change(path, **changes))
    with pytest.raises(OutputError, match=message) as caught:
        read_clip(tmp_path, KEY)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"tally": {"tp": 9.0, "distance": 0.1}}, {"frames": 41}, {"checksum": "0" * 16}]
)
def test_a_clip_file_that_was_edited_is_an_error(tmp_path, changes):
    path = write_clip(tmp_path, RESULT)
    _change(path, **changes)
    with pytest.raises(OutputError, match=r"changed after it was written \(its checksum .*; delete the file"):
        read_clip(tmp_path, KEY)


@pytest.mark.parametrize("content", [b"", b'{"clip": ', b"\xff\xfe"])
def test_a_truncated_clip_file_is_an_error(tmp_path, content):
    write_clip(tmp_path, RESULT).write_bytes(content)
    with pytest.raises(OutputError, match=r"not JSON .*; delete the file or rerun"):
        read_clip(tmp_path, KEY)


def test_json_that_holds_no_record_is_an_error(tmp_path):
    write_clip(tmp_path, RESULT).write_text("[]")
    with pytest.raises(OutputError, match="found a list, expected named fields; delete the file"):
        read_clip(tmp_path, KEY)


def test_scores_come_back_exact_in_path_order_and_in_the_order_written(tmp_path):
    second = replace(SCORE, metric="F-mean", value=1.0, headline=False)
    undefined = replace(SCORE, model="mae", metric="F-mean", value=math.nan)
    path = write_result(tmp_path, [replace(undefined, value=0.5)])
    write_result(tmp_path, [SCORE, second])
    assert read_scores(tmp_path) == [SCORE, second, replace(undefined, value=0.5)]
    assert write_result(tmp_path, [undefined]) == path
    assert math.isnan(read_scores(tmp_path)[-1].value)
    assert (tmp_path / RESULT_FILE).is_file()


def test_reading_scores_ignores_clips_and_runs(tmp_path):
    write_result(tmp_path, [SCORE])
    write_clip(tmp_path, replace(RESULT, key=replace(KEY, clip="result")))
    key = RunKey("dino", "w1", "vos/davis2016", "unitrack", "layer3")
    assert key == run_of(SCORE)
    assert read_run(tmp_path, key) == {}
    run = write_run(tmp_path, key, {"started": "2024-01-01"})
    assert read_run(tmp_path, key) == {"started": "2024-01-01"}
    assert run == tmp_path / RESULT_FILE.with_name("run.json")
    assert json.loads(run.read_text()) == {"started": "2024-01-01"}
    assert read_scores(tmp_path) == [SCORE]


@pytest.mark.parametrize("folder", ["", "missing"])
def test_no_results_says_what_to_do(tmp_path, folder):
    with pytest.raises(
        OutputError, match=r"no results, expected <model>.*result\.json; run `unibench run -o"
    ):
        read_scores(tmp_path / folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entry: entry.update(speed=1), "unknown fields speed"),
        (lambda entry: entry.pop("data_hash"), "fields data_hash are missing"),
        (lambda entry: entry.update(partial=0), "partial is 0, expected bool"),
        (lambda entry: entry.update(value="high"), "value of J-mean is 'high', expected a number"),
    ],
)
def test_a_result_of_another_version_is_an_error(tmp_path, change, message):
    path = write_result(tmp_path, [SCORE])
    record = json.loads(path.read_text())
    change(record["scores"][0])
    path.write_text(json.dumps(record))
    with pytest.raises(OutputError, match=rf"result\.json: {message}"):
        read_scores(tmp_path)


def test_a_result_file_without_scores_is_an_error(tmp_path):
    write_result(tmp_path, [SCORE]).write_text('{"rows": []}')
    with pytest.raises(OutputError, match="unknown fields rows"):
        read_scores(tmp_path)


def test_the_same_scores_give_the_same_bytes(tmp_path):
    first = write_result(tmp_path / "a", [SCORE]).read_bytes()
    assert write_result(tmp_path / "b", [SCORE]).read_bytes() == first
    assert write_result(tmp_path / "a", [SCORE]).read_bytes() == first


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_clip(tmp_path, RESULT)
    old = path.read_bytes()
    seen = []

    def crash(self, target):
        seen.append((self.parent, self.read_bytes(), target))
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write_clip(tmp_path, replace(RESULT, fingerprint="new"))
    (folder, new, target) = seen[0]
    assert (folder, target) == (path.parent, path)
    assert b'"new"' in new
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_a_file_in_the_way_is_one_clear_line(tmp_path):
    (tmp_path / "dino").write_text("not a folder")
    with pytest.raises(
        OutputError, match=r"cannot be written \(Not a directory\), expected a writable"
    ) as caught:
        write_clip(tmp_path, RESULT)
    assert "\n" not in str(caught.value)
    with pytest.raises(OutputError, match=r"cannot be read \(Not a directory\); free the path"):
        read_clip(tmp_path, KEY)


def test_a_folder_in_the_place_of_a_file_is_one_clear_line(tmp_path):
    (tmp_path / "board.csv").mkdir()
    with pytest.raises(OutputError, match=r"board\.csv: cannot be written \(Is a directory\)"):
        replace_file(tmp_path / "board.csv", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["board.csv"]


def test_no_permission_is_one_clear_line(tmp_path, monkeypatch):
    def refuse(self, data):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", refuse)  # the tests may run as root, whom no mode bits stop
    with pytest.raises(OutputError, match=r"cannot be written \(Permission denied\), expected"):
        write_clip(tmp_path, RESULT)


def test_reading_results_loads_neither_torch_nor_pandas():
    code = (
        "import sys, unibench.results.store; print(sorted({'torch', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_result_is_of_the_clips_that_it_names(tmp_path):
    """A clip that was added, or one of another run that lies in the folder, is not a part of it."""
    run = run_of(SCORE)
    for name in ("cat", "dog"):
        write_clip(tmp_path, replace(RESULT, key=UnitKey(**asdict(run), clip=name)))
    assert [one.key.clip for one in read_clips(tmp_path, run)] == ["cat", "dog"]
    write_result(tmp_path, [SCORE], ["dog"])
    assert [one.key.clip for one in read_clips(tmp_path, run)] == ["dog"]


def test_what_became_of_weights_is_read_back_or_refused(tmp_path):
    report = LoadReport(
        loaded=("conv1.weight", "fc.bias"), random=("fc.weight",), prefix="module.", sha256="ab"
    )
    path = write_loaded(tmp_path, "a/b", "c0ffee", report)
    assert path.relative_to(tmp_path) == Path("a%2Fb", "c0ffee", "loaded.json")
    assert read_loaded(tmp_path, "a/b", "c0ffee") == report
    assert read_loaded(tmp_path, "a/b", "other") is None
    path.write_text('{"loaded": 3}')
    with pytest.raises(OutputError, match=r"loaded\.json: loaded: found 3.*delete the file or rerun"):
        read_loaded(tmp_path, "a/b", "c0ffee")
