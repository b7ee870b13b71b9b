"""A weights file says which system it is of and how that is built; whatever does not fit is one clear line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from tests.joint import toy
from tests.joint.conftest import save
from unibench.cli import main
from unibench.errors import WeightsError
from unibench.joint import systems
from unibench.models import cards

WEIGHT = "backbone.first.weight"
CONFIG = json.dumps({"width": 4, "view": {"height": 64, "width": 64}, "sample": {}, "train": {}})


def tensors(path: Path, **metadata: str) -> None:
    save_file(toy.SYSTEM.build(toy.DEFAULT).state_dict(), path, metadata)


def renamed(path: Path) -> None:
    state = toy.SYSTEM.build(toy.DEFAULT).state_dict()
    state["stranger"] = state.pop(WEIGHT)
    metadata = {"unibench_system": "toy", "unibench_config": "{}"}
    save_file(state, path, metadata)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "not a readable safetensors file"),
    "pickle": (lambda path: torch.save({"x": torch.zeros(1)}, path), "not a readable safetensors file"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-7]), "not a readable safetensors file"),
    "no metadata": (
        tensors,
        "its metadata name no joint tracker and config; give a file that unibench train wrote",
    ),
    "no config": (
        lambda path: tensors(path, unibench_system="toy"),
        "its metadata name no joint tracker and config",
    ),
    "other system": (
        lambda path: tensors(path, unibench_system="retinatrack", unibench_config="{}"),
        "weights of 'retinatrack', expected 'toy' as the card says; correct architecture.name or weights.source",
    ),
    "no JSON": (
        lambda path: tensors(path, unibench_system="toy", unibench_config="{" * 100_000),
        "its metadata name no joint tracker and config",
    ),
    "deep JSON": (
        lambda path: tensors(path, unibench_system="toy", unibench_config="[" * 100_000),
        "its metadata name no joint tracker and config",
    ),
    "a list": (
        lambda path: tensors(path, unibench_system="toy", unibench_config="[1]"),
        r"unibench_config: found \[1\], expected a table",
    ),
    "unknown field": (
        lambda path: tensors(path, unibench_system="toy", unibench_config='{"depth": 3}'),
        "unibench_config: unknown field 'depth'; there are: width, least, view, sample, train",
    ),
    "missing fields": (
        lambda path: tensors(path, unibench_system="toy", unibench_config=CONFIG),
        "unibench_config.train: missing field 'stages'",
    ),
    "config that cannot be built": (
        lambda path: tensors(path, unibench_system="toy", unibench_config='{"width": -4}'),
        r"toy cannot be built with the config in it \(RuntimeError: ",
    ),
    "another config": (
        lambda path: tensors(path, unibench_system="toy", unibench_config='{"width": 8}'),
        r"tensors 5 of another shape \(backbone.first.weight, backbone.first.bias, backbone.second.weight, ...\), "
        "expected 6 as its config says; fetch or train it again",
    ),
    "other names": (
        renamed,
        r"tensors 1 missing \(backbone.first.weight\); 1 unknown \(stranger\), expected 6",
    ),
    "not finite": (
        lambda path: save(path, **{WEIGHT: torch.full((4, 3, 3, 3), np.nan)}),
        r"tensors 1 not finite \(backbone.first.weight\), expected 6 as its config says",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_is_wrong_with_a_file_is_one_line(name: str, home: Path) -> None:
    spoil, message = SPOILT[name]
    path = home / "weights/toy.safetensors"
    spoil(path)
    with pytest.raises(
        WeightsError, match=rf"toy\.safetensors: .*({message})|toy\.safetensors: ({message})"
    ) as caught:
        systems.load(cards.find("toy"), home / "weights")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_no_other_clip_would_fare_better_so_the_run_ends(home: Path) -> None:
    renamed(home / "weights/toy.safetensors")
    command = ["run", "-m", "toy", "-t", "mot/synthetic-easy", "-o", "out"]
    done = CliRunner().invoke(main, [*command, "--weights", "weights"])
    assert done.exit_code == 2
    assert done.output.count("unibench: ") == 1
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "toy.safetensors" in done.output


def test_parameters_are_those_of_the_file_and_frozen(home: Path) -> None:
    save(home / "weights/toy.safetensors", **{WEIGHT: torch.full((4, 3, 3, 3), 0.25)})
    system, config, network = systems.build(cards.find("toy"), home / "weights/toy.safetensors")
    assert (system, config) == (toy.SYSTEM, toy.DEFAULT)
    assert (network.get_parameter(WEIGHT) == 0.25).all()
    assert not network.training
    assert not any(one.requires_grad for one in network.parameters())


def test_building_leaves_the_random_state_as_it_was(home: Path) -> None:
    before = torch.random.get_rng_state()
    systems.load(cards.find("toy"), home / "weights")
    assert torch.equal(torch.random.get_rng_state(), before)
