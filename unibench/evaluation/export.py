"""Stored predictions are written in the benchmark's own format."""

from pathlib import Path

from unibench.datasets import exchange
from unibench.errors import OutputError
from unibench.evaluation.score_again import load_clip, predicted_of
from unibench.results import store
from unibench.results.store import RunKey
from unibench.tasks import registry


def export(out: Path, run: RunKey, folder: Path, data: Path | None) -> list[str]:
    """Write the predictions of a run.

    Args:
        out: Root folder of the results.
        run: Which of them.
        folder: Where to; what is there is replaced clip by clip.
        data: Folder that holds the benchmarks' folders; rendered benchmarks need none.

    Returns:
        Names of the clips.

    Raises:
        UnibenchError: The task has no format, predictions are missing or damaged, the data are not those of the run,
            or the folder cannot be written.
    """
    task, form = registry.find(run.task), exchange.find(run.task)
    clips = store.read_clips(out, run)
    for one in clips:
        clip, _ = load_clip(one, task, data)
        with predicted_of(out, one) as predicted:
            try:
                form.write(folder, clip, predicted)
            except OSError as error:
                raise OutputError(
                    f"{error.filename or folder}: cannot be written ({error.strerror or error}); choose another folder"
                ) from error
    return [one.key.clip for one in clips]
