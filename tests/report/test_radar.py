import math

import numpy as np
import pytest

from tests.report.fakes import TASKS, board_of, fact, score
from unibench.errors import OutputError
from unibench.report import radar
from unibench.report.boards import Setting, arrange, ranks
from unibench.report.figures import GREY, INK
from unibench.report.leaderboard import Standing


def _polygons(figure):
    """Model name -> the line that shows it."""
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    return {line.get_gid()[6:]: line for line in lines if (line.get_gid() or "").startswith("model:")}


def _words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts] + [
        text.get_text() for text in figure.texts
    ]


def test_ranks_by_hand():
    scores = [
        score("a", value=0.5), score("b", value=0.7), score("c", value=0.5), score("d", value=math.nan),
        score("a", task="sot/otb2015", metric="IDSW", value=3.0),
        score("b", task="sot/otb2015", metric="IDSW", value=1.0),
    ]  # fmt: skip
    nan = math.nan
    np.testing.assert_array_equal(ranks(arrange(scores, [])), [[2, 2], [1, 1], [nan, 2], [nan, nan]])


def test_the_best_is_outermost():
    scores = [score(model, value=value) for model, value in (("a", 0.5), ("b", 0.7), ("c", 0.6))]
    lines = _polygons(radar.draw(arrange(scores, [])))
    assert {name: line.get_ydata().tolist() for name, line in lines.items()} == {
        "a": [1, 1],
        "b": [3, 3],
        "c": [2, 2],
    }


@pytest.mark.parametrize(("count", "panels"), [(1, 1), (6, 1), (7, 6), (16, 15)])
def test_every_model_has_one_polygon(count, panels):
    scores, facts = board_of(count)
    figure = radar.draw(arrange(scores, facts))
    behind_the_others = {"m0"} if count > radar.MOST_IN_ONE else set()
    assert _polygons(figure).keys() == {model.name for model in facts} - behind_the_others
    assert len(figure.axes) == panels


def test_of_several_references_each_has_a_panel_that_tells_which_it_is():
    scores, facts = board_of(8)
    facts[5] = fact("m5", reference=True)
    figure = radar.draw(arrange(scores, facts))
    assert _polygons(figure).keys() == {f"m{index}" for index in range(8)}
    assert [axes.get_title() for axes in figure.axes] == [f"M{index}" for index in range(8)]


def test_the_polygons_of_one_circle_differ_in_colour_and_in_more_than_colour():
    lines = _polygons(radar.draw(arrange(*board_of(6)))).values()
    assert len({line.get_color() for line in lines}) == 6
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 6


@pytest.mark.parametrize("count", [5, 16])
def test_a_task_not_run_is_a_gap_and_not_a_zero(count):
    missing = {("m2", "vos/davis2017"), ("m3", "sot/otb2015")}
    figure = radar.draw(arrange(*board_of(count, missing=missing)))
    lines = _polygons(figure)
    assert np.isnan(lines["m2"].get_ydata()).tolist() == [False, True, False, False, False, False]
    assert np.isnan(lines["m3"].get_ydata()).tolist() == [True, False, False, False, False, True]
    assert not np.isnan(lines["m1"].get_ydata()).any()
    drawn = [line.get_ydata()[np.isfinite(line.get_ydata())] for line in lines.values()]
    assert min(radii.min() for radii in drawn) >= 1
    assert f"Run on fewer models: SOT AUC ({count - 1}), VOS J-mean ({count - 1})." in _words(figure)


@pytest.mark.parametrize("count", [5, 16])
def test_only_whole_polygons_are_filled(count):
    figure = radar.draw(arrange(*board_of(count, missing={("m2", "vos/davis2017")})))
    filled = sum(len(axes.patches) for axes in figure.axes)
    assert filled == count - 2  # neither the reference nor m2


def test_the_reference_is_dashed_grey_in_every_panel():
    scores, facts = board_of(7)
    outline = (8 - ranks(arrange(scores, facts))[0]).tolist()
    for axes in radar.draw(arrange(scores, facts)).axes:
        grey = [line for line in axes.get_lines() if line.get_color() == "#7f7f7f"]
        assert len(grey) == 1
        assert grey[0].is_dashed()
        assert grey[0].get_ydata().tolist() == [*outline, outline[0]]


def test_axes_say_task_and_metric():
    words = _words(radar.draw(arrange(*board_of(3))))
    assert [word.rpartition("\n")[0] for word in words[:5]] == [
        "SOT\nAUC", "VOS\nJ-mean", "MOT\nIDF1", "MOTS\nIDF1", "PoseTrack\nIDF1"]  # fmt: skip
    assert words[0] == "SOT\nAUC\n55.56 to 80.79"  # from the worst to the best


def _marked(figure, kind):
    """Model name -> numbers of the axes at which its dots are full (`model`) or hollow."""
    lines = [
        line
        for axes in figure.axes
        for line in axes.get_lines()
        if (line.get_gid() or "").startswith(f"{kind}:")
    ]
    return {line.get_gid().partition(":")[2]: line.get_markevery() for line in lines}


SOT, VOS = Setting("sot/otb2015", "unitrack", ""), Setting("vos/davis2017", "unitrack", "")


def _two_tasks(**values):
    return arrange(
        [score(name, value=one) for name, (_, one) in values.items()]
        + [score(name, task=SOT.task, metric="AUC", value=one) for name, (one, _) in values.items()]
    )


