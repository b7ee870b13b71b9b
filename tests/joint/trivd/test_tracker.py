"""TrIVD at work: images, clips whose vocabularies it has never seen, and prompts that are of no use."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.joint.trivd.tiny import SYSTEM, TINY, network_of
from unibench.errors import UnibenchError, UnknownNameError
from unibench.geometry.boxes import iou
from unibench.joint.training import evaluate
from unibench.joint.trivd.config import TrivdConfig
from unibench.joint.trivd.network import Trivd
from unibench.joint.trivd.tracker import detect, track, vocabulary
from unibench.records import Clip, Frame, Labels
from unibench.tasks import registry

EAGER = replace(
    TINY,
    view=replace(TINY.view, height=64, width=64),
    tracking=replace(TINY.tracking, birth_score=0.0, track_score=0.0, return_score=0.0, birth_nms=0.5),
)
"""Whose untrained network begins tracks."""


@pytest.fixture(scope="module")
def network() -> Trivd:
    return network_of().eval().requires_grad_(False)


def clip_of(
    names: tuple[str, ...] = ("square", "disc"),
    sizes: tuple[tuple[int, int], ...] = ((48, 64),) * 4,
    given: np.ndarray | None = None,
) -> Clip:
    """Noise; the same detections in every frame."""
    detections = Labels() if given is None else Labels(boxes=given)

    def frames() -> Iterator[Frame]:
        for index, size in enumerate(sizes):
            image = np.random.default_rng(index).integers(0, 255, (*size, 3), dtype=np.uint8)
            yield Frame(index, image, detections=detections)

    return Clip("clip", *sizes[0], 30.0, len(sizes), frames, vocabulary=names)


def run(network: Trivd, clip: Clip, protocol: str = "private", config: TrivdConfig = EAGER) -> list[Labels]:
    return list(track(network, config, clip, registry.find(f"mot/synthetic@{protocol}")))


def test_images_give_their_queries_best_first(network: Trivd) -> None:
    images = torch.randint(0, 255, (2, 3, 64, 96), generator=torch.Generator().manual_seed(0)).byte()
    config = replace(TINY, detections=replace(TINY.detections, min_score=0.0, total=7))
    both = detect(network, images, config)
    for image, found in zip(images, both, strict=True):
        assert len(found.boxes) == len(found.scores) == len(found.classes) == 7
        assert (found.scores.diff() <= 0).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= torch.tensor([96.0, 64, 96, 64])).all()
        assert torch.equal(detect(network, image[None], config)[0].boxes, found.boxes)
    least = float(both[0].scores[3])
    some = detect(network, images[:1], replace(config, detections=replace(TINY.detections, min_score=least)))
    assert torch.equal(some[0].scores, both[0].scores[:4])


def test_the_first_frame_of_a_clip_is_an_image(network: Trivd) -> None:
    clip = clip_of(("square", "disc", "triangle"), sizes=((64, 64),))
    (labels,) = run(network, clip, config=replace(EAGER, tracking=replace(EAGER.tracking, birth_nms=1.0)))
    config = replace(EAGER, detections=replace(EAGER.detections, min_score=0.0, total=30))
    (frame,) = evaluate.detect_frames(SYSTEM, config, network, clip)
    np.testing.assert_allclose(np.sort(labels.scores), np.sort(frame.scores), rtol=1e-6)


def test_tracks_go_on_and_have_the_clip_s_classes(network: Trivd) -> None:
    found = run(network, clip_of(("", "disc", "", "zebra")))
    assert len(found) == 4
    for one in found:
        assert set(one.classes.tolist()) <= {1, 3}
        assert len(set(one.ids.tolist())) == len(one.ids)
        assert (np.diff(one.ids) > 0).all()
        assert (one.boxes >= 0).all()
        assert (one.boxes <= [64, 48, 64, 48]).all()
    assert len(found[0].ids)
    assert set(found[0].ids.tolist()) & set(found[1].ids.tolist())


def test_a_prompt_of_unseen_names_in_any_script_is_followed(network: Trivd) -> None:
    for names in (("panda", "airplane"), ("熊猫", "飞机")):
        assert {int(row) for one in run(network, clip_of(names)) for row in one.classes} <= {0, 1}
    changed = run(network, clip_of(("panda", "disc")))[0]
    assert not np.array_equal(changed.scores, run(network, clip_of(("airplane", "disc")))[0].scores)


def test_clips_are_independent_and_repeatable(network: Trivd) -> None:
    first = run(network, clip_of())
    run(network, clip_of(("zebra",)))
    for one, other in zip(first, run(network, clip_of()), strict=True):
        assert np.array_equal(one.ids, other.ids)
        assert np.array_equal(one.boxes, other.boxes)


def test_frames_of_other_sizes_have_defined_results(network: Trivd) -> None:
    sizes = ((48, 64), (90, 50), (1, 300), (64, 64))
    for one, (height, width) in zip(run(network, clip_of(sizes=sizes)), sizes, strict=True):
        assert np.isfinite(one.boxes).all()
        assert (one.boxes <= [width, height, width, height]).all()


def test_under_public_no_track_begins_without_a_box(network: Trivd) -> None:
    private = run(network, clip_of())
    assert all(not len(one.ids) for one in run(network, clip_of(), "public"))
    given = private[0].boxes[:2]
    labels = run(network, clip_of(given=given), "public")
    assert 1 <= len(labels[0].ids) <= 2
    assert (iou(labels[0].boxes, given).max(axis=1) >= 0.5).all()


def test_a_name_of_the_same_meaning_is_the_learnt_one() -> None:
    assert vocabulary(("car", "person"), clip_of(("", "Pedestrian", "zebra"))) == (
        ("person", "zebra"),
        pytest.approx([1, 2]),
    )
    assert vocabulary(("car", "person"), clip_of(()))[0] == ("car", "person")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("",), r"^prompt: it has no class name, expected at least one; name the classes to find$"),
        (("disc", "Disc"), r"^prompt: 'disc' is there twice, expected each class once; remove one$"),
        (
            tuple(f"class {number}" for number in range(200)),
            r"^prompt: 200 class names make \d+ tokens, expected at most 255; name fewer classes$",
        ),
    ],
)
def test_a_prompt_of_no_use_is_one_clear_line(network: Trivd, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UnibenchError, match=message):
        run(network, clip_of(names))


def test_other_tasks_are_refused_by_name(network: Trivd) -> None:
    with pytest.raises(
        UnknownNameError, match="no family of tasks that trivd tracks 'sot'; did you mean 'mot'"
    ):
        list(track(network, TINY, clip_of(), registry.find("sot/synthetic@box")))
    with pytest.raises(UnknownNameError, match="no protocol of a joint tracker 'unitrack'"):
        run(network, clip_of(), "unitrack")
