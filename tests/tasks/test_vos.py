from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from heads.affinity import Source, Window, reference
from heads.mask import MaskOptions
from unibench.datasets import davis
from unibench.datasets.clips import truncate
from unibench.errors import DataError
from unibench.geometry import masks as rle
from unibench.models import cards, frozen
from unibench.models.frozen import FrozenModel
from unibench.records import Clip, Frame, Labels
from unibench.tasks import vos
from unibench.tasks.family import make_options
from unibench.tasks.vos.tracker import (
    MODES,
    MaskTrackerOptions,
    one_hot,
    patch,
    read_out,
    seen_size,
    track,
    whole_patches,
)

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
        ({"short_side": 30, "long_side": 60}, 0.0, (30, 60)),
        ({"short_side": 30, "long_side": 60}, 3.5, (32, 64)),  # 60 / 8 = 7.5 -> 8 patches
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
    assert patch(colours(Recorder())) == 1
    assert patch(colours(Recorder(), 1.5)) == 8
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


def test_nearest_takes_the_cell_under_the_upper_left_corner_of_a_pixel():
    ramp = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert read_out(ramp, (1, 5), "nearest").tolist() == [[0, 0, 0, 1, 1]]
    assert read_out(ramp, (1, 5), "nearest-exact").tolist() == [[0, 0, 1, 1, 1]]  # centre 2.5: cell 1


def test_a_prompt_is_reduced_as_pillow_does_it_nearest():
    index = np.random.default_rng(3).integers(0, 3, (48, 85))
    masks = tuple(rle.encode(index == value) for value in (1, 2))
    whole = one_hot(Labels(ids=np.array([1, 2]), masks=masks), (48, 85), "clip")
    small = Image.fromarray(index.astype(np.uint8)).resize((10, 6), Image.Resampling.NEAREST)
    cells = F.interpolate(whole[None], size=(6, 10), **MODES["nearest-exact"])[0]
    np.testing.assert_array_equal(cells.argmax(0), np.asarray(small))


