"""Every row of the table: the exit code, the word that it needs, and nothing of another library's."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.corpus import models
from tests.corpus.cases import CASES, Case
from unibench.cli import main

ALL = (*CASES, *models.CASES)
FOREIGN = re.compile(r"Traceback \(most recent call last\)|\w+(Error|Exception) at \w+\.py:\d+")
"""A traceback, or another library's exception in a `failed:` line."""


def test_every_row_has_its_own_name() -> None:
    assert len({case.id for case in ALL}) == len(ALL)


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
