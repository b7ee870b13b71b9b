"""Shards: however a plan is shared, the same bytes come out as of one run; what does not fit the plan is noticed."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.evaluation import sweeps
from unibench.cli import main
from unibench.errors import PlanError
from unibench.evaluation import plan_file, shards
from unibench.evaluation.plan_file import Plan, PlannedModel, PlannedTask, PlannedUnit
from unibench.results import store

CLIPS = 4


def unibench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweeps.davis(tmp_path_factory.mktemp("data"), CLIPS)


@pytest.fixture(scope="module")
def asked(data: Path) -> list[object]:
    return [*("-m", "lab-colour", "-m", "hog", "-t", "vos/davis2016", "--data"), data]


@pytest.fixture(scope="module")
def whole(asked: list[object], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What `unibench run` leaves."""
    out = tmp_path_factory.mktemp("whole")
    done = unibench("run", *asked, "-o", out)
    assert done.exit_code == 0, done.output
    return sweeps.left(out)


@pytest.fixture
def path(asked: list[object], tmp_path: Path) -> Path:
    made = unibench("plan", *asked, "-o", tmp_path / "plan.json")
    assert made.exit_code == 0, made.output
    assert "8 clips to score" in made.output
    return tmp_path / "plan.json"


def drawn(costs: Sequence[float], models: int) -> Plan:
    """A plan of units with these costs, spread evenly over models."""
    each = -(-len(costs) // models)
    clips = tuple(f"clip{number}" for number in range(each))
    units = [
        PlannedUnit(place // each, 0, clips[place % each], cost, {"layer": "x"})
        for place, cost in enumerate(costs)
    ]
    listed = tuple(PlannedModel(f"model{number}", "") for number in range(models))
    return Plan(
        plan_file.FORMAT, listed, (PlannedTask("vos/davis2016", "unitrack", "", clips),), tuple(units)
    )


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40, 200])
def test_shards_hold_every_unit_once_and_a_fair_share(count: int) -> None:
    costs = [round(cost, 3) for cost in np.random.default_rng(count).gamma(1.0, 5.0, 100)]
    plan = drawn(costs, models=5)
    parts = [shards.shard(plan, index, count) for index in range(1, count + 1)]
    assert [unit for part in parts for unit in part] == list(plan.units)
    fair = sum(costs) / count
    assert all(abs(sum(unit.cost for unit in part) - fair) <= max(costs) for part in parts)
    pieces = sum(len(list(groupby(part, key=lambda unit: unit.model))) for part in parts)
    assert pieces <= len(plan.models) + count - 1


