"""DyHead's block: the authors' results; bad sizes; the mean over frames and its order."""

from itertools import permutations
from pathlib import Path

import pytest
import torch
from torchvision.ops import deform_conv2d

from tests.joint.known import arrays, close, fill
from unibench.joint.layers.dyhead import DeformableConvolution, DyConv, TemporalMean


def test_results_are_those_of_the_authors_code(gold: Path) -> None:
    known = arrays(gold, "dyhead_block")
    block = fill(DyConv(32), gold, "dyhead_block")
    levels = [known[f"in_p{level}"] for level in range(3)]
    for level, found in enumerate(block(levels)):
        close(found, known[f"out_p{level}"])
    close(block(levels[:1])[0], known["out_single_level"])
    close(block.relu(known["dyrelu_in"]), known["dyrelu_out"])


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 1)],
        [(2, 2), (1, 1), (1, 1), (1, 1)],
        [(1, 7), (1, 4)],
        [(13, 9), (7, 5), (4, 3), (2, 2), (1, 1)],
    ],
)
def test_any_number_of_levels_of_any_size_gives_finite_maps_and_gradients(
    shapes: list[tuple[int, int]],
) -> None:
    torch.manual_seed(0)
    block = DyConv(32)
    levels = [torch.randn(1, 32, *shape, requires_grad=True) for shape in shapes]
    found = block(levels)
    assert [tuple(one.shape[2:]) for one in found] == shapes
    assert all(one.isfinite().all() for one in found)
    torch.stack([one.square().sum() for one in found]).sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in levels)
    # One level alone has no neighbours, so their convolutions have no gradient.
    unused = {name for name, one in block.named_parameters() if one.grad is None}
    assert {name[:8] for name in unused} == ({"DyConv.0", "DyConv.2"} if len(shapes) == 1 else set())
    assert all(one.grad.isfinite().all() for one in block.parameters() if one.grad is not None)


def frames(count: int) -> torch.Tensor:
    return torch.randn(2, count, 32, 5, 6)


def test_a_frame_alone_stays_as_it_is() -> None:
    torch.manual_seed(0)
    alone = frames(1)
    assert torch.equal(TemporalMean(32)(alone), alone[:, 0])


def test_the_mean_of_frames_is_weighted_by_their_own_maps() -> None:
    torch.manual_seed(0)
    mean, given = TemporalMean(32), frames(3)
    torch.nn.init.normal_(mean.linear.weight)
    weights = torch.nn.functional.hardsigmoid(mean.linear(given.mean(dim=(3, 4))))
    assert weights.std() > 0.01
    close(mean(given), (given * weights.view(2, 3, 1, 1, 1)).mean(dim=1))


def test_the_order_of_frames_changes_no_bit() -> None:
    torch.manual_seed(0)
    mean, given = TemporalMean(32), frames(4)
    torch.nn.init.normal_(mean.linear.weight)
    expected = mean(given)
    orders = [list(order) for order in permutations(range(4))]
    assert all(torch.equal(mean(given[:, order]), expected) for order in orders)
    plain = [(given[:, order] / 2).mean(dim=1) for order in orders]
    assert not all(torch.equal(one, plain[0]) for one in plain)  # so the order of a plain sum does matter


def test_gradients_of_a_mean_of_frames_are_finite_and_reach_all_frames() -> None:
    torch.manual_seed(0)
    mean, given = TemporalMean(32), frames(3).requires_grad_()
    mean(given).square().sum().backward()
    assert given.grad is not None
    assert given.grad.isfinite().all()
    assert given.grad.abs().amax(dim=(0, 2, 3, 4)).gt(0).all()
    assert mean.linear.weight.grad is not None
    assert mean.linear.weight.grad.isfinite().all()


@pytest.mark.parametrize(("size", "stride"), [((7, 5), 1), ((7, 5), 2), ((8, 6), 2), ((1, 1), 1)])
def test_the_convolution_is_torchvisions(size: tuple[int, int], stride: int) -> None:
    """Values and gradients, samples beyond the border among them."""
    torch.manual_seed(0)
    ours = DeformableConvolution(32, stride=stride)
    rows, columns = (-(-side // stride) for side in size)
    given = [
        torch.randn(2, 32, *size),
        3 * torch.randn(2, 18, rows, columns),
        torch.rand(2, 9, rows, columns),
    ]
    given = [one.requires_grad_() for one in given]
    theirs = deform_conv2d(
        given[0], given[1], ours.conv.weight, ours.conv.bias, stride=stride, padding=1, mask=given[2]
    )
    results = [ours(*given), ours.bn(theirs)]
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-5)
    weights = torch.randn_like(theirs)
    wanted = [*given, ours.conv.weight, ours.conv.bias]
    found, expected = (
        torch.autograd.grad((one * weights).sum(), wanted, retain_graph=True) for one in results
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
