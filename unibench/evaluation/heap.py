"""Memory that is free goes back to the system: without this, that of a long clip climbs with every frame."""

import ctypes

FRAMES = 10
"""After so many frames of a clip the heap is looked through, which takes some milliseconds."""


def trim() -> None:
    """Return free pages to the system; no effect where the C library is not glibc.

    Feature maps lie among small blocks that live longer, and the holes that they leave would stay this process's.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return
