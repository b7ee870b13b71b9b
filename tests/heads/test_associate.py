from dataclasses import replace
from itertools import chain, combinations, permutations

import numpy as np
import pytest
import torch

from heads.associate import CascadeOptions, CascadeState, Observation, assign, step
from heads.rsm import similarity as rsm

FULL = CascadeOptions()
STUDY_KNOBS = {"motion_weight": 1.0, "gate": False}
LOOKS_KNOBS = {**STUDY_KNOBS, "use_kalman": False, "use_iou": False}
STUDY = replace(FULL, **STUDY_KNOBS)
LOOKS = replace(FULL, **LOOKS_KNOBS)


def cosine(tracks, detections):
    """One point an object: the cosine of the two."""
    first, second = (
        torch.nn.functional.normalize(torch.cat(list(side)), dim=1) for side in (tracks, detections)
    )
    return first @ second.T


def thing(look, x, y=0.0, *, score=1.0, label=0, size=(40, 100)):
    """An object of orthogonal appearance number `look`, or of a mixture, whose upper left corner is at (x, y)."""
    looks = [look] if isinstance(look, int) else look
    points = torch.eye(8)[looks].sum(0, keepdim=True)
    return Observation(points, np.array([x, y, x + size[0], y + size[1]], dtype=float), score, label)


def play(frames, options=FULL, fps=30.0):
    """The ids of every frame, and the last state."""
    state, ids = CascadeState(), []
    for observations in frames:
        state, found = step(state, observations, cosine, options, fps)
        ids.append(found.tolist())
    return ids, state


def test_objects_of_the_first_frame_count_at_once():
    ids, state = play([[thing(0, 0), thing(1, 200)], [thing(1, 202), thing(0, 1)]])
    assert ids == [[1, 2], [2, 1]]
    assert [track.id for track in state.tracked] == [1, 2]


def test_a_later_object_counts_from_its_second_sight():
    ids, _ = play([[], [thing(0, 0)], [thing(0, 1)], [thing(0, 2)]])
    assert ids == [[], [0], [1], [1]]


def test_masks_and_poses_count_at_birth():
    ids, _ = play([[], [thing(0, 0)]], replace(FULL, confirm_at_birth=True))
    assert ids == [[], [1]]


def test_an_unconfirmed_track_that_is_missed_is_removed():
    ids, state = play([[], [thing(0, 0)], [], [thing(0, 0)], [thing(0, 0)]])
    assert ids == [[], [0], [], [0], [2]]
    assert not state.lost


def test_a_confirmed_track_needs_overlap_to_be_confirmed():
    frames = [[], [thing(0, 0)], [thing(0, 30)]]  # IoU 10 / 70, 1 - IoU > .7
    assert play(frames)[0][-1] == [0]
    assert play(frames, replace(FULL, confirm_limit=0.9))[0][-1] == [1]


@pytest.mark.parametrize("options", [FULL, STUDY, LOOKS])
def test_an_occluded_object_gets_its_id_back(options):
    frames = (
        [[thing(0, t), thing(1, 300)] for t in range(5)]
        + [[thing(1, 300)]] * 10
        + [[thing(0, 15), thing(1, 300)]]
    )
    ids, state = play(frames, options)
    assert ids[10] == [2]
    assert ids[-1] == [1, 2]
    assert not state.lost


def test_a_found_track_is_where_it_was_found():
    ids, state = play([[thing(0, 0)], [], [], [thing([0, 1], 6)]], STUDY)
    assert ids[-1] == [1]
    assert torch.equal(state.tracked[0].points[0], thing([0, 1], 6).points)
    assert abs(state.tracked[0].box[0] - 6) < 3


@pytest.mark.parametrize(
    ("fps", "gap", "found"), [(30, 3, 1), (30, 4, 2), (60, 6, 1), (60, 7, 2), (6, 0, 1), (6, 1, 2)]
)
def test_a_track_is_forgotten_after_the_buffer(fps, gap, found):
    """Lost for int(fps / 30 * 3) frames it can still be found, and no frame more."""
    options = replace(STUDY, buffer=3.0, confirm_at_birth=True)
    ids, _ = play([[thing(0, 0)], *[[]] * gap, [thing(0, 0)]], options, float(fps))
    assert ids[-1] == [found]


def test_a_frame_without_detections_ages_the_tracks():
    _, state = play([[thing(0, 0)], [thing(0, 10)], []], STUDY)
    assert [(track.id, track.seen) for track in state.lost] == [(1, 1)]
    assert state.lost[0].box[0] > 10  # the filter went on
    assert not state.tracked


