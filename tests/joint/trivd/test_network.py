"""TrIVD's network: frames, words and the files that it starts from."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg
from torch import Tensor, nn

from tests.joint.trivd.tiny import SYSTEM, TINY, network_of
from unibench.errors import TrainingError
from unibench.joint.training import config as configs
from unibench.joint.training import pretrained, schedule
from unibench.joint.trivd.network import Outputs, Trivd

SIDE = 64


@pytest.fixture(scope="module")
def network() -> Trivd:
    return network_of().eval().requires_grad_(False)


def clip(frames: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (1, frames, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))


def found(network: Trivd, frames: Tensor, names: tuple[str, ...] = TINY.classes) -> Outputs:
    maps = network.look(frames)
    outputs: Outputs = network(maps, maps, network.read(names))
    return outputs


def test_a_clip_of_one_frame_is_an_image(network: Trivd) -> None:
    """Bit for bit what comes out if there were no modules for several frames."""
    plain = network_of(temporal=nn.ModuleList(_First() for _ in network.temporal))
    plain = plain.eval().requires_grad_(False)
    one, other = found(network, clip(1)), found(plain, clip(1))
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.boxes, other.boxes)
    assert not torch.equal(found(network, clip(3)).logits, found(plain, clip(3)).logits)


class _First(nn.Module):
    """Of several frames, the first."""

    def forward(self, frames: Tensor) -> Tensor:
        return frames[:, 0]


def test_the_order_of_the_frames_changes_nothing(network: Trivd) -> None:
    frames = clip(5)
    one, other = found(network, frames), found(network, frames[:, [4, 1, 2, 0, 3]])
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.boxes, other.boxes)
    changed = frames.clone()
    changed[:, 4] = 255 - changed[:, 4]
    assert not torch.equal(found(network, changed).logits, one.logits)


def test_images_of_a_batch_do_not_see_one_another(network: Trivd) -> None:
    both = torch.cat([clip(2, 0), clip(2, 1)])
    for row in range(2):
        alone = found(network, both[row : row + 1])
        torch.testing.assert_close(found(network, both).boxes[:, row], alone.boxes[:, 0])


def test_the_prompt_s_order_is_that_of_the_classes_and_other_words_change_only_their_own(
    network: Trivd,
) -> None:
    names = ("square", "a long name", "disc")
    scores = found(network, clip(1), names).scores
    mixed = found(network, clip(1), (names[2], names[0], names[1])).scores
    torch.testing.assert_close(mixed, scores[..., [2, 0, 1]])
    assert not torch.allclose(scores[..., 0], scores[..., 2], rtol=0.01)
    likeness = found(network, clip(1), names).logits[..., :1]
    torch.testing.assert_close(found(network, clip(1), ("square", "panda")).logits[..., :1], likeness)
    assert ((scores > 0) & (scores < 1)).all()
    assert (scores.sum(dim=-1) < 1).all()


def test_the_previous_frame_and_track_queries_count(network: Trivd) -> None:
    first, second = network.look(clip(1, 0)), network.look(clip(1, 1))
    words = network.read(TINY.classes)
    alone, after = network(second, second, words), network(first, second, words)
    assert not torch.allclose(alone.boxes, after.boxes)
    assert alone.boxes.shape == (TINY.network.decoder_layers, 1, TINY.network.queries, 4)
    assert alone.hidden.shape == (1, TINY.network.queries, TINY.network.dim)


@pytest.mark.parametrize("size", [(64, 64), (40, 72), (33, 100), (128, 96), (256, 256)])
def test_maps_of_any_size_halve_rounding_up(network: Trivd, size: tuple[int, int]) -> None:
    maps = network.look(torch.zeros(1, 1, 3, *size))
    expected = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in (8, 16, 32, 64)]
    assert [tuple(one.shape[2:]) for one in maps] == expected


def test_tables_of_relative_positions_are_stretched_about_their_middle(network: Trivd) -> None:
    side = TINY.backbone.image
    assert network.backbone._tables(side, side) == {}
    own = network.backbone.body.stages[0].blocks[0].attn.rel_pos_h
    longer = network.backbone._tables(2 * side, side)
    assert {name.rpartition(".")[2] for name in longer} == {"rel_pos_h"}
    stretched = longer["stages.0.blocks.0.attn.rel_pos_h"]
    assert len(stretched) == 2 * (2 * side // 4) - 1
    torch.testing.assert_close(stretched[len(stretched) // 2], own[len(own) // 2])


def test_early_convolutions_give_maps_of_the_same_sizes_and_need_channels_to_halve() -> None:
    images, sizes = torch.zeros(1, 3, 70, 90), []
    for early in (False, True):
        options = replace(TINY.backbone, early_convolutions=early)
        sizes.append(
            [one.shape for one in network_of(replace(TINY, backbone=options)).backbone(images).values()]
        )
    assert sizes[0] == sizes[1]
    with pytest.raises(
        ValueError, match="widths: found 40 channels of the first stage, expected a multiple of 16"
    ):
        replace(TINY.backbone, widths=(40, 48, 64, 96))


def test_the_paper_s_network_has_the_paper_s_size() -> None:
    config = configs.read("paper", SYSTEM)
    with torch.device("meta"):
        network = SYSTEM.build(replace(config, text=replace(config.text, folder="")))
    assert not hasattr(network, "region_embed")  # taught by no paper
    counts = {
        name: sum(one.numel() for one in module.parameters()) for name, module in network.named_children()
    }
    assert counts["backbone"] == 34_099_680
    assert counts["transformer"] == 14_112_218
    assert counts["query_embed"] == 500 * 2 * 288
    assert len(network.backbone.body.stages) == 4
    schedule.check(network, config.train.stages)


def test_tiny_weights_fit_into_four_megabytes_in_half_precision() -> None:
    count = sum(one.numel() for one in network_of().parameters())
    assert 2 * count < 4e6


def test_a_backbone_of_timm_begins_a_training(tmp_path: Path) -> None:
    options = replace(TINY.backbone, early_convolutions=False)
    torch.manual_seed(7)
    made = MultiScaleVitCfg(depths=options.depths, embed_dim=options.widths, num_heads=options.heads)
    published = MultiScaleVit(made, img_size=(options.image, options.image))
    save_file(published.state_dict(), tmp_path / "mvit.safetensors")
    network = network_of(replace(TINY, backbone=options))
    report = pretrained.start(network, tmp_path / "mvit.safetensors")
    own = {name for name in network.state_dict() if name.startswith("backbone.")}
    assert set(report.transferred) == own
    assert set(report.left_over) == {"norm.weight", "norm.bias", "head.fc.weight", "head.fc.bias"}
    image = torch.randn(1, 3, options.image, options.image)
    maps = published.eval().forward_intermediates(image, intermediates_only=True)
    torch.testing.assert_close(list(network.eval().backbone(image).values()), maps[1:])


@pytest.mark.parametrize("frames", [1, 2], ids=["deformable-detr", "trackformer"])
def test_files_of_deformable_detr_and_trackformer_begin_a_training(tmp_path: Path, frames: int) -> None:
    """Their layout: `model`, a ResNet, twins of the box networks, and classes by number."""
    torch.manual_seed(7)
    own = network_of()
    tensors = {
        name: torch.rand_like(value)
        for name, value in own.state_dict().items()
        if name.startswith(("transformer.", "query_embed."))
    }
    if frames == 1:  # one frame's levels, and fewer queries
        for name, value in tensors.items():
            if "cross_attn.sampling_offsets" in name or "cross_attn.attention_weights" in name:
                tensors[name] = value[: len(value) // 2]
        tensors["transformer.level_embed"] = tensors["transformer.level_embed"][:4]
        tensors["query_embed.weight"] = tensors["query_embed.weight"][:-1]
    for name in [name for name in tensors if ".bbox_embed." in name]:
        tensors[name.removeprefix("transformer.decoder.")] = tensors[name]
    for layer in range(TINY.network.decoder_layers):
        tensors[f"class_embed.{layer}.weight"] = torch.rand(20, TINY.network.dim)
    dim = TINY.network.dim
    for level, width in enumerate((512, 1024, 2048)):
        tensors[f"input_proj.{level}.0.weight"] = torch.rand(dim, width, 1, 1)
        tensors[f"input_proj.{level}.1.weight"] = torch.rand(dim)
    tensors["backbone.0.body.conv1.weight"] = torch.rand(64, 3, 7, 7)
    torch.save({"model": tensors, "epoch": 49}, tmp_path / "detector.pth")
    network = network_of()
    report = pretrained.start(network, tmp_path / "detector.pth")
    misshapen = {name.split(" ")[0] for name in report.misshapen}
    rest = {name for name in own.state_dict() if name.startswith(("transformer.", "query_embed."))}
    layers = [f"transformer.decoder.layers.{row}.cross_attn" for row in range(TINY.network.decoder_layers)]
    apart = {
        *(f"{layer}.{what}.{one}" for layer in layers for what in ("sampling_offsets", "attention_weights")
          for one in ("weight", "bias")),
        "transformer.level_embed", "query_embed.weight",
    }  # fmt: skip
    assert rest - set(report.transferred) == (apart if frames == 1 else set())
    assert {f"class_embed.{row}.weight" for row in range(3)} < misshapen
    assert {f"input_proj.{row}.0.weight" for row in range(3)} < misshapen
    assert "backbone.0.body.conv1.weight" in report.left_over
    assert "bbox_embed.0.layers.0.weight" in report.left_over
    name = "transformer.decoder.bbox_embed.1.layers.2.weight"
    assert torch.equal(network.state_dict()[name], tensors[name])


@pytest.mark.parametrize(
    ("objective", "time", "message"),
    [
        (
            "vid",
            2,
            "sample.time: found 2, expected an odd number, since batches teach 'vid', the frame in the middle",
        ),
        (
            "mot",
            1,
            "sample.time: found 1, expected at least 2, since batches teach 'mot', pairs of frames",
        ),
    ],
)
def test_clips_need_enough_frames(objective: str, time: int, message: str) -> None:
    table = json.loads(configs.as_json(TINY))
    table["train"]["stages"] = [{"name": "one", "steps": 1, "rate": 0.1, "alternate": [objective]}]
    table["sample"]["time"] = time
    with pytest.raises(TrainingError, match=message):
        configs.fill(table, SYSTEM, "f")
