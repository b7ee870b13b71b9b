"""The runner: results depend on nothing but the unit, are there whole or not at all, and failures are named."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unibench import cards, plan, run, scores, tasks
from unibench.errors import DataError, UnknownNameError, WeightsError
from unibench.plan import Unit
from unibench.records import Clip, Frame, Labels
from unibench.tasks import FAMILIES, Task

FRAMES = 4
TASKS = [f"{family}/synthetic-easy" for family in FAMILIES]


def small(
    name: str = "vos/synthetic-easy", model: str = "lab-colour", layers: tuple[str, ...] = ()
) -> list[Unit]:
    return plan.units([cards.find(model)], [tasks.find(name)], None, layers=layers, frames=FRAMES)


def finish(units: list[Unit], out: Path, **options: bool) -> list[run.Done]:
    done = list(run.execute(units, out, **options))
    run.pool([one.unit for one in done if not one.error], out, run.fingerprints(units, None), {})
    return done


def bytes_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.json"))}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_runs_and_truth_as_prediction_is_perfect(name: str, tmp_path: Path) -> None:
    assert not [one.error for one in finish(small(name), tmp_path) if one.error]
    stored = scores.read_scores(tmp_path)
    assert [score.metric for score in stored if score.headline] == [tasks.find(name).family.scoring.headline]
    assert all(score.partial for score in stored)
    task = tasks.find(name)
    tallies = [task.tally(truth, truth.labels) for _, truth in tasks.clips(task, frames=FRAMES)]
    perfect = 20 / 21 if name.startswith("sot") else 1.0
    assert task.pool(tallies)[task.family.scoring.headline] == pytest.approx(perfect, abs=1e-12)


def test_results_do_not_depend_on_order_or_interruption(tmp_path: Path) -> None:
    units = small()
    assert len(units) > 1
    finish(units, tmp_path / "whole")
    for unit in reversed(units):  # one at a time, as after interruptions
        list(run.execute([unit], tmp_path / "pieces"))
    finish(units, tmp_path / "pieces")
    assert bytes_of(tmp_path / "whole") == bytes_of(tmp_path / "pieces")


def test_the_same_command_again_does_only_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = small()
    assert all(one.seconds > 0 for one in finish(units, tmp_path))
    before = bytes_of(tmp_path)
    next(path for path in tmp_path.rglob("clips/*.json")).unlink()
    assert sorted(one.seconds > 0 for one in finish(units, tmp_path)) == [False, True]
    assert bytes_of(tmp_path) == before
    monkeypatch.setattr(run.models, "load", lambda *_, **__: pytest.fail("the model was loaded for nothing"))
    assert all(one.seconds == 0 for one in run.execute(units, tmp_path))


def test_other_knobs_are_other_work(tmp_path: Path) -> None:
    units = small()
    finish(units, tmp_path)
    protocol = units[0].task.protocol
    knobs = {**protocol.knobs, "propagation": {**protocol.knobs["propagation"], "topk": 3}}
    changed = replace(units[0].task, protocol=replace(protocol, knobs=knobs))
    assert all(
        one.seconds > 0 for one in run.execute([replace(one, task=changed) for one in units], tmp_path)
    )


def test_two_protocols_of_one_task_are_two_results(tmp_path: Path) -> None:
    names = ["vos/synthetic-easy", "vos/synthetic-easy@dino"]
    card = cards.find("lab-colour")
    finish(plan.units([card], [tasks.find(name) for name in names], None, frames=FRAMES), tmp_path / "both")
    for name in names:
        finish(small(name), tmp_path / "apart")
    both, apart = (scores.read_scores(tmp_path / out) for out in ("both", "apart"))
    assert {score.protocol for score in both} == {"unitrack", "dino"}
    assert both == apart


def test_a_task_asked_for_twice_is_run_once() -> None:
    card = cards.find("lab-colour")
    twice = [tasks.find(name) for name in ("vos/synthetic-easy", "vos/synthetic-easy@unitrack")]
    assert plan.units([card], twice, None) == plan.units([card], twice[:1], None)


def test_two_layers_share_one_pass_and_give_two_rows(tmp_path: Path) -> None:
    both = small(model="random-resnet18", layers=("layer3", "layer4"))
    passes = []
    original = run.models.freeze

    def counted(*arguments: object) -> object:
        model = original(*arguments)
        network = model.network
        return replace(
            model, network=lambda images, layers: passes.append(tuple(layers)) or network(images, layers)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.models, "freeze", counted)
        finish(both[:1], tmp_path / "both")
    assert passes == [("layer3", "layer4")] * FRAMES
    finish(small(model="random-resnet18", layers=("layer4",))[:1], tmp_path / "one")
    assert {score.layer for score in scores.read_scores(tmp_path / "both")} == {"layer3", "layer4"}
    alone = bytes_of(tmp_path / "one")
    shared = bytes_of(tmp_path / "both")
    for path, content in alone.items():
        if "/clips/" in path:
            assert shared[path] == content


def with_frames(unit: Unit, spoil) -> Unit:
    """The same unit whose clip is spoilt on the way."""
    original = unit.task.benchmark

    def load(root: Path, name: str):
        clip, truth = original.load(root, name)
        return replace(clip, frames=lambda: spoil(clip)), truth

    return replace(unit, task=replace(unit.task, benchmark=replace(original, load=load)))


def test_a_clip_that_fails_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    def broken(clip: Clip) -> Iterator[Frame]:
        yield next(clip.frames())
        raise DataError("00001.jpg: image file is truncated")

    units = small()
    bad = with_frames(units[0], broken)
    done = finish([bad, *units[1:]], tmp_path)
    assert [one.error for one in done if one.error] == ["00001.jpg: image file is truncated"]
    assert all(score.partial and score.clips == len(units) - 1 for score in scores.read_scores(tmp_path))


def test_an_unforeseen_error_names_its_place(tmp_path: Path) -> None:
    def broken(clip: Clip) -> Iterator[Frame]:
        yield next(clip.frames())
        raise ZeroDivisionError("by\nzero")

    unit = with_frames(small()[0], broken)
    (done,) = run.execute([unit], tmp_path)
    assert done.error.startswith("ZeroDivisionError at test_run.py:")
    assert done.error.endswith("by zero")


def spoilt_tracker(unit: Unit, track) -> Unit:
    return replace(unit, task=replace(unit.task, family=replace(unit.task.family, track=track)))


def test_looking_ahead_is_an_error(tmp_path: Path) -> None:
    def greedy(clip: Clip, model: object, layers: list[str], options: object) -> Iterator[dict[str, Labels]]:
        for _ in list(clip.frames()):
            yield {layer: Labels() for layer in layers}

    (done,) = run.execute([spoilt_tracker(small()[0], greedy)], tmp_path)
    assert "frame 1 was pulled before the labels of frame 0" in done.error
    assert "the protocol is online" in done.error


def test_too_few_labels_are_an_error(tmp_path: Path) -> None:
    def lazy(clip: Clip, model: object, layers: list[str], options: object) -> Iterator[dict[str, Labels]]:
        yield {layer: Labels() for layer in layers}

    (done,) = run.execute([spoilt_tracker(small()[0], lazy)], tmp_path)
    assert f"labels of 1 frames, expected {FRAMES}" in done.error


def test_weights_are_looked_for_before_any_work(tmp_path: Path) -> None:
    units = small() + small(model="udt")
    with pytest.raises(WeightsError, match=r"model 'udt': weights 'udt_vid_unsupervised\.pth' not found"):
        next(run.execute(units, tmp_path))
    assert not bytes_of(tmp_path)


def test_unknown_layers_and_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no layer of model 'lab-colour' 'layer3'; there are: pooled"):
        small(layers=("layer3",))
    task = tasks.find("vos/davis2016")
    with pytest.raises(
        DataError, match="vos/davis2016: no data folder, expected --data DIR with DAVIS2016 in it"
    ):
        plan.units([cards.find("hog")], [task], None)
    with pytest.raises(DataError, match=r"vos/davis2016: no folder .*DAVIS2016'; DAVIS-2016"):
        plan.units([cards.find("hog")], [task], tmp_path)


def test_the_provenance_is_complete(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    units = small()[:1]
    list(run.execute(units, tmp_path))
    record = run.provenance(["unibench", "run"], datetime.now(UTC), "cpu")
    run.pool(units, tmp_path, run.fingerprints(units, None), record)
    stored = json.loads(next(tmp_path.rglob("run.json")).read_text())
    assert stored["command"] == ["unibench", "run"]
    assert stored["protocol"]["hash"]
    assert stored["packages"]["torch"] != "not installed"
    assert {"start", "end", "device", "git", "machine", "weights", "data"} <= set(stored)
    assert stored["statistics"] == {
        "interval": "studentized bootstrap over clips", "level": 0.95, "repetitions": 2000, "seed": 0,
        "fewest_clips": 20,
    }  # fmt: skip
    assert all(
        math.isnan(score.ci_low) and math.isnan(score.ci_high) for score in scores.read_scores(tmp_path)
    )


@pytest.mark.parametrize(("clips", "given"), [(20, True), (19, False)])
def test_scores_of_enough_clips_have_an_interval(clips: int, given: bool, tmp_path: Path) -> None:
    (first, *_) = small()
    units = [replace(first, clip=f"clip{number:02}") for number in range(clips)]
    rng = np.random.default_rng(8)
    for unit, j_mean in zip(units, rng.beta(4, 1.2, clips), strict=True):
        statistics = {f"{letter}-{name}": j_mean for letter in "JF" for name in ("mean", "recall", "decay")}
        key = scores.UnitKey("lab-colour", "vos/synthetic-easy", "unitrack", unit.layers[0], unit.clip)
        tally = {**statistics, "objects": 1.0, "J-decay": 0.25}
        scores.write_clip(tmp_path, scores.ClipResult(key, FRAMES, True, "", "", tally))
    pooled = run.pool(units, tmp_path, run.fingerprints(units, None), {})
    stored = {score.metric: score for score in scores.read_scores(tmp_path)}
    assert [repr(score) for score in pooled] == [repr(score) for score in stored.values()]
    j_mean, decay = stored["J-mean"], stored["J-decay"]
    assert (j_mean.ci_low < j_mean.value < j_mean.ci_high) is given
    assert math.isnan(j_mean.ci_low) is not given
    assert math.isnan(decay.ci_low)  # the same in every clip


def test_ten_lines_of_python() -> None:
    """The README's example."""
    from unibench import models

    card = cards.find("hog")
    task: Task = tasks.find("vos/synthetic-easy")
    tracker = tasks.bind(task, models.load(card), card.default_layer)
    tallies = []
    for clip, truth in tasks.clips(task, frames=FRAMES):
        prediction = list(tracker(clip))
        tallies.append(task.tally(truth, prediction))
    assert 0.1 < task.pool(tallies)["J-mean"] <= 1
