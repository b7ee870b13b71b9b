"""Weights files: where they lie, and where they are fetched from. Loads no torch.

A file that the user gives is the one that is used, or it is refused. Else it is looked for in the folder that the user
gives, beside a card that is given by its path, then in the package that brings it or in the caches: an https address is
cached under its own host and path, a file of the Hugging Face Hub in the hub's own cache.
"""

import json
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import copyfile
from urllib.parse import urlsplit

from unibench.errors import OutputError, WeightsError
from unibench.models.cards import Card
from unibench.models.download import download, sha256
from unibench.results.atomic import replace_file, replacing
from unibench.schema import SchemaError, parse_json, read_file

LOCK = "sha256.json"
"""In the cache: source -> sha256 of its file when it was first used."""
WITHOUT_FILE = ("random", "none")
"""Sources of weights that no file holds."""
SUFFIX = re.compile(r"(\.safetensors|\.pth\.tar|\.\w+)$")


def offline() -> bool:
    """Whether the network must not be touched: `--offline`, or HF_HUB_OFFLINE in the environment."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def cache() -> Path:
    """Folder of what was fetched from https addresses; files from the Hugging Face Hub lie in the hub's own cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unibench"


def sources(card: Card) -> tuple[str, ...]:
    """Where the card's weights come from, the first one first."""
    return (card.weights.source, *card.weights.mirrors)


def names(card: Card) -> list[str]:
    """What the file may be called in a folder: after the card, or as upstream calls it (hub, package: FOLDER/FILE)."""
    paths = [_path(source) for source in sources(card)]
    mine = [_own_name(card, path) for path in paths] + [f"{card.name}.safetensors", f"{card.name}.pth"]
    return list(dict.fromkeys([*mine, *paths]))


def _path(source: str) -> str:
    path = urlsplit(source).path if source.startswith("https:") else source.partition(":")[2]
    return "/".join(path.split("/")[-2 if source.startswith(("hf:", "package:")) else -1 :])


def _own_name(card: Card, path: str) -> str:
    suffix = SUFFIX.search(path)
    return card.name + (suffix.group() if suffix else ".pth")


def find(card: Card, weights_path: Path | None) -> Path | None:
    """Find the file with a card's weights on this machine.

    Args:
        card: The model.
        weights_path: The user's own file, or a folder that may hold the file by one of its `names`; None: only the
            places that are searched without it.

    Returns:
        The file; None: it is not here, or there is none (`random`, `none`).

    Raises:
        WeightsError: What the user gives is not there or of no use, or the package that holds the weights is missing.
    """
    own = weights_path is not None and weights_path.is_file()
    if weights_path is not None and not own and not weights_path.is_dir():
        raise WeightsError(f"{weights_path}: no such file or folder; give one that is there with --weights")
    if card.weights.source in WITHOUT_FILE:
        if own:
            raise WeightsError(
                f"{weights_path}: model {card.name!r} has no weights to load, expected no file; leave --weights out, "
                "or name the folder that holds the files of the other models"
            )
        return None
    if own:
        return weights_path
    folders = [weights_path] if weights_path else []
    folders += [card.path.parent] if card.path else []
    places = (folder / name for folder in folders for name in names(card))
    if found := next((path for path in places if path.is_file()), None):
        return found
    if card.weights.source.startswith("package:"):
        return _in_package(card.name, card.weights.source)
    cached = (_cached(source) for source in sources(card))
    return next((one for one in cached if one is not None and one.is_file()), None)


def _in_package(name: str, source: str) -> Path:
    module, _, inner = source.removeprefix("package:").partition("/")
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"model {name!r}: package {module!r} is not installed; pip install {module}")
    root = Path(spec.submodule_search_locations[0]).resolve()
    path = (root / inner).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise WeightsError(f"model {name!r}: package {module!r} has no file {inner!r}; reinstall the package")
    return path


def _cached(source: str) -> Path | None:
    """The place in a cache, whether or not the file is there."""
    if source.startswith("https:"):
        address = urlsplit(source)
        path = (cache() / address.netloc / address.path.lstrip("/")).resolve()
        return path if path.is_relative_to(cache().resolve()) else None
    if source.startswith("hf:"):
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(*_hub_parts(source))
        return Path(found) if isinstance(found, str) else None
    return None