def test_a_dot_is_full_only_where_its_model_is_told_apart_from_the_best():
    board = _two_tasks(a=(0.815, 0.9), b=(0.81, 0.5), c=(0.1, 0.4))
    ties = {
        ("a", "layer3", SOT): Standing.BEST, ("b", "layer3", SOT): Standing.TIED, ("c", "layer3", SOT): Standing.BEHIND,
        ("a", "layer3", VOS): Standing.BEST, ("b", "layer3", VOS): Standing.TOO_FEW,
        ("c", "layer3", VOS): Standing.TOO_FEW,
    }  # fmt: skip
    figure = radar.draw(board, ties)
    assert _marked(figure, "model") == {"a": [0], "b": [], "c": [0]}
    assert _marked(figure, "hollow") == {"a": [1], "b": [0, 1], "c": [1]}
    sot, vos = figure.axes[0].texts
    assert (sot.get_text(), sot.get_color()) == ("SOT\nAUC\n10.00 to 81.50", INK)
    assert (vos.get_text(), vos.get_color()) == ("VOS\nJ-mean\n40.00 to 90.00\n(too few clips)", GREY)
    assert any(word.startswith("Hollow: a paired permutation test") for word in _words(figure))
    assert any(word.startswith("Grey axes: ") for word in _words(figure))
    assert not any(word.startswith(("Hollow", "Grey")) for word in _words(radar.draw(board)))


def test_equal_bests_are_no_better_than_one_another():
    board = _two_tasks(a=(0.5, 0.9), b=(0.5, 0.5))
    ties = {("a", "layer3", SOT): Standing.BEST, ("b", "layer3", SOT): Standing.TIED,
            ("a", "layer3", VOS): Standing.BEST, ("b", "layer3", VOS): Standing.BEHIND}  # fmt: skip
    assert _marked(radar.draw(board, ties), "hollow") == {"a": [0], "b": [0]}


def test_dots_of_one_rank_do_not_hide_one_another():
    lines = _polygons(radar.draw(_two_tasks(a=(0.5, 0.9), b=(0.5, 0.5), c=(0.5, 0.3), d=(0.1, 0.2))))
    at = {name: (line.get_xdata()[0], line.get_ydata()[0]) for name, line in lines.items()}
    assert {radius for _, radius in at.values()} == {4, 1}
    apart = np.diff([at[name][0] for name in "abc"])
    assert apart == pytest.approx([radar._APART] * 2)
    assert at["b"][0] == at["d"][0] == 0.0  # on the axis
    for line in lines.values():
        assert line.get_xdata()[-1] == pytest.approx(line.get_xdata()[0] + 2 * math.pi)


def test_an_axis_of_one_model_is_grey_and_has_no_dot():
    scores, facts = board_of(3, missing={("m1", "sot/otb2015"), ("m2", "sot/otb2015")})
    figure = radar.draw(arrange(scores, facts))
    label = figure.axes[0].texts[0]
    assert (label.get_text(), label.get_color()) == ("SOT\nAUC\n(1 model)", GREY)
    assert np.isnan(_polygons(figure)["m0"].get_ydata()[0])


def test_better_layers_are_said_to_be_chosen_on_the_test_clips():
    chosen = "Every model with its better layer, chosen on the test clips. A line is broken where a model was not run."
    assert chosen in _words(radar.draw(arrange(*board_of(3))))
    assert chosen not in _words(radar.draw(_two_tasks(a=(0.5, 0.9), b=(0.5, 0.5))))


@pytest.mark.parametrize("count", [3, 7])
def test_many_axes_are_numbered_and_explained(count):
    tasks = {f"{task}{index}": metric for task, metric in TASKS.items() for index in "ab"}
    words = _words(radar.draw(arrange(*board_of(count, tasks=tasks))))
    assert words[:10] == [str(number) for number in range(1, 11)]
    assert "1  SOT otb2015a AUC" in words
    assert "10  PoseTrack posetrack18b IDF1" in words


@pytest.mark.parametrize("count", [5, 16])
def test_nothing_is_clipped_and_no_label_covers_another(count):
    figure = radar.draw(arrange(*board_of(count, missing={("m2", "vos/davis2017")})))
    figure.draw_without_rendering()
    page = figure.bbox
    texts = [text for axes in figure.axes for text in [*axes.texts, axes.title]] + figure.texts
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    for index, box in enumerate(boxes):
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[:index])


def test_the_same_scores_give_the_same_bytes(tmp_path):
    first = radar.write(arrange(*board_of(7)), tmp_path / "a")
    second = radar.write(arrange(*board_of(7)), tmp_path / "b")
    assert [path.name for path in first] == ["radar.svg", "radar.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    svg = first[0].read_text()
    assert "<dc:date>" not in svg
    assert 'id="model:m3"' in svg
    assert first[1].read_bytes().startswith(b"\x89PNG")


def test_nothing_to_rank_is_an_error():
    with pytest.raises(
        OutputError, match="radar: no headline score is defined, expected at least one; run a task"
    ):
        radar.draw(arrange([score(value=math.nan)], [fact("dino")]))


def test_a_figure_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"radar\.svg: cannot be written"):
        radar.write(arrange([score()], []), tmp_path / "file")
