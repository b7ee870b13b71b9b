"""Training of a network of the zoo, on the trainer of the joint trackers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from msgspec import Meta
from safetensors.torch import save
from torch import Tensor, nn

from unibench.errors import OutputError, TrainingError, UnknownNameError
from unibench.joint.training.config import Stage, TrainOptions
from unibench.joint.training.distributed import ProcessGroup
from unibench.joint.training.train import Learner, learn
from unibench.models import draft_card, frozen
from unibench.models.cards import Card, Pretraining, Weights
from unibench.models.download import sha256
from unibench.results.atomic import replace_file
from unibench.schema import SchemaError, parse_toml, read_file, record
from unibench.ssl import diet as diets
from unibench.ssl.diet import Diet
from unibench.ssl.networks import NETWORKS, PREPROCESSING, Trunk
from unibench.ssl.objectives import OBJECTIVES, Batch, Learning

FOLDER = Path(__file__).parent / "configs"
_KINDS = {"resnet": "ResNet", "vit": "ViT"}
CELL = 8
"""Pixels per cell of the networks."""
DATA = "photographs of Debian's wallpapers and rendered shapes"


@dataclass(frozen=True)
class Config:
    """What a TOML file says of a training."""

    objective: Literal[
        "supervised", "rotation", "simclr", "moco", "byol", "barlow", "swav", "dino", "densecl", "mae", "crw"
    ]
    network: Literal["resnet", "vit"]
    crop: Annotated[int, Meta(ge=32, le=1024)]
    """Side of a view, pixels; the random walk sees its clips whole."""
    train: TrainOptions


def configs() -> dict[str, Path]:
    """The configs that come with unibench: name -> TOML file."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def read(name: str) -> Config:
    """Read a config.

    Args:
        name: One that comes with unibench, or the path of a TOML file.

    Raises:
        UnknownNameError: There is neither a config nor a file of that name.
        TrainingError: The file cannot be read, or does not fit.
    """
    path = configs().get(name, Path(name))
    if not path.is_file():
        raise UnknownNameError("config of train-ssl or TOML file", name, configs())
    try:
        config: Config = record(Config, parse_toml(read_file(path), str(path)), str(path))
    except OSError as error:
        raise TrainingError(f"{path}: not a readable TOML file ({error}); correct it") from error
    except SchemaError as error:
        raise TrainingError(f"{error}; see the configs in {FOLDER}") from error
    for problem in _problems(config):
        raise TrainingError(f"{path}: {problem}; correct it")
    return config


def _problems(config: Config) -> Iterator[str]:
    if config.objective == "mae" and config.network != "vit":
        yield f"network {config.network!r}, expected 'vit' for a masked autoencoder"
    if config.crop % CELL:
        yield f"crop = {config.crop}, expected a multiple of {CELL}"


def train(config: Config, out: Path, *, name: str, diet: Diet | None = None, device: str = "cpu") -> Path:
    """Train a network, or go on from the last checkpoint of an earlier call in the same folder.

    Args:
        config: What to train, and how.
        out: Folder of the checkpoint, the log, the weights (backbone only, in half precision) and the card.
        name: Of the model.
        diet: What it learns from; None: the photographs and clips of the zoo.
        device: A torch device; batches are made on the CPU.

    Returns:
        The card.

    Raises:
        DataError: A photograph is not installed, or another file.
        TrainingError: lightly is not installed, the loss is not finite, or the folder holds another training or cannot
            be written.
    """
    objective = OBJECTIVES[config.objective]
    draw = objective.draws(config.crop)
    images = diet or diets.prepare()

    def make(number: int, group: ProcessGroup) -> Batch:
        with _seeded(config.train.seed, number) as rng:
            samples = [draw(images, rng) for _ in range(config.train.batch)]
        views = zip(*(tensors for tensors, _ in samples), strict=True)
        labels = torch.tensor([label for _, label in samples])
        return Batch(tuple(torch.stack(view).to(group.device) for view in views), labels.to(group.device))

    def batches(stage: Stage, numbers: range, group: ProcessGroup) -> Iterator[Batch]:
        if group.world_size > 1:
            raise TrainingError("train-ssl: started by torchrun, expected one process; start it alone")
        return (make(number, group) for number in numbers)

    card = learn(
        Learner(
            build=_build,
            losses=lambda network, batch, config, stage: network(batch),
            batches=batches,
            write=partial(_write, config, out, name),
            made_with={"windows": len(images.windows), "clips": len(images.clips)},
        ),
        config,
        out,
        device=device,
    )
    assert card is not None, "there is one process"
    return card


@contextmanager
def _seeded(seed: int, number: int) -> Iterator[np.random.Generator]:
    """A generator for a batch; meanwhile the generators that augmentations use are seeded alike, then put back."""
    rng = np.random.default_rng([seed, number])
    before = np.random.get_state()  # noqa: NPY002 - lightly draws from it
    with torch.random.fork_rng(devices=[]):
        np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002
        torch.manual_seed(int(rng.integers(2**63)))
        try:
            yield rng
        finally:
            np.random.set_state(before)  # noqa: NPY002


def template(network: str) -> Card:
    """The card of a network of the zoo with random weights."""
    found = NETWORKS[network]
    return Card(
        name=f"zoo-{network}",
        kind="frozen",
        description="random",
        paper="",
        license="MIT",
        default_layer=list(found.layers)[-1],
        architecture=found.architecture,
        weights=Weights("random"),
        preprocessing=PREPROCESSING,
        pretraining=Pretraining("none", "none", "none"),
        layers=found.layers,
    )


def _build(config: Config) -> Learning:
    card = template(config.network)
    channels = card.layers[card.default_layer].channels
    learning = OBJECTIVES[config.objective].learning(Trunk(frozen.construct(card), channels))
    return learning.to(memory_format=frozen.LAYOUT)


def _write(config: Config, out: Path, name: str, network: nn.Module) -> Path:
    """Write `NAME.safetensors` and its card `NAME.toml`."""
    assert isinstance(network, Learning)
    backbone, objective = network.trunk.backbone, OBJECTIVES[config.objective]
    weights, card = out / f"{name}.safetensors", out / f"{name}.toml"
    blank, steps, seed = template(config.network), config.train.steps, config.train.seed
    try:
        replace_file(weights, save({key: _half(value) for key, value in backbone.state_dict().items()}))
        made = replace(
            blank,
            name=name,
            description=f"{objective.method}, small {_KINDS[config.network]}: {steps} steps, seed {seed}",
            paper=objective.paper,
            architecture=replace(blank.architecture, parameters=frozen.parameters(backbone, ())),
            weights=Weights(f"file:{weights.name}", sha256=sha256(weights), verified=True),
            pretraining=Pretraining(objective.method, DATA, objective.supervision),
        )
        return draft_card.write(made, card)
    except OutputError as error:
        raise TrainingError(str(error)) from error


def _half(value: Tensor) -> Tensor:
    rounded = value.half() if value.is_floating_point() else value
    return rounded.detach().cpu().contiguous()