def test_frames_are_resized_as_the_protocol_says():
    seen = []
    network = colours(Recorder())
    model = replace(network, prepare=lambda picture: seen.append(picture) or network.prepare(picture))
    for mode in ("bilinear", "bicubic"):
        list(track(scene(1), model, ["coarse"], MaskTrackerOptions(short_side=30, image_mode=mode)))
    picture = Image.fromarray(image(0))
    np.testing.assert_array_equal(seen[0], picture.resize((45, 30), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(seen[1], picture.resize((45, 30), Image.Resampling.BICUBIC))
    assert (seen[0] != seen[1]).any()


@dataclass(frozen=True)
class Published:
    """A protocol as its authors' code has it."""

    temperature: float
    k: int
    window: Window
    context: int
    padded: bool
    """CRW: the clip begins with copies of frame 0, which is a source of its own, seen from everywhere. Otherwise DINO:
    frame 0 and a queue of the frames that came after it, all within the window."""
    nearest_prompt: bool = False
    nearest_masks: bool = False
    stretched: bool = False


DINOV3 = Published(0.2, 5, Window(12, "disc"), 7, False, True, True, True)
PUBLISHED = {
    "unitrack": Published(0.05, 10, Window(12, "circle"), 5, True),
    "crw": Published(0.05, 10, Window(12, "circle"), 20, True),
    "dino": Published(0.1, 5, Window(12, "square"), 7, False, True, False, True),
    "dinov3-s": DINOV3,
    "dinov3-m": DINOV3,
    "dinov3-l": DINOV3,
    "cropmae": Published(0.7, 7, Window(20, "circle"), 20, True),
}


def sources_of(published: Published, features: list, labels: list) -> list[Source]:
    """Those of the next frame."""
    if published.padded:
        order = range(len(labels) - published.context, len(labels))
        recent = [Source(features[max(0, t)], labels[max(0, t)], published.window) for t in order]
        return [Source(features[0], labels[0]), *recent]
    order = [0, *range(1, len(labels))[-published.context :]]
    return [Source(features[t], labels[t], published.window) for t in order]


def noise(length: int = 10) -> list[np.ndarray]:
    """Frames in which everything looks a little like everything else: any other knob gives other masks."""
    rng = np.random.default_rng(11)
    still = rng.integers(0, 256, (HEIGHT, WIDTH, 3))
    return [((still + rng.integers(0, 256, still.shape)) // 2).astype(np.uint8) for _ in range(length)]


def odd_masks() -> list[np.ndarray]:
    """Two with ragged edges, which no cells fit."""
    here = np.random.default_rng(12).random((HEIGHT, WIDTH)) < 0.7
    return [mask & here for mask in truth(0)]


def published_masks(published: Published, size: tuple[int, int], mode: Image.Resampling) -> list[np.ndarray]:
    """Labels of all pixels of the noise, by the dense reference."""
    frames = [np.array(Image.fromarray(picture).resize(size[::-1], mode)) for picture in noise()]
    model = colours(Recorder())
    maps = [model.network(model.prepare(frame)[None], ["fine"])["fine"][0] for frame in frames]
    features = [F.normalize(one, dim=0) for one in maps]
    first, second = map(torch.from_numpy, odd_masks())
    index = first + 2 * second
    whole = F.one_hot(index.long(), 3).permute(2, 0, 1).float()[None]
    reduction = "nearest-exact" if published.nearest_prompt else "bilinear"
    labels = [F.interpolate(whole, size=features[0].shape[1:], mode=reduction)[0]]
    written = []
    for frame in features[1:]:
        sources = sources_of(published, features, labels)
        labels.append(reference(frame, sources, published.k, published.temperature))
        enlargement = "nearest" if published.nearest_masks else "bilinear"
        soft = F.interpolate(labels[-1][None], size=(HEIGHT, WIDTH), mode=enlargement)[0]
        if published.stretched:
            soft = soft - soft.amin((1, 2), keepdim=True)
            soft = torch.nan_to_num(soft / soft.amax((1, 2), keepdim=True))
        written.append(soft.argmax(0).numpy())
    return written


@pytest.mark.parametrize("name", [name for name, one in vos.FAMILY.presets.items() if "frozen" in one.kinds])
def test_every_preset_is_what_its_authors_code_does(name):
    """Frames of 48 x 72 pixels are seen at 72 x 108 or, by CropMAE, at 72 x 132: cells of 4 pixels."""
    options = make_options(MaskTrackerOptions, vos.FAMILY.presets[name].knobs)
    size = (72, 132) if name == "cropmae" else (72, 108)
    small = replace(options, short_side=size[0], long_side=size[1], long_multiple=None)
    given = Labels(ids=np.array([1, 2]), masks=tuple(map(rle.encode, odd_masks())))
    frames = [Frame(t, picture, given if t == 0 else Labels()) for t, picture in enumerate(noise())]
    clip = replace(scene(len(frames)), frames=lambda: iter(frames))
    mode = Image.Resampling.BICUBIC if name.startswith("dinov3") else Image.Resampling.BILINEAR
    expected = published_masks(PUBLISHED[name], size, mode)
    written = [labels["fine"].masks for labels in track(clip, colours(Recorder()), ["fine"], small)][1:]
    for masks, index in zip(written, expected, strict=True):
        for value, mask in enumerate(masks, start=1):
            np.testing.assert_array_equal(rle.decode(mask), index == value)


@pytest.mark.parametrize(
    ("name", "frame", "patch_side", "size"),
    [
        ("unitrack", (480, 854), None, (480, 854)),
        ("crw", (480, 854), 14, (476, 840)),  # 854 * 476 / 480 = 846.9 -> 60 patches
        ("dino", (480, 854), 16, (480, 832)),
        ("dino", (854, 480), 8, (832, 480)),
        ("dinov3-s", (480, 854), 16, (480, 864)),
        ("dinov3-m", (480, 854), 16, (960, 1712)),
        ("dinov3-l", (480, 854), 16, (1440, 2576)),
        ("dinov3-l", (720, 1280), 14, (1442, 2576)),
        ("cropmae", (480, 854), 16, (480, 880)),
    ],
)
def test_what_the_network_sees_under_each_preset(name, frame, patch_side, size):
    options = make_options(MaskTrackerOptions, vos.FAMILY.presets[name].knobs)
    model = replace(
        colours(Recorder(), 0.0 if patch_side is None else 1.0),
        strides={"only": patch_side or 8},
        offsets={"only": 0.0 if patch_side is None else 1.0},
    )
    assert seen_size(*frame, model, options) == size


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
        ({"image_mode": "nearest"}, r"mask tracker: image_mode 'nearest'; there are: bilinear, bicubic"),
        (
            {"prompt_mode": "soft"},
            r"mask tracker: prompt_mode 'soft'; there are: bilinear, nearest, nearest-exact",
        ),
        (
            {"mask_mode": "soft"},
            r"mask tracker: mask_mode 'soft'; there are: bilinear, nearest, nearest-exact",
        ),
        ({"long_side": 0}, r"mask tracker: long_side 0, expected 1 or more pixels"),
        ({"long_multiple": -1}, r"mask tracker: long_multiple -1, expected 1 or more pixels"),
    ],
)
def test_bad_options_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskTrackerOptions(**arguments)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Labels(), r"clip 'squares': no mask in any prompt, expected one or more; check its truth"),
        (
            Labels(ids=np.array([1])),
            r"clip 'squares': no mask in the prompt, expected one or more; check its truth",
        ),
        (
            Labels(ids=np.array([1, 2]), masks=(rle.encode(truth(0)[0]),)),
            r"clip 'squares': 1 masks for 2 ids in the prompt; give each object one mask",
        ),
        (
            Labels(ids=np.array([1]), masks=(rle.encode(truth(0)[0][:20]),)),
            r"clip 'squares': a mask of the prompt has the size \(20, 72\), expected that of the frame \(48, 72\)",
        ),
    ],
    ids=["empty", "ids-only", "count", "size"],
)
def test_bad_prompts_are_refused(prompt, message):
    with pytest.raises(DataError, match=message):
        list(track(scene(prompt=prompt), colours(Recorder()), ["coarse"], MaskTrackerOptions()))


