"""From models and tasks to scores: the loop, without a terminal."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from unibench.errors import OutputError
from unibench.evaluation import executors, pool_clips
from unibench.evaluation.executors import Job
from unibench.evaluation.fingerprints import unit_key
from unibench.evaluation.run_clip import Done, Step
from unibench.evaluation.units import Unit, list_units
from unibench.features.cache import FeatureCache
from unibench.models import cards, draft_card
from unibench.models.cards import Card
from unibench.records import Score
from unibench.results import provenance, store
from unibench.results.store import ClipResult, RunKey, UnitKey
from unibench.tasks import protocols, registry
from unibench.tasks.family import Task

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation gave."""

    rows: tuple[Score, ...]
    """One a model, layer, task and metric. Fractions are 0 to 1."""
    done: tuple[Done, ...]
    """What became of each clip of each model."""

    @property
    def failed(self) -> tuple[Done, ...]:
        """Clips that failed, each with its error; their scores are left out, and so is no other's."""
        return tuple(one for one in self.done if one.error)

    @property
    def scores(self) -> "DataFrame":
        """The rows as a table: the fields of `records.Score` are its columns."""
        from pandas import DataFrame

        return DataFrame([asdict(row) for row in self.rows], columns=list(Score.__dataclass_fields__))


def evaluate(  # noqa: PLR0913 - each says one thing of a run
    models: Sequence[str | Card],
    tasks: Sequence[str | Task],
    *,
    output: str | Path,
    data: str | Path | None = None,
    weights_path: str | Path | None = None,
    layers: Sequence[str] = (),
    frames: int | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    executor: str = "local",
    workers: int | None = None,
    plugins: Sequence[str] = (),
    features: FeatureCache | None = None,
    keep_predictions: bool = True,
    command: Sequence[str] = ("unibench.evaluate",),
    progress: Callable[[Done, int], None] = lambda done, total: None,
    on_step: Callable[[Step, int], None] = lambda step, total: None,
) -> Evaluation:
    """Score models on tasks. What is finished already is not computed again; a clip that fails does not stop others.

    Args:
        models: Names or paths of cards, or cards.
        tasks: `vos/davis2016`, `sot/otb@xcorr`, or tasks.
        output: Root folder of the results.
        data: Folder that holds the benchmarks' folders; rendered benchmarks need none.
        weights_path: A weights file, or the folder that holds them.
        layers: Layers of every model that are scored; empty: the default of each card; `all`: all of each.
        frames: Only the first so many frames of each clip; the rows are marked partial.
        device: A torch device; several separated by commas.
        overwrite: Compute again what is there.
        executor: Who runs the clips: `local`, `submitit`, `ray`, or another that is installed.
        workers: Clips at a time; None: one a device.
        plugins: Plug-ins that workers import first.
        features: Where feature maps are kept; None: nowhere.
        keep_predictions: Whether what trackers say is stored beside the scores, to be scored again or exported.
        command: Stands in the record of each result.
        progress: Called with what became of each clip, and the number of all clips.
        on_step: Called with how far a clip is, frame by frame or every second, and the number of all clips; executors
            whose workers are on other machines do not tell.

    Raises:
        UnibenchError: A name is unknown, data or weights are missing, nothing can be run, results cannot be written,
            or the folder holds results of other numbers of frames, which no board could compare with these.
    """
    start, out = datetime.now(UTC), Path(output)
    units = list_units(
        [cards.find(one) if isinstance(one, str) else one for one in models],
        [registry.find(one) if isinstance(one, str) else one for one in tasks],
        None if data is None else Path(data),
        weights_path=None if weights_path is None else Path(weights_path),
        layers=layers,
        frames=frames,
        features=features,
    )
    require_same_frames(units, out, overwrite=overwrite)
    keep_cards(units, out)
    job = Job(
        out.resolve(),
        None if weights_path is None else Path(weights_path).resolve(),
        device,
        workers,
        overwrite,
        tuple(plugins),
        features,
        keep_predictions,
    )
    done = []
    total = len(units)
    work = executors.find(executor)(
        [executors.absolute(unit) for unit in units], job, lambda step: on_step(step, total)
    )
    for one in work:
        progress(one, total)
        done.append(one)
    failed = {unit_key(one.unit, "") for one in done if one.error}
    good = [unit for unit in units if unit_key(unit, "") not in failed]
    record = provenance.collect(command, start, device, torch.get_num_threads())
    return Evaluation(tuple(pool_clips.pool(good, out, record)), tuple(done))


def keep_cards(units: Sequence[Unit], out: Path) -> None:
    """Store cards that no name finds beside the results of their models: of a library, a checkpoint, a file that was
    given.

    Raises:
        OutputError: A card cannot be written.
    """
    for (name, fingerprint), card in {unit.model: unit.card for unit in units}.items():
        if card.derived_from or card.path:
            draft_card.write(card, store.card_file(out, name, fingerprint))


def require_same_frames(units: Sequence[Unit], out: Path, *, overwrite: bool) -> None:
    """Refuse to mix numbers of frames in one column of a board, before anything is computed.

    Args:
        units: What is to be computed.
        out: Root folder of the results.
        overwrite: Whether these units' own results are computed again.

    Raises:
        OutputError: A clip of another run, or of an earlier one that broke off, has another number of frames.
    """
    replaced = {unit_key(unit, layer).run for unit in units for layer in unit.layers} if overwrite else set()
    columns: dict[tuple[str, str], dict[str, Unit]] = {}
    for unit in units:
        columns.setdefault((unit.task.name, protocols.label(unit.task.protocol)), {})[unit.clip] = unit
    for (task, protocol), clips in columns.items():
        lengths: dict[str, int] = {}
        for run in store.find_runs(out, task, protocol):
            found = None if run in replaced else _any_clip(out, run, clips)
            if found is None:
                continue
            unit = clips[found.key.clip]
            if unit.clip not in lengths:
                loaded, _ = registry.load_clip(unit.task, unit.root, unit.clip, unit.frames)
                lengths[unit.clip] = loaded.length
            length = lengths[unit.clip]
            if (found.frames, found.partial) != (length, unit.frames is not None):
                there = f"the first {found.frames} frames" if found.partial else f"all {found.frames} frames"
                here = "all" if unit.frames is None else f"the first {unit.frames}"
                raise OutputError(
                    f"{out}: holds {task}@{protocol} of {run.model!r} on {there} of each clip, expected {here} as "
                    "asked for; choose another folder with -o, or another --frames"
                )


def _any_clip(out: Path, run: RunKey, clips: Iterable[str]) -> ClipResult | None:
    """The stored result of the first of some clips that has one."""
    for clip in clips:
        with suppress(OutputError):  # damaged: computed again, or named when boards are made
            found = store.read_clip(out, UnitKey(**asdict(run), clip=clip))
            if found is not None:
                return found
    return None
