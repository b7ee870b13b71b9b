"""What a training writes: one file of weights that says how its network is built, and a card."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from unibench.errors import OutputError, TrainingError, WeightsError
from unibench.joint.system import System, TrainingSet
from unibench.joint.training import config as configs
from unibench.models import cards, draft_card
from unibench.models.cards import Architecture, Card, Pretraining, Weights
from unibench.models.download import sha256
from unibench.results.atomic import replace_file

SYSTEM, CONFIG = "unibench_system", "unibench_config"
"""Keys of the metadata in a weights file."""


def write(
    system: System,
    config: Any,
    network: nn.Module,
    training_sets: Sequence[TrainingSet],
    out: Path,
    name: str,
    *,
    half: bool = False,
) -> Path:
    """Write `NAME.safetensors` and its card `NAME.toml`.

    Args:
        system: What was trained.
        config: Goes into the metadata of the weights, so that the network can be built from them.
        network: Its parameters are written.
        training_sets: What it was trained on, for the card.
        out: The folder.
        name: Of the model.
        half: Whether numbers are rounded to half precision, which halves the file.

    Returns:
        The card.

    Raises:
        TrainingError: One of them cannot be written.
    """
    weights, card = out / f"{name}.safetensors", out / f"{name}.toml"
    metadata = {SYSTEM: system.name, CONFIG: configs.as_json(config)}
    tensors = {key: _stored(value, half) for key, value in network.state_dict().items()}
    try:
        replace_file(weights, _packed(tensors, metadata))
        draft_card.write(_card(system, network, training_sets, weights), card)
    except OutputError as error:
        raise TrainingError(str(error)) from error
    return card


def _stored(value: Tensor, half: bool) -> Tensor:
    rounded = value.half() if half and value.is_floating_point() else value
    return rounded.detach().cpu().contiguous()


def _packed(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Safetensors with metadata in their own order: the library shuffles them, and equal weights had another hash."""
    plain = save(dict(tensors))
    end = 8 + int.from_bytes(plain[:8], "little")
    header = json.dumps({"__metadata__": dict(metadata), **json.loads(plain[8:end])}).encode()
    header += b" " * (-len(header) % 8)  # the tensors begin at a multiple of 8 bytes
    return len(header).to_bytes(8, "little") + header + plain[end:]


def metadata(path: Path) -> tuple[str, object]:
    """Read which network a weights file belongs to.

    Returns:
        Name of the system, and its config as plain data for `config.fill`.

    Raises:
        WeightsError: The file cannot be read, or does not say.
    """
    try:
        with safe_open(path, "pt") as stream:
            entries = stream.metadata() or {}
        return entries[SYSTEM], json.loads(entries[CONFIG])
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error}); save it again") from error
    except (KeyError, ValueError, RecursionError) as error:
        raise WeightsError(
            f"{path}: its metadata name no joint tracker and config; give a file that unibench train wrote"
        ) from error


def _card(system: System, network: nn.Module, training_sets: Sequence[TrainingSet], weights: Path) -> Card:
    data = ", ".join(one.name for one in training_sets)
    parameters = sum(one.numel() for one in network.parameters())
    return cards.joint(
        name=weights.stem,
        description=f"{system.name}, trained with unibench on {data}",
        paper="",
        license="unknown",
        architecture=Architecture(cards.JOINT, system.name, parameters=parameters),
        weights=Weights(f"file:{weights.name}", sha256=sha256(weights), verified=True),
        pretraining=Pretraining(method=system.name, data=data, supervision="labels"),
    )
