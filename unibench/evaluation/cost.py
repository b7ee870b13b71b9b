"""What a frame costs: operations and memory, which are counted, and time, which is measured.

A model's layer is costed alone, on the first frames of a task's first clip. A frozen network is run on each size that
the protocol shows it, once to count and a few times more to take the time; sizes that several tasks share are run once.
A joint tracker is run whole.
"""

import logging
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from unibench import models
from unibench.errors import UnibenchError
from unibench.evaluation.fingerprints import unit_key
from unibench.evaluation.units import Unit, by_model
from unibench.models import frozen, weights
from unibench.models.cards import JOINT, seen_layers
from unibench.models.frozen import FrozenModel
from unibench.models.windows import span
from unibench.records import Clip, Cost
from unibench.results import store
from unibench.tasks import registry
from unibench.tasks.family import WHOLE_CLIP
from unibench.tasks.model_kinds import follow_frozen

FRAMES = 2
"""Frames after the first, or windows of a clip encoder, over which a cost is averaged."""
REPEATS = 3
"""Passes of one size whose time is taken, as long as they have not taken `PATIENCE` together."""
PATIENCE = 1.0
"""Seconds."""
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Pass:
    """One pass of a network."""

    flops: float
    memory: int
    seconds: float
    maps: dict[str, Tensor]


def write_missing(
    units: Sequence[Unit],
    out: Path,
    weights_path: Path | None = None,
    *,
    device: str = "cpu",
    overwrite: bool = False,
) -> None:
    """Measure and store what the runs of some units cost, where that is not stored.

    Args:
        units: Grouped by model, whose results are there.
        out: Root folder of the results.
        weights_path: A weights file, or the folder that holds them.
        device: A torch device.
        overwrite: Measure again what is there.

    A model whose cost cannot be measured here (its weights or the device are elsewhere) is left out; the log says why.
    """
    for group in by_model(units):
        missing = {
            unit_key(unit, layer).run: (unit, layer)
            for unit in reversed(group)  # so that the first clip of each task stays
            for layer in unit.layers
            if overwrite or store.read_cost(out, unit_key(unit, layer).run) is None
        }
        if not missing:
            continue
        try:
            measure = _meter(group[0], weights_path, device)
            for run, (unit, layer) in missing.items():
                store.write_cost(out, run, measure(unit, layer))
        except UnibenchError as error:
            logging.getLogger(__name__).warning("cost not measured: %s", error)


def _meter(first: Unit, weights_path: Path | None, device: str) -> Callable[[Unit, str], Cost]:
    """What measures one model; its network is loaded once."""
    if first.card.kind == JOINT:
        return lambda unit, layer: _cost_of_joint(unit, weights_path, device)
    return _frozen_meter(first, weights_path, device)


def _frozen_meter(first: Unit, weights_path: Path | None, device: str) -> Callable[[Unit, str], Cost]:
    card, path = first.card, weights.locate(first.card, weights_path)
    module, _ = frozen.build(card, path)
    model = replace(frozen.freeze(card, module, path, frozen.find_device(device)), batch=1)
    size = _bytes(module)
    known: dict[tuple[str, Shape, tuple[int, ...]], _Pass] = {}

    def measure(unit: Unit, layer: str) -> Cost:
        seen = span(card.window, unit.task.protocol.windowing)
        run: Counter[tuple[str, Shape, tuple[int, ...]]] = Counter()

        def network(images: Tensor, layers: Sequence[str], *slot: int) -> dict[str, Tensor]:
            """Each size is passed once; heads get its maps again for every frame."""
            key = layer, tuple(images.shape), slot
            if key not in known:
                known[key] = _measure_pass(model, images, layer, slot, size)
            run[key] += 1
            return known[key].maps

        clip = _first_frames(unit, 1 + FRAMES * (seen.hop if seen else 1))
        labels = follow_frozen(card, replace(model, network=network), unit.task, [layer])(clip)
        next(labels)
        first = Counter(run)
        for _ in labels:
            pass
        online = unit.task.protocol.lookahead < WHOLE_CLIP and clip.length > 1
        if online:
            run.subtract(first)
        passes = {key: count / (clip.length - online) for key, count in run.items() if count}
        return Cost(
            parameters=frozen.parameters(module, card.architecture.head),
            channels=card.layers[layer].channels,
            stride=seen_layers(card)[layer].stride,
            shown={" x ".join(map(str, shape)): count for (_, shape, _), count in passes.items()},
            flops=sum((count * known[key].flops for key, count in passes.items()), 0.0),
            memory=max((known[key].memory for key in passes), default=0),
            seconds=sum((count * known[key].seconds for key, count in passes.items()), 0.0),
            device=_name(model.device),
            threads=torch.get_num_threads(),
        )

    return measure


def _measure_pass(model: FrozenModel, images: Tensor, layer: str, slot: tuple[int, ...], size: int) -> _Pass:
    """Run the network on one size: first to count, then to take the time."""
    memory = _Memory(size + images.untyped_storage().nbytes())
    with FlopCounterMode(display=False) as flops, memory:
        maps = model.network(images, [layer], *slot)
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < PATIENCE:
        with _timed(model.device, times):
            model.network(images, [layer], *slot)
    return _Pass(float(flops.get_total_flops()), memory.peak, statistics.median(times), maps)


def _cost_of_joint(unit: Unit, weights_path: Path | None, device: str) -> Cost:
    model = models.open(unit.card, weights_path, device)
    clip = _first_frames(unit, 1 + FRAMES)
    torch_device, parameters = frozen.find_device(device), unit.card.architecture.parameters
    track = model.bind(unit.task, [JOINT])
    times: list[float] = []
    labels = track(clip)
    for _ in range(clip.length):
        with _timed(torch_device, times):
            next(labels)
    memory, flops = _Memory(4 * parameters), FlopCounterMode(display=False)
    of_frames = []
    with flops, memory:
        for _ in track(clip):
            of_frames.append(flops.get_total_flops())
    return Cost(
        parameters=parameters,
        channels=0,
        stride=0,
        shown={},
        flops=(of_frames[-1] - of_frames[0]) / (len(of_frames) - 1),
        memory=memory.peak,
        seconds=statistics.median(times[1:]),
        device=_name(torch_device),
        threads=torch.get_num_threads(),
    )


def _first_frames(unit: Unit, frames: int) -> Clip:
    return registry.load_clip(unit.task, unit.root, unit.clip, min(frames, unit.frames or frames))[0]


@contextmanager
def _timed(device: torch.device, times: list[float]) -> Iterator[None]:
    _wait(device)
    start = time.perf_counter()
    yield
    _wait(device)
    times.append(time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device} ({platform.machine()})"


def _bytes(module: nn.Module) -> int:
    return sum(one.nbytes for one in [*module.parameters(), *module.buffers()])


class _Memory(TorchDispatchMode):
    """Counts the bytes of tensors that are alive at once."""

    def __init__(self, before: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self.before = before
        self.alive: dict[Any, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_storage(one) for one in tree_leaves((args, kwargs)) if _stored(one)}
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if _stored(one) and (storage := _storage(one)) not in given:
                self.alive[storage] = one.untyped_storage().nbytes()
        self.alive = {storage: size for storage, size in self.alive.items() if not storage.expired()}
        self.peak = max(self.peak, self.before + sum(self.alive.values()))
        return made


def _storage(one: Tensor) -> Any:
    """What knows of a tensor's storage whether it is still there."""
    return StorageWeakRef(one.untyped_storage())  # type: ignore[no-untyped-call]


def _stored(one: object) -> bool:
    return isinstance(one, Tensor) and one.layout is torch.strided
