"""A training of a few steps leaves one file that detects, tracks, and lends its backbone."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.joint.trivd.tiny import SYSTEM, TINY
from unibench.joint import backbone, systems
from unibench.joint.data import registry as data
from unibench.joint.training.config import Stage
from unibench.joint.training.train import train
from unibench.models import cards, frozen
from unibench.tasks import registry


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stages = tuple(Stage(name, steps=1, rate=1e-4, alternate=(name,)) for name in ("det", "vid", "mot"))
    config = replace(TINY, train=replace(TINY.train, batch=1, stages=stages))
    sets = [data.read(spec) for spec in ("synthetic:stills", "synthetic:clips#square", "synthetic:noisy")]
    return train(SYSTEM, config, sets, tmp_path_factory.mktemp("trivd"), name="small", half=True)


def test_one_file_detects_and_tracks(card: Path) -> None:
    assert card.with_name("small.safetensors").stat().st_size < 4e6
    model = systems.load(cards.read(card), card.parent)
    for name in ("det/shapes", "det/noisy@video7", "mot/shapes@private", "mot/shapes@public"):
        task = registry.find(name)
        clip, _ = next(registry.clips(task, frames=2))
        assert len(list(model.track(clip, task))) == 2


def test_its_backbone_is_a_frozen_model(card: Path) -> None:
    drafted = backbone.draft(cards.read(card), card.parent)
    assert {name: layer.stride for name, layer in drafted.layers.items()} == {"c3": 8, "c4": 16, "c5": 32}
    assert drafted.default_layer == "c3"
    frozen.load(drafted, weights_path=card.parent)
