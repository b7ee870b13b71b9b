"""Plug-ins: a user's file brings an architecture and a card, and runs like a model of our own."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.models.test_cards import CARD
from unibench import plugins
from unibench.cli import main
from unibench.errors import PluginError
from unibench.models import frozen

CODE = """
from torch import nn
from torch.nn import functional as F
from unibench.models import frozen

CARDS = "my_cards"

class Squares(nn.Module):
    def forward(self, images):
        return {"squares": F.avg_pool2d(images**2, 8, ceil_mode=True)}

def squares():
    return Squares()

frozen.LOADERS["mine"] = frozen.LOADERS["python"]
"""
MINE = (
    CARD.replace('"torchvision"', '"mine"')
    .replace('"resnet18"', '"my_plugin:squares"')
    .replace("layer3", "squares")
    .replace("stride = 16\nchannels = 256", "stride = 8\nchannels = 3")
    .replace('source = "random"', 'source = "none"')
)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A plug-in in a file; what it registers is taken back."""
    (tmp_path / "my_cards").mkdir()
    (tmp_path / "my_cards" / "squares.toml").write_text(MINE)
    (tmp_path / "my_plugin.py").write_text(CODE)
    monkeypatch.setattr(plugins, "CARD_FOLDERS", [])
    monkeypatch.setattr(frozen, "LOADERS", dict(frozen.LOADERS))
    yield tmp_path / "my_plugin.py"
    sys.modules.pop("my_plugin", None)


def unibench(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_a_model_of_a_plugin_runs(plugin: Path, tmp_path: Path) -> None:
    done = unibench(
        *("run", "--plugin", str(plugin), "-m", "squares", "-t", "vos/synthetic-easy", "--frames", "3"),
        *("-o", str(tmp_path / "out")),
    )
    assert done.exit_code == 0, done.output
    assert "squares" in (tmp_path / "out" / "leaderboard.csv").read_text()


@pytest.mark.parametrize("place", [0, 1])
def test_the_option_stands_with_the_program_or_with_models(plugin: Path, place: int) -> None:
    words = ["models", "show", "squares"]
    words[place:place] = ["--plugin", str(plugin)]
    done = unibench(*words)
    assert done.exit_code == 0, done.output
    assert "my_plugin:squares" in done.output
    assert unibench(*words).exit_code == 0  # again: the module is there already
    assert len(plugins.CARD_FOLDERS) == 1


def test_without_the_plugin_there_is_no_such_model(plugin: Path) -> None:
    assert "no model card 'squares'" in unibench("models", "show", "squares").output


def test_installed_plugins_are_loaded_when_a_command_runs(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(plugin.parent))
    entry = EntryPoint("squares", "my_plugin", "unibench.models")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == entry.group else [])
    assert unibench("--help").exit_code == 0
    assert "my_plugin" not in sys.modules
    assert "squares" in unibench("models").output
    assert "my_plugin" in sys.modules


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_thing", r"plug-in '.*broken\.py': ModuleNotFoundError: No module named 'no_such.* \(line 1"),
        ("x = 1\n1 / 0", r"ZeroDivisionError: division by zero \(line 2 of .*broken\.py\); correct it"),
        ("def f(:", r"SyntaxError: "),
        ("import sys\nsys.exit(0)", r"SystemExit: 0 \(line 2 of .*broken\.py\); correct it"),
        ("CARDS = 'nowhere'", r"CARDS is 'nowhere', expected a folder beside the module"),
    ],
)  # fmt: skip
def test_broken_plugins_are_one_line(plugin: Path, code: str, message: str) -> None:
    broken = plugin.with_name("broken.py")
    broken.write_text(code)
    with pytest.raises(PluginError, match=message) as caught:
        plugins.load(str(broken))
    assert "\n" not in str(caught.value)
    sys.modules.pop("broken", None)
    done = unibench("--plugin", str(broken), "tasks")
    assert done.exit_code == 2
    assert done.output.startswith("unibench: plug-in")
    sys.modules.pop("broken", None)


def test_a_file_that_is_not_there_or_takes_a_name_is_refused(plugin: Path) -> None:
    with pytest.raises(PluginError, match=r"nowhere\.py': ImportError: no such file"):
        plugins.load(str(plugin.with_name("nowhere.py")))
    json = plugin.with_name("json.py")
    json.write_text("")
    with pytest.raises(PluginError, match="there is another module called 'json'; rename the file"):
        plugins.load(str(json))
    with pytest.raises(PluginError, match="No module named 'no_such_module'"):
        plugins.load("no_such_module")
