"""The command that says why a score is what it is."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unibench.cli.options import DIRECTORY, OUT, PLUGIN, options
from unibench.cli.score import find_run, find_runs

if TYPE_CHECKING:
    from unibench.evaluation.explain import ByAttribute, Explained
    from unibench.results.store import RunKey
    from unibench.tasks.family import Task

EVENTS = 20
"""Of a clip that are listed at most."""


@click.command()
@options(
    OUT,
    click.option("-m", "--model", required=True, help="Model: its name as it stands on the board."),
    click.option("-t", "--task", required=True, help="Task or task@protocol."),
    click.option("--layers", "layer", help="One layer, where several were scored."),
    click.option("--clips", "count", type=click.IntRange(min=1), default=5, show_default=True,
                 help="Clips whose events are listed, the worst ones."),
    click.option("--data", type=DIRECTORY, help="Folder with the benchmarks' folders."),
    PLUGIN,
)  # fmt: skip
def explain(out: Path, model: str, task: str, layer: str | None, count: int, data: Path | None) -> None:
    """Say why a score is what it is: what goes wrong where, what makes clips hard, what association owes to looks.

    Attributes are those of OTB and VOT, computed from the truth. Association stands beside motion alone (protocol
    bytetrack), looks alone (appearance-only), where the folder holds these results, and the same detections with the
    true identities.
    """
    from unibench.evaluation import explain as explaining
    from unibench.results import store
    from unibench.tasks import registry

    run = find_run(out, model, task, layer)
    asked = registry.find(run.task)
    found, clips = explaining.explain(out, run, data), store.read_clips(out, run)
    click.echo(f"{run.model}/{run.layer} {run.task}@{run.protocol}: {asked.headline} of {len(found)} clips")
    _show_attributes(explaining.by_attribute(asked, found, clips))
    if asked.family.name in ("mot", "mots") and asked.benchmark.detections:
        _show_association(out, run, asked, data)
    for one in found[:count]:
        _show_clip(one, asked)


def _show_attributes(rows: "list[ByAttribute]") -> None:
    if rows:
        click.echo(f"\n{'clips with':<20}{'clips':>6}{'score':>9}{'others':>9}")
    for row in rows:
        click.echo(f"{row.name:<20}{row.having:>6}{_percent(row.score):>9}{_percent(row.other):>9}")


def _show_association(out: Path, run: "RunKey", task: "Task", data: Path | None) -> None:
    """Rows of this model under the protocols that leave a cue out, and under this one; then the ceiling."""
    from unibench.evaluation import explain as explaining
    from unibench.results import store
    from unibench.tasks import protocols, registry

    same = {
        one.protocol.partition("+")[0]: one
        for one in find_runs(out, [], [run.task])
        if (one.model, one.layer) == (run.model, run.layer)
    }
    words = {explaining.MOTION: "motion alone", explaining.APPEARANCE: "looks alone"}
    scores = {store.run_of(one): one.value for one in store.read_scores(out) if one.metric == task.headline}
    click.echo(f"\n{'association by':<34}{task.headline:>9}")
    for protocol, what in words.items():
        value = _percent(scores[same[protocol]]) if protocol in same else "not run"
        click.echo(f"{f'{what} (@{protocol})':<34}{value:>9}")
    click.echo(f"{f'this run (@{run.protocol})':<34}{_percent(scores[run]):>9}")
    protocol, windowing, detections = protocols.read_label(run.protocol)
    if protocol in task.family.presets and not task.family.presets[protocol].private:
        exact = registry.find(f"{run.task}@{protocol}", detections or None, windowing)
        best = explaining.perfect_association(exact, store.read_clips(out, run), data)[task.headline]
        click.echo(f"{'the true identities':<34}{_percent(best):>9}")


def _show_clip(one: "Explained", task: "Task") -> None:
    had = ", ".join(f"{name} {share:.0%}" for name, share in one.attributes.items() if share)
    click.echo(f"\n{one.clip}: {task.headline} {_percent(one.score)}{f'; {had}' if had else ''}")
    for frame, what in one.events[:EVENTS]:
        click.echo(f"  frame {frame}: {what}")
    if len(one.events) > EVENTS:
        click.echo(f"  and {len(one.events) - EVENTS} more")


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"