def _hub_parts(source: str) -> tuple[str, str]:
    owner, repository, file = source.removeprefix("hf:").split("/", 2)
    return f"{owner}/{repository}", file


def fetch(card: Card, folder: Path | None = None) -> Path:
    """Fetch a card's weights from its source, or else from its mirrors.

    Args:
        card: The model.
        folder: Gets the file, called after the card; None: a cache gets it.

    Returns:
        The file.

    Raises:
        WeightsError: No source gives the file, none can be reached by a program, or the network is off.
    """
    if card.weights.source.startswith("package:"):
        return _fetch(card, card.weights.source, folder)
    reachable = [source for source in sources(card) if source.startswith(("hf:", "https:"))]
    if not reachable:
        raise WeightsError(missing(card))
    if offline():
        raise WeightsError(
            f"model {card.name!r}: the weights are not here and the network is off (--offline, HF_HUB_OFFLINE); fetch "
            f"{address(reachable[0])} elsewhere and give it as {names(card)[0]} in a folder with --weights DIR"
        )
    failures = []
    for source in reachable:
        try:
            return _fetch(card, source, folder)
        except WeightsError as error:
            failures.append(str(error))
    if len(failures) == 1:
        raise WeightsError(f"model {card.name!r}: {failures[0]}")
    raise WeightsError(f"model {card.name!r}: no source gives the weights: {'; '.join(failures)}")


@dataclass(frozen=True)
class WeightsStatus:
    """Where a card's weights are."""

    here: bool
    """Whether the model can be loaded without fetching anything."""
    text: str
    """For people: where the file is, or how to get it."""
    path: Path | None = None


def status(card: Card, weights_path: Path | None) -> WeightsStatus:
    """Say where a card's weights are, or else how to get them; nothing is fetched.

    Args:
        card: The model.
        weights_path: A weights file, or the folder that holds it; None: only the caches.
    """
    try:
        path = find(card, weights_path)
    except WeightsError as error:
        return WeightsStatus(False, str(error))
    if card.weights.source in WITHOUT_FILE:
        return WeightsStatus(True, "needs no file")
    if path is not None:
        return WeightsStatus(True, f"here: {path}", path)
    return WeightsStatus(False, _how_to_get(card))


def _how_to_get(card: Card) -> str:
    pages = [address(one).partition("/resolve/")[0] for one in sources(card) if one.startswith("hf:")]
    page = pages[0] if pages else ""
    if card.weights.gated:
        return (
            f"gated: ask for access{f' at {page}' if page else ''}, then unibench models download {card.name}"
        )
    if any(one.startswith(("hf:", "https:")) for one in sources(card)):
        return f"not here: unibench models download {card.name}"
    how = f": {card.weights.obtain}" if card.weights.obtain else ", with --weights DIR"
    return f"not here, by hand as {_path(card.weights.source)}{how}"


def obtain(card: Card, folder: Path | None) -> Path | None:
    """Find a card's weights, or fetch them, and check their sha256.

    Args:
        card: The model.
        folder: Holds the file, or gets it; None: the caches.

    Returns:
        The file; None: the model needs none.

    Raises:
        WeightsError: The file is not here and cannot be fetched, or has another sha256.
    """
    if card.weights.source in WITHOUT_FILE:
        return None
    if folder is None:
        return verify(card, find(card, None) or fetch(card))
    there = (folder / name for name in names(card))
    path = next((one for one in there if one.is_file()), None) or fetch(card, folder)
    return verify(card, path)


def verify(card: Card, path: Path) -> Path:
    """Check the sha256 of a card's weights: the card's, or that of their first use.

    Where the card says none and its source is remote, the sha256 is noted in `LOCK` in the cache when the file is first
    used: that of a file that was fetched, or that lies in a folder by one of its `names`. A file that the user names in
    another way is the user's own.

    Raises:
        WeightsError: The file has another one.
    """
    source = card.weights.source
    remote = source.startswith(("hf:", "https:")) and not card.weights.sha256
    if not card.weights.sha256 and not (remote and _was_found(card, path)):
        return path
    found, lock = sha256(path), cache() / LOCK
    noted = _noted(lock) if remote else {}
    expected = card.weights.sha256 or noted.get(source, found)
    if found != expected:
        where = f"card {card.name!r}" if card.weights.sha256 else f"{lock}, noted on first use"
        raise WeightsError(
            f"{path}: sha256 is {found[:12]}..., expected {expected[:12]}... ({where}); the file is damaged or another "
            f"one: fetch it again{'' if card.weights.sha256 else ', or take its line out where the change is meant'}"
        )
    if remote and source not in noted:
        with suppress(OutputError):  # a cache that is shared read-only: compared where it can be noted
            replace_file(lock, json.dumps({**noted, source: found}, indent=1, sort_keys=True).encode())
    return path


