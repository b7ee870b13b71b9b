"""Executors: found by name; what they hand out keeps models warm, and what is lost is done again once."""

import logging
import pickle
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tests.evaluation import sweeps
from unibench.cli import boards
from unibench.errors import UnibenchError, UnknownNameError
from unibench.evaluation import executors, run_clip
from unibench.evaluation.evaluate import evaluate
from unibench.evaluation.executors import Batches, Job, Worker
from unibench.evaluation.fingerprints import unit_key
from unibench.evaluation.run_clip import Done, OnStep
from unibench.evaluation.units import Unit
from unibench.models import frozen
from unibench.results import store
from unibench.tasks import protocols, registry

CLIPS = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sweeps.davis(tmp_path_factory.mktemp("data"), CLIPS)


def test_ours_are_there_and_others_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("local", "ray", "submitit"):
        assert callable(executors.find(name))
    with pytest.raises(UnknownNameError, match=r"no executor 'slurm'; there are: .*local, ray, submitit"):
        executors.find("slurm")
    mine = EntryPoint("mine", f"{__name__}:mine", executors.GROUP)
    monkeypatch.setattr(executors, "entry_points", lambda group: [mine])
    assert executors.find("mine") is mine_found()


def mine(units: list[Unit], job: Job, on_step: OnStep) -> Iterator[Done]:
    yield from ()


def mine_found() -> object:
    return mine


def test_boards_do_not_depend_on_who_is_first(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backwards(units: list[Unit], job: Job, on_step: OnStep) -> Iterator[Done]:
        yield from list(run_clip.execute(units, job.out))[::-1]

    def run(out: Path) -> None:
        assert evaluate(sweeps.MODELS, [sweeps.TASK], output=out, data=data).rows
        boards.report(out)

    run(tmp_path / "first")
    monkeypatch.setattr(executors, "find", lambda name: backwards)
    run(tmp_path / "last")
    assert sweeps.left(tmp_path / "first") == sweeps.left(tmp_path / "last")


def test_protocols_of_one_clip_are_handed_out_together(data: Path) -> None:
    units = sweeps.units(data, sweeps.MODELS, "vos/davis2016", "vos/davis2016@dino")
    found = executors.batches(units)
    assert [(batch[0].card.name, batch[0].clip) for batch in found] == [
        (model, f"clip0{clip}") for model in sweeps.MODELS for clip in range(CLIPS)
    ]
    assert all([unit.task.protocol.name for unit in batch] == ["unitrack", "dino"] for batch in found)


def test_the_largest_model_goes_first_and_a_worker_stays_with_its_own(data: Path) -> None:
    found = sweeps.units(data, ("lab-colour", "random-resnet18"))
    waiting = Batches(found)
    units = {unit.card.name: unit.model for unit in found}
    asked = ("", "lab-colour", "random-resnet18", "random-resnet18", "random-resnet18")
    order = [waiting.take(units[name]) if name else waiting.take() for name in asked]
    assert [batch[0].card.name for batch in order if batch] == [
        *("random-resnet18", "lab-colour", "random-resnet18", "random-resnet18", "lab-colour")
    ]
    assert waiting.left()
    assert waiting.take(("another", "")) is not None
    assert not waiting.left()
    assert waiting.take(units["lab-colour"]) is None


def test_two_workers_begin_two_models_and_then_share_the_larger_one(data: Path) -> None:
    found = sweeps.units(data, ("lab-colour", "random-resnet18"))
    waiting = Batches(found)
    order = [waiting.take() for _ in range(3)]
    assert [batch[0].card.name for batch in order if batch] == [
        *("random-resnet18", "lab-colour", "random-resnet18")
    ]


def test_what_is_lost_is_handed_out_once_more(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    waiting = Batches(sweeps.units(data, ("hog",)))
    first = waiting.take()
    assert first is not None
    with caplog.at_level(logging.WARNING):
        assert waiting.lost(first, "exit code -9") == []
    assert caplog.messages == [
        "worker lost (exit code -9) at hog vos/davis2016@unitrack clip00; another one does it"
    ]
    again = waiting.take()
    assert again == first
    (given_up,) = waiting.lost(again, "exit code -9")
    assert given_up == Done(first[0], 0.0, "its worker was lost 2 times (exit code -9)")


def test_a_worker_loads_a_model_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    original = frozen.load
    monkeypatch.setattr(
        frozen, "load", lambda card, **options: loaded.append(card.name) or original(card, **options)
    )
    worker = Worker(Job(tmp_path), "cpu")
    found = executors.batches(sweeps.units(data))
    answers = [worker.run(batch) for batch in found]
    assert loaded == list(sweeps.MODELS)
    done = [
        one for batch, answer in zip(found, answers, strict=True) for one in executors.done(batch, answer)
    ]
    assert [one.unit for one in done] == [unit for batch in found for unit in batch]
    assert all(one.seconds > 0 and not one.error for one in done)
    run = unit_key(done[-1].unit, "hog").run
    assert run.model == "hog"
    assert len(store.read_clips(tmp_path, run)) == CLIPS


@pytest.mark.parametrize("wrong", [{"device": "nono"}, {"plugins": ("no_such_plugin",)}])
def test_what_ails_a_worker_is_told_in_one_line(wrong: dict[str, object], data: Path, tmp_path: Path) -> None:
    job = replace(Job(tmp_path), **wrong)
    units = sweeps.units(data)[:1]
    with pytest.raises(UnibenchError, match=r"no device 'nono'|plug-in 'no_such_plugin'"):
        executors.done(units, Worker(job, job.device).run(units))


def test_units_and_jobs_travel(data: Path, tmp_path: Path) -> None:
    units = [executors.absolute(unit) for unit in sweeps.units(data)]
    assert pickle.loads(pickle.dumps(units)) == units
    assert pickle.loads(pickle.dumps(Job(tmp_path))) == Job(tmp_path)


def test_paths_of_units_do_not_depend_on_the_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)
    (data / "found").mkdir()
    (unit, *_) = sweeps.units(Path())
    task = replace(unit.task, protocol=protocols.with_detections(unit.task.protocol, "found"))
    assert executors.absolute(replace(unit, task=task)).root == (data / "DAVIS2016").resolve()
    assert executors.absolute(replace(unit, task=task)).task.protocol.detections == str(
        (data / "found").resolve()
    )
    public = registry.find("mot/synthetic")
    assert executors.absolute(replace(unit, task=public)).task == public
