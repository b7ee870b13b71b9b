"""Model cards: one TOML file a model, read into frozen records and checked field by field.

The schema is documented in `model_cards/README.md`; it is what the dataclasses below say. An unknown field, a
missing one or one of another type is an error that names the file and the field.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import regex
from msgspec import Meta

from unibench import plugins
from unibench.errors import CardError, UnknownNameError
from unibench.schema import SchemaError, json_schema, parse_toml, read_file, record

KINDS = ("frozen", "joint")
JOINT = "joint"
"""The one layer of a joint tracker, as results call it; and the loader of its card."""
FROZEN_ONLY = (
    "default_layer", "preprocessing", "layers", "imagenet_top1", "reference",
    "series", "window",
    "architecture.strides", "architecture.padding", "architecture.dtype", "architecture.compiled", "architecture.head",
    "weights.container", "weights.seed", "weights.prefix", "weights.ignore", "weights.rename", "weights.allow_random",
)  # fmt: skip
"""Fields that the card of a joint tracker cannot have: its weights file says how it is built and what it is shown."""
PLACEHOLDERS = {
    "default_layer": JOINT,
    "preprocessing": {"color": "rgb", "divisor": 1.0, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
    "layers": {},
}
"""What stands in these fields instead."""
COLORS = ("rgb", "bgr", "lab", "lightness")
PADDINGS = ("zeros", "reflect", "replicate", "circular")
DTYPES = ("float32", "bfloat16", "float16")
SUPERVISION = ("none", "self", "labels")
NORMALISING = ("timm", "transformers")
"""Loaders whose maps can have the network's final normalisation."""
CLIP_LOADERS = ("python", "transformers")
"""Loaders whose networks may read a window of frames."""
NAME = re.compile(r"(?!\.)[\w.+-]{1,200}")
"""What a model may be called: a file's name that is not hidden."""
PART = r"(?!\.\.?(?:/|$))[\w.+-]+"
"""One part of a path that leads down."""
SOURCE = re.compile(
    rf"random|none|file:(?!\.\.?$)[^/]+|package:\w+(/{PART})+|hf:{PART}/{PART}(/{PART})+|https://[^\s/]+/\S+"
)


Option = str | int | float | bool | list[int]
Bounded = Annotated[float, Meta(ge=-1e6, le=1e6)]
Positive = Annotated[float, Meta(ge=1e-6, le=1e6)]
LARGEST = 2**31
"""Of the integers among the options of a constructor."""
FETCHING = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "weights",
            "weights_backbone", "pretrained_strict")  # fmt: skip
"""Options with which a library fetches or reads files by itself; weights come from [weights] only."""


@dataclass(frozen=True)
class Layer:
    """One feature map that a model can give."""

    node: str | int
    """Where the loader finds it: a module's name (torchvision, transformers), an index of `forward_intermediates`
    (timm), a key of the returned dict (python)."""
    stride: Annotated[int, Meta(ge=1, le=4096)]
    """Pixels of the input per feature cell."""
    channels: Annotated[int, Meta(ge=1, le=1_000_000)]
    offset: Annotated[float, Meta(ge=-4096, le=4096)] = 0.0
    """Pixel on which cell 0 is centred: 0 for ResNets, (patch - 1) / 2 for patches and pools."""
    norm: bool = False
    """Whether the network's final normalisation is applied to the map (ViTs of timm and transformers)."""


@dataclass(frozen=True)
class Architecture:
    """How the network is built."""

    loader: str
    """A key of `unibench.models.frozen.LOADERS`; `joint` for a joint tracker."""
    name: str
    """The loader's name of the architecture; `module:function` for the loader `python`; a key of
    `unibench.joint.systems.SYSTEMS` for a joint tracker."""
    parameters: Annotated[int, Meta(ge=0)] = 0
    """Number of parameters of the backbone (without `head`), or of the whole joint tracker; a test counts them."""
    options: Mapping[str, Option] = field(default_factory=dict)
    """Keyword arguments of the constructor."""
    strides: Mapping[str, Annotated[int, Meta(ge=1, le=64)]] = field(default_factory=dict)
    """Module name -> stride given to every convolution in it, in this order, after construction."""
    padding: str = "zeros"
    """Padding of every convolution (`padding_mode` of torch's Conv2d)."""
    dtype: str = "float32"
    """What the network computes in, one of `DTYPES`: the lower ones by torch's autocast; heads get float32."""
    compiled: bool = False
    """Whether torch.compile makes the network faster, which also changes the last digits of its maps."""
    head: tuple[str, ...] = ()
    """Prefixes of parameters after the last feature map: not part of the backbone, need not be loaded."""


