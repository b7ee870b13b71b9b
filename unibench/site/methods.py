"""Pages of methods, written from the code: families with their protocols, metrics, statistics."""

import math
import re
import sys
from collections.abc import Callable, Mapping
from itertools import takewhile
from types import ModuleType
from typing import Any

from unibench.datasets import BENCHMARKS
from unibench.metrics import catalogue
from unibench.metrics.catalogue import Direction, Metric
from unibench.stats import bootstrap, correlation, tests
from unibench.tasks.family import Family, Knobs
from unibench.tasks.registry import FAMILIES

_BETTER = {Direction.HIGHER: "higher", Direction.LOWER: "lower", Direction.NEITHER: "neither"}


def index() -> dict[str, Any]:
    """What the page of all methods shows."""
    return {
        "families": [
            {
                "name": family.name,
                "title": family.title,
                "presets": family.presets,
                "scoring_headline": family.scoring.headline,
                "benchmarks": sum(name.partition("/")[0] == family.name for name in BENCHMARKS),
            }
            for family in FAMILIES.values()
        ],
        "metrics": [(name, _metric(one)) for name, one in catalogue.METRICS.items()],
        "statistics": list(bootstrap.METHOD.items()),
        "texts": [
            {"title": title, "paragraphs": _told(module, *functions)}
            for title, module, *functions in (
                ("Intervals", bootstrap),
                ("Comparing two rows", tests, tests.compare, tests.holm),
                ("Correlations", correlation, correlation.correlate),
            )
        ],
    }


def family(one: Family) -> dict[str, Any]:
    """What the page of a family of tasks shows."""
    presets = {name: _flat(preset.knobs) for name, preset in one.presets.items() if preset.knobs}
    first = next(iter(presets.values()), {})
    return {
        "family": one,
        "about": _paragraphs(sys.modules[one.scoring.tally.__module__].__doc__),
        "benchmarks": [row for row in BENCHMARKS.values() if row.task.partition("/")[0] == one.name],
        "first": next(iter(presets), ""),
        "columns": list(presets),
        "knobs": [
            (
                knob,
                [
                    (
                        _text(knobs[knob]) if knob in knobs else "",
                        knobs.get(knob, ...) != first.get(knob, ...),
                    )
                    for knobs in presets.values()
                ],
            )
            for knob in dict.fromkeys(knob for knobs in presets.values() for knob in knobs)
        ],
    }


def _metric(metric: Metric) -> dict[str, str]:
    low, high = ("" if math.isinf(end) else f"{end:g}" for end in metric.range)
    return {
        "unit": metric.unit,
        "better": _BETTER[metric.direction],
        "range": f"{low or 'no least'} to {high or 'no greatest'}",
        "definition": metric.definition,
        "reference": metric.reference,
    }


def _flat(knobs: Knobs, prefix: str = "") -> dict[str, Any]:
    """Knobs of nested tables under names joined by dots."""
    found: dict[str, Any] = {}
    for name, value in knobs.items():
        found |= (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, Mapping) and value
            else {prefix + name: value}
        )
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _told(module: ModuleType, *functions: Callable[..., Any]) -> list[str]:
    """What a module and some of its functions say of themselves, its constants as numbers."""
    texts = [text for one in (module, *functions) for text in _paragraphs(one.__doc__)]
    return [
        re.sub(r"\b[A-Z][A-Z_]{5,}\b", lambda name: str(getattr(module, name[0], name[0])), text)
        for text in texts
    ]


def _paragraphs(text: str | None) -> list[str]:
    """The paragraphs of a docstring before its lists, each in one line, without the marks around names."""
    parts = [" ".join(part.split()).replace("`", "") for part in (text or "").strip().split("\n\n")]
    return list(takewhile(lambda part: not part.startswith(("Args:", "Returns:", "Reference:")), parts))
