"""How two frames of Unicorn exchange information and are compared: embeddings of cells, correspondence, target prior.

Reference: Yan et al., "Towards Grand Unification of Object Tracking", ECCV 2022, section 3.2.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unibench.joint.layers.deformable_transformer import EncoderLayer, cell_centres
from unibench.joint.unicorn.config import NetworkOptions

STRIDE = 8
"""Of embeddings and priors, pixels."""
PAIRS = 1 << 22
"""Pairs of cells whose likeness is in memory at a time: 16 MB in single precision; 800 x 1280 has 256 million."""


class Positions(nn.Module):
    """A learnt table of positions, stretched over a map of any size."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.row_embed = nn.Embedding(side, channels // 2)
        self.col_embed = nn.Embedding(side, channels // 2)
        for table in (self.row_embed, self.col_embed):
            nn.init.uniform_(table.weight)

    def forward(self, h: int, w: int) -> Float[Tensor, "1 channel h w"]:
        """Of a map of height h and width w: first what the column says, then what the row says."""
        rows, columns = self.row_embed.weight.T, self.col_embed.weight.T
        side = rows.shape[1]
        table = torch.cat([columns[:, None].expand(-1, side, -1), rows[:, :, None].expand(-1, -1, side)])
        return F.interpolate(table[None], size=(h, w), mode="bilinear", align_corners=False)


class Encoder(nn.Module):
    """The layers; one."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        layer = EncoderLayer(
            options.interaction_channels, levels=2, heads=options.heads, points=options.points,
            feedforward=options.feedforward, dropout=options.dropout,
        )  # fmt: skip
        self.layers = nn.ModuleList([layer])


class Interaction(nn.Module):
    """Two frames as two levels of one deformable encoder."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(2, options.interaction_channels))
        self.encoder = Encoder(options)

    def forward(
        self,
        reference: Float[Tensor, "batch dim h w"],
        current: Float[Tensor, "batch dim h w"],
        positions: Float[Tensor, "1 dim h w"],
    ) -> tuple[Tensor, Tensor]:
        """Maps of two frames -> the same after they have exchanged information."""
        h, w = reference.shape[2:]
        tokens = torch.cat([one.flatten(2).transpose(1, 2) for one in (reference, current)], dim=1)
        places = positions.flatten(2).transpose(1, 2)
        both = torch.cat([places + level for level in self.level_embed], dim=1)
        centres = cell_centres((h, w), tokens).repeat(2, 1)
        references = centres[None, :, None].expand(len(tokens), -1, 2, -1)
        for layer in self.encoder.layers:
            tokens = layer(tokens, both, references, [(h, w), (h, w)])
        first, second = (one.transpose(1, 2).reshape(len(one), -1, h, w) for one in tokens.chunk(2, dim=1))
        return first, second


def propagate(
    reference: Float[Tensor, "dim h w"],
    current: Float[Tensor, "dim h w"],
    labels: Float[Tensor, "object h w"],
) -> Float[Tensor, "object h w"]:
    """Say where in a frame the objects of a reference frame probably are.

    Each cell of the frame takes the mean label of the reference's cells, weighted by the soft-max of likeness.

    Args:
        reference: Embeddings.
        current: Embeddings.
        labels: In the reference, 0 to 1.

    Returns:
        The target prior, 0 to 1.
    """
    keys, queries, values = reference.flatten(1), current.flatten(1).T, labels.flatten(1).T
    step = max(1, PAIRS // keys.shape[1])
    # Block by block, as the whole matrix takes a gigabyte; along rows, as neighbours in memory are summed faster.
    parts = [(some @ keys).softmax(dim=1) @ values for some in torch.split(queries, step)]
    return torch.cat(parts).T.reshape(len(labels), *current.shape[1:])


def label_maps(boxes: Float[Tensor, "object 4"], size: tuple[int, int]) -> Float[Tensor, "object h w"]:
    """Draw boxes as maps of cells.

    Args:
        boxes: xyxy, pixels of the canvas; what lies outside is cut off, and pixels are whole.
        size: Height and width of the canvas.

    Returns:
        At stride 8, 0 to 1; a box of less than some pixels may leave no trace.
    """
    corners = boxes.round()
    y, x = (torch.arange(side, device=boxes.device, dtype=boxes.dtype) for side in size)
    rows = (y >= corners[:, 1:2]) & (y < corners[:, 3:])
    columns = (x >= corners[:, :1]) & (x < corners[:, 2:3])
    # A cell is the mean of the four pixels in its middle, as bilinear resizing gives it; rows and columns separate.
    low, high = STRIDE // 2 - 1, STRIDE // 2
    shares = [(one[:, low::STRIDE].float() + one[:, high::STRIDE].float()) / 2 for one in (rows, columns)]
    return shares[0][:, :, None] * shares[1][:, None]


def sample(
    embeddings: Float[Tensor, "dim h w"], boxes: Float[Tensor, "object 4"]
) -> Float[Tensor, "object dim"]:
    """Embeddings of objects, at the centres of their boxes.

    Centres are scaled as if the middles of the outermost cells lay at -1 and 1, and read as if the map's edges did:
    samples move outwards by up to half a cell. The official weights were trained so.

    Args:
        embeddings: Of the cells of a frame, stride 8.
        boxes: xyxy, pixels of the canvas.
    """
    h, w = embeddings.shape[1:]
    last = boxes.new_tensor([w - 1, h - 1])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 / STRIDE - 0.5
    grid = (centres.clamp(min=0).minimum(last) / last.clamp(min=1) - 0.5) * 2
    found = F.grid_sample(
        embeddings[None], grid[None, None].to(embeddings.dtype), padding_mode="border", align_corners=False
    )
    return found[0, :, 0].T
