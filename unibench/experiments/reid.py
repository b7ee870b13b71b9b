"""A re-identification model of rendered shapes, trained in seconds: the teacher of TDT's experiment."""

from pathlib import Path

import numpy as np
import tomli_w
import torch
from jaxtyping import Int, UInt8
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from unibench.datasets.synthetic import shapes
from unibench.geometry.canvas import crop
from unibench.models.architectures.crops import CropNet
from unibench.models.download import sha256

CHANNELS, DIM = [32, 64, 96], 64
SIZE = (48, 48)
"""Height and width of a crop, pixels."""
CLIPS, FRAMES = 80, 8
"""Of the training; every clip has other identities."""
BATCH, RATE, SCALE = 128, 3e-3, 16.0
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def crops(word: str, clips: int) -> tuple[UInt8[Tensor, "crop 3 height width"], Int[Tensor, " crop"]]:
    """Render crops of identities.

    Args:
        word: Another word gives other identities.
        clips: How many clips they are cut out of.

    Returns:
        Crops of `SIZE`, and the number of the identity of each.
    """
    cut, owners = [], []
    for number in range(clips):
        scene = shapes.scene(f"reid/{word}/{number}", FRAMES)
        for index in range(FRAMES):
            image, labels, _ = shapes.paint(scene, index)
            cut += crop(image, labels.boxes, SIZE)
            owners += [number * shapes.CAST + int(one) for one in labels.ids]
    _, ids = np.unique(owners, return_inverse=True)
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2), torch.from_numpy(ids)


def train(out: Path, *, steps: int = 300, seed: int = 0, name: str = "reid-shapes") -> Path:
    """Train a small network to tell rendered shapes apart, and write its weights and card.

    Args:
        out: Folder of both.
        steps: Of training.
        seed: Of parameters and draws.
        name: Of the model.

    Returns:
        The card.
    """
    images, ids = crops("train", CLIPS)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CropNet(CHANNELS, DIM).train()
        centres = nn.Parameter(torch.randn(int(ids.max()) + 1, DIM))
        optimizer = torch.optim.AdamW([*network.parameters(), centres], lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for _ in range(steps):
            rows = torch.randint(len(images), (BATCH,))
            turned = torch.rot90(images[rows], int(torch.randint(4, ())), (2, 3))
            embeddings = network((turned / 255 - mean) / std)["embedding"].mean(dim=(2, 3))
            cosines = F.normalize(embeddings) @ F.normalize(centres).T
            optimizer.zero_grad()
            F.cross_entropy(SCALE * cosines, ids[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return _write(out, network.eval(), name)


def _write(out: Path, network: nn.Module, name: str) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    weights, card = out / f"{name}.safetensors", out / f"{name}.toml"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, weights)
    table = {
        "kind": "frozen",
        "description": "Three convolutions, trained in seconds to tell rendered shapes apart: a teacher for tdt",
        "paper": "https://arxiv.org/abs/2205.05583",
        "license": "MIT",
        "default_layer": "embedding",
        "architecture": {
            "loader": "python",
            "name": "unibench.models.architectures.crops:crop_net",
            "parameters": sum(one.numel() for one in network.parameters()),
            "options": {"channels": CHANNELS, "dim": DIM},
        },
        "weights": {"source": f"file:{weights.name}", "sha256": sha256(weights), "verified": True},
        "preprocessing": {"color": "rgb", "divisor": 255.0, "mean": list(MEAN), "std": list(STD)},
        "pretraining": {
            "method": "supervised re-identification",
            "data": "rendered shapes",
            "supervision": "labels",
        },
        "layers": {
            layer: {"node": layer, "stride": 2 ** len(CHANNELS), "channels": width}
            for layer, width in (("trunk", CHANNELS[-1]), ("embedding", DIM))
        },
    }
    card.write_text(tomli_w.dumps(table), encoding="utf-8")
    return card
