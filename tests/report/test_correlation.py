import csv

import pytest

from tests.report.fakes import TASKS, board_of, fact, score
from unibench.errors import OutputError
from unibench.report import correlation
from unibench.report.boards import arrange
from unibench.report.figures import GREY, INK
from unibench.stats.tests import holm


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _words(figure):
    texts = [*figure.texts, *(text for axes in figure.axes for text in [*axes.texts, axes.title])]
    return " | ".join(text.get_text() for text in texts)


def _five_models():
    """Five models on two tasks: J-mean is 1.0 correlated with top-1, AUC 0.9 (see tests/test_stats.py)."""
    auc = [0.1, 0.3, 0.2, 0.4, 0.5]
    scores = []
    for index in range(5):
        scores += [
            score(f"m{index}", value=0.2 + 0.1 * index),
            score(f"m{index}", "layer4", value=0.01 * (5 - index)),  # the worse layer takes no part
            score(f"m{index}", task="sot/otb2015", metric="AUC", value=auc[index]),
            score(f"m{index}", task="sot/otb2015", metric="P@20", value=0.5, headline=False),
        ]
    return scores, [fact(f"m{index}", 0.5 + 0.1 * index) for index in range(5)]


HEAD = (
    "x,y,n,"
    "pearson,pearson_low,pearson_high,pearson_p,pearson_p_holm,pearson_without_one_least,pearson_without_one_greatest,"
    "spearman,spearman_low,spearman_high,spearman_p,spearman_p_holm,"
    "spearman_without_one_least,spearman_without_one_greatest"
)


def test_a_small_table_to_the_byte(tmp_path):
    """r = 0.9 of five models: atanh 0.9 is 1.4722, its error 0.7071 (of ranks 0.8382); 10 of 120 orders do as well."""
    path, *figures = correlation.write(arrange(*_five_models()), tmp_path)
    assert [one.name for one in (path, *figures)] == ["correlation.csv", "correlation.svg", "correlation.png"]
    assert figures[1].read_bytes().startswith(b"\x89PNG")
    linear, ranked = "0.9000,0.0861,0.9934", "0.9000,-0.1689,0.9961"
    assert path.read_text().splitlines() == [
        HEAD,
        f"imagenet_top1,sot/otb2015@unitrack AUC,5,{linear},0.0833,0.0833,0.8000,0.9621,"
        f"{ranked},0.0833,0.0833,0.8000,1.0000",
        "imagenet_top1,vos/davis2017@unitrack J-mean,5,1.0000,,,0.0167,0.0333,1.0000,1.0000,"
        "1.0000,,,0.0167,0.0333,1.0000,1.0000",
        f"sot/otb2015@unitrack AUC,vos/davis2017@unitrack J-mean,5,{linear},0.0833,0.0833,0.8000,0.9621,"
        f"{ranked},0.0833,0.0833,0.8000,1.0000",
    ]


def test_p_is_adjusted_over_the_panels_and_over_the_pairs_apart(tmp_path):
    three = dict(list(TASKS.items())[:3])
    path, *_ = correlation.write(arrange(*board_of(8, three)), tmp_path)
    rows = _rows(path)
    panels = [row for row in rows if row["x"] == "imagenet_top1"]
    pairs = [row for row in rows if row["x"] != "imagenet_top1"]
    assert (len(panels), len(pairs)) == (3, 3)
    for family in (panels, pairs):
        for name in ("pearson", "spearman"):
            adjusted = holm([float(row[f"{name}_p"]) for row in family])
            assert [float(row[f"{name}_p_holm"]) for row in family] == pytest.approx(adjusted, abs=0.001)


def test_below_five_models_the_table_is_blank_and_the_figure_says_why(tmp_path):
    scores, facts = board_of(4)
    path, *_ = correlation.write(arrange(scores, facts), tmp_path)
    rows = _rows(path)
    assert len(rows) == 15  # 6 columns, every pair once
    assert {(row["pearson"], row["spearman"], row["n"]) for row in rows} == {("", "", "4")}
    words = _words(correlation.draw(arrange(scores, facts)))
    assert "ImageNet top-1 is known for 4 of 4 models; a correlation needs at least 5." in words
    assert "at most 4 models were run on both; a correlation needs at least 5." in words


def test_a_model_that_lacks_a_score_or_a_top1_is_left_out_of_that_pair_only(tmp_path):
    two = dict(list(TASKS.items())[:2])
    scores, facts = board_of(7, two, {("m1", "sot/otb2015"), ("m2", "sot/otb2015"), ("m3", "sot/otb2015")})
    facts[6] = fact("m6")
    path, *_ = correlation.write(arrange(scores, facts), tmp_path)
    rows = {(row["x"], row["y"]): row for row in _rows(path)}
    auc, j_mean = "sot/otb2015@unitrack AUC", "vos/davis2017@unitrack J-mean"
    assert (rows["imagenet_top1", auc]["n"], rows["imagenet_top1", auc]["pearson"]) == ("3", "")
    assert rows["imagenet_top1", j_mean]["n"] == "6"
    assert rows["imagenet_top1", j_mean]["pearson"] != ""
    words = _words(correlation.draw(arrange(scores, facts)))
    assert "SOT\nn = 3: too few models" in words
    assert "n = 6" in words