@dataclass(frozen=True)
class Weights:
    """Where the parameters come from."""

    source: str
    """`random`, `none` (nothing to load), `file:NAME`, `package:MODULE/PATH`, `hf:OWNER/REPO/FILE` (Hugging Face
    Hub) or an https URL."""
    verified: bool = False
    """Whether this very file was loaded with this card, by the card's author."""
    sha256: str = ""
    mirrors: tuple[str, ...] = ()
    """Other sources of the same file, tried in this order."""
    gated: bool = False
    """Whether the owner asks for a registration before the file can be fetched."""
    obtain: str = ""
    """How a person gets the file where no program can (a shared drive, a conversion)."""
    container: str = ""
    """Dotted path of keys to the tensors in the file; empty: the one that fits best."""
    seed: Annotated[int, Meta(ge=0)] = 0
    """Of the initialisation, for `random`."""
    prefix: str = ""
    """Prefix of the backbone's keys; empty: the one that fits best."""
    ignore: tuple[str, ...] = ()
    """Prefixes of keys in the file that are not the backbone's (projection heads, classifiers)."""
    rename: tuple[tuple[str, str], ...] = ()
    """Pairs (regular expression, replacement), applied to each key in this order."""
    allow_random: tuple[str, ...] = ()
    """Patterns (`*`, `?`) of backbone tensors that may stay random; all others must be in the file."""


@dataclass(frozen=True)
class Preprocessing:
    """From an RGB image in 0-255 to what the network was trained on: convert, divide, subtract mean, divide by std."""

    color: str
    divisor: Annotated[float, Meta(ge=1e-3, le=1e6)]
    mean: tuple[Bounded, Bounded, Bounded]
    std: tuple[Positive, Positive, Positive]


@dataclass(frozen=True)
class Pretraining:
    """What the weights have seen."""

    method: str
    data: str
    supervision: str
    """`none`, `self` or `labels` (text that goes with images counts as labels)."""
    epochs: Annotated[float, Meta(ge=0)] = 0.0
    """Passes over the data; 0: not known."""
    overlap: tuple[str, ...] = ()
    """Benchmarks whose clips or images are among the data, as tasks name them (`vos/davis2017`)."""


@dataclass(frozen=True)
class External:
    """A number measured by somebody else."""

    value: Annotated[float, Meta(ge=0, le=1)]
    """A fraction."""
    source: str


READS = ("own", "mean")


@dataclass(frozen=True)
class Window:
    """What a clip encoder is shown at once: consecutive frames."""

    frames: Annotated[int, Meta(ge=1, le=256)]
    tubelet: Annotated[int, Meta(ge=1, le=64)] = 1
    """Neighbouring frames that share a map: there are frames / tubelet maps."""
    read: str = "own"
    """Which map is a frame's: `own`, that of its tubelet, or `mean`, the mean of all maps of the window."""


@dataclass(frozen=True)
class Series:
    """Of which training a checkpoint is a moment."""

    name: str
    """The training's: checkpoints of one name are one line of `plot series`."""
    epoch: float
    """When it was written; or the iteration, as its file's name counts."""


@dataclass(frozen=True)
class Card:
    """Everything that unibench knows of one model; `name` is the file's name."""

    name: str
    kind: str
    """One of `KINDS`: an appearance model for the training-free heads, or a tracker that was trained as one."""
    description: str
    paper: str
    license: str
    default_layer: str
    architecture: Architecture
    weights: Weights
    preprocessing: Preprocessing
    pretraining: Pretraining
    layers: Mapping[str, Layer]
    imagenet_top1: External | None = None
    """Linear-probe (or supervised) top-1 accuracy on ImageNet-1k, a fraction."""
    reference: bool = False
    """The supervised reference that a radar plot draws in grey."""
    window: Window | None = None
    """Of a clip encoder; None: the network sees one image."""
    series: Series | None = None
    """Where the model is one of several checkpoints of a training."""
    aliases: tuple[str, ...] = ()
    """Other names that find the card."""
    released: str = ""
    """When the weights came out: `2021` or `2021-04`."""
    path: Path | None = field(default=None, compare=False)
    """Of a card that was given by its file: its weights are looked for beside it first. Not a field of the file."""
    derived_from: str = field(default="", compare=False)
    """By which name a library has the model (`timm:resnet18.a1_in1k`), where no file but `models.by_name` says what
    stands here. Not a field of the file."""
    scale: float = field(default=1.0, compare=False)
    """By which images are resized before the network sees them; the layers are those of the network. Not a field of the
    file."""


