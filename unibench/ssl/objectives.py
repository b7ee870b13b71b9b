"""The objectives: what each draws from the diet, and the loss that it minimises.

Losses, heads and augmentations come from lightly; all that compare views of an image get the same two views. Only the
contrastive random walk is our own, since lightly has none.
"""

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from unibench.errors import TrainingError
from unibench.ssl import diet as diets
from unibench.ssl.diet import Diet
from unibench.ssl.networks import PREPROCESSING, Trunk

HIDDEN, DIM = 256, 128
"""Widths of the projection heads."""
MOMENTUM = 0.99
"""Decay of the moving average of a network, where an objective has one; papers' trainings are longer, with more."""
QUEUE = 4096
"""Embeddings that MoCo and DenseCL remember."""
GRID = 4
"""Side of the grid of cells that DenseCL compares."""
PROTOTYPES = 100
MASKED = 0.75
"""Share of the patches that a masked autoencoder does not see."""
TIME, PATCH, STEP, TEMPERATURE, DROPOUT = 4, 32, 16, 0.07, 0.1
"""Of the random walk: frames, side and distance of its patches (pixels), temperature, share of edges left out."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What a network sees in a step."""

    images: tuple[Float[Tensor, "sample *_frame 3 height width"], ...]
    """One a view, prepared as the cards say; clips have an axis of frames."""
    labels: Int[Tensor, " sample"]
    """Class or quarter turns; zeros where the objective has no labels."""


Sample = tuple[list[Tensor], int]
Draw = Callable[[Diet, np.random.Generator], Sample]
Draws = Callable[[int], Draw]
"""Side of a view, pixels -> what draws a sample."""


class Learning(nn.Module, ABC):
    """A trunk and what the objective puts on it."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def embed(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channel"]:
        """The mean of the last map."""
        pooled: Tensor = self.trunk(images).mean(dim=(2, 3))
        return pooled

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the named terms of the loss."""


@dataclass(frozen=True)
class Objective:
    """One way to learn."""

    method: str
    paper: str
    supervision: str
    """As cards say it."""
    draws: Draws
    learning: Callable[[Trunk], Learning]


def lightly(module: str) -> Any:
    """Import a module of lightly, which only training needs.

    Raises:
        TrainingError: It is not installed.
    """
    try:
        return import_module(f"lightly.{module}")
    except ImportError as error:
        raise TrainingError(
            "train-ssl: lightly is not installed, expected 1.6 or newer for losses and augmentations; "
            "uv sync --group ssl, or pip install 'lightly>=1.6'"
        ) from error


