"""Point tracking: the points of the prompts are found in the other frames by their features."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from heads import point_tracks
from heads.point_tracks import HEADS, Occlusion, PointState
from unibench.datasets.points import QUERY_MODES
from unibench.errors import DataError, UnknownNameError
from unibench.features.batching import Steps, follow
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.tasks.family import make_options
from unibench.tasks.vos.tracker import patch, resize, whole_patches


@dataclass(frozen=True)
class PointTrackerOptions:
    """Everything of point tracking that changes a score, beside the model."""

    input_size: tuple[int, int] | None = (256, 256)
    """Height and width in pixels that frames are resized to, the aspect not kept; None: the frame as it is.
    Either is rounded to whole patches where the network has them."""
    query_mode: str = "first"
    """`first`: a point is given where it is first visible, and followed from there on, online; `strided`: again every 5
    frames, and followed both ways."""
    head: str = "nearest"
    """A key of `HEADS`."""
    head_options: Mapping[str, Any] = field(default_factory=dict)
    """The head's own knobs, by name; what is not named has the head's default."""
    min_similarity: float | None = None
    """Least cosine with the given feature of a visible point; None: not looked at."""
    max_cycle: float | None = 16.0
    """Pixels of the input, at most, by which the way back from a visible point misses the given place; None: not looked
    at."""

    def __post_init__(self) -> None:
        if self.input_size is not None and min(self.input_size) < 1:
            raise ValueError(f"point tracker: input_size {self.input_size}, expected 1 or more pixels a side")
        if self.query_mode not in QUERY_MODES:
            raise UnknownNameError("query mode of the point tracker", self.query_mode, QUERY_MODES)
        if self.head not in HEADS:
            raise UnknownNameError("head of the point tracker", self.head, HEADS)


@dataclass(frozen=True)
class _Geometry:
    """Pixels of the frame to cells of a layer and back; the middle of the first pixel is 0."""

    scale: Float[np.ndarray, " 2"]
    """Pixels of the input per pixel of the frame, x and y."""
    stride: int
    offset: float

    def to_cells(self, places: Float[np.ndarray, "point 2"]) -> Float[Tensor, "point 2"]:
        cells = ((places + 0.5) * self.scale - 0.5 - self.offset) / self.stride
        return torch.from_numpy(cells.astype(np.float32))

    def to_pixels(self, places: Float[Tensor, "point 2"]) -> Float[np.ndarray, "point 2"]:
        cells = places.cpu().numpy().astype(np.float64)
        pixels: Float[np.ndarray, "point 2"] = (cells * self.stride + self.offset + 0.5) / self.scale - 0.5
        return pixels


@dataclass(frozen=True, eq=False)
class _State:
    """What is known after a frame of a clip."""

    clip: Clip
    model: FrozenModel
    options: PointTrackerOptions
    head: point_tracks.Head
    ids: Int[np.ndarray, " point"] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Those given so far."""
    layers: Mapping[str, PointState] = field(default_factory=dict)
    """Each layer follows the points on its own."""


def _network_input(
    frame: Frame, model: FrozenModel, layers: Sequence[str], options: PointTrackerOptions
) -> UInt8[np.ndarray, "height width 3"]:
    return resize(frame.image, _seen_size(frame.image.shape[:2], model, options))


def _begin(clip: Clip, model: FrozenModel, layers: Sequence[str], options: PointTrackerOptions) -> _State:
    head = make_options(HEADS[options.head], options.head_options)
    return _State(clip, model, options, head, layers=dict.fromkeys(layers, PointState()))


def _advance(state: _State, frame: Frame, maps: Mapping[str, Tensor]) -> tuple[_State, dict[str, Labels]]:
    given = _checked(frame, state)
    ids = np.concatenate([state.ids, given.ids])
    order = np.argsort(ids)
    asked = given.keypoints.reshape(-1, 3)[:, :2]
    layers, written = {}, {}
    for layer, features in maps.items():
        grid = _geometry(state, layer)
        new = grid.to_cells(asked).to(features.device)
        cycle = state.options.max_cycle
        occlusion = Occlusion(state.options.min_similarity, None if cycle is None else cycle / grid.stride)
        layers[layer] = point_tracks.step(state.layers[layer], features, new, state.head, occlusion)
        found = layers[layer]
        places = grid.to_pixels(found.places)
        places[len(state.ids) :] = asked  # without rounding
        keypoints = np.concatenate([places, found.visible.cpu().numpy()[:, None]], axis=1)
        written[layer] = Labels(ids=ids[order], keypoints=keypoints[order, None])
    return replace(state, ids=ids, layers=layers), written


