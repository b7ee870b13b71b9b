"""Objects on a feature map -> the sets of point features that `heads.rsm` compares."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor
from torch.nn import functional

TRUNK = (2, 3, 9, 12, 8)  # right hip, left hip, left shoulder, neck, right shoulder
LIMBS = (
    *((9, 10), (10, 11), (8, 7), (7, 6), (9, 12), (8, 12), (12, 14)),
    *((9, 3), (3, 4), (4, 5), (8, 2), (2, 1), (1, 0)),
)
JOINTS = 15


def box_points(
    features: Float[Tensor, "channel h w"],
    boxes: Float[Tensor, "object 4"] | Float[np.ndarray, "object 4"],
    stride: int | float,
    offset: int | float,
    size: tuple[int, int] = (10, 4),
) -> tuple[Float[Tensor, "point channel"], ...]:
    """Average-pool each box to a grid of points, row by row. Where a box leaves the map its points are zero.

    Args:
        features: (channel, h, w), the map of one frame.
        boxes: (object, 4) xyxy, pixels of the network's input. A side shorter than a cell reads a whole cell.
        stride: pixels of the input per cell, > 0.
        offset: pixel on which cell 0 is centred (0 for ResNets, (patch - 1) / 2 for ViTs).
        size: (rows, columns) of the grid, each >= 1. Upright for
            pedestrians; the 2021 code has 4 x 10.

    Returns:
        For each box (rows * columns, channel), raw features.

    Raises:
        ValueError: a box is not finite, or stride or size is not positive.

    Reference:
        He et al., "Mask R-CNN", ICCV 2017, section 3 (RoIAlign); UniTrack, NeurIPS 2021, section 2.4.
    """
    if stride <= 0 or min(size) < 1:
        raise ValueError(
            f"box points: stride {stride} and size {size}, expected both > 0; check the protocol"
        )
    corners = np.asarray(torch.as_tensor(boxes).cpu(), dtype=np.float64)
    if not np.isfinite(corners).all():
        raise ValueError("box points: a box is not finite; check the detections")
    if not len(corners):
        return ()
    (h, w), table = (
        features.shape[1:],
        features.permute(1, 2, 0).flatten(0, 1),
    )  # no copy where channels are last
    cells, shares, counts = [], [], []
    for x1, y1, x2, y2 in (corners - offset) / stride:
        top, down = _pooling(y1, max(y2 - y1, 1.0), size[0], h)
        left, across = _pooling(x1, max(x2 - x1, 1.0), size[1], w)
        share = down[:, None, :, None] * across[None, :, None, :]
        cell = (top + np.arange(down.shape[1]))[:, None] * w + left + np.arange(across.shape[1])
        read = share != 0
        cells.append(np.broadcast_to(cell, share.shape)[read])
        shares.append(share[read])
        counts.append(read.sum(axis=(2, 3)).ravel())
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))[:-1]])
    index, start = (torch.from_numpy(one).to(table.device) for one in (np.concatenate(cells), starts))
    weights = torch.from_numpy(np.concatenate(shares)).to(table)
    pooled = functional.embedding_bag(index, table, start, mode="sum", per_sample_weights=weights)
    return tuple(pooled.reshape(len(corners), -1, len(features)))


def _pooling(
    start: float, length: float, bins: int, cells: int
) -> tuple[int, Float[np.ndarray, "{bins} window"]]:
    """What each bin of a box reads along one axis, as RoIAlign does: the mean of places at even steps, each between two
    cells; a place more than a cell off the map reads 0.

    Returns:
        The first cell that is read, and the share that the cells from there have in each bin.
    """
    steps = max(1, math.ceil(length / bins))
    at = start + (np.arange(bins * steps) + 0.5) * (length / (bins * steps))
    share = ((at >= -1) & (at <= cells)) / steps
    at = at.clip(0, cells - 1)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, cells - 1)
    shares = np.zeros((bins, high[-1] - low[0] + 1))
    into = np.repeat(np.arange(bins), steps)
    np.add.at(shares, (into, low - low[0]), (1 - at + low) * share)
    np.add.at(shares, (into, high - low[0]), (at - low) * share)
    return int(low[0]), shares


def mask_points(
    features: Float[Tensor, "channel h w"],
    mask: Bool[Tensor, "height width"] | Bool[np.ndarray, "height width"],
    max_points: int,
    *,
    bleed: bool = False,
    offset: int | float = 0,
) -> tuple[Float[Tensor, "point channel"], Bool[Tensor, "h w"]]:
    """Features of the cells on a mask; map and mask are shrunk first where there are too many of them.

    A mask that is too small to hit a cell's centre gives the one cell under its own centre (the 2021 code
    gives random noise); a mask without any pixel gives no points.

    Args:
        features: (channel, h, w), the map of one frame.
        mask: (height, width), True on the object; pixels of the network's input.
        max_points: how many points to aim at; rounding in the shrinking can give a few more. >= 1.
        bleed: how a shrunk map reads at the mask's border. False: the mean of the cells on the mask alone.
            True: the 2021 code, in which cells off the mask count as zeros. That shortens features at the
            border but keeps their direction, so RSM notices only a point that reads no cell on the mask at
            all: a zero feature.
        offset: pixel on which cell 0 is centred; there, and at each stride from there, the mask is read.

    Returns:
        (point, channel) raw features, and the (h, w) cells on the mask before shrinking.

    Raises:
        ValueError: max_points is less than 1.

    Reference:
        UniTrack, NeurIPS 2021, section 2.4; the shrinking is that of its code.
    """
    if max_points < 1:
        raise ValueError(f"mask points: max_points is {max_points}, expected >= 1; check the protocol")
    cells = _cells(torch.as_tensor(mask, device=features.device), features.shape[1:], offset)
    area = int(cells.sum())
    if area <= max_points:
        return features[:, cells].T, cells
    points = _shrunk_points(features, cells, (max_points / area) ** 0.5, bleed)
    if not len(points):  # the mask is too thin for its length: take cells at even steps instead
        steps = torch.linspace(0, area - 1, max_points, device=cells.device).round().long()
        points = features[:, cells].T[steps]
    return points, cells


def mask_box(cells: Bool[Tensor, "h w"]) -> Float[Tensor, " 4"]:
    """Box of a mask for motion and IoU: its mean cell plus and minus twice the mean absolute deviation.

    Args:
        cells: (h, w), True on the object.

    Returns:
        xyxy in feature cells (cell i is at coordinate i); the deviation counts as at least one cell, as in
        the 2021 code. Zeros for a mask without cells.

    Reference:
        UniTrack's 2021 code; the paper does not say how a mask becomes a box.
    """
    if not cells.any():
        return torch.zeros(4, device=cells.device)
    xy = cells.nonzero().flip(1).float()
    mean = xy.mean(0)
    reach = 2 * (xy - mean).abs().mean(0).clamp(min=1)
    return torch.cat([mean - reach, mean + reach])


def pose_mask(
    keypoints: Float[Tensor, "joint 3"] | Float[np.ndarray, "joint 3"], height: int, width: int
) -> Bool[Tensor, "height width"]:
    """Draw a PoseTrack pose as a mask: the trunk's convex hull and 13 limbs. All False without joints.

    Limbs are max(8, 1/20 of the longer side of the pose's box) pixels thick, with round ends. The nose is not
    drawn; its place counts for that box.

    Args:
        keypoints: (15, 3) x, y in pixels (truncated to integers) and a third value, > 0 where there is a
            joint.
        height: of the mask, pixels.
        width: of the mask, pixels.

    Returns:
        (height, width), True on the person; on the CPU.

    Raises:
        ValueError: there are not 15 joints, or one that exists is not finite.

    Reference:
        UniTrack, NeurIPS 2021, section 2.4; the drawing is that of its code.
    """
    joints, exists = _joints(keypoints)
    if len(joints) != JOINTS:
        raise ValueError(
            f"pose mask: {len(joints)} joints, expected {JOINTS}; use PoseTrack's joints and order"
        )
    canvas = np.zeros((height, width), dtype=bool)
    if not exists.any():
        return torch.from_numpy(canvas)
    joints = np.trunc(joints)
    _fill_hull(canvas, joints[[joint for joint in TRUNK if exists[joint]]])
    thickness = max(8, int(np.ptp(joints[exists], axis=0).max() / 20))
    for start, end in LIMBS:
        if exists[start] and exists[end]:
            _draw_limb(canvas, joints[start], joints[end], thickness / 2)
    return torch.from_numpy(canvas)


def pose_box(keypoints: Float[Tensor, "joint 3"] | Float[np.ndarray, "joint 3"]) -> Float[Tensor, " 4"]:
    """Tight box of the joints that exist; zeros if none does (the 2021 code gives a random box).

    Args:
        keypoints: (joint, 3) x, y in pixels and a third value, > 0 where there is a joint.

    Returns:
        xyxy, pixels.

    Raises:
        ValueError: a joint that exists is not finite.
    """
    joints, exists = _joints(keypoints)
    if not exists.any():
        return torch.zeros(4, dtype=torch.float64)
    there = joints[exists]
    return torch.from_numpy(np.concatenate([there.min(0), there.max(0)]))


def _cells(mask: Bool[Tensor, "height width"], size: torch.Size, offset: int | float) -> Bool[Tensor, "h w"]:
    """Nearest-resize a mask to the map: cell i reads the pixel on which it is centred."""
    sides = list(zip(size, mask.shape, strict=True))
    rows, columns = (
        (torch.arange(cells, device=mask.device) * (pixels / cells) + offset).long().clamp(max=pixels - 1)
        for cells, pixels in sides
    )
    cells = mask[rows][:, columns]
    if mask.any() and not cells.any():
        centre = mask.nonzero().double().mean(0).tolist()
        row, column = (
            min(max(round((at - offset) * side / pixels), 0), side - 1)
            for at, (side, pixels) in zip(centre, sides, strict=True)
        )
        cells[row, column] = True
    return cells


def _shrunk_points(
    features: Float[Tensor, "channel h w"], cells: Bool[Tensor, "h w"], scale: float, bleed: bool
) -> Float[Tensor, "point channel"]:
    """Shrink cells (nearest) and features x cells (bilinear); the features where the shrunk cells are on."""
    if int(min(cells.shape) * scale) < 1:
        return features.new_zeros(0, len(features))
    index = torch.arange(cells.numel(), device=cells.device).reshape(1, 1, *cells.shape)
    source = functional.interpolate(index.double(), scale_factor=scale, mode="nearest")[0, 0].long()
    small = cells.flatten()[source]
    points, weights = _read_between(features, cells, (small.nonzero() + 0.5) / scale - 0.5)
    if bleed:
        return points
    # A strong shrinking can read four cells off the mask; the cell that turned the point on is on the mask.
    own = features.flatten(1)[:, source[small]].T
    return torch.where(weights > 0, points / weights.where(weights > 0, 1), own)


def _read_between(
    features: Float[Tensor, "channel h w"], cells: Bool[Tensor, "h w"], at: Float[Tensor, "point 2"]
) -> tuple[Float[Tensor, "point channel"], Float[Tensor, "point 1"]]:
    """Bilinear sum of the cells on the mask around each place (row, column), and of their weights."""
    last = torch.tensor(cells.shape, device=at.device) - 1
    at = at.clamp(min=0)
    low = torch.minimum(at.long(), last)
    high = torch.minimum(low + 1, last)
    part = (at - low).to(features.dtype)
    points = features.new_zeros(len(at), len(features))
    weights = features.new_zeros(len(at), 1)
    for row, row_part in ((low[:, 0], 1 - part[:, 0]), (high[:, 0], part[:, 0])):
        for column, column_part in ((low[:, 1], 1 - part[:, 1]), (high[:, 1], part[:, 1])):
            weight = (row_part * column_part * cells[row, column])[:, None]
            points += features[:, row, column].T * weight
            weights += weight
    return points, weights


def _joints(
    keypoints: Tensor | np.ndarray,
) -> tuple[Float[np.ndarray, "joint 2"], Bool[np.ndarray, " joint"]]:
    """Places of the joints, and which of them exist."""
    array = torch.as_tensor(keypoints).cpu().double().numpy()
    exists = array[:, 2] > 0
    if not np.isfinite(array[exists]).all():
        raise ValueError("pose: a joint is not finite; give a joint that is missing a third value of 0")
    return array[:, :2], exists


def _window(
    canvas: Bool[np.ndarray, "height width"], places: Float[np.ndarray, "place 2"], margin: float
) -> tuple[Bool[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns 2"]]:
    """The part of the canvas around some places, as a view, and the x, y of its pixels."""
    limits = np.array(canvas.shape)[::-1]
    x1, y1 = np.clip(places.min(0) - margin, 0, limits).astype(int)
    x2, y2 = np.clip(places.max(0) + margin + 1, 0, limits).astype(int)
    grid = np.stack(np.meshgrid(np.arange(x1, x2), np.arange(y1, y2)), axis=-1)
    return canvas[y1:y2, x1:x2], grid.astype(float)


def _fill_hull(canvas: Bool[np.ndarray, "height width"], corners: Float[np.ndarray, "corner 2"]) -> None:
    if len(corners) < 3:
        return
    try:
        sides = ConvexHull(corners).equations
    except QhullError:  # all corners on one line
        return
    view, grid = _window(canvas, corners, 0.0)
    view |= (grid @ sides[:, :2].T + sides[:, 2] <= 1e-9).all(axis=-1)


def _draw_limb(
    canvas: Bool[np.ndarray, "height width"],
    start: Float[np.ndarray, " 2"],
    end: Float[np.ndarray, " 2"],
    radius: float,
) -> None:
    view, grid = _window(canvas, np.stack([start, end]), radius)
    along = end - start
    share = np.clip((grid - start) @ along / max(along @ along, 1), 0, 1)
    view |= np.linalg.norm(grid - start - share[..., None] * along, axis=-1) <= radius
