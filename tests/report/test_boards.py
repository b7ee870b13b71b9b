import math
from dataclasses import replace

import numpy as np
import pytest

from tests.report.fakes import fact, score
from unibench.errors import OutputError, UnibenchError
from unibench.metrics import catalogue
from unibench.report import leaderboard
from unibench.report.boards import Setting, arrange, best_layer, best_value, headlines, ranks, titles
from unibench.results import store
from unibench.tasks import protocols
from unibench.tasks.registry import FAMILIES

VOS = Setting("vos/davis2017", "unitrack", "")


def test_models_stand_as_their_facts_do_and_unknown_ones_come_last():
    scores = [score("b"), score("x"), score("a")]
    board = arrange(scores, [fact("b", 0.7), fact("unused"), fact("a")])
    assert [(model.name, model.label) for model in board.models] == [("b", "B"), ("a", "A"), ("x", "x")]


def test_layers_stand_in_the_order_that_people_count():
    board = arrange([score(layer=f"blocks.{index}") for index in (11, 2, 9)], [])
    assert board.layers["dino"] == ("blocks.2", "blocks.9", "blocks.11")


def test_tasks_stand_in_the_order_of_the_papers_tables():
    tasks = [
        "zoo/x",
        "pose/jhmdb",
        "posetrack/posetrack18",
        "mots/mots20",
        "mot/mot16",
        "vos/davis2017",
        "sot/otb2015",
    ]
    board = arrange([score(task=task) for task in tasks], [])
    assert [setting.task for setting in board.settings] == [*tasks[:0:-1], "zoo/x"]


def test_the_headline_comes_first_and_the_others_as_written():
    metrics = ["J&F", "J-mean", "F-mean"]
    board = arrange([score(metric=metric, headline=metric == "J-mean") for metric in metrics], [])
    assert board.metrics[VOS] == ("J-mean", "J&F", "F-mean")


def test_the_better_layer_is_the_one_with_the_better_headline():
    scores = [
        score(layer="layer3", value=0.5),
        score(layer="layer4", value=0.6),
        score("mae", value=math.nan),
    ]
    board = arrange(scores, [])
    assert best_layer(board, "dino", VOS) == "layer4"
    assert best_layer(board, "mae", VOS) == "layer3"
    few = [score(layer="layer3", metric="IDSW", value=9.0), score(layer="layer4", metric="IDSW", value=12.0)]
    assert best_layer(arrange(few, []), "dino", VOS) == "layer3"


def test_headlines_are_those_of_the_better_layer_and_nan_where_not_run():
    scores = [
        score(value=0.5),
        score(layer="layer4", value=0.6),
        score("mae", task="sot/otb2015", metric="AUC"),
    ]
    board = arrange(scores, [])
    np.testing.assert_array_equal(headlines(board), [[math.nan, 0.6], [0.5, math.nan]])


@pytest.mark.parametrize(
    ("metric", "best"),
    [("IDF1", 3.0), ("IDSW", 1.0), ("J-decay", 1.0), ("ML", 1.0), ("MT", 3.0), ("PT", None)],
)
def test_which_side_is_good(metric, best):
    assert best_value(metric, [2.0, 1.0, math.nan, 3.0]) == best


def test_nothing_defined_has_no_best():
    assert best_value("IDF1", [math.nan]) is None


def test_titles_say_only_what_tells_settings_apart_and_which_detections():
    scores = [
        score(task="sot/otb2015", metric="AUC"),
        score(task="vos/davis2016"),
        score(task="vos/davis2017", metric="J&F", protocol="unitrack"),
        score(task="vos/davis2017", metric="J&F", protocol="dino", protocol_hash="p2"),
        score(task="mot/mot16", metric="IDF1", detections="oracle", partial=True),
    ]
    assert titles(arrange(scores, [])) == [
        "SOT\nAUC",
        "VOS\ndavis2016\nunitrack\nJ-mean",
        "VOS\ndavis2017\ndino\nJ&F",
        "VOS\ndavis2017\nunitrack\nJ&F",
        "MOT\noracle\nIDF1\n(partial)",
    ]


