"""Video object segmentation: the prompt's masks are propagated through the clip by feature affinity."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

from heads.mask import MaskOptions, MaskState, begin, step
from unibench import rle
from unibench.errors import DataError
from unibench.models import FrozenModel
from unibench.records import Clip, Labels

ROUNDINGS: Mapping[str, Callable[[float], int]] = {
    "down": math.floor,
    "nearest": lambda units: math.floor(units + 0.5),
    "up": math.ceil,
}


@dataclass(frozen=True)
class MaskTrackerOptions:
    """Everything of VOS that changes a score, beside the model. The default is UniTrack's."""

    short_side: int | None = None
    """Pixels of the shorter side of what the network sees, the aspect kept; None: the frame as it is."""
    rounding: str = "nearest"
    """How sides become whole patches: `down`, `nearest` or `up`. Networks without patches take any size."""
    long_multiple: int | None = None
    """The longer side becomes a multiple of this (64 in DINO); None: of the patch."""
    propagation: MaskOptions = field(default_factory=MaskOptions)
    normalise_masks: bool = False
    """Each up-sampled map is stretched to 0 .. 1 before the arg-max (DINO)."""

    def __post_init__(self) -> None:
        if self.rounding not in ROUNDINGS:
            raise ValueError(f"mask tracker: rounding {self.rounding!r}; there are: {', '.join(ROUNDINGS)}")
        for name in ("short_side", "long_multiple"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"mask tracker: {name} {value}, expected 1 or more pixels")


def track(
    clip: Clip, model: FrozenModel, layers: Sequence[str], options: MaskTrackerOptions
) -> Iterator[dict[str, Labels]]:
    """Propagate the masks of frame 0, one pass of the network a frame for all layers.

    Args:
        clip: Frame 0 prompts with ids and masks; where masks overlap, the later one is on top.
        model: Whose features say what belongs together.
        layers: Layers of the model; each propagates on its own.
        options: The protocol.

    Yields:
        For each frame and layer the prompt's ids, each with its mask (empty where the object is not seen); masks do
        not overlap. For frame 0 the prompt itself.

    Raises:
        DataError: The prompt has no masks, or masks that do not fit the frame.

    Reference:
        "Do Different Tracking Tasks Require Different Appearance Models?" (UniTrack), NeurIPS 2021, section 3.1.
    """
    prompt = Labels()
    states: dict[str, MaskState] = {}
    for frame in clip.frames():
        height, width = frame.image.shape[:2]
        maps = see(frame.image, model, layers, _seen_size(height, width, model, layers, options))
        if not states:
            prompt = frame.prompt
            whole = one_hot(prompt, (height, width), clip.name).to(model.device)
            for layer in layers:
                states[layer] = begin(maps[layer], _resize(whole, maps[layer].shape[1:]), options.propagation)
            yield dict.fromkeys(layers, Labels(ids=prompt.ids, masks=prompt.masks))
            continue
        written = {}
        for layer in layers:
            states[layer] = step(states[layer], maps[layer], options.propagation)
            label = read_out(states[layer].labels, (height, width), normalise=options.normalise_masks)
            masks = tuple(rle.encode(label == index + 1) for index in range(len(prompt.ids)))
            written[layer] = Labels(ids=prompt.ids, masks=masks)
        yield written


@torch.inference_mode()
def see(
    image: UInt8[np.ndarray, "height width 3"],
    model: FrozenModel,
    layers: Sequence[str],
    size: tuple[int, int],
) -> dict[str, Float[Tensor, "channel h w"]]:
    """Run the network on one frame.

    Args:
        image: (height, width, 3) RGB.
        model: The network.
        layers: Layers of it.
        size: Height and width that the image is resized to (bilinear), pixels.

    Returns:
        Layer -> (channel, h, w).
    """
    if image.shape[:2] != size:
        image = np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    maps = model.network(model.prepare(image)[None], layers)
    return {layer: maps[layer][0] for layer in layers}


def patch(model: FrozenModel, layers: Sequence[str]) -> int:
    """Pixels that the sides of an input must be a multiple of: 1 for networks whose cell 0 is centred on pixel 0."""
    return math.lcm(*(model.strides[layer] for layer in layers if model.offsets[layer] > 0))


def whole_patches(side: int | float, unit: int, rounding: str = "nearest") -> int:
    """Round a side in pixels to a multiple of `unit`, at least one."""
    return max(1, ROUNDINGS[rounding](side / unit)) * unit


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
        raise DataError(
            f"clip {clip_name!r}: no mask in the prompt, expected one or more; check frame 0's truth"
        )
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
    labels: Float[Tensor, "label h w"], size: tuple[int, int], *, normalise: bool = False
) -> Int[np.ndarray, "{size[0]} {size[1]}"]:
    """Turn soft labels on cells into one label for each pixel.

    Args:
        labels: (label, h, w).
        size: Height and width of the frame.
        normalise: Stretch each label's map to 0 .. 1 first.

    Returns:
        (height, width), indices of labels; the lower one where two are equal.
    """
    maps = _resize(labels, size)
    if normalise:
        lowest = maps.amin(dim=(1, 2), keepdim=True)
        span = maps.amax(dim=(1, 2), keepdim=True) - lowest
        maps = torch.where(span > 0, (maps - lowest) / span, maps)
    return maps.argmax(dim=0).cpu().numpy()


def _resize(maps: Float[Tensor, "label rows columns"], size: Sequence[int]) -> Float[Tensor, "label h w"]:
    """Bilinear, half-pixel centres, no anti-aliasing, as all published protocols have it."""
    return F.interpolate(maps[None], size=tuple(size), mode="bilinear", align_corners=False)[0]


def _seen_size(
    height: int, width: int, model: FrozenModel, layers: Sequence[str], options: MaskTrackerOptions
) -> tuple[int, int]:
    unit = patch(model, layers)
    shorter, longer = sorted((height, width))
    short = whole_patches(options.short_side or shorter, unit, options.rounding)
    long = whole_patches(longer * short / shorter, options.long_multiple or unit, options.rounding)
    return (short, long) if height <= width else (long, short)
