"""How a network is run over a clip: in batches, one pass for all that show it the same pixels, on prefetched frames.

Nothing of this changes what a tracker says, but for the order of sums within a batch.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from unibench.errors import TrackerError
from unibench.models.frozen import FrozenModel
from unibench.models.windows import around
from unibench.records import Clip, Frame, Labels

Item = TypeVar("Item")
Options = TypeVar("Options")
State = TypeVar("State")
Image = UInt8[np.ndarray, "_ _ 3"]
PREFETCHED = 2
"""Frames that are decoded before they are asked for."""
REMEMBERED = 32
"""Passes that are known again: more than the trackers of one frame make, and few enough for one that goes through a
whole clip in one turn."""


@dataclass(frozen=True)
class Steps(Generic[Options, State]):
    """A tracker in steps, which `follow` takes: its network may read frames beyond the one it labels, its head cannot.

    Called with a clip, a model, its layers and options, it yields the labels of each frame and layer.
    """

    network_input: Callable[[Frame, FrozenModel, Sequence[str], Options], Image | None]
    """What the network is to be shown of a frame; None: nothing. Depends on no other frame."""
    begin: Callable[[Clip, FrozenModel, Sequence[str], Options], State]
    """The state before frame 0."""
    advance: Callable[[State, Frame, Mapping[str, Tensor]], tuple[State, dict[str, Labels]]]
    """State, next frame and its maps (channel, h, w) of each layer, none where the network was not run -> the state
    after it, and its labels on each layer."""

    def __call__(
        self, clip: Clip, model: FrozenModel, layers: Sequence[str], options: Options
    ) -> Iterator[dict[str, Labels]]:
        """Track a clip, see `follow`."""
        return follow(self, clip, model, layers, options)


def follow(
    steps: Steps[Options, State], clip: Clip, model: FrozenModel, layers: Sequence[str], options: Options
) -> Iterator[dict[str, Labels]]:
    """Take a tracker through a clip; `model.batch` frames are put into one pass.

    Args:
        steps: The tracker; it is handed one frame after the other, and no clip to pull frames from.
        clip: Its frames are pulled a batch at a time.
        model: The network.
        layers: Layers of it, all from one pass.
        options: The protocol.

    Yields:
        The labels of each frame, for each layer.
    """
    state = steps.begin(replace(clip, frames=_refuse), model, layers, options)
    for frame, maps in passes(steps, clip.frames(), model, layers, options):
        state, labels = steps.advance(state, frame, maps)
        yield labels


def passes(
    steps: Steps[Options, State],
    frames: Iterator[Frame],
    model: FrozenModel,
    layers: Sequence[str],
    options: Options,
) -> Iterator[tuple[Frame, dict[str, Tensor]]]:
    """Run the network over frames: a batch of them in a pass, or a window a pass where the model has a span.

    Args:
        steps: The tracker, which says what the network is shown.
        frames: Pulled a batch at a time; with a span, no further ahead than it looks.
        model: The network.
        layers: Layers of it.
        options: The protocol.

    Yields:
        Each frame and its maps (channel, h, w); none where the network was not run.
    """
    if model.span is not None:
        yield from _window_passes(steps, frames, model, layers, options)
        return
    while batch := list(islice(frames, model.batch)):
        images = [steps.network_input(frame, model, layers, options) for frame in batch]
        yield from zip(batch, run_network(images, model, layers), strict=True)


def _window_passes(
    steps: Steps[Options, State],
    frames: Iterator[Frame],
    model: FrozenModel,
    layers: Sequence[str],
    options: Options,
) -> Iterator[tuple[Frame, dict[str, Tensor]]]:
    assert model.span is not None
    shown = ((frame, steps.network_input(frame, model, layers, options)) for frame in frames)
    prepared = ((frame, None if image is None else model.prepare(image)) for frame, image in shown)
    known, maps = -1, dict[str, Tensor]()
    for (frame, image), number, window in around(prepared, model.span):
        if image is not None and number != known:
            known, maps = number, _run_window([one for _, one in window], model, layers)
        yield frame, {} if image is None else maps


@torch.inference_mode()
def _run_window(
    images: Sequence[Tensor | None], model: FrozenModel, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Run the network on one window; a frame that it is not to be shown is replaced by the nearest one before it."""
    last = next(one for one in images if one is not None)
    filled = [last := last if one is None else one for one in images]
    found = model.maps(torch.stack(filled)[None], layers)
    return {layer: found[layer][0] for layer in layers}


