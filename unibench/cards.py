"""Model cards: one TOML file a model, read into frozen records and checked field by field.

The schema is documented in `model_cards/README.md`; it is what the dataclasses below say. An unknown field, a
missing one or one of another type is an error that names the file and the field.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from unibench.errors import CardError, UnknownNameError

KINDS = ("frozen",)
COLORS = ("rgb", "bgr", "lab")
PADDINGS = ("zeros", "reflect", "replicate", "circular")
SUPERVISION = ("none", "self", "labels")

Option = str | int | float | bool | list[int]


@dataclass(frozen=True)
class Layer:
    """One feature map that a model can give."""

    node: str | int
    """Where the loader finds it: a module's name (torchvision), an index of `forward_intermediates` (timm), a key of
    the returned dict (python)."""
    stride: int
    """Pixels of the input per feature cell."""
    channels: int
    offset: float = 0.0
    """Pixel on which cell 0 is centred: 0 for ResNets, (patch - 1) / 2 for patches and pools."""


@dataclass(frozen=True)
class Architecture:
    """How the network is built."""

    loader: str
    """A key of `unibench.models.LOADERS`."""
    name: str
    """The loader's name of the architecture; `module:function` for the loader `python`."""
    parameters: int = 0
    """Number of parameters of the backbone (without `head`); a test counts them."""
    options: Mapping[str, Option] = field(default_factory=dict)
    """Keyword arguments of the constructor."""
    strides: Mapping[str, int] = field(default_factory=dict)
    """Module name -> stride given to every convolution in it, in this order, after construction."""
    padding: str = "zeros"
    """Padding of every convolution (`padding_mode` of torch's Conv2d)."""
    head: tuple[str, ...] = ()
    """Prefixes of parameters after the last feature map: not part of the backbone, need not be loaded."""


@dataclass(frozen=True)
class Weights:
    """Where the parameters come from."""

    source: str
    """`random`, `none` (nothing to load), `file:NAME`, `package:MODULE/PATH`, `hf:OWNER/REPO/FILE` (Hugging Face
    Hub) or an https URL."""
    verified: bool = False
    """Whether this very file was loaded with this card, by whoever wrote the card."""
    sha256: str = ""
    mirrors: tuple[str, ...] = ()
    """Other sources of the same file, tried in this order."""
    gated: bool = False
    """Whether the owner asks for a registration before the file can be fetched."""
    container: str = ""
    """Dotted path of keys to the tensors in the file; empty: the first of the usual ones."""
    seed: int = 0
    """Of the initialisation, for `random`."""
    prefix: str = ""
    """Prefix of the backbone's keys; empty: found by matching."""
    ignore: tuple[str, ...] = ()
    """Prefixes of keys in the file that are not the backbone's (projection heads, classifiers)."""
    rename: tuple[tuple[str, str], ...] = ()
    """Pairs (regular expression, replacement), applied to each key in this order."""


@dataclass(frozen=True)
class Preprocessing:
    """From an RGB image in 0-255 to what the network was trained on: convert, divide, subtract mean, divide by std."""

    color: str
    divisor: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Pretraining:
    """What the weights have seen."""

    method: str
    data: str
    supervision: str
    """`none`, `self` or `labels` (text that goes with images counts as labels)."""
    epochs: float = 0.0
    """Passes over the data; 0: not known."""
    overlap: tuple[str, ...] = ()
    """Benchmarks whose clips or images are among the data, as tasks name them (`vos/davis2017`)."""


@dataclass(frozen=True)
class External:
    """A number measured by somebody else."""

    value: float
    source: str


@dataclass(frozen=True)
class Card:
    """Everything that unibench knows of one model; `name` is the file's name."""

    name: str
    kind: str
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
    aliases: tuple[str, ...] = ()
    """Other names that find the card."""
    released: str = ""
    """When the weights came out: `2021` or `2021-04`."""


def folders() -> list[Path]:
    """Folders that are searched for cards: the working directory's `model_cards`, then the ones that come along."""
    package = Path(__file__).resolve().parent
    shipped = package / "_model_cards"
    builtin = shipped if shipped.is_dir() else package.parent / "model_cards"
    local = Path.cwd() / "model_cards"
    return [local, builtin] if local.is_dir() and local.resolve() != builtin else [builtin]


