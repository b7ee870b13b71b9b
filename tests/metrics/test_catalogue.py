"""Every metric that a scoring emits is in the catalogue, with what boards need to know of it."""

import math

import pytest

from tests.lagging import built_in, late
from unibench.errors import UnibenchError
from unibench.metrics import catalogue
from unibench.metrics.catalogue import METRICS, Direction, show
from unibench.report import published
from unibench.tasks import registry
from unibench.tasks.registry import FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_every_metric_of_every_scoring_has_an_entry_and_keeps_its_range(family):
    _, truth = next(iter(registry.clips(built_in(family), frames=6)))
    for prediction in (late(truth, 0), late(truth, 2)):
        for name, value in (
            FAMILIES[family].scoring.pool([FAMILIES[family].scoring.tally(truth, prediction)]).items()
        ):
            metric = catalogue.find(name)
            assert math.isnan(value) or metric.range[0] <= value <= metric.range[1], name
    assert catalogue.find(FAMILIES[family].scoring.headline).direction is not Direction.NEITHER


def test_every_metric_that_papers_print_has_an_entry():
    assert {row.metric for row in published.rows()} <= METRICS.keys()


@pytest.mark.parametrize("name", METRICS)
def test_every_entry_is_whole(name):
    metric = METRICS[name]
    assert metric.range[0] < metric.range[1]
    assert metric.definition
    assert "\n" not in metric.definition
    assert metric.reference
    assert metric.unit == "fraction" or metric.range == (0, math.inf)


def test_the_error_says_where_an_entry_is_added():
    with pytest.raises(
        UnibenchError, match=r"^metric 'x': no entry in unibench.metrics.catalogue.METRICS, expe"
    ) as caught:
        catalogue.find("x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("motmetrics:IDSW", -1),
        ("motmetrics:PT", 0),
        ("motmetrics:IDF1", 1),
        ("J-decay", -1),
        ("ML%", -1),
        ("ms", -1),
    ],
)
def test_which_side_is_good(name, direction):
    assert catalogue.find(name).direction == direction


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("IDF1", 0.61239, "61.24"),
        ("IDF1", 1.0, "100.00"),
        ("IDF1", 0.0, "0.00"),
        ("J-decay", -0.00001, "0.00"),
        ("MOTA", -0.123, "-12.30"),
        ("IDSW", 6969.0, "6969"),
        ("IDF1", math.nan, ""),
        ("IDF1", None, ""),
        ("motmetrics:IDSW", 46.0, "46"),
        ("motmetrics:IDF1", 0.46, "46.00"),
        ("ms", 46.0, "46.00"),
    ],
)
def test_how_a_value_is_shown(metric, value, text):
    assert show(metric, value) == text