def test_objects_that_cross_are_kept_apart_by_appearance():
    frames = [[thing(0, 10 * t), thing(1, 200 - 10 * t)] for t in range(21)]
    for options in (FULL, STUDY, LOOKS):
        assert play(frames, options)[0] == [[1, 2]] * 21


def test_alike_objects_are_kept_apart_by_motion():
    frames = [[thing(0, 10 * t), thing(0, 200 - 10 * t, 40)] for t in range(21)]
    assert play(frames, FULL)[0] == [[1, 2]] * 21


def test_the_gate_forbids_jumps_that_appearance_allows():
    frames = [[thing(0, 0)], [thing(0, 300)]]
    assert play(frames, STUDY)[0] == [[1], [1]]
    assert play(frames, FULL)[0] == [[1], [0]]
    assert play(frames, replace(FULL, gate=False))[0] == [[1], [0]]  # .02 x Mahalanobis^2 is over the limit
    assert play(frames, replace(FULL, motion_weight=1.0, gate_threshold=1e9))[0] == [[1], [1]]


def test_what_looks_different_is_found_by_overlap_if_it_was_just_seen():
    assert play([[thing(0, 0)], [thing(1, 2)]], STUDY)[0] == [[1], [1]]
    assert play([[thing(0, 0)], [], [thing(1, 2)]], STUDY)[0] == [[1], [], [0]]
    assert play([[thing(0, 0)], [thing(1, 20)]], STUDY)[0] == [[1], [0]]  # 1 - IoU = 2 / 3
    assert play([[thing(0, 0)], [thing(1, 20)]], replace(STUDY, iou_limit=0.7))[0] == [[1], [1]]
    assert play([[thing(0, 0)], [thing(1, 2)]], LOOKS)[0] == [[1], [0]]


def test_weak_detections_continue_tracks_but_start_none():
    weak = thing(0, 0, score=0.4)
    assert play([[weak], [weak]])[0] == [[0], [0]]
    assert play([[thing(0, 0)], [weak]])[0] == [[1], [1]]
    assert play([[weak]], replace(FULL, birth_score=0.4))[0] == [[1]]


def test_the_younger_of_two_tracks_in_one_place_is_removed():
    """The long-lived one is lost; another is born on it and, once confirmed, removed again."""
    frames = [[thing(0, 0)]] * 5 + [[]] + [[thing(1, 0)]] * 3
    ids, state = play(frames, STUDY)
    assert ids[5:] == [[], [0], [0], [0]]
    assert [track.id for track in state.lost] == [1]
    off, _ = play(frames, replace(STUDY, duplicate_limit=0.0))
    assert off[5:] == [[], [0], [2], [2]]


def test_of_two_duplicates_the_lost_one_goes_if_it_lived_shorter():
    frames = (
        [[thing(0, 0), thing(1, 30)]] * 2
        + [[thing(1, 30 - 6 * t)] for t in range(1, 6)]
        + [[thing(1, 0)]] * 5
    )
    ids, state = play(frames, STUDY)
    assert ids[-1] == [2]
    assert not state.lost


@pytest.mark.parametrize("options", [FULL, STUDY, LOOKS])
def test_classes_never_mix(options):
    frames = [[thing(0, 0, label=1)]] * 5 + [[thing(0, 0, label=2)]] * 3
    ids, state = play(frames, options)
    assert ids[5:] == [[0], [2], [2]]
    assert [(track.id, track.label) for track in state.lost] == [(1, 1)]  # nor is it a duplicate


def test_memory_recalls_an_earlier_look():
    """Its look changes in place, it is lost, and turns up elsewhere as it first was."""
    frames = [[thing(0, 0)], [thing(1, 0)], [], [thing(0, 300)]]

    def play_rsm(options):
        state = CascadeState()
        for frame in frames:
            state, ids = step(state, frame, rsm, options, 30.0)
        return ids.tolist(), state

    assert play_rsm(STUDY)[0] == [0]
    ids, state = play_rsm(replace(STUDY, memory=2))
    assert ids == [1]
    assert [points.argmax().item() for points in state.tracked[0].points] == [1, 0]


