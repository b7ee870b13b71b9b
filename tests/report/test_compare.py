"""Two models on the same clips: who is better, who cannot be told apart, and what must not be compared."""

import csv
import math
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.ndimage import binary_erosion

from unibench.cli import main
from unibench.errors import OutputError, UnknownNameError
from unibench.geometry import masks
from unibench.metrics import vos
from unibench.records import Labels, Score, Truth
from unibench.report import comparison
from unibench.report.boards import Setting, arrange
from unibench.report.compare import ALIKE, APART, TOO_FEW, UNDEFINED, _judge, compare, ties
from unibench.report.leaderboard import Standing
from unibench.results.store import ClipResult, UnitKey, read_scores, write_clip, write_result
from unibench.stats import tests

VOS = "vos/davis2016"
SCORE = Score(
    model="", layer="", task="", benchmark="", protocol="", protocol_version="1.0", detections="", metric="",
    value=0.0, ci_low=math.nan, ci_high=math.nan, clips=0, frames=0, partial=False, headline=False,
    protocol_hash="p1", weights_hash="w1", data_hash="d1",
)  # fmt: skip


def tally(value):
    return {"objects": 1.0, **{f"{letter}-{name}": value for letter in "JF" for name in vos.STATISTICS}}


def store(
    out,
    model,
    tallies,
    *,
    task=VOS,
    layer="layer3",
    protocol="unitrack",
    protocol_hash="p1",
    data="da7a",
    weights="w1",
):
    """A result as a run would leave it; tallies: clip -> J of its one object, or a tally."""
    tallies = {
        clip: value if isinstance(value, dict) else tally(float(value)) for clip, value in tallies.items()
    }
    for clip, sums in tallies.items():
        key = UnitKey(model, weights, task, protocol, layer, clip)
        write_clip(out, ClipResult(key, 40, False, "f00d", f"{data} {clip}", sums))
    pooled = vos.pool(list(tallies.values()))
    score = replace(
        SCORE, model=model, layer=layer, task=task, protocol=protocol, protocol_hash=protocol_hash,
        weights_hash=weights,
        clips=len(tallies), frames=40 * len(tallies),
    )  # fmt: skip
    ordered = ["J-mean", *(name for name in pooled if name != "J-mean")]
    write_result(
        out,
        [replace(score, metric=one, value=pooled[one], headline=one == "J-mean") for one in ordered],
    )


def draws(count, *, seed=0, shift=0.0, first=0):
    """J of so many clips; the same seed gives the same clips."""
    values = 0.5 + 0.1 * np.random.default_rng(seed).standard_normal(first + count)
    return {f"clip{index:02}": values[index] + shift for index in range(first, first + count)}


def noisy(count, shift=0.0):
    """The same clips, each a little better or worse; the best of them is not better on the whole."""
    noise = 0.03 * np.random.default_rng(7).standard_normal(count)
    return {
        clip: value + one + shift
        for (clip, value), one in zip(draws(count).items(), noise - noise.mean(), strict=True)
    }


def test_a_model_that_is_better_on_every_clip_is_better(tmp_path):
    store(tmp_path, "a", draws(12, shift=0.02))
    store(tmp_path, "b", draws(12))
    (found,) = compare(tmp_path, "a", "b")
    assert found.verdict == "a is better"
    assert found.paired.first - found.paired.second == pytest.approx(0.02)
    assert found.paired.p == found.p_holm
    assert found.p_holm is not None
    assert found.p_holm < 0.01
    (turned,) = compare(tmp_path, "b", "a")
    assert turned.verdict == "a is better"


def test_noise_cannot_be_told_apart(tmp_path):
    store(tmp_path, "a", noisy(24))
    store(tmp_path, "b", draws(24))
    (found,) = compare(tmp_path, "a", "b")
    assert found.verdict == ALIKE
    assert found.paired.interval is not None
    assert found.paired.interval.low < 0 < found.paired.interval.high


def test_the_numbers_are_those_of_stats_on_the_tallies(tmp_path):
    first, second = draws(11, shift=0.03), draws(11, seed=1)
    store(tmp_path, "a", first)
    store(tmp_path, "b", second)
    (found,) = compare(tmp_path, "a", "b", metric="F-mean")
    sides = [[tally(float(value)) for value in side.values()] for side in (first, second)]
    assert found.paired == tests.compare(*sides, vos.pool)["F-mean"]
    assert found.paired.p == tests.permutation(*sides, vos.pool)["F-mean"]


