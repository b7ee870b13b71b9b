"""Processes of this machine: the same bytes as one process gives, also when some of them are killed."""

import logging
import multiprocessing
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.evaluation import sweeps
from tests.test_plugins import plugin
from unibench.cli import main
from unibench.errors import UnibenchError
from unibench.evaluation import run_clip
from unibench.evaluation.executors import Job, local
from unibench.evaluation.run_clip import Step, untold
from unibench.evaluation.units import Unit

__all__ = ["plugin"]


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> list[Unit]:
    return sweeps.units(sweeps.davis(tmp_path_factory.mktemp("data"), clips=6))


@pytest.fixture(scope="module")
def whole(units: list[Unit], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole")
    assert not [one.error for one in run_clip.execute(units, out) if one.error]
    return sweeps.left(out)


def test_one_worker_is_this_process(units: list[Unit], whole: dict[str, bytes], tmp_path: Path) -> None:
    for _ in local.run(units, Job(tmp_path), untold):
        assert not multiprocessing.active_children()
    assert sweeps.left(tmp_path) == whole


def test_killed_workers_are_replaced_and_nothing_is_lost(
    units: list[Unit], whole: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = []
    with caplog.at_level(logging.WARNING):
        for one in local.run(units, Job(tmp_path, workers=2), untold):
            if not done:
                for process in multiprocessing.active_children():
                    process.kill()
            done.append(one)
    assert sorted(one.unit.clip for one in done) == sorted(unit.clip for unit in units)
    assert not [one.error for one in done if one.error]
    lost = [line for line in caplog.messages if line.startswith("worker lost (exit code -9) at ")]
    assert 1 <= len(lost) <= 2
    assert sweeps.left(tmp_path) == whole
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.slow
def test_processes_tell_how_far_they_are(units: list[Unit], tmp_path: Path) -> None:
    steps: list[Step] = []
    assert not any(one.error for one in local.run(units, Job(tmp_path, workers=2), steps.append))
    assert {step.unit.clip for step in steps} <= {unit.clip for unit in units}
    assert {(step.frame, step.frames) for step in steps if step.frame == 1} == {(1, 3)}


def test_units_that_kill_every_worker_are_given_up(units: list[Unit], tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text("import os\nos._exit(3)\n")
    job = Job(tmp_path, workers=2, plugins=(str(tmp_path / "deadly.py"),))
    done = list(local.run(units[:2], job, untold))
    assert [one.error for one in done] == ["its worker was lost 2 times (exit code 3)"] * 2
    assert not list(tmp_path.rglob("clips"))


@pytest.mark.slow
def test_what_no_clip_would_survive_ends_the_run(units: list[Unit], tmp_path: Path) -> None:
    with pytest.raises(UnibenchError, match="no device 'nono'; there are: cpu"):
        list(local.run(units, Job(tmp_path, device="nono,nono"), untold))
    assert not multiprocessing.active_children()


def test_workers_know_the_plugins_and_the_options_of_the_command(
    plugin: Path, units: list[Unit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        main,
        [
            *("run", "--plugin", plugin.name, "-m", "squares", "-t", "vos/davis2016", "--workers", "2"),
            *("--data", str(units[0].root.parent), "-o", "out"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert len(list(Path("out/squares").rglob("clips/*.json"))) == 6
    assert "FAILED" not in done.output
