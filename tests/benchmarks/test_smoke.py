"""No figure may get grossly worse: the benchmarks in small, without the type checks that slow tests down."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import sleep
from types import SimpleNamespace

import pytest

from tests.benchmarks import __main__
from tests.benchmarks.__main__ import COLUMNS, append, kept
from tests.benchmarks.cases import Case
from tests.benchmarks.timing import LEAST_SECONDS, Timing, measure

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow  # two test workers share the cores: the gates run the same command on its own
def test_nothing_is_grossly_slower_than_its_limit() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--quick"], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


CASE = Case("case", lambda: None, 1.0, 0.5)


@pytest.mark.parametrize(
    ("ratio", "ok", "quick"),
    [(0.5, True, True), (0.51, False, True), (1.0, False, True), (1.01, False, False)],
)
def test_a_case_is_held_to_its_limit(ratio: float, ok: bool, quick: bool) -> None:
    timing = Timing(CASE, (ratio,) * 3, (1.0,) * 3)
    assert (kept(timing, quick=False), kept(timing, quick=True)) == (ok, quick)


def test_noise_in_one_pair_changes_nothing() -> None:
    timing = Timing(CASE, (0.4, 9.0, 0.4), (1.0, 1.0, 1.0))
    assert timing.ratio == timing.best == 0.4
    assert timing.ok


def test_seconds_can_stand_for_a_reference() -> None:
    timing = measure(Case("nap", lambda: sleep(0.04), 1000.0, 1.0), pairs=3)
    assert timing.reference == (1000.0,) * 3
    assert all(0.04 <= one < 1000.0 for one in timing.run)


def test_pairs_take_turns_and_the_warm_up_does_not_count() -> None:
    calls: list[str] = []

    def work(name: str) -> None:
        calls.append(name)
        sleep(LEAST_SECONDS)

    timing = measure(Case("order", partial(work, "run"), partial(work, "other"), 1.0), pairs=4)
    there, back = ["run", "other"], ["other", "run"]
    assert calls == [*there, *there, *back, *there, *back]
    assert len(timing.run) == len(timing.reference) == 4


def test_short_work_is_repeated() -> None:
    calls: list[int] = []
    timing = measure(Case("short", lambda: calls.append(0), 1.0, 1.0), pairs=3)
    assert len(calls) > 1000
    assert max(timing.run) < LEAST_SECONDS


def test_the_history_grows(tmp_path: Path) -> None:
    path = tmp_path / "results" / "benchmarks.csv"
    timing = Timing(Case("nap, long", lambda: None, 1.0, 0.5), (0.25, 0.5, 0.5), (1.0, 1.0, 2.0))
    append(path, [timing])
    append(path, [timing, timing])
    head, *rows = path.read_text().splitlines()
    assert head.split(",") == list(COLUMNS)
    assert len(rows) == 3
    assert all(row.endswith(',"nap, long",0.5,1,0.25,0.25,0.5,3,0.5,True') for row in rows)


def test_a_part_of_a_name_or_a_pattern_chooses_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [replace(CASE, name=name) for name in ("mask 30x54", "mask 60x107", "pose")]
    monkeypatch.setattr(__main__, "import_module", lambda _: SimpleNamespace(cases=lambda *, quick: made))
    modules = len(list(__main__.HERE.glob("bench_*.py")))
    assert {one.name for one in __main__.find("mask", quick=True)} == {"mask 30x54", "mask 60x107"}
    assert [one.name for one in __main__.find("p*e", quick=True)] == ["pose"] * modules
    assert not list(__main__.find("no such case", quick=True))
