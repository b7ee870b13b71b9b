"""Tests of the rendered benchmark itself see all of its clips."""

import pytest

from unibench.datasets.synthetic import benchmark as rendered
from unibench.stats.bootstrap import FEWEST_CLIPS


@pytest.fixture(autouse=True)
def all_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as an interval needs."""
    monkeypatch.setattr(rendered, "CLIPS", FEWEST_CLIPS)
