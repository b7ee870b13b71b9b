"""Reconstruction similarity of two sets of objects: how well is each rebuilt from the points of another?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

INVERSE_TEMPERATURE = 100.0
VARIANTS = ("paper", "as-coded", "mass", "pooled")
_TINY = 1e-12  # a shorter vector counts as zero, as in torch's `normalize`


@dataclass(frozen=True, eq=False)
class _Objects:
    """The points of all objects of one side, one after the other."""

    points: Float[Tensor, "point channel"]
    sizes: list[int]

    def pooled(self, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """Reduce the points of each object to one row."""
        return torch.stack([reduce(points) for points in torch.split(self.points, self.sizes)])


def similarity(
    tracks: Sequence[Float[Tensor, "_point _channel"]],
    detections: Sequence[Float[Tensor, "_point _channel"]],
    variant: str = "paper",
) -> Float[Tensor, "track detection"]:
    """Reconstruction similarity (RSM) of every track with every detection; each pair depends on all objects.

    Each point of a track is rebuilt from the points of one detection, with the weights of a soft-max over the
    points of all detections, and the other way round; the similarity is the mean of the two cosines between
    the objects and their reconstructions, each flattened. Objects may differ in their number of points. A
    tracklet that remembers K observations is the concatenation of their points. An object without points is
    alike to nothing: its similarities are 0.

    A cosine ignores length, so attention that all but vanishes does not lower the similarity (down to 1e-12,
    below which a reconstruction counts as zero); `mass` does what the paper says of this.

    Args:
        tracks: for each track (point, channel), raw features; they are L2-normalised here.
        detections: the same for each detection, with the same number of channels.
        variant: `paper`: equation 2. `as-coded`: the 2021 code, which pads the objects of a side with zeros
            to the longest and lets the padding take part, as keys and as queries; equal to `paper` where the
            objects of a side have the same size. `mass`: each cosine times the share of the rebuilt object's
            attention that falls on the other object, so that it goes to 0 with the attention. `pooled`: the
            cosine of the averaged raw features, the baseline that reconstructs nothing.

    Returns:
        (track, detection), -1 to 1, higher is more alike; cost is 1 - similarity.

    Raises:
        ValueError: the variant is unknown, a feature is not finite, or the numbers of channels differ.

    Reference:
        Wang et al., "Do Different Tracking Tasks Require Different Appearance Models?" (UniTrack), NeurIPS
        2021, section 2.4, equation 2 and figure 5.
    """
    first, second = _gather(tracks, detections, variant)
    if not len(first.points) or not len(second.points):
        return first.points.new_zeros(len(tracks), len(detections))
    if variant == "pooled":
        means = [functional.normalize(side.pooled(_mean), dim=1) for side in (first, second)]
        return (means[0] @ means[1].T).clamp(-1, 1)
    first, second = (_Objects(functional.normalize(s.points, dim=1), s.sizes) for s in (first, second))
    affinity = first.points @ second.points.T
    forward = _directed(affinity.T, second, first, variant)
    backward = _directed(affinity, first, second, variant)
    return ((forward.T + backward) / 2).clamp(-1, 1)


def _directed(
    affinity: Float[Tensor, "key query"], keys: _Objects, queries: _Objects, variant: str
) -> Float[Tensor, "keys queries"]:
    """Cosine of each query object with its reconstruction from each key object.

    The reconstructions themselves, (query points x key objects x channels), are never formed. With the
    weights P of a block, its affinity A, and the Gram matrix G = K K^T of the key object's points K, the
    inner product of a query point with its reconstruction is sum(P * A), the latter's squared length P G P^T.
    Blocks go one by one and in one piece, small enough for a core's cache; the sum of the soft-max, which
    none of them knows, is divided by at the end.
    """
    padding = _padding(keys) if variant == "as-coded" else 0  # zeros, whose logits are 0
    peak = affinity.amax(0).clamp(min=0) if padding else affinity.amax(0)
    sums = []
    for rows, points in zip(
        *(torch.split(side, keys.sizes) for side in (affinity, keys.points)), strict=True
    ):
        alike = rows.contiguous()
        weight = (alike - peak).mul_(INVERSE_TEMPERATURE).exp_()
        square = ((points @ points.T) @ weight).mul_(weight).sum(0)
        sums.append(torch.stack([(weight * alike).sum(0), square, weight.sum(0)]))
    inner, square, mass = torch.stack(sums, dim=1)
    whole = mass.sum(0) + padding * torch.exp(-INVERSE_TEMPERATURE * peak)
    by_point = torch.stack([inner / whole, square / whole.square(), mass / whole])
    by_object = torch.split(by_point, queries.sizes, dim=2)
    inner, square, mass = torch.stack([points.sum(2) for points in by_object], dim=2)
    if variant == "as-coded":
        square = square + _padded_square(keys, queries)
    length = queries.pooled(torch.linalg.vector_norm).clamp(min=_TINY)
    cosine: Tensor = inner / length / square.clamp(min=0).sqrt().clamp(min=_TINY)
    if variant == "mass":
        cosine = cosine * mass / mass.new_tensor(queries.sizes).clamp(min=1)
    return cosine


def _padding(objects: _Objects) -> int:
    return len(objects.sizes) * max(objects.sizes) - sum(objects.sizes)


def _padded_square(keys: _Objects, queries: _Objects) -> Float[Tensor, "keys queries"]:
    """Squared length that the padded queries add: each attends evenly to all keys, the padded ones too."""
    missing = queries.points.new_tensor([max(queries.sizes) - size for size in queries.sizes])
    evenly = keys.pooled(lambda points: points.sum(0)) / (len(keys.sizes) * max(keys.sizes))
    return evenly.square().sum(1)[:, None] * missing


def _mean(points: Float[Tensor, "point channel"]) -> Float[Tensor, " channel"]:
    return points.sum(0) / max(len(points), 1)


def _gather(
    tracks: Sequence[Tensor], detections: Sequence[Tensor], variant: str
) -> tuple[_Objects, _Objects]:
    """Check the arguments and lay out each side; half precision becomes single."""
    if variant not in VARIANTS:
        raise ValueError(f"rsm: unknown variant {variant!r}; there are: {', '.join(VARIANTS)}")
    objects = [*tracks, *detections]
    channels = sorted({points.shape[1] for points in objects})
    if len(channels) > 1:
        raise ValueError(
            f"rsm: features with {channels} channels, expected one number; compare features of one layer"
        )
    like = objects[0] if objects else torch.empty(0, 0)
    dtype = torch.promote_types(like.dtype, torch.float32)
    sides = []
    for name, side in (("track", tracks), ("detection", detections)):
        points = torch.cat([like[:0], *side]).to(dtype)
        if not points.isfinite().all():
            raise ValueError(f"rsm: a {name} has features that are not finite; check the network's output")
        sides.append(_Objects(points, [len(item) for item in side]))
    return sides[0], sides[1]
