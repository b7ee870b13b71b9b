"""What a GPU does: `python -m tests.benchmarks --device cuda` writes `results/benchmarks/gpu.md`.

Nothing is held to a limit here. The same tables can be made on a CPU: `--device cpu --quick`.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from heads import dcf, mask, pose, rsm, xcorr
from heads.affinity import nearest
from heads.dcf import DcfOptions
from heads.mask import MaskOptions
from heads.xcorr import XcorrOptions
from tests.benchmarks import gpu_runs, joint_frame
from tests.benchmarks.gpu_runs import Run, card_of
from tests.benchmarks.sections import Cell, Row, Section, measure, peak, seconds, typical
from unibench.models import frozen
from unibench.models.frozen import Network

PADDING = 3.5
"""Of UniTrack's search windows."""


@dataclass(frozen=True)
class Joint:
    """A joint tracker whose parameters are random."""

    system: str
    config: str
    task: str
    dtype: str


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    runs: Sequence[Run]
    precision: tuple[Sequence[str], tuple[int, int], int, int, Run]
    """Arguments of `gpu_runs.precision_rows`."""
    grids: Sequence[tuple[int, int, int]]
    """Channels, h, w of the propagation heads."""
    batches: tuple[str, tuple[int, int], Sequence[int]]
    """Card, size of the images, images in a pass."""
    joint: Sequence[Joint]
    joint_frames: tuple[int, int]
    """That warm up; that are timed."""
    product: int
    """Side of the matrices of the ceiling."""
    copy: int
    """MiB."""
    times: int
    """Calls of which the median is taken."""


DTYPES = ("float32", "bfloat16", "float16")
_VOS, _MOT, _SOT = "vos/davis2016", "mot/mot17", "sot/otb"
FULL = Sizes(
    runs=[
        *(Run(_VOS, card, dtype, (480, 854), 120)
          for card in ("random-resnet50", "random-vit-s16") for dtype in DTYPES),
        *(Run(_MOT, "random-resnet50", dtype, (1080, 1920), 60) for dtype in DTYPES),
        *(Run(f"{_SOT}@{head}", "random-resnet50", dtype, (480, 854), 120)
          for head in ("xcorr", "unitrack") for dtype in ("float32", "float16")),
    ],
    precision=(["random-resnet50", "random-vit-s16"], (480, 854), 30, 10,
               Run(_MOT, "random-resnet18", "float32", (1080, 1920), 10)),
    grids=[(256, 60, 107), (256, 90, 160)],
    batches=("random-resnet50", (480, 854), (1, 2, 4, 8, 16, 32)),
    joint=[
        *(Joint("unicorn", config, task, dtype) for config in ("large_mask", "tiny_rt_mask")
          for task in ("mot", "sot") for dtype in ("float32", "float16")),
        *(Joint(system, "paper", "mot", dtype) for system in ("trivd", "retinatrack", "tdt")
          for dtype in ("float32", "float16")),
    ],
    joint_frames=(3, 10),
    product=8192,
    copy=4096,
    times=7,
)  # fmt: skip
QUICK = Sizes(
    runs=[
        Run(_VOS, "random-resnet18", "float32", (96, 160), 6),
        Run(_VOS, "random-vit-tiny", "bfloat16", (96, 160), 6),
        Run(_MOT, "random-resnet18", "float32", (216, 384), 2),
        Run(f"{_SOT}@unitrack", "random-resnet18", "float32", (96, 160), 2),
    ],
    precision=(["random-resnet18"], (96, 160), 5, 4, Run(_MOT, "random-resnet18", "float32", (216, 384), 2)),
    grids=[(32, 15, 27)],
    batches=("random-resnet18", (96, 160), (1, 2)),
    joint=[
        *(Joint("unicorn", "toy", task, "float32") for task in ("mot", "sot")),
        Joint("unicorn", "toy", "mot", "bfloat16"),
        *(Joint(system, "tiny", "mot", "float32") for system in ("trivd", "retinatrack", "tdt")),
    ],
    joint_frames=(1, 2),
    product=256,
    copy=4,
    times=2,
)  # fmt: skip


def write(device: str, out: Path, *, quick: bool, say: Callable[[str], object] = print) -> int:
    """Measure everything.

    Args:
        device: A torch device.
        out: The Markdown file.
        quick: Small sizes.
        say: Takes a line for each row that is done.

    Returns:
        1: something could not be measured.
    """
    name = str(frozen.find_device(device))
    return int(measure(sections(name, QUICK if quick else FULL), about(name), out, say) > 0)


def about(device: str) -> str:
    """What the file begins with."""
    from tests.benchmarks.__main__ import commit, machine

    cuda = torch.device(device).type == "cuda"
    card = torch.cuda.get_device_name(device) if cuda else "no GPU"
    facts = {
        "device": f"{device}: {card}",
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda or 'none'}",
        "processor": f"{machine()}, {torch.get_num_threads()} threads",
        "commit": commit() or "unknown",
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "command": f"python -m tests.benchmarks {' '.join(sys.argv[1:])}",
    }
    return "# On a GPU\n\n| | |\n|---|---|\n" + "\n".join(
        f"| {key} | {value} |" for key, value in facts.items()
    )