def late_scene(first: int, second: int, length: int = 6) -> Clip:
    """The red square is given in one frame, the green one in another."""
    given = {
        t: Labels(ids=np.array([name]), masks=(rle.encode(truth(t)[place]),))
        for place, (t, name) in enumerate([(first, 7), (second, 3)])
    }
    frames = [Frame(t, image(t), given.get(t, Labels())) for t in range(length)]
    return replace(scene(length), frames=lambda: iter(frames))


@pytest.mark.parametrize("name", ["unitrack", "dino"])
def test_objects_are_followed_from_the_frame_in_which_they_are_given(name):
    options = replace(make_options(MaskTrackerOptions, vos.FAMILY.presets[name].knobs), short_side=None)
    network = Recorder()
    written = [one["fine"] for one in track(late_scene(1, 2), colours(network), ["fine"], options)]
    assert [one.ids.tolist() for one in written] == [[], [7], [7, 3], [7, 3], [7, 3], [7, 3]]
    np.testing.assert_array_equal(rle.decode(written[1].masks[0]), truth(1)[0])
    np.testing.assert_array_equal(rle.decode(written[2].masks[1]), truth(2)[1])
    for t in (2, 3):
        assert iou(rle.decode(written[t].masks[0]), truth(t)[0]) > 0.75
    assert not any((rle.decode(one.masks[0]) & rle.decode(one.masks[1])).any() for one in written[2:])


def test_an_object_given_later_does_not_change_those_before():
    alone = late_scene(0, 99)
    both = late_scene(0, 2)
    masks = [
        [one["fine"].masks[0] for one in track(clip, colours(Recorder()), ["fine"], MaskTrackerOptions())][:2]
        for clip in (alone, both)
    ]
    assert masks[0] == masks[1]


def test_a_mask_given_later_lies_on_top():
    given = {0: Labels(ids=np.array([1]), masks=(rle.encode(truth(0)[0]),)),
             1: Labels(ids=np.array([2]), masks=(rle.encode(truth(1)[0]),))}  # fmt: skip
    clip = replace(scene(2), frames=lambda: iter(Frame(t, image(t), given[t]) for t in range(2)))
    _, last = track(clip, colours(Recorder()), ["fine"], MaskTrackerOptions())
    assert not (rle.decode(last["fine"].masks[0]) & truth(1)[0]).any()
    assert last["fine"].masks[1] == given[1].masks[0]


def test_an_object_is_given_once():
    with pytest.raises(
        DataError, match="clip 'squares': frame 2 gives an object again, expected new ids; check its"
    ):
        list(
            track(
                replace(
                    scene(3),
                    frames=lambda: iter(
                        Frame(t, image(t), next(scene().frames()).prompt if t != 1 else Labels())
                        for t in range(3)
                    ),
                ),
                colours(Recorder()),
                ["coarse"],
                MaskTrackerOptions(),
            )
        )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), [("dog", 0.8753451618), ("libby", 0.8152085375)])
def test_unitracks_code_of_2021_on_real_clips(shared_data, name, expected):
    model = frozen.load(cards.find("resnet50-imagenet-v1"), weights_path=shared_data / "weights")
    clip, labels = truncate(*davis.load_2016(shared_data / "DAVIS2016", name), 20)
    overlaps = [
        rle.iou(written["layer3"].masks, true.masks)[0, 0]
        for written, true in zip(
            track(clip, model, ["layer3"], MaskTrackerOptions()), labels.labels, strict=True
        )
    ]
    assert np.mean(overlaps[1:]) == pytest.approx(expected, abs=0.005)
