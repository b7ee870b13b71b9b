import csv

import pytest

from tests.report.fakes import board_of, fact, score
from unibench.errors import OutputError
from unibench.report import correlation


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


def test_a_small_table_to_the_byte(tmp_path):
    path, figure = correlation.write(*_five_models(), tmp_path)
    assert (path.name, figure.name) == ("correlation.csv", "correlation.svg")
    assert path.read_text() == (
        "x,y,pearson,spearman,n\n"
        "imagenet_top1,sot/otb2015@unitrack AUC,0.9000,0.9000,5\n"
        "imagenet_top1,vos/davis2017@unitrack J-mean,1.0000,1.0000,5\n"
        "sot/otb2015@unitrack AUC,vos/davis2017@unitrack J-mean,0.9000,0.9000,5\n"
    )


def test_below_five_models_the_table_is_blank_and_the_figure_says_why(tmp_path):
    scores, facts = board_of(4)
    path, _ = correlation.write(scores, facts, tmp_path)
    rows = _rows(path)
    assert len(rows) == 15  # 6 columns, every pair once
    assert {(row["pearson"], row["spearman"], row["n"]) for row in rows} == {("", "", "4")}
    words = _words(correlation.draw(scores, facts))
    assert "ImageNet top-1 is known for 4 of 4 models; a correlation needs at least 5." in words
    assert "at most 4 models were run on both; a correlation needs at least 5." in words


def test_a_model_that_lacks_a_score_or_a_top1_is_left_out_of_that_pair_only(tmp_path):
    scores, facts = board_of(7, missing={("m1", "sot/otb2015"), ("m2", "sot/otb2015"), ("m3", "sot/otb2015")})
    facts[6] = fact("m6")
    path, _ = correlation.write(scores, facts, tmp_path)
    rows = {(row["x"], row["y"]): row for row in _rows(path)}
    auc, j_mean = "sot/otb2015@unitrack AUC", "vos/davis2017@unitrack J-mean"
    assert (rows["imagenet_top1", auc]["n"], rows["imagenet_top1", auc]["pearson"]) == ("3", "")
    assert rows["imagenet_top1", j_mean]["n"] == "6"
    assert rows["imagenet_top1", j_mean]["pearson"] != ""
    words = _words(correlation.draw(scores, facts))
    assert "SOT\nn = 3: too few models" in words
    assert "n = 6" in words


def test_panels_say_both_coefficients_and_the_number_of_models():
    words = _words(correlation.draw(*_five_models()))
    assert "SOT\nr = +0.90, $\\rho$ = +0.90, n = 5" in words
    assert "+0.90\nn=5" in words


def test_equal_scores_are_called_constant():
    scores = [score(f"m{index}", value=0.5) for index in range(5)]
    words = _words(correlation.draw(scores, [fact(f"m{index}", 0.1 * index) for index in range(5)]))
    assert "n = 5: constant" in words
    assert "Only one task was run: there is no other to correlate it with." in words


def test_the_same_scores_give_the_same_bytes(tmp_path):
    first = correlation.write(*board_of(6), tmp_path / "a")
    for _ in range(3):
        again = correlation.write(*board_of(6), tmp_path / "b")
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]


def test_nothing_is_clipped():
    figure = correlation.draw(*board_of(6))
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
        correlation.write([score(), score("mae", protocol_hash="p2")], [], tmp_path)
