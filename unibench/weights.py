"""Checkpoints: find the file, check it, read it without running code, and fit it to a network.

Loading never happens silently: the caller gets a report of every backbone tensor, and below 99 % loading is refused.
"""

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from unibench.cards import Card, Weights
from unibench.errors import WeightsError

CONTAINERS = ("state_dict", "model", "teacher", "student", "module", "resnet", "network", "net")
PREFIXES = (
    "", "module.", "model.", "backbone.", "encoder.", "module.encoder_q.", "module.encoder.", "module.backbone.",
    "encoder_q.", "encoder.model.", "teacher.backbone.", "student.backbone.", "base_encoder.", "module.base_encoder.",
)  # fmt: skip
REQUIRED = 0.99


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor; the lists hold names."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """Backbone tensors for which the file has nothing of that name."""
    misshapen: tuple[str, ...]
    """Backbone tensors for which the file has another shape."""
    left_over: tuple[str, ...]
    """Tensors of the file that fit nowhere."""
    prefix: str

    @property
    def share(self) -> float:
        """Loaded part of the backbone's tensors, 0 to 1."""
        total = len(self.loaded) + len(self.missing) + len(self.misshapen)
        return len(self.loaded) / total if total else 1.0

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.misshapen)
        text = f"{len(self.loaded)} of {total} backbone tensors loaded ({self.share:.1%})"
        text += f" with prefix {self.prefix!r} stripped" if self.prefix else ""
        for what in ("missing", "misshapen", "left_over"):
            names: tuple[str, ...] = getattr(self, what)
            if names:
                shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
                text += f"; {len(names)} {what.replace('_', ' ')}: {shown}"
        return text


def locate(card: Card, given: Path | None) -> Path | None:
    """Find the file with a card's weights, and check its sha256.

    Args:
        card: Its `weights.source` says where to look.
        given: The user's own file, or a folder that holds the file by its name; None: only what the source names.

    Returns:
        The file, or None where there is nothing to load (`random`, `none`).

    Raises:
        WeightsError: The file is not there or has another sha256.
    """
    source = card.weights.source
    if source in ("random", "none"):
        return None
    path = _path_of(card.name, source, given)
    if card.weights.sha256 and (found := sha256(path)) != card.weights.sha256:
        raise WeightsError(
            f"{path}: sha256 is {found[:12]}..., expected {card.weights.sha256[:12]}... (card {card.name!r}); "
            "the file is damaged or another one: fetch it again"
        )
    return path


def _path_of(name: str, source: str, given: Path | None) -> Path:
    scheme, _, rest = source.partition(":")
    if scheme == "package":
        return _in_package(name, rest)
    file_name = Path(rest).name
    if given is not None and given.is_file():
        return given
    if given is not None and (given / file_name).is_file():
        return given / file_name
    if scheme == "https":
        cached = Path(torch.hub.get_dir()) / "checkpoints" / file_name
        if not cached.is_file():
            _download(source, cached)
        return cached
    where = given if given is not None else "no folder given"
    raise WeightsError(
        f"model {name!r}: weights {file_name!r} not found ({where}); say where they are with --weights DIR or FILE"
    )


def _in_package(name: str, rest: str) -> Path:
    module, _, inner = rest.partition("/")
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"model {name!r}: package {module!r} is not installed; pip install {module}")
    root = Path(spec.submodule_search_locations[0]).resolve()
    path = (root / inner).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise WeightsError(f"model {name!r}: package {module!r} has no file {inner!r}; reinstall the package")
    return path


def _download(url: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=True)
    except OSError as error:
        raise WeightsError(
            f"{url}: cannot be fetched ({error}); fetch it by hand and give it with --weights FILE"
        ) from error


def sha256(path: Path) -> str:
    """Hash of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint as flat names and tensors, without running any code in it.

    Args:
        path: A torch file or safetensors; the tensors may sit in one of the usual containers (`CONTAINERS`).

    Raises:
        WeightsError: The file is missing, damaged, a pickle that needs more than tensors, or holds no tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; say where the weights are with --weights or --checkpoint")
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    tensors = _unpack(loaded)
    if not tensors:
        found = ", ".join(map(str, list(loaded)[:5])) if isinstance(loaded, dict) else type(loaded).__name__
        raise WeightsError(f"{path}: no tensors (found: {found}), expected names and tensors, flat or in one of "
                           f"{', '.join(CONTAINERS)}; save model.state_dict()")  # fmt: skip
    return tensors


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings():  # of unusual pickle protocols: it reads them or refuses them
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"{path}: a pickle that holds more than tensors is not read, for it could run code ({reason}); "
            "convert it where you trust it: torch.save(model.state_dict(), FILE)"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path}: not a readable checkpoint, truncated or damaged ({str(error).splitlines()[0]}); "
            "fetch or save it again"
        ) from error


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path}: not a readable safetensors file ({error}); fetch or save it again"
        ) from error


def _unpack(loaded: object) -> dict[str, Tensor]:
    """Descend into the usual containers until there are tensors by name."""
    if not isinstance(loaded, Mapping):
        return {}
    tensors = {name: value for name, value in loaded.items() if isinstance(value, Tensor)}
    if len(tensors) > 1 or not any(name in loaded for name in CONTAINERS):
        return tensors
    inner = next(loaded[name] for name in CONTAINERS if name in loaded)
    return _unpack(inner) or tensors


def fit(network: nn.Module, tensors: Mapping[str, Tensor], rules: Weights, head: Sequence[str]) -> LoadReport:
    """Copy a checkpoint's tensors into a network, and say what became of each.

    Args:
        network: Is changed in place; half precision tensors become its own precision.
        tensors: Names and tensors of the file.
        rules: The card's renaming rules, ignored prefixes and key prefix.
        head: Prefixes of the network's parameters that are not part of the backbone.
    """
    renamed = {_rename(name, rules.rename): value for name, value in tensors.items()}
    wanted = {
        name: value
        for name, value in network.state_dict().items()
        if not name.startswith(tuple(head)) and not name.endswith("num_batches_tracked")
    }
    prefix = rules.prefix or max(PREFIXES, key=lambda one: sum(one + name in renamed for name in wanted))
    found = {name: renamed[prefix + name] for name in wanted if prefix + name in renamed}
    good = {name: value for name, value in found.items() if value.shape == wanted[name].shape}
    network.load_state_dict(good, strict=False)
    skipped = tuple(rules.ignore) + tuple(prefix + one for one in head)
    return LoadReport(
        loaded=tuple(good),
        missing=tuple(name for name in wanted if name not in found),
        misshapen=tuple(name for name in found if name not in good),
        left_over=tuple(
            name
            for name in renamed
            if name.removeprefix(prefix) not in wanted
            and not name.startswith(skipped)
            and not name.endswith("num_batches_tracked")
        ),
        prefix=prefix,
    )


def _rename(name: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def require(report: LoadReport, where: str, least: float = REQUIRED) -> None:
    """Refuse a checkpoint that does not fit.

    Raises:
        WeightsError: Less than the given share of the backbone's tensors was loaded.
    """
    if report.share < least:
        raise WeightsError(
            f"{where}: {report}; expected at least {least:.0%}: another architecture, or keys that need a "
            "[weights] prefix or rename in the card"
        )
