from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from heads.affinity import Source, reference
from heads.mask import MaskOptions, MaskState, begin, give, propagate, step

UNITRACK = MaskOptions()
DINO = MaskOptions(0.1, 5, 3.0, "square", 4, pad_start=False, window_first=True)


def frames(count: int, h: int = 9, w: int = 11, seed: int = 0) -> list[torch.Tensor]:
    """Frames that change slowly, so that previous frames matter."""
    generator = torch.Generator().manual_seed(seed)
    walk = torch.randn(count, 8, h, w, generator=generator).mul(0.5).cumsum(0)
    return list(3 * walk)


def partition(h: int = 9, w: int = 11) -> torch.Tensor:
    return F.one_hot(torch.arange(h * w).view(h, w) // 25, 4).permute(2, 0, 1).float()


def by_the_book(features: list[torch.Tensor], labels: torch.Tensor, plan) -> list[torch.Tensor]:
    """Propagate densely; plan(t) lists the frames that frame t reads, each as (index, under the radius)."""
    options, sources_of = plan
    done = [labels]
    for t in range(1, len(features)):
        sources = [
            Source(F.normalize(features[i], dim=0), done[i], options.limit() if under else None)
            for i, under in sources_of(t)
        ]
        done.append(reference(F.normalize(features[t], dim=0), sources, options.topk, options.temperature))
    return done


def padded(t: int) -> list[tuple[int, bool]]:
    return [(0, False), *[(max(0, t - back), True) for back in range(1, 6)]]


def queue(t: int) -> list[tuple[int, bool]]:
    return [(0, True), *[(i, True) for i in range(max(1, t - 4), t)]]


def only_previous(t: int) -> list[tuple[int, bool]]:
    return [(i, True) for i in range(max(0, t - 2), t)]


@pytest.mark.parametrize(
    ("options", "sources_of"),
    [
        (UNITRACK, padded),
        (MaskOptions(radius=3.0), padded),
        (MaskOptions(radius=None), padded),
        (MaskOptions(radius=4.0, window="square", topk=3), padded),
        (DINO, queue),
        (MaskOptions(radius=3.0, context=2, keep_first=False, pad_start=False), only_previous),
        (MaskOptions(context=0), lambda t: [(0, False)]),
        (MaskOptions(context=0, radius=3.0, window_first=True), lambda t: [(0, True)]),
    ],
    ids=["default", "radius", "global", "square", "dino", "no-first", "first-only", "first-only-windowed"],
)
def test_propagation_reads_the_frames_that_the_protocol_lists(options, sources_of):
    clip = frames(9)
    expected = by_the_book(clip, partition(), (options, sources_of))
    got = list(propagate(clip, partition(), options))
    torch.testing.assert_close(torch.stack(got), torch.stack(expected), rtol=0, atol=1e-5)


def late_reads(kept: bool, t: int) -> list[tuple[int, bool]]:
    """As `padded` or `queue`, of a clip in which frame 3 is given more labels."""
    first = [(i, not kept) for i in (0, 3) if i < t]
    if kept:
        return [*first, *[(max(0, t - back), True) for back in range(1, 6)]]
    return [*first, *[(i, True) for i in range(1, t) if i != 3][-4:]]


@pytest.mark.parametrize(("options", "kept"), [(UNITRACK, True), (DINO, False)], ids=["unitrack", "dino"])
def test_labels_given_later_are_0_before_and_cover_what_was_propagated(options, kept):
    clip = frames(10)
    share = torch.rand(1, 9, 11, generator=torch.Generator().manual_seed(5))
    dense = [F.pad(partition(), (0, 0, 0, 0, 0, 1))]
    state = begin(clip[0], partition(), options)
    for t in range(1, 10):
        state = step(state, clip[t], options)
        sources = [
            Source(F.normalize(clip[i], dim=0), dense[i], options.limit() if under else None)
            for i, under in late_reads(kept, t)
        ]
        dense.append(reference(F.normalize(clip[t], dim=0), sources, options.topk, options.temperature))
        if t == 3:
            state = give(state, share, options)
            dense[t] = torch.cat([dense[t][:4] * (1 - share), share])
        torch.testing.assert_close(state.labels, dense[t][: len(state.labels)], rtol=0, atol=1e-5)
        torch.testing.assert_close(state.labels.sum(0), torch.ones(9, 11))
        assert len(state.recent) <= options.context
    assert len(state.labels) == 5
    assert state.labels[4].max() > 0.1


def test_labels_given_later_without_a_kept_frame_are_read_from_previous_frames():
    options = MaskOptions(radius=3.0, context=2, keep_first=False, pad_start=False)
    clip = frames(4)
    state = give(step(begin(clip[0], partition(), options), clip[1], options), torch.ones(1, 9, 11), options)
    assert state.kept == ()
    after = step(state, clip[2], options)
    assert 0 < after.labels[4].min() < 1  # frame 0, where it was 0, is read from too
    torch.testing.assert_close(step(after, clip[3], options).labels.sum(0), torch.ones(9, 11))


def test_unitracks_code_of_2021(gold):
    case = {
        name: torch.from_numpy(array)
        for name, array in np.load(gold / "unitrack_primitives/mask_16x20.npz").items()
    }
    got = torch.stack(list(propagate(case["features"], case["labels0"])))
    assert (got - case["predictions"]).abs().max() <= 1e-5


def test_labels_of_a_partition_sum_to_one_and_frame_0_is_given_back():
    first, *others = propagate(frames(4), partition())
    assert torch.equal(first, partition())
    for labels in others:
        torch.testing.assert_close(labels.sum(0), torch.ones(9, 11))


def test_a_still_clip_keeps_its_labels():
    still = [torch.randn(32, 9, 11, generator=torch.Generator().manual_seed(3))] * 8
    *_, last = propagate(still, partition())
    assert torch.equal(last.argmax(0), partition().argmax(0))


def test_labels_follow_a_moving_pattern():
    canvas = torch.randn(32, 20, 30, generator=torch.Generator().manual_seed(4))
    labels = torch.zeros(2, 20, 30)
    labels[1, 5:12, 6:14] = 1
    labels[0] = 1 - labels[1]
    *_, last = propagate([canvas.roll(2 * t, dims=2) for t in range(6)], labels)
    assert torch.equal(last.argmax(0)[:, 10:], labels.roll(10, dims=2).argmax(0)[:, 10:])


def blob_clip(count: int = 6, h: int = 40, w: int = 50) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Features of a disc that moves over a still background, with noise, and its pixels, 8 a cell."""
    generator = torch.Generator().manual_seed(6)
    texture = torch.randn(2, 64, h // 4, w // 4, generator=generator)
    ground, disc = F.interpolate(texture, size=(h, w), mode="bicubic")
    y, x = torch.meshgrid(torch.arange(8 * h), torch.arange(8 * w), indexing="ij")
    clip, masks = [], []
    for t in range(count):
        masks.append(((y - 150) ** 2 + (x - 120 - 16 * t) ** 2 < 80**2).float())
        inside = F.avg_pool2d(masks[t][None], 8)
        noise = 0.5 * torch.randn(64, h, w, generator=generator)
        clip.append(ground * (1 - inside) + disc.roll(2 * t, dims=2) * inside + noise)
    return clip, masks


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_keeps_j_within_a_thousandth(dtype):
    clip, masks = blob_clip()
    inside = F.avg_pool2d(masks[0][None], 8)
    prompt = torch.cat([1 - inside, inside])

    def quality(features: list[torch.Tensor]) -> list[float]:
        found = []
        for mask, labels in zip(masks, propagate(features, prompt), strict=True):
            assert labels.dtype == torch.float32
            pixels = F.interpolate(labels[None], scale_factor=8, mode="bilinear")[0].argmax(0)
            both, either = (pixels * mask).sum(), ((pixels + mask) > 0).sum()
            found.append((both / either).item())
        return found

    half, single = quality([frame.to(dtype) for frame in clip]), quality(clip)
    assert 0.8 < single[-1] < 0.99
    assert half != single
    assert sum(half) / len(half) == pytest.approx(sum(single) / len(single), abs=1e-3)


def test_scale_of_the_features_does_not_matter():
    clip = frames(4)
    scaled = [frame * (1 + torch.arange(11)) for frame in clip]
    for one, other in zip(propagate(clip, partition()), propagate(scaled, partition()), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_a_frame_is_pulled_only_after_the_one_before_was_labelled():
    pulled = []

    def watched() -> Iterator[torch.Tensor]:
        for t, frame in enumerate(frames(5)):
            pulled.append(t)
            yield frame

    for t, _ in enumerate(propagate(watched(), partition())):
        assert pulled == list(range(t + 1))


@pytest.mark.parametrize(
    "options", [UNITRACK, DINO, MaskOptions(context=0)], ids=["unitrack", "dino", "first-only"]
)
def test_no_more_frames_are_held_than_are_read(options):
    clip = frames(12)
    state: MaskState = begin(clip[0], partition(), options)
    for frame in clip[1:]:
        state = step(state, frame, options)
        assert len(state.recent) <= options.context


def test_no_frames_give_no_labels():
    assert list(propagate(iter([]), partition())) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, r"temperature 0\.0, expected more than 0"),
        ({"topk": 0}, r"topk 0, expected 1 or more"),
        (
            {"context": 0, "keep_first": False},
            r"context 0 with keep_first=False, expected something to read from",
        ),
        ({"context": -1}, r"context -1 with keep_first=True"),
        ({"radius": 0.0}, r"radius 0\.0, expected more than 0 cells; None means no limit"),
        ({"window": "oval"}, r"shape 'oval'; there are: circle, disc, square"),
    ],
)
def test_bad_options_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskOptions(**arguments)


def _spoilt(clip: list[torch.Tensor], t: int, frame: torch.Tensor) -> Iterator[torch.Tensor]:
    return iter([*clip[:t], frame])


@pytest.mark.parametrize(
    ("t", "change", "message"),
    [
        (
            0,
            lambda f: f[:, :5],
            r"frame 0 has the grid \(5, 11\), expected that of the labels \(9, 11\); resize",
        ),
        (2, lambda f: f[:, :, :5], r"frame 2 has the grid \(9, 5\), expected that of the labels \(9, 11\)"),
        (2, lambda f: f[:5], r"frame 2 has 5 channels, expected 8 as in frame 0"),
        (1, lambda f: f / 0, r"the features of frame 1 are not finite; check the network"),
        (0, lambda f: f * float("nan"), r"the features of frame 0 are not finite; check the network"),
    ],
    ids=["grid", "later-grid", "channels", "infinite", "nan"],
)
def test_bad_features_are_refused(t, change, message):
    clip = frames(3)
    with pytest.raises(ValueError, match=message):
        list(propagate(_spoilt(clip, t, change(clip[t])), partition()))


def test_bad_labels_are_refused():
    with pytest.raises(ValueError, match=r"the labels of frame 0 are not finite"):
        list(propagate(iter(frames(2)), partition() / 0))