def sections(device: str, sizes: Sizes) -> list[Section]:
    """All tables, with the seconds that each may take."""
    return [
        Section("Ceilings of the device", ("what", "figure", "unit"), 8, partial(_ceilings, device, sizes),
                "One of 8192 x 8192 x 8192, on random numbers; a copy counts bytes read and written."),
        Section("Whole runs", ("run", *gpu_runs.COLUMNS[1:]), 150, partial(gpu_runs.rows, sizes.runs, device),
                gpu_runs.NOTE),
        Section("Joint trackers", ("system, config, task", "canvas", "parameters, M", "ms a frame", "frames a second",
                                   "slowest, ms", "objects a frame", "peak, MiB"), 110, partial(_joint, device, sizes),
                "Random parameters, frames of noise at the size of the config: median of frames after some that warm "
                "up, decoding left out. A network that finds no object leaves its association idle. float16 is torch's "
                "autocast around the tracker. TrIVD has its small text encoder."),
        Section("Heads", ("head", "ms", "dense product, ms", "CPU, one thread, ms", "peak, MiB"), 20,
                partial(_heads, device, sizes), "One frame, float32; the clip has gone on for longer than the context. "
                "The dense product is that of the frame with all its sources, on the same device."),
        Section("Images in a pass", ("network", "frames a second", "ms an image", "peak, MiB"), 12,
                partial(_batches, device, sizes), "The network alone, on images that lie on the device; what it "
                "returns is held as float32. tf32: the same float32 network with cuDNN's default for convolutions, "
                "which runs do not use."),
        Section("Precision", gpu_runs.PRECISION_COLUMNS, 30,
                lambda: gpu_runs.precision_rows(*sizes.precision, device),
                "VOS: mean J over masks of a rendered clip without frame 0; each against float32 on the same device, "
                "or the device against the CPU."),
    ]  # fmt: skip


def _ceilings(device: str, sizes: Sizes) -> list[Row]:
    def copy() -> Sequence[Cell]:
        source = torch.empty(sizes.copy * 2**20, dtype=torch.uint8, device=device)
        into = torch.empty_like(source)
        return [2 * len(source) / typical(lambda: into.copy_(source), device, sizes.times) / 1e12, "TB/s"]

    def product(dtype: torch.dtype, *, tf32: bool = False) -> Sequence[Cell]:
        sides = torch.randn(2, sizes.product, sizes.product, device=device).to(dtype)
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            took = typical(lambda: sides[0] @ sides[1], device, sizes.times)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
        return [2 * sizes.product**3 / took / 1e12, "TFLOP/s"]

    return [
        Row("device-to-device copy", copy),
        Row("matrix product, float32", lambda: product(torch.float32)),
        Row("matrix product, tf32", lambda: product(torch.float32, tf32=True)),
        Row("matrix product, bfloat16", lambda: product(torch.bfloat16)),
        Row("matrix product, float16", lambda: product(torch.float16)),
    ]


@dataclass(frozen=True)
class _Head:
    """Work of a head on maps that lie on a device, and the dense product in its place."""

    run: Callable[[], object]
    dense: Callable[[], object] | None = None


def _heads(device: str, sizes: Sizes) -> list[Row]:
    rows = [
        Row(
            f"{name} {h}x{w}, {channels} channels",
            partial(_head, device, make, (channels, h, w), sizes.times),
        )
        for channels, h, w in sizes.grids
        for name, make in (("mask", _mask), ("pose", _pose), ("global search", _search))
    ]
    channels, few = (sizes.grids[0][0], sizes.grids[0][1])
    side = min(65, 2 * few + 1)
    return [
        *rows,
        Row(f"RSM 20x20 objects of 40 points, {channels} channels",
            partial(_head, device, _rsm, (channels, 20, 40), sizes.times)),
        Row(f"XCorr response 3x{channels}x{side}x{side}",
            partial(_head, device, _xcorr, (channels, side, side), sizes.times)),
        Row(f"DCF response and update 3x{channels}x{side}x{side}",
            partial(_head, device, _dcf, (channels, side, side), sizes.times)),
    ]  # fmt: skip


def _head(
    device: str, make: Callable[[str, tuple[int, int, int]], _Head], shape: tuple[int, int, int], times: int
) -> Sequence[Cell]:
    with torch.inference_mode():
        here = make(device, shape)
        took = typical(here.run, device, times)
        most = peak(here.run, device)
        dense = typical(here.dense, device, times) if here.dense else None
        there = make("cpu", shape)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            cpu = seconds(there.run, "cpu")
        finally:
            torch.set_num_threads(threads)
    return [1e3 * took, None if dense is None else 1e3 * dense, 1e3 * cpu, most]


