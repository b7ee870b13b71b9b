"""What is minimised in each stage, and the track queries that a training makes of the previous frame.

Reimplementation from the paper; [G] choices are listed in the package's docstring.

Reference: Liu et al., "TrIVD: A Unified Model for Tracking and Image-Video Detection Has More Power", sections 3.2 and
3.3; Meinhardt et al., "TrackFormer", CVPR 2022, section 3.3, whose authors' code says what the paper leaves open.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unibench.joint.hungarian import FREE, NOTHING, Pairs, assign, costs, match, token_cost
from unibench.joint.layers.deformable_transformer import TrackQueries
from unibench.joint.system import UNKNOWN, Batch, Targets
from unibench.joint.trivd.config import LossOptions, TrivdConfig
from unibench.joint.trivd.loss import (
    box_losses,
    contrastive_loss,
    region_loss,
    soft_token_loss,
    token_map,
)
from unibench.joint.trivd.network import Maps, Outputs, Trivd, Words

REGIONS = "regions"
"""Name of a stage that teaches the maps alone, as a backbone learns to classify before a detector is built on it."""
NOT_ASKED = -1
"""Class of an object whose name is not in the prompt."""


def losses(network: Trivd, batch: Batch, config: TrivdConfig, stage: str) -> dict[str, Tensor]:
    """Say how far the network is from the truth: the weighted terms to be added up.

    Args:
        network: What learns.
        batch: Its classes are the prompt. Objective `det`: images; `vid`: clips, of which the frame in the middle
            counts; `mot`: clips whose first two frames count. The objects of the first are found again in the second,
            and new ones are found there.
        config: Holds the weights.
        stage: In one called `regions` no query takes part.
    """
    names = batch.classes or config.classes
    chosen = _some(len(names), config.losses.fewer_names)
    words = network.read([names[row] for row in chosen])
    everything = [
        tuple(_in_shares(_renumbered(one, chosen), batch) for one in clip) for clip in batch.targets
    ]
    truth = [tuple(_asked_for(one) for one in clip) for clip in everything]
    if batch.objective in ("det", "vid"):
        time = batch.images.shape[1]
        middle = time // 2
        seen = network.see(batch.images.flatten(0, 1))
        frame = tuple(one[middle::time] for one in seen)
        regions = _regions(network, frame, words, [clip[middle] for clip in everything], config.losses)
        if stage == REGIONS:
            return regions
        maps = network.attend(seen, len(batch.images))
        outputs = network(maps, maps, words)
        return _terms(outputs, [clip[middle] for clip in truth], None, config.losses) | regions
    seen = network.see(batch.images[:, 1])
    regions = _regions(network, seen, words, [clip[1] for clip in everything], config.losses)
    if stage == REGIONS:
        return regions
    current = network.attend(seen, len(batch.images))
    first, second = ([clip[time] for clip in truth] for time in (0, 1))
    with torch.no_grad():
        previous = network.look(batch.images[:, :1])
        tracks, fixed = track_queries(
            network(previous, previous, words), first, second, config.losses.false_positives
        )
    return _terms(network(previous, current, words, tracks), second, fixed, config.losses) | regions


def _some(names: int, share: float) -> list[int]:
    """Rows of the names that are asked for: all of them or, in a share of the batches, a random part."""
    if float(torch.rand(())) >= share:
        return list(range(names))
    return sorted(torch.randperm(names)[: 1 + _random(names)].tolist())


def _renumbered(targets: Targets, chosen: Sequence[int]) -> Targets:
    """The same objects; a class is its row among those chosen, or `NOT_ASKED`."""
    asked = targets.classes[:, None] == torch.tensor(chosen, device=targets.classes.device)
    classes = torch.where(asked.any(dim=1), asked.int().argmax(dim=1), NOT_ASKED)
    return replace(targets, classes=classes)


def _asked_for(targets: Targets) -> Targets:
    """The objects of the classes that are asked for."""
    kept = targets.classes != NOT_ASKED
    return replace(targets, boxes=targets.boxes[kept], classes=targets.classes[kept], ids=targets.ids[kept])


def _regions(
    network: Trivd, maps: Maps, words: Words, truth: Sequence[Targets], options: LossOptions
) -> dict[str, Tensor]:
    """The names of true boxes by the maps alone; of what is not asked for, no name is right."""
    if options.regions == 0:
        return {}
    logits = network.name_regions(maps, [one.boxes for one in truth], words)
    goals = token_map(words.prompt.spans, logits.shape[-1]).to(logits.device)[:, :-1] > 0
    goals = torch.cat([goals, torch.zeros_like(goals[:1])])  # the last row is NOT_ASKED's
    right = goals[torch.cat([one.classes for one in truth])]
    return {"regions": options.regions * region_loss(logits, right) / max(1, len(right))}


def track_queries(
    seen: Outputs, first: Sequence[Targets], second: Sequence[Targets], false_positives: float
) -> tuple[TrackQueries | None, Int[Tensor, "image query"]]:
    """Choose queries of the previous frame that are asked again.

    Of each image a random number of those that stand for an object with an identity is kept: the others are objects
    that have to be found anew. A few that stand for no object join them, preferably ones beside an object, and then any
    until all images of the batch have as many.

    Args:
        seen: What the queries have found in the previous frames.
        first: Objects of the previous frames, boxes as in `match`.
        second: Objects of the current frames.
        false_positives: Most of the latter, as a share of the former, rounded up.

    Returns:
        The track queries, None where there are none; of each track and object query of the current frame the object
        that it must match, `FREE` or `NOTHING`.
    """
    goals = _goals(seen)
    matches = [
        match(token_cost(seen.logits[-1, image], goals[one.classes]), seen.boxes[-1, image], one.boxes)
        for image, one in enumerate(first)
    ]
    queries = seen.hidden.shape[1]
    able = [
        (one.ids[pairs.objects] != UNKNOWN).nonzero()[:, 0] for pairs, one in zip(matches, first, strict=True)
    ]
    kept = [_random(len(one) + 1) for one in able]
    wrong = [_random(math.ceil(false_positives * count) + 1) for count in kept]
    possible = (count + queries - len(pairs.queries) for count, pairs in zip(kept, matches, strict=True))
    total = min(max(map(sum, zip(kept, wrong, strict=True))), *possible)
    chosen, fixed = [], []
    for image, (pairs, before, after) in enumerate(zip(matches, first, second, strict=True)):
        rows = _shuffled(able[image])[: min(kept[image], total)]
        asked = pairs.queries[rows]
        others = total - len(asked)
        beside = asked[: min(wrong[image], others)]
        chosen.append(torch.cat([asked, _others(seen.boxes[-1, image], pairs.queries, beside, others)]))
        again = _again(before.ids[pairs.objects[rows]], after.ids)
        fixed.append(torch.cat([again, again.new_full((others,), NOTHING), again.new_full((queries,), FREE)]))
    if total == 0:
        return None, torch.stack(fixed)
    index = torch.stack(chosen)[..., None]
    content = seen.hidden.take_along_dim(index, dim=1)
    return TrackQueries(content, seen.boxes[-1].take_along_dim(index, dim=1)[..., :2]), torch.stack(fixed)


def _again(before: Int[Tensor, " track"], after: Int[Tensor, " object"]) -> Int[Tensor, " track"]:
    """The object of the current frame with the identity of each track, `NOTHING` where there is none."""
    found = torch.full_like(before, NOTHING)
    tracks, objects = (before[:, None] == after).nonzero(as_tuple=True)
    found[tracks] = objects
    return found


def _others(
    boxes: Float[Tensor, "query 4"], taken: Int[Tensor, " pair"], beside: Int[Tensor, " track"], count: int
) -> Int[Tensor, " other"]:
    """Draw queries that stand for no object: one for each track, by its horizontal distance from it as TrackFormer
    does, and then any.
    """
    free = torch.ones(len(boxes), dtype=torch.bool)
    free[taken.cpu()] = False
    x = boxes[:, 0].float().cpu()
    drawn = []
    for track in beside.tolist():
        weights = ((x - x[track]).abs() + torch.finfo().eps) * free
        drawn.append(int(torch.multinomial(weights, 1)))
        free[drawn[-1]] = False
    drawn += _shuffled(free.nonzero()[:, 0])[: count - len(drawn)].tolist()
    return torch.tensor(drawn, dtype=torch.int64, device=taken.device)


def _terms(
    outputs: Outputs, truth: Sequence[Targets], fixed: Int[Tensor, "image query"] | None, options: LossOptions
) -> dict[str, Tensor]:
    """All losses, summed over the layers of the decoder, divided by the number of objects."""
    boxes = torch.cat([one.boxes for one in truth])
    tokens = _goals(outputs)[torch.cat([one.classes for one in truth])]
    pairs = _match(outputs, boxes, tokens, [len(one.boxes) for one in truth], fixed)
    distance, overlap = box_losses(outputs.boxes.flatten(0, 2), boxes, pairs)
    sums = {
        "soft_token": soft_token_loss(outputs.logits.flatten(0, 2), tokens, pairs, options.no_object),
        "contrastive": contrastive_loss(
            outputs.contrast.flatten(0, 1), outputs.words.contrast, tokens[:, :-1] > 0, pairs
        ),
        "distance": distance,
        "overlap": overlap,
    }
    return {name: getattr(options, name) * value / max(1, len(boxes)) for name, value in sums.items()}


def _goals(outputs: Outputs) -> Float[Tensor, "class token_or_none"]:
    """Of each class of the prompt, the tokens that a query should be about."""
    return token_map(outputs.words.prompt.spans, outputs.logits.shape[-1]).to(outputs.logits.device)


def _match(
    outputs: Outputs,
    boxes: Float[Tensor, "object 4"],
    tokens: Float[Tensor, "object token_or_none"],
    counts: Sequence[int],
    fixed: Int[Tensor, "image query"] | None,
) -> Pairs:
    """Match each image in each layer; queries are counted through layers and images, objects through images.

    All costs are brought from the device at once.
    """
    likely = token_cost(outputs.logits.detach().flatten(0, 2), tokens)
    cost = costs(likely, outputs.boxes.detach().flatten(0, 2), boxes).cpu()
    bound = None if fixed is None else fixed.cpu()
    images, queries = outputs.boxes.shape[1:3]
    ends = np.cumsum([0, *counts]).tolist()
    chosen, matched = [], []
    for row, part in enumerate(torch.split(cost, queries)):
        image = row % images
        pairs = assign(part[:, ends[image] : ends[image + 1]], None if bound is None else bound[image])
        chosen.append(pairs.queries + row * queries)
        matched.append(pairs.objects + ends[image])
    device = outputs.boxes.device
    return Pairs(torch.cat(chosen).to(device), torch.cat(matched).to(device))


def _in_shares(targets: Targets, batch: Batch) -> Targets:
    """Boxes in pixels become centre, width, height, as shares of the canvas's sides."""
    height, width = batch.images.shape[-2:]
    low, high = targets.boxes[:, :2], targets.boxes[:, 2:]
    sides = targets.boxes.new_tensor([width, height])
    return replace(targets, boxes=torch.cat([(low + high) / 2 / sides, (high - low) / sides], dim=1))


def _shuffled(values: Int[Tensor, " value"]) -> Int[Tensor, " value"]:
    return values[torch.randperm(len(values)).to(values.device)]


def _random(count: int) -> int:
    """A number below `count`, by torch's global generator."""
    return int(torch.randint(count, ()))
