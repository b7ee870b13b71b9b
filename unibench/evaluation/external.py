"""What somebody's tracker has written to files is scored, and stands on the same boards."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from unibench.datasets import exchange
from unibench.errors import UnibenchError
from unibench.evaluation.fingerprints import digest, hash_labels, hash_truth
from unibench.evaluation.pool_clips import pool_run
from unibench.models import cards
from unibench.records import Clip, Labels, Score, Truth
from unibench.results import store
from unibench.results.predictions import Writer
from unibench.results.store import ClipResult, RunKey, UnitKey
from unibench.tasks import protocols, registry
from unibench.tasks.family import Protocol, Task

EXTERNAL = "external"
"""Protocol and layer of such rows."""
PROTOCOL = Protocol(
    EXTERNAL, "1.0", "files of another program: what it was given, and how it was run, is not known here", {}
)


def score_files(folder: Path, name: str, tracker: str, out: Path, data: Path | None) -> list[Score]:
    """Score files of a tracker in the task's own format, keep what they say, and pool the clips.

    Args:
        folder: Holds the files of every clip.
        name: The task, without a protocol.
        tracker: What boards call it.
        out: Root folder of the results.
        data: Folder that holds the benchmarks' folders; rendered benchmarks need none.

    Raises:
        UnibenchError: The task is unknown or has no format, its data are not there, a file is missing or malformed, or
            the name is that of a model.
    """
    if tracker in cards.paths():
        raise UnibenchError(f"--name {tracker!r}: the name of a model card; choose another name")
    task = replace(registry.find(name.partition("@")[0]), protocol=PROTOCOL)
    if "@" in name:
        raise UnibenchError(
            f"-t {name!r}: files stand under the protocol {EXTERNAL!r}; leave the protocol out"
        )
    root, form = registry.folder(task, data), exchange.find(task.name)
    clips = task.benchmark.names(root)
    said = [
        digest(clip, hash_labels(*form.read(folder, registry.load_plain(task, root, clip)[0])))
        for clip in clips
    ]
    run = RunKey(tracker, digest(*said), task.name, protocols.label(PROTOCOL), EXTERNAL)
    results = []
    for clip in clips:
        shown, truth = registry.load_plain(task, root, clip)
        results.append(_score(out, run, task, shown, truth, form.read(folder, shown)))
    scores = pool_run(task, clips, run, results)
    store.write_result(out, scores, clips)
    store.write_run(
        out, run, {"protocol": protocols.describe(PROTOCOL), "scoring": task.family.scoring.version}
    )
    return scores


def _score(
    out: Path, run: RunKey, task: Task, clip: Clip, truth: Truth, said: tuple[Labels, ...]
) -> ClipResult:
    scoring = task.family.scoring
    with closing(Writer()) as writer:
        for labels in said:
            writer.append(labels)
        predicted = writer.finish()
        result = ClipResult(
            key=UnitKey(run.model, run.fingerprint, run.task, run.protocol, run.layer, clip.name),
            frames=clip.length,
            partial=False,
            fingerprint=predicted.checksum,
            data=hash_truth(truth),
            tally=scoring.tally(truth, predicted),
            scoring=scoring.version,
            truth=hash_truth(truth),
            predictions=predicted.checksum,
        )
        store.write_clip(out, result, predicted)
    return result
