"""Unicorn's losses: what each stage changes, and pairs without objects."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.joint.unicorn.test_network import TOY, targets
from unibench.joint.system import Batch
from unibench.joint.unicorn.loss import losses
from unibench.joint.unicorn.network import Unicorn


def batch(objective: str, count: int = 2) -> Batch:
    boxes = torch.tensor([[8.0, 8, 40, 40], [60, 60, 90, 100]])[:count]
    masks = torch.zeros(count, 128, 128, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = True
    one = targets(boxes, torch.arange(count), masks=masks)
    images = torch.randint(0, 255, (2, 2, 3, 128, 128), generator=torch.Generator().manual_seed(0)).byte()
    return Batch(images, ((one, one), (one, one)), objective)


def total(network: Unicorn, given: Batch, stage: str) -> Tensor:
    terms = losses(network, given, TOY, stage)
    assert all(term.isfinite() for term in terms.values()), terms
    return torch.stack([*terms.values()]).sum()


@pytest.mark.parametrize(
    ("stage", "objective"),
    [
        ("detection", "mot"),
        *((stage, one) for stage in ("correspondence", "masks") for one in ("mot", "sot")),
    ],
)
def test_the_loss_falls(objective: str, stage: str) -> None:
    torch.manual_seed(0)
    network = Unicorn(TOY)
    given = batch(objective, 2 if objective == "mot" else 1)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    values = []
    for _ in range(25):
        optimizer.zero_grad()
        value = total(network, given, stage)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.8 * values[0], values


@pytest.mark.parametrize("objective", ["mot", "sot"])
@pytest.mark.parametrize("stage", ["correspondence", "masks"])
def test_pairs_without_objects_give_finite_losses_and_gradients(objective: str, stage: str) -> None:
    torch.manual_seed(0)
    network = Unicorn(TOY)
    total(network, batch(objective, 0), stage).backward()
    assert all(one.grad.isfinite().all() for one in network.parameters() if one.grad is not None)


def test_the_detector_learns_from_both_frames_and_from_nothing_else() -> None:
    torch.manual_seed(0)
    network, given = Unicorn(TOY).eval(), batch("mot")
    swapped = replace(given, images=given.images.flip(1), targets=tuple(clip[::-1] for clip in given.targets))
    value = total(network, given, "detection")
    assert value.item() == pytest.approx(total(network, swapped, "detection").item(), rel=1e-5)
    value.backward()
    learnt = {name.partition(".")[0] for name, one in network.named_parameters() if one.grad is not None}
    assert learnt == {"backbone", "head"}
    assert all(one.grad is None for name, one in network.named_parameters() if "_sot." in name)


@pytest.mark.parametrize("objective", ["mot", "sot"])
def test_masks_change_their_own_modules_only_and_no_box(objective: str) -> None:
    torch.manual_seed(0)
    network = Unicorn(TOY)
    before = {name: one.clone() for name, one in network.state_dict().items()}
    image = torch.rand(1, 3, 128, 128) * 255
    boxes = network.eval().head(network.look(image), None, "mot").boxes
    for name, one in network.named_parameters():
        one.requires_grad_(name.startswith(("head.controllers.", "head.mask_branch.")))
    optimizer = torch.optim.AdamW([one for one in network.parameters() if one.requires_grad], 1e-2)
    total(network, batch(objective, 2 if objective == "mot" else 1), "masks").backward()
    optimizer.step()
    changed = {name for name, one in network.state_dict().items() if not torch.equal(one, before[name])}
    assert changed
    assert all(name.startswith(("head.controllers.", "head.mask_branch.")) for name in changed)
    assert torch.equal(network.head(network.look(image), None, "mot").boxes, boxes)


def test_without_prior_the_prompted_object_is_looked_for_without_it() -> None:
    torch.manual_seed(0)
    network = Unicorn(replace(TOY, network=replace(TOY.network, prior=False))).eval()
    maps = network.look(torch.rand(1, 3, 64, 64) * 255)
    assert torch.equal(
        network.find(maps, torch.ones(1, 8, 8)).boxes, network.find(maps, torch.zeros(1, 8, 8)).boxes
    )


def test_without_interaction_the_embedding_of_a_frame_does_not_depend_on_the_other() -> None:
    torch.manual_seed(0)
    network = Unicorn(replace(TOY, network=replace(TOY.network, interaction=False))).eval()
    one, two, three = torch.randn(3, 1, TOY.network.widths[2], 4, 4)
    assert torch.equal(network.embed(one, two)[1], network.embed(three, two)[1])
    assert not any(name.startswith("transformer.") for name in network.state_dict())
