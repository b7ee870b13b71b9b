"""Video object segmentation: the prompt's masks are propagated through the clip by feature affinity."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from heads.mask import MaskOptions, MaskState, begin, give, step
from unibench.errors import DataError
from unibench.features.batching import Steps
from unibench.geometry import masks as rle
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels, Rle

ROUNDINGS: Mapping[str, Callable[[float], int]] = {
    "down": math.floor,
    "nearest": lambda units: math.floor(units + 0.5),
    "up": math.ceil,
}
RESAMPLINGS: Mapping[str, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
MODES: Mapping[str, dict[str, Any]] = {
    "bilinear": {"mode": "bilinear", "align_corners": False},
    "nearest": {"mode": "nearest"},
    "nearest-exact": {"mode": "nearest-exact"},
}
"""How label maps are resized, as torch calls it: `nearest-exact` takes the cell under a pixel's centre, `nearest` that
under its upper left corner."""


@dataclass(frozen=True)
class MaskTrackerOptions:
    """Everything of VOS that changes a score, beside the model. The default is UniTrack's."""

    short_side: int | None = None
    """Pixels of the shorter side of what the network sees; None: the frame as it is."""
    long_side: int | None = None
    """Pixels of the longer side, whatever the aspect (CropMAE); None: the aspect is kept."""
    rounding: str = "nearest"
    """How sides become whole patches: `down`, `nearest` or `up`. Networks without patches take any size."""
    long_multiple: int | None = None
    """The longer side becomes a multiple of this (64 in DINO); None: of the patch."""
    image_mode: str = "bilinear"
    """How a frame is resized: `bilinear`, or `bicubic` (DINOv3)."""
    prompt_mode: str = "bilinear"
    """How the prompt's masks become labels of cells: one of `MODES`; `nearest-exact` in DINO and DINOv3."""
    propagation: MaskOptions = field(default_factory=MaskOptions)
    mask_mode: str = "bilinear"
    """How labels of cells become labels of pixels: one of `MODES`; `nearest` in DINOv3."""
    normalise_masks: bool = False
    """Each up-sampled map is stretched to 0 .. 1 before the arg-max (DINO, DINOv3)."""

    def __post_init__(self) -> None:
        known = {"rounding": ROUNDINGS, "image_mode": RESAMPLINGS, "prompt_mode": MODES, "mask_mode": MODES}
        for name, choices in known.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"mask tracker: {name} {value!r}; there are: {', '.join(choices)}")
        for name in ("short_side", "long_side", "long_multiple"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"mask tracker: {name} {value}, expected 1 or more pixels")


@dataclass(frozen=True, eq=False)
class _State:
    """What is known after a frame of a clip."""

    clip: Clip
    options: MaskTrackerOptions
    ids: Int[np.ndarray, " object"] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Those given so far."""
    layers: Mapping[str, MaskState] = field(default_factory=dict)
    """Each layer propagates on its own; none before the first prompt."""


def _network_input(
    frame: Frame, model: FrozenModel, layers: Sequence[str], options: MaskTrackerOptions
) -> UInt8[np.ndarray, "height width 3"]:
    height, width = frame.image.shape[:2]
    return resize(frame.image, seen_size(height, width, model, options), options.image_mode)


def _begin(clip: Clip, model: FrozenModel, layers: Sequence[str], options: MaskTrackerOptions) -> _State:
    return _State(clip, options)


def _advance(state: _State, frame: Frame, maps: Mapping[str, Tensor]) -> tuple[_State, dict[str, Labels]]:
    given, clip = frame.prompt, state.clip
    size = frame.image.shape[:2]
    ids = np.concatenate([state.ids, given.ids])
    if not len(ids):
        if frame.index == clip.length - 1:
            raise DataError(
                f"clip {clip.name!r}: no mask in any prompt, expected one or more; check its truth"
            )
        return state, dict.fromkeys(maps, Labels())
    if np.isin(given.ids, state.ids).any():
        raise DataError(
            f"clip {clip.name!r}: frame {frame.index} gives an object again, expected new ids; check its truth"
        )
    prompt = one_hot(given, size, clip.name) if len(given.ids) else None
    layers, written = {}, {}
    for layer, features in maps.items():
        past = state.layers.get(layer)
        layers[layer], masks = _follow(past, features, prompt, size, state.options)
        written[layer] = Labels(ids=ids, masks=masks + given.masks)
    return replace(state, ids=ids, layers=layers), written


track = Steps(_network_input, _begin, _advance)
"""Propagate the masks of the prompts; where masks of a prompt overlap, the later one is on top.

Published protocols give all objects in frame 0. The frame that gives an object later (YouTube-VOS) is kept as a source
throughout, as frame 0 is; the object's label is 0 in all earlier frames.

For each frame and layer, it yields the ids given so far, each with its mask (empty where the object is not seen); masks
do not overlap. In the frame of its prompt an object has the mask given. A DataError says that no frame prompts, that an
id is given twice, or that masks do not fit the frame or the ids.

Reference:
    "Do Different Tracking Tasks Require Different Appearance Models?" (UniTrack), NeurIPS 2021, section 3.1.
