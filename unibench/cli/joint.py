"""Commands for trackers that are trained as trackers: train one, score what it detects, do a paper's experiment."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from unibench.cli.options import ANY_PATH, DEVICE, DIRECTORY, OneLine, options

EXPERIMENTS = ("retinatrack", "study", "tdt", "trivd", "unicorn")
DATA = click.option(
    "--data", "specs", multiple=True, required=True, metavar="KIND:PLACE",
    help="Annotated images: synthetic:clips, coco:FILE.json, ... Repeatable.",
)  # fmt: skip


@click.command()
@click.argument("system_name", metavar="NAME")
@options(
    click.option("--config", "config_name", metavar="paper|tiny|FILE",
                 help="One of the system's configs, or a TOML file like them. Default: one that learns in minutes."),
    DATA,
    click.option("-o", "--out", type=DIRECTORY, required=True,
                 help="Folder of the checkpoint, the log, the weights and the card."),
    click.option("--name", "model_name",
                 help="Name of the model, one that no other model has. Default: NAME-CONFIG-trained."),
    DEVICE,
    click.option("--prepare", "only_prepare", is_flag=True,
                 help="Only make what training needs beside the data, such as a teacher's embeddings."),
    click.option("--prepared", type=DIRECTORY, help="Folder of that. Default: OUT/prepared."),
    click.option("--teacher", metavar="CARD", help="Model card of the teacher, for systems that have one."),
    click.option("--teacher-weights", type=ANY_PATH, help="Its weights, or their folder. Default: the caches."),
    click.option("--pretrained", type=ANY_PATH,
                 help="Weights to begin with: torchvision's RetinaNet or ResNet, or a training's."),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="In place of the config's."),
    click.option("--steps", type=click.IntRange(1, 1_000_000_000), help="Of each stage, in place of the config's."),
    click.option("--validate", "validation", metavar="KIND:PLACE",
                 help="Annotated images to score on every train.evaluate steps of the config and at the end of each "
                      "stage: OUT/validation.csv. The best weights of the last stage are kept in OUT/best.pt."),
    click.option("--best", is_flag=True, help="Write the weights that scored best (AP), not the last ones."),
    click.option("--half", is_flag=True, help="Write the weights in half precision."),
)  # fmt: skip
def train(
    system_name: str,
    config_name: str | None,
    specs: tuple[str, ...],
    out: Path,
    model_name: str | None,
    device: str,
    only_prepare: bool,
    prepared: Path | None,
    teacher: str | None,
    teacher_weights: Path | None,
    pretrained: Path | None,
    seed: int | None,
    steps: int | None,
    validation: str | None,
    best: bool,
    half: bool,
) -> None:
    """Train the joint tracker NAME; the same command goes on after an interruption.

    A config is a TOML file; its stages, [[train.stages]], follow one another: each has its own steps, rate, warm-up and
    modules that learn. Those that come with unibench say what every field means.

    Several GPUs: torchrun --nproc-per-node 8 -m unibench train NAME ... --device cuda
    """
    from unibench.joint import systems
    from unibench.joint.data import registry
    from unibench.joint.training import config as configs
    from unibench.joint.training.train import train as train_system

    system = systems.find(system_name)
    config_name = config_name or configs.smallest(system)
    name = model_name or f"{system_name}-{Path(config_name).stem}-trained"
    refuse_known(name, out)
    config = configs.with_schedule(configs.read(config_name, system), seed, steps)
    if teacher or teacher_weights:
        config = _with_teacher(config, teacher, teacher_weights)
    if best and not validation:
        raise OneLine("--best: nothing to score on; name data with --validate, or leave it out")
    data = [registry.read(spec, None if system.prompted else config.classes) for spec in specs]
    if system.prepare is not None:
        folder = prepared or out / "prepared"
        data = system.prepare(data, config, folder, device=device)
        if only_prepare:
            click.echo(f"written: {folder}")
            return
    elif only_prepare or prepared:
        raise OneLine(f"{system_name}: needs nothing beside the data; leave out --prepare and --prepared")
    try:
        card = train_system(
            system, config, data, out, name=name, device=device, pretrained=pretrained, best=best, half=half,
            validation=registry.read(validation, config.classes) if validation else None,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        raise OneLine(f"interrupted; the same command goes on from the last checkpoint in {out}") from error
    if os.environ.get("RANK", "0") == "0":
        click.echo(f"written: {card}\nto score it: unibench run -m {card} -t mot/... --data ... -o ...")


def refuse_known(name: str, out: Path) -> None:
    """A model that has the name of another one would look like it on a board."""
    from unibench.models import cards

    if not cards.NAME.fullmatch(name):
        raise OneLine(f"model {name!r}: no name, expected letters, digits and _ . + -; choose another")
    known = cards.paths().get(name)
    if known is not None and known.parent.resolve() != out.resolve():
        raise OneLine(f"model {name!r}: a model of this name exists already; choose another name")


def _with_teacher(config: Any, name: str | None, weights: Path | None) -> Any:
    """The config with the command line's teacher; another card than the config's teaches its default layer."""
    if not hasattr(config, "teacher"):
        raise OneLine("--teacher: this system learns from no teacher; leave it out")
    teacher = config.teacher
    if name and name != teacher.card:
        from unibench.models import cards

        teacher = replace(teacher, card=name, layer=cards.find(name).default_layer)
    return replace(config, teacher=replace(teacher, weights=str(weights or teacher.weights)))


@click.command()
@options(
    click.option("-m", "--model", "name", required=True,
                 help="Joint model: the name of its card, or the card that a training wrote (DIR/NAME.toml)."),
    DATA,
    click.option("--weights", type=ANY_PATH, help="Weights file, or the folder that holds it."),
    click.option("--images", type=click.IntRange(min=1), help="Only the first N images of each data set."),
    click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="CSV file for the scores."),
    DEVICE,
)  # fmt: skip
def detect(
    name: str, specs: tuple[str, ...], weights: Path | None, images: int | None, out: Path | None, device: str
) -> None:
    """Score what a joint tracker detects as COCO does: AP, AP50, ... over the classes that it knows."""
    from unibench.joint import systems
    from unibench.joint.data import registry
    from unibench.joint.training import evaluate
    from unibench.models import cards

    card = cards.find(name)
    if name.endswith(".toml"):
        weights = weights or Path(name).parent
    rows = []
    for spec in specs:
        found = systems.detect(card, registry.read(spec), weights_path=weights, device=device, limit=images)
        rows.append(evaluate.row(card.name, spec, found))
        click.echo("  ".join(f"{column} {value}" for column, value in rows[-1].items() if value))
    if out is not None:
        evaluate.write(rows, out)
        click.echo(f"written: {out}")


@click.command()
@click.argument("name", type=click.Choice(EXPERIMENTS))
@options(
    click.option("-o", "--out", type=DIRECTORY, required=True, help="Folder of the trainings, the CSV and the plot."),
    click.option("--quick", is_flag=True, help="A minute in place of several: one seed, few steps."),
)  # fmt: skip
def experiment(name: str, out: Path, quick: bool) -> None:
    """Do a paper's comparison at the size of a toy, on rendered clips: train, track, score, plot."""
    from importlib import import_module

    import_module(f"unibench.experiments.{name}").run(out, quick=quick)