@pytest.mark.parametrize(
    ("difference", "message"),
    [
        (
            {"protocol_hash": "p2"},
            "protocol_hash is p1 for dino/layer3 and p2 for mae/layer4, expected the same",
        ),
        ({"data_hash": "d2"}, "data_hash is d1 for dino/layer3 and d2 for mae/layer4, expected the same"),
        ({"frames": 10}, "frames is 1999 for dino/layer3 and 10 for mae/layer4, expected the same"),
        ({"clips": 2}, "clips is 30 for dino/layer3 and 2 for mae/layer4, expected the same"),
        ({"partial": True}, "partial is False for dino/layer3 and True for mae/layer4, expected the same"),
    ],
)
def test_what_was_not_measured_alike_does_not_share_a_column(difference, message):
    with pytest.raises(OutputError, match=rf"^vos/davis2017@unitrack J-mean: {message}.*; rerun") as caught:
        arrange([score(), score("mae", "layer4", **difference)], [])
    assert "\n" not in str(caught.value)


def noted(out, model, layer, **changes):
    """What a run under changed knobs leaves behind."""
    protocol = FAMILIES["vos"].presets["unitrack"]
    knobs = {
        **protocol.knobs,
        "propagation": {**protocol.knobs["propagation"], **changes.pop("propagation", {})},
    }
    described = protocols.describe(replace(protocol, knobs=knobs, **changes))
    store.write_run(
        out, store.RunKey(model, "w1", "vos/davis2017", "unitrack", layer), {"protocol": described}
    )
    return score(model, layer, protocol_hash=described["hash"])


def test_rows_under_other_knobs_are_named_with_what_differs(tmp_path):
    rows = [
        noted(tmp_path, "dino", "layer3"),
        noted(tmp_path, "dino", "layer4"),
        noted(tmp_path, "mae", "layer3", propagation={"topk": 5, "window": "disc"}, source="elsewhere"),
        noted(tmp_path, "swav", "layer3", version="2.1"),
    ]
    message = (
        r"^vos/davis2017@unitrack: dino/layer3, dino/layer4 \| mae/layer3 \| swav/layer3 differ in "
        r"propagation.topk \(10 \| 5 \| 10\), propagation.window \(circle \| disc \| circle\), "
        r"version \(1 \| 1 \| 2\), expected one protocol in one column; rerun .* or keep"
    )
    with pytest.raises(OutputError, match=message) as caught:
        arrange(rows, [], tmp_path)
    assert "\n" not in str(caught.value)


def test_without_notes_of_the_runs_the_hashes_are_named(tmp_path):
    rows = [score(), score("mae", protocol_hash="p2")]
    with pytest.raises(OutputError, match="protocol_hash is p1 for dino/layer3 and p2 for mae/layer3"):
        arrange(rows, [], tmp_path)
    path = store.write_run(
        tmp_path, store.RunKey("mae", "w1", "vos/davis2017", "unitrack", "layer3"), {"protocol": 1}
    )
    with pytest.raises(OutputError, match="protocol_hash is p1 for dino/layer3 and p2 for mae/layer3"):
        arrange(rows, [], tmp_path)
    path.write_text("[]")
    with pytest.raises(OutputError, match=r"run.json: found a list, expected named fields; delete the file"):
        arrange(rows, [], tmp_path)


@pytest.mark.parametrize(
    "difference", [{"protocol": "dino"}, {"detections": "oracle"}, {"task": "vos/davis2016"}]
)
def test_another_protocol_or_other_detections_is_another_column(difference):
    board = arrange([score(), score("mae", protocol_hash="p2", data_hash="d2", frames=7, **difference)], [])
    assert len(board.settings) == 2


