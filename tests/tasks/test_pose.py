from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from heads.mask import MaskOptions
from unibench.errors import DataError
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.tasks.pose.tracker import PoseTrackerOptions, track

HEIGHT, WIDTH, SHIFT = 96, 128, 8
SMALL = PoseTrackerOptions(input_size=None, propagation=MaskOptions(topk=1))
JOINTS = np.array([[24.0, 24.0], [40.0, 56.0], [64.0, 32.0]])


class Recorder:
    """A network that sees the middle pixel of each cell, and remembers what it was shown."""

    def __init__(self, stride: int, offset: int) -> None:
        self.stride, self.offset = stride, offset
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        self.sizes.append(tuple(images.shape))
        cells = images[:, :, self.offset :: self.stride, self.offset :: self.stride]
        return {layer: cells * (1 + position) for position, layer in enumerate(layers)}


def pixels(network: Recorder) -> FrozenModel:
    return FrozenModel(
        name="pixels",
        prepare=lambda image: torch.from_numpy(image.copy()).permute(2, 0, 1) / 127.5 - 1,
        network=network,
        strides={"a": network.stride, "b": network.stride},
        offsets={"a": float(network.offset), "b": float(network.offset)},
        device=torch.device("cpu"),
    )


def canvas() -> np.ndarray:
    """Blocks of 8 pixels, each of its own colour, all of the same brightness."""
    noise = torch.randn(1, 3, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(0))
    colours = F.normalize(noise, dim=1).repeat_interleave(8, 2).repeat_interleave(8, 3)
    return ((colours[0].permute(1, 2, 0) + 1) * 127.5).round().to(torch.uint8).numpy()


def people(*joints: np.ndarray) -> Labels:
    keypoints = np.stack([np.column_stack([places, np.ones(len(places))]) for places in joints])
    return Labels(ids=np.arange(1, 1 + len(joints)), keypoints=keypoints)


def scene(prompt: Labels, length: int = 4, pulled: list[int] | None = None) -> Clip:
    picture = canvas()

    def frames() -> Iterator[Frame]:
        for t in range(length):
            if pulled is not None:
                pulled.append(t)
            yield Frame(t, np.roll(picture, SHIFT * t, axis=1), prompt if t == 0 else Labels())

    return Clip("blocks", HEIGHT, WIDTH, 25.0, length, frames)


@pytest.mark.parametrize("offset", [0, 4])
def test_joints_follow_the_picture(offset):
    prompt = people(JOINTS + offset, JOINTS[::-1] + offset)
    model = pixels(Recorder(8, offset))
    first, *others = [labels["a"] for labels in track(scene(prompt), model, ["a"], SMALL)]

    assert np.array_equal(first.keypoints, prompt.keypoints)
    for t, labels in enumerate(others, start=1):
        assert labels.ids.tolist() == [1, 2]
        moved = prompt.keypoints[..., :2] + (SHIFT * t, 0)
        # Three cells are averaged, so a joint comes back to within a fraction of a cell of 8 pixels.
        assert np.abs(labels.keypoints[..., :2] - moved).max() <= 2
        assert (labels.keypoints[..., 2] == 1).all()


def test_frames_are_squeezed_to_the_input_size_and_joints_come_back_in_pixels():
    network = Recorder(8, 0)
    squeezed = PoseTrackerOptions(input_size=(HEIGHT * 2, WIDTH * 3), propagation=MaskOptions(topk=1))
    *_, last = [labels["a"] for labels in track(scene(people(JOINTS)), pixels(network), ["a"], squeezed)]
    assert network.sizes == [(1, 3, 192, 384)] * 4
    assert np.abs(last.keypoints[0, :, :2] - JOINTS - (3 * SHIFT, 0)).max() <= 4


@pytest.mark.parametrize(
    ("stride", "offset", "size"), [(8, 0, (320, 320)), (16, 7, (320, 320)), (14, 6, (322, 322))]
)
def test_the_default_input_is_320_pixels_square_in_whole_patches(stride, offset, size):
    network = Recorder(stride, offset)
    next(track(scene(people(JOINTS)), pixels(network), ["a"], PoseTrackerOptions()))
    assert network.sizes == [(1, 3, *size)]


def test_a_joint_that_is_not_given_or_lost_is_marked():
    prompt = people(np.vstack([JOINTS, [[120.0, 40.0]], [[8.0, 8.0]]]))
    prompt.keypoints[0, 4, 2] = 0  # not given
    # Cells see only one cell around, so what leaves at the right edge is lost.
    near = PoseTrackerOptions(None, MaskOptions(radius=1.5, topk=1, context=1, keep_first=False))
    last = [labels["a"] for labels in track(scene(prompt, 6), pixels(Recorder(8, 0)), ["a"], near)][-1]
    assert last.keypoints[0, 3].tolist() == [-1, -1, 0]
    assert last.keypoints[0, 4].tolist() == [-1, -1, 0]
    assert (last.keypoints[0, :3, 2] > 0).all()


def test_layers_share_the_pass():
    network = Recorder(8, 0)
    both = list(track(scene(people(JOINTS)), pixels(network), ["a", "b"], SMALL))
    assert len(network.sizes) == 4
    for labels in both:  # the second layer is the first one scaled
        np.testing.assert_allclose(labels["a"].keypoints, labels["b"].keypoints, atol=1e-4)


def test_a_frame_is_pulled_only_after_the_one_before_was_written():
    pulled: list[int] = []
    for t, _ in enumerate(track(scene(people(JOINTS), pulled=pulled), pixels(Recorder(8, 0)), ["a"], SMALL)):
        assert pulled == list(range(t + 1))


def test_bad_options_are_refused():
    with pytest.raises(
        ValueError, match=r"pose tracker: input_size \(320, 0\), expected 1 or more pixels a side"
    ):
        PoseTrackerOptions((320, 0))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            Labels(),
            r"clip 'blocks': no keypoints in the prompt, expected one pose or more; check frame 0's truth",
        ),
        (
            replace(people(JOINTS), ids=np.array([1, 2])),
            r"clip 'blocks': 1 poses for 2 ids in the prompt; give each person one pose",
        ),
    ],
    ids=["empty", "count"],
)
def test_bad_prompts_are_refused(prompt, message):
    with pytest.raises(DataError, match=message):
        next(track(scene(prompt), pixels(Recorder(8, 0)), ["a"], SMALL))
