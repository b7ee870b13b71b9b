"""Which frames around the one that is labelled a clip encoder is shown, and which of its maps is that frame's."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from unibench.errors import UnknownNameError
from unibench.models.cards import Window

Item = TypeVar("Item")
REPEAT, CAUSAL, CENTRED = "repeat", "causal", "centred"
WINDOWINGS = (REPEAT, CAUSAL, CENTRED)
"""What a protocol may show a clip encoder: the frame repeated, as it shows an image; the frame and those before it; or
the frame amid its neighbours."""


@dataclass(frozen=True)
class Span:
    """The frames of a window around the one that is labelled; beyond the clip its first and last are repeated."""

    frames: int
    before: int
    """Frames before the first of those that share the window."""
    hop: int
    """Frames that share a window, and so a pass: those of one tubelet where the window may look ahead, else 1."""
    slot: int
    """Which of the encoder's maps, in the order of time, is that of these frames."""

    @property
    def lookahead(self) -> int:
        """Frames after the one that is labelled."""
        return self.frames - self.before - 1


def span(window: Window | None, windowing: str) -> Span | None:
    """Lay the window of an encoder over a clip.

    Args:
        window: Of the card; None: an image model, which has none.
        windowing: One of `WINDOWINGS`.

    Returns:
        None: the network is shown one frame, which a clip encoder repeats.

    Raises:
        UnknownNameError: There is no such windowing.
    """
    if windowing not in WINDOWINGS:
        raise UnknownNameError("windowing", windowing, WINDOWINGS)
    if window is None or windowing == REPEAT:
        return None
    slots = window.frames // window.tubelet
    if windowing == CAUSAL:
        return Span(window.frames, window.frames - 1, 1, slots - 1)
    return Span(window.frames, slots // 2 * window.tubelet, window.tubelet, slots // 2)


def around(items: Iterable[Item], span: Span) -> Iterator[tuple[Item, int, tuple[Item, ...]]]:
    """Go through a stream with a window; never more than a window and a hop are held.

    Args:
        items: One a frame; read no further than `span.lookahead` beyond the item that is given.
        span: The window.

    Yields:
        Each item, the number of its window, and the items in it.
    """
    source, held, first, ended = iter(items), deque[Item](), 0, False
    place = 0
    while True:
        number = place // span.hop
        start = number * span.hop - span.before
        while not ended and first + len(held) < max(start + span.frames, place + 1):
            try:
                held.append(next(source))
            except StopIteration:
                ended = True
        if place >= first + len(held):
            return
        while first < start:
            held.popleft()
            first += 1
        last = len(held) - 1
        yield (
            held[place - first],
            number,
            tuple(held[min(max(start + step - first, 0), last)] for step in range(span.frames)),
        )
        place += 1
