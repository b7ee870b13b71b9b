"""The nouns: frozen records that every part of unibench speaks in. None of them computes.

Boxes are xyxy in pixels of the original frame (x right, y down, 0-based; width = x2 - x1). Masks are COCO
run-length encodings (`unibench.geometry.masks` encodes and decodes). Scores and metric values are fractions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Float, Int, UInt8

EXCUSED, BYSTANDER = 0, 1  # the classes of `Truth.ignored`


class Rle(TypedDict):
    """One mask as COCO run-length encoding: `size` is [height, width], `counts` the compressed runs."""

    size: list[int]
    counts: bytes


def _empty(dtype: type, *shape: int) -> Callable[[], np.ndarray]:
    return lambda: np.zeros(shape, dtype=dtype)


@dataclass(frozen=True, eq=False)
class Labels:
    """What is said of ONE frame. A field that is not used is empty (length 0), never None.

    Used fields have the same length, one row an object, in the same order.
    """

    ids: Int[np.ndarray, " _object"] = field(default_factory=_empty(np.int64, 0))
    """Identities, unique within the frame; stable over the clip for truth and predictions."""
    boxes: Float[np.ndarray, "_object 4"] = field(default_factory=_empty(np.float64, 0, 4))
    """xyxy, pixels of the original frame."""
    masks: tuple[Rle, ...] = ()
    """Run-length encoded at the frame's own size."""
    keypoints: Float[np.ndarray, "_object _joint 3"] = field(default_factory=_empty(np.float64, 0, 0, 3))
    """x, y in pixels and a third value: > 0 where the joint is labelled (truth) or its score (prediction)."""
    scores: Float[np.ndarray, " _object"] = field(default_factory=_empty(np.float64, 0))
    """Confidence of each object, as its source gives it (usually 0 to 1)."""
    classes: Int[np.ndarray, " _object"] = field(default_factory=_empty(np.int64, 0))
    """Class of each object: an index into `Clip.vocabulary`."""


@dataclass(frozen=True, eq=False)
class Frame:
    """All that a tracker is given at time `index`."""

    index: int
    image: UInt8[np.ndarray, "height width 3"]
    """RGB, 0 to 255."""
    prompt: Labels = field(default_factory=Labels)
    """Labels of frame 0 in prompted tasks (SOT, VOS, pose propagation, points); empty in every other task and frame,
    but for VOS and points, where what appears later is prompted in its first frame."""
    detections: Labels = field(default_factory=Labels)
    """Observations without identity (MOT, MOTS, PoseTrack); empty otherwise."""


@dataclass(frozen=True, eq=False)
class Clip:
    """All that a tracker may see of one video. Holds no truth."""

    name: str
    height: int
    width: int
    fps: float
    length: int
    """Number of frames."""
    frames: Callable[[], Iterator[Frame]]
    """Starts a fresh pass over the video; images are decoded one by one as they are asked for."""
    vocabulary: tuple[str, ...] = ()
    """Names of the object classes; `Labels.classes` indexes it."""
    files: tuple[Path, ...] = ()
    """The files that hold the frames: one image file a frame, or one file of all; empty where frames are rendered."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What the annotators say of one video; only the scorer sees it (and the maker of oracle detections)."""

    labels: tuple[Labels, ...]
    """One per frame."""
    ignored: tuple[Labels, ...] = ()
    """Per frame (or nothing at all): what is not scored. Class EXCUSED: a prediction on it is taken away before
    counting (distractors of MOTChallenge, ignore regions of MOTS). Class BYSTANDER: takes part in that matching
    but excuses nothing (pedestrians of MOTChallenge marked 'do not consider')."""
    scales: tuple[Float[np.ndarray, " _object"], ...] = ()
    """Per frame (PoseTrack only): the head size of each person in pixels, 0.6 x the head box's diagonal."""
    scored: tuple[int, ...] | None = None
    """Indices of the frames that are annotated, where not all are."""
    size: tuple[int, int] | None = None
    """Height and width of the frames, pixels, where a metric reads them (GOT-10k's, TAP-Vid's); None: not given."""
    queries: Int[np.ndarray, " _point"] | None = None
    """Points only: the frame in which each is asked for, in the order of the ids, and all other frames count; None: the
    first that shows it, and later ones count."""


