import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from unibench.datasets import otb
from unibench.datasets.clips import truncate
from unibench.errors import CardError, DataError, UnknownNameError
from unibench.metrics import sot
from unibench.models import cards, frozen
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.tasks import registry
from unibench.tasks import sot as tasks
from unibench.tasks.family import make_options
from unibench.tasks.sot.tracker import BoxTrackerOptions, crop, track, window_cells

HEIGHT, WIDTH = 120, 160
SIDE = 33  # of the square that moves
DCF = BoxTrackerOptions(crop_size=264)
XCORR = replace(DCF, head="xcorr")
CODED = replace(XCORR, head_options={"decode": "as-coded"})
STRIDES = {"layer": 8, "fine": 4}


class Recorder:
    """A network that sees the mean colour of each cell, and notes what it is given."""

    def __init__(self) -> None:
        self.passes: list[tuple[str, tuple[int, ...]]] = []

    def __call__(self, images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        self.passes += [(layer, tuple(images.shape)) for layer in layers]
        return {layer: F.avg_pool2d(images, STRIDES[layer], ceil_mode=True) for layer in layers}


def colours(network: Recorder | None = None) -> FrozenModel:
    return FrozenModel(
        name="colours",
        prepare=lambda image: torch.from_numpy(image.copy()).permute(2, 0, 1) / 127.5 - 1,
        network=network or Recorder(),
        strides=STRIDES,
        offsets=dict.fromkeys(STRIDES, 0.0),
        device=torch.device("cpu"),
    )


def texture(side: int) -> np.ndarray:
    coarse = np.random.default_rng(1).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def scene(corners: Sequence[tuple[int, int]], sides: Sequence[int] | None = None) -> tuple[Clip, np.ndarray]:
    """A textured square over a noisy background, and its boxes; corners are (x, y)."""
    sides = sides or [SIDE] * len(corners)
    background = np.random.default_rng(0).normal(128, 20, (HEIGHT, WIDTH, 3)).clip(0, 255).astype(np.uint8)
    boxes = np.array([(x, y, x + side, y + side) for (x, y), side in zip(corners, sides, strict=True)], float)

    def frames() -> Iterator[Frame]:
        for t, ((x, y), side) in enumerate(zip(corners, sides, strict=True)):
            image = background.copy()
            image[y : y + side, x : x + side] = texture(side)
            yield Frame(t, image, prompt(boxes[0]) if t == 0 else Labels())

    return Clip("square", HEIGHT, WIDTH, 25.0, len(boxes), frames), boxes


def prompt(*boxes: np.ndarray) -> Labels:
    return Labels(ids=np.arange(1, len(boxes) + 1), boxes=np.stack(boxes))


def follow(clip: Clip, options: BoxTrackerOptions, layer: str = "layer") -> np.ndarray:
    return np.concatenate([labels[layer].boxes for labels in track(clip, colours(), [layer], options)])


def centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


MOVES = [(20 + 6 * t, 60 - 3 * t) for t in range(12)]


@pytest.mark.parametrize("options", [DCF, XCORR], ids=["dcf", "xcorr"])
@pytest.mark.parametrize("layer", ["layer", "fine"])
def test_the_target_is_followed(options: BoxTrackerOptions, layer: str) -> None:
    clip, boxes = scene(MOVES)
    found = follow(clip, options, layer)
    np.testing.assert_array_equal(found[0], boxes[0])
    assert np.abs(centres(found) - centres(boxes)).max() < 5
    assert np.abs(centres(found)[-1] - centres(found)[0]).max() > 55


def test_growth_is_followed() -> None:
    sides = [round(SIDE * 1.0275**t) for t in range(14)]
    clip, boxes = scene([(60 - side // 2, 60 - side // 2) for side in sides], sides)
    found = follow(clip, DCF)
    assert found[-1, 2] - found[-1, 0] == pytest.approx(boxes[-1, 2] - boxes[-1, 0], rel=0.15)


def test_as_coded_drifts_from_a_still_target_and_corrected_does_not() -> None:
    clip, _ = scene([(60, 50)] * 2)
    window = SIDE * 4.5
    still = centres(follow(clip, replace(XCORR, scales=1, crop_size=520)))
    assert np.abs(still[1] - still[0]).max() < 0.1 * window / 65
    coded = centres(follow(clip, replace(CODED, scales=1, crop_size=520)))
    np.testing.assert_allclose(coded[1] - coded[0], -window / 52)


def test_frame_0_is_the_prompt_and_every_frame_has_its_id() -> None:
    clip, boxes = scene(MOVES[:3])

    def frames() -> Iterator[Frame]:
        for frame in clip.frames():
            yield replace(
                frame, prompt=Labels(ids=np.array([7]), boxes=boxes[:1]) if frame.index == 0 else Labels()
            )

    labels = [one["layer"] for one in track(replace(clip, frames=frames), colours(), ["layer"], DCF)]
    assert len(labels) == 3
    assert all(one.ids.tolist() == [7] for one in labels)
    np.testing.assert_array_equal(labels[0].boxes, boxes[:1])


def test_frames_are_pulled_one_by_one() -> None:
    clip, _ = scene(MOVES)
    pulled = []

    def frames() -> Iterator[Frame]:
        for frame in clip.frames():
            pulled.append(frame.index)
            yield frame

    tracker = track(replace(clip, frames=frames), colours(), ["layer"], XCORR)
    for index, _ in enumerate(islice(tracker, 4)):
        assert pulled == list(range(index + 1))


def test_layers_are_tracked_independently() -> None:
    clip, _ = scene(MOVES[:5])
    both = list(track(clip, colours(), ["fine", "layer"], DCF))
    for layer in STRIDES:
        np.testing.assert_array_equal(
            np.concatenate([one[layer].boxes for one in both]), follow(clip, DCF, layer)
        )


def test_scales_share_a_pass_and_only_the_filter_looks_again() -> None:
    clip, _ = scene(MOVES[:2])
    one, three = (1, 3, 264, 264), (3, 3, 264, 264)
    network = Recorder()
    list(track(clip, colours(network), ["layer"], DCF))
    assert network.passes == [("layer", one), ("layer", three), ("layer", one)]
    network = Recorder()
    list(track(clip, colours(network), ["layer"], XCORR))
    assert network.passes == [("layer", one), ("layer", three)]


def test_sizes_stay_within_limits() -> None:
    clip, _ = scene([(60, 60), (55, 55), (50, 50)], [SIDE, SIDE + 10, SIDE + 20])
    free, capped, forced = (
        follow(clip, replace(DCF, **limits)) for limits in ({}, {"max_scale": 1.0}, {"min_scale": 1.5})
    )
    sizes = [found[1:, 2:] - found[1:, :2] for found in (free, capped, forced)]
    assert (sizes[0] > SIDE + 0.5).all()
    np.testing.assert_allclose(sizes[1], SIDE)
    np.testing.assert_allclose(sizes[2][0], 1.5 * SIDE)
    assert (sizes[2] >= 1.5 * SIDE).all()


def test_the_frames_own_width_and_height_are_limits() -> None:
    """Width is held against width: a box wider than the frame is high must not be narrowed."""
    clip, _ = scene([(60, 50)] * 2)

    def frames() -> Iterator[Frame]:
        for frame in clip.frames():
            wide = prompt(np.array([5.0, 40, 150, 90])) if frame.index == 0 else Labels()
            yield replace(frame, prompt=wide)

    found = follow(replace(clip, frames=frames), DCF)
    assert found[1, 2] - found[1, 0] >= 145 / 1.03
    low = follow(replace(clip, frames=frames), replace(DCF, min_scale=10.0))
    assert (low[1, 2:] - low[1, :2]).tolist() == pytest.approx([WIDTH, HEIGHT])


def test_small_targets_keep_a_side_of_some_pixels() -> None:
    clip, _ = scene([(60, 50)] * 2)

    def frames() -> Iterator[Frame]:
        for frame in clip.frames():
            yield replace(
                frame, prompt=prompt(np.array([70.0, 60, 72, 63])) if frame.index == 0 else Labels()
            )

    found = follow(replace(clip, frames=frames), DCF)
    assert ((found[1, 2:] - found[1, :2]) >= 4 - 1e-9).all()


@pytest.mark.parametrize(("stride", "cells"), [(8, 65), (16, 33), (14, 37), (4, 131), (32, 17)])
def test_windows_have_an_odd_number_of_cells(stride: int, cells: int) -> None:
    assert window_cells(520, stride) == cells


def test_a_crop_of_the_whole_frame_is_the_frame() -> None:
    image = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0))
    whole = crop(image, np.array([[0.0, 0, 19, 19]]), 20)
    torch.testing.assert_close(whole[0], image, rtol=0, atol=1e-5)


def test_a_crop_samples_its_window_from_edge_to_edge() -> None:
    rows, columns = torch.meshgrid(torch.arange(30.0), torch.arange(50.0), indexing="ij")
    ramp = torch.stack([columns, rows, torch.ones_like(rows)])
    cut = crop(ramp, np.array([[10.5, 4.0, 30.5, 14.0], [0.0, 0, 49, 29]]), 11)
    torch.testing.assert_close(cut[0, 0, 3], torch.arange(10.5, 31, 2))
    torch.testing.assert_close(cut[0, 1, :, 3], torch.arange(4.0, 15))
    assert cut[1, :2, -1, -1].tolist() == pytest.approx([49, 29], abs=1e-4)


def test_beyond_the_frame_is_the_mean_colour() -> None:
    cut = crop(torch.ones(3, 10, 10), np.array([[-5.0, 0, 5, 9]]), 11)[0, 0]
    assert cut[5].tolist() == pytest.approx([0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1], abs=1e-5)


def test_options_are_made_of_a_protocols_knobs() -> None:
    assert make_options(BoxTrackerOptions, asdict(CODED)) == CODED
    json.dumps(asdict(CODED))


def test_impossible_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"^no head of the box tracker 'dfc'; did you mean 'dcf'\?"):
        BoxTrackerOptions(head="dfc")
    with pytest.raises(ValueError, match=r"^box tracker: scales 2, expected an odd number$"):
        BoxTrackerOptions(scales=2)
    with pytest.raises(ValueError, match=r"^box tracker: padding 0.0, expected more than 0$"):
        BoxTrackerOptions(padding=0.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Labels(), "clip 'square': prompt of 0 ids and 0 boxes, expected one each"),
        (prompt(np.zeros(4), np.zeros(4)), "clip 'square': prompt of 2 ids and 2 boxes, expected one each"),
        (
            prompt(np.array([5.0, 5, 5, 9])),
            r"prompted box \[5.0, 5.0, 5.0, 9.0\], expected x1 < x2 and y1 < y2",
        ),
        (prompt(np.array([5.0, 5, np.nan, 9])), r"prompted box \[5.0, 5.0, nan, 9.0\], expected x1 < x2"),
    ],
)
def test_prompts_without_one_box_are_refused(given: Labels, message: str) -> None:
    clip, _ = scene(MOVES[:1])
    blind = replace(clip, frames=lambda: (replace(frame, prompt=given) for frame in clip.frames()))
    with pytest.raises(DataError, match=message):
        next(track(blind, colours(), ["layer"], DCF))


