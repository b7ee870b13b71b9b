"""Deformable DETR's transformer with box refinement, for one frame or several; tensors are named as in its code.

With two frames it is TrackFormer's, and a file of either loads.

Reference: Zhu et al., "Deformable DETR", ICLR 2021; Meinhardt et al., "TrackFormer", CVPR 2022, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from unibench.joint.layers.deformable_attention import DeformableAttention

SIDES = -2.0
"""Logit of width and height that an untrained first layer gives."""


@dataclass(frozen=True)
class TransformerOptions:
    """Sizes of a transformer."""

    dim: int
    """Of cells and queries, a multiple of the heads."""
    levels: int
    """Maps of each frame."""
    frames: int
    """1: Deformable DETR; 2: TrackFormer, previous and current frame."""
    heads: int
    points: int
    """That each head looks at in each level."""
    feedforward: int
    """Hidden width of the feed-forward networks."""
    encoder_layers: int
    decoder_layers: int
    dropout: float


@dataclass(frozen=True)
class Level:
    """One map of a frame, of a whole batch."""

    features: Float[Tensor, "batch dim h w"]
    positions: Float[Tensor, "batch dim h w"]
    padding: Bool[Tensor, "batch h w"]
    """True on cells beyond the image, which is at the top left."""


@dataclass(frozen=True)
class Memory:
    """What queries look at: cells of all levels, row by row, one level after the other."""

    tokens: Float[Tensor, "batch cell dim"]
    shapes: tuple[tuple[int, int], ...]
    """Height and width of each level."""
    padding: Bool[Tensor, "batch cell"]
    valid: Float[Tensor, "batch level 2"]
    """Shares of a level's width and height that belong to the image, more than 0."""


@dataclass(frozen=True)
class TrackQueries:
    """Queries that stand for objects of the previous frame; each image of a batch has as many."""

    content: Float[Tensor, "batch track dim"]
    """Their last hidden states."""
    centres: Float[Tensor, "batch track 2"]
    """x, y of their last boxes, as shares of the image's sides."""


@dataclass(frozen=True)
class Decoded:
    """Queries after each layer of the decoder; track queries come first."""

    hidden: Float[Tensor, "layer batch query dim"]
    boxes: Float[Tensor, "layer batch query 4"]
    """Centre, width, height, as shares of the image's sides without padding."""


def cell_centres(shape: tuple[int, int], like: Tensor) -> Float[Tensor, "cell 2"]:
    """Find x, y of a map's cells, row by row, as shares of its width and height.

    Args:
        shape: Height and width of the map.
        like: Has the device and the type of the result.

    Returns:
        More than 0, less than 1.
    """
    y, x = ((torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) / side for side in shape)
    return torch.stack([x.expand(shape), y[:, None].expand(shape)], dim=-1).flatten(0, 1)


class EncoderLayer(nn.Module):
    """Deformable attention, then a feed-forward network; each is added and normalised."""

    def __init__(
        self, dim: int, *, levels: int, heads: int, points: int, feedforward: int, dropout: float
    ) -> None:
        """Build it.

        Args:
            dim: Of cells, a multiple of the heads.
            levels: Maps that are looked at.
            heads: Which look apart.
            points: Of each head in each level.
            feedforward: Hidden width.
            dropout: Share.
        """
        super().__init__()
        self.self_attn = DeformableAttention(dim, levels=levels, heads=heads, points=points)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.linear1, self.linear2 = nn.Linear(dim, feedforward), nn.Linear(feedforward, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Float[Tensor, "batch cell dim"],
        positions: Float[Tensor, "batch cell dim"],
        references: Float[Tensor, "batch cell level 2"],
        shapes: Sequence[tuple[int, int]],
        padding: Bool[Tensor, "batch cell"] | None = None,
    ) -> Float[Tensor, "batch cell dim"]:
        """Each cell looks around itself; the arguments are those of `DeformableAttention`."""
        seen = self.self_attn(tokens + positions, references, tokens, shapes, padding)
        tokens = self.norm1(tokens + self.dropout(seen))
        added = self.linear2(self.dropout(F.relu(self.linear1(tokens))))
        result: Tensor = self.norm2(tokens + self.dropout(added))
        return result


