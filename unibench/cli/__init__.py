"""The command line. Commands import what they need when they run: `unibench --help` loads neither torch nor pandas."""

from typing import Any

import click

from unibench.cli import (
    boards,
    cache,
    checks,
    compare,
    joint,
    machines,
    models,
    probe,
    run,
    sensitivity,
    threads,
)
from unibench.cli.options import PLUGIN, OneLine
from unibench.errors import UnibenchError

threads.wait_briefly()


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
@PLUGIN
def main() -> None:
    """Measure how good a frozen visual representation is for tracking: SOT, VOS, MOT, MOTS, pose tracking."""
    from unibench import plugins

    plugins.load_installed()


for command in (
    run.run,
    run.quickstart,
    machines.plan,
    machines.work,
    machines.merge,
    cache.cache,
    models.models,
    probe.probe,
    checks.tasks,
    checks.data,
    checks.check_scores,
    boards.leaderboard,
    boards.plot,
    sensitivity.sensitivity,
    compare.compare,
    joint.train,
    joint.detect,
    joint.experiment,
):
    main.add_command(command)
