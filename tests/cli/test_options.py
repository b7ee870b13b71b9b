"""The same option for the same thing, in every command."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from unibench.cli import main

SHORT = {"-m": "--model", "-t": "--task", "-o": "--out", "-h": "--help"}
OTHER_WORDS = {
    "--models",
    "--tasks",
    "--family",
    "--output",
    "--layer",
    "--dir",
    "--protocol",
    "--checkpoints",
}


def commands(command: click.Command = main, path: str = "unibench") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from commands(one, f"{path} {name}")


OPTIONS = [
    pytest.param(option, id=f"{path} {option.opts[-1]}")
    for path, command in commands()
    for option in command.params
    if isinstance(option, click.Option)
]


def test_there_are_options_to_look_at() -> None:
    assert len(OPTIONS) > 100


@pytest.mark.parametrize("option", OPTIONS)
def test_short_and_long_names_belong_together(option: click.Option) -> None:
    names = {*option.opts, *option.secondary_opts}
    for short, long in SHORT.items():
        assert (short in names) == (long in names)
    assert not names & OTHER_WORDS
    assert {name for name in names if not name.startswith("--")} <= set(SHORT)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_says_what_it_is(option: click.Option) -> None:
    assert option.help
    assert option.help.endswith(".")


@pytest.mark.parametrize(("path", "command"), [pytest.param(*one, id=one[0]) for one in commands()])
def test_help_pages_fit_eighty_columns(path: str, command: click.Command) -> None:
    done = CliRunner().invoke(main, [*path.split()[1:], "--help"], terminal_width=80)
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
