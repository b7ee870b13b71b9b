"""What can be said of a protocol: its hash, its name on boards, what stands in the record of a run."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from unibench.datasets import SOURCES
from unibench.errors import DataError, UnknownNameError
from unibench.models.windows import REPEAT, WINDOWINGS
from unibench.tasks.family import Family, Protocol, Task


def find(family: Family, name: str) -> Protocol:
    """Look up a preset of a family.

    Raises:
        UnknownNameError: The family has no such preset.
    """
    if name not in family.presets:
        raise UnknownNameError(f"protocol of {family.name!r}", name, family.presets, "unibench tasks")
    return family.presets[name]


def with_detections(protocol: Protocol, source: str) -> Protocol:
    """Set the source of a protocol's detections.

    Args:
        protocol: Any that is not private.
        source: One of `datasets.SOURCES`, or a folder; its files are hashed.

    Raises:
        DataError: There is no such folder.
    """
    if source in SOURCES:
        return replace(protocol, detections=source, detections_hash="")
    folder = Path(source)
    if not folder.is_dir():
        raise DataError(f"detections {source!r}: no such folder; there are: {', '.join(SOURCES)}, FOLDER")
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return replace(protocol, detections=source, detections_hash=digest.hexdigest())


def fingerprint(protocol: Protocol) -> str:
    """Hash over everything that changes a score: all knobs, the detections, the major version."""
    parts = {
        "name": protocol.name,
        "version": protocol.version.partition(".")[0],
        "knobs": protocol.knobs,
        "lookahead": protocol.lookahead,
        "detections": protocol.detections_hash or protocol.detections,
    }
    if protocol.windowing != REPEAT:
        parts["windowing"] = protocol.windowing
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def source_name(protocol: Protocol) -> str:
    """How boards call the source of the detections: a folder by its last name and the hash of its files."""
    if not protocol.detections_hash:
        return protocol.detections
    return f"{Path(protocol.detections).resolve().name}-{protocol.detections_hash[:6]}"


def label(protocol: Protocol) -> str:
    """How boards and folders call a protocol: with its windowing where it is no image mode, and its detections where it
    has some that its name does not say.
    """
    source = source_name(protocol)
    windowing = "" if protocol.windowing == REPEAT else protocol.windowing
    return "+".join([protocol.name, *filter(None, [windowing, source if source != protocol.name else ""])])


def read_label(text: str) -> tuple[str, str, str]:
    """Take a label apart: the protocol's name, its windowing, and its detections or nothing."""
    name, _, given = text.partition("+")
    windowing, _, rest = given.partition("+")
    return (name, windowing, rest) if windowing in WINDOWINGS else (name, REPEAT, given)


def title(task: Task) -> str:
    """How messages call a task whose protocol is chosen: `mot/shapes@private`."""
    return f"{task.name}@{label(task.protocol)}"


def describe(protocol: Protocol) -> dict[str, Any]:
    """Everything about a protocol, for the record of a run."""
    return {**asdict(protocol), "hash": fingerprint(protocol)}
