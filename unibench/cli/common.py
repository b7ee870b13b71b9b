"""What commands share: options, and how an error that the user can put right is shown."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

DIRECTORY = click.Path(file_okay=False, path_type=Path)
ANY_PATH = click.Path(path_type=Path)


class OneLine(click.ClickException):
    """What the user can put right: one line on standard error, exit code 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print the line."""
        click.echo(f"unibench: {self.message}", file=file or sys.stderr)


def options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Decorate a command with options, in the order in which its help shall list them."""

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
