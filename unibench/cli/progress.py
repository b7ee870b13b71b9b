"""A run on the terminal: progress while it works, then one table and the files written."""

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from unibench.cli.boards import report
from unibench.cli.request import Selection
from unibench.datasets import BENCHMARKS
from unibench.evaluation import plan_file, run_clip, shards
from unibench.evaluation.evaluate import evaluate, keep_cards
from unibench.evaluation.plan_file import Plan
from unibench.evaluation.run_clip import Done
from unibench.evaluation.units import Unit
from unibench.features.cache import FeatureCache
from unibench.features.cache_folder import human
from unibench.models import cards
from unibench.results import provenance, store
from unibench.tasks import protocols, registry
from unibench.tasks.registry import FAMILIES

QUICK_MODELS = ("random-resnet18", "random-vit-tiny", "lab-colour", "hog", "efficientnet-lite0")
QUICK_TASKS = tuple(task for family in FAMILIES if (task := f"{family}/synthetic") in BENCHMARKS)


def say(line: str) -> None:
    """Print one line as it is."""
    Console(soft_wrap=True, highlight=False).print(line, markup=False)


def quickstart(out: Path, *, device: str, overwrite: bool) -> None:
    """Run the built-in benchmark, write its site, then say what to do next."""
    chosen = Selection(
        [cards.find(name) for name in QUICK_MODELS], [registry.find(name) for name in QUICK_TASKS], ()
    )
    run(chosen, out, device=device, overwrite=overwrite)
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
    features: FeatureCache | None = None,
    keep_predictions: bool = True,
) -> None:
    """Evaluate with progress on the terminal, then write every board. See `evaluation.evaluate`.

    Exits with code 1 if a clip failed; everything else is kept.
    """
    with _shown() as progress:
        made = evaluate(
            chosen.cards, chosen.tasks, output=out, data=data, weights_path=weights_path, layers=chosen.layers,
            frames=frames, device=device, overwrite=overwrite, executor=executor, workers=workers, plugins=plugins,
            features=features, keep_predictions=keep_predictions, command=sys.argv, progress=progress,
        )  # fmt: skip
    _show_failures(made.done)
    if made.rows:
        report(out)
    _say_size(out)
    _end(made.done)


def work(
    sweep: Plan,
    shard: tuple[int, int],
    out: Path,
    *,
    data: Path | None,
    weights_path: Path | None,
    device: str,
    overwrite: bool,
    keep_predictions: bool,
) -> None:
    """Run one shard of a plan with progress; its results and the plan are left in the folder, to be merged.

    Exits with code 1 if a clip failed; everything else is kept.
    """
    planned = shards.shard(sweep, *shard)
    data = data or (Path(sweep.data) if sweep.data else None)
    weights_path = weights_path or (Path(sweep.weights) if sweep.weights else None)
    units = shards.find_units(sweep, planned, data, weights_path)
    shards.keep(sweep, out)
    keep_cards(units, out)
    results = run_clip.execute(
        units, out, weights_path, device=device, overwrite=overwrite, keep_predictions=keep_predictions
    )
    done = []
    with _shown() as progress:
        for one in shards.check_truth(results, planned, units, out):
            progress(one, len(units))
            done.append(one)
    _show_failures(done)
    say(f"shard {shard[0]} of {shard[1]}: {len(done)} of {len(sweep.units)} clips; when all are done: "
        f"unibench merge -o {out}")  # fmt: skip
    _say_size(out)
    _end(done)


def merge(out: Path, command: Sequence[str]) -> None:
    """Pool what the shards of a plan left, write every board, and say what is missing.

    Exits with code 1 if something is; what is whole is pooled all the same.
    """
    start = datetime.now(UTC)
    whole = plan_file.read(out / shards.NAME)
    device = "see the machines that did the work"
    missing = shards.merge(whole, out, provenance.collect(command, start, device, torch.get_num_threads()))
    expected = sum(len(unit.results) for unit in whole.units)
    if len(missing) < expected:
        report(out)
    for key in missing:
        say(f"missing: {key.model} {key.task}@{key.protocol} {key.layer} {key.clip}")
    if missing:
        say(f"{len(missing)} of {expected} results are missing; run their shards, then merge again")
        sys.exit(1)


def _say_size(out: Path) -> None:
    files, size = store.predictions_size(out)
    if files:
        say(f"predictions: {human(size)} in {files} files; to score them again: unibench score -o {out}")


def _show_failures(done: Sequence[Done]) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for one in done:
        if one.error:
            console.print(f"failed: {_name(one.unit)}: {one.error}", markup=False)


def _end(done: Sequence[Done]) -> None:
    failed = sum(bool(one.error) for one in done)
    if failed:
        say(f"{failed} of {len(done)} clips failed, the others are kept; the same command tries them again")
        sys.exit(1)


@contextmanager
def _shown() -> Iterator[Callable[[Done, int], None]]:
    """Show each clip when its result is on disk: a bar on a terminal, a line elsewhere."""
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        count = itertools.count(1)

        def print_line(one: Done, total: int) -> None:
            outcome = "FAILED" if one.error else f"{one.seconds:.1f} s" if one.seconds else "there already"
            console.print(f"[{next(count)}/{total}] {_name(one.unit)}: {outcome}", markup=False)

        yield print_line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("starting", total=None)

        def advance(one: Done, total: int) -> None:
            progress.update(bar, advance=1, total=total, description=_name(one.unit))

        yield advance


def _name(unit: Unit) -> str:
    return f"{unit.card.name} {protocols.title(unit.task)} {unit.clip}"
