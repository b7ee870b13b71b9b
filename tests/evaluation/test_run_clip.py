"""The runner: results depend on nothing but the unit, are there whole or not at all, and failures are named."""

import json
import math
import platform
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation import sweeps
from unibench import models
from unibench.datasets import BENCHMARKS
from unibench.errors import DataError, UnknownNameError, WeightsError
from unibench.evaluation import pool_clips, run_clip
from unibench.evaluation.evaluate import evaluate
from unibench.evaluation.fingerprints import unit_key
from unibench.evaluation.units import Unit, list_units
from unibench.features import batching
from unibench.models import cards, frozen
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.results import provenance, store
from unibench.tasks import protocols, registry
from unibench.tasks.registry import FAMILIES

FRAMES = 4
TASKS = [task for family in FAMILIES if (task := f"{family}/synthetic-easy") in BENCHMARKS]


def small(
    name: str = "vos/synthetic-easy", model: str = "lab-colour", layers: tuple[str, ...] = ()
) -> list[Unit]:
    return list_units([cards.find(model)], [registry.find(name)], None, layers=layers, frames=FRAMES)


def finish(units: list[Unit], out: Path, **options: bool) -> list[run_clip.Done]:
    done = list(run_clip.execute(units, out, **options))
    pool_clips.pool([one.unit for one in done if not one.error], out, {})
    return done


