"""Golden files: small inputs and every score that they must give, computed once by the scorer that each file names."""

import pytest

from tests.metrics.scenes import GOLDEN, read_golden
from unibench.metrics import mot, pck, points, posetrack, sot, unitrack_mot, vos


def mot_both(truth, prediction):
    official = mot.pool([mot.tally_boxes(truth, prediction)])
    return official | unitrack_mot.pool([unitrack_mot.tally(truth, prediction)])


SCORERS = {
    "sot": lambda *clip: sot.pool([sot.tally(*clip)]),
    "vos": lambda *clip: vos.pool([vos.tally(*clip)]),
    "mot": mot_both,
    "mots": lambda *clip: mot.pool_masks([mot.tally_masks(*clip)]),
    "posetrack": lambda *clip: posetrack.pool([posetrack.tally(*clip)]),
    "points": lambda *clip: points.pool([points.tally(*clip)]),
    "pck": lambda *clip: pck.pool([pck.tally(*clip)]),
}


def test_every_golden_file_is_read():
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(SCORERS)


@pytest.mark.parametrize("name", SCORERS)
def test_golden(name):
    truth, prediction, expected = read_golden(name)
    scores = SCORERS[name](truth, prediction)
    assert {key: scores[key] for key in expected} == pytest.approx(expected, abs=1e-9)
    assert set(scores) - set(expected) <= {"AssRe", "AssPr", "DetRe", "DetPr", "AO", "SR50", "SR75"}
