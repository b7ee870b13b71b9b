"""What TrIVD learns from: forced pairs, false track queries, prompts, and pairs without objects."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.joint.trivd.tiny import TINY, network_of
from unibench.joint.hungarian import FREE, NOTHING, Pairs
from unibench.joint.system import UNKNOWN, Batch, Objective, Targets
from unibench.joint.trivd import objective
from unibench.joint.trivd.config import TrivdConfig
from unibench.joint.trivd.network import Trivd
from unibench.joint.trivd.objective import losses, track_queries

SIDE = 64
OBJECTIVES: tuple[Objective, ...] = ("det", "vid", "mot")
WHOLE = replace(TINY, losses=replace(TINY.losses, fewer_names=0.0))
"""Every batch asks for all of its names."""
QUERIES = replace(WHOLE, losses=replace(WHOLE.losses, regions=0.0))
"""Only queries learn."""
BOXES = [[4.0, 4, 24, 24], [30, 8, 60, 40], [10, 40, 30, 60]]


def targets(ids: Sequence[int], classes: Sequence[int] | None = None) -> Targets:
    """The first objects of `BOXES`, with these identities."""
    return Targets(
        boxes=torch.tensor(BOXES[: len(ids)]).reshape(-1, 4),
        classes=torch.tensor(range(len(ids)) if classes is None else classes, dtype=torch.int64),
        ids=torch.tensor(ids, dtype=torch.int64),
        embeddings=torch.zeros(len(ids), 0),
        ignored=torch.zeros(0, 4),
    )


def batch(*ids: Sequence[int], clips: int = 2) -> Batch:
    """Clips of noise; of each frame the identities of its objects."""
    images = torch.randint(
        0, 255, (clips, len(ids), 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)
    )
    return Batch(images.byte(), (tuple(targets(one) for one in ids),) * clips)


def total(
    network: Trivd,
    given: Batch,
    objective: Objective,
    classes: tuple[str, ...] = TINY.classes,
    config: TrivdConfig = WHOLE,
) -> Tensor:
    """The whole loss; for `det`, of the frame in the middle alone."""
    given = replace(given, objective=objective, classes=classes)
    if objective == "det":
        middle = given.images.shape[1] // 2
        frames = slice(middle, middle + 1)
        given = replace(
            given, images=given.images[:, frames], targets=tuple(one[frames] for one in given.targets)
        )
    terms = losses(network, given, config, "any")
    beside = {"regions"} if config.losses.regions else set()
    assert set(terms) == {"soft_token", "contrastive", "distance", "overlap"} | beside
    assert all(term.isfinite() for term in terms.values()), terms
    return torch.stack([*terms.values()]).sum()


def asked(
    network: Trivd, first: Sequence[Targets], second: Sequence[Targets], share: float = 0.5, seed: int = 0
) -> tuple[Tensor | None, Tensor]:
    """Content of the track queries, and what all queries must match."""
    torch.manual_seed(seed)
    frames = torch.rand(len(first), 1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 255
    given = Batch(frames, tuple((one,) for one in first))
    with torch.no_grad():
        maps = network.look(frames)
        seen = network(maps, maps, network.read(TINY.classes))
        tracks, fixed = track_queries(
            seen, [objective._in_shares(one, given) for one in first], second, share
        )
    return None if tracks is None else tracks.content, fixed


@pytest.mark.parametrize("teaches", OBJECTIVES)
def test_the_loss_falls(teaches: Objective) -> None:
    network = network_of()
    given = batch([1, 2, 3], [1, 2, 3], [3, 2, 1], clips=1)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    values = []
    for _ in range(15):
        torch.manual_seed(0)
        optimizer.zero_grad()
        value = total(network, given, teaches)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.7 * values[0], values


@pytest.mark.parametrize("teaches", OBJECTIVES)
@pytest.mark.parametrize("ids", [([], [], []), ([1, 2], [], []), ([], [1, 2], [1])])
def test_frames_without_objects_give_finite_losses_and_gradients(
    teaches: Objective, ids: tuple[list[int], ...]
) -> None:
    network = network_of()
    total(network, batch(*ids), teaches).backward()
    assert all(one.grad.isfinite().all() for one in network.parameters() if one.grad is not None)


def test_more_objects_than_queries_give_finite_losses() -> None:
    config = replace(TINY, network=replace(TINY.network, queries=2))
    network = network_of(config)
    for teaches in OBJECTIVES:
        total(network, batch([1, 2, 3], [1, 2, 3], [1, 2, 3]), teaches).backward()


def test_kept_queries_must_match_their_identity_and_others_nothing() -> None:
    network = network_of().eval()
    first, second = targets([5, 6, 7]), targets([7, 5])
    seen = set()
    for seed in range(30):
        content, fixed = asked(network, [first], [second], seed=seed)
        tracks = fixed[0, : fixed.shape[1] - TINY.network.queries]
        assert (fixed[0, len(tracks) :] == FREE).all()
        assert (content is None) == (len(tracks) == 0)
        forced = tracks[tracks >= 0].tolist()
        assert len(set(forced)) == len(forced)
        assert set(tracks.tolist()) <= {0, 1, NOTHING}
        seen.add((len(forced), int((tracks == NOTHING).sum())))
    assert {forced for forced, _ in seen} == {0, 1, 2}
    assert max(nothing for _, nothing in seen) == 3, "one that left, and two that are false"
    assert (0, 0) in seen


def test_an_image_with_few_objects_does_not_lower_the_number_of_track_queries_of_another() -> None:
    """With as many in each as the one with fewest has, batches of clips with few objects would teach no tracking."""
    network = network_of().eval()
    counts = set()
    for seed in range(60):
        all_images = [targets([1, 2, 3]), targets([4]), targets([])]
        content, fixed = asked(network, all_images, all_images, share=0.0, seed=seed)
        tracks = fixed[:, : fixed.shape[1] - TINY.network.queries]
        followed = tuple((tracks >= 0).sum(dim=1).tolist())
        counts.add(followed)
        assert tracks.shape[1] == max(followed), "filled up with what stands for nothing"
        assert content is None or content.shape[:2] == tracks.shape
        for row, (one, many) in enumerate(zip(tracks, followed, strict=True)):
            assert sorted(set(one.tolist()) - {NOTHING}) == sorted(one[one >= 0].tolist()), row
            assert int((one == NOTHING).sum()) == tracks.shape[1] - many
    assert counts == {(three, one, 0) for three in range(4) for one in range(2)}


def test_images_are_filled_up_as_far_as_their_queries_go() -> None:
    """An image whose queries all stand for objects has none to spare."""
    network = network_of(replace(TINY, network=replace(TINY.network, queries=3))).eval()
    unknown = targets([UNKNOWN, UNKNOWN])
    for seed in range(20):
        content, fixed = asked(
            network, [targets([1, 2, 3]), unknown], [targets([1, 2, 3]), unknown], seed=seed
        )
        tracks = fixed.shape[1] - 3
        assert tracks <= 1
        assert content is None or content.shape[1] == tracks


def test_objects_without_identity_are_not_followed() -> None:
    network = network_of().eval()
    for seed in range(10):
        content, fixed = asked(network, [targets([UNKNOWN, UNKNOWN])], [targets([UNKNOWN])], seed=seed)
        assert content is None
        assert (fixed == FREE).all()


def test_losses_see_the_forced_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """In every layer: the track query of each object, and no false one."""
    network, calls = network_of().eval(), []
    original = objective.assign

    def spy(cost: Tensor, fixed: Tensor | None = None) -> Pairs:
        pairs = original(cost, fixed)
        if fixed is not None:
            calls.append((pairs, fixed))
        return pairs

    monkeypatch.setattr(objective, "assign", spy)
    torch.manual_seed(5)
    total(network, batch([1, 2, 3], [3, 1]), "mot")
    assert len(calls) == 2 * TINY.network.decoder_layers
    forced = 0
    for pairs, fixed in calls:
        got = dict(zip(pairs.queries.tolist(), pairs.objects.tolist(), strict=True))
        for query, wanted in enumerate(fixed.tolist()):
            if wanted >= 0:
                assert got[query] == wanted
                forced += 1
            elif wanted == NOTHING:
                assert query not in got
        assert sorted(got.values()) == [0, 1]
    assert forced


def test_no_gradient_flows_into_the_previous_frame() -> None:
    network = network_of()
    given = batch([1, 2], [1, 2])
    images = given.images.float().requires_grad_()
    torch.manual_seed(1)
    total(network, replace(given, images=images), "mot").backward()
    assert images.grad is not None
    assert not images.grad[:, 0].any()
    assert images.grad[:, 1].any()


@pytest.mark.parametrize("teaches", ["det", "mot"])
def test_a_class_is_its_name_and_no_number(teaches: Objective) -> None:
    """Names and numbers that change places together leave the losses as they are."""
    network, given = network_of().eval(), batch([1, 2, 3], [1, 2, 3])
    order = (2, 0, 1)
    names = tuple(TINY.classes[number] for number in order)
    moved = tuple(
        tuple(
            replace(one, classes=torch.tensor([order.index(int(row)) for row in one.classes])) for one in clip
        )
        for clip in given.targets
    )
    torch.manual_seed(2)
    value = total(network, given, teaches)
    torch.manual_seed(2)
    torch.testing.assert_close(total(network, replace(given, targets=moved), teaches, names), value)
    torch.manual_seed(2)
    assert total(network, given, teaches, names).item() != pytest.approx(value.item(), rel=1e-4)


def test_batches_teach_with_the_frames_that_they_say() -> None:
    network, given = network_of().eval(), batch([1], [1, 2], [1, 2, 3])
    changed = given.images.clone()
    changed[:, 0] = 255 - changed[:, 0]
    other = replace(given, images=changed)
    assert total(network, given, "det").item() == total(network, other, "det").item()
    assert total(network, given, "vid").item() != total(network, other, "vid").item()


def test_what_is_not_asked_for_is_background() -> None:
    """A batch that asks for one name only has the loss of a batch without the objects of the others."""
    network, given = network_of().eval(), batch([1, 2, 3])
    fewer = replace(QUERIES, losses=replace(QUERIES.losses, fewer_names=1.0))
    one = tuple((replace(clip[0], boxes=clip[0].boxes[1:2], ids=clip[0].ids[1:2], classes=torch.tensor([0])),)
                for clip in given.targets)  # fmt: skip
    alone = total(network, replace(given, targets=one), "det", TINY.classes[1:2], QUERIES)
    found = set()
    for seed in range(20):
        torch.manual_seed(seed)
        found.add(round(total(network, given, "det", config=fewer).item(), 3))
    assert round(alone.item(), 3) in found
    assert round(total(network, given, "det", config=QUERIES).item(), 3) in found
    assert len(found) == 7  # every choice of one, two or three names


@pytest.mark.parametrize("teaches", OBJECTIVES)
def test_a_stage_called_regions_teaches_maps_and_words_but_no_query(teaches: Objective) -> None:
    network, given = network_of(), batch([1, 2], [1, 2], [1, 2])
    terms = losses(network, replace(given, objective=teaches, classes=TINY.classes), WHOLE, "regions")
    assert set(terms) == {"regions"}
    terms["regions"].backward()
    learn = {name.split(".")[0] for name, one in network.named_parameters() if one.grad is not None}
    assert learn == {"backbone", "input_proj", "text", "resizer", "class_embed", "region_embed"}


def test_regions_are_told_by_what_lies_in_them() -> None:
    """Noise in one box changes what is said of that box, if the other lies out of sight of it."""
    network, words = network_of().eval(), network_of().eval().read(TINY.classes)
    images = torch.zeros(1, 3, 256, 256)
    boxes = torch.tensor([[0.06, 0.06, 0.1, 0.1], [0.9, 0.9, 0.1, 0.1]])
    images[..., :26, :26] = torch.rand(3, 26, 26, generator=torch.Generator().manual_seed(0)) * 255
    logits = network.name_regions(network.see(images), [boxes], words)
    assert logits.shape == (4, 2, len(TINY.classes) + 1)
    assert not torch.allclose(logits[0, 0], logits[0, 1], atol=1e-3)
    swapped = network.name_regions(network.see(images), [boxes.flip(0)], words)
    torch.testing.assert_close(swapped, logits.flip(1))


def test_of_a_region_that_is_not_asked_for_no_name_is_right() -> None:
    network = network_of().eval()
    given = replace(batch([1]), objective="det", classes=("disc", "square"))  # the shape is a disc
    without = replace(WHOLE, losses=replace(WHOLE.losses, fewer_names=1.0))
    seen = []
    for seed in range(12):
        torch.manual_seed(seed)
        seen.append(losses(network, given, without, "regions")["regions"].item())
    images = given.images[:, 0]
    shares = torch.tensor([[(4 + 24) / 2, (4 + 24) / 2, 20, 20]]) / SIDE
    logits = network.name_regions(network.see(images), [shares] * 2, network.read(["square"]))
    wanted = -logits.log_softmax(dim=-1)[..., -1].sum().item() / 2  # of two, so that it is the binary one
    assert min(abs(one - wanted) for one in seen) < 1e-4


def test_data_sets_with_vocabularies_of_their_own_learn_in_one_run() -> None:
    """Object 0 has another name in each batch, and its number says nothing."""
    network = network_of().eval()
    values = [
        total(network, batch([1]), "det", names).item()
        for names in (("square",), ("panda", "car"), ("\u732b",))
    ]
    assert len(set(values)) == 3
