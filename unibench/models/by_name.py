"""A card for a model that a library or a hub knows by name: nobody writes it, it is read off the library.

`timm:NAME[.TAG]`, `torchvision:NAME[:WEIGHTS]`, `hf-hub:OWNER/NAME` (timm's models on the hub), `hf:OWNER/NAME`
(transformers' vision backbones), or a folder laid out as one of them. Preprocessing is what the library says of the
weights; stride, channels and offset are read off a run of the network (`survey`). A card of the zoo that is of the same
weights goes before.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unibench.errors import CardError, UnknownNameError, WeightsError
from unibench.models import cards, draft_card, fetch, frozen, survey
from unibench.models.cards import Architecture, Card, Layer, Preprocessing, Pretraining, Weights, Window
from unibench.models.download import sha256
from unibench.models.draft_card import Draft
from unibench.schema import SchemaError, parse_json, read_file

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
FILES = ("model.safetensors", "pytorch_model.bin")
"""What files of weights are called on the hub, the preferred first."""
SHARDS = "model.safetensors.index.json"


@dataclass(frozen=True)
class _Found:
    """What a library says of a model."""

    name: str
    """Of the card."""
    draft: Draft
    sources: tuple[str, ...]
    """Of the weights, as cards name them, the preferred first."""
    folder: Path | None = None
    """Where the weights may lie under their own names."""
    license: str = "unknown"
    window: Window | None = None


def derive(name: str) -> Card:
    """Make the card of a model that a library or a hub knows by name, or find that of the zoo.

    Args:
        name: `LIBRARY:MODEL` or a folder, see the module.

    Returns:
        The zoo's card where it is of the same weights; else a card whose `derived_from` is the name.

    Raises:
        UnknownNameError: The library has no such model or no such weights.
        CardError: The network gives no maps of images of any size, or the description of it is not understood.
        WeightsError: What the hub says of the model is not here and cannot be fetched, or there is no such folder.
        UnibenchError: transformers is not installed.
    """
    library, colon, rest = name.partition(":")
    if not colon or library not in LIBRARIES:
        found = _folder(name)
    elif library.startswith("hf") and (same := _of_the_zoo(_hub_sources(rest))):
        return same  # no hub need be asked
    else:
        found = LIBRARIES[library](name, rest)
    return _of_the_zoo(found.sources, found.name, found.folder) or _card(name, found)


def _card(name: str, found: _Found) -> Card:
    draft, source, folder = found.draft, found.sources[0], found.folder
    local = folder / source.removeprefix("file:") if folder and source.startswith("file:") else None
    of_folder = name.startswith(cards.PATHS)
    title = re.sub(r"[^\w.+-]", "-", found.name).lstrip(".")[:200] or "model"
    card = Card(
        name=title,
        kind="frozen",
        description=f"{draft.architecture.name}, derived from {f'the folder {title}' if of_folder else name}",
        paper="",
        license=found.license,
        default_layer=draft.default_layer,
        architecture=draft.architecture,
        weights=Weights(source, mirrors=found.sources[1:], sha256=sha256(local) if local else ""),
        preprocessing=draft.preprocessing,
        pretraining=Pretraining(method="unknown", data="unknown", supervision="self"),
        layers=draft.layers,
        window=found.window,
        path=folder / f"{title}.toml" if folder else None,
        derived_from=str(folder) if of_folder else name,  # another machine finds it again
    )
    cards.check(card, name)
    with torch.random.fork_rng(devices=[]):
        count = frozen.parameters(_without_memory(lambda: frozen.construct(card)), card.architecture.head)
    return replace(card, architecture=replace(card.architecture, parameters=count))


def _without_memory(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network on the device `meta`; on the CPU where its constructor reads its own numbers."""
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError, CardError) as error:
        if "meta" not in str(error):
            raise
        return build()


