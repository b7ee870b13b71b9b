"""Plug-ins: users' modules that add to unibench's tables when imported (`models.LOADERS`, `joint.SYSTEMS`, ...).

A module may also name a folder of model cards, beside itself, in an attribute `CARDS`. Installed packages name their
modules as entry points. A plug-in is code that runs: only for those that you trust.
"""

import os
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from unibench.errors import PluginError

CARD_FOLDERS: list[Path] = []
"""Where plug-ins keep model cards."""
MODULES: set[str] = set()
"""Names of the modules that were loaded as plug-ins; the card of a model may name functions of these."""
ENVIRONMENT = "UNIBENCH_PLUGINS"
"""Variable with modules and files, separated as in PATH, that are loaded as plug-ins."""
GROUPS = ("unibench.models", "unibench.tasks")
"""Entry point groups; each entry names a module."""


def load(name: str) -> ModuleType:
    """Import a plug-in; importing it registers what it brings.

    Args:
        name: A file that ends in `.py`, which can then be imported by its own name, or an importable module.

    Raises:
        PluginError: It is not there, or fails while it is imported.
    """
    path = Path(name).resolve() if name.endswith(".py") else None
    module = _guarded(name, lambda: _from_file(path) if path else import_module(name))
    MODULES.add(module.__name__)
    folder = getattr(module, "CARDS", None)
    if folder is not None:
        beside = Path(module.__file__ or "").parent / folder
        if not beside.is_dir():
            raise PluginError(
                f"plug-in {name!r}: CARDS is {str(folder)!r}, expected a folder beside the module"
            )
        if beside not in CARD_FOLDERS:
            CARD_FOLDERS.append(beside)
    return module


def load_installed() -> None:
    """Import the plug-ins of installed packages, and those that the environment names.

    Raises:
        PluginError: One of them fails while it is imported.
    """
    for group in GROUPS:
        for entry in entry_points(group=group):
            load(entry.module)
    for name in filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)):
        load(name)


def _from_file(path: Path) -> ModuleType:
    known = sys.modules.get(path.stem)
    if known is not None:
        if Path(getattr(known, "__file__", None) or "").resolve() == path:
            return known
        raise ImportError(f"there is another module called {path.stem!r}; rename the file")
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ImportError(f"no such file: {path}")
    module = sys.modules[path.stem] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _guarded(name: str, act: Callable[[], ModuleType]) -> ModuleType:
    try:
        return act()
    except (Exception, SystemExit) as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f" (line {last.lineno} of {last.filename})" if last.filename.endswith(Path(name).name) else ""
        raise PluginError(
            f"plug-in {name!r}: {type(error).__name__}: {' '.join(str(error).split())}{where}; correct it"
        ) from error


def resolve(reference: Any) -> Any:
    """Import what a table names: `package.module:attribute`; anything but a text stands for itself.

    Rows name what needs torch in this way, so that a board which reads the row does not load it.
    """
    if not isinstance(reference, str):
        return reference
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)
