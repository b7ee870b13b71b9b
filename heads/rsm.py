"""Reconstruction similarity of two sets of objects: how well is each rebuilt from the points of another?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

INVERSE_TEMPERATURE = 100.0
VARIANTS = ("paper", "as-coded", "mass", "pooled")
PRODUCTS = 2**23
"""Inner products that are held at a time, 32 MiB in float32, however many objects there are."""
BLOCK = 2**16
"""Of these, how many one call turns into weights: 256 KiB stay in a processor's cache."""
_TINY = 1e-12  # a shorter vector counts as zero, as in torch's `normalize`
_VANISHED = -73.0
"""Logit below which a weight counts as zero: it is 2e-32, far too short to be seen beside `_TINY`, and its products are
denormal numbers, with which processors compute ten times slower."""
_LEAST = 1.98e-32
"""The weight of such a logit."""
_RAISED = 2.0**43
"""Lengths are computed as so many times themselves, and their squares do not become denormal either; exact."""


@dataclass(frozen=True, eq=False)
class _Objects:
    """The points of all objects of one side, one after the other."""

    points: Float[Tensor, "point channel"]
    sizes: list[int]
    longest: int
    """Points of the largest object of the side, which may not be among these."""

    def pooled(self, reduce: Callable[[Tensor], Tensor]) -> Tensor:
        """Reduce the points of each object to one row."""
        return torch.stack([reduce(points) for points in torch.split(self.points, self.sizes)])

    def parts(self, most: int, *, even: bool = False) -> "Iterator[_Objects]":
        """Split into runs of objects with at most so many points together; a larger object is alone.

        Args:
            most: Points of a run.
            even: Whether the objects of a run have one size.
        """
        start, first, count = 0, 0, 0
        for last, size in enumerate([*self.sizes, most + 1]):
            full = count + size > most or (even and size != self.sizes[first])
            if full and last > first:
                yield _Objects(self.points[start : start + count], self.sizes[first:last], self.longest)
                start, first, count = start + count, last, 0
            count += size


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
    first, second = (
        replace(side, points=functional.normalize(side.points, dim=1)) for side in (first, second)
    )
    if len(first.points) * len(second.points) <= PRODUCTS:
        affinity = first.points @ second.points.T
        forward = _directed(affinity.T.contiguous(), second, first, variant)
        backward = _directed(affinity, first, second, variant)
    else:  # products that cannot be held are taken twice: each soft-max needs whole columns
        forward, backward = _in_parts(second, first, variant), _in_parts(first, second, variant)
    return ((forward.T + backward) / 2).clamp(-1, 1)


def _in_parts(keys: _Objects, queries: _Objects, variant: str) -> Float[Tensor, "keys queries"]:
    """As `_directed`, for a few query objects at a time."""
    parts = queries.parts(max(PRODUCTS // len(keys.points), 1))
    return torch.cat([_directed(keys.points @ part.points.T, keys, part, variant) for part in parts], dim=1)


def _directed(
    affinity: Float[Tensor, "key query"], keys: _Objects, queries: _Objects, variant: str
) -> Float[Tensor, "keys queries"]:
    """Cosine of each query object with its reconstruction from each key object.

    The reconstructions themselves, (query points x key objects x channels), are never formed. With the
    weights P of a block, its affinity A, and the Gram matrix G = K K^T of the key object's points K, the
    inner product of a query point with its reconstruction is sum(P * A), the latter's squared length P G P^T.
    Blocks of one size go some at a time; the sum of the soft-max, which none of them knows, is divided by at the end.
    """
    padding = _padding(keys) if variant == "as-coded" else 0  # zeros, whose logits are 0
    peak = affinity.amax(0).clamp(min=0) if padding else affinity.amax(0)
    sums = affinity.new_empty(3, len(keys.sizes), affinity.shape[1])
    first, start = 0, 0
    for run in keys.parts(max(BLOCK // max(affinity.shape[1], 1), 1), even=True):
        last, stop = first + len(run.sizes), start + len(run.points)
        block = len(run.sizes), run.sizes[0]
        alike = affinity[start:stop].view(*block, affinity.shape[1])
        points = run.points.view(*block, run.points.shape[1])
        # Zeros are put in after the exponential, which takes four times as long over infinite and denormal values.
        logits = (alike - peak).mul_(INVERSE_TEMPERATURE).clamp_(min=_VANISHED)
        weight = torch.threshold_(logits.exp_(), _LEAST, 0.0)
        square = ((points @ points.mT).mul_(_RAISED**2) @ weight).mul_(weight)
        for total, by_key in zip(sums, (weight * alike, square, weight), strict=True):
            torch.sum(by_key, 1, out=total[first:last])
        first, start = last, stop
    inner, square, mass = sums
    whole = mass.sum(0)
    if padding:  # else the peak may be so low that this is infinite
        whole = whole + padding * torch.exp(-INVERSE_TEMPERATURE * peak)
    by_point = torch.stack([inner / whole, square / whole.square(), mass / whole])
    by_object = torch.split(by_point, queries.sizes, dim=2)
    inner, square, mass = torch.stack([points.sum(2) for points in by_object], dim=2)
    if variant == "as-coded":
        square = square + _RAISED**2 * _padded_square(keys, queries)
    length = queries.pooled(torch.linalg.vector_norm).clamp(min=_TINY)
    rebuilt = square.clamp(min=0).sqrt() / _RAISED
    cosine: Tensor = inner / length / rebuilt.clamp(min=_TINY)
    if variant == "mass":
        cosine = cosine * mass / mass.new_tensor(queries.sizes).clamp(min=1)
    return cosine


def _padding(objects: _Objects) -> int:
    return len(objects.sizes) * objects.longest - sum(objects.sizes)


def _padded_square(keys: _Objects, queries: _Objects) -> Float[Tensor, "keys queries"]:
    """Squared length that the padded queries add: each attends evenly to all keys, the padded ones too."""
    missing = queries.points.new_tensor([queries.longest - size for size in queries.sizes])
    evenly = keys.pooled(lambda points: points.sum(0)) / (len(keys.sizes) * keys.longest)
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
        sizes = [len(item) for item in side]
        sides.append(_Objects(points, sizes, max(sizes, default=0)))
    return sides[0], sides[1]
