"""Every shell line of the README, in its order: run in small where no network and no data are needed, else parsed."""

import re
import shlex
from pathlib import Path
from urllib.request import url2pathname

import click
import pytest
from click.testing import CliRunner

from unibench.cli import main, progress
from unibench.tasks import registry

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
SMALL = {
    "resnet50-imagenet-v1": "lab-colour",
    "random-resnet50": "hog",
    "sot/otb": "sot/synthetic-easy",
    "vos/davis2016": "vos/synthetic-easy",
    "vos/davis2016@*": "vos/synthetic-easy@[uc]*",
    "mot/mot15": "mot/synthetic-easy",
    "mots/kitti-mots": "mots/synthetic-easy",
    "posetrack/bonn": "posetrack/synthetic-easy",
    "pose/jhmdb": "pose/synthetic-easy",
    "sot/folder": "sot/synthetic-easy",
    "vos/folder": "vos/synthetic-easy",
    "mot/folder": "mot/synthetic-easy",
    "mots/folder": "mots/synthetic-easy",
    "pose/folder": "pose/synthetic-easy",
    "points/tapvid-davis": "points/synthetic-easy",
    "points/tapvid-davis@nearest-strided": "points/synthetic-easy@nearest-strided",
    "dino-vit-s16": "lab-colour",
    "dino-*": "lab-col*",
    "zoo-*": "zoo-random",
    "synthetic:stills#3000": "synthetic:stills#16",
    "*/synthetic": "vos/synthetic-easy",
}
"""What stands for the README's models and benchmarks, which need weights and data."""
SELECTION = ["-m", "lab-colour", "-t", "vos/synthetic-easy"]
EXTRA = {
    "run": ["--frames", "3", "--workers", "1"],
    "plan": ["--frames", "3"],
    "work": ["--shard", "1/1"],
    "cache": ["--frames", "3"],
    "train": ["--steps", "2"],
    "detect": ["--images", "2"],
    "site": ["--clips", "worst:1"],
    "check": ["-t", "sot/synthetic-easy"],
    "models check": ["lab-colour"],
}
"""Options that make a command small; the last of two counts."""
PARSED = {
    "--checkpoint": "needs a checkpoint",
    "--compile": "compiles for minutes",
    "IMAGEFOLDER": "needs a folder of images",
    "film.mp4": "needs a video; tests/cli/test_track.py runs them in small",
    "timm:vit_tiny_patch16_224": "needs the network; tests/models/test_by_name.py runs folders in its layout",
    "hf:OWNER/NAME": "needs the network",
    "vjepa2-vit-l16": "needs its weights; tests/models/test_windows.py runs a tiny one",
    "series": "needs a series; tests/report/test_series.py runs it",
    "my-model": "needs the card of a checkpoint",
    "train-ssl": "needs photographs that Debian's packages install; tests/ssl/test_training.py trains on noise",
    "download": "needs the network",
    "experiment": "trains for minutes; tests/joint runs it in small",
}
"""Words of commands that are parsed only, and why."""


def lines() -> list[list[str]]:
    """The words of each unibench command in the README's shell blocks; `...` is filled in."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(re.sub(r"\s#.*", "", line))
            if "unibench" in words and "&&" not in words[words.index("unibench") :]:
                found.append(_filled(words[words.index("unibench") + 1 :]))
    return found


def _filled(words: list[str]) -> list[str]:
    filled: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if word != "...":
            filled.append(word)
        elif before in ("-m", "-t"):
            filled.append(SELECTION[SELECTION.index(before) + 1])
        else:
            filled += [*SELECTION, "-o", "results/more"]
    return filled


def parse(words: list[str]) -> None:
    """Parse a command with all its options, and run nothing."""
    context, command, rest = click.Context(main, info_name="unibench"), main, words
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None, words
        command = found
    command.make_context(name, list(rest), parent=context)


def small(words: list[str]) -> list[str]:
    """The same command on models and clips that are at hand."""
    replaced = [SMALL.get(word, word) for word in words]
    if replaced[:2] != ["data", "check"]:
        for option in ("--data", "--weights"):
            while option in replaced and replaced[replaced.index(option) + 1].partition("/")[0] == "DIR":
                del replaced[replaced.index(option) : replaced.index(option) + 2]
    return [*replaced, *EXTRA.get(" ".join(words[:2]), EXTRA.get(words[0], []))]


def test_every_line_of_the_readme_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIR" / "clips").mkdir(parents=True)
    monkeypatch.setattr(progress, "QUICK_MODELS", ("lab-colour",))
    monkeypatch.setattr(registry, "RENDERED", ("vos/synthetic-easy",))
    ran = set()
    for words in lines():
        if any(word in PARSED for word in words):
            parse(words)
            continue
        done = CliRunner().invoke(main, small(words), catch_exceptions=False)
        assert done.exit_code == 0, f"{' '.join(words)}: {done.output[-2000:]}"
        if words[0] in ("quickstart", "site"):
            assert Path(url2pathname(re.findall(r"file://(\S+)", done.output)[0])).is_file()
        ran.add(words[0])
    assert ran >= {
        "quickstart", "data", "run", "leaderboard", "plot", "models", "compare", "sensitivity", "check", "cache",
        "plan", "work", "merge", "train", "detect", "site",
    }  # fmt: skip
