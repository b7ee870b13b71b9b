"""Unicorn at work: four tasks of one network, and what it does with prompts that are of no use."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from tests.joint.unicorn.test_network import TOY as SHAPES
from unibench.errors import DataError, UnknownNameError
from unibench.geometry import masks as rle
from unibench.joint.unicorn.network import Unicorn
from unibench.joint.unicorn.tracker import track
from unibench.records import Clip, Frame, Labels
from unibench.tasks import registry

TOY = replace(SHAPES, classes=("person", "square", "disc"))
TASKS = ("sot/synthetic@box", "vos/synthetic@box", "mot/synthetic@private", "mots/synthetic@private")


@pytest.fixture(scope="module")
def network() -> Unicorn:
    torch.manual_seed(0)
    return Unicorn(TOY).eval().requires_grad_(False)


def clip_of(prompts: dict[int, Labels], sizes: tuple[tuple[int, int], ...] = ((96, 128),) * 3) -> Clip:
    def frames() -> Iterator[Frame]:
        for index, size in enumerate(sizes):
            image = np.random.default_rng(index).integers(0, 255, (*size, 3), dtype=np.uint8)
            yield Frame(index, image, prompt=prompts.get(index, Labels()))

    return Clip("clip", *sizes[0], 30.0, len(sizes), frames, vocabulary=("square",))


def box(*corners: float) -> Labels:
    return Labels(ids=np.array([7]), boxes=np.array([corners], dtype=np.float64))


def mask(id: int, rows: slice, columns: slice, size: tuple[int, int] = (96, 128)) -> Labels:
    drawn = np.zeros(size, dtype=bool)
    drawn[rows, columns] = True
    return Labels(ids=np.array([id]), masks=(rle.encode(drawn),))


def _counted(calls: dict[str, int], name: str, original: Callable, *given: object, **named: object) -> object:
    calls[name] += 1
    return original(*given, **named)


def run(network: Unicorn, clip: Clip, name: str) -> list[Labels]:
    return list(track(network, TOY, clip, registry.find(name)))


@pytest.mark.parametrize("name", TASKS)
def test_each_task_gives_labels_of_every_frame(network: Unicorn, name: str) -> None:
    clip, _ = next(registry.clips(registry.find(name), frames=3))
    labels = run(network, clip, name)
    assert len(labels) == 3
    for one in labels:
        assert np.isfinite(one.boxes).all()
        assert len(one.masks) in (0, len(one.ids))
        if len(one.masks) > 1:
            assert sum(rle.decode(mask).astype(int) for mask in one.masks).max() <= 1


@pytest.mark.parametrize("corners", [(-20, -20, -5, -5), (5, 5, 5, 9), (200, 5, 210, 9), (np.nan, 0, 5, 5)])
def test_a_prompted_box_without_area_in_the_frame_is_one_clear_line(network: Unicorn, corners: tuple) -> None:
    with pytest.raises(
        DataError, match=r"^clip 'clip': prompted box .* expected an area inside the frame of 128 x 96"
    ):
        run(network, clip_of({0: box(*corners)}), "sot/synthetic@box")


def test_frames_of_other_sizes_and_no_objects_have_defined_results(network: Unicorn) -> None:
    sizes = ((96, 128), (60, 50), (200, 300))
    for labels in run(network, clip_of({0: box(8, 8, 40, 40)}, sizes), "sot/synthetic@box"):
        assert np.isfinite(labels.boxes).all()
    given = mask(3, slice(8, 40), slice(8, 40))
    for labels, size in zip(
        run(network, clip_of({0: given}, sizes), "vos/synthetic@box"), sizes, strict=True
    ):
        assert [tuple(one["size"]) for one in labels.masks] == [size]
    assert [len(one.ids) for one in run(network, clip_of({}), "vos/synthetic@box")] == [0, 0, 0]
    with pytest.raises(DataError, match="prompt of 0 ids and 0 boxes, expected one each"):
        run(network, clip_of({}), "sot/synthetic@box")


def test_an_empty_mask_is_never_found_and_later_objects_join(network: Unicorn) -> None:
    prompts = {0: mask(1, slice(0, 0), slice(0, 0)), 1: mask(2, slice(8, 40), slice(8, 40))}
    found = run(network, clip_of(prompts), "vos/synthetic@box")
    assert [one.ids.tolist() for one in found] == [[1], [1, 2], [1, 2]]
    assert [rle.area(one.masks[0]) for one in found] == [0, 0, 0]
    assert rle.area(found[1].masks[1]) == 32 * 32


def test_backbone_and_comparison_run_once_a_frame_for_any_number_of_objects(
    network: Unicorn, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"look": 0, "embed": 0, "find": 0}
    for name in calls:
        monkeypatch.setattr(network, name, partial(_counted, calls, name, getattr(network, name)))
    parts = [mask(id, slice(0, 30), slice(30 * id, 30 * id + 30)) for id in range(3)]
    given = Labels(ids=np.arange(3), masks=tuple(one.masks[0] for one in parts))
    run(network, clip_of({0: given}), "vos/synthetic@box")
    assert calls == {"look": 3, "embed": 2, "find": 6}


def test_another_protocol_is_refused_by_name(network: Unicorn) -> None:
    with pytest.raises(UnknownNameError, match="no protocol of unicorn for 'mot' 'public'"):
        run(network, clip_of({}), "mot/synthetic@public")


def test_both_associations_of_mot_give_ids(network: Unicorn) -> None:
    clip, _ = next(registry.clips(registry.find("mot/synthetic@private"), frames=3))
    for name in ("bytetrack", "bytetrack-mot17-buffers", "qdtrack-bdd-mot"):
        config = replace(TOY, tracking=replace(TOY.tracking, mot=name))
        labels = list(track(network, config, clip, registry.find("mot/synthetic@private")))
        assert len(labels) == 3
        assert all(len(set(one.ids.tolist())) == len(one.ids) and (one.ids > 0).all() for one in labels)