def _clip(device: str, shape: tuple[int, int, int], frames: int) -> list[Tensor]:
    """Maps that are alike from frame to frame, channels last, as networks give them."""
    channels, h, w = shape
    generator = torch.Generator().manual_seed(0)
    still = torch.randn(h, w, channels, generator=generator)
    maps = [still + 0.7 * torch.randn(h, w, channels, generator=generator) for _ in range(frames)]
    return [one.to(device).permute(2, 0, 1) for one in maps]


def _propagation(
    device: str,
    shape: tuple[int, int, int],
    labels: Tensor,
    read: Callable[[Tensor], object] = lambda labels: labels,
) -> _Head:
    options = MaskOptions()
    first, *past, frame = _clip(device, shape, options.context + 2)
    state = mask.begin(first, labels.to(device), options)
    for one in past:
        state = mask.step(state, one, options)
    queries, *keys = (F.normalize(one, dim=0).flatten(1).T for one in (frame, first, *past))
    whole = torch.cat(keys)
    return _Head(lambda: read(mask.step(state, frame, options).labels), lambda: queries @ whole.T)


def _mask(device: str, shape: tuple[int, int, int]) -> _Head:
    _, h, w = shape
    return _propagation(device, shape, torch.eye(4)[torch.arange(h * w) // 7 % 4].T.reshape(4, h, w))


def _pose(device: str, shape: tuple[int, int, int]) -> _Head:
    _, h, w = shape
    joints = torch.rand(1, 15, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([w, h, 1.0])
    return _propagation(
        device, shape, pose.encode_people(joints, h, w), lambda labels: pose.decode_people(labels, 1)
    )


def _search(device: str, shape: tuple[int, int, int]) -> _Head:
    frame, other = (F.normalize(one, dim=0) for one in _clip(device, shape, 2))
    return _Head(
        lambda: nearest(frame, [other], MaskOptions().topk, None),
        lambda: frame.flatten(1).T @ other.flatten(1),
    )


def _rsm(device: str, shape: tuple[int, int, int]) -> _Head:
    channels, objects, points = shape
    generator = torch.Generator().manual_seed(0)
    sides = torch.randn(2, objects, points, channels, generator=generator).to(device)
    return _Head(lambda: rsm.similarity(list(sides[0]), list(sides[1])).cpu())


def _windows(device: str, shape: tuple[int, int, int]) -> Tensor:
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)).to(device)


def _xcorr(device: str, shape: tuple[int, int, int]) -> _Head:
    search = _windows(device, shape)
    state = xcorr.fit(search[1], PADDING)
    return _Head(lambda: xcorr.response(state, search, XcorrOptions()))


def _dcf(device: str, shape: tuple[int, int, int]) -> _Head:
    search, options = _windows(device, shape), DcfOptions()
    state = dcf.fit(search[1], options, PADDING)

    def run() -> None:
        dcf.response(state, search)
        dcf.update(state, search[1], options, PADDING)

    return _Head(run)


def _batches(device: str, sizes: Sizes) -> list[Row]:
    name, (height, width), counts = sizes.batches

    @lru_cache(maxsize=1)  # no two of them take memory at a time
    def network(dtype: str) -> Network:
        if dtype != "tf32":
            return frozen.load(card_of(name, dtype)[0], device=device).network
        card, _ = card_of(name, "float32")
        module = frozen.build(card, None)[0].to(device).to(memory_format=frozen.LAYOUT)
        found = frozen.LOADERS[card.architecture.loader].extract(card, module)

        def rough(images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
            with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=True):
                return found(images.contiguous(memory_format=frozen.LAYOUT), layers)

        return rough

    def passes(dtype: str, count: int) -> Sequence[Cell]:
        run = network(dtype)
        layer = card_of(name, dtype)[1]
        images = torch.randn(count, 3, height, width, device=device)
        with torch.inference_mode():
            took = typical(lambda: run(images, [layer]), device, sizes.times)
            return [count / took, 1e3 * took / count, peak(lambda: run(images, [layer]), device)]

    return [
        Row(f"{name}, {height}x{width}, {dtype}, {count} images", partial(passes, dtype, count))
        for dtype in ("float32", "tf32", "float16")
        for count in counts
    ]


def _joint(device: str, sizes: Sizes) -> list[Row]:
    warm, timed = sizes.joint_frames

    def track(one: Joint) -> Sequence[Cell]:
        found = joint_frame.track(one.system, one.config, one.task, warm + timed, device, one.dtype)
        frames = sorted(found.seconds[warm:])
        middle = frames[len(frames) // 2]
        return ["{} x {}".format(*found.canvas), found.parameters / 1e6, 1e3 * middle, 1 / middle, 1e3 * frames[-1],
                float(found.objects[-1]), found.peak]  # fmt: skip

    return [
        Row(f"{one.system} {one.config}, {one.task}, {one.dtype}", partial(track, one)) for one in sizes.joint
    ]
