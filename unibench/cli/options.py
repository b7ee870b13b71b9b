"""What commands share: options, and how an error that the user can put right is shown."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class _Named(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("is empty, expected a file or a folder; '.' is the working directory", param, ctx)
        return super().convert(value, param, ctx)


DIRECTORY = _Named(file_okay=False, path_type=Path)
ANY_PATH = _Named(path_type=Path)


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


def size(text: str | int) -> int:
    """Read a number of bytes: `30G`, `512M`, in powers of 1024."""
    read = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)([KMGT]?)(?:i?B)?", str(text).strip(), re.IGNORECASE)
    if not read:
        raise click.BadParameter(f"{text!r} is not a size, such as 30G or 512M")
    return int(float(read[1]) * 1024 ** " KMGT".index(read[2].upper() or " "))


JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document and nothing else; write nothing."
)
OUT = click.option("-o", "--out", type=DIRECTORY, required=True, help="Folder of the results.")
DEVICE = click.option(
    "--device", default="cpu", show_default=True, help="A torch device: cpu, cuda, cuda:1, mps."
)
OVERWRITE = click.option(
    "--overwrite", type=click.Choice(["only-missing", "always"]), default="only-missing", show_default=True,
    help="Whether clips that are scored already are scored again.",
)  # fmt: skip
PREDICTIONS = click.option(
    "--predictions/--no-predictions", "keep_predictions", default=True, show_default=True,
    help="Keep what trackers say, to be scored again or exported.",
)  # fmt: skip
BUDGET = click.option(
    "--cache-budget", "budget", type=size, default="30G", show_default=True,
    help="What that folder may take: 30G, 500M. When it is used up, nothing more is kept.",
)  # fmt: skip

_PLUGINS = "unibench.plugins"


def _load_plugins(context: click.Context, parameter: click.Parameter, names: tuple[str, ...]) -> None:
    from unibench import plugins
    from unibench.errors import PluginError

    for name in names:
        try:
            plugins.load(name)
        except PluginError as error:
            raise OneLine(str(error)) from error
        context.meta.setdefault(_PLUGINS, []).append(
            str(Path(name).resolve()) if name.endswith(".py") else name
        )


def plugins_asked() -> tuple[str, ...]:
    """Plug-ins that this command line names, in a form that another process can import."""
    return tuple(click.get_current_context().meta.get(_PLUGINS, ()))


def _go_offline(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked:
        os.environ["HF_HUB_OFFLINE"] = "1"  # one switch for the hub's library and for unibench


PLUGIN = click.option(
    "--plugin", multiple=True, metavar="MODULE|FILE.py", is_eager=True, expose_value=False, callback=_load_plugins,
    help="Import this code first: it may add models, loaders and tasks. Only code that you trust. Repeatable.",
)  # fmt: skip
OFFLINE = click.option(
    "--offline", is_flag=True, is_eager=True, expose_value=False, callback=_go_offline,
    help="Never touch the network; weights must be on this machine.",
)  # fmt: skip
