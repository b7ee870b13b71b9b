"""The command line. Commands import what they need when they run: `unibench --help` loads neither torch nor pandas."""

import os
from typing import Any

import click

from unibench.cli import boards, checks, models, run
from unibench.cli.common import OneLine
from unibench.errors import UnibenchError

# Threads that wait must sleep: spinning ones make torch ten times slower wherever another process is busy.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UnibenchError as error:
            raise OneLine(str(error)) from error
        except KeyboardInterrupt as error:
            raise OneLine("interrupted; clips that were scored are kept, the same command goes on") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="unibench-tracking")
def main() -> None:
    """Measure how good a frozen visual representation is for tracking: SOT, VOS, MOT, MOTS, pose tracking."""


for command in (
    run.run,
    run.quickstart,
    models.models,
    checks.tasks,
    checks.data,
    boards.leaderboard,
    boards.plot,
):
    main.add_command(command)
