"""`unibench train` and `unibench experiment`: what they write, and one line for every mistake."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.cli.test_cli import loaded
from tests.joint.training import toy
from unibench.cli import main
from unibench.joint import systems
from unibench.joint.data import registry
from unibench.joint.system import TrainingSet
from unibench.joint.training import log
from unibench.models import cards

CONFIG = """
classes = ["square"]
[train]
batch = 2
[[train.stages]]
name = "all"
steps = 30
rate = 0.01
"""


@dataclass(frozen=True)
class Teacher:
    card: str = "lab-colour"
    layer: str = "pixels"
    weights: str = ""


@dataclass(frozen=True)
class TaughtConfig(toy.ToyConfig):
    teacher: Teacher = field(default_factory=Teacher)


def unibench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture(autouse=True)
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy is registered, with a config, and `--data squares` are its images."""
    (tmp_path / "small.toml").write_text(CONFIG)
    monkeypatch.setattr(toy, "SYSTEM", replace(toy.TOY, folder=tmp_path))
    monkeypatch.setitem(systems.SYSTEMS, "toy", "tests.joint.training.toy")
    monkeypatch.setattr(registry, "read", lambda spec, classes: toy.SQUARES)


def test_it_writes_a_card_the_weights_and_the_log(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("train", "toy", "--config", "small", "--data", "squares", "-o", out)
    done = unibench(*command, "--steps", 7)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"written: {out / 'toy-small-trained.toml'}\n")
    assert log.read(out)["step"] == list(range(7))
    assert cards.find(str(out / "toy-small-trained.toml")).architecture.name == "toy"
    for more, changed in (
        (["--steps", 8], "stages[0].steps = 7, found 8"),
        (["--steps", 7, "--seed", 1], "seed = 0, found 1"),
    ):
        again = unibench(*command, *more)
        assert again.exit_code == 2
        assert f"made with config.train.{changed}" in again.output


def test_the_model_has_the_name_asked_for(tmp_path: Path) -> None:
    config = tmp_path / "small.toml"
    unibench(
        "train", "toy", "--config", config, "--data", "x", "-o", tmp_path, "--name", "mine", "--steps", 1
    )
    assert {path.name for path in tmp_path.iterdir()} >= {"mine.toml", "mine.safetensors"}


def test_no_model_gets_the_name_of_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    command = ("train", "toy", "--config", "tiny", "--data", "x", "--steps", 1)
    done = unibench(*command, "-o", "out", "--name", "tdt-tiny")
    assert done.exit_code == 2
    assert done.output == (
        "unibench: model 'tdt-tiny': a model of this name exists already; choose another name\n"
    )
    assert not Path("out").exists()
    own = (*command, "-o", "model_cards")
    assert unibench(*own).stdout.startswith("written: model_cards/toy-tiny-trained.toml\n")
    assert unibench(*own).exit_code == 0  # the same command again
    assert unibench(*command, "-o", "out").exit_code == 2  # a card that is found stands in the way


def test_an_interruption_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(toy, "SYSTEM", replace(toy.SYSTEM, losses=interrupted))
    done = unibench("train", "toy", "--config", "small", "--data", "x", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "interrupted; the same command goes on from the last checkpoint in" in done.output


def test_what_is_prepared_is_what_is_learnt_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def prepare(
        data: list[TrainingSet], config: TaughtConfig, folder: Path, *, device: str
    ) -> list[TrainingSet]:
        asked.append((config.teacher, folder, device))
        return [replace(one, name="prepared") for one in data]

    system = replace(toy.SYSTEM, config=TaughtConfig, prepare=prepare)
    monkeypatch.setattr(toy, "SYSTEM", system)
    out = tmp_path / "out"
    command = ("train", "toy", "--config", "small", "--data", "x", "-o", out, "--steps", 1)
    done = unibench(*command, "--prepare", "--teacher", "hog", "--teacher-weights", "w")
    assert done.stdout == f"written: {out / 'prepared'}\n"
    assert not (out / log.FILE).exists()
    assert unibench(*command, "--prepared", tmp_path / "there").exit_code == 0
    assert cards.read(out / "toy-small-trained.toml").pretraining.data == "prepared"
    layer = cards.find("hog").default_layer
    assert asked == [
        (Teacher("hog", layer, "w"), out / "prepared", "cpu"),
        (Teacher(), tmp_path / "there", "cpu"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retinatrak"], "no joint tracker 'retinatrak'; did you mean 'retinatrack'"),
        (["toy", "--config", "big"], "no toy config or TOML file 'big'; there are: small"),
        (
            ["toy", "--config", "small", "--prepare"],
            "toy: needs nothing beside the data; leave out --prepare",
        ),
        (["toy", "--config", "small", "--teacher", "hog"], "this system learns from no teacher"),
        (["toy", "--config", "small", "--pretrained", "gone.pth"], "gone.pth: no such file"),
        (["toy", "--config", "small", "--device", "nonsense"], "device 'nonsense': cannot be used"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = unibench("train", *arguments, "--data", "squares", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert done.output.startswith("unibench: ")
    assert message in done.output
    assert done.output.count("\n") == 1


def test_help_loads_no_torch() -> None:
    for command in ("train", "experiment", "detect"):
        assert loaded(f"{command} --help") == "[]"


def test_an_unknown_experiment_lists_what_there_is(tmp_path: Path) -> None:
    done = unibench("experiment", "unicron", "-o", tmp_path)
    assert done.exit_code == 2
    assert "is not one of 'retinatrack', 'study', 'tdt', 'trivd', 'unicorn'" in done.output


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden"])
def test_a_name_that_is_no_file_s_name_is_refused(tmp_path: Path, name: str) -> None:
    command = ("train", "toy", "--config", "small", "--data", "squares", "-o", tmp_path / "out")
    done = unibench(*command, "--name", name) if name else unibench(*command[:-1], "", "--name", "mine")
    assert done.exit_code == 2
    assert "expected letters, digits" in done.output or "is empty, expected a file or a folder" in done.output
    assert not (tmp_path / "evil.toml").exists()