def _of_the_zoo(sources: Sequence[str], name: str = "", folder: Path | None = None) -> Card | None:
    """The card that comes with unibench and is of the same weights: of one source, name or sha256."""
    own = folder / sources[0].removeprefix("file:") if folder else None
    known = sha256(own) if own is not None and own.is_file() else None
    for path in sorted(cards.shipped().glob("[!.]*.toml")):
        card = cards.read(path)
        if not card.layers:
            continue
        if own is not None and known is not None and card.weights.sha256 == known:
            weights = replace(card.weights, source=f"file:{own.name}", mirrors=())
            return replace(card, weights=weights, path=own.parent / path.name)
        if not sources[0].startswith("file:") and (
            set(fetch.sources(card)) & set(sources) or name in card.aliases
        ):
            return card
    return None


def _timm(name: str, rest: str) -> _Found:
    import timm

    arch, _, tag = rest.partition(".")
    if not timm.is_model(arch):
        raise UnknownNameError("model of timm", arch, timm.list_models(), "timm.list_pretrained()")
    tags = [
        one.partition(".")[2] for one in timm.list_pretrained(f"{arch}*") if one.partition(".")[0] == arch
    ]
    if not tags or (tag and tag not in tags):
        raise UnknownNameError(f"weights of timm:{arch}", tag, tags or ["none"])
    known = timm.get_pretrained_cfg(rest)
    assert known is not None, "there are weights of the architecture"
    draft = _of_timm(name, arch, asdict(known), {})
    title = f"{arch}.{known.tag}" if known.tag else arch
    sources = _hub_sources(known.hf_hub_id, known.hf_hub_filename) if known.hf_hub_id else (str(known.url),)
    return _Found(title, draft, sources, license=known.license or "unknown")


def _of_timm(name: str, arch: str, known: Mapping[str, Any], given: Mapping[str, Any]) -> Draft:
    """Describe an architecture of timm with the statistics of some weights."""
    network, options, every = draft_card.probe_timm(arch, given, name)
    last = dict(list(every.items())[-survey.LAST :])
    centres = survey.offsets(network, lambda images: _forward_features(network, images))
    norm = _final_norm(network, every)
    layers = {
        title: replace(layer, offset=centres.get(layer.stride, layer.offset), norm=norm)
        for title, layer in last.items()
    }
    head = tuple(one for one in draft_card.timm_head(network, known) if not (norm and one == "norm."))
    architecture = Architecture("timm", arch, options=options, head=head)
    return Draft(architecture, layers, draft_card.nearest(layers), draft_card.statistics(known))


def _forward_features(network: nn.Module, images: torch.Tensor) -> object:
    return network.forward_features(images)  # type: ignore[operator]


def _final_norm(network: nn.Module, layers: Mapping[str, Layer]) -> bool:
    """Whether a network's maps are tokens on one grid, with a normalisation behind the last block."""
    weight = getattr(getattr(network, "norm", None), "weight", None)
    kinds = {(layer.stride, layer.channels) for layer in layers.values()}
    return weight is not None and len(kinds) == 1 and tuple(weight.shape) == (next(iter(kinds))[1],)


def _torchvision(name: str, rest: str) -> _Found:
    from torchvision.models import get_model_weights, list_models

    arch, _, wanted = rest.partition(":")
    known = list_models(exclude=("quantized_*",))
    if arch not in known:
        raise UnknownNameError("model of torchvision", arch, known)
    every = get_model_weights(arch)
    titles = list(every.__members__)
    if wanted and wanted not in titles:
        raise UnknownNameError(f"weights of torchvision:{arch}", wanted, titles)
    if not titles:
        raise UnknownNameError(f"weights of torchvision:{arch}", wanted, ["none"])
    chosen = every[wanted or "DEFAULT"]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    there = folder if (folder / chosen.url.rpartition("/")[2]).is_file() else None
    return _Found(f"{arch}.{chosen.name}", _of_torchvision(name, arch, chosen), (chosen.url,), there)


