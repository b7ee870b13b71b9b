"""Detection is a task like the others: its own column, pooled over all clips at once."""

from pathlib import Path

import pytest

from unibench import load_card, load_model
from unibench.datasets import BENCHMARKS
from unibench.evaluation.evaluate import evaluate
from unibench.joint import systems
from unibench.joint.data import registry as data
from unibench.metrics.detection import ORDER
from unibench.tasks import registry


def test_a_task_scores_what_detect_scores(tmp_path: Path) -> None:
    """The same frames, once clip by clip and once as one set of annotated images."""
    made = evaluate(["tdt-tiny"], ["det/shapes"], output=tmp_path)
    scores = {row.metric: row.value for row in made.rows}
    assert tuple(scores) == ORDER
    assert [row.metric for row in made.rows if row.headline] == ["AP"]
    found = systems.detect(load_card("tdt-tiny"), data.read("synthetic:test"))
    assert found.images == sum(one.frames for one in made.rows[:1])
    assert scores == pytest.approx(dict(found.scores), abs=1e-12, nan_ok=True)


def test_a_score_is_no_mean_of_clips(tmp_path: Path) -> None:
    made = evaluate(["tdt-tiny"], ["det/shapes"], output=tmp_path, frames=3)
    family = registry.family_of("det/shapes")
    assert not family.scoring.additive
    (task,) = [registry.find("det/shapes")]
    tracker = registry.bind(task, load_model(load_card("tdt-tiny")))
    tallies = [
        family.scoring.tally(truth, list(tracker(clip))) for clip, truth in registry.clips(task, frames=3)
    ]
    alone = [family.scoring.pool([one])["AP"] for one in tallies]
    (whole,) = [row.value for row in made.rows if row.metric == "AP"]
    assert whole == pytest.approx(family.scoring.pool(tallies)["AP"], abs=1e-12)
    assert abs(whole - sum(alone) / len(alone)) > 1e-4


def test_frozen_models_have_no_head_for_it() -> None:
    model = load_model(load_card("lab-colour"))
    assert "det" in {name.partition("/")[0] for name in BENCHMARKS}
    assert model.unsupported_reason(registry.find("det/shapes")) == "det has no protocol for frozen models"
