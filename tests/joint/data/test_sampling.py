"""Training batches: the same for everyone, boxes where the pixels are, pairs of one video."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from unibench.errors import TrainingError
from unibench.joint.data import registry, sampling
from unibench.joint.data.cutouts import CutoutOptions
from unibench.joint.data.sampling import Ratios, SampleOptions, ViewOptions
from unibench.joint.system import UNKNOWN, AnnotatedImage, Batch, TrainingSet
from unibench.records import Labels

CANVAS = ViewOptions(64, 96)
BOX = (10, 8, 22, 28)


def picture(
    name: str, video: str = "", index: int = 0, *, box: tuple[int, ...] = BOX, ids: bool = True
) -> AnnotatedImage:
    """A white box on black, 48 pixels high and 64 wide; in its middle a region that is ignored."""
    x1, y1, x2, y2 = box
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    image[y1:y2, x1:x2] = 255
    labels = Labels(
        ids=np.array([7]) if ids else np.zeros(0, dtype=np.int64),
        boxes=np.array([box], dtype=float),
        classes=np.array([2]),
    )
    return AnnotatedImage(
        name, lambda: image, labels, np.array([[30.0, 30.0, 40.0, 40.0]]), video=video, index=index
    )


def video(name: str, length: int) -> list[AnnotatedImage]:
    return [picture(f"{name}/{index}", name, index, box=(index, 0, index + 4, 10)) for index in range(length)]


def data(*images: AnnotatedImage) -> list[TrainingSet]:
    return [TrainingSet("drawn", ("a", "b", "c"), list(images))]


def draw(
    given: list[TrainingSet], options: SampleOptions, step: int = 0, size: int = 1, **more: Any
) -> Batch:
    return sampling.batches(given, options, CANVAS, seed=3, step=step, size=size, **more)


def same(first: Batch, second: Batch) -> bool:
    return torch.equal(first.images, second.images) and all(
        torch.equal(one.boxes, two.boxes) and torch.equal(one.ids, two.ids)
        for clips in zip(first.targets, second.targets, strict=True)
        for one, two in zip(*clips, strict=True)
    )


def test_a_batch_depends_on_seed_and_step_only():
    given, options = [registry.read("synthetic:clips")], SampleOptions(time=2, gap=3, scale=(0.7, 1.4))
    first = draw(given, options, step=5, size=2)
    draw(given, options, step=9, size=2)
    assert same(first, draw([registry.read("synthetic:clips")], options, step=5, size=2))
    assert not same(first, draw(given, options, step=6, size=2))
    assert not same(first, sampling.batches(given, options, CANVAS, seed=4, step=5, size=2))


def test_processes_share_the_batch_of_one():
    given, options = [registry.read("synthetic:stills")], SampleOptions(scale=(0.8, 1.2))
    for step in (0, 3):
        whole = draw(given, options, step, 4)
        parts = [draw(given, options, step, 2, rank=rank, world_size=2) for rank in (0, 1)]
        assert torch.equal(whole.images, torch.cat([part.images for part in parts]))


def test_shapes_and_kinds():
    batch = draw([registry.read("synthetic:clips")], SampleOptions(time=3, gap=2), size=2)
    assert batch.images.shape == (2, 3, 3, 64, 96)
    assert batch.images.dtype == torch.uint8
    assert [len(clip) for clip in batch.targets] == [3, 3]
    one = batch.targets[0][0]
    assert (one.boxes.dtype, one.classes.dtype, one.ids.dtype) == (torch.float32, torch.int64, torch.int64)
    assert one.embeddings.shape == (len(one.boxes), 0)


@pytest.mark.parametrize("step", range(12))
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.4, 0.9), (1.1, 1.9)])
def test_boxes_stand_where_the_pixels_are(step, scale):
    batch = draw(data(picture("one")), SampleOptions(scale=scale, visible=0.05), step)
    image, target = batch.images[0, 0].float().mean(dim=0), batch.targets[0][0]
    rows, columns = torch.nonzero(image > 200, as_tuple=True)
    if not len(target.boxes):
        assert len(rows) < 0.06 * 12 * 20 * 4 * scale[1] ** 2
        return
    seen = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert (target.boxes[0] - seen).abs().max() < 1.5
    assert target.classes.tolist() == [2]
    assert target.ids.tolist() == [7]


def test_a_picture_that_fits_is_not_touched():
    batch = sampling.batches(
        data(picture("one")), SampleOptions(flip=0.0), ViewOptions(48, 64), seed=0, step=0, size=1
    )
    np.testing.assert_array_equal(batch.images[0, 0].permute(1, 2, 0).numpy(), picture("one").image())
    assert batch.targets[0][0].boxes.tolist() == [list(BOX)]
    assert batch.targets[0][0].ignored.tolist() == [[30, 30, 40, 40]]


def test_half_of_the_samples_are_mirrored():
    batch = sampling.batches(
        data(picture("one")), SampleOptions(flip=0.5), ViewOptions(48, 64), seed=0, step=0, size=200
    )
    lefts = [clip[0].boxes[0, 0].item() for clip in batch.targets]
    assert set(lefts) == {10, 64 - 22}
    assert 70 < lefts.count(10) < 130


def test_what_is_cut_off_is_ignored():
    options = SampleOptions(flip=0.0, scale=(3.0, 3.0), visible=0.5)
    cut = 0
    for step in range(20):
        target = draw(data(picture("one")), options, step).targets[0][0]
        for box in target.boxes:
            assert (box[2:] - box[:2]).prod() >= 0.5 * 12 * 20 * 16 - 1
        cut += not len(target.boxes) and len(target.ignored) > 0
    assert cut > 0


def test_pairs_are_as_far_apart_as_asked_and_change_alike():
    given = data(picture("still"), *video("a", 9), *video("b", 9), picture("other"))
    for step in range(20):
        batch = draw(given, SampleOptions(time=2, gap=5, flip=0.0), step)
        first, second = (one.boxes[0, 0] / (64 / 48) for one in batch.targets[0])
        assert second - first == pytest.approx(5, abs=1e-4)
        mirrored = draw(given, SampleOptions(time=2, gap=5, flip=1.0), step)
        first, second = (one.boxes[0, 0] / (64 / 48) for one in mirrored.targets[0])
        assert second - first == pytest.approx(-5, abs=1e-4)


def test_a_short_video_gives_frames_as_far_apart_as_it_can():
    batch = draw(data(*video("a", 3)), SampleOptions(time=2, gap=8, flip=0.0))
    first, second = (one.boxes[0, 0] / (64 / 48) for one in batch.targets[0])
    assert second - first == pytest.approx(2, abs=1e-4)
    alone = draw(data(*video("a", 1)), SampleOptions(time=2, gap=8))
    assert torch.equal(alone.images[0, 0], alone.images[0, 1])


def test_objects_without_identity_and_with_embeddings():
    one = picture("one", ids=False)
    taught = AnnotatedImage(
        "two", one.image, one.labels, one.ignored, embeddings=np.array([[1.0, 2.0]], dtype=np.float32)
    )
    for given, expected in ((one, []), (taught, [1.0, 2.0])):
        target = draw(data(given), SampleOptions()).targets[0][0]
        assert target.ids.tolist() == [UNKNOWN]
        assert target.embeddings.tolist() == [expected]


def test_every_picture_of_all_sets_is_drawn_equally_often():
    small, large = data(picture("one", ids=False)), data(*(picture(f"{n}") for n in range(3)))
    batch = draw([*small, *large], SampleOptions(), size=400)
    without = sum(clip[0].ids.tolist() == [UNKNOWN] for clip in batch.targets)
    assert 70 < without < 130


def test_a_batch_for_prompts_has_one_object_and_later_the_same_or_none():
    given = [registry.read("synthetic:clips")]
    later = []
    for step in range(10):
        batch = draw(given, SampleOptions(time=2, gap=4), step, 4, objective="sot")
        assert batch.objective == "sot"
        for first, second in batch.targets:
            assert len(first.boxes) == len(first.ids) == len(first.classes) == 1
            assert second.ids.tolist() in ([], first.ids.tolist())
            later.append(len(second.ids))
    assert set(later) == {0, 1}


def test_masks_lie_in_their_boxes():
    batch = draw([registry.read("synthetic:clips")], SampleOptions(time=2, gap=4), size=8, masks=True)
    for target in (one for clip in batch.targets for one in clip):
        assert target.masks.shape == (len(target.boxes), CANVAS.height, CANVAS.width)
        for mask, (left, top, right, bottom) in zip(target.masks, target.boxes.tolist(), strict=True):
            rows, columns = mask.nonzero(as_tuple=True)
            assert len(rows), "a shape that is in the truth is to be seen"
            assert left - 1 <= columns.min()
            assert columns.max() <= right
            assert top - 1 <= rows.min()
            assert rows.max() <= bottom
    assert len(draw([registry.read("synthetic:clips")], SampleOptions()).targets[0][0].masks) == 0
    with pytest.raises(
        TrainingError, match=r"image 'one': 0 masks of 1 objects, expected one each since a stage has"
    ):
        draw(data(picture("one")), SampleOptions(), masks=True)


def test_shares_say_how_often_each_set_is_drawn():
    small, large = data(picture("one", ids=False)), data(*(picture(f"{n}") for n in range(3)))
    options = SampleOptions(ratios=Ratios(mot=(3.0, 1.0), sot=(0.0, 2.0)))
    batch = draw([*small, *large], options, size=400)
    without = sum(clip[0].ids.tolist() == [UNKNOWN] for clip in batch.targets)
    assert 270 < without < 330
    prompted = draw([*small, *large], options, size=50, objective="sot")
    assert all(clip[0].ids.tolist() == [7] for clip in prompted.targets)
    for shares, message in (
        ((1.0,), r"sample\.ratios\.mot: found \[1\.0\], expected a share for each of the 2 training sets"),
        ((0.0, 0.0), r"sample\.ratios\.mot: found \[0\.0, 0\.0\], expected .* not all 0: drawn, drawn"),
    ):
        with pytest.raises(TrainingError, match=message):
            draw([*small, *large], SampleOptions(ratios=Ratios(mot=shares)))
    with pytest.raises(
        TrainingError, match=r"sample\.ratios\.mot: 1 of drawn, which has no images; set it to 0"
    ):
        draw([*small, *data()], SampleOptions(ratios=Ratios(mot=(1.0, 1.0))))


def test_a_batch_has_one_of_the_sizes():
    canvas = ViewOptions(64, 128, sizes=(32, 64, 96))
    found = {
        tuple(
            sampling.batches(
                data(picture("one")), SampleOptions(), canvas, seed=0, step=step, size=2
            ).images.shape[3:]
        )
        for step in range(30)
    }
    assert found == {(32, 64), (64, 128), (96, 192)}


def test_colours_change_a_frame_on_its_own_and_no_box():
    given = data(*video("a", 9))
    for image in given[0].images:
        image.image()[20:] = (200, 60, 60)
    plain = draw(given, SampleOptions(time=2, gap=5, flip=0.0), 1)
    changed = draw(given, SampleOptions(time=2, gap=5, flip=0.0, hsv=(0.2, 0.7, 0.4)), 1)
    assert torch.equal(plain.targets[0][0].boxes, changed.targets[0][0].boxes)
    spots = changed.images[0, :, :, -4, 10]
    assert not torch.equal(spots[0], spots[1])
    assert not torch.equal(changed.images, plain.images)


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(TrainingError, match="training data: no images, expected at least one; name data"):
        draw(data(), SampleOptions())
    with pytest.raises(
        TrainingError, match=r"hardly any videos in drawn, expected them for samples of 2 frames"
    ):
        draw(data(picture("still")), SampleOptions(time=2))


def test_a_prompted_batch_is_of_one_training_set_and_names_its_classes():
    """Also that of several processes; an image on its own is one frame, whatever clips have."""
    stills = TrainingSet("stills", ("a", "b"), [picture(str(row)) for row in range(5)])
    clips = TrainingSet("clips", ("c",), video("v", 4))
    options = SampleOptions(time=3, ratios=Ratios(det=(1, 1), vid=(0, 1), mot=(0, 1)))
    found = set()
    for step in range(20):
        batch = draw([stills, clips], options, step, 4, objective="det", prompted=True)
        assert batch.images.shape[1] == 1
        parts = [
            draw([stills, clips], options, step, 2, objective="det", prompted=True, rank=rank, world_size=2)
            for rank in (0, 1)
        ]
        assert {part.classes for part in parts} == {batch.classes}
        found.add(batch.classes)
    assert found == {("a", "b"), ("c",)}
    for objective in ("vid", "mot"):
        batch = draw([stills, clips], options, 0, 2, objective=objective, prompted=True)
        assert batch.images.shape[1] == 3
        assert batch.classes == ("c",)
    assert draw([stills], SampleOptions()).classes == ()


def test_without_ratios_prompted_batches_follow_the_numbers_of_images():
    many = TrainingSet("many", ("a",), [picture(str(row)) for row in range(30)])
    few = TrainingSet("few", ("b",), [picture("one")])
    none = TrainingSet("none", ("c",), [])
    names = [
        draw([none, few, many], SampleOptions(), step, objective="det", prompted=True).classes
        for step in range(60)
    ]
    assert set(names) <= {("a",), ("b",)}
    assert names.count(("a",)) > 50


def test_a_still_moves_from_frame_to_frame_and_a_video_only_as_it_does():
    options = SampleOptions(time=3, stills=True, shift=0.1, flip=0.0)
    batch = draw([registry.read("synthetic:stills")], options, 0, 6)
    height, width = batch.images.shape[-2:]
    moves = []
    for images, clip in zip(batch.images, batch.targets, strict=True):
        for time in (1, 2):
            pairs = torch.nonzero(clip[0].ids[:, None] == clip[time].ids)
            inside = [
                (clip[0].boxes[one], clip[time].boxes[other])
                for one, other in pairs.tolist()
                if whole(clip[0].boxes[one], height, width) and whole(clip[time].boxes[other], height, width)
            ]
            steps = {tuple((after - before).round().int().tolist()) for before, after in inside}
            assert len(steps) <= 1, "all objects of a frame move alike"
            moves += [step[:2] for step in steps]
            for x, y, right, low in steps:
                assert (x, y) == (right, low), "nothing is scaled"
                left, top = max(0, x), max(0, y)
                rows, columns = height - abs(y), width - abs(x)
                before = images[0, :, top - y : top - y + rows, left - x : left - x + columns]
                after = images[time, :, top : top + rows, left : left + columns]
                assert torch.equal(before, after), "pixels move with the boxes"
    assert len(set(moves)) > 6
    assert max(max(map(abs, move)) for move in moves) <= 2 * 0.1 * max(height, width)

    videos = [registry.read("synthetic:clips")]
    one, other = (draw(videos, replace(options, shift=shift), 0, 4) for shift in (0.0, 0.1))
    assert torch.equal(one.images, other.images)


@pytest.mark.parametrize(
    ("found", "name"), [({"shift": 0.1}, "shift"), ({"cutouts": CutoutOptions(3)}, "cutouts.most")]
)
def test_what_is_about_stills_alone_is_refused_without_them(found: dict[str, Any], name: str):
    with pytest.raises(ValueError, match=f"{name}: found .*, expected 0 where stills = false"):
        SampleOptions(**found)
    SampleOptions(**found, stills=True)


def whole(box: torch.Tensor, height: int, width: int) -> bool:
    """Whether no side of a box was cut off."""
    return bool((box > 0.5).all() and box[2] < width - 0.5 and box[3] < height - 0.5)
