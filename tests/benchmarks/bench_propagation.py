"""Mask and pose propagation against the dense affinity, and the search of whole frames against faiss."""

import faiss
import torch
import torch.nn.functional as F
from torch import Tensor

from heads import mask, pose
from heads.affinity import nearest
from heads.mask import MaskOptions, MaskState
from tests.benchmarks.cases import Case


def cases(*, quick: bool = False) -> list[Case]:
    """One frame of a clip in which every place of the past is taken, with UniTrack's protocol."""
    channels, h, w = (128, 30, 54) if quick else (256, 60, 107)
    options = MaskOptions()
    generator = torch.Generator().manual_seed(0)
    still = torch.randn(h, w, channels, generator=generator)
    noisy = [
        still + 0.7 * torch.randn(h, w, channels, generator=generator) for _ in range(options.context + 2)
    ]
    *past, frame = (one.permute(2, 0, 1) for one in noisy)  # channels last, as networks give them
    queries, *keys = (F.normalize(one, dim=0).flatten(1).T.contiguous() for one in (frame, *past))
    whole = torch.cat(keys).T
    product = torch.empty(h * w, len(past) * h * w)
    objects = torch.eye(4)[torch.arange(h * w) // 7 % 4].T.reshape(4, h, w)
    joints = torch.rand(1, 15, 3, generator=generator) * torch.tensor([w, h, 1.0])
    size = f"{h}x{w}, {channels} channels"
    # Of small grids a window holds a larger part, and calls cost more beside products. The reference is the BLAS's own
    # product without any allocation: the ratio of small grids is .8 on one processor and 2.5 on another (Intel,
    # AVX-512), of the same code. So the quick limit finds gross losses only; the full size holds the aim.
    limit, search = (2.7, 1.7) if quick else (0.32, 1.0)
    note = f"product of {h * w} x {channels} with {channels} x {len(past) * h * w}, written out"

    def dense() -> Tensor:
        return torch.mm(queries, whole, out=product)

    def flat() -> object:
        index = faiss.IndexFlatIP(channels)
        index.add(keys[0].numpy())
        return index.search(queries.numpy(), options.topk)

    masks, poses = (_state(past, labels, options) for labels in (objects, pose.encode_people(joints, h, w)))
    return [
        Case(f"mask head {size}", lambda: mask.step(masks, frame, options), dense, limit, note),
        Case(
            f"pose head {size}",
            lambda: pose.decode_people(mask.step(poses, frame, options).labels, 1),
            dense,
            limit,
            note,
        ),
        Case(
            f"global search {size}",
            lambda: nearest(_grid(queries, h, w), [_grid(keys[0], h, w)], options.topk, None),
            flat,
            search,
            "exact flat index of faiss",
        ),
    ]


def _state(past: list[Tensor], labels: Tensor, options: MaskOptions) -> MaskState:
    first, *others = past
    state = mask.begin(first, labels, options)
    for features in others:
        state = mask.step(state, features, options)
    return state


def _grid(rows: Tensor, h: int, w: int) -> Tensor:
    return rows.T.unflatten(1, (h, w))
