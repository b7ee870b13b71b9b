"""Keypoints as Gaussian belief maps that are propagated like masks."""

from collections.abc import Iterable, Iterator
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor

from heads import mask
from heads.mask import MaskOptions

PEAKS = 3
"""Cells that a joint's position is the mean of."""


def encode(
    keypoints: Float[Tensor, "joint 3"], h: int, w: int, *, smallest: float = 0.5, spread: float = 0.015
) -> Float[Tensor, "joint_and_background {h} {w}"]:
    """Draw each joint as a Gaussian of peak 1 around its nearest cell, cut off at 3 sigma.

    sigma = max(smallest, spread * the longer side of the pose) in cells; videowalk has spread 0.

    Args:
        keypoints: (joint, 3): x, y in cells (cell i is centred on i); a third value, > 0 where the joint is labelled.
        h: rows of the map.
        w: columns of the map.
        smallest: least sigma in cells.
        spread: sigma as a fraction of the longer side of the box around the labelled joints.

    Returns:
        (joint + 1, h, w): a map for each joint, all 0 where it is not labelled or too far outside; last the
        background, 1 where all joints are 0.

    Reference:
        Zhongdao/UniTrack on GitHub (2021), the JHMDB loader; Wang et al., NeurIPS 2021.
    """
    seen = (keypoints[:, 2] > 0) & torch.isfinite(keypoints).all(dim=1)
    places = keypoints[:, :2].nan_to_num()
    extent = (places[seen].amax(0) - places[seen].amin(0)).max().item() if seen.any() else 0.0
    sigma = max(smallest, spread * extent)
    peak = torch.floor(places + 0.5)
    dx, dy = (
        torch.arange(size, device=keypoints.device) - centre[:, None]
        for size, centre in ((w, peak[:, 0]), (h, peak[:, 1]))
    )
    squared = dy[:, :, None] ** 2 + dx[:, None, :] ** 2
    stamp = torch.maximum(dy.abs()[:, :, None], dx.abs()[:, None, :]) <= 3 * sigma
    joints = torch.exp(-squared / (2 * sigma**2)) * (stamp & seen[:, None, None])
    background = (joints == 0).all(dim=0, keepdim=True)
    return torch.cat([joints, background.to(joints)])


def decode(maps: Float[Tensor, "joint_and_background h w"]) -> Float[Tensor, "joint 2"]:
    """Place each joint at the mean of its three best cells, weighted by their values.

    Args:
        maps: (joint + 1, h, w) belief maps, the background last.

    Returns:
        (joint, 2): x, y in cells; (-1, -1) where a map sums to 0.
    """
    joints = maps[:-1].flatten(1)
    values, cells = joints.topk(min(PEAKS, joints.shape[1]), dim=1)
    width = maps.shape[2]
    places = torch.stack([cells % width, cells // width], dim=2).to(values)
    total = values.sum(dim=1, keepdim=True)
    means = (places * values[:, :, None]).sum(dim=1) / total
    return torch.where(joints.sum(dim=1, keepdim=True) == 0, -1.0, means)


def encode_people(keypoints: Float[Tensor, "person joint 3"], h: int, w: int) -> Float[Tensor, "map {h} {w}"]:
    """Draw the maps of several people: (person * (joint + 1), h, w), one person after another, see `encode`."""
    return torch.cat([encode(person, h, w) for person in keypoints])


def decode_people(maps: Float[Tensor, "map h w"], people: int) -> Float[Tensor, "{people} joint 3"]:
    """Place the joints of several people.

    Args:
        maps: (person * (joint + 1), h, w) belief maps.
        people: their number.

    Returns:
        (person, joint, 3): x, y in cells, see `decode`, and the peak of the joint's map; (-1, -1, 0) where it is lost.
    """
    each = maps.chunk(people)
    return torch.stack([torch.cat([decode(m), m[:-1].amax(dim=(1, 2))[:, None]], dim=1) for m in each])


def propagate(
    features: Iterable[Float[Tensor, "channel h w"]],
    keypoints: Float[Tensor, "person joint 3"],
    options: MaskOptions = MaskOptions(),  # noqa: B008 - frozen
) -> Iterator[Float[Tensor, "person joint 3"]]:
    """Carry the keypoints of frame 0 through a clip, streaming like `heads.mask.propagate`.

    Args:
        features: for each frame (channel, h, w).
        keypoints: (person, joint, 3) of frame 0: x, y in cells and a third value, > 0 where the joint is labelled.
        options: see `MaskOptions`.

    Yields:
        (person, joint, 3) for frame 0, 1, 2, ...: x, y in cells and the peak of the joint's belief map, 0 to 1; a
        lost joint is (-1, -1, 0). Frame 0 is what its own maps decode to: joints on whole cells.

    Raises:
        ValueError: as `heads.mask.propagate`; there is no person.

    Reference:
        Wang et al., UniTrack, NeurIPS 2021, section 3.1; Jabri et al., Space-time correspondence as a contrastive
        random walk, NeurIPS 2020, section 4 (JHMDB).
    """
    if not len(keypoints):
        raise ValueError("pose propagation: no person in the keypoints of frame 0, expected 1 or more")
    frames = iter(features)
    for first in frames:
        maps = encode_people(keypoints.to(first.device), *first.shape[-2:])
        for read in mask.propagate(chain([first], frames), maps, options):
            yield decode_people(read, len(keypoints))
