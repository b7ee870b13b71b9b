"""Trackers that were trained as trackers: a table of systems, and how a card becomes one that runs.

A trained tracker is one safetensors file. Its metadata name the system and hold its whole config, so the file alone
says how the network is built, what it is shown and how it tracks.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unibench import models
from unibench.errors import CardError, TrainingError, UnibenchError, UnknownNameError, WeightsError
from unibench.joint import embedder
from unibench.joint.system import System, Task, TrainingSet
from unibench.joint.training import config as configs
from unibench.joint.training import evaluate, export
from unibench.joint.training.evaluate import DetectionScores
from unibench.models import checkpoints, frozen, weights
from unibench.models.cards import Card
from unibench.models.download import sha256
from unibench.records import Clip, Labels, LoadReport

SYSTEMS: dict[str, str] = {
    "retinatrack": "unibench.joint.retinatrack",
    "tdt": "unibench.joint.tdt",
    "trivd": "unibench.joint.trivd",
    "unicorn": "unibench.joint.unicorn",
}
"""Name -> module whose `SYSTEM` it is; imported when it is asked for."""


@dataclass(frozen=True, eq=False)
class JointModel:
    """A trained tracker, ready to run."""

    name: str
    fingerprint: str
    """Hash of everything that changes its predictions: its card and its weights file, config included."""
    device: torch.device
    track: Callable[[Clip, Task], Iterator[Labels]]
    """Clip, task -> labels of frame 0, 1, 2, ..."""
    unsupported: Mapping[str, str]
    """Family of tasks -> why it cannot do them; all others it can."""
    loaded: LoadReport
    """What became of the weights: the network has all its tensors from the file."""


def find(name: str) -> System:
    """Look up a system.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in SYSTEMS:
        raise UnknownNameError("joint tracker", name, SYSTEMS)
    system: System = import_module(SYSTEMS[name]).SYSTEM
    return system


def load(card: Card, weights_path: Path | None = None, device: str = "cpu") -> JointModel:
    """Build the tracker of a card from its weights file.

    Args:
        card: Of kind `joint`.
        weights_path: A weights file, or the folder that holds it; None: only the card's own source.
        device: A torch device.

    Raises:
        UnknownNameError: There is no such system, or no such device.
        WeightsError: The file is missing or damaged, or is not that of a tracker of this system.
    """
    path = weights.locate(card, weights_path)
    torch_device = frozen.find_device(device)
    system, config, network, loaded = _fill(card, path)
    network = network.to(torch_device)

    def track(clip: Clip, task: Task) -> Iterator[Labels]:
        if task.family.name == "det":
            shown = task.protocol.knobs.get("frames", 1)
            frames = evaluate.detect_frames(system, config, network, clip, shown)
        else:
            frames = system.track(network, config, clip, task)
        while True:
            with (
                torch.inference_mode(),
                frozen.exact(),
            ):  # on at each step, and off while the caller has the labels
                labels = next(frames, None)
            if labels is None:
                return
            yield labels

    return JointModel(card.name, fingerprint(card, path), torch_device, track, system.unsupported, loaded)


def fingerprint(card: Card, path: Path | None) -> str:
    """Hash over everything that changes a tracker's predictions: its file, and the frozen models that take part.

    Args:
        card: Of kind `joint`.
        path: Its weights file.

    Raises:
        UnknownNameError, WeightsError: As for `load`; also of those models.
        CardError: The card names another config than those that the system brings.
    """
    assert path is not None, "a joint card names a file"
    system = find(card.architecture.name)
    config = _config(card, system, path)
    others = [embedder.fingerprint(one) for one in system.companions(config)]
    if card.architecture.options:  # the file does not hold the config
        others.append(configs.as_json(config))
    own = frozen.fingerprint(card, path)
    return hashlib.sha256(" ".join([own, *others]).encode()).hexdigest()[:12] if others else own


def build(card: Card, path: Path | None) -> tuple[System, Any, nn.Module]:
    """Build the network of a card as its weights file says, and fill it.

    Args:
        card: Of kind `joint`.
        path: Its weights file.

    Returns:
        The system, its config, and the frozen network.

    Raises:
        UnknownNameError, WeightsError: As for `load`.
    """
    return _fill(card, path)[:3]


def _fill(card: Card, path: Path | None) -> tuple[System, Any, nn.Module, LoadReport]:
    assert path is not None, "a joint card names a file"
    system = find(card.architecture.name)
    config = _config(card, system, path)
    tensors = next(iter(checkpoints.read(path).values()))
    try:
        with torch.random.fork_rng(devices=[]):
            network = system.build(config)
    except UnibenchError:
        raise
    except Exception as error:  # whatever a config asks for
        raise WeightsError(
            f"{path}: {system.name} cannot be built with the config in it ({_line(error)}); train it again"
        ) from error
    left_over = tuple(name for name in tensors if name.startswith(system.surplus(config)))
    tensors = {name: one for name, one in tensors.items() if name not in left_over}
    if problem := _misfit(network.state_dict(), tensors):
        raise WeightsError(f"{path}: {problem}; fetch or train it again")
    network.load_state_dict(tensors)
    report = LoadReport(loaded=tuple(tensors), left_over=left_over, sha256=sha256(path))
    return system, config, network.eval().requires_grad_(False), report


def detect(
    card: Card,
    data: TrainingSet,
    *,
    weights_path: Path | None = None,
    device: str = "cpu",
    limit: int | None = None,
) -> DetectionScores:
    """Run a trained tracker's detector over annotated images and score it.

    Args:
        card: Of kind `joint`.
        data: Annotated images; classes that the tracker does not know are left out of the truth.
        weights_path: A weights file, or the folder that holds it; None: only the card's own source.
        device: A torch device.
        limit: Only so many images, the first ones.

    Raises:
        UnibenchError: The card is not of kind `joint`.
        DataError: The data have no images, or no class that the tracker knows.
        WeightsError: The weights are missing or do not fit.
    """
    if models.open(card).has_maps:
        raise UnibenchError(
            f"model {card.name!r}: a frozen model, expected a joint tracker; frozen models detect nothing"
        )
    system, config, network = build(card, weights.locate(card, weights_path))
    return evaluate.score(system, config, network.to(frozen.find_device(device)), data, limit=limit)


def _config(card: Card, system: System, path: Path) -> Any:
    """What the weights file says, or for a file of the authors' own the config that the card names."""
    if options := card.architecture.options:
        known = configs.shipped(system)
        if set(options) != {"config"} or options["config"] not in known:
            raise CardError(
                f"model {card.name!r}: architecture.options is {options}, expected config = one of "
                f"{', '.join(known)}, for a weights file that holds no config; correct the card"
            )
        return configs.read(known[options["config"]], system)
    name, table = export.metadata(path)
    if name != system.name:
        raise WeightsError(
            f"{path}: weights of {name!r}, expected {system.name!r} as the card says; correct architecture.name or "
            "weights.source"
        )
    try:
        return configs.fill(table, system, f"{path}: {export.CONFIG}")
    except TrainingError as error:
        raise WeightsError(str(error)) from error


def _misfit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Why tensors are not those of a network; empty: they are."""
    problems = {
        "missing": [name for name in wanted if name not in found],
        "unknown": [name for name in found if name not in wanted],
        "of another shape": [
            name for name in wanted if name in found and found[name].shape != wanted[name].shape
        ],
        "not finite": [
            name for name, one in found.items() if one.is_floating_point() and not one.isfinite().all()
        ],
    }
    listed = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in problems.items()
        if names
    ]
    return f"tensors {'; '.join(listed)}, expected {len(wanted)} as its config says" if listed else ""


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
