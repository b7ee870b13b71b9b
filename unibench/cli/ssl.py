"""The command that trains the networks of the zoo."""

from pathlib import Path

import click

from unibench.cli.joint import refuse_known
from unibench.cli.options import DEVICE, DIRECTORY, OneLine, options


@click.command("train-ssl")
@click.argument("name", metavar="NAME")
@options(
    click.option("--config", "config_name", required=True, metavar="OBJECTIVE|FILE",
                 help="simclr, moco, byol, crw, ...: a config that comes with unibench, or a TOML file like them."),
    click.option("-o", "--out", type=DIRECTORY, required=True,
                 help="Folder of the checkpoint, the log, the weights and the card."),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="In place of the config's."),
    click.option("--steps", type=click.IntRange(1, 1_000_000_000), help="In place of the config's."),
    DEVICE,
)  # fmt: skip
def train_ssl(
    name: str, config_name: str, out: Path, seed: int | None, steps: int | None, device: str
) -> None:
    """Train the model NAME, a small network, by self-supervision; the same command goes on after an interruption.

    It learns from photographs that Debian's packages of wallpapers install, and from rendered clips. Losses and
    augmentations come from lightly (uv sync --group ssl).
    """
    from unibench.joint.training import config as configs
    from unibench.ssl import train as training

    config = configs.with_schedule(training.read(config_name), seed, steps)
    refuse_known(name, out)
    try:
        card = training.train(config, out, name=name, device=device)
    except KeyboardInterrupt as error:
        raise OneLine(f"interrupted; the same command goes on from the last checkpoint in {out}") from error
    click.echo(f"written: {card}\nto score it: unibench run -m {card} -t all -o ...")