def _was_found(card: Card, path: Path) -> bool:
    """Whether a file lies where one of the card's sources is cached, or is called as in a folder of weights."""
    return path.name in {Path(name).name for name in names(card)} or path in map(_cached, sources(card))


def _noted(lock: Path) -> dict[str, str]:
    """Source -> sha256 of its file when it was first used."""
    try:
        held = parse_json(read_file(lock), str(lock))
    except FileNotFoundError:
        return {}
    except (OSError, SchemaError) as error:
        raise WeightsError(
            f"{lock}: cannot be read ({error}), expected sources and their sha256; remove it"
        ) from error
    if not isinstance(held, dict) or not all(isinstance(value, str) for value in held.values()):
        raise WeightsError(f"{lock}: expected sources and their sha256; remove it")
    return held


def missing(card: Card) -> str:
    """What to say where the weights are not here and no program can fetch them."""
    name = _path(card.weights.source)
    how = f"; to get them: {card.weights.obtain}" if card.weights.obtain else ""
    return (
        f"model {card.name!r}: weights {name!r} not found; say where they are with --weights DIR or FILE{how}"
    )


def address(source: str) -> str:
    """Where a person finds the file of a source."""
    if not source.startswith("hf:"):
        return source
    repository, file = _hub_parts(source)
    return f"https://huggingface.co/{repository}/resolve/main/{file}"


def _fetch(card: Card, source: str, folder: Path | None) -> Path:
    target = folder / _own_name(card, _path(source)) if folder is not None else _cached(source)
    try:
        if source.startswith(("hf:", "package:")):
            found = _from_hub(source) if source.startswith("hf:") else _in_package(card.name, source)
            return _copy(found, target) if folder is not None and target is not None else found
        if target is None:
            raise WeightsError(f"{source}: the address leads out of the cache; correct it in the card")
        return download(source, target, card.weights.sha256)
    except OSError as error:
        raise WeightsError(
            f"{source}: cannot be kept ({error}); make room, or choose another folder with --weights DIR"
        ) from error


def _copy(path: Path, target: Path) -> Path:
    with replacing(target) as part:
        copyfile(path, part)
    return target


def hub_file(where: str, repository: str, file: str) -> Path:
    """Find a small file of a hub's repository in the hub's cache, or fetch it there.

    Args:
        where: Who asks, for messages.
        repository: `OWNER/NAME`.
        file: Its name.

    Raises:
        WeightsError: It is not here and cannot be fetched, or the network is off.
    """
    source = f"hf:{repository}/{file}"
    cached = _cached(source)
    if cached is not None and cached.is_file():
        return cached
    if offline():
        raise WeightsError(f"{where}: {file} is not in the hub's cache and the network is off (--offline, "
                           "HF_HUB_OFFLINE); fetch the model first, or give its folder: -m ./FOLDER")  # fmt: skip
    try:
        return _from_hub(source)
    except WeightsError as error:
        raise WeightsError(f"{where}: {error}") from error


def _from_hub(source: str) -> Path:
    from huggingface_hub import hf_hub_download

    repository, file = _hub_parts(source)
    try:
        return Path(hf_hub_download(repository, file))
    except (OSError, ValueError) as error:  # the hub's own errors are kinds of OSError
        raise WeightsError(f"{source}: {_refusal(error, repository)}") from error


def _refusal(error: Exception, repository: str) -> str:
    """Why the hub gives no file, and what to do."""
    from huggingface_hub import errors

    login = "log in with `hf auth login` or set HF_TOKEN"
    if isinstance(error, errors.GatedRepoError):
        return f"gated; ask for access at https://huggingface.co/{repository}, then {login}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no such repository, or a private one; correct the card, or {login}"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return "the repository has no such file; correct the card"
    reason = str(error.__cause__ or error).splitlines()[0]
    return f"cannot be fetched ({reason}); try again, or give the file with --weights FILE"
