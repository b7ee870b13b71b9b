"""The command line. Commands import what they need when they run: `unibench --help` loads neither torch nor pandas."""

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

import click

from unibench.cli import (
    boards,
    cache,
    checks,
    compare,
    explain,
    joint,
    machines,
    models,
    probe,
    reproduce,
    run,
    schemas,
    score,
    select_layer,
    sensitivity,
    site,
    ssl,
    threads,
    track,
)
from unibench.cli.options import PLUGIN, OneLine
from unibench.errors import UnibenchError

threads.wait_briefly()

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of a disk, or of whatever standard output leads to, that takes no more."""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which schedulers and `timeout` send, end a command as Ctrl-C does: workers first, then one line."""
    if current_thread() is not main_thread():  # no other may set what a signal does
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _ended_by_sigterm():
                return super().invoke(ctx)
        except UnibenchError as error:
            raise OneLine(str(error)) from error
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise OneLine(
                f"{error.filename or 'standard output'}: cannot be written ({error.strerror}); make room"
            ) from error
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
    track.track,
    machines.plan,
    machines.work,
    machines.merge,
    cache.cache,
    models.models,
    probe.probe,
    checks.tasks,
    checks.data,
    checks.check_scores,
    score.score,
    score.export,
    explain.explain,
    boards.leaderboard,
    boards.plot,
    sensitivity.sensitivity,
    select_layer.select_layer,
    site.site,
    compare.compare,
    reproduce.reproduce,
    schemas.print_schema,
    joint.train,
    joint.detect,
    joint.experiment,
    ssl.train_ssl,
):
    main.add_command(command)
