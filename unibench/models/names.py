"""Names of tensors in a checkpoint, turned into those of the network."""

import re
import time
from collections.abc import Mapping, Sequence

import regex
import torch
from torch import Tensor

from unibench.errors import WeightsError

WRAPPER = re.compile(
    r"(?:(?<=\.)|^)(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module|_fpw_module|_forward_module|"
    r"base_layer)\."
)
"""Modules that torch.compile, activation checkpointing, FSDP, Lightning Fabric and PEFT put around others; no network
has modules of these names."""
ADAPTER = re.compile(r"(?:^|\.)(?:lora_\w+|hada_w\d\w*|ia3_l|oft_r|vera_lambda_\w|modules_to_save)(?:\.|$)")
"""Tensors of PEFT that change what the layer beside them computes."""
CHUNKED = re.compile(r"(^|\.)blocks\.\d+\.(\d+)\.")
"""DINOv2's training keeps blocks in chunks, each with the numbers of its blocks."""
SECONDS = 2.0
"""For all regular expressions of a card together."""
LENGTH = 1_000
"""Characters that a name may have."""

_HF_LAYER = re.compile(r"^(?P<prefix>(?:.*\.)?)(?:encoder\.layer|layers)\.(?P<index>\d+)\.(?P<rest>.+)$")
_HF_EMBEDDING = re.compile(r"^(?P<prefix>(?:.*\.)?)(?P<rest>(?:embeddings|layernorm)\..+)$")
_HF_REST = {
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}
_HF_OUTER = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "dist_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.register_tokens": "register_tokens",
    "embeddings.mask_token": "mask_token",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_HF_QUERIES = {
    "attention.attention.query": ("attention.attention.key", "attention.attention.value"),
    "attention.q_proj": ("attention.k_proj", "attention.v_proj"),
}
"""In files, and in networks of version 5 of the library -> keys and values."""
_HF_QUERY = re.compile(rf"(?P<module>{'|'.join(map(re.escape, _HF_QUERIES))})\.(?P<leaf>weight|bias)$")
_HF_KEYS_VALUES = tuple(f"{name}." for names in _HF_QUERIES.values() for name in names)


def translate(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], rename: Sequence[tuple[str, str]] = ()
) -> dict[str, Tensor]:
    """Give tensors the names that the network has for them; prefixes are left in place.

    Args:
        tensors: Names and tensors of a container.
        wanted: Names and tensors of the network.
        rename: The card's rules: (regular expression, replacement), applied in this order.

    Raises:
        WeightsError: Two tensors get one name, or a rule of the card takes too long or is not valid.
    """
    plain = _unique((WRAPPER.sub("", name), name, value) for name, value in tensors.items())
    if rename:
        plain = _renamed(plain, rename)
    if "blocks.0.attn.qkv.weight" in wanted:
        plain = _from_transformers(plain)
    if any(name.startswith("blocks.") for name in wanted) and not any(map(CHUNKED.search, wanted)):
        plain = _unique((CHUNKED.sub(r"\1blocks.\2.", name), name, value) for name, value in plain.items())
    return _registers(plain) if "reg_token" in wanted else plain


def adapters(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that a fine-tuning library added and did not merge."""
    return [name for name in tensors if ADAPTER.search(name)]


def _unique(named: object) -> dict[str, Tensor]:
    """Collect tensors under their new names."""
    found: dict[str, Tensor] = {}
    for new, old, value in named:  # type: ignore[attr-defined]
        if new in found and not _equal(found[new], value):
            raise WeightsError(
                f"weights.rename turns {old!r} and another tensor into {new!r}; correct the rules in the card"
            )
        found[new] = value
    return found


def _equal(first: Tensor, second: Tensor) -> bool:
    try:
        return first.shape == second.shape and torch.equal(first, second)
    except (RuntimeError, NotImplementedError):  # meta, sparse, quantised
        return False


def _renamed(tensors: Mapping[str, Tensor], rename: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    end = time.monotonic() + SECONDS

    def new(name: str) -> str:
        for pattern, replacement in rename:
            try:
                name = regex.sub(pattern, replacement, name, timeout=max(end - time.monotonic(), 1e-3))
            except TimeoutError as error:
                raise WeightsError(
                    f"weights.rename: {pattern!r} takes more than {SECONDS:g} s; write a simpler regular expression"
                ) from error
            except (regex.error, IndexError) as error:
                raise WeightsError(
                    f"weights.rename: {pattern!r} with {replacement!r} is not valid ({error}); correct it in the card"
                ) from error
            if len(name) > LENGTH:
                raise WeightsError(
                    f"weights.rename: {pattern!r} makes names of more than {LENGTH} characters; correct it in the card"
                )
        return name

    return _unique((new(name), name, value) for name, value in tensors.items())


def _from_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of Hugging Face's ViT and DINOv2 -> timm's; queries, keys and values become one tensor."""
    if not any(_HF_QUERY.search(name) for name in tensors):
        return dict(tensors)
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if layer := _HF_LAYER.match(name):
            block = f"{layer['prefix']}blocks.{layer['index']}."
            if query := _HF_QUERY.search(name):
                before, module, leaf = name[: query.start()], query["module"], query["leaf"]
                parts = [tensors.get(f"{before}{one}.{leaf}") for one in (module, *_HF_QUERIES[module])]
                if all(part is not None for part in parts):
                    found[f"{block}attn.qkv.{leaf}"] = torch.cat([part for part in parts if part is not None])
            elif not layer["rest"].startswith(_HF_KEYS_VALUES):
                stem, _, leaf = layer["rest"].rpartition(".")
                whole = _HF_REST.get(layer["rest"])
                found[block + (whole or f"{_HF_REST.get(stem, stem)}.{leaf}")] = value
        elif (outer := _HF_EMBEDDING.match(name)) and outer["rest"] in _HF_OUTER:
            found[outer["prefix"] + _HF_OUTER[outer["rest"]]] = value
        else:
            found[name] = value
    return found


def _registers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DINOv2 with registers, as Meta names it: there the class token has a position of its own, in timm it has none."""
    found = dict(tensors)
    for name in tensors:
        if not name.endswith("register_tokens"):
            continue
        prefix = name.removesuffix("register_tokens")
        token, positions = (tensors.get(prefix + one) for one in ("cls_token", "pos_embed"))
        if prefix + "reg_token" in tensors or token is None or positions is None or positions.ndim != 3:
            continue
        found[prefix + "reg_token"] = found.pop(name)
        found[prefix + "cls_token"] = token + positions[:, :1]
        found[prefix + "pos_embed"] = positions[:, 1:]
    return found