def test_panels_say_both_coefficients_their_intervals_and_whether_they_are_distinguished_from_0():
    words = _words(correlation.draw(arrange(*_five_models())))
    assert (
        "SOT\nr = +0.90 [+0.09, +0.99], p = 0.08\n"
        "$\\rho$ = +0.90 [-0.17, +1.00], p = 0.08\nn = 5: not distinguished from 0"
    ) in words
    assert (
        "r = +1.00 [no interval], p = 0.03\n$\\rho$ = +1.00 [no interval], p = 0.03\n"
        "n = 5: r and $\\rho$ distinguished from 0"
    ) in words
    assert "No interval: for a coefficient of +1 or -1 the formula (Fisher's) gives no width" in words
    assert "+0.90\nn=5" in words
    assert "-0.17\n+1.00" in words


def test_what_cannot_be_distinguished_from_0_is_drawn_pale_and_dashed():
    figure = correlation.draw(arrange(*_five_models()))
    sot, vos, heat = figure.axes[:3]
    assert (sot.get_lines()[0].get_linestyle(), sot.get_lines()[0].get_color()) == ("--", GREY)
    assert (vos.get_lines()[0].get_linestyle(), vos.get_lines()[0].get_color()) == ("-", INK)
    assert set(heat.images[0].get_alpha().ravel()) == {0.25}
    assert {text.get_color() for text in heat.texts} == {INK}  # readable on pale cells


def test_a_pair_that_is_distinguished_from_0_is_drawn_in_full():
    values = [0.1, 0.2, 0.25, 0.3, 0.5, 0.55, 0.7, 0.8]
    scores = [score(f"m{index}", value=value) for index, value in enumerate(values)]
    scores += [
        score(f"m{index}", task="sot/otb2015", metric="AUC", value=value**2)
        for index, value in enumerate(values)
    ]
    heat = correlation.draw(arrange(scores, [])).axes[0]
    assert heat.images[0].get_alpha()[0, 1] == 1
    assert {(text.get_color(), text.get_weight()) for text in heat.texts} == {("white", "bold")}


def test_every_dot_has_its_name_and_none_lies_over_another():
    figure = correlation.draw(arrange(*board_of(16)))
    figure.draw_without_rendering()
    for axes in figure.axes[:5]:
        assert sorted(text.get_text() for text in axes.texts) == sorted(f"M{index}" for index in range(16))
        boxes = [text.get_bbox_patch().get_window_extent() for text in axes.texts]
        for index, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:index])


def test_names_without_room_are_counted():
    words = _words(correlation.draw(arrange(*board_of(150, {"sot/otb2015": "AUC"}))))
    assert "dots have no room for their names." in words


def test_a_perfect_pair_says_that_it_has_no_interval():
    values = [0.1, 0.2, 0.25, 0.3, 0.5]
    scores = [score(f"m{index}", value=value) for index, value in enumerate(values)]
    scores += [
        score(f"m{index}", task="sot/otb2015", metric="AUC", value=value)
        for index, value in enumerate(values)
    ]
    words = _words(correlation.draw(arrange(scores, [])))
    assert "+1.00\nn=5 | no\ninterval" in words
    assert "No interval: " in words


def test_equal_scores_are_called_constant():
    scores = [score(f"m{index}", value=0.5) for index in range(5)]
    words = _words(correlation.draw(arrange(scores, [fact(f"m{index}", 0.1 * index) for index in range(5)])))
    assert "n = 5: constant" in words
    assert "Only one task was run: there is no other to correlate it with." in words


def test_the_same_scores_give_the_same_bytes(tmp_path):
    two = dict(list(TASKS.items())[:2])
    first = correlation.write(arrange(*board_of(6, two)), tmp_path / "a")
    for _ in range(2):
        again = correlation.write(arrange(*board_of(6, two)), tmp_path / "b")
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_nothing_is_clipped():
    figure = correlation.draw(arrange(*board_of(6)))
    figure.draw_without_rendering()
    *panels, colour_bar = figure.axes  # the title of a narrow map reaches over the bar, above it
    boxes = [part.get_tightbbox() for part in [*panels, *figure.legends]]
    assert figure.bbox.x1 >= colour_bar.get_tightbbox().x1
    for index, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:index])


def test_what_must_not_be_compared_is_not_correlated(tmp_path):
    with pytest.raises(OutputError, match="protocol_hash is p1"):
        correlation.write(arrange([score(), score("mae", protocol_hash="p2")], []), tmp_path)