def test_a_wrong_stride_is_told() -> None:
    clip, _ = scene(MOVES[:1])
    model = replace(colours(), strides={"layer": 16})
    message = (
        r"^model 'colours', layer 'layer': 34x34 cells for 272 pixels, expected 17x17; correct the layer's"
    )
    with pytest.raises(CardError, match=message):
        next(track(clip, model, ["layer"], DCF))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("case", "preset"),
    [
        ("sot-dcf/Crossing/25", "as-coded"),
        ("sot-dcf/David/25", "as-coded"),
        ("sot-xcorr-as-coded/Crossing/25", "xcorr-as-coded"),
    ],
)
def test_the_2021_codes_scores(case: str, preset: str, shared_data, gold) -> None:
    expected = json.loads((gold / "unitrack_real_clips/expected.json").read_text())[case]["AUC"]
    _, name, frames = case.split("/")
    options = make_options(BoxTrackerOptions, tasks.FAMILY.presets[preset].knobs)
    model = frozen.load(cards.find("resnet50-imagenet-v1"), weights_path=shared_data / "weights")
    clip, truth = truncate(*otb.load(shared_data / "OTB", name), int(frames))
    prediction = [labels["layer3"] for labels in track(clip, model, ["layer3"], options)]
    assert sot.pool([sot.tally(truth, prediction)])["AUC"] == pytest.approx(expected, abs=0.002)  # 1 of 525


def test_the_aim_moves_the_windows_and_not_the_boxes() -> None:
    clip, boxes = scene([(60, 60), (60, 60), (60, 60)], [SIDE, SIDE, SIDE])
    np.testing.assert_allclose(follow(clip, replace(DCF, aim=-1.0)), boxes, atol=1e-9)


@pytest.mark.parametrize(
    ("task", "metric"), [("sot/got10k", "AO"), ("sot/otb", "AUC"), ("mot/mot17", "IDF1")]
)
def test_models_are_ranked_by_the_metric_of_the_benchmark_s_authors(task, metric):
    assert registry.find(task).headline == metric
