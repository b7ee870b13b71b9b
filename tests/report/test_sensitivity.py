import csv
import math

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import kendalltau

from tests.report.fakes import fact, score
from unibench.errors import OutputError
from unibench.report import sensitivity
from unibench.report.boards import arrange
from unibench.report.sensitivity import compute, notes, tables, write

# model -> J-mean under unitrack, crw and dino
TABLE = {"a": (0.5, 0.6, 0.7), "b": (0.4, 0.65, 0.3), "c": (0.3, 0.2, 0.3)}
PROTOCOLS = ("unitrack", "crw", "dino")


def scores_of(table=TABLE, **fields):
    return [
        score(model, value=value, protocol=name, protocol_hash=name, **fields)
        for model, values in table.items()
        for name, value in zip(PROTOCOLS, values, strict=True)
        if value is not None
    ]


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def printed(found):
    console = Console(width=200, record=True)
    for table in tables(found):
        console.print(table)
    return console.export_text()


def test_scores_ranks_and_how_far_they_move(tmp_path):
    (one,) = compute(arrange(scores_of(), [fact("b"), fact("a")]))
    assert (one.task, one.metric, one.partial) == ("vos/davis2017", "J-mean", False)
    assert one.protocols == PROTOCOLS  # the family's order, not the alphabet's
    assert one.rows == (("b", "layer3"), ("a", "layer3"), ("c", "layer3"))
    np.testing.assert_array_equal(one.values, [TABLE["b"], TABLE["a"], TABLE["c"]])
    np.testing.assert_array_equal(one.ranks, [[2, 1, 2], [1, 2, 1], [3, 3, 2]])
    np.testing.assert_allclose(one.ranges, [0.35, 0.2, 0.1])
    np.testing.assert_array_equal(one.moves, [1, 1, 1])


def test_taus_are_those_of_the_ranks(tmp_path):
    (one,) = compute(arrange(scores_of(), []))
    taus = one.taus()
    assert list(taus) == [("unitrack", "crw"), ("unitrack", "dino"), ("crw", "dino")]
    assert taus["unitrack", "crw"] == pytest.approx(1 / 3)  # of three pairs two agree
    for (first, second), tau in taus.items():
        columns = [[values[PROTOCOLS.index(name)] for values in TABLE.values()] for name in (first, second)]
        assert tau == pytest.approx(kendalltau(*columns).statistic)


def test_two_models_are_too_few_for_a_tau(tmp_path):
    two = {name: TABLE[name] for name in "ab"}
    found = compute(arrange([*scores_of(two), *scores_of(two, layer="layer4")], []))
    assert found[0].taus() == {}
    assert notes(found)[1:] == ["No Kendall's tau of vos/davis2017: too few models, expected 3 or more."]
    write(found, tmp_path)
    rows = rows_of(tmp_path / "sensitivity_tau.csv")
    assert [row["kendall_tau"] for row in rows] == ["too few models"] * 3
    assert {row["models"] for row in rows} == {"2"}


def test_a_row_without_all_protocols_has_a_range_but_no_rank(tmp_path):
    (one,) = compute(arrange(scores_of({**TABLE, "d": (0.9, None, 0.8), "e": (None, None, 0.1)}), []))
    assert one.models == 3
    np.testing.assert_allclose(one.ranges, [0.2, 0.35, 0.1, 0.1, math.nan])
    np.testing.assert_array_equal(one.ranks[:3], [[1, 2, 1], [2, 1, 2], [3, 3, 2]])
    assert np.isnan(one.ranks[3:]).all()
    assert np.isnan(one.moves[3:]).all()


def test_a_row_without_any_value_is_left_out(tmp_path):
    (one,) = compute(arrange(scores_of({**TABLE, "d": (math.nan,) * 3}), []))
    assert one.rows == tuple((model, "layer3") for model in TABLE)