"""


def _follow(
    state: MaskState | None,
    features: Float[Tensor, "channel h w"],
    prompt: Float[Tensor, "label height width"] | None,
    size: tuple[int, int],
    options: MaskTrackerOptions,
) -> tuple[MaskState, tuple[Rle, ...]]:
    """Propagate into one frame, then take in its prompt.

    Returns:
        The state, and the masks of the objects that were given before; the prompt's lie on top of them.
    """
    masks: tuple[Rle, ...] = ()
    if state is not None:
        state = step(state, features, options.propagation)
        label = read_out(state.labels, size, options.mask_mode, normalise=options.normalise_masks)
        if prompt is not None:
            label[prompt[0].numpy() == 0] = 0
        masks = tuple(rle.encode(label == index) for index in range(1, len(state.labels)))
    if prompt is None:
        assert state is not None
        return state, masks
    labels = _resize(prompt.to(features.device), features.shape[1:], options.prompt_mode)
    if state is None:
        return begin(features, labels, options.propagation), masks
    return give(state, labels[1:], options.propagation), masks


def resize(
    image: UInt8[np.ndarray, "height width 3"], size: tuple[int, int], mode: str = "bilinear"
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Resize a frame with anti-aliasing; one of that size stays as it is.

    Args:
        image: (height, width, 3) RGB.
        size: Height and width, pixels.
        mode: How: one of `RESAMPLINGS`.
    """
    if image.shape[:2] == size:
        return image
    return np.array(Image.fromarray(image).resize(size[::-1], RESAMPLINGS[mode]))


def patch(model: FrozenModel) -> int:
    """Pixels that the sides of an input must be a multiple of: 1 for networks whose cell 0 is centred on pixel 0.

    All layers of the card count, whichever are asked for: a layer gives the same alone and with others.
    """
    return math.lcm(*(stride for layer, stride in model.strides.items() if model.offsets[layer] > 0))


def whole_patches(side: int | float, unit: int, rounding: str = "nearest") -> int:
    """Round a side in pixels to a multiple of `unit`, at least one."""
    return max(1, ROUNDINGS[rounding](side / unit)) * unit


def seen_size(height: int, width: int, model: FrozenModel, options: MaskTrackerOptions) -> tuple[int, int]:
    """Height and width in pixels of what the network sees of frames of a size."""
    unit = patch(model)
    shorter, longer = sorted((height, width))
    short = whole_patches(options.short_side or shorter, unit, options.rounding)
    long_side = options.long_side or longer * short / shorter
    long = whole_patches(long_side, options.long_multiple or unit, options.rounding)
    return (short, long) if height <= width else (long, short)


def one_hot(
    prompt: Labels, size: tuple[int, int], clip_name: str
) -> Float[Tensor, "label {size[0]} {size[1]}"]:
    """Give each pixel to one object or to the background.

    Args:
        prompt: Ids and masks.
        size: Height and width of the frame.
        clip_name: For messages.

    Returns:
        (1 + object, height, width), the background first; sums to 1.

    Raises:
        DataError: No masks, not one an id, or of another size.
    """
    if not prompt.masks:
        raise DataError(f"clip {clip_name!r}: no mask in the prompt, expected one or more; check its truth")
    if len(prompt.masks) != len(prompt.ids):
        counts = f"{len(prompt.masks)} masks for {len(prompt.ids)} ids"
        raise DataError(f"clip {clip_name!r}: {counts} in the prompt; give each object one mask")
    index = np.zeros(size, dtype=np.int64)
    for position, mask in enumerate(prompt.masks):
        if tuple(mask["size"]) != size:
            sizes = f"{tuple(mask['size'])}, expected that of the frame {size}"
            raise DataError(
                f"clip {clip_name!r}: a mask of the prompt has the size {sizes}; check its annotation"
            )
        index[rle.decode(mask)] = position + 1
    return F.one_hot(torch.from_numpy(index), len(prompt.masks) + 1).permute(2, 0, 1).float()


@torch.inference_mode()
def read_out(
    labels: Float[Tensor, "label h w"],
    size: tuple[int, int],
    mode: str = "bilinear",
    *,
    normalise: bool = False,
) -> Int[np.ndarray, "{size[0]} {size[1]}"]:
    """Turn soft labels on cells into one label for each pixel.

    Args:
        labels: (label, h, w).
        size: Height and width of the frame.
        mode: How the maps are up-sampled: one of `MODES`.
        normalise: Stretch each label's map to 0 .. 1 first.

    Returns:
        (height, width), indices of labels; the lower one where two are equal.
    """
    maps = _resize(labels, size, mode)
    if normalise:
        lowest = maps.amin(dim=(1, 2), keepdim=True)
        span = maps.amax(dim=(1, 2), keepdim=True) - lowest
        maps = torch.where(span > 0, (maps - lowest) / span, maps)
    return (
        maps.max(dim=0).indices.cpu().numpy()
    )  # as argmax, which takes ten times as long over the first axis


def _resize(
    maps: Float[Tensor, "label rows columns"], size: Sequence[int], mode: str
) -> Float[Tensor, "label h w"]:
    """No anti-aliasing, as all published protocols have it; bilinear with half-pixel centres."""
    return F.interpolate(maps[None], size=tuple(size), **MODES[mode])[0]
