"""`unibench models ...`: what a card says, what can run here, and how weights get here."""

import pickle
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from click.testing import CliRunner, Result

from tests.models.test_cards import CARD
from unibench.cli import main
from unibench.evaluation import availability
from unibench.models import cards, fetch, frozen
from unibench.models.download import sha256

FILE = CARD.replace('source = "random"', 'source = "https://upstream.test/theirs.pth"\nobtain = "by boat"')


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of our own with a card called `mine`; empty caches; whatever the test does to the switch is undone."""
    (tmp_path / "model_cards").mkdir()
    (tmp_path / "model_cards" / "mine.toml").write_text(FILE)
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "")


def unibench(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def put(path: Path) -> Path:
    torch.manual_seed(0)
    torch.save({"state_dict": torchvision.models.resnet18().state_dict()}, path)
    return path


def row(result: Result, name: str) -> str:
    assert result.exit_code == 0, result.output
    return next(line for line in result.output.splitlines() if line.startswith(f"│ {name} "))


def test_without_a_command_the_cards_are_listed() -> None:
    done = unibench("models")
    assert done.exit_code == 0
    assert "mine" in done.output
    assert "random-resnet50" in done.output


def test_show_prints_every_field_and_where_the_weights_are(tmp_path: Path) -> None:
    done = unibench("models", "show", "mine")
    assert "model_cards/mine.toml" in done.output
    assert "not here: unibench models download mine" in done.output
    for field in (
        "architecture.name",
        "weights.sha256",
        "layers.layer3.stride",
        "pretraining.data",
        "aliases",
    ):
        row(done, field)
    assert "by boat" in row(done, "weights.obtain")
    path = put(tmp_path / "weights" / "theirs.pth")
    assert f"here: {path}" in unibench("models", "show", "mine", "--weights", str(path.parent)).output
    rules = row(unibench("models", "show", "crw-resnet18"), "weights.rename")
    assert r"^(module\.)?encoder\.model\.  ->  ''" in rules
    wrong = unibench("models", "show", "mien")
    assert wrong.exit_code == 2
    assert "did you mean 'mine'" in wrong.output


def test_check_says_what_runs_and_why_not(tmp_path: Path) -> None:
    done = unibench("models", "check", "mine", "random-resnet18", "udt")
    assert "no" in row(done, "mine").split("│")[2]
    assert "yes" in row(done, "random-resnet18").split("│")[2]
    assert "by hand as udt_vid_unsupervised.pth" in row(done, "udt")
    assert "1 of 3 models can run here" in done.output
    assert "random-resnet18: no weights to load" in done.output


def test_check_of_a_name_loads_the_weights(tmp_path: Path) -> None:
    put(tmp_path / "weights" / "mine.pth")
    done = unibench("models", "check", "mine", "--weights", "weights")
    assert "1 of 1 models can run here" in done.output
    assert "mine: 102 of 102 tensors loaded (100.0%) from 'state_dict'" in done.output


def test_check_of_a_name_says_why_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"layer1.0.conv1.weight": torch.ones(3)}, tmp_path / "weights" / "mine.pth")
    done = unibench("models", "check", "mine", "random-resnet18", "--weights", "weights")
    assert done.exit_code == 0
    assert "mine: refused: weights/mine.pth for model 'mine': 0 of 102 tensors loaded" in done.output
    assert "random-resnet18: no weights to load" in done.output


def test_check_names_damage_and_cards_that_do_not_build(tmp_path: Path) -> None:
    card = tmp_path / "model_cards" / "mine.toml"
    path = put(tmp_path / "weights" / "mine.pth")
    card.write_text(FILE.replace("obtain", f'sha256 = "{sha256(path)}"\nobtain'))
    assert "sha256 as the card says" in row(
        unibench("models", "check", "mine", "--weights", "weights"), "mine"
    )
    card.write_text(FILE.replace("obtain", f'sha256 = "{"0" * 64}"\nobtain'))
    assert "expected 0000" in unibench("models", "check", "mine", "--weights", "weights").output
    card.write_text(FILE.replace('"resnet18"', '"resnet19"'))
    done = unibench("models", "check", "mine", "--weights", "weights")
    assert "no torchvision architecture" in done.output
    card.write_text(FILE.replace('"resnet18"', '"resnet18"\nparameters = 5'))
    assert "11,689,512 parameters, expected 5" in unibench("models", "check", "mine").output


def test_every_shipped_card_builds() -> None:
    every = [cards.read(path) for path in cards.paths().values()]
    lack = set() if find_spec("transformers") else {"transformers"}  # an extra
    found = [availability.check(card, None) for card in every if card.architecture.loader not in lack]
    assert [one.model for one in found if one.architecture_problem] == []


def test_gated_weights_say_where_to_ask() -> None:
    card = cards.find("mine")
    gated = replace(card, weights=replace(card.weights, source="hf:o/r/f.bin", gated=True))
    text = fetch.status(gated, None).text
    assert text == "gated: ask for access at https://huggingface.co/o/r, then unibench models download mine"


def test_download_finds_or_fetches_and_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(url: str, path: Path, expected: str) -> Path:
        asked.append(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"the same file, wherever it goes")
        return path

    monkeypatch.setattr(fetch, "download", download)
    done = unibench("models", "download", "udt", "mine", "random-resnet18", "--weights", "new")
    assert done.exit_code == 2
    assert "model 'udt': weights 'udt_vid_unsupervised.pth' not found" in done.output
    assert "mine: new/mine.pth" in done.output
    assert "random-resnet18: needs no file" in done.output
    again = unibench("models", "download", "mi?e", "--weights", "new")
    assert (again.exit_code, again.output) == (0, "mine: new/mine.pth\n")
    assert asked == ["https://upstream.test/theirs.pth"]
    assert unibench("models", "download", "mine").output.startswith(f"mine: {fetch.cache()}")
    assert len(asked) == 2


def test_offline_download_says_what_to_put_where() -> None:
    done = unibench("models", "download", "mine", "--offline")
    assert done.exit_code == 2
    assert "the network is off" in done.output
    assert "fetch https://upstream.test/theirs.pth elsewhere and give it as mine.pth" in done.output


def test_a_run_offline_says_the_same() -> None:
    done = unibench("run", "--offline", "-m", "mine", "-t", "vos/synthetic-easy", "-o", "out")
    assert done.exit_code == 2
    assert "the network is off" in done.output
    assert done.output.count("\n") == 2  # the first says what the run does


def test_convert_refuses_what_is_not_byols(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"w": np.ones(3)}))
    done = unibench("models", "convert", "byol", "x.pkl", "x.safetensors")
    assert done.exit_code == 2
    assert "x.pkl: no experiment_state with online_params" in done.output


def test_a_converted_file_is_found_by_the_cards_name(tmp_path: Path) -> None:
    network = torchvision.models.resnet18()
    safetensors.torch.save_file(network.state_dict(), tmp_path / "weights" / "mine.safetensors")
    model = frozen.load(cards.find("mine"), weights_path=tmp_path / "weights")
    assert model.name == "mine"


@pytest.mark.parametrize("name", ["unicorn-tiny", "efficientnet-lite0", "mine", "random-resnet18"])
def test_no_run_ignores_a_weights_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    done = unibench("run", "-m", name, "-t", "sot/shapes", "--weights", "bad.pth", "-o", "out")
    assert (done.exit_code, done.output.count("\n")) == (2, 2)  # the first says what the run does
    assert "bad.pth: " in done.output
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_brings_its_own_weights(tmp_path: Path) -> None:
    path = put(tmp_path / "weights" / "own.pth")
    given = ("--checkpoint", str(path), "--arch", "resnet18", "--weights", str(path))
    done = unibench("run", *given, "-t", "sot/shapes", "-o", "out")
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert "the weights are those of --checkpoint; leave --weights out" in done.output
