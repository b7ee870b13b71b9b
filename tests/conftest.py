"""Shared by all tests: shape annotations are checked at run time, torch uses one thread, real data is optional.

The rooms that compute on arrays are checked at every run; `UNIBENCH_TYPECHECK=all uv run pytest` checks all of them,
which takes seconds more at every start.
"""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

from jaxtyping import install_import_hook

CHECKED = ["heads", "unibench.geometry", "unibench.metrics", "unibench.records", "unibench.stats"]
everything = os.environ.get("UNIBENCH_TYPECHECK") == "all"
install_import_hook(["heads", "unibench"] if everything else CHECKED, "beartype.beartype")

import pytest
import torch

from unibench.datasets.synthetic import benchmark as rendered

torch.set_num_threads(1)
rendered.CLIPS = (
    2  # of each task, in this process; tests/datasets/synthetic/conftest.py gives all of them back
)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real clips and weights, laid out like the benchmarks; research-only, so not part of this project."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the research-only clips in ../shared/data, which are not here")
    return SHARED / "data"


@pytest.fixture(scope="session")
def gold() -> Path:
    """Inputs with known answers; research-only, so not part of this project."""
    if not (SHARED / "gold").is_dir():
        pytest.skip("needs the reference cases in ../shared/gold, which are not here")
    return SHARED / "gold"


@pytest.fixture(scope="session")
def papers() -> Path:
    """The text of the papers whose numbers `results/published` holds; not ours to pass on."""
    if not (SHARED / "papers").is_dir():
        pytest.skip("needs the papers' text in ../shared/papers, which is not here")
    return SHARED / "papers"


@pytest.fixture(autouse=True)
def no_lock_of_ours(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what tests use as weights out of the user's own record of first uses."""
    from unibench.models import fetch

    if "XDG_CACHE_HOME" not in os.environ:
        monkeypatch.setattr(fetch, "LOCK", str(tmp_path_factory.mktemp("lock") / fetch.LOCK))
