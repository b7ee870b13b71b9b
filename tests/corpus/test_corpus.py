"""Every row of the table: the exit code, the word that it needs, and nothing of another library's."""

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import SHARED
from tests.corpus import models, stored
from tests.corpus.cases import CASES, Case
from unibench.cli import main

ALL = (*CASES, *models.CASES, *stored.CASES)
FOREIGN = re.compile(r"Traceback \(most recent call last\)|\w+(Error|Exception) at \w+\.py:\d+")
"""A traceback, or another library's exception in a `failed:` line."""


def test_every_row_has_its_own_name() -> None:
    assert len({case.id for case in ALL}) == len(ALL)


def test_every_known_input_has_a_row_or_a_reason() -> None:
    """Those of the cases that this project was checked with, where they are at hand."""
    rows = {case.id for case in ALL} | set(stored.HARMLESS) | set(stored.SAME)
    assert not set(stored.FOLDERS.values()) - rows
    assert len(ALL) >= 250
    if not (SHARED / "cases").is_dir():
        pytest.skip("needs the cases in ../shared, which are not here")
    with (SHARED / "cases" / "break.tsv").open(encoding="utf-8", newline="") as stream:
        known = [row["id"] for row in csv.DictReader(stream, delimiter="\t")]
    assert len(known) == 164
    assert [name for name in known if name not in rows] == []
    folders = {path.name.partition("_")[0] for path in (SHARED / "cases").glob("c??_*")}
    assert folders == set(stored.FOLDERS)


def test_the_table_names_tests_that_are_there() -> None:
    """Of `README.md`: the last cell of every row, in backticks."""
    here = Path(__file__).parent
    rows = {case.id for case in ALL} | set(stored.HARMLESS) | set(stored.SAME)
    code = "".join(path.read_text(encoding="utf-8") for path in here.parent.rglob("test_*.py"))
    table = (here / "README.md").read_text(encoding="utf-8").partition("## Kind by kind")[2]
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(lines) > 20
    for line in lines:
        names = re.findall("`([^`]+)`", line.rsplit("|", 2)[1])
        assert names, line
        assert [name for name in names if name not in rows and f"def {name}(" not in code] == []


@pytest.mark.parametrize("where", ["/dev/full", "ascii"])
def test_a_terminal_that_takes_nothing_or_ascii_alone_is_no_traceback(where: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "unibench", "leaderboard", "-o", str(tmp_path / "größe")]
    plain = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    if where == "ascii":
        done = subprocess.run(command, capture_output=True, text=True, env=plain, check=False)
        assert "no results, expected" in done.stderr
    else:
        with Path(where).open("w", encoding="utf-8") as full:
            shown = [sys.executable, "-m", "unibench", "models"]
            done = subprocess.run(shown, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_every_input_is_scored_or_refused_with_a_word(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    case.make(tmp_path)
    done = CliRunner().invoke(main, shlex.split(case.command))
    said = " ".join(done.output.split())
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert not FOREIGN.search(said), said
    assert done.exit_code == case.code, said
    assert re.search(case.text, said), said
