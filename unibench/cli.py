"""The command line. Commands import what they need when they run: `unibench --help` loads neither torch nor pandas."""

import os
import sys
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click

from unibench.errors import UnibenchError, UnknownNameError

# Threads that wait must sleep: spinning ones make torch ten times slower wherever another process is busy.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

DIRECTORY = click.Path(file_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)


class _OneLine(click.ClickException):
    """What the user can put right: one line on standard error, exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"unibench: {self.message}", file=file or sys.stderr)


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UnibenchError as error:
            raise _OneLine(str(error)) from error
        except KeyboardInterrupt as error:
            raise _OneLine(
                "interrupted; clips that were scored are kept, the same command goes on"
            ) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="unibench-tracking")
def main() -> None:
    """Measure how good a frozen visual representation is for tracking: SOT, VOS, MOT, MOTS, pose tracking."""


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


OUT = click.option("-o", "--out", type=DIRECTORY, required=True, help="Folder of the results.")
DEVICE = click.option(
    "--device", default="cpu", show_default=True, help="A torch device: cpu, cuda, cuda:1, mps."
)
OVERWRITE = click.option(
    "--overwrite", type=click.Choice(["only-missing", "always"]), default="only-missing", show_default=True,
    help="Whether clips that are scored already are scored again.",
)  # fmt: skip


@main.command()
@_options(
    click.option("-m", "--model", "models", multiple=True, help="Model card, or a pattern: 'random-*'. Repeatable."),
    click.option("-t", "--task", "tasks", multiple=True, required=True,
                 help="Task, task@protocol, or a pattern such as '*/synthetic'. Repeatable."),
    click.option("--data", type=DIRECTORY, help="Folder with the benchmarks' folders."),
    OUT,
    click.option("--weights", type=ANY_PATH, help="Weights file, or the folder that holds the files the cards name."),
    click.option("--layers", default="", help="Layers to score, separated by commas. Default: the card's."),
    click.option("--frames", type=click.IntRange(min=2), help="First N frames of each clip; rows are marked partial."),
    click.option("--detections", help="Source of given detections: public, oracle, oracle+noise, or a folder."),
    DEVICE,
    OVERWRITE,
    click.option("--checkpoint", type=ANY_PATH, help="Weights of a model without a card; needs --arch."),
    click.option("--arch", help="Its architecture, as torchvision or timm name it."),
    click.option("--save-card", metavar="NAME", help="Keep that model as model_cards/NAME.toml."),
)  # fmt: skip
def run(
    models: tuple[str, ...], tasks: tuple[str, ...], data: Path | None, out: Path, weights: Path | None, layers: str,
    frames: int | None, detections: str | None, device: str, overwrite: str, checkpoint: Path | None, arch: str | None,
    save_card: str | None,
) -> None:  # fmt: skip
    """Score frozen models on tasks; running the same command again does only what is missing."""
    from unibench import cards, console, drafts
    from unibench import tasks as table
    from unibench.datasets import BENCHMARKS

    chosen = [cards.find(name) for name in _expand("model card", models, cards.paths(), "unibench models")]
    if checkpoint or arch or save_card:
        if not checkpoint or not arch:
            raise _OneLine("--checkpoint and --arch go together; give both")
        card, report = drafts.draft(checkpoint, arch, save_card)
        console.say(f"{card.name}: {report}")
        if save_card:
            console.say(f"card written: {drafts.save(card)}")
        chosen.append(card)
        weights = weights or checkpoint.parent
    if not chosen:
        raise _OneLine("no model; name one with -m (see: unibench models) or give --checkpoint and --arch")
    asked = [table.find(name, detections) for name in _expand("task", tasks, BENCHMARKS, "unibench tasks")]
    wanted = tuple(name for name in layers.split(",") if name)
    console.perform(
        console.Request(
            chosen, asked, out, sys.argv, data, weights, wanted, frames, device, always=overwrite == "always"
        )
    )


def _expand(kind: str, names: Iterable[str], known: Iterable[str], hint: str) -> list[str]:
    """Replace patterns by the names that they match; protocols behind an @ stay."""
    expanded: dict[str, None] = {}
    for name in names:
        pattern, at, protocol = name.partition("@")
        matches = (
            [one for one in known if fnmatchcase(one, pattern)] if set(pattern) & set("*?[") else [pattern]
        )
        if not matches:
            raise UnknownNameError(kind, name, known, hint)
        expanded |= dict.fromkeys(one + at + protocol for one in matches)
    return list(expanded)


@main.command()
@_options(
    click.option("-o", "--out", type=DIRECTORY, default=Path("results/quickstart"), show_default=True,
                 help="Folder of the results."),
    DEVICE,
    OVERWRITE,
)  # fmt: skip
def quickstart(out: Path, device: str, overwrite: str) -> None:
    """Run five models through all tasks on rendered clips: no data set, no download of weights."""
    from unibench import console

    console.quickstart(out, device=device, always=overwrite == "always", command=sys.argv)


@main.command()
def models() -> None:
    """List the model cards."""
    from unibench import cards, listing

    listing.show_models([cards.read(path) for path in cards.paths().values()])


@main.command()
def tasks() -> None:
    """List the tasks, their protocols and sources of detections."""
    from unibench import listing, protocols
    from unibench.datasets import BENCHMARKS

    listing.show_tasks(BENCHMARKS, protocols.PROTOCOLS)


@main.group()
def data() -> None:
    """Look after data sets."""


@data.command("check")
@click.option(
    "--data", "folder", type=DIRECTORY, required=True, help="Folder that holds the benchmarks' folders."
)
def check_data(folder: Path) -> None:
    """Read every benchmark that is there: clips, frames, what is missing, damaged, and how to get it."""
    from unibench import listing
    from unibench.datasets import BENCHMARKS

    if not listing.check_data(BENCHMARKS, folder):
        sys.exit(1)


@main.command()
@OUT
def leaderboard(out: Path) -> None:
    """Write leaderboard.csv and long.csv from the stored scores, and print the table."""
    from unibench import listing, scores
    from unibench.report import facts
    from unibench.report import leaderboard as board

    stored = scores.read_scores(out)
    known = facts.collect(score.model for score in stored)
    paths = board.write(stored, known, out)
    listing.show(board.table(stored, known))
    listing.show_paths(paths)


@main.group()
def plot() -> None:
    """Draw figures from the stored scores."""


@plot.command("radar")
@OUT
def plot_radar(out: Path) -> None:
    """Write radar.svg and radar.png: ranks of the models, one axis a task."""
    from unibench.report import radar

    _plot(out, radar.write)


@plot.command("correlation")
@OUT
def plot_correlation(out: Path) -> None:
    """Write correlation.csv and correlation.svg: task against ImageNet accuracy, task against task."""
    from unibench.report import correlation

    _plot(out, correlation.write)


def _plot(out: Path, write: Callable[..., list[Path]]) -> None:
    from unibench import listing, scores
    from unibench.report import facts

    stored = scores.read_scores(out)
    listing.show_paths(write(stored, facts.collect(score.model for score in stored), out))
