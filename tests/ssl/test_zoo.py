"""The networks that come with unibench: small files, every objective, and other features each."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from unibench.experiments import study
from unibench.models import cards, frozen
from unibench.ssl import train as training
from unibench.ssl.objectives import OBJECTIVES

CARDS = [cards.find(name) for name in sorted(cards.paths()) if name.startswith("zoo-")]
TRAINED = [card for card in CARDS if card.weights.source != "random"]
WEIGHTS = Path(training.__file__).parent / "weights"


def test_every_objective_is_there_beside_random_weights_and_four_have_three_seeds() -> None:
    assert {card.pretraining.method for card in TRAINED} == {one.method for one in OBJECTIVES.values()}
    methods = [study.method_of(card.name) for card in TRAINED]
    assert sum(methods.count(name) == 3 for name in set(methods)) >= 4
    assert {"zoo-random", "zoo-random-vit"} <= {card.name for card in CARDS}


def test_the_files_are_small_and_each_has_a_card() -> None:
    sizes = {path.stem: path.stat().st_size for path in WEIGHTS.glob("*.safetensors")}
    assert set(sizes) == {card.name for card in TRAINED}
    assert max(sizes.values()) < 2_000_000
    assert sum(sizes.values()) < 9_000_000


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_card_runs_from_the_package_alone(card: cards.Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = frozen.load(card)
    image = torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(0))
    maps = model.network(image[None], list(card.layers))
    for name, layer in card.layers.items():
        assert maps[name].shape == (1, layer.channels, 96 // layer.stride, 128 // layer.stride)
        assert maps[name].std() > 1e-3


def test_no_two_cards_have_the_same_weights() -> None:
    prints = [frozen.load(card).fingerprint for card in CARDS]
    assert len(set(prints)) == len(prints)


def test_a_small_resnet_tracks_without_slow_libraries(tmp_path: Path) -> None:
    """Torchvision takes as long to import as torch, in every worker."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from unibench.datasets.synthetic import benchmark\n"
        "from unibench.evaluation.evaluate import evaluate\n"
        "from unibench.models import cards\n"
        "benchmark.CLIPS = 1\n"
        "tasks = ['mots/synthetic', 'posetrack/synthetic']\n"
        "evaluate([cards.find('zoo-random')], tasks, output=Path('out'), frames=2)\n"
        "print(sorted({'torchvision', 'timm', 'motmetrics', 'matplotlib'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