def test_few_switches_of_identity_are_good(tmp_path):
    swapped = [
        score(model, metric="IDSW", value=value, protocol=name)
        for model, value in (("a", 9.0), ("b", 2.0))
        for name in ("unitrack", "crw")
    ]
    (one,) = compute(arrange(swapped, []))
    np.testing.assert_array_equal(one.ranks, [[2, 2], [1, 1]])
    assert "9 (2)" in printed([one])


def test_tasks_and_detections_stand_apart_and_one_protocol_is_no_comparison(tmp_path):
    fields = {"task": "mot/mot15", "metric": "IDF1"}
    scores = [
        *scores_of(),
        score(task="sot/otb2015", metric="AUC"),
        *(
            score(protocol=f"{name}+{given}", detections=given, protocol_hash=name, data_hash=given, **fields)
            for name in ("mass", "unitrack")
            for given in ("oracle", "public")
        ),
    ]
    found = compute(arrange(scores, []))
    assert [(one.task, one.detections, one.protocols) for one in found] == [
        ("vos/davis2017", "", PROTOCOLS),
        ("mot/mot15", "oracle", ("unitrack", "mass")),
        ("mot/mot15", "public", ("unitrack", "mass")),
    ]


def test_the_files_hold_every_number(tmp_path):
    found = compute(arrange(scores_of(partial=True), []))
    assert [path.name for path in write(found, tmp_path)] == ["sensitivity.csv", "sensitivity_tau.csv"]
    rows = rows_of(tmp_path / "sensitivity.csv")
    assert len(rows) == 9
    assert rows[4] == {
        "task": "vos/davis2017", "detections": "", "metric": "J-mean", "partial": "True", "model": "b",
        "layer": "layer3", "protocol": "crw", "protocol_version": "1.0", "protocol_hash": "crw", "value": "0.65",
        "rank": "1.0", "value_range": "0.35000000000000003", "rank_range": "1.0",
    }  # fmt: skip
    taus = rows_of(tmp_path / "sensitivity_tau.csv")
    assert [float(row["kendall_tau"]) for row in taus] == pytest.approx(list(found[0].taus().values()))


def test_the_tables_show_scores_with_ranks_and_a_square_of_taus(tmp_path):
    text = printed(compute(arrange(scores_of(), [])))
    assert "vos/davis2017 J-mean" in text
    (line,) = [line for line in text.splitlines() if " b " in line]
    assert line.replace("│", " ").split() == [
        "b", "layer3", "40.00", "(2)", "65.00", "(1)", "30.00", "(2)", "35.00", "1"]  # fmt: skip
    (diagonal,) = [line for line in text.splitlines() if "unitrack" in line and "1.00" in line]
    assert diagonal.replace("│", " ").split() == ["unitrack", "1.00", "0.33", "0.82"]


def test_equal_scores_under_a_protocol_leave_its_tau_undefined(tmp_path):
    found = compute(arrange(scores_of({model: (*values[:2], 0.5) for model, values in TABLE.items()}), []))
    assert math.isnan(found[0].taus()["unitrack", "dino"])
    assert "all equal" in printed(found)
    write(found, tmp_path)
    rows = rows_of(tmp_path / "sensitivity_tau.csv")
    assert [row["kendall_tau"] for row in rows][1:] == ["", ""]


def test_one_protocol_everywhere_is_an_error(tmp_path):
    with pytest.raises(
        OutputError, match="no task was run under several protocols, expected one or more; run for"
    ):
        compute(arrange([score(), score("mae")], []))


@pytest.mark.parametrize("difference", [{"data_hash": "d2"}, {"frames": 10}, {"clips": 2}])
def test_protocols_on_other_frames_are_not_compared(tmp_path, difference):
    scores = [score(), score(protocol="dino", protocol_hash="p2", **difference)]
    with pytest.raises(
        OutputError, match=r"protocols were not run on the same data \(unitrack on 30 clips and 1999"
    ):
        compute(arrange(scores, []))


def test_below_how_many_models_an_order_says_nothing():
    assert sensitivity.FEWEST == 3