class Classes(Learning):
    """Cross-entropy over classes, from the mean of the map."""

    def __init__(self, trunk: Trunk, classes: int) -> None:
        super().__init__(trunk)
        self.head = nn.Linear(trunk.channels, classes)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Tell the classes of the first view."""
        return {"cross_entropy": F.cross_entropy(self.head(self.embed(batch.images[0])), batch.labels)}


class SimCLR(Learning):
    """Two views of an image are alike, views of others in the batch are not."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__(trunk)
        self.head = lightly("models.modules.heads").SimCLRProjectionHead(trunk.channels, HIDDEN, DIM)
        self.criterion = lightly("loss").NTXentLoss(temperature=0.2)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Contrast the views."""
        first, second = (self.head(self.embed(view)) for view in batch.images)
        return {"contrast": self.criterion(first, second)}


class BarlowTwins(Learning):
    """The elements of the embeddings of two views correlate with themselves alone."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__(trunk)
        self.head = lightly("models.modules.heads").BarlowTwinsProjectionHead(trunk.channels, HIDDEN, HIDDEN)
        self.criterion = lightly("loss").BarlowTwinsLoss()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Correlate the views."""
        first, second = (self.head(self.embed(view)) for view in batch.images)
        return {"redundancy": self.criterion(first, second)}


class SwAV(Learning):
    """The prototypes of one view are foretold from the other."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__(trunk)
        heads = lightly("models.modules.heads")
        self.head = heads.SwaVProjectionHead(trunk.channels, HIDDEN, DIM)
        self.prototypes = heads.SwaVPrototypes(DIM, PROTOTYPES)
        self.criterion = lightly("loss").SwaVLoss()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Swap the prototypes of the views."""
        self.prototypes.normalize()
        scores = [
            self.prototypes(F.normalize(self.head(self.embed(view)), dim=1), step=None)
            for view in batch.images
        ]
        return {"swapped": self.criterion(scores, []).squeeze()}


class Averaged(Learning):
    """An objective that also runs a moving average of its trunk and head; no gradient reaches the average."""

    def __init__(self, trunk: Trunk, head: Callable[[], nn.Module]) -> None:
        super().__init__(trunk)
        self.head, self.mean_head = head(), head()
        self.mean_head.load_state_dict(self.head.state_dict())
        self.mean_trunk = copy.deepcopy(trunk)

    @torch.no_grad()
    def average(self) -> None:
        """Take the parameters into the average; batch norms of both use the batch's own statistics."""
        update = lightly("models.utils").update_momentum
        update(self.trunk, self.mean_trunk, m=MOMENTUM)
        update(self.head, self.mean_head, m=MOMENTUM)

    @torch.no_grad()
    def embed_mean(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Embed with the average."""
        embedded: Tensor = self.mean_head(self.mean_trunk(images).mean(dim=(2, 3)))
        return embedded


def _with_queue() -> nn.Module:
    """A contrast with remembered embeddings; lightly leaves these out of the state, which a resumed training needs."""
    criterion: nn.Module = lightly("loss").NTXentLoss(temperature=0.2, memory_bank_size=(QUEUE, DIM))
    memory: Any = criterion.memory_bank
    for name, buffer in list(memory.named_buffers()):
        memory.register_buffer(name, buffer, persistent=True)
    return criterion


class MoCo(Averaged):
    """Two views of an image are alike, those remembered of earlier batches are not."""

    def __init__(self, trunk: Trunk) -> None:
        heads = lightly("models.modules.heads")
        super().__init__(trunk, lambda: heads.MoCoProjectionHead(trunk.channels, HIDDEN, DIM))
        self.criterion = _with_queue()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Contrast the first view with the second and with the queue."""
        self.average()
        first, second = batch.images
        return {"contrast": self.criterion(self.head(self.embed(first)), self.embed_mean(second))}


class BYOL(Averaged):
    """One view foretells what the average makes of the other."""

    def __init__(self, trunk: Trunk) -> None:
        heads = lightly("models.modules.heads")
        super().__init__(trunk, lambda: heads.BYOLProjectionHead(trunk.channels, HIDDEN, DIM))
        self.predictor = heads.BYOLPredictionHead(DIM, HIDDEN, DIM)
        self.criterion = lightly("loss").NegativeCosineSimilarity()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Foretell either view from the other."""
        self.average()
        first, second = batch.images
        losses = [
            self.criterion(self.predictor(self.head(self.embed(one))), self.embed_mean(other))
            for one, other in ((first, second), (second, first))
        ]
        return {"similarity": torch.stack(losses).mean()}


class DINO(Averaged):
    """One view foretells the distribution that the average gives the other, sharpened and centred."""

    def __init__(self, trunk: Trunk) -> None:
        heads = lightly("models.modules.heads")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # lightly 1.6 calls torch's older weight_norm
            super().__init__(
                trunk, lambda: heads.DINOProjectionHead(trunk.channels, HIDDEN, DIM // 2, 8 * DIM)
            )
        self.criterion = lightly("loss").DINOLoss(output_dim=8 * DIM)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Distil the average."""
        self.average()
        told = [self.embed_mean(view) for view in batch.images]
        return {"distillation": self.criterion(told, [self.head(self.embed(view)) for view in batch.images])}


class DenseCL(Averaged):
    """MoCo, half of it between cells of the maps: a cell's partner is the cell of the other view most like it."""

    def __init__(self, trunk: Trunk) -> None:
        heads = lightly("models.modules.heads")
        super().__init__(trunk, lambda: heads.DenseCLProjectionHead(trunk.channels, HIDDEN, DIM))
        self.cells = heads.DenseCLProjectionHead(trunk.channels, HIDDEN, DIM)
        self.mean_cells = copy.deepcopy(self.cells)
        self.criterion, self.cell_criterion = _with_queue(), _with_queue()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Contrast images and cells."""
        self.average()
        utils = lightly("models.utils")
        utils.update_momentum(self.cells, self.mean_cells, m=MOMENTUM)
        first, second = batch.images
        query = self._cells(self.trunk(first))
        with torch.no_grad():
            key = self._cells(self.mean_trunk(second))
            key_whole, key_cells = self.mean_head(key.mean(dim=1)), self.mean_cells(key)
            partners = utils.select_most_similar(query, key, key_cells)
        whole = self.criterion(self.head(query.mean(dim=1)), key_whole)
        cells = self.cell_criterion(self.cells(query).flatten(0, 1), partners.flatten(0, 1))
        return {"contrast": whole / 2, "cells": cells / 2}

    @staticmethod
    def _cells(
        features: Float[Tensor, "batch channel h w"],
    ) -> Float[Tensor, "batch cell channel"]:
        return F.adaptive_avg_pool2d(features, GRID).flatten(2).transpose(1, 2)


class MaskedAutoencoder(Learning):
    """Patches that a ViT does not see are drawn from those that it sees."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__(trunk)
        vit: Any = trunk.backbone
        modules, self.side = lightly("models.modules"), vit.patch_embed.patch_size[0]
        self.encoder = modules.MaskedVisionTransformerTIMM(vit=vit)
        self.between = nn.Linear(trunk.channels, trunk.channels)
        self.decoder = modules.MaskedVisionTransformerDecoderTIMM(
            num_patches=vit.patch_embed.num_patches, embed_dim=trunk.channels, depth=1, num_heads=4
        )
        self.pixels = nn.Linear(trunk.channels, 3 * self.side**2)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Draw masked patches, each normalised."""
        utils, images = lightly("models.utils"), batch.images[0]
        size = len(images), self.encoder.sequence_length
        kept, masked = utils.random_token_mask(size=size, mask_ratio=MASKED, device=images.device)
        seen = self.between(self.encoder.encode(images=images, idx_keep=kept))
        tokens = utils.set_at_index(images.new_zeros(*size, seen.shape[-1]), kept, seen)
        drawn = self.pixels(utils.get_at_index(self.decoder(tokens, idx_mask=masked), masked))
        patches = utils.get_at_index(utils.patchify(images, self.side), masked - 1)  # token 0 is no patch
        return {"patches": F.mse_loss(drawn, utils.normalize_mean_var(patches, dim=-1))}


class RandomWalk(Learning):
    """A walk over patches forwards through a clip and back ends where it began.

    Reference:
        Jabri et al.: Space-Time Correspondence as a Contrastive Random Walk, NeurIPS 2020, section 2.
    """

    def __init__(self, trunk: Trunk) -> None:
        super().__init__(trunk)
        self.head = nn.Linear(trunk.channels, DIM)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Walk there and back over 1, 2, ... frames; the loss is the cross-entropy of the return."""
        (clips,) = batch.images
        samples, time = clips.shape[:2]
        patches = clips.flatten(0, 1).unfold(2, PATCH, STEP).unfold(3, PATCH, STEP)
        nodes = patches.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        embedded = F.normalize(self.head(self.embed(nodes)), dim=1).reshape(samples, time, -1, DIM)
        affinity = embedded[:, :-1] @ embedded[:, 1:].transpose(2, 3) / TEMPERATURE
        there, back = self._steps(affinity), self._steps(affinity.transpose(2, 3))
        home = torch.arange(there.shape[-1], device=clips.device).repeat(samples)
        losses = []
        for length in range(1, time):
            walk = there[:, 0]
            for step in (*there[:, 1:length].unbind(1), *back[:, :length].flip(1).unbind(1)):
                walk = walk @ step
            losses.append(F.nll_loss((walk + 1e-12).log().flatten(0, 1), home))
        return {"return": torch.stack(losses).mean()}

    @staticmethod
    def _steps(affinity: Float[Tensor, "sample step node node"]) -> Float[Tensor, "sample step node node"]:
        """Probabilities of each step, some edges left out."""
        dropped = torch.rand_like(affinity) < DROPOUT
        return F.softmax(affinity.masked_fill(dropped, -1e4), dim=-1)


def _views(side: int) -> Any:
    """Two views, the same for all objectives that compare views; crops are larger and blur is weaker than at 224."""
    return lightly("transforms").SimCLRTransform(
        input_size=side, min_scale=0.25, cj_strength=0.5, sigmas=(0.1, 1.0)
    )


def _two_views(side: int) -> Draw:
    transform = _views(side)
    return lambda diet, rng: (transform(diets.image(diet, rng)), 0)


def _turned(side: int) -> Draw:
    view = _views(side).transforms[0]

    def draw(diet: Diet, rng: np.random.Generator) -> Sample:
        turns = int(rng.integers(4))
        return [torch.rot90(view(diets.image(diet, rng)), turns, (1, 2))], turns

    return draw


def _classified(side: int) -> Draw:
    view = _views(side).transforms[0]

    def draw(diet: Diet, rng: np.random.Generator) -> Sample:
        image, label = diets.shape(diet, rng)
        return [view(image)], label

    return draw


def _whole(side: int) -> Draw:
    transform = lightly("transforms").MAETransform(input_size=side, min_scale=0.25)
    return lambda diet, rng: (transform(diets.image(diet, rng)), 0)


def _walked(side: int) -> Draw:
    """Clips in their own size."""
    mean, std = (torch.tensor(value)[:, None, None] for value in (PREPROCESSING.mean, PREPROCESSING.std))

    def draw(diet: Diet, rng: np.random.Generator) -> Sample:
        frames = torch.from_numpy(np.ascontiguousarray(diets.clip(diet, rng, TIME))).permute(0, 3, 1, 2)
        return [(frames / PREPROCESSING.divisor - mean) / std], 0

    return draw


OBJECTIVES: Mapping[str, Objective] = {
    "supervised": Objective(
        "supervised", "https://arxiv.org/abs/2107.02156", "labels", _classified,
        lambda trunk: Classes(trunk, diets.CLASSES),
    ),
    "rotation": Objective(
        "RotNet", "https://arxiv.org/abs/1803.07728", "self", _turned, lambda trunk: Classes(trunk, 4)
    ),
    "simclr": Objective("SimCLR", "https://arxiv.org/abs/2002.05709", "self", _two_views, SimCLR),
    "moco": Objective("MoCo v2", "https://arxiv.org/abs/2003.04297", "self", _two_views, MoCo),
    "byol": Objective("BYOL", "https://arxiv.org/abs/2006.07733", "self", _two_views, BYOL),
    "barlow": Objective("Barlow Twins", "https://arxiv.org/abs/2103.03230", "self", _two_views, BarlowTwins),
    "swav": Objective("SwAV", "https://arxiv.org/abs/2006.09882", "self", _two_views, SwAV),
    "dino": Objective("DINO", "https://arxiv.org/abs/2104.14294", "self", _two_views, DINO),
    "densecl": Objective("DenseCL", "https://arxiv.org/abs/2011.09157", "self", _two_views, DenseCL),
    "mae": Objective("MAE", "https://arxiv.org/abs/2111.06377", "self", _whole, MaskedAutoencoder),
    "crw": Objective("CRW", "https://arxiv.org/abs/2006.14613", "self", _walked, RandomWalk),
}  # fmt: skip