class _BothWays(Steps[PointTrackerOptions, _State]):
    """Steps that go through a clip forwards, and where points are given again and again backwards as well."""

    def __call__(
        self, clip: Clip, model: FrozenModel, layers: Sequence[str], options: PointTrackerOptions
    ) -> Iterator[dict[str, Labels]]:
        """Track a clip; the mode `strided` looks at all frames before it labels the first."""
        if options.query_mode == "first":
            return follow(self, clip, model, layers, options)
        return _follow_both_ways(self, clip, model, layers, options)


track = _BothWays(_network_input, _begin, _advance)
"""Follow the points of the prompts.

For each frame and layer, it yields the ids given so far (in mode `strided`: all), ascending, each with one keypoint:
x, y in pixels and 1 where the point is visible, 0 where it is occluded. In the frame of its prompt a point is where it
was given. A DataError says that no frame prompts, that an id is given twice, or that an object has not one keypoint.

Reference:
    Doersch et al.: TAP-Vid: A Benchmark for Tracking Any Point in a Video, NeurIPS 2022.
"""


def _follow_both_ways(
    steps: Steps[PointTrackerOptions, _State],
    clip: Clip,
    model: FrozenModel,
    layers: Sequence[str],
    options: PointTrackerOptions,
) -> Iterator[dict[str, Labels]]:
    """Follow each point from its frame to both ends of the clip.

    What the network is shown of the frames lies in a nameless file meanwhile: memory holds the labels only.
    """
    with _kept(clip, lambda frame: _network_input(frame, model, layers, options)) as frames:
        backwards = replace(clip, frames=partial(frames, -1))
        before = list(follow(steps, backwards, model, layers, options))
        for later in follow(steps, replace(clip, frames=partial(frames, 1)), model, layers, options):
            earlier = before.pop()
            yield {layer: _joined(later[layer], earlier[layer]) for layer in layers}


def _joined(later: Labels, earlier: Labels) -> Labels:
    """Of one frame: the points that were given up to here, and those that are given after it."""
    rows = ~np.isin(earlier.ids, later.ids)
    ids = np.concatenate([later.ids, earlier.ids[rows]])
    order = np.argsort(ids)
    keypoints = np.concatenate([later.keypoints.reshape(-1, 1, 3), earlier.keypoints.reshape(-1, 1, 3)[rows]])
    return Labels(ids=ids[order], keypoints=keypoints[order])


@contextmanager
def _kept(
    clip: Clip, show: Callable[[Frame], UInt8[np.ndarray, "height width 3"]]
) -> Iterator[Callable[[int], Iterator[Frame]]]:
    """Keep what the network is shown of each frame in a file; what is yielded takes 1 (forwards) or -1 (backwards)."""
    with TemporaryFile() as file:
        prompts: list[Labels] = []
        shape = (0, 0, 3)
        for frame in clip.frames():
            image = show(frame)
            prompts.append(frame.prompt)
            shape = image.shape
            file.write(np.ascontiguousarray(image).data)

        def frames(way: int) -> Iterator[Frame]:
            size = int(np.prod(shape))
            for index in range(len(prompts))[::way]:
                file.seek(index * size)
                image = np.frombuffer(file.read(size), dtype=np.uint8).reshape(shape)
                yield Frame(index, image, prompt=prompts[index])

        yield frames


def _checked(frame: Frame, state: _State) -> Labels:
    """The frame's prompt, one keypoint for each id."""
    given, where = frame.prompt, f"clip {state.clip.name!r}: frame {frame.index}"
    if len(given.ids) != len(given.keypoints) or (len(given.ids) and given.keypoints.shape[1] != 1):
        found = f"keypoints of shape {given.keypoints.shape} for {len(given.ids)} ids"
        raise DataError(f"{where} gives {found}; give each point one keypoint")
    if np.isin(given.ids, state.ids).any():
        raise DataError(f"{where} gives a point again, expected new ids; check its truth")
    last = state.options.query_mode == "first" and frame.index == state.clip.length - 1
    if last and not len(given.ids) and not len(state.ids):
        raise DataError(
            f"clip {state.clip.name!r}: no point in any prompt, expected one or more; check its truth"
        )
    return given


def _seen_size(size: tuple[int, ...], model: FrozenModel, options: PointTrackerOptions) -> tuple[int, int]:
    height, width = options.input_size or size
    unit = patch(model)
    return whole_patches(height, unit), whole_patches(width, unit)


def _geometry(state: _State, layer: str) -> _Geometry:
    size = (state.clip.height, state.clip.width)
    height, width = _seen_size(size, state.model, state.options)
    scale = np.array([width / size[1], height / size[0]])
    return _Geometry(scale, state.model.strides[layer], state.model.offsets[layer])