Tracker = Callable[[Clip], Iterator[Labels]]
"""The hinge of the design: yields the Labels of frame 0, 1, 2, ... of a clip, one for each frame."""
Tally = Mapping[str, Any]
"""What one clip adds, by name. Where scoring is additive these are counts and sums (float), which are added over clips
key by key and divided by `pool`; where it is not, they may also be arrays of numbers, of which `pool` needs all."""


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor of a weights file and of a network; the lists hold names."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    """Backbone tensors for which the file has nothing of that name."""
    misshapen: tuple[str, ...] = ()
    """Backbone tensors for which the file has another shape."""
    left_over: tuple[str, ...] = ()
    """Tensors of the container that fit nowhere."""
    prefix: str = ""
    container: str = ""
    """Dotted path of the container in the file."""
    adapted: tuple[str, ...] = ()
    """Loaded tensors whose shape was changed: an inflated kernel without its time axis, positions on another grid."""
    alike: tuple[str, ...] = ()
    """Other prefixes, and other containers, that hold as many of the names: another copy of the backbone."""
    unusable: tuple[str, ...] = ()
    """Backbone tensors whose values cannot be a network's, and why: not finite, of integers, sparse."""
    foreign: tuple[str, ...] = ()
    """Tensors that lie within modules of the backbone, which has no such parameters: the file is of another network."""
    random: tuple[str, ...] = ()
    """Backbone tensors that stay random because `weights.allow_random` allows it."""
    sha256: str = ""
    """Of the file; empty where tensors were given."""

    @property
    def total(self) -> int:
        """Number of the tensors of the backbone, or of the whole joint tracker."""
        kinds = (self.loaded, self.missing, self.misshapen, self.unusable, self.random)
        return sum(map(len, kinds))

    @property
    def share(self) -> float:
        """Loaded part of these, 0 to 1."""
        return len(self.loaded) / self.total if self.total else 1.0

    def __str__(self) -> str:
        text = f"{len(self.loaded)} of {self.total} tensors loaded ({self.share:.1%})"
        text += f" from {self.container!r}" if self.container else ""
        text += f" with prefix {self.prefix!r} stripped" if self.prefix else ""
        for what in (
            "unusable",
            "missing",
            "misshapen",
            "foreign",
            "random",
            "left_over",
            "adapted",
            "alike",
        ):
            listed: tuple[str, ...] = getattr(self, what)
            if listed:
                shown = ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
                text += f"; {len(listed)} {what.replace('_', ' ')}: {shown}"
        return text


@dataclass(frozen=True, eq=False)
class Model:
    """A model that can be asked what it can do, and bound to a task (`tasks.family.Task`). `models.open` makes it of a
    card.
    """

    name: str
    layers: tuple[str, ...]
    default_layer: str
    hash_weights: Callable[[], str]
    """Hash of everything that changes what the model says: its card and its weights. Reads the weights file."""
    unsupported_reason: Callable[[Any], str]
    """Why it cannot do a task; empty: it can. Reads no weights."""
    runs_in_steps: Callable[[Any], bool]
    """Whether what its network reads of a frame depends on no other frame."""
    bind: Callable[[Any, Sequence[str]], Callable[[Clip], Iterator[dict[str, Labels]]]]
    """Task, layers -> a tracker of all these layers, which share one pass wherever they read the same pixels."""
    share_passes: Callable[[Sequence[str]], tuple["Model", Callable[[], None]]]
    """Layers -> the model as several trackers share it that go through a clip frame by frame, and a function that
    forgets the passes of the last frame."""
    network_problem: Callable[[Any], str]
    """Path of its weights or None -> why its network cannot be built; empty: it can. Loads no weights."""
    load_report: Callable[[], LoadReport | None]
    """Loads the weights and says what became of them; None: there are none. Raises WeightsError where they do not
    fit."""
    has_maps: bool
    """Whether it gives feature maps, which a cache can keep and a probe can read."""
    lookahead: Callable[[Any], int] = lambda task: int(task.protocol.lookahead)
    """Frames beyond the one it labels that it reads under a task."""
    reads_windows: bool = False
    """Whether its network may be shown several frames at once: a clip encoder."""
    warning: Callable[[], str] = lambda: ""
    """What is suspicious of the maps that were computed since `share_passes`; empty: nothing."""
    batch: int = 1
    """Frames in one pass of its network; is known after `share_passes`."""
    loaded: LoadReport | None = None
    """What became of its weights; is known after `share_passes`, where its network was built."""
    caveat: str = ""
    """What every reader of its scores must know, such as parameters that stay random; empty: nothing."""

    @cached_property
    def fingerprint(self) -> str:
        """`hash_weights()`, once."""
        return self.hash_weights()


@dataclass(frozen=True)
class Score:
    """One number of a board, with what it takes to know where it came from."""

    model: str
    layer: str
    task: str
    benchmark: str
    protocol: str
    protocol_version: str
    detections: str
    metric: str
    value: float
    ci_low: float
    """Lower end of the 95 % interval over clips, in the unit of `value`; NaN where there are too few clips."""
    ci_high: float
    clips: int
    frames: int
    partial: bool
    headline: bool
    protocol_hash: str
    weights_hash: str
    data_hash: str
    note: str = ""
    """What casts doubt on the score: parameters that stay random, constant feature maps; empty: nothing."""


@dataclass(frozen=True)
class Cost:
    """What one frame of a task costs with one layer of a model. All but `seconds` is counted, and the same anywhere."""

    parameters: int
    """Of the backbone, or of the whole joint tracker."""
    channels: int
    """Of the layer's map; 0: a joint tracker, which has none."""
    stride: int
    """Pixels of the network's input per cell of the map; 0: as above."""
    shown: Mapping[str, float]
    """Shape of what the network is shown (`1 x 3 x 480 x 856`) -> passes a frame."""
    flops: float
    """Floating-point operations a frame of convolutions, matrix products and attention; a multiply-add is two."""
    memory: int
    """Bytes of the weights and of all maps that are alive at once in a pass; without a library's own buffers."""
    seconds: float
    """A frame, median: of the network's passes alone, or of the whole joint tracker. Measured."""
    device: str
    """That measured it."""
    threads: int
