"""Curves of mask propagation: memory against the length of a clip, time against the size of the grid."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

import torch
from matplotlib.figure import Figure
from torch import Tensor

from heads import affinity, mask
from heads.affinity import Source, Window
from heads.mask import MaskOptions, MaskState
from tests.benchmarks.timing import seconds
from unibench.evaluation import heap

CHANNELS = 256
OBJECTS = 3
LENGTHS = (10, 40, 160)
GRIDS = ((30, 54), (45, 80), (60, 107), (90, 160), (120, 214), (180, 320))
"""Stride 8 of 240, 360, 480, 720, 960 and 1440 pixels of short side."""
DENSE = 60 * 107
"""Cells up to which the dense reference is run: beyond, its affinity takes more than 1 GB."""
TARGET_MB = 200


def frames(grid: tuple[int, int], count: int) -> Iterator[Tensor]:
    """Maps of a scene that slides by, made one after the other."""
    generator = torch.Generator().manual_seed(0)
    scene = torch.randn(CHANNELS, *grid, generator=generator)
    for t in range(count):
        yield scene.roll(t, 2) + 0.5 * torch.randn(CHANNELS, *grid, generator=generator)


def labels(grid: tuple[int, int]) -> Tensor:
    """Background and objects side by side."""
    columns = torch.arange(grid[1]) * (OBJECTS + 1) // grid[1]
    return (
        torch.nn.functional.one_hot(columns, OBJECTS + 1)
        .T.float()[:, None]
        .expand(-1, grid[0], -1)
        .contiguous()
    )


def extra_megabytes(grid: tuple[int, int], count: int) -> float:
    """Peak memory of a propagation, less what the process held before; measured in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.plots", *map(str, (*grid, count))],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(ran.stdout)


def _measure_memory(grid: tuple[int, int], count: int) -> float:
    next(frames(grid, 1))  # what making frames takes is not the head's
    before = _status("VmRSS")
    for done, _ in enumerate(mask.propagate(frames(grid, count), labels(grid))):
        if done % heap.FRAMES == 0:  # as in a run
            heap.trim()
    return _status("VmHWM") - before


def _status(name: str) -> float:
    """A line of Linux' account of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[1]) * 1024 / 1e6


def frame_seconds(grid: tuple[int, int]) -> tuple[float, float | None]:
    """Time of one frame when all sources are there: the head's, and the dense reference's where it fits."""
    options = MaskOptions()
    *past, now = frames(grid, options.context + 2)
    state: MaskState | None = None
    for features in past:
        state = mask.step(state, features, options) if state else mask.begin(features, labels(grid), options)
    first = seconds(lambda: mask.step(state, now, options))
    repeats = 1 if first > 10 else 3
    ours = median([seconds(lambda: mask.step(state, now, options)) for _ in range(repeats)])
    if grid[0] * grid[1] > DENSE:
        return ours, None
    window = Window(options.radius or 0, options.window)
    sources = [Source(features, labels(grid), window if t else None) for t, features in enumerate(past)]
    return ours, seconds(lambda: affinity.reference(now, sources, options.topk, options.temperature))


def draw(folder: Path, show: Callable[[str], object] = print) -> None:
    """Measure everything, and write one figure each."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths = {count: extra_megabytes((60, 107), count) for count in LENGTHS}
    for count, megabytes in lengths.items():
        show(f"memory, 60x107, {count} frames: {megabytes:.0f} MB")
    times = {}
    for grid in GRIDS:
        times[grid] = frame_seconds(grid)
        dense = "" if times[grid][1] is None else f", dense {times[grid][1]:.3g} s"
        show(f"time, {grid[0]}x{grid[1]}: {times[grid][0]:.3g} s a frame{dense}")
    for name, figure in (("memory", memory_figure(lengths)), ("time", time_figure(times))):
        path = folder / f"mask_propagation_{name}.png"
        figure.savefig(path, dpi=120, metadata={"Software": None})
        show(f"written: {path}")


def memory_figure(lengths: Mapping[int, float]) -> Figure:
    """Peak extra memory over the number of frames."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(list(lengths), list(lengths.values()), "o-", color="#0072b2", label="mask propagation")
    axes.axhline(TARGET_MB, color="#7f7f7f", linestyle="--", label="target")
    axes.set(
        xlabel="frames of the clip", ylabel="peak extra memory, MB", xscale="log",
        ylim=(0, 1.2 * max(TARGET_MB, *lengths.values())),
        title=f"60x107 cells, {CHANNELS} channels, {OBJECTS} objects, 5 previous frames",
    )  # fmt: skip
    axes.set_xticks(list(lengths), list(map(str, lengths)))
    axes.minorticks_off()
    axes.legend(frameon=False)
    return figure


def time_figure(times: Mapping[tuple[int, int], tuple[float, float | None]]) -> Figure:
    """Seconds a frame over the number of cells."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    cells = [height * width for height, width in times]
    dense = [(height * width, slow) for (height, width), (_, slow) in times.items() if slow is not None]
    axes.plot(cells, [ours for ours, _ in times.values()], "o-", color="#0072b2", label="tiled")
    axes.plot(*zip(*dense, strict=True), "s--", color="#7f7f7f", label="dense reference")
    axes.set(
        xlabel="cells of the grid", ylabel="seconds a frame", xscale="log", yscale="log",
        title=f"{CHANNELS} channels, frame 0 whole and 5 windows, {torch.get_num_threads()} threads",
    )  # fmt: skip
    axes.set_xticks(cells, [f"{height}x{width}" for height, width in times], rotation=30)
    axes.minorticks_off()
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    height, width, count = map(int, sys.argv[1:])
    print(_measure_memory((height, width), count))
