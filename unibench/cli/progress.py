"""A run on the terminal: progress while it works, then one table and the files written."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from unibench.cli import tables
from unibench.evaluation import executors, fingerprints, plan_file, pool_clips, run_clip, shards
from unibench.evaluation import units as plan
from unibench.evaluation.executors import Job
from unibench.evaluation.plan_file import Plan
from unibench.evaluation.run_clip import Done
from unibench.evaluation.units import Unit
from unibench.features.cache import FeatureCache
from unibench.models import cards
from unibench.models.cards import Card
from unibench.report import card_facts, compare, correlation, leaderboard, radar
from unibench.results import store
from unibench.tasks import registry
from unibench.tasks.registry import FAMILIES, Task

QUICK_MODELS = ("random-resnet18", "random-vit-tiny", "lab-colour", "hog", "efficientnet-lite0")
QUICK_TASKS = tuple(f"{family}/synthetic" for family in FAMILIES)


def say(line: str) -> None:
    """Print one line as it is."""
    Console(soft_wrap=True, highlight=False).print(line, markup=False)


@dataclass(frozen=True)
class Request:
    """What a user asks for in one command."""

    models: Sequence[Card]
    tasks: Sequence[Task]
    out: Path
    command: Sequence[str]
    data: Path | None = None
    weights: Path | None = None
    layers: Sequence[str] = ()
    frames: int | None = None
    device: str = "cpu"
    always: bool = False
    executor: str = "local"
    workers: int | None = None
    plugins: tuple[str, ...] = ()
    features: FeatureCache | None = None


def quickstart(out: Path, *, device: str, always: bool, command: Sequence[str]) -> None:
    """Run the built-in benchmark, then say what to do next."""
    chosen = [cards.find(name) for name in QUICK_MODELS]
    asked = [registry.find(name) for name in QUICK_TASKS]
    perform(Request(chosen, asked, out, command, device=device, always=always))
    say("next: see what there is with `unibench models` and `unibench tasks`, or score your own checkpoint:")
    say(f"  unibench run --checkpoint my.pth --arch resnet50 -t '*/synthetic' -o {out}")


def perform(request: Request) -> None:
    """Run units with progress, pool their scores, write every board.

    Exits with code 1 if a clip failed; everything else is kept.
    """
    start = datetime.now(UTC)
    units = plan.units(
        request.models, request.tasks, request.data, layers=request.layers, frames=request.frames
    )
    hashes = run_clip.fingerprints(units, request.weights, request.features)
    execute = executors.find(request.executor)
    done = list(_watch(execute([executors.absolute(unit) for unit in units], _job(request)), len(units)))
    failed = {fingerprints.unit_key(one.unit, "") for one in done if one.error}
    good = [
        unit for unit in units if fingerprints.unit_key(unit, "") not in failed
    ]  # in their order, whoever was first
    pool_clips.pool(good, request.out, hashes, pool_clips.provenance(request.command, start, request.device))
    _show_failures(done)
    if good:
        report(request.out)
    _end(done)


def _job(request: Request) -> Job:
    weights = request.weights and request.weights.resolve()
    return Job(
        request.out.resolve(), weights, request.device, request.workers, request.always, request.plugins,
        request.features,
    )  # fmt: skip


def work(
    sweep: Plan,
    shard: tuple[int, int],
    out: Path,
    *,
    data: Path | None,
    weights: Path | None,
    device: str,
    always: bool,
) -> None:
    """Run one shard of a plan with progress; its results and the plan are left in the folder, to be merged.

    Exits with code 1 if a clip failed; everything else is kept.
    """
    planned = shards.shard(sweep, *shard)
    data = data or (Path(sweep.data) if sweep.data else None)
    weights = weights or (Path(sweep.weights) if sweep.weights else None)
    units = shards.units(sweep, planned, data, weights)
    shards.keep(sweep, out)
    results = run_clip.execute(units, out, weights, device=device, always=always)
    done = list(_watch(shards.held(results, planned, units, out), len(units)))
    _show_failures(done)
    say(f"shard {shard[0]} of {shard[1]}: {len(done)} of {len(sweep.units)} clips; when all are done: "
        f"unibench merge -o {out}")  # fmt: skip
    _end(done)


def merge(out: Path, command: Sequence[str]) -> None:
    """Pool what the shards of a plan left, write every board, and say what is missing.

    Exits with code 1 if something is; what is whole is pooled all the same.
    """
    start = datetime.now(UTC)
    whole = plan_file.read(out / shards.NAME)
    device = "see the machines that did the work"
    missing = shards.merge(whole, out, pool_clips.provenance(command, start, device))
    expected = sum(len(unit.results) for unit in whole.units)
    if len(missing) < expected:
        report(out)
    for key in missing:
        say(f"missing: {key.model} {key.task}@{key.protocol} {key.layer} {key.clip}")
    if missing:
        say(f"{len(missing)} of {expected} results are missing; run their shards, then merge again")
        sys.exit(1)


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


def report(out: Path) -> None:
    """Write the boards from the stored scores and print the table."""
    stored = store.read_scores(out)
    known = card_facts.collect(score.model for score in stored)
    tied = compare.ties(stored, out)
    paths = [
        *leaderboard.write(stored, known, out, tied),
        *radar.write(stored, known, out),
        *correlation.write(stored, known, out),
    ]
    tables.show(leaderboard.table(stored, known, tied))
    tables.show_paths(paths)


def _watch(results: Iterable[Done], total: int) -> Iterator[Done]:
    """Show each unit when its result is on disk: a bar on a terminal, a line elsewhere."""
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        for count, one in enumerate(results, start=1):
            outcome = "FAILED" if one.error else f"{one.seconds:.1f} s" if one.seconds else "there already"
            console.print(f"[{count}/{total}] {_name(one.unit)}: {outcome}", markup=False)
            yield one
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("starting", total=total)
        for one in results:
            progress.update(bar, advance=1, description=_name(one.unit))
            yield one


def _name(unit: Unit) -> str:
    return f"{unit.card.name} {unit.task.name} {unit.clip}"