def test_units_that_cost_nothing_are_in_the_first_shard() -> None:
    plan = drawn([0.0, 0.0], models=1)
    assert [len(shards.shard(plan, index, 3)) for index in (1, 2, 3)] == [2, 0, 0]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_number_of_shards_in_any_order_gives_the_bytes_of_one_run(
    count: int, path: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    for index in np.random.default_rng(count).permutation(count) + 1:
        done = unibench("work", path, "--shard", f"{index}/{count}", "-o", out)
        assert done.exit_code == 0, done.output
    assert set(sweeps.left(out)) == {name for name in whole if "/clips/" in name or "/predictions/" in name}
    assert unibench("merge", "-o", out).exit_code == 0
    assert sweeps.left(out) == whole


def test_one_shard_of_all_measures_what_a_model_costs(path: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"{index}" for index in range(1, 5)]  # two clips each; a model lies in two
    for index, out in enumerate(outs, 1):
        assert unibench("work", path, "--shard", f"{index}/4", "-o", out).exit_code == 0
    assert [len(list(out.rglob("cost.json"))) for out in outs] == [1, 0, 1, 0]


def test_a_shuffled_plan_gives_the_same(path: Path, tmp_path: Path, whole: dict[str, bytes]) -> None:
    plan = plan_file.read(path)
    order = np.random.default_rng(1).permutation(len(plan.units))
    path.write_bytes(plan_file.dump(replace(plan, units=tuple(plan.units[place] for place in order))))
    for index in (2, 1):
        unibench("work", path, "--shard", f"{index}/2", "-o", tmp_path / "out")
    assert unibench("merge", "-o", tmp_path / "out").exit_code == 0
    assert sweeps.left(tmp_path / "out") == whole


def test_merging_needs_neither_data_nor_weights(
    asked: list[object], tmp_path: Path, whole: dict[str, bytes]
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(asked[-1], here)
    unibench("plan", *asked[:-1], here, "-o", tmp_path / "plan.json")
    here.rename(there)
    lost = unibench("work", tmp_path / "plan.json", "-o", tmp_path / "out")
    assert lost.exit_code == 2
    assert "no folder" in lost.output
    assert unibench("work", tmp_path / "plan.json", "-o", tmp_path / "out", "--data", there).exit_code == 0
    shutil.rmtree(there)
    assert unibench("merge", "-o", tmp_path / "out").exit_code == 0
    assert sweeps.left(tmp_path / "out") == whole


def test_what_is_missing_is_said_and_the_rest_is_pooled(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    unibench("work", path, "--shard", "1/2", "-o", out)
    merged = unibench("merge", "-o", out)
    assert merged.exit_code == 1
    assert "missing: hog vos/davis2016@unitrack hog clip03" in merged.output
    assert "4 of 8 results are missing" in merged.output
    assert {(score.model, score.partial, score.clips) for score in store.read_scores(out)} == {
        ("lab-colour", False, 4)
    }
    next(out.rglob("clip01.json")).unlink()
    assert unibench("merge", "-o", out).exit_code == 1
    assert {(score.partial, score.clips) for score in store.read_scores(out)} == {(True, 3)}


def test_results_of_another_sweep_do_not_count(asked: list[object], path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    unibench("run", *asked, "-o", out, "--frames", "2")
    shards.keep(plan_file.read(path), out)
    merged = unibench("merge", "-o", out)
    assert merged.exit_code == 1
    assert "8 of 8 results are missing" in merged.output


def test_a_folder_holds_one_plan(asked: list[object], path: Path, tmp_path: Path) -> None:
    unibench("work", path, "--shard", "1/2", "-o", tmp_path / "out")
    unibench("plan", *asked, "-t", "vos/davis2016@crw", "-o", tmp_path / "other.json")
    other = unibench("work", tmp_path / "other.json", "-o", tmp_path / "out")
    assert other.exit_code == 2
    assert "plan.json: another plan, expected none or the same" in other.output
    assert "make it with unibench plan" in unibench("merge", "-o", tmp_path / "empty").output


def test_a_shard_of_other_frames_is_refused_before_it_writes(tmp_path: Path) -> None:
    out, path = tmp_path / "out", tmp_path / "plan.json"
    asked = ["-m", "hog", "-t", "vos/davis2016", "--data", sweeps.davis(tmp_path / "data", clips=1, frames=4)]
    unibench("plan", *asked, "-o", path)
    assert unibench("run", *asked, "-o", out, "--frames", "3").exit_code == 0
    before = sweeps.left(out)
    done = unibench("work", path, "-o", out)
    assert done.exit_code == 2
    assert "on the first 3 frames of each clip, expected all as asked for" in done.stderr
    assert not (out / shards.NAME).exists()
    assert sweeps.left(out) == before


def found(plan: Plan, data: Path) -> list[object]:
    return list(shards.find_units(plan, plan.units, data, None))


def test_another_card_protocol_or_clip_is_noticed_before_any_work(path: Path, data: Path) -> None:
    plan = plan_file.read(path)
    assert len(found(plan, data)) == 8
    colour, hog = plan.models
    with pytest.raises(
        PlanError, match=r"model 'hog': card or weights with the hash .*, expected abc as in the plan"
    ):
        found(replace(plan, models=(colour, replace(hog, hash="abc"))), data)
    (task,) = plan.tasks
    with pytest.raises(
        PlanError, match=r"task vos/davis2016@unitrack: protocol with the hash .*, expected abc"
    ):
        found(replace(plan, tasks=(replace(task, hash="abc"),)), data)
    out_of_root = replace(plan.units[0], clip="../clip00")
    with pytest.raises(PlanError, match=r"vos/davis2016: no clip '\.\./clip00', expected as in the plan"):
        found(replace(plan, units=(out_of_root,)), data)


def test_another_truth_is_noticed(path: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    shutil.copy(*(tmp_path / f"data/DAVIS2016/Annotations/480p/clip0{one}/00002.png" for one in (3, 1)))
    done = unibench("work", path, "-o", tmp_path / "out", "--data", tmp_path / "data")
    assert done.exit_code == 1
    assert done.output.count("the clip's truth is not that of the plan") == 2
    assert "clip01: FAILED" in done.output
    assert "2 of 8 results are missing" in unibench("merge", "-o", tmp_path / "out").output


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "-1/2", "1/2/3"])
def test_a_shard_is_i_of_n(shard: str, tmp_path: Path) -> None:
    done = unibench("work", tmp_path / "plan.json", "--shard", shard, "-o", tmp_path)
    assert done.exit_code == 2
    assert "is not I/N with 1 <= I <= N" in done.output
