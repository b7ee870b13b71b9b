"""Configs are read whole or refused in one line, and the rate follows its schedule."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.joint.training.toy import SIDE, TOY, ToyConfig
from unibench.errors import TrainingError, UnknownNameError
from unibench.joint import systems
from unibench.joint.layers.anchors import AnchorOptions
from unibench.joint.training import config as configs
from unibench.joint.training import schedule
from unibench.joint.training.config import Stage, TrainOptions

GOOD = """
classes = ["square"]
[train]
batch = 2
[[train.stages]]
name = "all"
steps = 10
rate = 1
[sample]
scale = [0.5, 2.0]
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize(
    ("name", "config"),
    [(name, config) for name in systems.SYSTEMS for config in configs.shipped(systems.find(name))],
)
def test_every_config_of_every_system_is_read_and_survives_its_weights_file(name: str, config: str) -> None:
    system = systems.find(name)
    read = configs.read(config, system)
    assert isinstance(read, system.config)
    assert configs.fill(json.loads(configs.as_json(read)), system, "metadata") == read


def test_a_file_is_read_and_what_it_leaves_out_has_its_default(good: Path) -> None:
    config = configs.read(good, TOY)
    assert config.train == TrainOptions((Stage("all", steps=10, rate=1.0),), batch=2)
    assert isinstance(config.train.stages[0].rate, float)
    assert config.sample.scale == (0.5, 2.0)
    assert config.view.height == SIDE


def test_names_that_are_not_there_list_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "paper.toml").write_text(GOOD)
    system = replace(TOY, folder=tmp_path)
    assert configs.read("paper", system) == configs.read(tmp_path / "paper.toml", system)
    with pytest.raises(
        UnknownNameError, match=r"^no toy config or TOML file 'papr'; did you mean 'paper'\?$"
    ):
        configs.read("papr", system)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "steps = 10",
            "step = 10",
            r"mine\.toml: train\.stages\[0\]: unknown field \'step\'; there are: name, steps, ",
        ),
        ("steps = 10", "", r"mine\.toml: train\.stages\[0\]: missing field 'steps'"),
        (
            "steps = 10",
            "steps = 0",
            r"mine\.toml: train\.stages\[0\]\.steps: found 0, expected int, at least 1, at most 10+; ",
        ),
        ("batch = 2", "batch = 2.5", r"mine\.toml: train\.batch: found 2\.5, expected int"),
        ("rate = 1", "rate = -1", r"train\.stages\[0\]\.rate: found -1, expected float, more than 0"),
        ("rate = 1", "rate = nan", r"train\.stages\.rate: found nan, expected a finite number"),
        (
            "batch = 2",
            "batch = 2\noptimizer = 'lion'",
            r"train\.optimizer: found 'lion', expected one of sgd, adamw",
        ),
        (
            "batch = 2",
            "batch = 2\nprecision = 'int8'",
            r"train\.precision: found 'int8', expected one of float32, bf",
        ),
        (
            "[0.5, 2.0]",
            "[2.0, 0.5]",
            r"sample: scale: found \[2\.0, 0\.5\], expected the smaller factor first",
        ),
        (
            "rate = 1",
            "rate = 1\nalternate = ['sot']",
            r"mine\.toml: stage 'all': alternate: found 'sot', expected mot, which toy learns; correct it$",
        ),
        (
            "rate = 1",
            "rate = 1\nalternate = []",
            r"train\.stages\[0\]\.alternate: found \[\], expected",
        ),
        ("[train]", "[train", r"mine\.toml: not a readable TOML file \(.*\); correct it$"),
    ],
)
def test_a_config_that_is_wrong_is_one_line(good: Path, old: str, new: str, message: str) -> None:
    good.write_text(GOOD.replace(old, new))
    with pytest.raises(TrainingError, match=message) as caught:
        configs.read(good, TOY)
    assert "\n" not in str(caught.value)


def test_equal_configs_have_equal_texts() -> None:
    assert configs.as_json(ToyConfig()) == configs.as_json(ToyConfig(dropout=0.2))
    assert configs.as_json(ToyConfig()) != configs.as_json(ToyConfig(dropout=0.3))


def test_anchors_are_counted() -> None:
    assert AnchorOptions(ratios=(1.0, 2.0, 0.5), scales=(1.0, 1.4)).count == 6


def test_the_rate_warms_up_and_follows_half_a_cosine() -> None:
    options = Stage("all", steps=110, rate=0.4, warmup=10, warmup_rate=0.1)
    rates = [schedule.rate(step, options) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[5] == pytest.approx(0.25)
    assert rates[10] == 0.4
    assert rates[60] == pytest.approx(0.2)
    assert rates[110] == pytest.approx(0, abs=1e-12)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    flat = replace(options, steps=10, warmup=10)
    assert schedule.rate(9, flat) == pytest.approx(0.37)


def test_the_rate_may_rise_with_the_square_and_stay_at_a_floor() -> None:
    stage = Stage("all", steps=100, rate=1.0, warmup=20, warmup_power=2, floor=0.1, flat=30)
    rates = [schedule.rate(step, stage) for step in range(100)]
    assert rates[:21:5] == pytest.approx([0, 1 / 16, 1 / 4, 9 / 16, 1])
    assert rates[45] == pytest.approx(0.55)  # half of the cosine's 50 steps
    assert rates[69] > 0.1
    assert rates[70:] == pytest.approx([0.1] * 30)


def test_the_innermost_module_that_is_named_has_its_own_rate() -> None:
    network = torch.nn.ModuleDict({
        "body": torch.nn.ModuleDict({"stem": torch.nn.Linear(1, 1), "rest": torch.nn.Linear(1, 1)}),
        "head": torch.nn.Linear(1, 1),
    })  # fmt: skip
    stage = Stage("all", 1, 0.5, rates={"body": 0.1, "body.stem": 0.0})
    optimizer = schedule.optimizer(network, stage, TrainOptions((stage,), 1))
    factors = {id(one): group["factor"] for group in optimizer.param_groups for one in group["params"]}
    found = {name: factors[id(one)] for name, one in network.named_parameters() if name.endswith("bias")}
    assert found == {"body.stem.bias": 0.0, "body.rest.bias": 0.1, "head.bias": 1.0}


def test_the_average_settles_with_the_steps() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    start = 0.25  # from a random one the result may be all rounding
    torch.nn.init.constant_(network.weight, start)
    mean = schedule.averaged(network)
    torch.nn.init.constant_(network.weight, start + 1)
    schedule.average(mean, network, Stage("all", 1, 0.5, ema=0.9), steps=2000)
    decay = 0.9 * (1 - 1 / 2.718281828459045)
    assert mean.weight.item() == pytest.approx(start + 1 - decay)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_biases_and_normalisations_do_not_decay(name: str) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    options = TrainOptions((), 1, optimizer=name, decay=0.1)  # type: ignore[arg-type]
    optimizer = schedule.optimizer(network, Stage("all", 1, 0.5), options)
    for one in network.parameters():
        one.grad = torch.zeros_like(one)
    optimizer.step()
    after = network.state_dict()
    torch.testing.assert_close(after["0.weight"], 0.95 * before["0.weight"])
    for key in ("0.bias", "1.weight", "1.bias"):
        assert torch.equal(after[key], before[key])


def test_frozen_parameters_are_left_out() -> None:
    network = torch.nn.Linear(2, 2)
    network.weight.requires_grad_(False)
    groups = schedule.optimizer(network, Stage("all", 1, 0.1), TrainOptions((), 1)).param_groups
    assert [one.shape for group in groups for one in group["params"]] == [(2,)]