def paths() -> dict[str, Path]:
    """Every card that can be found: name -> file."""
    found: dict[str, Path] = {}
    for folder in folders():
        for path in sorted(folder.glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def find(name: str) -> Card:
    """Read the card of that name.

    Raises:
        UnknownNameError: There is no such card.
        CardError: The card is not valid.
    """
    known = paths()
    if name not in known:
        raise UnknownNameError("model card", name, known, "unibench models")
    return read(known[name])


def read(path: Path) -> Card:
    """Read and check one card.

    Raises:
        CardError: The file cannot be read, is not TOML, or a field is unknown, missing, of another type or value.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CardError(f"{path}: not a readable TOML file ({error}); see model_cards/README.md") from error
    if "name" in table:
        raise CardError(f"{path}: unknown field 'name'; the file's name is the model's name")
    card: Card = _record(Card, {"name": path.stem, **table}, str(path))
    for problem in _problems(card):
        raise CardError(f"{path}: {problem}; see model_cards/README.md")
    return card


def _problems(card: Card) -> Iterator[str]:
    choices = (
        ("kind", card.kind, KINDS),
        ("architecture.padding", card.architecture.padding, PADDINGS),
        ("preprocessing.color", card.preprocessing.color, COLORS),
        ("pretraining.supervision", card.pretraining.supervision, SUPERVISION),
    )
    for name, value, allowed in choices:
        if value not in allowed:
            yield f"{name} is {value!r}, expected one of {', '.join(allowed)}"
    if not card.layers:
        yield "no layers, expected at least one table [layers.NAME]"
    if card.default_layer not in card.layers:
        yield f"default_layer is {card.default_layer!r}, expected one of {', '.join(card.layers)}"
    if card.preprocessing.divisor <= 0 or min(card.preprocessing.std) <= 0:
        yield "preprocessing.divisor and std must be positive"
    for name, layer in card.layers.items():
        if layer.stride < 1 or layer.channels < 1:
            yield f"layers.{name}: stride and channels must be at least 1"
    if card.imagenet_top1 and not 0 <= card.imagenet_top1.value <= 1:
        yield f"imagenet_top1.value is {card.imagenet_top1.value}, expected a fraction between 0 and 1"


def _record(record: Any, table: object, where: str) -> Any:
    """Build a dataclass from a TOML table, refusing what does not fit."""
    if not isinstance(table, dict):
        raise CardError(f"{where}: found {table!r}, expected a table; see model_cards/README.md")
    known: dict[str, Field[Any]] = {one.name: one for one in fields(record)}
    if unknown := sorted(set(table) - set(known)):
        raise CardError(f"{where}: unknown field {unknown[0]!r}; there are: {', '.join(known)}")
    needed = [
        name for name, one in known.items() if one.default is MISSING and one.default_factory is MISSING
    ]
    if missing := [name for name in needed if name not in table]:
        raise CardError(f"{where}: missing field {missing[0]!r}; see model_cards/README.md")
    hints = get_type_hints(record)
    return record(**{name: _value(hints[name], value, _at(where, name)) for name, value in table.items()})


def _at(where: str, name: str) -> str:
    """The file, then the dotted path of the field in it."""
    return f"{where}{'.' if ': ' in where else ': '}{name}"


def _value(hint: Any, value: object, where: str) -> Any:
    """Convert one TOML value to the type that the record declares."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _record(hint, value, where)
    if origin is Mapping and isinstance(value, dict):
        return {key: _value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is tuple and isinstance(value, list):
        each = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(each) == len(value):
            return tuple(_value(one, item, where) for one, item in zip(each, value, strict=True))
    elif origin is UnionType:
        plain = [one for one in arguments if one is not NoneType]
        if any(is_dataclass(one) for one in plain):
            return _value(plain[0], value, where)
        if any(_is(one, value) for one in plain):
            return value
    elif _is(hint, value):
        return float(value) if hint is float else value  # type: ignore[arg-type]
    raise CardError(f"{where}: found {value!r}, expected {_type_name(hint)}; see model_cards/README.md")


def _is(hint: Any, value: object) -> bool:
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_is(get_args(hint)[0], item) for item in value)
    if isinstance(value, bool) or hint is bool:
        return hint is bool and isinstance(value, bool)
    return isinstance(value, (int, float) if hint is float else hint)


def _type_name(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint)) if get_origin(hint) is None else str(hint)
