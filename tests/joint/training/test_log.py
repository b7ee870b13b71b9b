"""The log holds every step once, whatever was interrupted, and TensorBoard gets the same numbers."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from unibench.errors import TrainingError
from unibench.joint.training import log


def test_steps_that_are_done_again_stand_once(tmp_path: Path) -> None:
    with log.writing(tmp_path, 0) as add:
        for step in range(6):
            add(step, {"loss": step / 3, "seconds": 1.0})
        assert len(log.read(tmp_path)["step"]) == 6  # each row can be read at once
    with (tmp_path / log.FILE).open("a") as stream:
        stream.write("6,0.")
    with log.writing(tmp_path, 4) as add:
        add(4, {"loss": 4 / 3, "seconds": 2.0})
    read = log.read(tmp_path)
    assert read == {"step": [0, 1, 2, 3, 4], "loss": [n / 3 for n in range(5)]}


def test_a_training_from_the_start_has_an_empty_log(tmp_path: Path) -> None:
    (tmp_path / log.FILE).write_text("step,loss\n0,1.0\njunk\n")
    with log.writing(tmp_path, 0) as add:
        add(0, {"other": 2.0})
    assert log.read(tmp_path) == {"step": [0], "other": [2.0]}


def test_an_error_of_the_training_is_not_taken_for_the_log_s(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="an image"), log.writing(tmp_path, 0):
        raise FileNotFoundError("an image")


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    (tmp_path / log.FILE).symlink_to("/dev/full")
    with (
        pytest.raises(
            TrainingError, match=r"log\.csv: cannot be written \(No space left on device\); make room"
        ),
        log.writing(tmp_path, 0) as add,
    ):
        add(0, {"loss": 1.0})


def test_tensorboard_gets_the_same_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            told.append((folder, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told.append((name, value, step))

        def close(self) -> None:
            told.append("closed")

    monkeypatch.setattr(log, "find_spec", lambda name: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    with log.writing(tmp_path, 3) as add:
        add(3, {"loss": 0.5, "lr": 0.1})
    assert told == [(str(tmp_path / "tensorboard"), 3), ("loss", 0.5, 3), ("lr", 0.1, 3), "closed"]
