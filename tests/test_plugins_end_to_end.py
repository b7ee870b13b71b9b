"""A user's file adds a family of tasks with a metric that is better when lower, a SOT head and a joint tracker."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.joint.conftest import CARD, save
from unibench import datasets, plugins
from unibench.cli import main
from unibench.joint import systems
from unibench.metrics import catalogue
from unibench.report import boards
from unibench.results import store
from unibench.tasks import registry
from unibench.tasks.sot import presets

CODE = '''
"""Drift: how far a box that is never moved is off the target."""

from dataclasses import dataclass, replace

import numpy as np

from heads import xcorr
from heads.correlation import CorrelationHead
from unibench.datasets import BENCHMARKS
from unibench.joint import systems
from unibench.metrics.catalogue import INF, METRICS, Direction, Metric
from unibench.records import Labels
from unibench.tasks.family import Family, Protocol, Scoring, by_name
from unibench.tasks.known_answers import Answers, Case, as_it_is
from unibench.tasks.registry import FAMILIES
from unibench.tasks.sot import presets

CARDS = "my_cards"


# A family of tasks, in a room of its own.
@dataclass(frozen=True)
class Options:
    pixels: float = 2.0


def track(clip, model, layers, options):
    for frame in clip.frames():
        if frame.index == 0:
            ids, first = frame.prompt.ids, frame.prompt.boxes
        boxes = first + options.pixels * len(model.name)
        yield {layer: Labels(ids=ids, boxes=boxes) for layer in layers}


def distance(truth, prediction):
    return sum(
        float(np.abs(true.boxes - one.boxes).mean()) for true, one in zip(truth.labels, prediction, strict=True)
    )


def tally(truth, prediction):
    return {"distance": distance(truth, prediction), "frames": float(len(truth.labels))}


def pool(tallies):
    return {"drift": sum(one["distance"] for one in tallies) / sum(one["frames"] for one in tallies)}


def aside(truth):
    return [replace(one, boxes=one.boxes + 3) for one in truth.labels]


KNOWN = Answers(
    count=lambda truth, prediction: {},
    cases=(
        Case("truth", as_it_is, lambda counts: {"drift": 0.0}),
        Case("aside", aside, lambda counts: {"drift": 3.0}),
    ),
    notes=(),
)
FAMILIES["drift"] = Family(
    name="drift",
    title="Drift",
    tracker="my_extras:track",
    options="my_extras:Options",
    presets=by_name(Protocol("still", "1.0", "ours", {"pixels": 2.0})),
    scoring=Scoring(tally, pool, headline="drift"),
    known_answers="my_extras:KNOWN",
)
BENCHMARKS["drift/rendered"] = replace(BENCHMARKS["sot/synthetic-easy"], task="drift/rendered")
METRICS["drift"] = Metric("pixel", Direction.LOWER, (0.0, INF), "mean distance of the box's sides", "ours")

# A head for SOT: the template correlation, with its sign turned.
HEAD = CorrelationHead(
    xcorr.XcorrOptions,
    xcorr.HEAD.fit,
    lambda state, maps, options: -xcorr.HEAD.response(state, maps, options),
    xcorr.HEAD.displacement,
)
presets.HEADS["turned"] = "my_extras:HEAD"
xcorr_knobs = presets.PRESETS["xcorr"].knobs
presets.PRESETS["turned"] = Protocol("turned", "1.0", "ours", {**xcorr_knobs, "head": "turned"})

# A joint tracker.
systems.SYSTEMS["toy"] = "tests.joint.toy"
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file and a card; what it registers is taken back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "CARD_FOLDERS", [])
    tables = (
        registry.FAMILIES, datasets.BENCHMARKS, catalogue.METRICS, presets.HEADS, presets.PRESETS, systems.SYSTEMS,
    )  # fmt: skip
    before = [dict(table) for table in tables]
    Path("my_cards").mkdir()
    Path("my_cards/toy.toml").write_text(CARD)
    Path("weights").mkdir()
    save(Path("weights/toy.safetensors"))
    path = Path("my_extras.py")
    path.write_text(CODE)
    yield path
    sys.modules.pop("my_extras", None)
    for table, old in zip(tables, before, strict=True):
        table.clear()
        table.update(old)


def unibench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def test_a_plugin_s_family_head_metric_and_tracker_run_up_to_the_boards(plugin: Path) -> None:
    done = unibench(
        *("run", "--plugin", plugin, "-m", "lab-colour", "-m", "hog", "-m", "toy", "--weights", "weights"),
        *("-t", "drift/rendered", "-t", "sot/synthetic-easy@turned", "-t", "sot/synthetic-easy@xcorr"),
        *("-t", "mot/synthetic-easy@private", "--frames", 3, "-o", "out"),
    )
    assert done.exit_code == 0, done.output
    scores = {
        (one.model, one.task, one.protocol): one.value
        for one in store.read_scores(Path("out"))
        if one.headline
    }
    drift = {model: scores[model, "drift/rendered", "still"] for model in ("lab-colour", "hog")}
    assert 0 < drift["hog"] < drift["lab-colour"]
    turned, usual = (scores["lab-colour", "sot/synthetic-easy", name] for name in ("turned", "xcorr"))
    assert turned < usual
    assert ("toy", "mot/synthetic-easy", "private") in scores
    with Path("out/leaderboard.csv").open(newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"lab-colour", "hog", "toy"}
    assert float(rows["hog"]["drift/rendered@still drift (partial)"]) == pytest.approx(
        drift["hog"], abs=0.005
    )
    board = boards.arrange(store.read_scores(Path("out")))
    (place,) = (number for number, one in enumerate(board.settings) if one.task == "drift/rendered")
    ranked = dict(zip([one.name for one in board.models], boards.ranks(board)[:, place], strict=True))
    assert (ranked["hog"], ranked["lab-colour"]) == (1, 2)


def test_the_self_check_holds_a_plugin_s_metric_to_its_known_answers(plugin: Path) -> None:
    done = unibench("--plugin", plugin, "check", "-t", "drift/rendered")
    assert done.exit_code == 0, done.output
    assert "ok (2 values)" in done.output
    assert "drift" in unibench("tasks").output
