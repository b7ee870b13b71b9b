"""Classes by their names: a network's, a data set's and a clip's are counted differently."""

import numpy as np
from jaxtyping import Int

from unibench.errors import TrackerError
from unibench.records import Clip

SAME = {"pedestrian": "person"}
"""Words for the same class."""


def meaning(name: str) -> str:
    """A class's name in lower case, one word for each meaning."""
    return SAME.get(name.lower(), name.lower())


def in_clip(classes: tuple[str, ...], clip: Clip) -> Int[np.ndarray, " class"]:
    """Index in the clip's vocabulary of each class of a network; -1: the clip has none of it.

    Args:
        classes: Of the network.
        clip: Without a vocabulary, it has the network's.

    Raises:
        TrackerError: It has none of them.
    """
    known = [meaning(name) for name in clip.vocabulary or classes]
    rows = np.array([known.index(one) if one in known else -1 for one in map(meaning, classes)])
    if (rows < 0).all():
        raise TrackerError(
            f"clip {clip.name!r}: its classes are {', '.join(filter(None, clip.vocabulary))}, expected one of those "
            f"that the network finds ({', '.join(classes)}); choose another model"
        )
    return rows
