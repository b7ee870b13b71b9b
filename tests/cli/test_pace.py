"""How far a run is: frames within a clip, and how long the rest takes."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.evaluation import sweeps
from unibench.cli import main, pace
from unibench.cli.pace import Pace, duration
from unibench.evaluation.run_clip import Done, Step
from unibench.evaluation.units import Unit


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def units(tmp_path: Path) -> list[Unit]:
    return sweeps.units(sweeps.davis(tmp_path, clips=4), ("hog",))


def test_the_rest_takes_as_long_as_what_is_done(units: list[Unit]) -> None:
    clock = Clock()
    told = Pace(clock)
    assert told.left() == ""
    clock.now = 500.0  # spent on loading
    told.step(Step(units[0], 1, 4), 4)
    assert told.left() == ""
    clock.now += 10.0
    told.step(Step(units[0], 3, 4), 4)
    assert told.left() == "about 65 s left"  # half a clip took 10 s, of four there are 3.25
    clock.now += 5.0
    told.end(Done(units[0], 20.0), 4)
    assert told.left() == "about 60 s left"


def test_clips_that_are_there_already_say_nothing_of_the_pace(units: list[Unit]) -> None:
    clock = Clock()
    told = Pace(clock)
    assert told.left() == ""
    for unit in units[:2]:
        clock.now += 100.0
        told.end(Done(unit, 0.0), 4)
    assert told.left() == ""
    clock.now += 6.0
    told.end(Done(units[2], 0.0, "it failed at once"), 4)
    assert told.left() == "about 6 s left"
    clock.now += 6.0
    told.end(Done(units[3], 6.0), 4)
    assert told.left() == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (89.4, "89 s"), (90, "2 min"), (5340, "89 min"), (9000, "2.5 h")]
)
def test_durations_are_as_coarse_as_a_guess(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_lines_without_a_terminal_name_the_frame_and_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "PAUSE", 0.0)
    command = ("run", "-m", "lab-colour", "-t", "vos/synthetic-easy", "--frames", "3", "-o", str(tmp_path))
    first, *lines = CliRunner().invoke(main, command).output.splitlines()
    assert first == "1 model on 1 task: starting"
    told = "lab-colour vos/synthetic-easy@unitrack objects-"
    for clip in (1, 2):
        for frame in (1, 2, 3):
            line = lines.pop(0)
            assert line.startswith(f"[{clip - 1}/2] {told}{clip}: frame {frame} of 3")
            assert line.endswith(" s left") == ((clip, frame) not in ((1, 1), (2, 3)))
        assert lines.pop(0).startswith(f"[{clip}/2] {told}{clip}: ")


def test_a_minute_passes_between_two_lines(tmp_path: Path) -> None:
    command = ("run", "-m", "lab-colour", "-t", "vos/synthetic-easy", "--frames", "3", "-o", str(tmp_path))
    assert pace.PAUSE == 60
    assert "frame" not in CliRunner().invoke(main, command).output.partition("\n┏")[0]
