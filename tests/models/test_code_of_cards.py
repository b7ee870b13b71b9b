"""A card is data: it runs no code but unibench's own architectures and what the user names as a plug-in."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from unibench import plugins
from unibench.errors import CardError
from unibench.models import cards, frozen
from unibench.models.cards import Card

HOG = cards.find("hog")
MODULE = """
from unibench.models.architectures.handmade import hog as build
def returns_int(): return 3
"""


def named(name: str, options: Mapping[str, object] | None = None) -> Card:
    return replace(HOG, architecture=replace(HOG.architecture, name=name, options=options or {}))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("os:system", {"command": "touch harm"}),
        ("subprocess:getoutput", {"cmd": "touch harm"}),
        ("builtins:exec", {}),
        ("unibench.plugins:load", {"name": "evil.py"}),
        ("unibench.models.frozen:import_module", {"name": "antigravity"}),
        ("unibench.models.architectures.handmade:torch", {}),
        ("unibench.models.architectures.handmade:nn.Module", {}),
        ("unibench.joint.backbone:Path", {}),
        ("torch.hub:load", {"repo_or_dir": "."}),
        ("no_such_module:f", {}),
        ("", {}),
        (":", {}),
    ],
)
def test_code_outside_unibench_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, object]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('harm', 'w')")
    with pytest.raises(CardError, match=r"(code outside unibench.*--plugin|has no function)[^\n]*$"):
        frozen.load(named(name, options))
    assert not (tmp_path / "harm").exists()


def test_a_plug_in_may_bring_an_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brings_hog.py").write_text(MODULE)
    with pytest.raises(CardError, match="--plugin brings_hog"):
        frozen.load(named("brings_hog:build"))
    monkeypatch.setenv(plugins.ENVIRONMENT, str(tmp_path / "brings_hog.py"))
    plugins.load_installed()
    assert frozen.load(named("brings_hog:build", HOG.architecture.options)).name == "hog"
    with pytest.raises(CardError, match=r"returns int, expected a torch module\); correct \[architecture\]"):
        frozen.load(named("brings_hog:returns_int"))
