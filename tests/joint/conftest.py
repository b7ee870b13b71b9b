"""A folder with a card and weights of the toy system, as `unibench train` leaves them; the working directory."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.joint import toy
from unibench.joint import systems

CARD = """
kind = "joint"
description = "finds coloured things"
paper = "none"
license = "MIT"
[architecture]
loader = "joint"
name = "toy"
[weights]
source = "file:toy.safetensors"
[pretraining]
method = "toy"
data = "none"
supervision = "labels"
"""


def save(path: Path, config: toy.ToyConfig = toy.DEFAULT, **changed: Tensor) -> Path:
    """Write weights of the toy system, all tensors from one seed but those given."""
    torch.manual_seed(0)
    tensors = {**toy.SYSTEM.build(config).state_dict(), **changed}
    metadata = {"unibench_system": "toy", "unibench_config": json.dumps(asdict(config))}
    save_file(tensors, path, metadata)
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(systems.SYSTEMS, "toy", "tests.joint.toy")
    (tmp_path / "model_cards").mkdir()
    (tmp_path / "model_cards/toy.toml").write_text(CARD)
    (tmp_path / "weights").mkdir()
    save(tmp_path / "weights/toy.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path
