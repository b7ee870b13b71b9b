import numpy as np
from matplotlib.patches import Rectangle

from unibench.records import Labels
from unibench.report import overlay


def test_every_object_has_a_box_and_its_id_in_one_colour_a_row():
    frames = [np.full((20, 30, 3), 40 * index, dtype=np.uint8) for index in range(3)]
    one = Labels(ids=np.array([7, 9]), boxes=np.array([[1.0, 2.0, 5.0, 9.0], [10.0, 2.0, 15.0, 9.0]]))
    figure = overlay.strips(frames, [("a", [one, Labels(), one]), ("b", [Labels()] * 3)], [0, 1, 2])
    boxes = [[patch for patch in axes.patches if isinstance(patch, Rectangle)] for axes in figure.axes]
    assert [len(drawn) for drawn in boxes] == [2, 0, 2, 0, 0, 0]
    assert [text.get_text() for text in figure.axes[0].texts] == ["7", "9"]
    assert boxes[0][1].get_bbox().extents.tolist() == [10.0, 2.0, 15.0, 9.0]
    assert boxes[0][0].get_edgecolor() == boxes[2][0].get_edgecolor() != boxes[0][1].get_edgecolor()
