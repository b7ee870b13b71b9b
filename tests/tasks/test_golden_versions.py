"""What a version promises: the same numbers. Other numbers without another version fail here.

    python -m tests.tasks.test_golden_versions

writes `tests/golden/versions.json` again, after the version of the protocol or of the scoring was raised.
"""

import json
from functools import cache
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from unibench import models
from unibench.models import cards
from unibench.tasks import registry
from unibench.tasks.registry import FAMILIES

FILE = Path(__file__).parents[1] / "golden" / "versions.json"
AGAIN = "python -m tests.tasks.test_golden_versions"
MODEL, FRAMES = "lab-colour", 4
HUGE = {
    "vos@dinov3-m": "17 s a clip",
    "vos@dinov3-l": "46 s a clip",
    "vos@cropmae": "15 s a clip",
}
"""Left out for the time they take; other presets run the same head on smaller maps."""
PRESETS = [
    f"{name}@{preset.name}"
    for name, family in FAMILIES.items()
    for preset in family.presets.values()
    if "frozen" in preset.kinds and f"{name}@{preset.name}" not in HUGE
]


@cache
def model() -> Any:
    return models.open(cards.find(MODEL))


def measure(name: str) -> dict[str, Any]:
    """All metrics of one rendered clip, and the versions that promise them; null where one is not defined."""
    family, _, preset = name.partition("@")
    task = registry.find(f"{family}/synthetic-easy@{preset}")
    clip, truth = next(registry.clips(task, frames=FRAMES))
    scoring = task.family.scoring
    pooled = scoring.pool([scoring.tally(truth, list(registry.bind(task, model())(clip)))])
    return {
        "protocol": task.protocol.version,
        "scoring": scoring.version,
        "values": {
            metric: None if isnan(value) else round(float(value), 6) for metric, value in pooled.items()
        },
    }


def test_every_preset_is_promised() -> None:
    assert list(json.loads(FILE.read_text())) == PRESETS, f"presets have changed: {AGAIN}"
    assert all(name.partition("@")[2] in FAMILIES[name.partition("@")[0]].presets for name in HUGE)


@pytest.mark.parametrize("name", PRESETS)
def test_other_numbers_have_another_version(name: str) -> None:
    promised, found = json.loads(FILE.read_text())[name], measure(name)
    versions = ("protocol", "scoring")
    assert {one: found[one] for one in versions} == {one: promised[one] for one in versions}, (
        f"{name}: another version than in {FILE.name}; write it again with {AGAIN}"
    )
    assert found["values"] == pytest.approx(promised["values"], abs=2e-6), (
        f"{name}: other numbers under the same versions; raise the version of the protocol or of the scoring, "
        f"then write {FILE.name} again with {AGAIN}"
    )


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: measure(name) for name in PRESETS}, indent=1) + "\n")
