"""The backbone of a joint tracker as a frozen appearance model, on a card of its own: the same file, other uses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unibench import models
from unibench.errors import CardError
from unibench.joint import systems
from unibench.joint.system import System
from unibench.joint.training import config as configs
from unibench.joint.training import export
from unibench.models import frozen, weights
from unibench.models.cards import Architecture, Card, Layer, Weights
from unibench.models.download import sha256

PROBE = 256
"""Side of the image with which strides are measured, pixels."""
CELL = 8
"""Pixels per cell that UniTrack's protocols were made for."""


def build(system: str, config: str) -> nn.Module:
    """Build the backbone of a joint tracker with random parameters; cards of the loader `python` name this function.

    Args:
        system: A key of `unibench.joint.systems.SYSTEMS`.
        config: The system's config as its weights file has it (JSON), or the name of one that it brings (`tiny`).

    Raises:
        UnknownNameError: There is no such system or config.
        CardError: The config is no JSON.
        TrainingError: The config does not fit the system.
    """
    found = systems.find(system)
    return found.backbone(found.build(_config(config, found)))


def _config(text: str, system: System) -> Any:
    if not text.startswith("{"):
        return configs.read(text, system)
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CardError(f"architecture.options.config: no JSON ({error}); write the card anew") from error
    return configs.fill(table, system, "architecture.options.config")


def draft(card: Card, weights_path: Path | None = None) -> Card:
    """Make the card of a joint tracker's backbone; strides and channels are measured, and the weights are loaded.

    Args:
        card: Of the joint tracker.
        weights_path: A weights file, or the folder that holds it.

    Returns:
        A frozen model `NAME-backbone`. Its default layer is the first map at stride 8.

    Raises:
        CardError: The card is not that of a joint tracker.
        UnibenchError: Its weights are missing or damaged, or do not fit.
    """
    if models.open(card).has_maps:
        raise CardError(
            f"model {card.name!r}: a frozen model already, expected a joint tracker; run it as it is"
        )
    path = weights.locate(card, weights_path)
    systems.build(card, path)  # so that a bad file is reported as such
    assert path is not None
    name = card.architecture.name
    shipped = card.architecture.options.get("config")  # where the file holds none
    config = (
        str(shipped)
        if shipped
        else json.dumps(export.metadata(path)[1], sort_keys=True, separators=(",", ":"))
    )
    network = build(name, config).eval()
    layers = _layers(network)
    made = Card(
        name=f"{card.name}-backbone",
        kind="frozen",
        description=f"backbone of {card.name}",
        paper=card.paper,
        license=card.license,
        released=card.released,
        default_layer=min(layers, key=lambda one: abs(layers[one].stride - CELL)),
        architecture=Architecture(
            "python",
            f"{__name__}:build",
            parameters=frozen.parameters(network, ()),
            options={"system": name, "config": config},
        ),
        weights=replace(
            Weights(card.weights.source), sha256=sha256(path), verified=True, mirrors=card.weights.mirrors
        ),
        preprocessing=systems.find(name).preprocessing,
        pretraining=card.pretraining,
        layers=layers,
    )
    frozen.load(made, weights_path=path)
    return made


@torch.inference_mode()
def _layers(network: nn.Module) -> dict[str, Layer]:
    maps = network(torch.zeros(1, 3, PROBE, PROBE))
    return {
        name: Layer(name, stride=round(PROBE / one.shape[-1]), channels=one.shape[1])
        for name, one in maps.items()
    }
