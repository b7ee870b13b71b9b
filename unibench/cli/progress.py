"""A run on the terminal: progress while it works, then one table and the files written.

What is slow to import is imported when something has been said.
"""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from unibench.cli import boards, pace
from unibench.cli.request import Selection
from unibench.cli.tables import say

if TYPE_CHECKING:
    from unibench.evaluation.plan_file import Plan
    from unibench.evaluation.run_clip import Done

QUICK_MODELS = (
    "zoo-random",
    "lab-colour",
    "zoo-supervised",
    "zoo-rotation",
    "zoo-simclr",
    "zoo-densecl",
    "zoo-crw",
    "zoo-mae",
)
"""What the quick start ranks."""
QUICK_WORKERS = 4
"""At most so many processes, one a core."""


def quickstart(out: Path, *, device: str, overwrite: bool) -> None:
    """Run the built-in benchmark, write its site, then say what to do next."""
    from unibench.models import cards
    from unibench.tasks import registry

    chosen = Selection(
        [cards.find(name) for name in QUICK_MODELS], [registry.find(name) for name in registry.RENDERED], ()
    )
    workers = min(QUICK_WORKERS, os.cpu_count() or 1) if device == "cpu" else None
    run(chosen, out, device=device, overwrite=overwrite, workers=workers, costs=False)
    from unibench.site.build import build  # loads matplotlib, which a run needs at its end only

    here = out.resolve()
    say(f"look at it: {build(here, here.parent / f'{here.name}-site').start.as_uri()}")
    say("next: see what there is with `unibench models` and `unibench tasks`, or score your own checkpoint:")
    say(f"  unibench run --checkpoint my.pth --arch resnet50 -t '*/synthetic' -o {out}")


def run(
    chosen: Selection,
    out: Path,
    *,
    data: Path | None = None,
    weights_path: Path | None = None,
    frames: int | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    executor: str = "local",
    workers: int | None = None,
    plugins: Sequence[str] = (),
    cache: tuple[Path, int] | None = None,
    keep_predictions: bool = True,
    costs: bool = True,
) -> None:
    """Evaluate with progress on the terminal, measure what is not known of costs, then write every board. See
    `evaluation.evaluate`.

    `cache` is the folder of the feature maps and the bytes that it may take; with it networks are run for missing maps
    alone, and no cost is measured. Exits with code 1 if a clip failed;
    everything else is kept.
    """
    first = f"{_count(chosen.cards, 'model')} on {_count(chosen.tasks, 'task')}: starting"
    with pace.shown(first) as (end, step):
        from unibench.evaluation.evaluate import evaluate
        from unibench.features.cache import FeatureCache

        made = evaluate(
            chosen.cards, chosen.tasks, output=out, data=data, weights_path=weights_path, layers=chosen.layers,
            frames=frames, device=device, overwrite=overwrite, executor=executor, workers=workers, plugins=plugins,
            features=FeatureCache(cache[0].resolve(), cache[1]) if cache else None, keep_predictions=keep_predictions,
            command=sys.argv, progress=end, on_step=step,
        )  # fmt: skip
    _show_failures(made.done)
    if made.rows:
        if costs and cache is None:
            _measure(made.done, out, weights_path, device.split(",", maxsplit=1)[0], overwrite=overwrite)
        boards.report(out)
    _say_size(out)
    _end(made.done)


def _measure(
    done: "Sequence[Done]", out: Path, weights_path: Path | None, device: str, *, overwrite: bool
) -> None:
    from unibench.evaluation import cost

    good = sorted(
        (one.unit for one in done if not one.error), key=lambda unit: (unit.model, unit.task.name, unit.clip)
    )
    cost.write_missing(good, out, weights_path, device=device, overwrite=overwrite)


def work(
    sweep: "Plan",
    shard: tuple[int, int],
    out: Path,
    *,
    data: Path | None,
    weights_path: Path | None,
    device: str,
    overwrite: bool,
    keep_predictions: bool,
) -> None:
    """Run one shard of a plan with progress, and measure what is not known of its costs; its results and the plan are
    left in the folder, to be merged.

    Exits with code 1 if a clip failed; everything else is kept.
    """
    done = []
    with pace.shown(f"shard {shard[0]} of {shard[1]}: starting") as (end, step):
        from unibench.evaluation import run_clip, shards
        from unibench.evaluation.evaluate import keep_cards, require_same_frames
        from unibench.evaluation.fingerprints import unit_key

        planned = shards.shard(sweep, *shard)
        data = data or (Path(sweep.data) if sweep.data else None)
        weights_path = weights_path or (Path(sweep.weights) if sweep.weights else None)
        units = shards.find_units(sweep, planned, data, weights_path)
        require_same_frames(units, out, overwrite=overwrite)
        shards.keep(sweep, out)
        keep_cards(units, out)
        results = run_clip.execute(
            units, out, weights_path, device=device, overwrite=overwrite, keep_predictions=keep_predictions,
            on_step=lambda one: step(one, len(units)),
        )  # fmt: skip
        for one in shards.check_truth(results, planned, units, out):
            end(one, len(units))
            done.append(one)
    _show_failures(done)
    costed = shards.find_costed(sweep, planned, units)
    of_first_clips = [one for one in done if unit_key(one.unit, "") in costed]
    _measure(of_first_clips, out, weights_path, device, overwrite=overwrite)
    say(f"shard {shard[0]} of {shard[1]}: {len(done)} of {len(sweep.units)} clips; when all are done: "
        f"unibench merge -o {out}")  # fmt: skip
    _say_size(out)
    _end(done)


def merge(out: Path, command: Sequence[str]) -> None:
    """Pool what the shards of a plan left, write every board, and say what is missing.

    Exits with code 1 if something is; what is whole is pooled all the same.
    """
    import torch

    from unibench.evaluation import plan_file, shards
    from unibench.results import provenance

    start = datetime.now(UTC)
    whole = plan_file.read(out / shards.NAME)
    device = "see the machines that did the work"
    missing = shards.merge(whole, out, provenance.collect(command, start, device, torch.get_num_threads()))
    expected = sum(len(unit.results) for unit in whole.units)
    if len(missing) < expected:
        boards.report(out)
    for key in missing:
        say(f"missing: {key.model} {key.task}@{key.protocol} {key.layer} {key.clip}")
    if missing:
        say(f"{len(missing)} of {expected} results are missing; run their shards, then merge again")
        sys.exit(1)


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"


def _say_size(out: Path) -> None:
    from unibench.features.cache_folder import human
    from unibench.results import store

    files, size = store.predictions_size(out)
    if files:
        say(f"predictions: {human(size)} in {files} files; to score them again: unibench score -o {out}")


def _show_failures(done: "Sequence[Done]") -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for one in done:
        if one.error:
            console.print(f"failed: {pace.name(one.unit)}: {one.error}", markup=False)


def _end(done: "Sequence[Done]") -> None:
    failed = sum(bool(one.error) for one in done)
    if failed:
        say(f"{failed} of {len(done)} clips failed, the others are kept; the same command tries them again")
        sys.exit(1)