def _of_torchvision(name: str, arch: str, chosen: Any) -> Draft:
    """Describe an architecture of torchvision with the preprocessing of some weights; ResNets as UniTrack has them."""
    from torchvision.models import get_model

    transforms = chosen.transforms()
    mean, std = getattr(transforms, "mean", None), getattr(transforms, "std", None)
    if mean is None or std is None or "depth" in arch:
        raise CardError(f"{name}: not a network of RGB images with a mean and std; choose another")
    preprocessing = Preprocessing("rgb", 255.0, tuple(map(float, mean)), tuple(map(float, std)))  # type: ignore[arg-type]
    if arch.startswith(("resnet", "resnext", "wide_resnet")):
        draft = draft_card.describe(arch)
        return replace(draft, preprocessing=preprocessing)
    quiet = {"init_weights": False} if arch in ("googlenet", "inception_v3") else {}

    def build() -> nn.Module:
        network: nn.Module = get_model(arch, weights=None, **quiet).eval()
        return network

    network = _without_memory(build)
    layers = _surveyed(name, network, network).layers
    behind = tuple(
        f"{one}." for one, _ in network.named_children() if one in ("classifier", "fc", "head", "heads")
    )
    architecture = Architecture("torchvision", arch, options=dict(quiet), head=behind)
    return Draft(architecture, layers, draft_card.nearest(layers), preprocessing)


def _surveyed(name: str, network: nn.Module, run: Callable[[torch.Tensor], Any]) -> survey.Survey:
    try:
        return survey.take(network, run)
    except Exception as error:  # whatever a network does with images that it was not made for
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CardError(
            f"{name}: gives no maps of images of any size ({reason}); choose another model"
        ) from error


def _hf_hub(name: str, rest: str) -> _Found:
    repository = _repository(name, rest)
    config = _json(name, fetch.hub_file(name, repository, CONFIG))
    return _from_timm_config(name, repository.replace("/", "--"), config, _hub_sources(repository))


def _hf(name: str, rest: str) -> _Found:
    repository = _repository(name, rest)
    config = _json(name, fetch.hub_file(name, repository, CONFIG))
    if "architecture" in config and "model_type" not in config:
        raise CardError(f"{name}: a model of timm; name it -m hf-hub:{repository}")
    processor = _json(name, fetch.hub_file(name, repository, PROCESSOR))
    return _from_transformers(
        name, repository.replace("/", "--"), config, processor, _hub_sources(repository)
    )


def _repository(name: str, rest: str) -> str:
    if rest.count("/") != 1 or not all(cards.NAME.fullmatch(part) for part in rest.split("/")):
        raise CardError(
            f"{name}: {rest!r} is no repository of the hub, expected OWNER/NAME; correct the name"
        )
    return rest


def _hub_sources(repository: str, file: str | None = None) -> tuple[str, ...]:
    return tuple(f"hf:{repository}/{one}" for one in ((file,) if file else FILES))


def _folder(name: str) -> _Found:
    folder = Path(name).expanduser().resolve()
    if not folder.is_dir():
        raise WeightsError(f"{name}: no such folder; give one that holds a model, or its name in a library "
                           f"({', '.join(f'{one}:NAME' for one in LIBRARIES)})")  # fmt: skip
    if not (folder / CONFIG).is_file():
        return _from_torch_hub(name, folder)
    config = _json(name, folder / CONFIG)
    if (folder / SHARDS).is_file():
        raise WeightsError(f"{name}: weights in several files, expected {FILES[0]}; save the model in one: "
                           "save_pretrained(FOLDER, max_shard_size='100GB')")  # fmt: skip
    file = next((one for one in FILES if (folder / one).is_file()), None)
    if file is None:
        raise WeightsError(
            f"{name}: no weights, expected {' or '.join(FILES)} beside {CONFIG}; copy them there"
        )
    sources = (f"file:{file}",)
    if "architecture" in config and "model_type" not in config:
        found = _from_timm_config(name, folder.name, config, sources)
    elif not (folder / PROCESSOR).is_file():
        raise CardError(f"{name}: no {PROCESSOR}, which says mean and std; copy it there")
    else:
        found = _from_transformers(name, folder.name, config, _json(name, folder / PROCESSOR), sources)
    return replace(found, folder=folder)


def _from_torch_hub(name: str, folder: Path) -> _Found:
    """A file of torchvision's weights under its own name, as torch keeps what it has fetched."""
    from torchvision.models import get_model_weights, list_models

    for arch in list_models(exclude=("quantized_*",)):
        for chosen in get_model_weights(arch):
            if (folder / (file := chosen.url.rpartition("/")[2])).is_file():
                draft = _of_torchvision(name, arch, chosen)
                return _Found(f"{arch}.{chosen.name}", draft, (f"file:{file}", chosen.url), folder)
    raise CardError(f"{name}: no {CONFIG} of timm or transformers, and no file of torchvision's weights under its own "
                    "name; give a folder that holds one of them, or --checkpoint FILE --arch NAME")  # fmt: skip


