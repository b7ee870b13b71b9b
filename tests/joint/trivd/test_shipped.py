"""The weights that come with unibench: one file finds shapes in images and clips, and follows them by name."""

from dataclasses import replace

import pytest

from unibench.datasets import class_names
from unibench.datasets.synthetic import shapes
from unibench.joint import systems
from unibench.joint.trivd.config import TrivdConfig
from unibench.joint.trivd.network import Trivd
from unibench.metrics import mot
from unibench.models import cards, weights
from unibench.tasks import registry

CLIPS, FRAMES = range(2), 40
"""Of no benchmark and no training."""


@pytest.fixture(scope="module")
def shipped() -> tuple[TrivdConfig, Trivd]:
    card = cards.find("trivd-tiny")
    _, config, network = systems.build(card, weights.locate(card, None))
    return config, network


def mota(config: TrivdConfig, network: Trivd, name: str, prompt: str | None = None) -> float:
    """Of the shapes of one name, which another prompt may look for."""
    task, tallies = registry.find("mot/shapes@private"), []
    for number in CLIPS:
        clip, truth = class_names.restrict(*shapes.clip(f"validation/trivd/{number}", FRAMES), (name,))
        asked = replace(clip, vocabulary=(prompt or name,))
        tallies.append(
            mot.tally_boxes(truth, list(systems.find("trivd").track(network, config, asked, task)))
        )
    return float(mot.pool(tallies)["MOTA"])


def test_names_that_never_had_identities_are_followed_and_other_names_are_not(
    shipped: tuple[TrivdConfig, Trivd],
) -> None:
    config, network = shipped
    once = replace(config.tracking, track_score=1.0, return_score=1.0, patience=0)
    squares, discs, triangles = (mota(config, network, name) for name in ("square", "disc", "triangle"))
    wrong = mota(config, network, "disc", "square")
    off = mota(replace(config, tracking=once), network, "disc")
    assert squares > 0.45
    assert discs > 0.45
    assert triangles > 0.3
    assert wrong < 0
    assert off < discs - 0.2
