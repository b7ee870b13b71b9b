"""TrIVD's network: maps of an image or a clip, queries that look at two frames, and the words that they are about.

Where a module is Deformable DETR's, its tensors are named as in its authors' code, so that their files and those of
TrackFormer begin a training. Reimplementation from the paper; [G] choices are listed in the package's docstring.

Reference: Liu et al., "TrIVD: A Unified Model for Tracking and Image-Video Detection Has More Power", section 3.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from unibench.geometry.box_tensors import corners
from unibench.joint.layers.deformable_transformer import DeformableTransformer, Level, TrackQueries
from unibench.joint.layers.dyhead import DyConv, TemporalMean
from unibench.joint.layers.resnet_fpn import normalise
from unibench.joint.layers.sine import sine_3d
from unibench.joint.trivd.config import FRAMES, GROUPS, TextOptions, TrivdConfig
from unibench.joint.trivd.mvit import Mvit
from unibench.joint.trivd.text import NameEncoder, Prompt, TextEncoder, load_encoder

CELLS = 3
"""Rows and columns of what is taken of a map inside a box."""
Maps = tuple[Float[Tensor, "batch dim _h _w"], ...]
"""Of an image, or of a clip around it; fine to coarse."""


@dataclass(frozen=True, eq=False)
class Words:
    """A prompt as queries are compared with it."""

    prompt: Prompt
    tokens: Float[Tensor, "token dim"]
    contrast: Float[Tensor, "token contrast"]
    """Of unit length."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What queries have found: first the track queries, then the object queries, after each layer of the decoder."""

    logits: Float[Tensor, "layer batch query token_or_none"]
    """Of the soft-max over the prompt's tokens and, last, no object."""
    boxes: Float[Tensor, "layer batch query 4"]
    """Centre, width, height, as shares of the canvas's sides."""
    contrast: Float[Tensor, "layer batch query contrast"]
    """Of unit length."""
    hidden: Float[Tensor, "batch query dim"]
    """After the last layer: the content of a track query in the next frame."""
    words: Words

    @property
    def scores(self) -> Float[Tensor, "batch query class"]:
        """Probability of each class of the prompt, after the last layer: the sum of those of its tokens."""
        likely = self.logits[-1].float().softmax(dim=-1)
        return torch.stack(
            [likely[..., slice(*span)].sum(dim=-1) for span in self.words.prompt.spans], dim=-1
        )


