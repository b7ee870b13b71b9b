from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from heads.mask import MaskOptions
from unibench import cards, models, rle
from unibench.datasets import davis
from unibench.datasets.clips import truncate
from unibench.errors import DataError
from unibench.models import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.trackers.mask import MaskTrackerOptions, one_hot, patch, read_out, track, whole_patches

HEIGHT, WIDTH = 48, 72


class Recorder:
    """A network of stride 8 (and 4) that sees the mean colour of each cell, and counts its passes."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, images: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        self.sizes.append(tuple(images.shape))
        return {
            layer: F.avg_pool2d(images, stride, ceil_mode=True)
            for layer, stride in STRIDES.items()
            if layer in layers
        }


STRIDES = {"coarse": 8, "fine": 4}


def colours(network: Recorder, offset: float = 0.0) -> FrozenModel:
    return FrozenModel(
        name="colours",
        prepare=lambda image: torch.from_numpy(image).permute(2, 0, 1) / 127.5 - 1,
        network=network,
        strides=STRIDES,
        offsets=dict.fromkeys(STRIDES, offset),
        device=torch.device("cpu"),
    )


def truth(t: int) -> list[np.ndarray]:
    """A red square that moves right, and a green one that leaves at the lower edge."""
    masks = [np.zeros((HEIGHT, WIDTH), dtype=bool) for _ in range(2)]
    masks[0][8:24, 8 + 8 * t : 24 + 8 * t] = True
    masks[1][32 + 8 * t : 48, 48:64] = True
    return masks


def image(t: int) -> np.ndarray:
    picture = np.full((HEIGHT, WIDTH, 3), (20, 30, 200), dtype=np.uint8)
    for mask, colour in zip(truth(t), [(230, 20, 20), (20, 230, 20)], strict=True):
        picture[mask] = colour
    return picture


def scene(length: int = 5, prompt: Labels | None = None, pulled: list[int] | None = None) -> Clip:
    given = Labels(ids=np.array([7, 3]), masks=tuple(map(rle.encode, truth(0)))) if prompt is None else prompt

    def frames() -> Iterator[Frame]:
        for t in range(length):
            if pulled is not None:
                pulled.append(t)
            yield Frame(t, image(t), given if t == 0 else Labels())

    return Clip("squares", HEIGHT, WIDTH, 25.0, length, frames)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


@pytest.mark.parametrize("layer", ["coarse", "fine"])
def test_masks_follow_their_objects_and_an_object_that_leaves_is_empty(layer):
    written = [labels[layer] for labels in track(scene(), colours(Recorder()), [layer], MaskTrackerOptions())]
    assert len(written) == 5
    for t, labels in enumerate(written):
        assert labels.ids.tolist() == [7, 3]
        assert [mask["size"] for mask in labels.masks] == [[HEIGHT, WIDTH]] * 2
        first, second = map(rle.decode, labels.masks)
        assert iou(first, truth(t)[0]) > 0.75
        assert not (first & second).any()
    assert rle.area(written[1].masks[1]) > 0
    assert rle.area(written[4].masks[1]) == 0


def test_frame_0_is_the_prompt():
    clip = scene()
    first = next(track(clip, colours(Recorder()), ["coarse"], MaskTrackerOptions()))["coarse"]
    assert first.masks == next(clip.frames()).prompt.masks
    assert first.ids.tolist() == [7, 3]


def test_layers_share_the_pass_and_do_not_touch_each_other():
    network = Recorder()
    both = list(track(scene(), colours(network), ["coarse", "fine"], MaskTrackerOptions()))
    assert network.sizes == [(1, 3, HEIGHT, WIDTH)] * 5
    for layer in STRIDES:
        alone = track(scene(), colours(Recorder()), [layer], MaskTrackerOptions())
        assert [labels[layer].masks for labels in alone] == [labels[layer].masks for labels in both]


def test_a_frame_is_pulled_only_after_the_one_before_was_written():
    pulled: list[int] = []
    for t, _ in enumerate(track(scene(pulled=pulled), colours(Recorder()), ["coarse"], MaskTrackerOptions())):
        assert pulled == list(range(t + 1))


def test_inference_mode_does_not_leak_out_of_the_tracker():
    for _ in track(scene(2), colours(Recorder()), ["coarse"], MaskTrackerOptions()):
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("changes", "offset", "size"),
    [
        ({}, 0.0, (48, 72)),
        ({"short_side": 30}, 0.0, (30, 45)),
        ({"short_side": 30}, 3.5, (32, 48)),  # 30 / 8 = 3.75 -> 4 patches; 72 * 32 / 48 = 48
        ({"short_side": 30, "rounding": "down"}, 3.5, (24, 32)),  # 72 * 24 / 48 = 36 -> 32
        ({"short_side": 33, "rounding": "up"}, 3.5, (40, 64)),  # 72 * 40 / 48 = 60 -> 64
        ({"short_side": 48, "rounding": "down", "long_multiple": 64}, 3.5, (48, 64)),
    ],
)
def test_frames_are_resized_to_whole_patches(changes, offset, size):
    network = Recorder()
    model = colours(network, offset)
    written = list(track(scene(2), model, ["coarse"], MaskTrackerOptions(**changes)))
    assert network.sizes == [(1, 3, *size)] * 2
    assert written[1]["coarse"].masks[0]["size"] == [HEIGHT, WIDTH]


def test_upright_frames_have_their_width_as_short_side():
    network = Recorder()
    turned = replace(
        scene(1),
        frames=lambda: iter(
            [Frame(0, image(0).swapaxes(0, 1), Labels(ids=np.array([1]), masks=(rle.encode(truth(0)[0].T),)))]
        ),
    )
    list(track(turned, colours(network), ["coarse"], MaskTrackerOptions(short_side=24)))
    assert network.sizes == [(1, 3, 36, 24)]


def test_patches_bind_only_networks_that_have_them():
    assert patch(colours(Recorder()), ["coarse", "fine"]) == 1
    assert patch(colours(Recorder(), 1.5), ["coarse", "fine"]) == 8
    assert [whole_patches(20, 8, name) for name in ("down", "nearest", "up")] == [16, 24, 24]
    assert whole_patches(3, 8, "down") == 8


def test_one_hot_puts_the_later_mask_on_top():
    masks = np.zeros((2, 4, 5), dtype=bool)
    masks[0, :3, :3] = masks[1, 2:, 2:] = True
    labels = one_hot(Labels(ids=np.array([1, 2]), masks=tuple(map(rle.encode, masks))), (4, 5), "clip")
    assert (labels.sum(0) == 1).all()
    assert torch.equal(labels[2].bool(), torch.from_numpy(masks[1]))
    assert labels[1].sum() == 8


def test_reading_out_is_bilinear_with_half_pixel_centres():
    ramp = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert read_out(ramp, (1, 6)).tolist() == [[0, 0, 0, 1, 1, 1]]
    assert read_out(ramp * torch.tensor([1, 2])[:, None, None], (1, 8)).tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]]


def test_normalised_masks_are_stretched_before_the_arg_max():
    faint = torch.tensor([[[0.9, 0.8, 0.6]], [[0.1, 0.2, 0.4]], [[0.0, 0.0, 0.0]]])
    assert read_out(faint, (1, 3)).tolist() == [[0, 0, 0]]
    assert read_out(faint, (1, 3), normalise=True).tolist() == [[0, 0, 1]]


def test_normalising_reaches_the_tracker():
    soft = MaskOptions(temperature=2.0, topk=300)  # so soft that small objects lose to the background
    plain, stretched = (
        list(
            track(
                scene(),
                colours(Recorder()),
                ["coarse"],
                MaskTrackerOptions(propagation=soft, normalise_masks=flag),
            )
        )
        for flag in (False, True)
    )
    assert [f["coarse"].masks for f in plain] != [f["coarse"].masks for f in stretched]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rounding": "off"}, r"mask tracker: rounding 'off'; there are: down, nearest, up"),
        ({"short_side": 0}, r"mask tracker: short_side 0, expected 1 or more pixels"),
        ({"long_multiple": -1}, r"mask tracker: long_multiple -1, expected 1 or more pixels"),
    ],
)
def test_bad_options_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskTrackerOptions(**arguments)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Labels(), r"clip 'squares': no mask in the prompt, expected one or more; check frame 0's truth"),
        (
            Labels(ids=np.array([1, 2]), masks=(rle.encode(truth(0)[0]),)),
            r"clip 'squares': 1 masks for 2 ids in the prompt; give each object one mask",
        ),
        (
            Labels(ids=np.array([1]), masks=(rle.encode(truth(0)[0][:20]),)),
            r"clip 'squares': a mask of the prompt has the size \(20, 72\), expected that of the frame \(48, 72\)",
        ),
    ],
    ids=["empty", "count", "size"],
)
def test_bad_prompts_are_refused(prompt, message):
    with pytest.raises(DataError, match=message):
        next(track(scene(prompt=prompt), colours(Recorder()), ["coarse"], MaskTrackerOptions()))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), [("dog", 0.8753451618), ("libby", 0.8152085375)])
def test_unitracks_code_of_2021_on_real_clips(shared_data, name, expected):
    model = models.load(cards.find("resnet50-imagenet-v1"), given=shared_data / "weights")
    clip, labels = truncate(*davis.load_2016(shared_data / "DAVIS2016", name), 20)
    overlaps = [
        rle.iou(written["layer3"].masks, true.masks)[0, 0]
        for written, true in zip(
            track(clip, model, ["layer3"], MaskTrackerOptions()), labels.labels, strict=True
        )
    ]
    assert np.mean(overlaps[1:]) == pytest.approx(expected, abs=0.005)
