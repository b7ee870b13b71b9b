"""Vision backbones of the transformers library: built from a configuration, which stands on the card as JSON.

The library is imported when one is built. No code of a hub is run, and no file is read but the weights of the card.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unibench.errors import CardError, UnibenchError, UnknownNameError, WeightsError
from unibench.models.cards import Architecture, Card, Window

EXTRA = "transformers is not installed; pip install 'unibench-tracking[transformers]'"
DROPPED = ("architectures", "attn_implementation", "auto_map", "dtype", "quantization_config", "torch_dtype",
           "transformers_version")  # fmt: skip
"""Fields of a configuration that say nothing of the network, or name code or kernels of a hub; so do those that begin
with an underscore."""
NORMS = ("layernorm", "norm", "post_layernorm", "encoder.layernorm")
"""What the normalisation behind the last block is called."""
BEHIND = ("pooler", "head", "predictor")
"""Modules behind the last map."""


def describe(where: str, config: Mapping[str, Any]) -> tuple[Architecture, nn.Module]:
    """Read the architecture off a configuration file, and build it without memory.

    Args:
        where: Who asks, for messages.
        config: The fields of `config.json`; of a model of images and text the part for images is taken.

    Raises:
        UnknownNameError: The library has no such architecture.
        CardError: It is no network of images, or the configuration is not valid.
        UnibenchError: transformers is not installed.
    """
    transformers = _library(where)
    kind, known = config.get("model_type"), transformers.CONFIG_MAPPING
    if kind not in known:
        raise UnknownNameError(f"model_type of transformers in {where}", str(kind), known.keys())
    try:
        whole = transformers.AutoConfig.for_model(kind, **_plain(config))
        own = getattr(whole, "vision_config", whole)
        with torch.device("meta"):
            network = _build(transformers, own)
    except Exception as error:  # whatever a configuration asks for
        raise CardError(
            f"{where}: transformers cannot build it ({_line(error)}); choose another model"
        ) from error
    if getattr(network, "main_input_name", "") not in ("pixel_values", "pixel_values_videos"):
        raise CardError(f"{where}: {own.model_type} is no network of images; choose another model")
    if hasattr(own, "mask_ratio"):
        raise CardError(
            f"{where}: {own.model_type} hides patches at random; choose the encoder alone, of timm"
        )
    text = json.dumps(_plain(own.to_diff_dict()), sort_keys=True)
    return Architecture("transformers", own.model_type, options={"config": text}), network


def _library(where: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UnibenchError(f"{where}: {EXTRA}") from error
    return transformers


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in config.items()
        if not key.startswith("_") and key not in (*DROPPED, "model_type") and value is not None
    }  # fmt: skip


def _build(transformers: Any, config: Any) -> nn.Module:
    network: nn.Module = transformers.AutoModel.from_config(
        config, dtype=torch.float32, trust_remote_code=False
    ).eval()
    return network


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def construct(card: Card) -> nn.Module:
    """Build the network of a card."""
    transformers = _library(f"model {card.name!r}")
    options = dict(card.architecture.options)
    config = json.loads(str(options.pop("config", "{}")))
    return _build(
        transformers, transformers.AutoConfig.for_model(card.architecture.name, **config, **options)
    )


def window(network: nn.Module) -> Window | None:
    """What a clip encoder is shown at once, as its configuration says; None: the network sees images."""
    config: Any = network.config
    if config.model_type not in CLIP_ENCODERS:
        return None
    return Window(config.frames_per_clip, config.tubelet_size)


def _run_vjepa2(network: Any, windows: Tensor) -> Tensor:
    """Run V-JEPA 2's encoder on any size: the library itself counts rows and columns on the training's grid alone."""
    patch = network.config.patch_size
    tokens: Tensor = network.encoder.embeddings(windows)
    h, w = (length // patch for length in windows.shape[-2:])
    side = max(h, w)
    slots, rows, columns = (
        torch.arange(size, device=tokens.device) for size in (tokens.shape[1] // (h * w), h, w)
    )
    places = ((slots[:, None, None] * side + rows[:, None]) * side + columns).flatten()[None]
    for layer in network.encoder.layer:
        layer.attention.grid_size = side
        tokens = layer(tokens, places)[0]
    return tokens


CLIP_ENCODERS: dict[str, Callable[[Any, Tensor], object]] = {"vjepa2": _run_vjepa2}
"""Architectures that read windows (batch, frame, 3, height, width) -> what runs them."""


def call(network: nn.Module, images: Tensor) -> object:
    """Run a network on images (batch, 3, height, width) of any size, a clip encoder on windows."""
    config: Any = network.config
    if config.model_type in CLIP_ENCODERS:
        return CLIP_ENCODERS[config.model_type](network, images)
    interpolate = "interpolate_pos_encoding" in inspect.signature(network.forward).parameters
    return network(pixel_values=images, **({"interpolate_pos_encoding": True} if interpolate else {}))


def final_norm(network: nn.Module) -> nn.Module | None:
    """Find the normalisation behind the last block of tokens."""
    modules = dict(network.named_modules())
    return next((modules[name] for name in NORMS if name in modules), None)


def head(network: nn.Module) -> tuple[str, ...]:
    """Prefixes of the parameters behind the last map."""
    return tuple(f"{name}." for name in BEHIND if getattr(network, name, None) is not None)


def translator(network: nn.Module) -> Callable[..., dict[str, Tensor]]:
    """Make what gives the tensors of a file the names that the network has for them, by the library's own rules."""

    def translate(
        tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], rename: Sequence[tuple[str, str]] = ()
    ) -> dict[str, Tensor]:
        kind: Any = type(network)
        try:
            with _quiet():
                loaded, told = kind.from_pretrained(
                    None,
                    config=network.config,
                    state_dict=dict(tensors),
                    output_loading_info=True,
                    dtype=torch.float32,
                )
        except (RuntimeError, ValueError, KeyError) as error:
            raise WeightsError(
                f"transformers cannot load it ({_line(error)}); another architecture?"
            ) from error
        found = {name: one for name, one in loaded.state_dict().items() if name not in told["missing_keys"]}
        return {**{name: tensors[name] for name in told["unexpected_keys"] if name in tensors}, **found}

    return translate


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own progress and reports: what became of every tensor is said by `weights`."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def extract(card: Card, network: nn.Module) -> Callable[[Tensor, Sequence[str]], dict[str, Tensor]]:
    """Make what runs a network on images and takes the maps of layers out of it, tokens laid out on their grid."""

    def run(images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        taken: dict[str, Tensor] = {}
        with ExitStack() as stack:
            for layer in layers:
                node = str(card.layers[layer].node)
                try:
                    module = network.get_submodule(node)
                except AttributeError as error:
                    raise CardError(
                        f"model {card.name!r}: no module {node!r}; correct the nodes of [layers]"
                    ) from error
                stack.callback(module.register_forward_hook(_noting(taken, layer)).remove)
            patch = max(card.layers[layer].stride for layer in layers)
            call(network, padded(images, patch) if _of_tokens(card) else images)
        return {
            layer: _grid(card, layer, network, taken[layer], images)
            if taken[layer].ndim == 3
            else taken[layer]
            for layer in layers
        }

    return run


def _noting(taken: dict[str, Tensor], layer: str) -> Callable[..., None]:
    def note(module: nn.Module, given: object, returned: Any) -> None:
        taken[layer] = returned[0] if isinstance(returned, tuple) else returned

    return note


def _of_tokens(card: Card) -> bool:
    return len({layer.stride for layer in card.layers.values()}) == 1


def padded(images: Tensor, patch: int) -> Tensor:
    """Pad images with the mean colour, right and below, to whole patches."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % patch, 0, -height % patch))


def _grid(card: Card, layer: str, network: nn.Module, tokens: Tensor, images: Tensor) -> Tensor:
    """Tokens (batch, number, channels) as a map, of a clip encoder as one for each slot of time; those of classes and
    registers stand before the others.
    """
    rule = card.layers[layer]
    h, w = (-(-length // rule.stride) for length in images.shape[-2:])
    if rule.norm:
        norm = final_norm(network)
        assert norm is not None, "a card with norm is of a network that has one"
        tokens = norm(tokens)
    slots = 1 if card.window is None else card.window.frames // card.window.tubelet
    grid = tokens[:, tokens.shape[1] - slots * h * w :].reshape(len(tokens), slots, h, w, -1)
    maps = grid.permute(0, 1, 4, 2, 3)
    return maps[:, 0].contiguous() if card.window is None else maps
