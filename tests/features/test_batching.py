"""Sharing, batches and decoding ahead change how often things are done, never what comes out."""

import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from unibench import plugins
from unibench.errors import DataError, TrackerError
from unibench.features.batching import Steps, follow, prefetch, run_network, share_passes, tee
from unibench.models import cards
from unibench.models import frozen as models
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.tasks import registry
from unibench.tasks.family import make_options


class Network:
    """Two layers that any image gives, and a count of what it was shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, tuple[str, ...]]] = []

    def __call__(self, images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        self.seen.append((len(images), tuple(layers)))
        return {layer: images * (1 + ord(layer)) for layer in layers}


def frozen(network: Network, batch: int = 1) -> FrozenModel:
    return FrozenModel(
        "doubles",
        lambda image: torch.from_numpy(image).permute(2, 0, 1).float(),
        network,
        {"a": 1, "b": 1},
        {"a": 0.0, "b": 0.0},
        torch.device("cpu"),
        batch=batch,
    )


def clip(length: int, pulled: list[int] | None = None, size: tuple[int, int] = (4, 6)) -> Clip:
    def frames() -> Iterator[Frame]:
        for t in range(length):
            if pulled is not None:
                pulled.append(t)
            yield Frame(t, np.full((*size, 3), t, dtype=np.uint8))

    return Clip("flat", *size, 25.0, length, frames)


def threads() -> int:
    return sum(thread.name.startswith("prefetch") for thread in threading.enumerate())


# --- prefetch


def test_items_come_in_their_order_and_the_thread_ends() -> None:
    assert list(prefetch(range(20), depth=3)) == list(range(20))
    assert list(prefetch([])) == []
    assert threads() == 0


def test_items_are_made_in_another_thread_no_more_than_asked_for_ahead() -> None:
    made: list[int] = []
    makers = set()

    def items() -> Iterator[int]:
        for number in range(9):
            makers.add(threading.get_ident())
            made.append(number)
            yield number

    for number in prefetch(items(), depth=2):
        assert len(made) <= number + 1 + 2 + 1  # those given, those waiting, and one being made
    assert made == list(range(9))
    assert threading.get_ident() not in makers


def test_an_error_comes_out_where_its_item_would() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise DataError("frame 3 is damaged; fetch it again")

    numbers = prefetch(items(), depth=8)
    assert list(islice(numbers, 3)) == [0, 1, 2]
    with pytest.raises(DataError, match="frame 3 is damaged; fetch it again"):
        next(numbers)
    assert threads() == 0


def test_the_thread_ends_when_nobody_wants_more() -> None:
    closed = []

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    with closing(prefetch(items(), depth=4)) as numbers:
        assert list(islice(numbers, 3)) == [0, 1, 2]
        assert threads() == 1
    assert threads() == 0
    gc.collect()
    assert closed == [True]


# --- tee


def test_every_reader_gets_every_item_at_its_own_pace() -> None:
    first, second = tee(iter(range(5)), 2)
    assert list(islice(first, 3)) == [0, 1, 2]
    assert list(second) == list(range(5))
    assert list(first) == [3, 4]


def test_every_reader_meets_the_error() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise DataError("damaged")

    for reader in tee(items(), 3):
        assert next(reader) == 0
        with pytest.raises(DataError, match="damaged"):
            next(reader)


def test_what_all_have_read_or_will_not_read_is_forgotten() -> None:
    class Item:
        pass

    alive: weakref.WeakSet[Item] = weakref.WeakSet()

    def items() -> Iterator[Item]:
        for _ in range(50):
            item = Item()
            alive.add(item)
            yield item

    readers = tee(items(), 3)
    readers.pop()  # one that failed
    for _ in range(20):
        for reader in readers:
            next(reader)
        assert len(alive) <= 5  # those that somebody holds in hand, whatever has passed


# --- share_passes


def test_the_same_images_are_shown_once_until_forgotten() -> None:
    network = Network()
    model, forget = share_passes(frozen(network))
    image, other = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    first = model.network(image, ["a"])
    assert torch.equal(first["a"], model.network(image.clone(), ["a"])["a"])
    model.network(other, ["a"])
    model.network(image[:, :, :1], ["a"])
    assert network.seen == [(1, ("a",))] * 3
    assert model.network(image, ["b", "a"])["a"] is first["a"]
    assert network.seen[3:] == [(1, ("b",))]  # what is missing only
    forget()
    model.network(image, ["a"])
    assert len(network.seen) == 5


def test_a_batch_is_known_as_a_whole_only() -> None:
    network = Network()
    model, _ = share_passes(frozen(network))
    images = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 2, 2)
    model.network(images, ["a"])
    model.network(images[:2], ["a"])  # sums may come in another order in another batch
    assert [count for count, _ in network.seen] == [4, 2]


def test_layers_of_all_come_from_the_first_pass() -> None:
    network = Network()
    model, _ = share_passes(frozen(network), ["a", "b"])
    image = torch.zeros(1, 3, 2, 2)
    assert set(model.network(image, ["b"])) == {"b"}
    assert set(model.network(image, ["a"])) == {"a"}
    assert network.seen == [(1, ("a", "b"))]


# --- follow


def _network_input(frame: Frame, model: FrozenModel, layers: Sequence[str], skip: int) -> np.ndarray | None:
    return None if skip and frame.index % skip == 0 else frame.image


def _advance(state: list, frame: Frame, maps: dict[str, torch.Tensor]) -> tuple[list, dict[str, Labels]]:
    values = {layer: one.mean().item() for layer, one in maps.items()}
    return [*state, frame.index], {
        "a": Labels(scores=np.array([frame.index, len(state), *values.values()], dtype=float))
    }


COUNT = Steps(_network_input, lambda clip, model, layers, skip: [], _advance)


def test_steps_are_taken_one_frame_after_the_other_whatever_the_batch() -> None:
    expected = [[t, t, t * 98.0, t * 99.0] for t in range(7)]
    for batch, passes in ((1, [1] * 7), (3, [3, 3, 1]), (8, [7])):
        network = Network()
        labels = COUNT(clip(7), frozen(network, batch), ["a", "b"], 0)
        assert [one["a"].scores.tolist() for one in labels] == expected
        assert network.seen == [(count, ("a", "b")) for count in passes]


def test_the_network_runs_ahead_by_a_batch_and_no_further() -> None:
    pulled: list[int] = []
    labels = follow(COUNT, clip(9, pulled), frozen(Network(), 4), ["a"], 0)
    next(labels)
    assert pulled == [0, 1, 2, 3]
    list(islice(labels, 3))
    assert pulled == [0, 1, 2, 3]
    next(labels)
    assert pulled == list(range(8))


def test_nothing_is_shown_where_nothing_is_looked_at() -> None:
    network = Network()
    labels = [one["a"].scores.tolist() for one in COUNT(clip(7), frozen(network, 3), ["a"], 2)]
    assert labels == [[t, t] if t % 2 == 0 else [t, t, t * 98.0] for t in range(7)]
    assert [count for count, _ in network.seen] == [1, 2]  # of frames 0-2, 3-5 and 6


def test_images_of_several_sizes_are_shown_apart() -> None:
    network = Network()
    images = [np.full((size, 2, 3), size, dtype=np.uint8) for size in (2, 2, 5, 2)]
    maps = run_network(images, frozen(network), ["a"])
    assert [tuple(one["a"].shape) for one in maps] == [(3, size, 2) for size in (2, 2, 5, 2)]
    assert [one["a"].mean().item() for one in maps] == [size * 98.0 for size in (2, 2, 5, 2)]
    assert [count for count, _ in network.seen] == [2, 1, 1]


def test_steps_cannot_pull_frames() -> None:
    greedy = replace(COUNT, begin=lambda clip, model, layers, options: list(clip.frames()))
    with pytest.raises(TrackerError, match="a tracker in steps pulled frames, expected it to wait for them"):
        next(greedy(clip(3), frozen(Network()), ["a"], 0))


@pytest.mark.parametrize(
    ("name", "knobs"),
    [("vos/synthetic", {}), ("mot/synthetic", {"letterbox": (304, 544)}), ("pose/synthetic", {})],
)
def test_the_batch_changes_no_score(name: str, knobs: dict[str, object]) -> None:
    """A trained network on rendered clips: the tally, which J and IDF1 are made of, stays as it is."""
    task, card = registry.find(name), cards.find("efficientnet-lite0")
    task = replace(task, protocol=replace(task.protocol, knobs={**task.protocol.knobs, **knobs}))
    model = models.load(card)
    given, truth = next(registry.clips(task, frames=9))
    layer, track = card.default_layer, plugins.resolve(task.family.tracker)
    options = make_options(plugins.resolve(task.family.options), task.protocol.knobs)
    tallies = []
    for batch in (1, 3, 8):
        labels = [one[layer] for one in track(given, replace(model, batch=batch), [layer], options)]
        tallies.append(task.family.scoring.tally(truth, labels))
    assert tallies[0] == tallies[1] == tallies[2]
    assert task.family.scoring.pool(tallies[:1])[task.family.scoring.headline] > 0.3


def test_the_batch_changes_features_by_rounding_only() -> None:
    card = cards.find("efficientnet-lite0")
    model = models.load(card)
    given, _ = next(registry.clips(registry.find("vos/synthetic"), frames=8))
    images = [frame.image for frame in given.frames()]
    alone = [run_network([image], model, list(card.layers))[0] for image in images]
    for batch in (3, 8):
        groups = [images[start : start + batch] for start in range(0, len(images), batch)]
        together = [maps for group in groups for maps in run_network(group, model, list(card.layers))]
        for one, other in zip(alone, together, strict=True):
            for layer in card.layers:
                scale = one[layer].abs().max()
                assert (one[layer] - other[layer]).abs().max() <= 1e-5 * scale
