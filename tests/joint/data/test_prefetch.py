"""Batches that other processes make are those that this one would make, in order."""

import multiprocessing

import pytest
import torch

from unibench.errors import DataError
from unibench.joint.data import prefetch
from unibench.joint.system import Batch, Targets

STEPS = range(5, 12)


def _batch(step: int) -> Batch:
    generator = torch.Generator().manual_seed(step)
    images = torch.randint(0, 256, (2, 1, 3, 8, 8), generator=generator, dtype=torch.uint8)
    rows = torch.full((1, 4), float(step))
    one = Targets(rows, torch.zeros(1, dtype=torch.int64), torch.tensor([step]), torch.zeros(1, 0), rows[:0])
    return Batch(images, ((one,), (one,)), "det", ("disc",))


def test_batches_come_in_order_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    made = [*prefetch.prefetch(_batch, STEPS, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert len(made) == len(STEPS)
    for step, one in zip(STEPS, made, strict=True):
        wanted = _batch(step)
        assert torch.equal(one.images, wanted.images)
        assert torch.equal(one.targets[1][0].ids, wanted.targets[1][0].ids)
        assert (one.objective, one.classes) == ("det", ("disc",))


def test_an_error_comes_as_it_was_raised() -> None:
    def make(step: int) -> Batch:
        if step == 7:
            raise DataError("frame.png: found no image, expected one; look at it")
        return _batch(step)

    made = prefetch.prefetch(make, STEPS, 2)
    assert [next(made).images.shape[0] for _ in range(2)] == [2, 2]
    with pytest.raises(DataError, match=r"^frame\.png: found no image, expected one; look at it$"):
        next(made)


@pytest.mark.parametrize("workers", [1, 2])
def test_it_may_end_early(workers: int) -> None:
    made = prefetch.prefetch(_batch, STEPS, workers)
    assert torch.equal(next(made).images, _batch(STEPS[0]).images)
    made.close()  # type: ignore[attr-defined]  # a generator
    assert not multiprocessing.active_children()