def _from_timm_config(name: str, title: str, config: Mapping[str, Any], sources: tuple[str, ...]) -> _Found:
    """As timm writes models for the hub: the architecture, its options, and what it says of the weights."""
    import timm

    arch, known, given = (config.get(key) for key in ("architecture", "pretrained_cfg", "model_args"))
    if not isinstance(arch, str) or not isinstance(known, dict):
        raise CardError(f"{name}: {CONFIG} has no architecture and pretrained_cfg, expected a model of timm; for one "
                        "of transformers: -m hf:OWNER/NAME")  # fmt: skip
    if not timm.is_model(arch):
        raise UnknownNameError(f"architecture of {name}", arch, timm.list_models())
    options = {key: _option(name, key, value) for key, value in (given or {}).items() if value is not None}
    draft = _of_timm(name, arch, known, options)
    return _Found(title, draft, sources, license=str(known.get("license") or "unknown"))


def _option(name: str, key: str, value: object) -> Any:
    plain = isinstance(value, (str, int, float)) or (
        isinstance(value, list) and all(type(one) is int for one in value)
    )
    if not plain or key in cards.FETCHING:
        raise CardError(f"{name}: model_args has {key} = {str(value)[:80]!r}, expected text, numbers or lists of "
                        "integers; write a card by hand")  # fmt: skip
    return value


def _from_transformers(
    name: str, title: str, config: Mapping[str, Any], processor: Mapping[str, Any], sources: tuple[str, ...]
) -> _Found:
    from unibench.models import transformers_models

    architecture, network = transformers_models.describe(name, config)
    window = transformers_models.window(network)

    def run(images: torch.Tensor) -> object:
        shown = images if window is None else images[:, None].expand(-1, window.tubelet, -1, -1, -1)
        return transformers_models.call(network, shown)

    surveyed = _surveyed(name, network, run)
    norm = surveyed.tokens and transformers_models.final_norm(network) is not None
    layers = {key: replace(layer, norm=norm) for key, layer in surveyed.layers.items()}
    architecture = replace(architecture, head=transformers_models.head(network))
    draft = Draft(architecture, layers, draft_card.nearest(layers), _statistics(name, processor))
    return _Found(title, draft, sources, window=window)


def _statistics(name: str, processor: Mapping[str, Any]) -> Preprocessing:
    """As transformers' image processors do it: rescale, then subtract the mean and divide by the std."""
    scale = processor.get("rescale_factor", 1 / 255) if processor.get("do_rescale", True) else 1.0
    mean, std = processor.get("image_mean"), processor.get("image_std")
    if not processor.get("do_normalize", True):
        mean, std = [0.0] * 3, [1.0] * 3
    if not all(isinstance(one, list) and len(one) == 3 for one in (mean, std)):
        raise CardError(
            f"{name}: {PROCESSOR} has no image_mean and image_std of three numbers; write a card by hand"
        )
    assert mean is not None
    assert std is not None
    return Preprocessing("rgb", round(1 / float(scale), 6), tuple(map(float, mean)), tuple(map(float, std)))  # type: ignore[arg-type]


def _json(name: str, path: Path) -> dict[str, Any]:
    try:
        held = parse_json(read_file(path), f"{name}: {path.name}")
    except (OSError, SchemaError) as error:
        raise CardError(f"{name}: {path.name} cannot be read ({error}); fetch it again") from error
    if not isinstance(held, dict):
        raise CardError(f"{name}: {path.name} holds no named fields; fetch it again")
    return held


LIBRARIES: dict[str, Callable[[str, str], _Found]] = {
    "timm": _timm, "hf-hub": _hf_hub, "hf": _hf, "torchvision": _torchvision,
}  # fmt: skip
"""What stands before the colon -> what reads the rest; the keys are `cards.LIBRARIES`."""