class Resizer(nn.Module):
    """From the text encoder's channels to those of the queries, as in MDETR."""

    def __init__(self, width: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.fc = nn.Linear(width, dim)
        self.layer_norm = nn.LayerNorm(dim, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, words: Float[Tensor, "token width"]) -> Float[Tensor, "token dim"]:
        """Tokens, normalised."""
        result: Tensor = self.dropout(self.layer_norm(self.fc(words)))
        return result


class Trivd(nn.Module):
    """The whole network. No part of it knows a class by its number: names come in as a prompt."""

    def __init__(self, config: TrivdConfig) -> None:
        super().__init__()
        options = config.network
        dim, layers = options.dim, options.decoder_layers
        self.backbone = Mvit(config.backbone)
        self.input_proj = nn.ModuleList(_projection(width, dim, kernel=1) for width in self.backbone.widths)
        self.input_proj.append(_projection(self.backbone.widths[-1], dim, kernel=3))
        self.dyhead = nn.ModuleList(DyConv(dim) for _ in range(options.blocks))
        self.temporal = nn.ModuleList(TemporalMean(dim) for _ in self.input_proj)
        self.transformer = DeformableTransformer(options.transformer)
        self.query_embed = nn.Embedding(options.queries, 2 * dim)
        self.text = _encoder(config.text)
        self.resizer = Resizer(self.text.width, dim, config.text.dropout)
        self.class_embed = nn.ModuleList(nn.Linear(dim, dim + 1) for _ in range(layers))
        if config.losses.regions:  # no part of the network at work
            self.region_embed = nn.Linear(CELLS * CELLS * dim, dim)
        self.contrastive_align_projection_image = nn.Linear(dim, options.contrast)
        self.contrastive_align_projection_text = nn.Linear(dim, options.contrast)

    def read(self, names: Sequence[str]) -> Words:
        """Encode class names.

        Raises:
            UnibenchError: They make no prompt: see `text.TextEncoder.prompt`.
        """
        prompt = self.text.prompt(names)
        tokens = self.resizer(self.text(prompt))
        return Words(prompt, tokens, F.normalize(self.contrastive_align_projection_text(tokens), dim=-1))

    def look(self, clips: Float[Tensor, "batch frame 3 height width"] | UInt8[Tensor, "..."]) -> Maps:
        """Look at clips, RGB 0 to 255; a clip of one frame is an image.

        All frames of a clip count alike: the maps are those of the frame around which it lies.
        """
        return self.attend(self.see(clips.flatten(0, 1)), len(clips))

    def see(self, images: Float[Tensor, "image 3 height width"] | UInt8[Tensor, "..."]) -> Maps:
        """Map each image by itself, RGB 0 to 255."""
        maps = list(self.backbone(normalise(images.float())).values())
        return tuple(project(one) for project, one in zip(self.input_proj, [*maps, maps[-1]], strict=True))

    def attend(self, maps: Maps, clips: int) -> Maps:
        """Bring together the levels of each frame, then the frames of each clip.

        Args:
            maps: From `see`, of all frames of all clips.
            clips: How many there are.
        """
        levels = list(maps)
        for block in self.dyhead:
            levels = block(levels)
        return tuple(
            mean(one.view(clips, -1, *one.shape[1:])) for mean, one in zip(self.temporal, levels, strict=True)
        )

    def forward(
        self, previous: Maps, current: Maps, words: Words, tracks: TrackQueries | None = None
    ) -> Outputs:
        """Let queries look at two frames; an image by itself is its own previous frame.

        Args:
            previous: Maps of the previous frame.
            current: Maps of the current frame, of the same sizes.
            words: What is looked for.
            tracks: Objects of the previous frame.
        """
        frames = [_levels(maps, time) for time, maps in enumerate((previous, current))]
        found = self.transformer(frames, self.query_embed.weight, tracks)
        return Outputs(
            logits=torch.stack(
                [_name(say(one), words) for say, one in zip(self.class_embed, found.hidden, strict=True)]
            ),
            boxes=found.boxes,
            contrast=F.normalize(self.contrastive_align_projection_image(found.hidden), dim=-1),
            hidden=found.hidden[-1],
            words=words,
        )

    def name_regions(
        self, maps: Maps, boxes: Sequence[Float[Tensor, "_object 4"]], words: Words
    ) -> Float[Tensor, "level object token_or_none"]:
        """Say what lies in boxes by each map alone, as the decoder's last layer says it of a query.

        Args:
            maps: From `see`.
            boxes: Of each image: centre, width, height, as shares of the canvas's sides.
            words: What may lie there.

        Returns:
            Logits as in `Outputs`, of the objects of all images one after the other.
        """
        level_logits = []
        for one in maps:
            sides = one.new_tensor([one.shape[3], one.shape[2]] * 2)
            regions = [corners(some) * sides for some in boxes]
            inside = roi_align(one, regions, CELLS, sampling_ratio=2, aligned=True).flatten(1)
            level_logits.append(_name(self.class_embed[-1](self.region_embed(inside)), words))
        return torch.stack(level_logits)


def _name(about: Float[Tensor, "... dim_and_none"], words: Words) -> Float[Tensor, "... token_or_none"]:
    """Likeness to each token of the prompt and, last, to none."""
    likeness = about[..., :-1] @ words.tokens.T / math.sqrt(words.tokens.shape[1])
    return torch.cat([likeness, about[..., -1:]], dim=-1)


def _projection(channels: int, dim: int, *, kernel: int) -> nn.Sequential:
    """With a kernel of 3 it halves the map."""
    convolution = nn.Conv2d(channels, dim, kernel, stride=2 if kernel == 3 else 1, padding=kernel // 2)
    nn.init.xavier_uniform_(convolution.weight)
    nn.init.zeros_(convolution.get_parameter("bias"))
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, dim))


def _encoder(options: TextOptions) -> TextEncoder:
    return load_encoder(Path(options.folder)) if options.folder else NameEncoder()


def _levels(maps: Maps, time: int) -> list[Level]:
    """Maps with their places in space and time; the whole canvas is image, what is beside a frame too."""
    levels = []
    for one in maps:
        padding = torch.zeros(one.shape[0], *one.shape[2:], dtype=torch.bool, device=one.device)
        positions = sine_3d(padding, one.shape[1], FRAMES)[:, time]
        levels.append(Level(one, positions.to(one.dtype), padding))
    return levels
