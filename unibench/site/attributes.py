"""Scores of the clips that have an attribute which makes them hard, row by row."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unibench.errors import DataError, TrackerError, UnknownNameError
from unibench.evaluation.explain import OFTEN, has
from unibench.evaluation.score_again import load_clip
from unibench.metrics import attributes
from unibench.metrics.catalogue import show
from unibench.report.boards import Setting
from unibench.results.store import ClipResult
from unibench.site.contents import Contents
from unibench.tasks import registry


def table(site: Contents, setting: Setting, data: Path | None) -> dict[str, Any] | None:
    """Pool the clips with each attribute.

    Args:
        site: What there is.
        setting: Task and protocol.
        data: Folder that holds the benchmarks' folders; rendered benchmarks need none.

    Returns:
        What the page shows; None where no clip has an attribute, as for poses, or the data are not here.
    """
    shares = _shares(site, setting, data)
    having = {name: {clip for clip in shares if has(shares[clip], name)} for name in attributes.NAMES}
    having = {name: clips for name, clips in having.items() if clips}
    if not having:
        return None
    metric, results = site.board.metrics[setting][0], site.results[setting]
    return {
        "often": f"{OFTEN:.0%}",
        "metric": metric,
        "clips": len(shares),
        "columns": [(name, len(clips)) for name, clips in having.items()],
        "rows": [
            {
                "name": name,
                "layer": layer,
                "cells": [
                    show(metric, _pooled(setting.task, metric, one.clips, clips))
                    for clips in (set(shares), *having.values())
                ],
            }
            for (name, layer), one in results.items()
        ],
    }


def _shares(site: Contents, setting: Setting, data: Path | None) -> dict[str, Mapping[str, float]]:
    """Clip -> how often each attribute holds in it."""
    clips = {name: one for row in site.results[setting].values() for name, one in row.clips.items()}
    try:
        task = registry.find(setting.task)
        return {name: attributes.shares(*load_clip(one, task, data)) for name, one in clips.items()}
    except (DataError, UnknownNameError):  # the page says why it has no clips
        return {}


def _pooled(task: str, metric: str, clips: Mapping[str, ClipResult], names: Iterable[str]) -> float:
    tallies = [clips[name].tally for name in sorted(names) if name in clips]
    try:
        return float(registry.family_of(task).scoring.pool(tallies)[metric])
    except (DataError, TrackerError):  # nothing in these clips counts
        return math.nan