def look(frames: Iterable[Frame], model: FrozenModel) -> Iterator[tuple[Frame, Tensor]]:
    """Prepare whole frames for a tracker that shows its network windows of them, wherever it believes its target to be.

    Args:
        frames: Read no further ahead than the model's span looks.
        model: Prepares them.

    Yields:
        Each frame and it prepared, (3, height, width); with a span, all frames of its window (frame, 3, height, width).
    """
    prepared = ((frame, model.prepare(frame.image)) for frame in frames)
    if model.span is None:
        yield from prepared
        return
    for (frame, _), _, window in around(prepared, model.span):
        yield frame, torch.stack([image for _, image in window])


def _refuse() -> NoReturn:
    raise TrackerError(
        "a tracker in steps pulled frames, expected it to wait for them; the protocol is online"
    )


@torch.inference_mode()
def run_network(
    images: Sequence[Image | None], model: FrozenModel, layers: Sequence[str]
) -> list[dict[str, Tensor]]:
    """Run the network on images, those of one size in one pass.

    Args:
        images: (height, width, 3) RGB; None: the network is not run.
        model: The network.
        layers: Layers of it.

    Returns:
        For each image, layer -> (channel, h, w); empty where there is none.
    """
    maps: list[dict[str, Tensor]] = [{} for _ in images]
    shown = [(row, model.prepare(image)) for row, image in enumerate(images) if image is not None]
    for _, group in groupby(shown, key=lambda one: one[1].shape):
        rows, prepared = zip(*group, strict=True)
        found = model.network(torch.stack(prepared), layers)
        for number, row in enumerate(rows):
            maps[row] = {layer: found[layer][number] for layer in layers}
    return maps


def share_passes(model: FrozenModel, union: Sequence[str] = ()) -> tuple[FrozenModel, Callable[[], None]]:
    """Let trackers that go through a clip in step share passes: what was shown to the network is not shown again.

    Args:
        model: The network.
        union: Layers that any of the trackers may ask for of the same images: all are taken from the first pass.

    Returns:
        The model with a network that remembers, and a function that makes it forget. Only a whole batch that is
        equal bit by bit is known again, so maps are those that the tracker would get on its own.
    """
    known: deque[tuple[Tensor, tuple[int, ...], dict[str, Tensor]]] = deque(maxlen=REMEMBERED)

    def network(images: Tensor, layers: Sequence[str], *slot: int) -> dict[str, Tensor]:
        maps = next((maps for shown, read, maps in known if read == slot and _equal(shown, images)), None)
        if maps is None:
            known.append((images, slot, maps := {}))
        missing = [layer for layer in dict.fromkeys([*union, *layers]) if layer not in maps]
        if any(layer in missing for layer in layers):
            maps |= model.network(images, missing, *slot)
        return {layer: maps[layer] for layer in layers}

    return replace(model, network=network), known.clear


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first, second)


def prefetch(items: Iterable[Item], depth: int = PREFETCHED) -> Generator[Item, None, None]:
    """Make items in a thread before they are asked for; an error comes out where its item would.

    The thread ends with the generator: when it is exhausted, fails or is closed.

    Args:
        items: For instance the frames of a clip, which are decoded on the way.
        depth: Items that are made before they are asked for, at least 1.
    """
    source, end = iter(items), object()
    with ThreadPoolExecutor(1, "prefetch") as thread:
        waiting = deque(thread.submit(next, source, end) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(thread.submit(next, source, end))
                yield item  # type: ignore[misc]
        finally:
            for future in waiting:
                future.cancel()


def tee(items: Iterable[Item], readers: int) -> list[Iterator[Item]]:
    """Let several read one stream, each at its own pace; all of them meet the error that ends it.

    Args:
        items: Read once; what all readers have passed is forgotten (itertools.tee keeps up to 57 items more).
        readers: Their number.
    """
    source = iter(items)

    def take() -> tuple[Item, None] | tuple[None, Exception]:
        try:
            return next(source), None
        except Exception as error:  # noqa: BLE001 - raised again, for each reader
            return None, error

    def read(link: list[Any]) -> Iterator[Item]:
        while True:
            if not link:  # no other reader has been here
                link += [take(), []]
            (item, error), link = link
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item

    first: list[Any] = []
    return [read(first) for _ in range(readers)]
