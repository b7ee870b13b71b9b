"""Scores during training: the best weights of the last stage are kept, also over an interruption."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.joint.training.toy import SQUARES, TOY, ToyConfig, options
from unibench.errors import TrainingError
from unibench.joint.system import Batch
from unibench.joint.training import checkpoint, evaluate
from unibench.joint.training import log as training_log
from unibench.joint.training.config import Stage
from unibench.joint.training.train import train

CONFIG = ToyConfig(replace(options(40), evaluate=10))
APS = (0.2, 0.6, 0.6, 0.1)
"""The better of equal ones is the later: it has learnt for longer."""


def learn(out: Path, config: ToyConfig = CONFIG, *, best: bool = True) -> Path:
    return train(TOY, config, [SQUARES], out, name="toy", validation=SQUARES, best=best)


def states(monkeypatch: pytest.MonkeyPatch, aps: Sequence[float]) -> list[dict[str, Tensor]]:
    """Score with these APs, one after the other; the weights that were scored."""
    seen: list[dict[str, Tensor]] = []
    left = iter(aps)

    def score(system: object, config: object, network: nn.Module, data: object) -> object:
        assert not network.training
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return SimpleNamespace(scores={"AP": next(left)})

    monkeypatch.setattr(evaluate, "score", score)
    return seen


def test_the_weights_with_the_best_score_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = states(monkeypatch, APS)
    learn(tmp_path)
    written = load_file(tmp_path / "toy.safetensors")
    assert all(torch.equal(written[name], value) for name, value in seen[2].items())
    assert not all(torch.equal(written[name], value) for name, value in seen[3].items())
    assert training_log.read(tmp_path, training_log.VALIDATION) == {"step": [9, 19, 29, 39], "AP": [*APS]}


def test_the_last_weights_are_written_unless_the_best_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = states(monkeypatch, APS)
    learn(tmp_path, best=False)
    written = load_file(tmp_path / "toy.safetensors")
    assert all(torch.equal(written[name], value) for name, value in seen[3].items())


def test_an_earlier_stage_is_no_rival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage that teaches a part alone may score higher than what is learnt after it."""
    stages = (Stage("first", 20, 0.01), Stage("second", 20, 0.01))
    seen = states(monkeypatch, (0.9, 0.9, 0.1, 0.05))
    learn(tmp_path, replace(CONFIG, train=replace(CONFIG.train, stages=stages)))
    written = load_file(tmp_path / "toy.safetensors")
    assert all(torch.equal(written[name], value) for name, value in seen[2].items())


def test_scoring_changes_nothing_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states(monkeypatch, APS)
    learn(tmp_path / "scored", best=False)
    train(TOY, CONFIG, [SQUARES], tmp_path / "plain", name="toy")
    one, other = (load_file(tmp_path / name / "toy.safetensors") for name in ("scored", "plain"))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_training_that_failed_keeps_its_scores_and_its_best_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states(monkeypatch, APS)
    learn(tmp_path / "whole")

    done: Iterator[int] = iter(range(1000))

    def losses(network: nn.Module, batch: Batch, config: ToyConfig, stage: str) -> dict[str, Tensor]:
        if next(done) == 34:
            raise MemoryError("out of memory")
        return TOY.losses(network, batch, config, stage)

    states(monkeypatch, APS[:3])
    with pytest.raises(MemoryError):
        train(
            replace(TOY, losses=losses), CONFIG, [SQUARES], tmp_path / "parts", name="toy", validation=SQUARES
        )
    states(monkeypatch, APS[3:])
    learn(tmp_path / "parts")
    for name in ("toy.safetensors", training_log.VALIDATION):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_best_weights_that_are_not_there_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states(monkeypatch, APS)
    learn(tmp_path, best=False)
    (tmp_path / checkpoint.BEST).unlink()
    with pytest.raises(TrainingError, match=r"best\.pt: no such file, though the best weights are asked for"):
        learn(tmp_path)