def test_without_motion_boxes_are_never_looked_at():
    rng = np.random.default_rng(0)

    def scene(jitter):
        boxes = np.random.default_rng(1)
        for t in range(12):
            looks = [0, 1, 2, 3] if t % 4 else [0, 2, 3]
            frame = [thing(look, 50 * look + t) for look in looks]
            yield [replace(o, box=boxes.uniform(-1e3, 1e3, 4)) if jitter else o for o in frame]

    def shuffled(frames):
        for frame in frames:
            boxes = [frame[index].box for index in rng.permutation(len(frame))]
            yield [replace(o, box=box) for o, box in zip(frame, boxes, strict=True)]

    plain, _ = play(scene(False), LOOKS)
    assert plain[1:3] == [[1, 0, 2, 3], [1, 4, 2, 3]]
    assert play(scene(True), LOOKS)[0] == plain
    assert play(shuffled(scene(False)), LOOKS)[0] == plain


def random_clip(seed):
    rng = np.random.default_rng(seed)
    for _ in range(15):
        count = rng.integers(0, 7)
        points = torch.from_numpy(rng.normal(size=(count, 3, 4))).float()
        corners = rng.uniform(0, 100, size=(count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(5, 60, size=(count, 2))], axis=1)
        scores, labels = rng.uniform(0, 1, count), rng.integers(0, 2, count)
        yield [
            Observation(p, b, float(s), int(c))
            for p, b, s, c in zip(points, boxes, scores, labels, strict=True)
        ]


@pytest.mark.parametrize("options", [FULL, STUDY, LOOKS, replace(STUDY, confirm_at_birth=True, memory=3)])
@pytest.mark.parametrize("seed", range(2))
def test_laws_that_hold_on_noise(options, seed):
    """Same input, same output; ids are unique in a frame and of tracked tracks; a track is in one list only."""
    runs = []
    for _ in range(2):
        state, all_ids = CascadeState(), []
        for observations in random_clip(seed):
            before = state
            state, ids = step(state, observations, rsm, options, 30.0)
            given = [id for id in ids if id]
            assert len(given) == len(set(given))
            assert sorted(given) == [track.id for track in state.tracked]
            everyone = [track.id for track in (*state.tracked, *state.unconfirmed, *state.lost)]
            assert len(everyone) == len(set(everyone))
            assert max(everyone, default=0) < state.next_id
            assert state.frames == before.frames + 1
            all_ids.append(ids.tolist())
        runs.append(all_ids)
    assert runs[0] == runs[1]


def best_by_hand(cost, limit):
    """Least sum over all partial matchings, where each row and column left alone costs limit / 2."""
    rows, columns = cost.shape
    sums = []
    for size in range(min(rows, columns) + 1):
        for some in combinations(range(rows), size):
            for others in permutations(range(columns), size):
                alone = rows + columns - 2 * size
                sums.append(sum(cost[r, c] for r, c in zip(some, others, strict=True)) + alone * limit / 2)
    return min(sums)


@pytest.mark.parametrize("seed", range(20))
def test_assign_finds_the_least_of_all_partial_matchings(seed):
    rng = np.random.default_rng(seed)
    cost = rng.uniform(0, 1, size=tuple(rng.integers(0, 5, 2)))
    cost[rng.uniform(size=cost.shape) < 0.2] = np.inf
    pairs = assign(cost, 0.6)
    assert all(cost[pair] < 0.6 for pair in pairs)
    assert len(set(chain(*((("row", r), ("column", c)) for r, c in pairs)))) == 2 * len(pairs)
    alone = sum(cost.shape) - 2 * len(pairs)
    assert sum(cost[pair] for pair in pairs) + 0.3 * alone == pytest.approx(best_by_hand(cost, 0.6))


def test_assign_prefers_one_cheap_pair_to_two_dear_ones():
    cost = np.array([[0.0, 0.65], [0.65, np.inf]])
    assert assign(cost, 0.7) == [(0, 0)]  # 0 + .7 against .65 + .65
    assert assign(cost, 2.0) == [(0, 1), (1, 0)]  # 0 + 2 against 1.3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"motion_weight": 1.5}, r"cascade: motion_weight is 1\.5, expected 0 to 1"),
        ({"memory": 0}, r"cascade: memory is 0, expected 1 or more"),
        ({"use_kalman": False}, r"cascade: motion_weight and gate without use_kalman; set"),
    ],
)
def test_options_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        CascadeOptions(**change)


def test_a_lost_track_does_not_keep_the_features_of_other_objects_alive():
    frames = []
    for time in range(20):
        features = torch.rand(50, 1, 8, generator=torch.Generator().manual_seed(time))
        frames.append(
            [replace(thing(0, 0, label=time), points=features[0])]
        )  # each of its own class: all are lost
    _, state = play(frames, replace(STUDY, confirm_at_birth=True))
    assert len(state.lost) == 19
    assert {track.points[0].untyped_storage().nbytes() for track in state.lost} == {8 * 4}