def test_two_models_of_one_name_are_two_rows_with_the_hash_behind_the_name():
    scores = [
        score("tdt", value=0.4, weights_hash="1a2b3c4d5e6f"),
        score("tdt", value=0.6, weights_hash="99aabbccddee"),
        score("tdt", value=0.6, weights_hash="99aabbccddee", task="sot/otb2015", metric="AUC"),
        score("other"),
    ]
    board = arrange(scores, [fact("tdt", 0.7)])
    assert [(one.name, one.label, one.imagenet_top1) for one in board.models] == [
        ("tdt 1a2b3c4d", "TDT 1a2b3c4d", 0.7),
        ("tdt 99aabbcc", "TDT 99aabbcc", 0.7),
        ("other", "other", None),
    ]
    np.testing.assert_array_equal(headlines(board), [[math.nan, 0.4], [0.6, 0.6], [math.nan, 0.5]])


def test_hashes_that_begin_alike_are_shown_as_far_as_it_takes_to_tell_them_apart():
    board = arrange([score("a", weights_hash="1a2b3c4d5e6f"), score("a", weights_hash="1a2b3c4d5eff")])
    assert [one.name for one in board.models] == ["a 1a2b3c4d5e6", "a 1a2b3c4d5ef"]


def test_rows_of_rounded_maps_say_so():
    board = arrange(
        [score("a", weights_hash=one) for one in ("1a2b3c4d5e6f", "1a2b3c4d5e6f+features=float16")]
    )
    assert [one.name for one in board.models] == ["a 1a2b3c4d", "a 1a2b3c4d+features=float16"]


def test_a_metric_that_the_catalogue_does_not_know_is_refused():
    with pytest.raises(UnibenchError, match=r"metric 'mine': no entry in unibench.metrics.catalogue.METRICS"):
        arrange([score(metric="mine")])


def test_a_metric_of_a_plug_in_that_is_better_when_lower_is_ranked_so(monkeypatch):
    mine = catalogue.Metric("ms", catalogue.Direction.LOWER, (0.0, math.inf), "time of a frame", "none")
    monkeypatch.setitem(catalogue.METRICS, "mine", mine)
    values = {"a": (30.0, 20.0), "b": (25.0, 40.0)}
    scores = [
        score(model, layer, metric="mine", value=value)
        for model, of_layers in values.items()
        for layer, value in zip(("layer3", "layer4"), of_layers, strict=True)
    ]
    board = arrange(scores)
    assert [best_layer(board, name, VOS) for name in "ab"] == ["layer4", "layer3"]
    assert best_value("mine", [3.0, 1.0]) == 1.0
    np.testing.assert_array_equal(ranks(board), [[1], [2]])
    cells = leaderboard.headline_cells(board, leaderboard.NO_TIES)
    assert [(row[0].text, row[0].place) for row in cells] == [
        ("30.00", 0), ("20.00", 1), ("20.00", 1), ("25.00", 2), ("40.00", 0), ("25.00", 2)]  # fmt: skip


def test_a_headline_without_a_good_side_has_no_ranks():
    board = arrange([score("a", metric="PT", value=3.0), score("b", metric="PT", value=4.0)])
    assert np.isnan(ranks(board)).all()


def test_a_cell_has_one_score():
    with pytest.raises(OutputError, match="two scores for dino/layer3/J-mean, expected one; keep the runs"):
        arrange([score(), score(value=0.6)], [])


@pytest.mark.parametrize(("headline", "found"), [(False, r"\[\]"), (True, r"\['J-mean', 'F-mean'\]")])
def test_a_setting_has_one_headline(headline, found):
    scores = [score(headline=headline), score(metric="F-mean", headline=headline)]
    with pytest.raises(OutputError, match=f"headline metrics are {found}, expected one; rerun"):
        arrange(scores, [])


def test_no_scores_is_an_error():
    with pytest.raises(
        OutputError, match="report: no scores, expected at least one; run `unibench run` first"
    ):
        arrange([], [])
