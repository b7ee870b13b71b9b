"""Pose propagation: the prompt's keypoints become belief maps that are propagated like masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from heads import pose
from heads.mask import MaskOptions, MaskState, begin, step
from unibench.errors import DataError
from unibench.models import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.trackers.mask import patch, see, whole_patches


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


def track(
    clip: Clip, model: FrozenModel, layers: Sequence[str], options: PoseTrackerOptions
) -> Iterator[dict[str, Labels]]:
    """Propagate the keypoints of frame 0, one pass of the network a frame for all layers.

    Args:
        clip: Frame 0 prompts with ids and keypoints; a joint whose third value is not above 0 is not given.
        model: Whose features say what belongs together.
        layers: Layers of the model; each propagates on its own.
        options: The protocol.

    Yields:
        For each frame and layer the prompt's ids with keypoints: x, y in pixels and the peak of the joint's belief
        map, 0 to 1; a joint that is lost or was not given is (-1, -1, 0). For frame 0 the prompt itself.

    Raises:
        DataError: The prompt has no keypoints.

    Reference:
        "Do Different Tracking Tasks Require Different Appearance Models?" (UniTrack), NeurIPS 2021, section 3.1;
        input size and decoding as in its code of 2021.
    """
    prompt = Labels()
    states: dict[str, MaskState] = {}
    geometries: dict[str, _Geometry] = {}
    for frame in clip.frames():
        size = _seen_size(frame, model, layers, options)
        maps = see(frame.image, model, layers, size)
        if not states:
            prompt = _checked(frame.prompt, clip.name)
            for layer in layers:
                geometries[layer] = _geometry(frame, size, model, layer)
                cells = geometries[layer].to_cells(prompt.keypoints).to(model.device)
                beliefs = pose.encode_people(cells, *maps[layer].shape[1:])
                states[layer] = begin(maps[layer], beliefs, options.propagation)
            yield dict.fromkeys(layers, prompt)
            continue
        written = {}
        for layer in layers:
            states[layer] = step(states[layer], maps[layer], options.propagation)
            people = pose.decode_people(states[layer].labels, len(prompt.ids))
            written[layer] = Labels(ids=prompt.ids, keypoints=geometries[layer].to_pixels(people))
        yield written


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


def _seen_size(
    frame: Frame, model: FrozenModel, layers: Sequence[str], options: PoseTrackerOptions
) -> tuple[int, int]:
    height, width = options.input_size or frame.image.shape[:2]
    unit = patch(model, layers)
    return whole_patches(height, unit), whole_patches(width, unit)


def _geometry(frame: Frame, size: tuple[int, int], model: FrozenModel, layer: str) -> _Geometry:
    height, width = frame.image.shape[:2]
    return _Geometry((size[1] / width, size[0] / height), model.strides[layer], model.offsets[layer])