SCALE = "+scale="
"""Stands in a fingerprint between the model's own and the factor by which its images are resized."""
ASIDE = ("path", "derived_from", "scale")
"""What a file cannot say."""


def joint(**fields: Any) -> Card:
    """Make the card of a joint tracker: fields that only frozen models have are filled in.

    Args:
        fields: The others.
    """
    blank: dict[str, Any] = {
        "default_layer": JOINT,
        "preprocessing": Preprocessing("rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        "layers": {},
    }
    return Card(kind="joint", **blank, **fields)


def shipped() -> Path:
    """Folder of the cards that come with unibench."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_model_cards"
    return installed if installed.is_dir() else package.parent / "model_cards"


def folders() -> list[Path]:
    """Folders searched for cards: unibench's own, then the working directory's `model_cards`, then the plug-ins'."""
    local = Path.cwd() / "model_cards"
    mine = [local] if local.is_dir() and local.resolve() != shipped() else []
    return [shipped(), *mine, *plugins.CARD_FOLDERS]


def paths() -> dict[str, Path]:
    """Every card that can be found: name -> file; of several of one name, the first."""
    return {name: files[0] for name, files in _files().items()}


def _files() -> dict[str, list[Path]]:
    """Every name, and the files that have it."""
    found: dict[str, list[Path]] = {}
    for folder in folders():
        for path in sorted(folder.glob("[!.]*.toml")):  # `._name.toml` is what macOS leaves beside a file
            found.setdefault(path.stem, []).append(path)
    return found


def running(card: Card, dtype: str | None = None, *, compiled: bool = False) -> Card:
    """The card with what a command asks for; since it changes scores, it changes the model's hash as well.

    Args:
        card: As it was read.
        dtype: One of `DTYPES`; None: the card's own.
        compiled: Whether to compile the network, whatever the card says.

    Raises:
        CardError: It is a joint tracker, which runs as it is.
    """
    here = card.architecture
    if not card.layers and (compiled or dtype not in (None, here.dtype)):
        raise CardError(f"model {card.name!r}: a joint tracker runs in float32, uncompiled; run it without "
                        "--dtype and --compile")  # fmt: skip
    changed = replace(here, dtype=dtype or here.dtype, compiled=compiled or here.compiled)
    return replace(card, architecture=changed)


def scaled(card: Card, scale: float) -> Card:
    """The card with images resized before the network sees them.

    Args:
        card: Of a frozen model.
        scale: Above 1 the maps are finer, below coarser.

    Raises:
        CardError: It is a joint tracker, or a stride would be no whole number of pixels.
    """
    if not card.layers and scale != 1:
        raise CardError(
            f"model {card.name!r}: a joint tracker resizes images itself; run it without --scales"
        )
    for name, layer in card.layers.items():
        stride = layer.stride / scale
        if stride % 1:
            raise CardError(f"model {card.name!r}: layer {name!r} at scale {scale:g} has a stride of {stride:.4g} "
                            "pixels, expected a whole number; choose another of --scales")  # fmt: skip
    return replace(card, scale=scale)


def seen_layers(card: Card) -> Mapping[str, Layer]:
    """The layers as heads see them: strides and offsets in pixels of the image before it is resized."""
    return {
        name: replace(
            layer, stride=round(layer.stride / card.scale), offset=(layer.offset + 0.5) / card.scale - 0.5
        )
        for name, layer in card.layers.items()
    }


LIBRARIES = ("timm", "hf-hub", "hf", "torchvision")
"""What stands before the colon of a model's name in a library or on a hub: `timm:vit_small_patch16_224.dino`."""


PATHS = (".", "/", "~")
"""What the name of a folder begins with, so that it is no card's."""


def is_by_name(name: str) -> bool:
    """Whether a text names no card, but a model of a library, or a folder that holds one (`./FOLDER`)."""
    library, colon, _ = name.partition(":")
    return bool(colon and library in LIBRARIES) or name.startswith(PATHS)


def find(name: str) -> Card:
    """Read the card of that name, with that alias, or in that file (`.toml`); or derive that of a library's model.

    Raises:
        UnknownNameError: There is no such card or model.
        CardError: The card is not valid, several answer to the name, or no card can be made of the model.
        WeightsError: What a hub says of the model is not here and cannot be fetched.
    """
    if name.endswith(".toml"):
        return replace(read(Path(name)), path=Path(name).resolve())
    if is_by_name(name):
        from unibench.models import by_name  # loads torch

        return by_name.derive(name)
    files = _files()
    if len(same := files.get(name, [])) > 1:
        raise CardError(f"{name!r}: the name of {' and '.join(map(str, same))}, expected of one card; rename one, or "
                        f"give one by its file (-m {same[-1]})")  # fmt: skip
    known = {one: at[0] for one, at in files.items()}
    if name in known:
        return _not_an_alias(name, read(known[name]))
    everything = [read(path) for path in known.values()]
    found = [card for card in everything if name in card.aliases]
    if len(found) > 1:
        raise CardError(
            f"{name!r}: alias of {' and '.join(card.name for card in found)}, expected of one card; "
            "give the name of a card, or take the alias out of the others"
        )
    if not found:
        names = [*known, *(alias for card in everything for alias in card.aliases)]
        raise UnknownNameError("model card", name, names, "unibench models")
    return found[0]


def _not_an_alias(name: str, card: Card) -> Card:
    """The card of that name, unless one that comes with unibench has the name as an alias."""
    own = shipped()
    if not (own / f"{name}.toml").is_file():
        for path in sorted(own.glob("[!.]*.toml")):
            if name in read(path).aliases:
                raise CardError(
                    f"{name!r}: an alias of the shipped card {path.stem!r}, and the name of another; rename that one, "
                    "or give it by its file"
                )
    return card


def read(path: Path) -> Card:
    """Read and check one card.

    Raises:
        CardError: The file cannot be read, is not TOML, or a field is unknown, missing, of another type or value.
    """
    try:
        table = parse_toml(read_file(path), str(path))
    except OSError as error:
        raise CardError(f"{path}: not a readable TOML file ({error}); see model_cards/README.md") from error
    except SchemaError as error:
        raise CardError(f"{error}; see model_cards/README.md") from error
    if not NAME.fullmatch(path.stem):
        raise CardError(
            f"{path}: {path.stem!r} is not a model's name, expected letters, digits and _ . + -; rename the file"
        )
    if "name" in table:
        raise CardError(f"{path}: unknown field 'name'; the file's name is the model's name")
    for name in ASIDE:
        if name in table:
            raise CardError(f"{path}: unknown field {name!r}; see model_cards/README.md")
    if table.get("kind") == "joint":
        if alien := next((name for name in FROZEN_ONLY if _holds(table, name)), ""):
            raise CardError(f"{path}: {alien} is for frozen models, not for joint trackers; take it out")
        table |= PLACEHOLDERS
    try:
        card: Card = record(Card, {"name": path.stem, **table}, str(path))
    except SchemaError as error:
        raise CardError(f"{error}; see model_cards/README.md") from error
    check(card, str(path))
    return card


def check(card: Card, where: str) -> None:
    """Demand that the fields of a card fit each other.

    Raises:
        CardError: They do not.
    """
    for problem in _problems(card):
        raise CardError(f"{where}: {problem}; see model_cards/README.md")


def schema() -> dict[str, Any]:
    """The JSON Schema of a card's file; what only frozen models need is not demanded."""
    made = json_schema(Card)
    card = made["$defs"]["Card"]
    for name in ("name", *ASIDE):  # the file's own
        del card["properties"][name]
    card["required"] = [name for name in card["required"] if name != "name" and name not in PLACEHOLDERS]
    return made


def _holds(table: Mapping[str, Any], name: str) -> bool:
    """Whether a table has a field, or a table in it (`weights.seed`)."""
    outer, _, inner = name.rpartition(".")
    within = table.get(outer) if outer else table
    return isinstance(within, dict) and inner in within


def _problems(card: Card) -> Iterator[str]:
    choices = (
        ("kind", card.kind, KINDS),
        ("architecture.padding", card.architecture.padding, PADDINGS),
        ("architecture.dtype", card.architecture.dtype, DTYPES),
        ("preprocessing.color", card.preprocessing.color, COLORS),
        ("pretraining.supervision", card.pretraining.supervision, SUPERVISION),
    )
    for name, value, allowed in choices:
        if value not in allowed:
            yield f"{name} is {value!r}, expected one of {', '.join(allowed)}"
    yield from _source_problems(card.weights)
    yield from _PROBLEMS_OF_KIND[card.kind](card) if card.kind in KINDS else ()
    yield from _option_problems(card.architecture.options)
    yield from _window_problems(card)


def _option_problems(options: Mapping[str, Option]) -> Iterator[str]:
    for name, value in options.items():
        if name in FETCHING:
            yield f"architecture.options.{name}: options fetch no files, expected the file in [weights]"
        if any(
            isinstance(one, int) and abs(one) > LARGEST
            for one in (value if isinstance(value, list) else [value])
        ):
            yield f"architecture.options.{name}: more than {LARGEST}, expected a smaller integer"


def _rename_problems(weights: Weights) -> Iterator[str]:
    for pattern, _ in weights.rename:
        try:
            regex.compile(pattern)
        except (regex.error, OverflowError, RecursionError) as error:
            yield f"weights.rename: {pattern!r} is not a regular expression ({error})"


def _is_address(source: str) -> bool:
    """Whether the https address of a source has a host and leads to a file."""
    try:
        parts = urlsplit(source)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0) and "\0" not in source
    except ValueError:
        return False