class DecoderLayer(nn.Module):
    """Queries see one another, then the memory, then a feed-forward network; each is added and normalised."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        dim, levels = options.dim, options.levels * options.frames
        self.cross_attn = DeformableAttention(dim, levels=levels, heads=options.heads, points=options.points)
        self.norm1 = nn.LayerNorm(dim)
        self.self_attn = nn.MultiheadAttention(dim, options.heads, dropout=options.dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1, self.linear2 = nn.Linear(dim, options.feedforward), nn.Linear(options.feedforward, dim)
        self.norm3 = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(options.dropout)

    def forward(
        self,
        content: Float[Tensor, "batch query dim"],
        positions: Float[Tensor, "batch query dim"],
        references: Float[Tensor, "batch query coordinate"],
        memory: Memory,
    ) -> Float[Tensor, "batch query dim"]:
        """References are points or boxes, as shares of the image's sides without padding."""
        placed = content + positions
        seen = self.self_attn(placed, placed, content, need_weights=False)[0]
        content = self.norm2(content + self.dropout(seen))
        # Shares of the image become shares of each level with its padding.
        scale = memory.valid.repeat(1, 1, references.shape[-1] // 2)
        seen = self.cross_attn(
            content + positions,
            references[:, :, None] * scale[:, None],
            memory.tokens,
            memory.shapes,
            memory.padding,
        )
        content = self.norm1(content + self.dropout(seen))
        added = self.linear2(self.dropout(F.relu(self.linear1(content))))
        result: Tensor = self.norm3(content + self.dropout(added))
        return result


class BoxNetwork(nn.Module):
    """Three linear layers that say how a query's reference changes, in logits; untrained, it leaves the centre."""

    def __init__(self, dim: int, *, sides: float) -> None:
        """Build it.

        Args:
            dim: Of hidden states.
            sides: What it says of width and height as long as it is untrained, in logits.
        """
        super().__init__()
        last = nn.Linear(dim, 4)
        nn.init.zeros_(last.weight)
        last.bias.data = torch.tensor([0, 0, sides, sides], device=last.bias.device)
        self.layers = nn.ModuleList([nn.Linear(dim, dim), nn.Linear(dim, dim), last])

    def forward(self, hidden: Float[Tensor, "batch query dim"]) -> Float[Tensor, "batch query 4"]:
        """Logits of centre, width, height, to be added to those of the reference."""
        first, second, last = self.layers
        result: Tensor = last(F.relu(second(F.relu(first(hidden)))))
        return result


class Encoder(nn.Module):
    """Holds the layers, one after the other."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(
                options.dim, levels=options.levels, heads=options.heads, points=options.points,
                feedforward=options.feedforward, dropout=options.dropout,
            )
            for _ in range(options.encoder_layers)
        )  # fmt: skip


class Decoder(nn.Module):
    """Each layer starts from the boxes of the one before, through which no gradient flows."""

    def __init__(self, options: TransformerOptions) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(options) for _ in range(options.decoder_layers))
        self.bbox_embed = nn.ModuleList(
            BoxNetwork(options.dim, sides=0.0 if layer else SIDES) for layer in range(options.decoder_layers)
        )

    def forward(
        self,
        content: Float[Tensor, "batch query dim"],
        positions: Float[Tensor, "batch query dim"],
        references: Float[Tensor, "batch query 2"],
        memory: Memory,
    ) -> Decoded:
        """The first layer looks around points and says where the box's sides are; the others around boxes."""
        hidden, boxes = [], []
        for layer, refine in zip(self.layers, self.bbox_embed, strict=True):
            content = layer(content, positions, references, memory)
            start = F.pad(references.logit(eps=1e-5), (0, 4 - references.shape[-1]))
            box = (refine(content) + start).sigmoid()
            references = box.detach()
            hidden.append(content)
            boxes.append(box)
        return Decoded(torch.stack(hidden), torch.stack(boxes))


class DeformableTransformer(nn.Module):
    """Encodes the maps of one frame or several, and decodes queries to hidden states and boxes."""

    def __init__(self, options: TransformerOptions) -> None:
        """Build it with random parameters.

        Args:
            options: Sizes.
        """
        super().__init__()
        self.options = options
        self.encoder, self.decoder = Encoder(options), Decoder(options)
        self.level_embed = nn.Parameter(torch.randn(options.frames * options.levels, options.dim))
        self.reference_points = nn.Linear(options.dim, 2)
        self._initialise()

    def _initialise(self) -> None:
        """As the authors do it; attention and box networks have done so themselves."""
        for module in self.modules():
            if isinstance(module, EncoderLayer | DecoderLayer):
                nn.init.xavier_uniform_(module.linear1.weight)
                nn.init.xavier_uniform_(module.linear2.weight)
            if isinstance(module, DecoderLayer):
                nn.init.xavier_uniform_(module.self_attn.out_proj.weight)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)

    def forward(
        self,
        frames: Sequence[Sequence[Level]],
        queries: Float[Tensor, "query positions_and_content"],
        tracks: TrackQueries | None = None,
    ) -> Decoded:
        """Encode each frame and decode the queries.

        Args:
            frames: Levels of each, oldest first, the current frame last; all of the same sizes.
            queries: Of objects: where each looks and what it is, learnt, (query, 2 dim).
            tracks: Objects of the previous frame.

        Returns:
            Hidden states and boxes of all layers.
        """
        memories = [self.encode(levels, frame) for frame, levels in enumerate(frames)]
        return self.decode(memories, queries, tracks)

    def encode(self, levels: Sequence[Level], frame: int) -> Memory:
        """Let the levels of one frame exchange information.

        A frame that was the current one is encoded anew when it is the previous one: its embeddings differ.

        Args:
            levels: Fine to coarse, or in any order that is always the same.
            frame: 0 for the oldest.

        Returns:
            What queries look at.
        """
        embeddings = self.level_embed.chunk(self.options.frames)[frame]
        tokens = torch.cat([_cells(one.features) for one in levels], dim=1)
        positions = torch.cat(
            [_cells(one.positions) + row for one, row in zip(levels, embeddings, strict=True)], dim=1
        )
        shapes = tuple((one.padding.shape[1], one.padding.shape[2]) for one in levels)
        padding = torch.cat([one.padding.flatten(1) for one in levels], dim=1)
        valid = torch.stack([_valid(one.padding) for one in levels], dim=1)
        centres = torch.cat(
            [cell_centres(shape, valid) / valid[:, level, None] for level, shape in enumerate(shapes)], dim=1
        )  # as shares of the image without padding; those of padding are beyond 1
        references = centres[:, :, None] * valid[:, None]
        for layer in self.encoder.layers:
            tokens = layer(tokens, positions, references, shapes, padding)
        return Memory(tokens, shapes, padding, valid)

    def decode(
        self,
        memories: Sequence[Memory],
        queries: Float[Tensor, "query positions_and_content"],
        tracks: TrackQueries | None = None,
    ) -> Decoded:
        """Let queries look at the memories of all frames; `forward` says what the arguments are."""
        memory = _join(memories[::-1])  # the current frame first, as in TrackFormer's files
        positions, content = queries.expand(len(memory.tokens), -1, -1).chunk(2, dim=-1)
        references = self.reference_points(positions).sigmoid()
        if tracks is not None:
            positions = torch.cat([torch.zeros_like(tracks.content), positions], dim=1)
            content = torch.cat([tracks.content, content], dim=1)
            references = torch.cat([tracks.centres, references], dim=1)
        result: Decoded = self.decoder(content, positions, references, memory)
        return result


def _cells(x: Float[Tensor, "batch dim h w"]) -> Float[Tensor, "batch cell dim"]:
    """Row by row."""
    return x.flatten(2).transpose(1, 2)


def _valid(padding: Bool[Tensor, "batch h w"]) -> Float[Tensor, "batch 2"]:
    """Shares of width and height that are not padding; a level of nothing but padding counts one cell."""
    h, w = padding.shape[1:]
    columns = (~padding).any(dim=1).sum(dim=1).clamp(min=1) / w
    rows = (~padding).any(dim=2).sum(dim=1).clamp(min=1) / h
    return torch.stack([columns, rows], dim=-1)


def _join(memories: Sequence[Memory]) -> Memory:
    """The levels of all, as those of one."""
    return Memory(
        torch.cat([one.tokens for one in memories], dim=1),
        tuple(shape for one in memories for shape in one.shapes),
        torch.cat([one.padding for one in memories], dim=1),
        torch.cat([one.valid for one in memories], dim=1),
    )
