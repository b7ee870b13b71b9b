"""The study: probes on images that no network saw, seeds beside methods."""

from pathlib import Path

import numpy as np
import pytest

from tests.report.fakes import board_of
from unibench.experiments import study
from unibench.experiments.study import Images, Method
from unibench.models import cards
from unibench.report.boards import arrange
from unibench.ssl import diet, photographs

NAMES = ["zoo-a", "zoo-a-s1", "zoo-a-s2", "zoo-b", "zoo-c", "zoo-d-s", "zoo-e-vit"]


def test_seeds_of_a_method_are_put_together() -> None:
    assert [study.method_of(name) for name in NAMES] == ["zoo-a"] * 3 + [
        "zoo-b",
        "zoo-c",
        "zoo-d-s",
        "zoo-e-vit",
    ]


def _methods(count: int) -> list[Method]:
    """Probes and the first task rise together, the second task falls; the first method has three seeds."""
    rise = np.linspace(0, 0.9, count)
    return [
        Method(
            f"zoo-{number}",
            np.array([[value, value]] * (1 if number else 3))
            + (0 if number else np.array([[0.0], [0.03], [0.06]])),
            np.array([[value, 1 - value]] * (1 if number else 3)),
        )
        for number, value in enumerate(rise)
    ]


def test_a_method_is_one_point_of_the_correlations() -> None:
    found = study.correlations(_methods(10), ["photographs"], ["rises", "falls"])
    assert found["photographs", "rises"].n == 10
    assert found["photographs", "rises"].spearman == pytest.approx(1)
    assert found["photographs", "falls"].spearman == pytest.approx(-1)


def test_figures_name_every_task_and_every_method() -> None:
    board = arrange(*board_of(6))
    tasks = study._names(board)
    levels = [(number, number / 9) for number in range(6)]
    methods = [
        Method(f"zoo-{number}", np.full((2, 2), level), np.full((2, len(tasks)), level))
        for number, level in levels
    ]
    rows = study.correlations(methods, ["photographs"], tasks)
    for figure in (
        study.draw_probe(methods, board, "photographs", rows),
        study.draw_seeds(methods, board),
    ):
        shown = [axes for axes in figure.axes if axes.axison]
        assert [axes.get_title().split("\n")[0] for axes in shown] == tasks
    assert [label.get_text() for label in shown[0].get_yticklabels()] == [str(number) for number in range(6)]


def test_losses_are_a_panel_a_method_and_a_line_a_seed(tmp_path: Path) -> None:
    rows = [f"{name},{step},{1 / (step + 1)}" for name in NAMES[:4] for step in (0, 10)]
    (tmp_path / "losses.csv").write_text("\n".join(["model,step,loss", *rows]))
    panels = {axes.get_title(): len(axes.lines) for axes in study.draw_losses(tmp_path / "losses.csv").axes}
    assert {name: count for name, count in panels.items() if name} == {"a": 3, "b": 1}


def test_probes_ask_about_as_many_images_of_each_class_as_they_know(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 700, 3), dtype=np.uint8)
    monkeypatch.setattr(photographs, "read", lambda one, side: noise)
    for images, classes in (
        (study.photographs_probe(), len(photographs.manifest("probe"))),
        (study.shapes_probe(), diet.CLASSES),
    ):
        assert len(images.known) == len(images.asked) == classes * study.EACH
        assert np.array_equal(images.labels, np.repeat(np.arange(classes), study.EACH))


def test_colours_tell_images_of_plain_colours_apart() -> None:
    known = tuple(np.full((16, 16, 3), level, np.uint8) for level in (40, 40, 200, 200))
    images = Images(known, np.array([0, 0, 1, 1]), tuple(image + np.uint8(5) for image in known))
    assert study.accuracy(cards.find("lab-colour"), images, k=2) == 1.0