def _window_problems(card: Card) -> Iterator[str]:
    window = card.window
    if window is None:
        return
    if window.read not in READS:
        yield f"window.read is {window.read!r}, expected one of {', '.join(READS)}"
    if window.frames % window.tubelet:
        yield f"window: {window.frames} frames in tubelets of {window.tubelet}, expected whole tubelets"
    if card.architecture.loader not in CLIP_LOADERS:
        yield f"window is for the loaders {' and '.join(CLIP_LOADERS)}, found {card.architecture.loader!r}"


def _source_problems(weights: Weights) -> Iterator[str]:
    yield from _rename_problems(weights)
    if weights.sha256 and not re.fullmatch("[0-9a-f]{64}", weights.sha256):
        yield f"weights.sha256 is {weights.sha256[:80]!r}, expected 64 hexadecimal digits in lower case"
    for one in (weights.source, *weights.mirrors):
        if (
            len(one) > 1000
            or max(map(len, one.split("/"))) > 200
            or (one.startswith("https:") and not _is_address(one))
        ):
            yield f"weights: {one[:80]!r} is no address of a file, expected https://HOST/PATH"
    if not SOURCE.fullmatch(weights.source):
        yield (f"weights.source is {weights.source!r}, expected random, none, file:NAME, package:MODULE/PATH, "
               "hf:OWNER/REPO/FILE or https://...")  # fmt: skip
    for mirror in weights.mirrors:
        if not SOURCE.fullmatch(mirror) or not mirror.startswith(("hf:", "https:")):
            yield f"weights.mirrors has {mirror!r}, expected hf:OWNER/REPO/FILE or https://..."


def _joint_problems(card: Card) -> Iterator[str]:
    if card.architecture.loader != JOINT:
        yield f"architecture.loader is {card.architecture.loader!r}, expected {JOINT!r} for a joint tracker"
    if card.weights.source in ("random", "none"):
        yield f"weights.source is {card.weights.source!r}, expected a file, which says how a joint tracker is built"


def _layer_problems(card: Card) -> Iterator[str]:
    if not card.layers:
        yield "no layers, expected at least one table [layers.NAME]"
    if card.default_layer not in card.layers:
        yield f"default_layer is {card.default_layer!r}, expected one of {', '.join(card.layers)}"
    if JOINT in card.layers:
        yield f"layers.{JOINT}: results call a joint tracker so; choose another name"
    for name, layer in card.layers.items():
        if card.architecture.loader == "timm" and not isinstance(layer.node, int):
            yield f"layers.{name}.node is {layer.node!r}, expected the index of a map, as timm counts them"
        if layer.norm and card.architecture.loader not in NORMALISING:
            known = " and ".join(NORMALISING)
            yield f"layers.{name}: norm is for the loaders {known}, found {card.architecture.loader!r}"


_PROBLEMS_OF_KIND = {"frozen": _layer_problems, "joint": _joint_problems}
