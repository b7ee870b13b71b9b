"""What pools tallies does with arrays, element by element, what it does with numbers."""

import numpy as np
import pytest

from tests.metrics.scenes import read_golden
from unibench.tasks.registry import FAMILIES

GOLDEN = {"pose": "pck"}  # the others are named as their family


def drawn_sums(family, count=6):
    """Sums as draws of clips give them; in the first, what is counted by a key ending in 0 never occurs."""
    truth, prediction, _ = read_golden(GOLDEN.get(family, family))
    tally, rng = FAMILIES[family].scoring.tally(truth, prediction), np.random.default_rng(3)
    draws = [{key: value * rng.integers(1, 5) for key, value in tally.items()} for _ in range(count)]
    rare = "joints/0" if family == "pose" else "0/num_objects"
    return [{**draws[0], **({rare: 0.0} if rare in tally else {})}, *draws[1:]]


@pytest.mark.parametrize("family", [name for name, one in FAMILIES.items() if one.scoring.additive])
def test_arrays_are_pooled_as_numbers_are(family):
    draws, pool = drawn_sums(family), FAMILIES[family].scoring.pool
    found = pool([{key: np.array([draw[key] for draw in draws]) for key in draws[0]}])
    expected = [pool([draw]) for draw in draws]
    assert found.keys() == expected[0].keys()
    for name, values in found.items():
        assert values.tolist() == pytest.approx([scores[name] for scores in expected], rel=1e-12)
        assert all(isinstance(scores[name], float) for scores in expected)


@pytest.mark.parametrize("family", ["pose", "posetrack"])
def test_a_draw_in_which_no_joint_counts_has_no_score(family):
    draw, headline = drawn_sums(family)[1], FAMILIES[family].scoring.headline
    counts = [key for key in draw if key.startswith("joints/") or key.endswith("/num_objects")]
    assert counts
    sums = {key: np.array([value, 0.0 if key in counts else value]) for key, value in draw.items()}
    first, second = FAMILIES[family].scoring.pool([sums])[headline]
    assert first == pytest.approx(FAMILIES[family].scoring.pool([draw])[headline])
    assert np.isnan(second)
