"""Known scores: counted by hand on small clips, and not trivial on the rendered ones."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.metrics.scenes import block, boxes, masks, poses, square
from unibench import plugins
from unibench.datasets import BENCHMARKS
from unibench.metrics import vos
from unibench.records import EXCUSED, Labels, Truth
from unibench.tasks.association.track_counts import Pair, count_tracks
from unibench.tasks.known_answers import Answers, Case
from unibench.tasks.registry import FAMILIES

TRACKS = ("mot", "mots", "posetrack")
ANSWERS: dict[str, Answers] = {
    name: plugins.resolve(family.known_answers) for name, family in FAMILIES.items()
}


def case(family: str, name: str) -> Case:
    return next(one for one in ANSWERS[family].cases if one.name == name)


def expected(family: str, name: str, truth: Truth) -> dict[str, float | None]:
    chosen = case(family, name)
    part = chosen.part(truth)
    return dict(chosen.expect(ANSWERS[family].count(part, chosen.predict(part))))


def rendered(family: str, clip: int = 0) -> Truth:
    benchmark = BENCHMARKS[f"{family}/synthetic"]
    return benchmark.load(Path(), benchmark.names(Path())[clip])[1]


def paired(*frames: Sequence[tuple[str, int | None]]) -> list[list[Pair]]:
    """Frames of (track's letter, predicted identity); all of class 0."""
    return [
        [((0, ord(track)), None if name is None else (0, name)) for track, name in frame] for frame in frames
    ]


def test_every_family_has_answers_that_begin_with_the_truth_and_nothing() -> None:
    for family, answers in ANSWERS.items():
        assert [one.name for one in answers.cases[:2]] == ["truth", "empty"], family
        assert len(answers.cases) > 2
        assert answers.notes


def test_counts_of_two_tracks_that_swap_half_way() -> None:
    counts = count_tracks(paired(*[[("a", 1), ("b", 2)]] * 2, *[[("a", 2), ("b", 1)]] * 2))
    assert counts == {
        "objects": 8, "tracks": 2, "gaps": 0, "switches": 2, "idtp": 4,
        "AssA": pytest.approx(8 * 2 / (4 + 4 - 2)), "AssRe": 4, "AssPr": 4,
    }  # fmt: skip


def test_the_best_choice_of_identities_is_one_to_one() -> None:
    counts = count_tracks(paired(*[[("a", 1)]] * 3, *[[("b", 1)]] * 2, [("b", 2)]))
    assert counts["idtp"] == 3 + 1  # identity 1 goes to a, though b has it more often than 2
    assert counts["switches"] == 1


def test_a_track_that_is_not_seen_switches_when_it_comes_back_as_another() -> None:
    counts = count_tracks(paired([("a", 1), ("b", 2)], [("b", 2)], [("a", 3), ("b", 2)]))
    assert (counts["switches"], counts["gaps"]) == (1, 1)


def test_a_frame_without_anybody_of_the_class_is_no_gap() -> None:
    assert count_tracks(paired([("a", 1)], [], [("a", 1)]))["gaps"] == 0
    other: Pair = ((1, 9), (1, 9))
    frames = [[*frame, other] for frame in paired([("a", 1)], [], [("a", 1)])]
    assert count_tracks(frames)["gaps"] == 0


def test_nothing_said_has_objects_and_tracks_only() -> None:
    counts = count_tracks(paired([("a", None), ("b", None)], [("a", None)]))
    assert (counts["objects"], counts["tracks"]) == (3, 2)
    assert counts["idtp"] == counts["AssA"] == counts["switches"] == 0


@pytest.mark.parametrize("name", ["truth", "permuted"])
@pytest.mark.parametrize("family", TRACKS)
def test_perfect_is_one_for_fractions_and_zero_for_errors(family: str, name: str) -> None:
    scores = expected(family, name, rendered(family))
    tracks = {int(one) for labels in rendered(family).labels for one in labels.ids}
    for metric, value in scores.items():
        plain = metric.removeprefix("motmetrics:")
        if plain == "MT":
            assert value == len(tracks), metric
        elif plain in ("IDSW", "PT", "ML", "FP", "FN"):
            assert value == 0, metric
        elif plain != "Frag":
            assert value == 1, metric


@pytest.mark.parametrize("family", TRACKS)
def test_identities_drawn_anew_hurt_association_only(family: str) -> None:
    scores = expected(family, "redrawn", rendered(family))
    assert all(scores[name] == 1 for name in ("DetA", "DetRe", "precision", "recall") if name in scores)
    assert all(scores[name] == 0 for name in ("FP", "FN") if name in scores)
    assert all(scores[name] < 0.8 for name in ("IDF1", "AssA", "HOTA"))  # type: ignore[operator]
    assert scores["IDSW"] > 5  # type: ignore[operator]


@pytest.mark.parametrize("family", TRACKS)
def test_permuted_names_are_other_names_and_redrawn_ones_change(family: str) -> None:
    truth = rendered(family)
    known = {int(name) for labels in truth.labels for name in labels.ids}
    permuted = case(family, "permuted").predict(truth)
    assert not known & {int(name) for labels in permuted for name in labels.ids}
    pairs = {
        pair
        for labels, said in zip(truth.labels, permuted, strict=True)
        for pair in zip(labels.ids.tolist(), said.ids.tolist(), strict=True)
    }
    assert len(pairs) == len({new for _, new in pairs}) == len(known)
    redrawn = case(family, "redrawn")
    said, again = redrawn.predict(truth), redrawn.predict(truth)
    assert all(np.array_equal(one.ids, two.ids) for one, two in zip(said, again, strict=True))
    assert all(len(set(labels.ids.tolist())) == len(labels.ids) for labels in said)


def test_tracks_that_touch_are_taken_apart_long_ones_first() -> None:
    both = boxes({1: square(0), 2: square(5), 3: square(40)})
    truth = Truth((both, both, boxes({2: square(20), 3: square(40)})))
    kept = case("mot", "redrawn").part(truth)
    assert [labels.ids.tolist() for labels in kept.labels] == [[2, 3], [2, 3], [2, 3]]
    assert kept.labels[0].boxes.tolist() == [list(square(5)), list(square(40))]


def test_persons_touch_where_a_joint_is_within_half_a_head() -> None:
    def person(x: float) -> np.ndarray:
        return np.array([[x, 0, 1], [x, 50, 1]], dtype=float)

    near, far = (
        Truth((poses({1: person(0), 2: person(x)}),), scales=(np.array([10.0, 10.0]),)) for x in (5, 6)
    )
    part = case("posetrack", "redrawn").part
    assert [len(part(truth).labels[0].ids) for truth in (near, far)] == [1, 2]
    assert [len(part(truth).scales[0]) for truth in (near, far)] == [1, 2]


def test_sot_best_is_20_of_21_of_the_frames_with_a_box() -> None:
    flat = boxes({1: (5, 5, 5, 9)})
    truth = Truth((boxes({1: square(0)}), boxes({1: square(1)}), flat, Labels()))
    assert expected("sot", "truth", truth) == pytest.approx(
        {
            "AUC": 20 / 21 / 2,
            "SR.5": 0.5,
            "P@20": 0.5,
            "NormP": 0.5,
            "AO": 1 / 3,
            "SR50": 1 / 3,
            "SR75": 1 / 3,
        }
    )
    assert expected("sot", "empty", truth) == pytest.approx(
        {"AUC": 20 / 21 / 4, "SR.5": 0.25, "P@20": 0.25, "NormP": 0.25, "AO": 0, "SR50": 0, "SR75": 0}
    )
    assert expected("sot", "points", truth) == pytest.approx(
        {"AUC": 20 / 21 / 4, "SR.5": 0.25, "P@20": 0.5, "NormP": 0.5, "AO": 0, "SR50": 0, "SR75": 0}
    )


def test_vos_nothing_is_right_where_the_object_is_out_of_sight() -> None:
    there, away = block(2, 8, 2, 8), block(0, 0, 0, 0)
    both = masks({1: there, 2: block(10, 15, 10, 20)})
    truth = Truth((both, both, both, masks({1: away, 2: block(10, 15, 10, 20)}), both, both))
    scores = expected("vos", "empty", truth)  # frames 1 to 4 are scored
    assert scores["J-mean"] == scores["F-mean"] == scores["J&F"] == pytest.approx(1 / 4 / 2)
    assert scores["J-decay"] == pytest.approx((0 - 1 / 2) / 2)  # the last quarter holds frames 3 and 4
    assert expected("vos", "swapped", truth)["J-mean"] == 0
    alone = Truth((masks({1: there}),) * 4)
    assert expected("vos", "swapped", alone)["J-mean"] == 1


def test_vos_an_object_that_is_given_later_is_scored_from_then_on() -> None:
    early, late = block(2, 8, 2, 8), block(10, 15, 10, 20)
    truth = Truth((masks({1: early}),) * 2 + (masks({1: early, 2: late}),) * 4)
    assert expected("vos", "empty", truth)["J-mean"] == 0
    assert expected("vos", "swapped", truth)["J-mean"] == 1  # alone in frame 0, so nobody to swap with
    for name in ("truth", "empty", "swapped"):
        scores = vos.pool([vos.tally(truth, case("vos", name).predict(truth))])
        wanted = expected("vos", name, truth)
        assert {metric: scores[metric] for metric in wanted if wanted[metric] is not None} == pytest.approx(
            {metric: value for metric, value in wanted.items() if value is not None}
        )


def test_vos_a_mask_that_fills_the_frame_has_no_contour() -> None:
    full = block(0, 20, 0, 30)
    truth = Truth((masks({1: block(2, 8, 2, 8)}),) + (masks({1: full}),) * 4)
    scores = expected("vos", "empty", truth)
    assert (scores["J-mean"], scores["F-mean"], scores["J&F"]) == (0, 1, 0.5)


def test_joints_in_ignored_regions_are_not_counted() -> None:
    person = np.array([[3, 3, 1], [20, 10, 1], [9, 9, 0]], dtype=float)
    frames = (poses({1: person}),) * 3
    region = Labels(masks=masks({1: block(0, 6, 0, 6)}).masks, classes=np.array([EXCUSED]))
    truth = Truth(frames, (region,) * 3, (np.array([10.0]),) * 3)
    counts = ANSWERS["posetrack"].count(truth, frames)
    assert [counts[f"{joint}/objects"] for joint in range(3)] == [0, 2, 0]  # the last frame is not scored
