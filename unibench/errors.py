"""Everything that a user can get wrong, as one tree.

    UnibenchError               one clear line; the command line prints it and exits with code 2
    ├── UnknownNameError        a model, task, layer, protocol, ... that does not exist
    ├── CardError               a model card that does not validate
    ├── WeightsError            weights missing, damaged, unsafe, or of another architecture
    ├── FeaturesError           a network that fails on an image, or gives maps that are not finite
    ├── DataError               a data set or one of its files missing or malformed
    ├── TrainingError           a training config that is not valid, or a training that cannot go on
    ├── TrackerError            a tracker that broke its protocol (read too far ahead, wrong number of frames, ...)
    ├── OutputError             results that cannot be written or read
    ├── PluginError             a plug-in that cannot be imported
    └── PlanError               a plan that is not valid, or does not fit this machine

A message has the form `<where>: <what was found>[, expected <what>]; <what there is / what to do>`.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UnibenchError(Exception):
    """Something that the user can put right; its text is one line."""


class UnknownNameError(UnibenchError):
    """A name that is not registered; the message lists near misses, or everything there is."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        listing = (
            f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are: {', '.join(names)}"
        )
        super().__init__(f"no {kind} {name!r}; {listing}{f' see: {hint}' if hint else ''}")


class CardError(UnibenchError):
    """A model card is not valid."""


class WeightsError(UnibenchError):
    """Weights are missing, damaged, unsafe to read, or belong to another architecture."""


class FeaturesError(UnibenchError):
    """A network fails on an image, or its feature maps are not finite."""


class DataError(UnibenchError):
    """A data set, or one of its files, is missing or malformed."""


class NoClipsError(DataError):
    """A folder holds no clip of a benchmark."""


class TrainingError(UnibenchError):
    """A training config is not valid, or a training cannot go on."""


class TrackerError(UnibenchError):
    """A tracker broke the contract of its protocol."""


class OutputError(UnibenchError):
    """Results cannot be written, or what is stored cannot be read."""


class PluginError(UnibenchError):
    """A plug-in cannot be imported."""


class PlanError(UnibenchError):
    """A plan cannot be read, leaves nothing to run, or does not fit the cards, weights, data or version here."""