def bytes_of(out: Path) -> dict[str, bytes]:
    """Every file of a folder of results: scores, and what was predicted."""
    return {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("name", TASKS)
def test_every_task_runs_and_truth_as_prediction_is_perfect(name: str, tmp_path: Path) -> None:
    assert not [one.error for one in finish(small(name), tmp_path) if one.error]
    stored = store.read_scores(tmp_path)
    assert [score.metric for score in stored if score.headline] == [
        registry.find(name).family.scoring.headline
    ]
    assert all(score.partial for score in stored)
    task = registry.find(name)
    tallies = [
        task.family.scoring.tally(truth, truth.labels) for _, truth in registry.clips(task, frames=FRAMES)
    ]
    perfect = 20 / 21 if name.startswith("sot") else 1.0
    assert task.family.scoring.pool(tallies)[task.family.scoring.headline] == pytest.approx(
        perfect, abs=1e-12
    )


def test_results_do_not_depend_on_order_or_interruption(tmp_path: Path) -> None:
    units = small()
    assert len(units) > 1
    finish(units, tmp_path / "whole")
    for unit in reversed(units):  # one at a time, as after interruptions
        list(run_clip.execute([unit], tmp_path / "pieces"))
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
    monkeypatch.setattr(frozen, "load", lambda *_, **__: pytest.fail("the model was loaded for nothing"))
    assert all(one.seconds == 0 for one in run_clip.execute(units, tmp_path))


def test_other_knobs_are_other_work(tmp_path: Path) -> None:
    units = small()
    finish(units, tmp_path)
    protocol = units[0].task.protocol
    knobs = {**protocol.knobs, "propagation": {**protocol.knobs["propagation"], "topk": 3}}
    changed = replace(units[0].task, protocol=replace(protocol, knobs=knobs))
    assert all(
        one.seconds > 0 for one in run_clip.execute([replace(one, task=changed) for one in units], tmp_path)
    )


def test_two_protocols_of_one_task_are_two_results(tmp_path: Path) -> None:
    names = ["vos/synthetic-easy", "vos/synthetic-easy@dino"]
    card = cards.find("lab-colour")
    finish(
        list_units([card], [registry.find(name) for name in names], None, frames=FRAMES), tmp_path / "both"
    )
    for name in names:
        finish(small(name), tmp_path / "apart")
    both, apart = (store.read_scores(tmp_path / out) for out in ("both", "apart"))
    assert {score.protocol for score in both} == {"unitrack", "dino"}
    assert both == apart


def test_a_task_asked_for_twice_is_run_once() -> None:
    card = cards.find("lab-colour")
    twice = [registry.find(name) for name in ("vos/synthetic-easy", "vos/synthetic-easy@unitrack")]
    asked = [
        [unit_key(unit, "pooled") for unit in list_units([card], some, None)] for some in (twice, twice[:1])
    ]
    assert asked[0] == asked[1]


def test_two_layers_share_one_pass_and_give_two_rows(tmp_path: Path) -> None:
    both = small(model="random-resnet18", layers=("layer3", "layer4"))
    passes = []
    original = frozen.freeze

    def counted(*arguments: object) -> object:
        model = original(*arguments)
        network = model.network
        return replace(
            model, network=lambda images, layers: passes.append(tuple(layers)) or network(images, layers)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen, "freeze", counted)
        finish(both[:1], tmp_path / "both")
    assert passes == [("layer3", "layer4")] * FRAMES
    finish(small(model="random-resnet18", layers=("layer4",))[:1], tmp_path / "one")
    assert {score.layer for score in store.read_scores(tmp_path / "both")} == {"layer3", "layer4"}
    alone = bytes_of(tmp_path / "one")
    shared = bytes_of(tmp_path / "both")
    for path, content in alone.items():
        if "/clips/" in path:
            assert shared[path] == content


def counting(patch: pytest.MonkeyPatch, batch: int = 1) -> list[tuple[tuple[int, ...], tuple[str, ...]]]:
    """Note what networks are shown: shape of the images, layers asked for."""
    passes = []
    original = frozen.load

    def load(*arguments: object, **options: object) -> FrozenModel:
        model = original(*arguments, **options)

        def network(images, layers):
            passes.append((tuple(images.shape), tuple(layers)))
            return model.network(images, layers)

        return replace(model, network=network, batch=batch)

    patch.setattr(frozen, "load", load)
    return passes


def of(protocols: list[str], layers: tuple[str, ...] = ("layer3", "layer4")) -> list[Unit]:
    """One clip under several protocols."""
    card = cards.find("random-resnet18")
    asked = [registry.find(name) for name in protocols]
    frames = 2 if protocols[0].startswith("sot") else 3 if protocols[0].startswith("vos") else FRAMES
    units = list_units([card], asked, None, layers=layers, frames=frames)
    return [unit for unit in units if unit.clip == units[0].clip]


SHARED = {
    "vos": (["", "@crw", "@dino"], 2 * 3),  # at the frame's own size, and with a short side of 480 pixels
    "mots": (["", "@mass", "@pooled"], FRAMES),
    "pose": ([""], FRAMES),
    # Frame 0 is the same for both heads and layers; then each looks once, or twice where it learns, on each layer.
    "sot": (["", "@xcorr"], None),
}


@pytest.mark.parametrize("family", SHARED)
def test_protocols_and_layers_of_a_clip_share_decoding_and_passes(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets, expected = SHARED[family]
    units = of([f"{family}/synthetic-easy{preset}" for preset in presets])
    decoded = []
    benchmark = units[0].task.benchmark

    def load(root: Path, name: str):
        clip, truth = benchmark.load(root, name)
        frames = lambda: (decoded.append(frame.index) or frame for frame in clip.frames())  # noqa: E731
        return replace(clip, frames=frames), truth

    counted = replace(benchmark, load=load)
    together = [replace(unit, task=replace(unit.task, benchmark=counted)) for unit in units]
    passes = counting(monkeypatch)
    assert not [one.error for one in run_clip.execute(together, tmp_path / "together") if one.error]
    assert decoded == list(range(units[0].frames))
    if expected is None:
        assert passes[0][1] == ("layer3", "layer4")
        assert 2 <= len(passes) - 1 < 2 * 3
    else:
        assert len(passes) == expected
    passes.clear()
    for unit in units:
        for layer in unit.layers:
            list(run_clip.execute([replace(unit, layers=(layer,))], tmp_path / "apart"))
    assert len(passes) > (expected or 0)
    assert bytes_of(tmp_path / "together") == bytes_of(tmp_path / "apart")


def test_what_was_left_of_an_interrupted_run_is_the_same_together(tmp_path: Path) -> None:
    units = of([f"mots/synthetic-easy{preset}" for preset in ("", "@mass", "@pooled")])
    list(run_clip.execute(units, tmp_path))
    whole = bytes_of(tmp_path)
    paths = sorted(tmp_path.rglob("clips/*.json"))
    assert len(paths) == 6
    for keep in ([0], [1, 2, 5], [0, 3, 4, 5], range(6)):
        for place, path in enumerate(paths):
            if place not in keep:
                path.unlink()
        done = list(run_clip.execute(units, tmp_path))
        assert {one.unit.task.protocol.name for one in done} == {"unitrack", "mass", "pooled"}
        assert bytes_of(tmp_path) == whole
    assert all(one.seconds == 0 for one in done)


def test_a_protocol_that_fails_leaves_the_others_alone(tmp_path: Path) -> None:
    def failing(clip: Clip, model: object, layers: list[str], options: object) -> Iterator[dict[str, Labels]]:
        for frame in clip.frames():
            if frame.index == 2:
                raise DataError("no way on from frame 2; turn back")
            yield {layer: Labels() for layer in layers}

    first, second, third = of([f"mots/synthetic-easy{preset}" for preset in ("", "@mass", "@pooled")])
    list(run_clip.execute([first, third], tmp_path / "alone"))
    done = list(run_clip.execute([first, spoilt_tracker(second, failing), third], tmp_path / "three"))
    assert {one.unit.task.protocol.name: one.error for one in done} == {
        "unitrack": "",
        "mass": "no way on from frame 2; turn back",
        "pooled": "",
    }
    assert bytes_of(tmp_path / "three") == bytes_of(tmp_path / "alone")


def test_a_frame_that_cannot_be_decoded_fails_every_protocol(tmp_path: Path) -> None:
    def broken(clip: Clip) -> Iterator[Frame]:
        yield next(clip.frames())
        raise DataError("00001.jpg: image file is truncated")

    units = of(["vos/synthetic-easy", "vos/synthetic-easy@crw"])
    spoilt = with_frames(units[0], broken).task.benchmark
    done = run_clip.execute(
        [replace(unit, task=replace(unit.task, benchmark=spoilt)) for unit in units], tmp_path
    )
    assert [one.error for one in done] == ["00001.jpg: image file is truncated"] * 2


def test_the_thread_that_decodes_ends_with_the_run(tmp_path: Path) -> None:
    units = of(["mots/synthetic-easy", "mots/synthetic-easy@mass"]) + small()
    results = run_clip.execute(units, tmp_path)
    next(results)
    results.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("batch", [3, 8])
def test_a_head_cannot_run_ahead_where_the_network_does(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = counting(monkeypatch, batch)
    assert not any(
        one.error for one in run_clip.execute(of(["vos/synthetic-easy", "vos/synthetic-easy@crw"]), tmp_path)
    )
    assert [shape[0] for shape, _ in passes] == [3]

    def greedy(clip: Clip, model: object, layers: list[str], options: object) -> Iterator[dict[str, Labels]]:
        for _ in list(clip.frames()):
            yield {layer: Labels() for layer in layers}

    (done,) = run_clip.execute([spoilt_tracker(of(["mots/synthetic-easy"])[0], greedy)], tmp_path)
    assert "frame 1 was pulled before the labels of frame 0" in done.error


@pytest.mark.parametrize(("batch", "depth"), [(1, 2), (8, 8)])
def test_a_whole_batch_is_decoded_ahead(
    batch: int, depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting(monkeypatch, batch)
    prefetch, asked = batching.prefetch, []

    def spy(frames: Iterator[object], depth: int) -> object:
        asked.append(depth)
        return prefetch(frames, depth)

    monkeypatch.setattr(batching, "prefetch", spy)
    assert not any(one.error for one in run_clip.execute(of(["vos/synthetic-easy"]), tmp_path))
    assert asked == [depth]


def test_a_tracker_may_start_a_fresh_pass_over_the_clip(tmp_path: Path) -> None:
    def peeking(clip: Clip, model: object, layers: list[str], options: object) -> Iterator[dict[str, Labels]]:
        assert next(clip.frames()).index == 0
        for frame in clip.frames():
            assert len(frame.image)
            yield {layer: frame.prompt if len(frame.prompt.ids) else Labels() for layer in layers}

    unit = small("sot/synthetic-easy")[0]
    (done,) = run_clip.execute([spoilt_tracker(unit, peeking)], tmp_path / "peeking")
    assert not done.error
    list(run_clip.execute([unit], tmp_path / "usual"))
    (one,), (other,) = (
        [json.loads(path.read_text())["data"] for path in (tmp_path / name).rglob("clips/*.json")]
        for name in ("peeking", "usual")
    )
    assert one == other


def test_a_lower_precision_is_another_model(tmp_path: Path) -> None:
    card = cards.find("random-resnet18")
    task = registry.find("vos/synthetic-easy")
    for dtype in ("float32", "bfloat16"):
        units = list_units([cards.running(card, dtype)], [task], None, frames=FRAMES)[:1]
        done = finish(units, tmp_path / dtype)
        assert all(one.seconds > 0 and not one.error for one in done)
    full, half = (store.read_scores(tmp_path / dtype)[0] for dtype in ("float32", "bfloat16"))
    assert full.weights_hash != half.weights_hash
    records = [json.loads(path.read_text())["dtype"] for path in sorted(tmp_path.rglob("run.json"))]
    assert records == ["bfloat16", "float32"]


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
    assert all(score.partial and score.clips == len(units) - 1 for score in store.read_scores(tmp_path))


def test_an_unforeseen_error_names_its_place(tmp_path: Path) -> None:
    def broken(clip: Clip) -> Iterator[Frame]:
        yield next(clip.frames())
        raise ZeroDivisionError("by\nzero")

    unit = with_frames(small()[0], broken)
    (done,) = run_clip.execute([unit], tmp_path)
    assert done.error.startswith("ZeroDivisionError at test_run_clip.py:")
    assert done.error.endswith("by zero")


def spoilt_tracker(unit: Unit, track) -> Unit:
    return replace(unit, task=replace(unit.task, family=replace(unit.task.family, tracker=track)))


def test_looking_ahead_is_an_error(tmp_path: Path) -> None:
    def greedy(clip: Clip, model: object, layers: list[str], options: object) -> Iterator[dict[str, Labels]]:
        for _ in list(clip.frames()):
            yield {layer: Labels() for layer in layers}

    (done,) = run_clip.execute([spoilt_tracker(small()[0], greedy)], tmp_path)
    assert "frame 1 was pulled before the labels of frame 0" in done.error
    assert "the protocol is online" in done.error


def test_too_few_labels_are_an_error(tmp_path: Path) -> None:
    def lazy(clip: Clip, model: object, layers: list[str], options: object) -> Iterator[dict[str, Labels]]:
        yield {layer: Labels() for layer in layers}

    (done,) = run_clip.execute([spoilt_tracker(small()[0], lazy)], tmp_path)
    assert f"labels of 1 frames, expected {FRAMES}" in done.error


def test_weights_are_looked_for_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model 'udt': weights 'udt_vid_unsupervised\.pth' not found"):
        evaluate(["lab-colour", "udt"], ["vos/synthetic-easy"], output=tmp_path, frames=FRAMES)
    assert not bytes_of(tmp_path)


def test_unknown_layers_and_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no layer of model 'lab-colour' 'layer3'; there are: pooled"):
        small(layers=("layer3",))
    task = registry.find("vos/davis2016")
    with pytest.raises(
        DataError, match="vos/davis2016: no data folder, expected --data DIR with DAVIS2016 in it"
    ):
        list_units([cards.find("hog")], [task], None)
    with pytest.raises(DataError, match=r"vos/davis2016: no folder .*DAVIS2016'; DAVIS-2016"):
        list_units([cards.find("hog")], [task], tmp_path)


def test_the_provenance_is_complete(tmp_path: Path) -> None:
    units = small()[:1]
    list(run_clip.execute(units, tmp_path))
    record = provenance.collect(["unibench", "run"], datetime.now(UTC), "cpu", 1)
    pool_clips.pool(units, tmp_path, record)
    stored = json.loads(next(tmp_path.rglob("run.json")).read_text())
    assert stored["command"] == ["unibench", "run"]
    score = store.read_scores(tmp_path)[0]
    assert stored["protocol"]["hash"] == score.protocol_hash == protocols.fingerprint(units[0].task.protocol)
    assert stored["protocol"]["knobs"]["propagation"]["topk"] == 10
    assert (stored["weights"], stored["data"]) == (units[0].fingerprint, score.data_hash)
    assert (stored["scoring"], stored["dtype"], stored["compiled"]) == ("1", "float32", False)
    assert (stored["device"], stored["machine"]["threads"]) == ("cpu", 1)
    assert stored["machine"]["python"] == platform.python_version()
    assert stored["packages"]["torch"] == version("torch")
    assert stored["start"] <= stored["end"] <= datetime.now(UTC).isoformat(timespec="seconds")
    assert isinstance(stored["git"], str)
    assert stored["statistics"] == {
        "interval": "studentized bootstrap over clips", "level": 0.95, "repetitions": 2000, "seed": 0,
        "fewest_clips": 20,
    }  # fmt: skip
    assert all(
        math.isnan(score.ci_low) and math.isnan(score.ci_high) for score in store.read_scores(tmp_path)
    )


@pytest.mark.parametrize(("clips", "given"), [(20, True), (19, False)])
def test_scores_of_enough_clips_have_an_interval(clips: int, given: bool, tmp_path: Path) -> None:
    (first, *_) = small()
    units = [replace(first, clip=f"clip{number:02}") for number in range(clips)]
    rng = np.random.default_rng(8)
    for unit, j_mean in zip(units, rng.beta(4, 1.2, clips), strict=True):
        statistics = {f"{letter}-{name}": j_mean for letter in "JF" for name in ("mean", "recall", "decay")}
        key = unit_key(unit, unit.layers[0])
        tally = {**statistics, "objects": 1.0, "J-decay": 0.25}
        store.write_clip(tmp_path, store.ClipResult(key, FRAMES, True, "", "", tally))
    pooled = pool_clips.pool(units, tmp_path, {})
    stored = {score.metric: score for score in store.read_scores(tmp_path)}
    assert [repr(score) for score in pooled] == [repr(score) for score in stored.values()]
    j_mean, decay = stored["J-mean"], stored["J-decay"]
    assert (j_mean.ci_low < j_mean.value < j_mean.ci_high) is given
    assert math.isnan(j_mean.ci_low) is not given
    assert math.isnan(decay.ci_low)  # the same in every clip


def test_ten_lines_of_python() -> None:
    """The README's example."""
    task = registry.find("vos/synthetic-easy")
    tracker = registry.bind(task, models.open(cards.find("hog")))
    tallies = []
    for clip, truth in registry.clips(task, frames=FRAMES):
        prediction = list(tracker(clip))
        tallies.append(task.family.scoring.tally(truth, prediction))
    assert 0.1 < task.family.scoring.pool(tallies)["J-mean"] <= 1


def test_frames_that_changed_are_tracked_again(tmp_path: Path) -> None:
    """Also where the file keeps its name and its number of bytes."""
    data, out = sweeps.davis(tmp_path / "data", clips=1, frames=3), tmp_path / "out"
    units = sweeps.units(data, ["lab-colour"])
    assert [one.seconds > 0 for one in run_clip.execute(units, out)] == [True]
    assert [one.seconds > 0 for one in run_clip.execute(units, out)] == [False]
    frame = sorted((data / "DAVIS2016").rglob("JPEGImages/**/*.jpg"))[1]
    pixels = bytearray(frame.read_bytes())
    pixels[-20] ^= 0x55  # in the coded pixels of the last rows
    frame.write_bytes(bytes(pixels))
    assert [one.seconds > 0 for one in run_clip.execute(units, out)] == [True]
