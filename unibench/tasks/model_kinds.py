"""What each kind of model does when it is opened: see `models.open`, which is the only caller.

A frozen model becomes a tracker through the head of the task; a joint tracker is one, and has the one layer `joint`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import nn

from unibench import plugins
from unibench.errors import TrackerError, UnknownNameError
from unibench.features import batching
from unibench.features import cache as feature_cache
from unibench.features.batching import Steps
from unibench.features.cache import FeatureCache
from unibench.joint import systems
from unibench.models import frozen, maps, weights
from unibench.models.cards import JOINT, Card
from unibench.models.frozen import FrozenModel
from unibench.models.windows import span
from unibench.records import Clip, Labels, LoadReport, Model
from unibench.tasks.family import Task, make_options

TITLES = {"frozen": "frozen models", "joint": "joint trackers"}
"""How messages call models of each kind."""
LayerTracker = Callable[[Clip], Iterator[dict[str, Labels]]]


def open_frozen(card: Card, weights_path: Path | None, device: str, features: FeatureCache | None) -> Model:
    """Describe a frozen model; its weights are found, and its network is built, when that is first needed.

    Args:
        card: Of kind `frozen`.
        weights_path: A weights file, or the folder that holds it; None: the card's own source.
        device: A torch device.
        features: Where feature maps are kept: the network is then built only if one is missing. None: it is run for
            every frame.
    """
    load = cache(lambda: frozen.load(card, weights_path=weights_path, device=device))

    @cache
    def own_fingerprint() -> str:
        return frozen.fingerprint(card, weights.locate(card, weights_path))

    @cache
    def appearance() -> FrozenModel:
        if features is None:
            return load()
        return feature_cache.cached(frozen.defer(card, load, own_fingerprint(), device), features)

    def fingerprint() -> str:
        return own_fingerprint() if features is None else feature_cache.fingerprint(own_fingerprint())

    return _with_appearance(card, appearance, fingerprint, lambda: load().loaded)


def _with_appearance(
    card: Card,
    appearance: Callable[[], FrozenModel],
    fingerprint: Callable[[], str],
    load_report: Callable[[], LoadReport | None],
) -> Model:
    def bind(task: Task, layers: Sequence[str]) -> LayerTracker:
        _require_layers(card.name, layers, card.layers)
        _require_supported(card.name, _protocol_problem(task, "frozen"))
        return follow_frozen(card, appearance(), task, layers)

    def lookahead(task: Task) -> int:
        seen = span(card.window, task.protocol.windowing)
        return task.protocol.lookahead + (seen.lookahead if seen else 0)

    def share_passes(layers: Sequence[str]) -> tuple[Model, Callable[[], None]]:
        counts: dict[str, maps.Count] = {}
        shared, forget = batching.share_passes(appearance(), layers)
        model = _with_appearance(card, lambda: maps.counted(shared, counts), fingerprint, load_report)
        known = replace(model, warning=lambda: maps.warning(counts), batch=shared.batch, loaded=shared.loaded)
        return known, forget

    return Model(
        name=card.name,
        layers=tuple(card.layers),
        default_layer=card.default_layer,
        hash_weights=fingerprint,
        unsupported_reason=lambda task: _protocol_problem(task, "frozen"),
        runs_in_steps=lambda task: isinstance(plugins.resolve(task.family.tracker), Steps),
        bind=bind,
        share_passes=share_passes,
        network_problem=lambda path: _network_problem(card),
        load_report=load_report,
        has_maps=True,
        lookahead=lookahead,
        reads_windows=card.window is not None,
        caveat=f"random parameters: {', '.join(card.weights.allow_random)}"
        if card.weights.allow_random
        else "",
    )


def follow_frozen(card: Card, model: FrozenModel, task: Task, layers: Sequence[str]) -> LayerTracker:
    """Make a tracker of a frozen model by the head of a task.

    Args:
        card: The model's.
        model: Its network.
        task: Under a protocol for frozen models.
        layers: Some of the card's.
    """
    options = make_options(plugins.resolve(task.family.options), task.protocol.knobs)
    tracker = plugins.resolve(task.family.tracker)
    spanned = replace(model, span=span(card.window, task.protocol.windowing))
    return lambda clip: tracker(clip, spanned, layers, options)


def open_joint(card: Card, weights_path: Path | None, device: str, features: FeatureCache | None) -> Model:
    """Describe a joint tracker; its weights are found, and its network is built, when that is first needed.

    Args:
        card: Of kind `joint`.
        weights_path: A weights file, or the folder that holds it; None: the card's own source.
        device: A torch device.
        features: Of no effect: a joint tracker has no maps to keep.

    Raises:
        UnknownNameError: The card names a system that does not exist.
    """
    system = systems.find(card.architecture.name)
    load = cache(lambda: systems.load(card, weights_path, device))

    def unsupported_reason(task: Task) -> str:
        if task.protocol.knobs.get("frames", 1) > 1 and system.detect_clip is None:
            return "it looks at one frame at a time, not at a clip"
        return system.unsupported.get(task.family.name) or _protocol_problem(task, "joint")

    def bind(task: Task, layers: Sequence[str]) -> LayerTracker:
        _require_layers(card.name, layers, (JOINT,))
        _require_supported(card.name, unsupported_reason(task))
        model = load()
        return lambda clip: ({JOINT: labels} for labels in model.track(clip, task))

    def network_problem(path: Path | None) -> str:
        """Its weights file describes the network: without it, only the system's name is checked."""
        return _parameter_problem(card, systems.build(card, path)[2], ()) if path else ""

    model = Model(
        name=card.name,
        layers=(JOINT,),
        default_layer=JOINT,
        hash_weights=cache(lambda: systems.fingerprint(card, weights.locate(card, weights_path))),
        unsupported_reason=unsupported_reason,
        runs_in_steps=lambda task: False,
        bind=bind,
        share_passes=lambda layers: (replace(model, loaded=load().loaded), lambda: None),
        network_problem=network_problem,
        load_report=lambda: load().loaded,
        has_maps=False,
    )
    return model


def _network_problem(card: Card) -> str:
    with torch.device("meta"):
        module = frozen.build(card, None)[0]
    return _parameter_problem(card, module, card.architecture.head)


def _parameter_problem(card: Card, network: nn.Module, head: Sequence[str]) -> str:
    count, stated = frozen.parameters(network, head), card.architecture.parameters
    wrong = stated and count != stated
    return f"{count:,} parameters, expected {stated:,}; correct the card" if wrong else ""


def _protocol_problem(task: Task, kind: str) -> str:
    if kind in task.protocol.kinds:
        return ""
    fitting = [name for name, preset in task.family.presets.items() if kind in preset.kinds]
    if not fitting:
        return f"{task.family.name} has no protocol for {TITLES[kind]}"
    return f"protocol {task.protocol.name!r} is not for {TITLES[kind]}; there are: {', '.join(fitting)}"


def _require_layers(model: str, layers: Sequence[str], known: Collection[str]) -> None:
    for layer in layers:
        if layer not in known:
            raise UnknownNameError(f"layer of model {model!r}", layer, known)


def _require_supported(model: str, reason: str) -> None:
    if reason:
        raise TrackerError(f"model {model!r}: {reason}")
