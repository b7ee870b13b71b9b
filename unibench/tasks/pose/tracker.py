"""Pose propagation: the prompt's keypoints become belief maps that are propagated like masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from heads import pose
from heads.mask import MaskOptions, MaskState, begin, step
from unibench.errors import DataError
from unibench.features.batching import Steps
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.tasks.vos.tracker import patch, resize, whole_patches


@dataclass(frozen=True)
class PoseTrackerOptions:
    """Everything of pose propagation that changes a score, beside the model. The default is UniTrack's."""

    input_size: tuple[int, int] | None = (320, 320)
    """Height and width in pixels that frames are resized to, the aspect not kept; None: the frame as it is.
    Either is rounded to whole patches where the network has them."""
    propagation: MaskOptions = field(default_factory=MaskOptions)

    def __post_init__(self) -> None:
        if self.input_size is not None and min(self.input_size) < 1:
            raise ValueError(f"pose tracker: input_size {self.input_size}, expected 1 or more pixels a side")


@dataclass(frozen=True)
class _Geometry:
    """Pixels of the frame to cells of a layer and back."""

    scale: tuple[float, float]
    """Pixels of the input per pixel of the frame, x and y."""
    stride: int
    offset: float

    def to_cells(self, people: Float[np.ndarray, "person joint 3"]) -> Float[Tensor, "person joint 3"]:
        cells = people.astype(np.float32)
        cells[..., :2] = (people[..., :2] * self.scale - self.offset) / self.stride
        return torch.from_numpy(cells)

    def to_pixels(self, people: Float[Tensor, "person joint 3"]) -> Float[np.ndarray, "person joint 3"]:
        pixels = people.cpu().numpy().astype(np.float64)
        lost = pixels[..., 0] < 0
        pixels[..., :2] = (pixels[..., :2] * self.stride + self.offset) / self.scale
        pixels[lost] = (-1, -1, 0)
        return pixels


@dataclass(frozen=True, eq=False)
class _State:
    """What is known after a frame of a clip."""

    clip: Clip
    model: FrozenModel
    options: PoseTrackerOptions
    ids: Int[np.ndarray, " person"] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    layers: Mapping[str, MaskState] = field(default_factory=dict)
    """Each layer propagates on its own; none before frame 0."""


def _network_input(
    frame: Frame, model: FrozenModel, layers: Sequence[str], options: PoseTrackerOptions
) -> UInt8[np.ndarray, "height width 3"]:
    return resize(frame.image, _seen_size(frame, model, options))


def _begin(clip: Clip, model: FrozenModel, layers: Sequence[str], options: PoseTrackerOptions) -> _State:
    return _State(clip, model, options)


def _advance(state: _State, frame: Frame, maps: Mapping[str, Tensor]) -> tuple[_State, dict[str, Labels]]:
    size, options = _seen_size(frame, state.model, state.options), state.options.propagation
    grids = {layer: _geometry(frame, size, state.model, layer) for layer in maps}
    if not state.layers:
        prompt = _checked(frame.prompt, state.clip.name)
        layers = {}
        for layer, features in maps.items():
            cells = grids[layer].to_cells(prompt.keypoints).to(features.device)
            layers[layer] = begin(features, pose.encode_people(cells, *features.shape[1:]), options)
        return replace(state, ids=prompt.ids, layers=layers), dict.fromkeys(maps, prompt)
    layers, written = {}, {}
    for layer, features in maps.items():
        layers[layer] = step(state.layers[layer], features, options)
        people = pose.decode_people(layers[layer].labels, len(state.ids))
        written[layer] = Labels(ids=state.ids, keypoints=grids[layer].to_pixels(people))
    return replace(state, layers=layers), written


track = Steps(_network_input, _begin, _advance)
"""Propagate the keypoints of frame 0, which prompts with ids and keypoints; a joint whose third value is not above 0 is
not given.

For each frame and layer, it yields the prompt's ids with keypoints: x, y in pixels and the peak of the joint's belief
map, 0 to 1; a joint that is lost or was not given is (-1, -1, 0). For frame 0 the prompt itself. A DataError says that
the prompt has no keypoints.

Reference:
    "Do Different Tracking Tasks Require Different Appearance Models?" (UniTrack), NeurIPS 2021, section 3.1; input size
    and decoding as in its code of 2021.
"""


def _checked(prompt: Labels, clip_name: str) -> Labels:
    """The prompt's ids and keypoints."""
    if not len(prompt.keypoints):
        raise DataError(
            f"clip {clip_name!r}: no keypoints in the prompt, expected one pose or more; check frame 0's truth"
        )
    if len(prompt.keypoints) != len(prompt.ids):
        counts = f"{len(prompt.keypoints)} poses for {len(prompt.ids)} ids"
        raise DataError(f"clip {clip_name!r}: {counts} in the prompt; give each person one pose")
    return Labels(ids=prompt.ids, keypoints=prompt.keypoints)


def _seen_size(frame: Frame, model: FrozenModel, options: PoseTrackerOptions) -> tuple[int, int]:
    height, width = options.input_size or frame.image.shape[:2]
    unit = patch(model)
    return whole_patches(height, unit), whole_patches(width, unit)


def _geometry(frame: Frame, size: tuple[int, int], model: FrozenModel, layer: str) -> _Geometry:
    height, width = frame.image.shape[:2]
    return _Geometry((size[1] / width, size[0] / height), model.strides[layer], model.offsets[layer])
