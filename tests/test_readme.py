"""The README: its commands are the ones that are run, and its example works."""

import re
from pathlib import Path

import pytest

from unibench.datasets import BENCHMARKS
from unibench.tasks import protocols
from unibench.tasks.registry import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_gates_run_the_readme_s_test_command() -> None:
    command = "pip install -q uv && uv run pytest"
    assert f"```sh\n{command}\n```" in README
    assert f"\n{command} " in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_table_of_tasks_is_complete() -> None:
    for task in BENCHMARKS:
        family, benchmark = task.split("/")
        (row,) = re.findall(rf"^\| `{family}` \|.*$", README, flags=re.MULTILINE)
        assert f"`{benchmark}`" in row or benchmark.startswith("synthetic")


def test_tasks_that_the_readme_names_exist() -> None:
    named = re.findall(r"`?-t ([a-z]+)/([a-z0-9-]+)(?:@([a-z0-9-]+))?", README)
    assert named
    for family, benchmark, protocol in named:
        assert f"{family}/{benchmark}" in BENCHMARKS
        assert protocols.find(FAMILIES[family], protocol or next(iter(FAMILIES[family].presets)))


def test_files_that_the_readme_links_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    whole, by_clip = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(whole, "README.md", "exec"), {})
    table = capsys.readouterr().out
    assert re.findall(r"lab-colour +(\S+) +(\S+) +0\.\d+", table) == [
        ("vos/synthetic", "J-mean"),
        ("mot/synthetic", "IDF1"),
    ]
    exec(compile(by_clip, "README.md", "exec"), {})
    assert 0.3 < float(capsys.readouterr().out) < 1
