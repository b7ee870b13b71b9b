"""Unicorn's head: the same layers find the prompted object and all objects; only the last ones differ.

Reference: Yan et al., "Towards Grand Unification of Object Tracking", ECCV 2022, section 3.3.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from unibench.joint.layers import condinst, pafpn
from unibench.joint.layers.condinst import MaskBranch, MaskHead
from unibench.joint.layers.convnext import Block
from unibench.joint.layers.pafpn import ConvNorm
from unibench.joint.unicorn.config import NetworkOptions

STRIDES = (8, 16, 32)
LEVELS = ("p3", "p4", "p5")
LARGEST = 20.0
"""Of the logarithm of a box's side in strides, so that no cell makes an infinite box."""
Task = Literal["sot", "mot"]


@dataclass(frozen=True, eq=False)
class Outputs:
    """What the head says of every cell: levels one after the other, each row by row."""

    offsets: Float[Tensor, "batch cell 4"]
    """x and y of the box's centre from the cell's corner, and the logarithms of its width and height, strides."""
    objects: Float[Tensor, "batch cell"]
    """Logits that there is an object."""
    classes: Float[Tensor, "batch cell class"]
    """Logits; a prompted object has one class."""
    parameters: Float[Tensor, "batch cell 169"] | None
    """Of the mask's convolutions; None: masks are not asked for."""
    points: Float[Tensor, "cell 3"]
    """x and y of the cell's centre and its stride, pixels."""
    levels: Int[Tensor, " cell"]

    @property
    def boxes(self) -> Float[Tensor, "batch cell 4"]:
        """xyxy, pixels of the canvas."""
        stride = self.points[:, 2:]
        offsets = self.offsets.float()
        centres = offsets[..., :2] * stride + self.points[:, :2] - stride / 2
        half = offsets[..., 2:].clamp(max=LARGEST).exp() * stride / 2
        return torch.cat([centres - half, centres + half], dim=-1)

    @property
    def scores(self) -> Float[Tensor, "batch cell class"]:
        """Probability of an object times that of its class."""
        return self.objects.float().sigmoid()[..., None] * self.classes.float().sigmoid()


class Head(nn.Module):
    """Maps and prior in, boxes, scores and parameters of masks out. The levels share nothing."""

    def __init__(self, options: NetworkOptions, widths: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, groups = options.head_channels, options.groups

        def tower() -> nn.Sequential:
            return nn.Sequential(
                *(ConvNorm(channels, channels, 3, groups=groups) for _ in range(options.tower_convs))
            )

        def last(outputs: int, bias: float = 0.0) -> nn.ModuleList:
            layers = nn.ModuleList(nn.Conv2d(channels, outputs, 1) for _ in STRIDES)
            for layer in layers if bias else ():
                nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
            return layers

        bias = -math.log(1 / options.probability - 1)
        for level in range(len(STRIDES)):
            self.register_parameter(f"beta_{level}", nn.Parameter(torch.ones(channels, 1, 1)))
        self.stems = nn.ModuleList(ConvNorm(width, channels, 1, groups=groups) for width in widths)
        self.att_layers = nn.ModuleList(
            nn.ModuleList(Block(channels) for _ in range(options.head_blocks)) for _ in STRIDES
        )
        self.cls_convs = nn.ModuleList(tower() for _ in STRIDES)
        self.reg_convs = nn.ModuleList(tower() for _ in STRIDES)
        self.cls_preds, self.cls_preds_sot = last(classes, bias), last(1, bias)
        self.obj_preds, self.obj_preds_sot = last(1, bias), last(1, bias)
        self.reg_preds, self.reg_preds_sot = last(4), last(4)
        if options.mask_channels:
            self.controllers = nn.ModuleList(
                nn.Conv2d(channels, condinst.PARAMETERS, 3, padding=1) for _ in STRIDES
            )
            for layer in self.controllers:
                nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            self.mask_branch = MaskBranch(widths, options.mask_channels, groups=groups, eps=pafpn.EPSILON)
            self.mask_head = MaskHead()

    def forward(
        self,
        maps: dict[str, Tensor],
        prior: Float[Tensor, "batch h w"] | None,
        task: Task,
        *,
        masks: bool = False,
    ) -> Outputs:
        """Look for objects.

        Args:
            maps: Of the pyramid; where there are several priors for one image, it is repeated.
            prior: Where the prompted object of each image probably is, at stride 8; None: nowhere.
            task: `sot`: the prompted object; `mot`: all objects.
            masks: Whether parameters of masks are asked for.
        """
        priors = None if prior is None else prior_pyramid(prior)
        suffix = "_sot" if task == "sot" else ""
        last = [getattr(self, f"{name}_preds{suffix}") for name in ("reg", "obj", "cls")]
        rows, points = [], []
        for level, stride in enumerate(STRIDES):
            x = self.stems[level](maps[LEVELS[level]])
            if priors is not None:
                x = x + priors[level][:, None] * getattr(self, f"beta_{level}")
            blocks: Any = self.att_layers[level]
            for block in blocks:
                x = block(x)
            classified, located = self.cls_convs[level](x), self.reg_convs[level](x)
            parts = [last[0][level](located), last[1][level](located), last[2][level](classified)]
            if masks:
                parts.append(self.controllers[level](located))
            rows.append([one.flatten(2).transpose(1, 2) for one in parts])
            points.append(_points(x.shape[2], x.shape[3], stride, x.device))
        joined = [torch.cat(part, dim=1) for part in zip(*rows, strict=True)]
        counts = torch.tensor([len(one) for one in points])
        return Outputs(
            offsets=joined[0],
            objects=joined[1][..., 0],
            classes=joined[2],
            parameters=joined[3] if masks else None,
            points=torch.cat(points),
            levels=torch.arange(3).repeat_interleave(counts).to(joined[0].device),
        )

    def mask_features(self, maps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What all masks of an image are made of: see `MaskBranch`. The prior takes no part."""
        fine, middle, coarse = (maps[name] for name in LEVELS)
        found: tuple[Tensor, Tensor] = self.mask_branch((fine, middle, coarse))
        return found

    def masks(
        self,
        features: Float[Tensor, "8 h w"],
        weights: Float[Tensor, "144 h w"],
        outputs: Outputs,
        image: int,
        cells: Int[Tensor, " object"],
    ) -> Float[Tensor, "object rows columns"]:
        """Probabilities at stride 2 of the masks of some cells.

        Args:
            features: Of the image.
            weights: Of the up-sampling.
            outputs: With parameters.
            image: Its index in the outputs.
            cells: Where the objects were found.
        """
        assert outputs.parameters is not None
        logits = self.mask_head(
            features, outputs.parameters[image, cells], outputs.points[cells, :2], outputs.levels[cells]
        )
        return condinst.convex_upsample(logits.float(), weights.float()).sigmoid()


def prior_pyramid(prior: Float[Tensor, "batch h w"]) -> list[Tensor]:
    """A prior at strides 8, 16, 32."""
    maps = prior[:, None]
    halves = [F.interpolate(maps, scale_factor=1 / n, mode="bilinear", align_corners=False) for n in (2, 4)]
    return [prior, *(one[:, 0] for one in halves)]


def _points(h: int, w: int, stride: int, device: torch.device) -> Float[Tensor, "cell 3"]:
    y, x = ((torch.arange(cells, device=device) + 0.5) * stride for cells in (h, w))
    return torch.stack(
        [x.expand(h, w), y[:, None].expand(h, w), torch.full((h, w), float(stride), device=device)], dim=-1
    ).reshape(-1, 3)
