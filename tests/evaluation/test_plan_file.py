"""Plans: the same bytes for the same sweep, and nothing but a sound plan is read."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation import sweeps
from unibench.errors import PlanError
from unibench.evaluation import plan_file
from unibench.evaluation.plan_file import Plan
from unibench.records import Clip
from unibench.tasks import registry
from unibench.tasks.registry import FAMILIES


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return sweeps.make(sweeps.davis(tmp_path_factory.mktemp("data"), clips=3))


def write(path: Path, plan: Plan) -> Path:
    path.write_bytes(plan_file.dump(plan))
    return path


def test_a_plan_names_everything_and_holds_no_network(made: Plan) -> None:
    assert [model.name for model in made.models] == list(sweeps.MODELS)
    assert all(len(model.hash) == 12 and not model.card for model in made.models)
    assert [(task.name, task.protocol, task.detections) for task in made.tasks] == [
        ("vos/davis2016", "unitrack", "")
    ]
    assert made.tasks[0].clips == ("clip00", "clip01", "clip02")
    assert [(unit.model, unit.clip) for unit in made.units] == [
        (model, clip) for model in range(len(sweeps.MODELS)) for clip in made.tasks[0].clips
    ]
    prints = [fingerprint for unit in made.units for fingerprint in unit.results.values()]
    assert len(set(prints)) == len(prints)
    assert "architecture" not in plan_file.dump(made).decode()


def test_a_plan_is_read_as_it_was_written_whatever_the_order_of_its_units(made: Plan, tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(len(made.units))
    shuffled = replace(made, units=tuple(made.units[place] for place in order))
    assert shuffled != made
    for plan in (made, shuffled):
        assert plan_file.read(write(tmp_path / "plan.json", plan)) == made


def test_costs_grow_with_frames_pixels_and_parameters(tmp_path: Path) -> None:
    def cost(models: tuple[str, ...], frames: int) -> float:
        data = sweeps.davis(tmp_path / f"{frames}", clips=1, frames=frames)
        (unit,) = plan_file.make(sweeps.units(data, models)).units
        return unit.cost

    seen = 24 * 32 / 1e15
    few, many = 3 * seen * plan_file.FLOOR, 30 * seen * (plan_file.FLOOR + 11176512)
    assert cost(("lab-colour",), 3) == pytest.approx(few, abs=5e-7)  # rounded to six digits
    assert cost(("random-resnet18",), 30) == pytest.approx(many, abs=5e-7)
    assert few > 5e-6  # so that twice as much would be noticed


NATIVE = 480 * 854
SHOWN = {
    "sot": 3 * 520**2,  # three scales of a window
    "sot@small": 255**2,
    "sot@box": NATIVE,
    "vos@dinov3-m": NATIVE * (960 / 480) ** 2,
    "vos@dinov3-l": NATIVE * (1440 / 480) ** 2,
    "mot": 608 * 1088,  # the letter-box
    "mot@small": NATIVE,
    "mot@private": NATIVE,
    "mot@bytetrack": 0,
    "pose": 320**2,
    "points": 256**2,
}
"""Pixels that a network is shown of a frame of 480 x 854; in all others the frame as it is."""


@pytest.mark.parametrize(
    ("family", "preset"), [(family, one) for family, row in FAMILIES.items() for one in row.presets]
)
def test_every_protocol_says_how_many_pixels_a_network_is_shown(family: str, preset: str) -> None:
    clip = Clip("any", 480, 854, 25.0, 2, frames=lambda: iter(()))
    task = registry.find(f"{family}/{'shapes' if family == 'det' else 'synthetic'}@{preset}")
    expected = SHOWN.get(f"{family}@{preset}", SHOWN.get(family, NATIVE))
    assert plan_file.pixels(task, clip) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda one: one | {"frame": 3}, "unknown field 'frame'; there are: format, "),
        (lambda one: one | {"format": "unibench plan 9"}, "format 'unibench plan 9', expected 'unibench plan 2'"),
        (lambda one: one | {"unibench": "0.0.1"}, "unknown field 'unibench'; there are: format, "),
        (lambda one: one | {"frames": 1}, "frames is 1, expected at least 2"),
        (lambda one: one | {"units": []}, "no units"),
        (lambda one: one | {"units": one["units"] * 2}, "unit of model 0 on clip 'clip00': is there twice"),
        (lambda one: one | {"models": []}, "model 0, expected an index of the 0 models"),
        (lambda one: one | {"tasks": []}, "task 0, expected an index of the 0 tasks"),
        (lambda one: spoilt(one, clip="../../etc"), "unit of model 0 on clip '../../etc': clip is not listed"),
        (lambda one: spoilt(one, task=-1), "task -1, expected an index"),
        (lambda one: spoilt(one, model=2), "model 2, expected an index of the 2 models"),
        (lambda one: spoilt(one, task=True), "task: found True, expected int"),
        (lambda one: spoilt(one, results={}), "no layer in results"),
        (lambda one: spoilt(one, results={"pooled": 3}), "results.pooled: found 3, expected str"),
        (lambda one: spoilt(one, cost=-1.0), r"cost -1\.0, expected a positive number"),
        (lambda one: spoilt(one, cost=float("inf")), "not JSON .Infinity is no number."),
        (lambda one: [one], "found .*, expected a table"),
    ],
)  # fmt: skip
def test_a_plan_that_is_not_sound_is_refused(
    spoil: Callable[[Any], Any], message: str, made: Plan, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(spoil(json.loads(plan_file.dump(made)))))
    with pytest.raises(PlanError, match=f"plan.json: .*{message}.*; make it .*with unibench plan") as caught:
        plan_file.read(path)
    assert "\n" not in str(caught.value)


def spoilt(plan: dict[str, Any], **changes: object) -> dict[str, Any]:
    return plan | {"units": [plan["units"][0] | changes, *plan["units"][1:]]}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100000])
def test_what_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=r"plan.json: not JSON.* \(.*\); make it with unibench plan"):
        plan_file.read(path)
    with pytest.raises(PlanError, match=r"cannot be read \(No such file or directory\); make it"):
        plan_file.read(tmp_path / "other.json")
