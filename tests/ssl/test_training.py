"""Every objective learns, with the same bytes each time, and leaves a model that runs as any other."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from tests.ssl.little import DIET, config, train
from unibench.cli import main
from unibench.errors import TrainingError, UnknownNameError
from unibench.joint.training import log
from unibench.models import cards, frozen
from unibench.ssl import objectives
from unibench.ssl import train as training
from unibench.ssl.objectives import OBJECTIVES, Batch

CONFIGS = sorted(training.configs())
lightly = pytest.mark.skipif(not find_spec("lightly"), reason="needs lightly: uv sync --group ssl")


def test_every_objective_has_a_config() -> None:
    assert {training.read(name).objective for name in CONFIGS} == set(OBJECTIVES)


@lightly
@pytest.mark.parametrize("name", CONFIGS)
def test_every_objective_learns_and_leaves_a_model(name: str, tmp_path: Path) -> None:
    card = cards.find(str(train(tmp_path, name)))
    model = frozen.load(card, weights_path=tmp_path)
    maps = model.network(model.prepare(DIET.windows[0])[None], list(card.layers))
    assert all(bool(one.isfinite().all()) for one in maps.values())
    start = frozen.load(training.template(training.read(name).network))
    before = start.network(start.prepare(DIET.windows[0])[None], [card.default_layer])[card.default_layer]
    assert not torch.equal(maps[card.default_layer], before)
    assert len(log.read(tmp_path)["loss"]) == 2


@lightly
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    def weights(out: str, seed: int) -> bytes:
        train(tmp_path / out, "densecl", seed=seed)
        return (tmp_path / out / "little.safetensors").read_bytes()

    assert weights("one", 0) == weights("again", 0) != weights("other", 1)


@lightly
@pytest.mark.parametrize("name", ["moco", "dino", "mae"])
def test_a_training_that_was_killed_comes_to_the_same_end(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    train(whole, name, steps=4)
    learning = {"moco": objectives.MoCo, "dino": objectives.DINO, "mae": objectives.MaskedAutoencoder}[name]
    forward, calls = learning.forward, iter(range(9))

    def failing(self: objectives.Learning, batch: Batch) -> dict[str, Tensor]:
        if next(calls) == 2:
            raise MemoryError("out of memory")
        return forward(self, batch)

    monkeypatch.setattr(learning, "forward", failing)
    with pytest.raises(MemoryError, match="out of memory"):
        train(halved, name, steps=4)
    assert len(log.read(halved)["loss"]) == 2
    train(halved, name, steps=4)
    for file in ("little.safetensors", "log.csv"):
        assert (whole / file).read_bytes() == (halved / file).read_bytes()


@lightly
def test_training_leaves_the_generators_as_they_were(tmp_path: Path) -> None:
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    train(tmp_path, "simclr")
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


@lightly
def test_an_average_follows_and_no_gradient_reaches_it(tmp_path: Path) -> None:
    learning = training._build(config("byol")).train()
    assert isinstance(learning, objectives.BYOL)
    before = [one.clone() for one in learning.mean_trunk.parameters()]
    with torch.no_grad():
        for one in learning.trunk.parameters():
            one.add_(1)
    views = torch.rand(2, 4, 3, 64, 64)
    sum(learning(Batch((views[0], views[1]), torch.zeros(4))).values()).backward()  # type: ignore[union-attr]
    for old, new in zip(before, learning.mean_trunk.parameters(), strict=True):
        torch.testing.assert_close(new, old + 1 - objectives.MOMENTUM)
        assert new.grad is None


def test_a_walk_over_unlike_patches_returns_and_one_over_equal_patches_does_not() -> None:
    card = training.template("resnet")
    trunk = objectives.Trunk(frozen.construct(card), 96)
    walk = objectives.RandomWalk(trunk).eval()
    noise = torch.rand(1, 1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    still, flat = noise.expand(1, 3, 3, 128, 128), torch.zeros(1, 3, 3, 128, 128)
    labels = torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        unlike, equal = (float(walk(Batch((clip,), labels))["return"]) for clip in (still, flat))
    assert unlike < equal
    assert equal == pytest.approx(np.log(49), abs=0.1)  # any of 7 x 7 patches


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, ["train-ssl", *map(str, arguments)])
    assert done.exit_code == 2, done.output
    assert len(done.output.splitlines()) == 1
    return done.output


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    assert "no config of train-ssl or TOML file 'simclear'; did you mean 'simclr'?" in run(
        "mine", "--config", "simclear", "-o", tmp_path
    )
    assert "'no name': no name, expected letters" in run("no name", "--config", "simclr", "-o", tmp_path)
    assert "model 'hog': a model of this name exists already" in run(
        "hog", "--config", "moco", "-o", tmp_path
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"vit"', '"resnet"', "expected 'vit' for a masked autoencoder"),
        ('"mae"', '"mea"', "objective"),
        ("crop = 96", "crop = 95", "expected a multiple of 8"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(training.configs()["mae"].read_text().replace(old, new))
    with pytest.raises(TrainingError, match=message):
        training.read(str(path))


def test_no_config_is_made_up() -> None:
    with pytest.raises(UnknownNameError, match="no config of train-ssl"):
        training.read("nothing")


def test_without_lightly_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] == "lightly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightly", None)
    assert "train-ssl: lightly is not installed, expected 1.6 or newer" in run(
        "mine", "--config", "simclr", "-o", tmp_path
    )
