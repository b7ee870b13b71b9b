"""Events, attributes and the ceiling of association, on clips whose answers are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from unibench.cli import main
from unibench.evaluation import explain
from unibench.geometry import masks
from unibench.metrics import attributes
from unibench.records import Clip, Labels, Truth


def clip(length: int) -> Clip:
    return Clip("c", 200, 300, 1.0, length, lambda: iter(()))


def at(*boxes: tuple[int, float, float, float]) -> Labels:
    """Identity, left, top, side."""
    rows = np.array(boxes, dtype=float).reshape(-1, 4)
    return Labels(ids=rows[:, 0].astype(int), boxes=np.hstack([rows[:, 1:3], rows[:, 1:3] + rows[:, 3:]]))


def test_attributes_are_shares_of_objects_and_frames() -> None:
    truth = Truth((
        at((1, 50, 50, 30), (2, 200, 50, 10)),
        at((1, 75, 50, 30), (2, 200, 50, 10)),  # 1 moves by 25 pixels
        at((2, 200, 50, 10)),  # 1 is gone
        at((1, 50, 50, 50), (2, 60, 60, 10)),  # 1 is 2.8 times as large, 2 lies in it and has moved far
    ))  # fmt: skip
    found = attributes.shares(clip(4), truth)
    rows = 8  # three frames with 1, four with 2, one without 1
    assert found == {
        "scale variation": 1 / rows,
        "fast motion": 2 / rows,
        "out of view": 1 / rows,
        "low resolution": 4 / rows,
        "occlusion": 1 / rows,
        "similar objects": 2 / rows,  # each beside the other, in the last frame
    }


def test_a_box_at_the_edge_is_out_of_view_and_other_classes_are_not_alike() -> None:
    truth = Truth((replace(at((1, 0, 50, 40), (2, 45, 50, 40)), classes=np.array([0, 1])),))
    found = attributes.shares(clip(1), truth)
    assert found["out of view"] == 0.5
    assert found["similar objects"] == 0.0


def test_masks_have_the_attributes_of_their_boxes_and_poses_have_none() -> None:
    image = np.zeros((200, 300), dtype=bool)
    image[50:60, 50:60] = True
    truth = Truth((Labels(ids=np.array([1]), masks=(masks.encode(image),)),))
    assert attributes.shares(clip(1), truth)["low resolution"] == 1.0
    assert attributes.shares(clip(1), Truth((Labels(),))) == {}


def test_misses_are_runs_and_switches_are_named() -> None:
    true = at((1, 50, 50, 30), (2, 150, 50, 30))
    said = [at((7, 50, 50, 30)), at(), at((8, 50, 50, 30), (9, 150, 50, 30))]
    assert explain.events("mot", Truth((true,) * 3), said) == [
        (0, "object 2 is missed until frame 1"),
        (1, "object 1 is missed"),
        (2, "object 1: id 7 becomes 8"),
    ]


def test_a_target_is_lost_when_nothing_overlaps_for_some_frames() -> None:
    true = at((1, 50, 50, 30))
    away = at((1, 200, 50, 30))
    said = [true] * 2 + [away] * explain.LOST + [true, away, true]
    assert explain.events("sot", Truth((true,) * len(said)), said) == [
        (2, f"the target is lost until frame {1 + explain.LOST}")
    ]


def test_a_mask_that_does_not_come_back_drifts() -> None:
    image = np.zeros((20, 20), dtype=bool)
    image[5:15, 5:15] = True
    good, bad = (
        Labels(ids=np.array([1]), masks=(masks.encode(one),)) for one in (image, np.roll(image, 7, axis=0))
    )
    events = explain.events("vos", Truth((good,) * 5), [good, good, bad, bad, bad])
    assert events == [(2, "the masks drift: J is below 0.5 from here on")]
    assert explain.events("vos", Truth((good,) * 4), [good, bad, bad, good]) == []


def test_a_family_without_frames_of_its_own_has_no_events() -> None:
    assert explain.events("det", Truth((Labels(),)), [Labels()]) == []


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explained") / "out"
    given = ["--frames", "6", "-o", str(out), "-m", "lab-colour"]
    tasks = [
        "-t",
        "mot/synthetic",
        "-t",
        "mot/synthetic@bytetrack",
        "-t",
        "mots/synthetic",
        "-t",
        "pose/synthetic",
    ]
    done = CliRunner().invoke(main, ["run", *given, *tasks])
    assert done.exit_code == 0, done.output
    return out


def test_the_command_sets_association_beside_its_parts_and_its_ceiling(results: Path) -> None:
    done = CliRunner().invoke(
        main, ["explain", "-o", str(results), "-m", "lab-colour", "-t", "mot/synthetic@unitrack+public"]
    )
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    values = {line[:34].strip(): line[34:].strip() for line in lines if "(@" in line or "identities" in line}
    assert values["looks alone (@appearance-only)"] == "not run"
    rows = ("motion alone (@bytetrack)", "this run (@unitrack+public)", "the true identities")
    motion, this, best = (float(values[name]) for name in rows)
    assert max(motion, this) <= best <= 100
    assert any(line.startswith("occlusion") for line in lines)
    assert any(line.startswith("crowd-") for line in lines)


@pytest.mark.parametrize("task", ["mots/synthetic", "pose/synthetic"])
def test_other_families_are_explained_as_far_as_they_go(results: Path, task: str) -> None:
    done = CliRunner().invoke(main, ["explain", "-o", str(results), "-m", "lab-colour", "-t", task])
    assert done.exit_code == 0, done.output
    assert ("the true identities" in done.output) == (task == "mots/synthetic")


def test_what_is_not_there_is_one_line(results: Path) -> None:
    for model, task, message in (
        ("hog", "mot/synthetic", "no result of 'hog mot/synthetic'; there are: "),
        ("lab-colour", "mot/synthetic", "2 results fit, expected one; say which with"),
    ):
        done = CliRunner().invoke(main, ["explain", "-o", str(results), "-m", model, "-t", task])
        assert done.exit_code == 2
        assert message in done.output
