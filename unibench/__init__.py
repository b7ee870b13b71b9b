"""Measure how good a frozen visual representation is for tracking.

evaluate(models, tasks, output=...)   scores of models on tasks
load_card(name)                       a model card
load_model(card)                      a model that can be bound to tasks: `tasks.registry.bind`
find_task("vos/davis2016")            a task
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unibench.evaluation.evaluate import evaluate
    from unibench.models import open as load_model
    from unibench.models.cards import find as load_card
    from unibench.tasks.registry import find as find_task

__all__ = ["__version__", "evaluate", "find_task", "load_card", "load_model"]

_PUBLIC = {
    "evaluate": "unibench.evaluation.evaluate:evaluate",
    "find_task": "unibench.tasks.registry:find",
    "load_card": "unibench.models.cards:find",
    "load_model": "unibench.models:open",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, so that `import unibench` loads no torch."""
    if name == "__version__":
        from importlib.metadata import version

        return version("unibench-tracking")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'unibench' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(import_module(module), attribute)
