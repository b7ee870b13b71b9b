"""What training puts into the names of tensors is taken out again, and what it adds to the network is refused."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from unibench.errors import WeightsError
from unibench.models import weights
from unibench.models.cards import Weights

RULES = Weights(source="file:x")
State = dict[str, Tensor]


def vit(registers: int = 0) -> nn.Module:
    return VisionTransformer(
        img_size=64, patch_size=16, embed_dim=24, depth=4, num_heads=2, num_classes=0, reg_tokens=registers,
        no_embed_class=registers > 0,
    )  # fmt: skip


SMALL = {
    "img_size": 64, "patch_size": 16, "embed_dim": 24, "depth": 4, "num_heads": 2, "num_classes": 0,
}  # fmt: skip
TIMM = {
    "ViT": vit,
    "Dinov2": partial(VisionTransformer, **SMALL, init_values=1.0),
    "Dinov2WithRegisters": partial(
        VisionTransformer, **SMALL, init_values=1.0, reg_tokens=4, no_embed_class=True
    ),
    "DeiT": partial(VisionTransformerDistilled, **SMALL),
}
"""What the networks of the transformers library are in timm."""


def state(network: nn.Module, seed: int = 1) -> State:
    random = torch.Generator().manual_seed(seed)
    return {name: torch.rand(value.shape, generator=random) for name, value in network.state_dict().items()}


def outer(name: str, wrapper: str) -> str:
    return f"{wrapper}.{name}"


def each_block(name: str, wrapper: str) -> str:
    head, _, rest = name.partition(".")
    number, _, leaf = rest.partition(".")
    return f"{head}.{number}.{wrapper}.{leaf}" if head == "blocks" else name


@pytest.mark.parametrize("put", [outer, each_block])
@pytest.mark.parametrize(
    "wrapper", ["_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_forward_module"]
)
def test_wrappers_anywhere_in_a_name_are_no_part_of_it(wrapper: str, put: Callable[[str, str], str]) -> None:
    whole = state(vit())
    network = vit()
    report = weights.fit(network, {put(name, wrapper): value for name, value in whole.items()}, RULES, ())
    assert (report.share, report.missing, report.left_over) == (1.0, (), ())
    assert all(torch.equal(value, whole[name]) for name, value in network.state_dict().items())


def test_blocks_in_chunks_have_the_number_of_their_block() -> None:
    """DINOv2 with `block_chunks = 2`: `blocks.1.3.` is block 3."""
    whole = state(vit())
    chunked = {}
    for name, value in whole.items():
        number = int(name.split(".")[1]) if name.startswith("blocks.") else 0
        chunked[name.replace("blocks.", f"teacher.backbone.blocks.{number // 2}.")] = value
    rest = {f"teacher.backbone.{name}": chunked.pop(name) for name in list(chunked) if "backbone" not in name}
    network = vit()
    report = weights.fit(network, chunked | rest, RULES, ())
    assert (report.share, report.prefix) == (1.0, "teacher.backbone.")
    assert torch.equal(network.state_dict()["blocks.3.norm1.weight"], whole["blocks.3.norm1.weight"])


def test_registers_as_meta_names_them_give_the_same_tokens() -> None:
    """There the class token has a position; its sum with the token is timm's token."""
    network, tokens = vit(registers=4), state(vit())
    registers = torch.rand(1, 4, 24)
    report = weights.fit(network, tokens | {"register_tokens": registers}, RULES, ())
    assert report.share == 1.0
    loaded = network.state_dict()
    assert torch.equal(loaded["reg_token"], registers)
    assert torch.equal(loaded["cls_token"], tokens["cls_token"] + tokens["pos_embed"][:, :1])
    assert torch.equal(loaded["pos_embed"], tokens["pos_embed"][:, 1:])


HF_FILE = {
    "attn.proj": "attention.output.dense", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
    "norm1": "layernorm_before", "norm2": "layernorm_after",
}  # fmt: skip
HF_NETWORK = {"attn.proj": "attention.o_proj", "norm1": "layernorm_before", "norm2": "layernorm_after"}
HF_OUTER = {
    "cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight", "norm.bias": "layernorm.bias",
}  # fmt: skip


def transformers_names(whole: State, layers: str, rest: dict[str, str], parts: tuple[str, str, str]) -> State:
    """A ViT's tensors as the transformers library names them."""
    found = {}
    for name, value in whole.items():
        if not name.startswith("blocks."):
            found[f"vit.{HF_OUTER[name]}"] = value
            continue
        _, number, inner = name.split(".", 2)
        stem, leaf = inner.rsplit(".", 1)
        if stem == "attn.qkv":
            for part, third in zip(parts, value.chunk(3), strict=True):
                found[f"vit.{layers}.{number}.{part}.{leaf}"] = third
        else:
            found[f"vit.{layers}.{number}.{rest.get(stem, stem)}.{leaf}"] = value
    return found


@pytest.mark.parametrize(
    ("layers", "rest", "parts"),
    [
        ("encoder.layer", HF_FILE,
         ("attention.attention.query", "attention.attention.key", "attention.attention.value")),
        ("layers", HF_NETWORK, ("attention.q_proj", "attention.k_proj", "attention.v_proj")),
    ],
    ids=["file", "network of version 5"],
)  # fmt: skip
def test_a_vit_with_the_names_of_the_transformers_library_is_found_whole(
    layers: str, rest: dict[str, str], parts: tuple[str, str, str]
) -> None:
    whole, network = state(vit()), vit()
    report = weights.fit(network, transformers_names(whole, layers, rest, parts), RULES, ())
    assert (report.share, report.prefix, report.left_over) == (1.0, "vit.", ())
    assert all(torch.equal(value, whole[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("kind", ["ViT", "Dinov2", "Dinov2WithRegisters", "DeiT"])
def test_what_the_transformers_library_makes_and_saves_is_found_whole(tmp_path: Path, kind: str) -> None:
    transformers = pytest.importorskip("transformers", reason="extra `transformers` is not installed")
    made = getattr(transformers, f"{kind}Config")(
        hidden_size=24, num_hidden_layers=4, num_attention_heads=2, intermediate_size=96, image_size=64, patch_size=16,
        layer_norm_eps=1e-6,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{kind}Model")(made).eval()
    theirs.save_pretrained(tmp_path)
    saved = safetensors.torch.load_file(tmp_path / "model.safetensors")
    images = torch.rand(2, 3, 64, 64)
    for tensors in (theirs.state_dict(), saved):
        ours = TIMM[kind]().eval()
        report = weights.fit(ours, tensors, RULES, ())
        assert report.share == 1.0, report
        with torch.inference_mode():
            found = ours.forward_features(images)  # type: ignore[operator]
            torch.testing.assert_close(found, theirs(images).last_hidden_state, rtol=1e-4, atol=1e-5)


def test_layers_that_peft_has_merged_are_read_and_others_are_refused() -> None:
    whole = state(vit())
    wrapped = {
        f"base_model.model.{name.replace('attn.qkv.', 'attn.qkv.base_layer.')}": value
        for name, value in whole.items()
    }
    report = weights.fit(vit(), wrapped, RULES, ())
    assert (report.share, report.prefix) == (1.0, "base_model.model.")
    low = {f"base_model.model.blocks.0.attn.qkv.lora_{one}.default.weight": torch.ones(2, 2) for one in "AB"}
    with pytest.raises(WeightsError, match=r"2 tensors of adapters that are not merged .*merge_and_unload"):
        weights.fit(vit(), wrapped | low, RULES, ())