def test_few_clips_give_no_verdict(tmp_path):
    store(tmp_path, "a", draws(5, shift=0.3))
    store(tmp_path, "b", draws(5))
    (found,) = compare(tmp_path, "a", "b")
    assert (found.verdict, found.p_holm, found.paired.interval) == (TOO_FEW, None, None)
    assert found.paired.first - found.paired.second == pytest.approx(0.3)


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_clip_that_is_nan_is_named(tmp_path, side):
    for model in "ab":
        values = noisy(30) if model == "a" else draws(30)
        store(tmp_path, model, {**values, "clip17": math.nan} if model == side else values)
    (found,) = compare(tmp_path, "a", "b")
    assert (found.verdict, found.paired.p, found.paired.clips) == ("not defined: NaN in clip17", None, 30)
    done = CliRunner().invoke(main, ["compare", "a", "b", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "NaN in" in done.output
    assert "too few" not in done.output
    assert "too alike" not in done.output


def test_too_few_clips_for_an_interval_are_enough_for_a_verdict_and_nothing_denies_it(tmp_path):
    store(tmp_path, "a", draws(12, shift=0.3))
    store(tmp_path, "b", draws(12))
    done = CliRunner().invoke(main, ["compare", "a", "b", "-o", str(tmp_path)])
    assert "a is better" in done.output
    table, _, below = done.output.partition("└")
    assert not re.search("fewer|too few|too alike", table)
    assert "Where no interval stands, fewer than 20 clips were compared" in below


def test_a_row_that_some_swaps_leave_undefined_is_said_to_be_so():
    assert _judge([(None, 24), (0.001, 24), (None, 5)]) == [
        (None, UNDEFINED),
        (0.002 / 2, APART),
        (None, TOO_FEW),
    ]


def test_six_clips_can_tell_one_pair_apart_but_not_two(tmp_path):
    # With six clips p is 2 / 2**6 = 0.031 at best; Holm doubles it where there are two tests.
    for task in (VOS, "vos/davis2017"):
        store(tmp_path, "a", draws(6, shift=0.3), task=task)
        store(tmp_path, "b", draws(6), task=task)
    (alone,) = compare(tmp_path, "a", "b", asked=[VOS])
    assert (alone.verdict, alone.p_holm) == ("a is better", 2 / 2**6)
    both = compare(tmp_path, "a", "b")
    assert [(one.verdict, one.p_holm) for one in both] == [(TOO_FEW, 4 / 2**6)] * 2


def test_only_common_clips_count(tmp_path):
    store(tmp_path, "a", draws(12))
    store(tmp_path, "b", draws(10, first=4, shift=-0.1))
    (found,) = compare(tmp_path, "a", "b")
    common = [draws(12)[f"clip{index:02}"] for index in range(4, 12)]
    assert found.paired.clips == 8
    assert found.paired.first == pytest.approx(np.mean(common))


def test_the_better_layer_is_taken_unless_one_is_named(tmp_path):
    store(tmp_path, "a", draws(10, shift=-0.2), layer="layer3")
    store(tmp_path, "a", draws(10, shift=0.2), layer="layer4")
    store(tmp_path, "b", draws(10))
    (found,) = compare(tmp_path, "a", "b")
    assert found.layers == ("layer4", "layer3")
    assert found.verdict == "a is better"
    (found,) = compare(tmp_path, "a:layer3", "b")
    assert found.verdict == "b is better"
    (found,) = compare(tmp_path, "a:layer3", "a:layer4")
    assert found.verdict == "a:layer4 is better"


def test_where_low_is_good_the_lower_is_better(tmp_path):
    store(tmp_path, "a", draws(12, shift=0.3))
    store(tmp_path, "b", draws(12))
    (found,) = compare(tmp_path, "a", "b", metric="J-decay")
    assert found.verdict == "b is better"


def test_tasks_are_named_with_and_without_protocol_and_detections(tmp_path):
    for model in "ab":
        store(tmp_path, model, draws(10))
        store(tmp_path, model, draws(10), protocol="crw")
        store(tmp_path, model, draws(10), task="vos/davis2017")
    for asked, count in (((), 3), ((VOS,), 2), ((f"{VOS}@crw",), 1), (("vos/*@unitrack",), 2), (("*",), 3)):
        assert len(compare(tmp_path, "a", "b", asked=asked)) == count


def test_of_two_models_of_one_name_each_is_compared_by_its_hash(tmp_path):
    store(tmp_path, "tdt", draws(12), weights="1a2b3c4d5e6f")
    store(tmp_path, "tdt", draws(12, shift=0.05), weights="99aabbccddee")
    for words in (
        ("tdt@1a", "tdt@99a"),
        ("tdt 1a2b3c4d", "tdt@99aabbccddee"),
        ("tdt@1:layer3", "tdt@9:layer3"),
    ):
        (found,) = compare(tmp_path, *words)
        assert found.names == words
        assert found.verdict == f"{words[1]} is better"
        assert found.paired.second - found.paired.first == pytest.approx(0.05)
    assert standings(tmp_path) == {("tdt 1a2b3c4d", VOS): "behind", ("tdt 99aabbcc", VOS): "best"}


def test_a_hash_in_full_is_meant_even_if_another_begins_so(tmp_path):
    store(tmp_path, "tdt", draws(12), weights="1a2b3c4d5e6f")
    store(tmp_path, "tdt", draws(12, shift=0.05), weights="1a2b3c4d5e6f+features=float16")
    (found,) = compare(tmp_path, "tdt@1a2b3c4d5e6f", "tdt 1a2b3c4d+features=float16")
    assert found.paired.second - found.paired.first == pytest.approx(0.05)


def two(out):
    store(out, "a", draws(10))
    store(out, "b", draws(10))


def test_an_unknown_name_is_an_error(tmp_path):
    two(tmp_path)
    with pytest.raises(UnknownNameError, match=r"no model 'c'; there are: a, b see: unibench leaderboard -o"):
        compare(tmp_path, "a", "c")
    with pytest.raises(UnknownNameError, match=r"no layer of model 'a' 'layer9'; did you mean 'layer3'\?"):
        compare(tmp_path, "a:layer9", "b")
    with pytest.raises(UnknownNameError, match="no metric 'IDF1'; there are: F-decay"):
        compare(tmp_path, "a", "b", metric="IDF1")
    with pytest.raises(
        UnknownNameError, match=r"no task that both models have 'sot/\*'; .*vos/davis2016@unit"
    ):
        compare(tmp_path, "a", "b", asked=["sot/*"])


def test_nothing_in_common_is_an_error(tmp_path):
    store(tmp_path, "a", draws(10))
    store(tmp_path, "b", draws(10), task="vos/davis2017")
    with pytest.raises(OutputError, match="a and b: no task in common"):
        compare(tmp_path, "a", "b")
    store(tmp_path, "c", draws(10, first=20))
    with pytest.raises(
        OutputError, match=r"a/layer3 and c/layer3 on vos/davis2016@unitrack: no clip in common"
    ):
        compare(tmp_path, "a", "c")


def test_what_was_not_run_alike_is_not_compared(tmp_path):
    two(tmp_path)
    store(tmp_path, "c", draws(10), protocol_hash="p2")
    with pytest.raises(
        OutputError, match="protocol_hash is p1 for a/layer3 and p2 for c/layer3, expected the same"
    ):
        compare(tmp_path, "a", "c")
    store(tmp_path, "c", draws(10), data="else")
    with pytest.raises(
        OutputError, match="clip 'clip00' has data da7a clip00 of 40 frames and else clip00 of 40"
    ):
        compare(tmp_path, "a", "c")


def test_a_score_without_clips_is_not_compared_with_any(tmp_path):
    two(tmp_path)
    for path in (tmp_path / "b").rglob("clips/*"):
        path.unlink()
    with pytest.raises(OutputError, match="a score without clips, expected both; run it again"):
        compare(tmp_path, "a", "b")


def standings(out):
    return {
        (model, setting.task): str(standing)
        for (model, _, setting), standing in ties(arrange(read_scores(out)), out).items()
    }


def test_rows_are_tied_with_the_best_or_behind_it(tmp_path):
    store(tmp_path, "a", draws(12))
    store(tmp_path, "b", noisy(12, shift=-0.001))
    store(tmp_path, "c", draws(12, shift=-0.2))
    store(tmp_path, "a", draws(5), task="vos/davis2017")
    store(tmp_path, "b", draws(5, shift=-0.3), task="vos/davis2017")
    assert standings(tmp_path) == {
        ("a", VOS): "best", ("b", VOS): "tied", ("c", VOS): "behind",
        ("a", "vos/davis2017"): "best", ("b", "vos/davis2017"): "too few clips",
    }  # fmt: skip


def test_a_row_without_its_clips_is_not_compared(tmp_path):
    two(tmp_path)
    store(tmp_path, "c", draws(10, shift=-0.3))
    for path in (tmp_path / "b").rglob("clips/*"):
        path.unlink()
    assert standings(tmp_path) == {("a", VOS): "best", ("b", VOS): "not compared", ("c", VOS): "behind"}
    for path in (tmp_path / "a").rglob("clips/*"):
        path.unlink()
    assert standings(tmp_path) == {("a", VOS): "best", ("b", VOS): "not compared", ("c", VOS): "not compared"}


def test_every_layer_is_a_row_and_an_undefined_score_is_none(tmp_path):
    store(tmp_path, "a", draws(12), layer="layer3")
    store(tmp_path, "a", draws(12, shift=0.1), layer="layer4")
    store(tmp_path, "b", dict.fromkeys(draws(12), math.nan))
    setting = Setting(VOS, "unitrack", "")
    assert ties(arrange(read_scores(tmp_path)), tmp_path) == {
        ("a", "layer3", setting): Standing.BEHIND,
        ("a", "layer4", setting): Standing.BEST,
    }


def test_the_command_prints_a_verdict_and_writes_a_table(tmp_path):
    store(tmp_path, "a", noisy(24, shift=0.02))
    store(tmp_path, "b", draws(24))
    store(tmp_path, "a", draws(3), task="vos/davis2017")
    store(tmp_path, "b", draws(3), task="vos/davis2017")
    done = CliRunner().invoke(main, ["compare", "a", "b", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "a is better" in done.output
    assert "+2.00" in done.output
    with (tmp_path / "compare.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    (found, _) = compare(tmp_path, "a", "b")
    assert found.paired.interval is not None
    assert first == {
        "task": VOS, "protocol": "unitrack", "detections": "", "metric": "J-mean", "first": "a",
        "first_layer": "layer3", "second": "b", "second_layer": "layer3", "first_score": str(found.paired.first),
        "second_score": str(found.paired.second), "difference": str(found.paired.first - found.paired.second),
        "ci_low": str(found.paired.interval.low), "ci_high": str(found.paired.interval.high),
        "p": str(found.paired.p), "p_holm": str(found.p_holm), "clips": "24", "verdict": "a is better",
    }  # fmt: skip
    blank = ("ci_low", "ci_high", "p", "p_holm")
    assert [second[name] for name in blank] == [""] * 4
    assert second["verdict"] == TOO_FEW


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    two(tmp_path)
    done = CliRunner().invoke(main, ["compare", "a", "zoo", "-o", str(tmp_path)])
    assert done.exit_code == 2
    assert done.output.count("\n") == 1
    assert "no model 'zoo'" in done.output


def test_comparing_loads_no_torch():
    code = "import sys, unibench.report.compare; print(sorted({'torch', 'matplotlib.pyplot'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [("AUC", 0.0123, "+1.23"), ("AUC", -0.0123, "-1.23"), ("AUC", 0.0, "0.00"), ("IDSW", 3.0, "+3")],
)
def test_differences_have_a_sign(metric, value, text):
    assert comparison.signed(metric, value) == text


def osvos(folder, clip, change):
    """OSVOS's masks of every eighth frame of a DAVIS clip, changed, as tallied."""

    def labels(file, change=lambda mask: mask):
        if not file.is_file():  # OSVOS gives no last frame
            return Labels()
        mask = np.ascontiguousarray(change(np.array(Image.open(file)) > 0))
        return Labels(ids=np.array([1]), masks=(masks.encode(mask),))

    files = sorted((folder / "gt" / clip).glob("*.png"))[::8]
    truth = Truth(tuple(labels(file) for file in files))
    return vos.tally(truth, [labels(folder / "pred" / clip / file.name, change) for file in files])


def test_real_masks_moved_at_random_are_alike_and_eroded_ones_are_worse(tmp_path, gold):
    """Two models that move OSVOS's masks of a clip by some pixels, each its own, differ by chance alone."""
    folder = gold / "davis16_osvos"
    clips = sorted(path.name for path in (folder / "gt").iterdir())
    moves = np.random.default_rng(0).choice([-4, -3, 3, 4], size=(2, len(clips)))
    for name, of_clips in zip("ab", moves, strict=True):
        tallies = {
            clip: osvos(folder, clip, partial(np.roll, shift=move, axis=1))
            for clip, move in zip(clips, of_clips, strict=True)
        }
        store(tmp_path, name, tallies)
    store(
        tmp_path,
        "eroded",
        {clip: osvos(folder, clip, partial(binary_erosion, iterations=8)) for clip in clips},
    )
    (alike,) = compare(tmp_path, "a", "b")
    (apart,) = compare(tmp_path, "a", "eroded")
    assert alike.paired.clips == 13
    assert alike.paired.first != alike.paired.second
    assert (alike.verdict, apart.verdict) == (ALIKE, "a is better")
    assert standings(tmp_path)["eroded", VOS] == "behind"
