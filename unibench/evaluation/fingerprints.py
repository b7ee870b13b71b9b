"""What a result is called, and the hashes by which a finished result is recognised."""

import hashlib
import json
from dataclasses import fields

import numpy as np

from unibench.datasets.clips import hash_files
from unibench.evaluation.units import Unit
from unibench.records import Clip, Labels, Truth
from unibench.results.store import UnitKey
from unibench.tasks import protocols


def unit_key(unit: Unit, layer: str) -> UnitKey:
    """Name what one layer of a unit gives, as the results on disk are named."""
    return UnitKey(*unit.model, unit.task.name, protocols.label(unit.task.protocol), layer, unit.clip)


def tracking_fingerprint(unit: Unit, layer: str, clip: Clip, truth: Truth) -> str:
    """Hash over everything that the predictions depend on and that is known before the frames are read.

    The frames take part by name, size and end of their files, so that a changed frame is noticed before it is decoded.
    The truth takes part, for prompts and oracle detections are made of it. The version of the protocol takes part,
    unibench's own does not: a release leaves results valid. That of the scoring stands beside it in a result.

    Args:
        unit: The clip and the task.
        layer: The model's layer.
        clip: Its frames are not decoded.
        truth: The clip's truth.
    """
    return digest(
        unit.fingerprint, layer, unit.task.name, protocols.fingerprint(unit.task.protocol), unit.clip,
        str(unit.frames), hash_labels(*truth.labels, *truth.ignored), hash_files(clip),
    )  # fmt: skip


def hash_truth(truth: Truth) -> str:
    """Hash over everything that a scoring reads of a truth."""
    scales = [(one.shape, one.tobytes().hex()) for one in truth.scales]
    rest = repr((len(truth.labels), scales, truth.scored, truth.size))
    queries = () if truth.queries is None else (repr(truth.queries.tolist()),)
    return digest(hash_labels(*truth.labels, *truth.ignored), rest, *queries)


def hash_labels(*labels: Labels) -> str:
    """Hash over all that is said of some frames."""
    found = hashlib.sha256()
    for one in labels:
        for field in fields(Labels):
            value = getattr(one, field.name)
            if isinstance(value, np.ndarray):
                found.update(repr(value.shape).encode())
                found.update(value.tobytes())
            else:
                found.update(repr([(rle["size"], rle["counts"]) for rle in value]).encode())
    return found.hexdigest()


def digest(*parts: str) -> str:
    """Short hash over texts in their order."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
