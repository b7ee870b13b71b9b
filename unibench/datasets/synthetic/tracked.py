"""Points of the rendered surfaces, followed by the renderer's own geometry: no estimate.

A point is fixed to a surface: to the background, or to a piece of an object or a figure of the truth. Where another
piece is painted over it, and outside the frame, it is occluded.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from unibench.datasets.synthetic.paint import Surfaces, surfaces
from unibench.datasets.synthetic.scene import HEIGHT, WIDTH, Scene, draws

POINTS = 48
"""Of a clip: half of them on the background."""
LATEST = 2 / 3
"""Share of the clip in which the points are chosen; each is visible in the frame in which it is."""


def follow(scene: Scene) -> tuple[Float[np.ndarray, "point frame 2"], Bool[np.ndarray, "point frame"]]:
    """Choose points, and say where they are in every frame.

    Args:
        scene: The clip.

    Returns:
        x, y in pixels (the middle of the first pixel is 0), and where a point is visible.
    """
    seen = [surfaces(scene, index) for index in range(scene.length)]
    piece, own = _choose(scene, seen)
    places = np.stack([_place(one, piece, own) for one in seen], axis=1)
    column, row = np.moveaxis(np.floor(places).astype(np.int64), 2, 0)
    visible = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
    for frame, one in enumerate(seen):
        there = visible[:, frame]
        visible[there, frame] = one.owner[row[there, frame], column[there, frame]] == piece[there]
    return places - 0.5, visible


def _choose(
    scene: Scene, seen: list[Surfaces]
) -> tuple[Int[np.ndarray, " point"], Float[np.ndarray, "point 2"]]:
    """Pieces, and points in their own coordinates. A pixel counts where all around it belong to the same piece."""
    rng = draws(scene.seed, "points")
    followed = np.array([0, *(actor.identity for actor in scene.actors)])
    pieces, points = [], []
    for number in range(POINTS):
        one = seen[int(rng.integers(int(LATEST * scene.length)))]
        wanted = one.owner == 0 if number % 2 else followed[one.actors + 1][one.owner] > 0
        pixels = np.flatnonzero(wanted & _inner(one.owner))
        row, column = np.divmod(int(pixels[rng.integers(len(pixels))]), WIDTH)
        piece = int(one.owner[row, column])
        place = np.array([column, row]) + rng.random(2)
        linear, shift = one.to_frame[piece, :, :2], one.to_frame[piece, :, 2]
        pieces.append(piece)
        points.append(np.linalg.solve(linear, place - shift))
    return np.array(pieces), np.array(points)


def _inner(owner: Int[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Pixels whose eight neighbours belong to the same piece; none at the border of the frame."""
    inner = np.zeros(owner.shape, dtype=bool)
    middle, (height, width) = owner[1:-1, 1:-1], owner.shape
    inner[1:-1, 1:-1] = np.all(
        [
            middle == owner[row : height - 2 + row, column : width - 2 + column]
            for row in range(3)
            for column in range(3)
        ],
        axis=0,
    )
    return inner


def _place(
    one: Surfaces, piece: Int[np.ndarray, " point"], own: Float[np.ndarray, "point 2"]
) -> Float[np.ndarray, "point 2"]:
    """Rounded to 1/1024 of a pixel, as everything that is rendered."""
    to_frame = one.to_frame[piece]
    places = np.einsum("pij,pj->pi", to_frame[:, :, :2], own) + to_frame[:, :, 2]
    rounded: Float[np.ndarray, "point 2"] = np.round(places * 1024) / 1024
    return rounded
