"""Single-object tracking: the prompt's box follows the peak of a correlation head's response, over three scales."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from heads.correlation import CorrelationHead, State
from unibench import plugins
from unibench.errors import CardError, DataError, UnknownNameError
from unibench.features.batching import look
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Labels
from unibench.tasks.sot.presets import HEADS


@dataclass(frozen=True)
class BoxTrackerOptions:
    """Everything of SOT that changes a score, beside the model. The default is UniTrack's with its DCF head."""

    head: str = "dcf"
    """A key of `HEADS`: `dcf` (learns on), `xcorr` (the template of frame 0)."""
    head_options: Mapping[str, float | str] = field(default_factory=dict)
    """The head's own knobs, by name; what is not named has the head's default."""
    padding: float = 3.5
    """The search window's sides are 1 + padding times the target's."""
    crop_size: int = 520
    """Pixels of the window's side as the network sees it, rounded to an odd number of cells."""
    scales: int = 3
    """Number of scales searched, odd."""
    scale_step: float = 1.0275
    """Ratio of neighbouring scales."""
    scale_penalty: float = 0.985
    """Factor of the peaks of all scales but the middle one."""
    min_scale: float = 0.2
    """Smallest width and height, as shares of the first ones."""
    max_scale: float = 5.0
    """Largest width and height, as shares of the first ones; never above the frame's."""
    min_side: float = 4.0
    """Smallest width and height, pixels of the frame."""
    aim: float = 0.0
    """Pixels of the frame by which all windows lie off the target, right and down. The 2021 code takes 1 off the
    1-based truth twice and adds it back twice: -1."""

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise UnknownNameError("head of the box tracker", self.head, HEADS)
        if self.scales < 1 or self.scales % 2 == 0:
            raise ValueError(f"box tracker: scales {self.scales}, expected an odd number")
        for name in ("padding", "crop_size", "scale_step", "scale_penalty", "min_scale", "max_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"box tracker: {name} {getattr(self, name)}, expected more than 0")

    def ratios(self) -> Float[np.ndarray, " scale"]:
        """The scales searched, ascending, as ratios to the last size."""
        return self.scale_step ** np.arange(-(self.scales // 2), self.scales // 2 + 1, dtype=np.float64)


@dataclass(frozen=True)
class _Head:
    """The head that the options choose, with its own options."""

    functions: CorrelationHead
    options: Any


def _bind_head(options: BoxTrackerOptions) -> _Head:
    functions: CorrelationHead = plugins.resolve(HEADS[options.head])
    return _Head(functions, functions.options(**options.head_options))


@dataclass(frozen=True, eq=False)
class _Target:
    """Where the target is, and what it looks like. Pairs are (x, y), pixels of the frame."""

    centre: Float[np.ndarray, " 2"]
    """Of the windows: the target's, moved by the aim."""
    size: Float[np.ndarray, " 2"]
    appearance: State


@dataclass(frozen=True, eq=False)
class _WindowFeatures:
    """One layer of a model, looking at windows of a fixed number of cells."""

    model: FrozenModel
    layer: str
    cells: int

    @property
    def side(self) -> int:
        """Of a window as the network sees it, pixels."""
        return self.cells * self.model.strides[self.layer]

    def describe(
        self, image: Float[Tensor, "*frame 3 height width"], windows: Float[np.ndarray, "window 4"]
    ) -> Float[Tensor, "window channel size size"]:
        """Crop the windows and describe them."""
        return self.checked(self.model.maps(crop(image, windows, self.side), [self.layer]))

    def checked(self, maps: Mapping[str, Tensor]) -> Float[Tensor, "window channel size size"]:
        """Of the network's maps, its own, if it has the size that the card promises."""
        h, w = maps[self.layer].shape[2:]
        if (h, w) != (self.cells, self.cells):
            raise CardError(
                f"model {self.model.name!r}, layer {self.layer!r}: {h}x{w} cells for {self.side} pixels, expected "
                f"{self.cells}x{self.cells}; correct the layer's stride in the card"
            )
        return maps[self.layer]


def track(
    clip: Clip, model: FrozenModel, layers: Sequence[str], options: BoxTrackerOptions
) -> Iterator[dict[str, Labels]]:
    """Follow the box of frame 0; each layer on its own after it, since each looks where it believes the target to be.

    Args:
        clip: Frame 0 prompts with one id and its box.
        model: Whose features the head correlates.
        layers: Layers of the model.
        options: The protocol.

    Yields:
        For each frame and layer the prompt's id with one box, which may reach over the frame's border. For frame 0
        the prompt itself.

    Raises:
        DataError: The prompt is not one box with an area.
        CardError: A layer's map has not the size that its stride promises.

    Reference:
        "Do Different Tracking Tasks Require Different Appearance Models?" (UniTrack), NeurIPS 2021, section 3.2.
    """
    head = _bind_head(options)
    eyes = {
        layer: _WindowFeatures(model, layer, window_cells(options.crop_size, model.strides[layer]))
        for layer in layers
    }
    prompt = Labels()
    targets: dict[str, _Target] = {}
    limits = np.zeros((2, 2))
    for frame, image in look(clip.frames(), model):
        if not targets:
            prompt = Labels(ids=frame.prompt.ids, boxes=frame.prompt.boxes)
            box = _prompted_box(frame.prompt, clip.name)
            limits = _size_limits(box, (frame.image.shape[1], frame.image.shape[0]), options)
            targets = _begin(list(eyes.values()), image, box, head, options)
            yield dict.fromkeys(layers, prompt)
            continue
        targets = {
            layer: _step(eyes[layer], image, targets[layer], limits, head, options) for layer in layers
        }
        yield {
            layer: Labels(ids=prompt.ids, boxes=_boxes(target.centre - options.aim, target.size[None]))
            for layer, target in targets.items()
        }


def window_cells(crop_size: int, stride: int) -> int:
    """Number of cells along a window's side: odd, so that no shift falls on a cell, nearest to the size asked for.

    Args:
        crop_size: Side asked for, pixels.
        stride: Pixels per cell.
    """
    return 2 * (crop_size // (2 * stride)) + 1


def crop(
    image: Float[Tensor, "*frame 3 height width"], windows: Float[np.ndarray, "window 4"], side: int
) -> Float[Tensor, "window *frame 3 side side"]:
    """Warp windows to squares, bilinear; beyond the frame is 0, the mean colour.

    The centres of a square's first and last pixel lie on the window's edges x1 and x2 (as in DCFNet), so one pixel
    is (x2 - x1) / (side - 1) pixels of the frame.

    Args:
        image: Prepared frame; or the frames that a clip encoder is shown with it, all cropped at the same place.
        windows: xyxy, pixels of the frame.
        side: Pixels of the squares.
    """
    height, width = image.shape[-2:]
    steps = np.linspace(0.0, 1.0, side)
    starts, extents = windows[:, :2], windows[:, 2:] - windows[:, :2]
    points = starts[:, None] + steps[None, :, None] * extents[:, None]
    # -1 and 1 are the centres of the frame's first and last pixel.
    points = points * (2.0 / np.maximum([width - 1, height - 1], 1)) - 1.0
    x, y = torch.from_numpy(points).to(image).unbind(-1)
    grid = torch.stack([x[:, None, :].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=-1)
    planes = image.reshape(-1, height, width)
    cropped = F.grid_sample(
        planes.expand(len(windows), -1, -1, -1), grid, padding_mode="zeros", align_corners=True
    )
    return cropped.reshape(len(windows), *image.shape[:-2], side, side)


@torch.inference_mode()
def _begin(
    eyes: Sequence[_WindowFeatures],
    image: Tensor,
    box: Float[np.ndarray, " 4"],
    head: _Head,
    options: BoxTrackerOptions,
) -> dict[str, _Target]:
    """Learn the target on each layer: all start at the same place, so layers of one stride share the pass."""
    centre, size = (box[:2] + box[2:]) / 2 + options.aim, box[2:] - box[:2]
    window = _boxes(centre, size[None] * (1 + options.padding))
    targets = {}
    for side in dict.fromkeys(eye.side for eye in eyes):
        alike = [eye for eye in eyes if eye.side == side]
        maps = alike[0].model.maps(crop(image, window, side), [eye.layer for eye in alike])
        for eye in alike:
            appearance = head.functions.fit(eye.checked(maps)[0], options.padding, head.options)
            targets[eye.layer] = _Target(centre, size, appearance)
    return targets


@torch.inference_mode()
def _step(
    eye: _WindowFeatures,
    image: Tensor,
    target: _Target,
    limits: Float[np.ndarray, "2 2"],
    head: _Head,
    options: BoxTrackerOptions,
) -> _Target:
    """Find the target in the next frame; a head that learns then learns from where it was found."""
    windows = target.size * options.ratios()[:, None] * (1 + options.padding)
    best, shift = _locate(
        target.appearance, eye.describe(image, _boxes(target.centre, windows)), head, options
    )
    centre = target.centre + shift * windows[best] / eye.cells
    size = np.minimum(np.maximum(windows[best] / (1 + options.padding), limits[0]), limits[1])
    found = replace(target, centre=centre, size=size)
    if head.functions.update is None:
        return found
    features = eye.describe(image, _boxes(centre, size[None] * (1 + options.padding)))[0]
    appearance = head.functions.update(target.appearance, features, options.padding, head.options)
    return replace(found, appearance=appearance)


def _locate(
    appearance: State,
    search: Float[Tensor, "scale channel size size"],
    head: _Head,
    options: BoxTrackerOptions,
) -> tuple[int, Float[np.ndarray, " 2"]]:
    """Pick the scale with the highest peak and the shift (right, down) in cells of its window."""
    responses = head.functions.response(appearance, search, head.options)
    peaks = responses.amax(dim=(1, 2))
    penalties = torch.full_like(peaks, options.scale_penalty)
    penalties[options.scales // 2] = 1.0
    best = int((peaks * penalties).argmax())
    down, right = head.functions.displacement(appearance, responses[best], head.options)
    return best, np.array([right, down])


def _boxes(centre: Float[np.ndarray, " 2"], sizes: Float[np.ndarray, "box 2"]) -> Float[np.ndarray, "box 4"]:
    """Boxes (xyxy) of several sizes around one centre."""
    return np.concatenate([centre - sizes / 2, centre + sizes / 2], axis=1)


def _size_limits(
    box: Float[np.ndarray, " 4"], frame: tuple[int, int], options: BoxTrackerOptions
) -> Float[np.ndarray, "2 2"]:
    """Smallest and largest (width, height), pixels."""
    size = box[2:] - box[:2]
    smallest = np.maximum(options.min_scale * size, options.min_side)
    return np.stack([smallest, np.minimum(options.max_scale * size, frame)])


def _prompted_box(prompt: Labels, clip: str) -> Float[np.ndarray, " 4"]:
    if len(prompt.ids) != 1 or len(prompt.boxes) != 1:
        raise DataError(
            f"clip {clip!r}: prompt of {len(prompt.ids)} ids and {len(prompt.boxes)} boxes, expected one each; "
            "give frame 0 the target's box"
        )
    box: np.ndarray = prompt.boxes[0].astype(np.float64)
    if not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
        raise DataError(
            f"clip {clip!r}: prompted box {box.tolist()}, expected x1 < x2 and y1 < y2; correct the first truth"
        )
    return box
