"""Two models on the same clips: is one better, by how much, and could that be chance? Loads no torch."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import numpy as np

from unibench.errors import OutputError, UnknownNameError
from unibench.metrics import catalogue
from unibench.records import Score, Tally
from unibench.report import stored
from unibench.report.boards import Board, Setting, arrange, best_layer, best_value, setting_of
from unibench.report.comparable import RERUN, RowNames, check_knobs, row_names
from unibench.report.comparison import ALIKE, APART, TOO_FEW, UNDEFINED, Comparison
from unibench.report.leaderboard import Standing, Ties
from unibench.report.shared_clips import SharedClips
from unibench.results.store import ClipResult
from unibench.stats import tests
from unibench.tasks.registry import family_of

LEVEL = 0.05
"""Two models are told apart where the adjusted p is below this."""
_STANDINGS = {
    APART: Standing.BEHIND,
    ALIKE: Standing.TIED,
    TOO_FEW: Standing.TOO_FEW,
    UNDEFINED: Standing.UNDEFINED,
}

RowKey = tuple[str, str, Setting]
"""Name of the model on the board, layer, column."""
Run = Mapping[str, Score]
"""One layer of a model on one task: metric -> score, the headline first."""


def compare(
    out: Path, first: str, second: str, *, asked: Sequence[str] = (), metric: str = ""
) -> list[Comparison]:
    """Compare two models task by task, on the stored tallies of the clips that both have.

    Args:
        out: Root folder of the results.
        first: A model, or `model:layer`; without a layer, each task's better one by the headline. Of two models of one
            name, `model@hash` is the one whose hash of the weights begins so.
        second: The other, likewise.
        asked: Tasks: `vos/davis2016`, `vos/davis2016@crw`, or patterns of these; empty: all that both have.
        metric: Compare this one, on the tasks that have it; empty: the headline of each task.

    Returns:
        One a task, in the order of the boards.

    Raises:
        UnknownNameError: No such model, layer, task or metric in the folder.
        OutputError: A name is that of several models; the models have no task or no clip of a task in common, differ in
            a protocol hash or in the data of a clip, or the stored clips do not give the stored score.
    """
    scores, names = stored.scores(out), (first, second)
    boards = [arrange(_chosen_rows(scores, name, out), out=out) for name in names]
    runs = [_runs(board) for board in boards]
    pairs = [
        [of_side[_better(board, one)] for board, of_side in zip(boards, runs, strict=True)]
        for one in _common(boards, names, asked)
    ]
    rows = _chosen(pairs, metric)
    paired = [_compare(out, one, other) for one, other in rows]
    judged = _judge([(one.p, one.clips) for one, _ in paired])
    return [
        Comparison(
            setting=setting_of(one),
            metric=one.metric,
            names=names,
            layers=(one.layer, other.layer),
            paired=result,
            p_holm=adjusted,
            verdict=_verdict(one.metric, names, result, finding, undefined),
        )
        for (one, other), (result, undefined), (adjusted, finding) in zip(rows, paired, judged, strict=True)
    ]


def ties(board: Board, out: Path) -> Ties:
    """Find which rows of a leaderboard cannot be told apart from the best of their column.

    In each headline column every row is tested against the best one, clip by clip, and the p-values are adjusted
    over the rows of the column.

    Args:
        board: Scores in order.
        out: Root folder of the results, with the clips that they were pooled from.

    Returns:
        For every row that has a score in a column, how it stands there.
    """
    found: dict[RowKey, Standing] = {}
    for setting in board.settings:
        metric = board.metrics[setting][0]
        rows = {
            (model, layer, setting): score
            for (model, layer, column, name), score in board.scores.items()
            if (column, name) == (setting, metric) and not math.isnan(score.value)
        }
        best = best_value(metric, [score.value for score in rows.values()])
        if best is not None:
            leader = next(key for key, score in rows.items() if score.value == best)
            found |= _standings(out, rows, leader, board.shared.get(setting))
    return found


def _chosen_rows(scores: Sequence[Score], name: str, out: Path) -> list[Score]:
    """What is stored of one side: a model, or one layer of it."""
    rows = row_names(scores)
    word, _, layer = (name, "", "") if _models(rows, name) else name.rpartition(":")
    models = _models(rows, word)
    if not models:
        raise UnknownNameError("model", name, set(rows.values()), f"unibench leaderboard -o {out}")
    if len(models) > 1:
        raise OutputError(
            f"compare: {len(models)} models are called {word!r}, expected one; name it "
            f"{' or '.join(f'{model}@{weights}' for model, weights in models)}, or by the first digits of that"
        )
    chosen = [score for score in scores if (score.model, score.weights_hash) == models[0]]
    layers = {score.layer for score in chosen}
    if layer and layer not in layers:
        raise UnknownNameError(f"layer of model {word!r}", layer, layers)
    return [score for score in chosen if layer in ("", score.layer)]


def _models(rows: RowNames, word: str) -> list[tuple[str, str]]:
    """The models that a word means: `name`, `name@` and the first digits of the hash, or the name that boards show."""
    name, _, digits = word.rpartition("@")
    if (name, digits) in rows:  # in full, while another may begin so
        return [(name, digits)]
    return [
        (model, weights)
        for (model, weights), row in sorted(rows.items())
        if word in (model, row) or (model == name and digits and weights.startswith(digits))
    ]


def _common(boards: Sequence[Board], names: tuple[str, str], asked: Sequence[str]) -> list[Setting]:
    common = [setting for setting in boards[0].settings if setting in boards[1].settings]
    if not common:
        raise OutputError(
            f"{' and '.join(names)}: no task in common, expected one or more; run both on the same tasks"
        )
    matches = {pattern: [one for one in common if _matches(one, pattern)] for pattern in asked}
    for pattern, matched in matches.items():
        if not matched:
            raise UnknownNameError("task that both models have", pattern, map(str, common))
    return [one for one in common if not asked or any(one in matched for matched in matches.values())]


def _matches(setting: Setting, pattern: str) -> bool:
    """Whether a user's word means this column: with or without the protocol and the detections."""
    names = setting.task, str(setting), str(setting).removesuffix(f"+{setting.detections}")
    return any(fnmatchcase(name, pattern) for name in names)


def _better(board: Board, setting: Setting) -> RowKey:
    model = board.models[0].name
    layer = best_layer(board, model, setting)
    assert layer is not None, f"{model} was not run on {setting}"
    return model, layer, setting


def _chosen(pairs: Sequence[Sequence[Run]], metric: str) -> list[tuple[Score, Score]]:
    """The scores of one metric, or of each task's headline, where both sides have it."""
    known = dict.fromkeys(name for one, other in pairs for name in one if name in other)
    if metric and metric not in known:
        raise UnknownNameError("metric", metric, known)
    names = [metric or next(iter(one)) for one, _ in pairs]
    return [
        (one[name], other[name])
        for (one, other), name in zip(pairs, names, strict=True)
        if name in one and name in other
    ]


def _runs(board: Board) -> Mapping[RowKey, Run]:
    runs: dict[RowKey, dict[str, Score]] = {}
    for (model, layer, setting, metric), score in sorted(
        board.scores.items(), key=lambda item: not item[1].headline
    ):
        runs.setdefault((model, layer, setting), {})[metric] = score
    return runs


def _compare(out: Path, one: Score, other: Score) -> tuple[tests.Paired, list[str]]:
    """Both scores on the common clips, and the clips whose tally of either is NaN."""
    setting = str(setting_of(one))
    # says more than the hashes, where runs have noted their knobs
    check_knobs(setting, [one, other], row_names([one, other]), out)
    if one.protocol_hash != other.protocol_hash:
        raise OutputError(
            f"{setting}: protocol_hash is {one.protocol_hash} for {one.model}/{one.layer} and "
            f"{other.protocol_hash} for {other.model}/{other.layer}, expected the same; {RERUN}"
        )
    names, first, second = _tallies(one, other, stored.clips(out, one), stored.clips(out, other))
    scoring = family_of(one.task).scoring
    found = tests.compare(first, second, scoring.pool, additive=scoring.additive)[one.metric]
    tallies = zip(names, first, second, strict=True)
    return found, [name for name, *both in tallies if any(map(_has_nan, both))]


def _tallies(
    one: Score, other: Score, mine: Mapping[str, ClipResult], theirs: Mapping[str, ClipResult]
) -> tuple[list[str], list[Tally], list[Tally]]:
    """The clips that both have and their tallies; an error where they are not of the same data."""
    where = f"{one.model}/{one.layer} and {other.model}/{other.layer} on {setting_of(one)}"
    common = [name for name in mine if name in theirs]
    if not common:
        raise OutputError(f"{where}: no clip in common, expected one or more; run both on the same clips")
    for name in common:
        if mine[name].data != theirs[name].data:
            raise OutputError(
                f"{where}: clip {name!r} has data {mine[name].data} of {mine[name].frames} frames and "
                f"{theirs[name].data} of {theirs[name].frames}, expected the same; run both on the same data"
            )
    return common, [mine[name].tally for name in common], [theirs[name].tally for name in common]


def _has_nan(tally: Tally) -> bool:
    return any(np.isnan(value).any() for value in tally.values())


def _standings(out: Path, rows: Mapping[RowKey, Score], leader: RowKey, shared: SharedClips | None) -> Ties:
    """How the rows of one column stand to the best of it; UNCOMPARED where the clips do not allow a test."""
    others = [key for key in rows if key != leader]
    found = _findings(out, [(rows[leader], rows[key]) for key in others], shared)
    return {leader: Standing.BEST} | {
        key: Standing.UNCOMPARED if one is None else _STANDINGS[one]
        for key, one in zip(others, found, strict=True)
    }


def told_apart(
    board: Board, out: Path, setting: Setting, pairs: Sequence[tuple[RowKey, RowKey]]
) -> list[bool]:
    """Find which pairs of rows of one column the test of the leaderboard tells apart, p adjusted over these pairs.

    Args:
        board: Scores in order.
        out: Root folder of the results, with the clips that they were pooled from.
        setting: The column.
        pairs: Of rows that have a score there.
    """
    metric = board.metrics[setting][0]
    scores = [(board.scores[*one, metric], board.scores[*other, metric]) for one, other in pairs]
    return [one == APART for one in _findings(out, scores, board.shared.get(setting))]


def _findings(
    out: Path, pairs: Sequence[tuple[Score, Score]], shared: SharedClips | None
) -> list[str | None]:
    """What the paired test says of each pair of one column, see `_judge`; None where the clips do not allow a test."""

    @cache
    def clips(score: Score) -> Mapping[str, ClipResult]:
        found = stored.clips(out, score)
        return {name: found[name] for name in shared.names} if shared else found

    tested: dict[int, tuple[float | None, int]] = {}
    for place, (one, other) in enumerate(pairs):
        with suppress(OutputError):  # `compare` says what is the matter
            _, first, second = _tallies(one, other, clips(one), clips(other))
            scoring = family_of(one.task).scoring
            chances = tests.permutation(first, second, scoring.pool, additive=scoring.additive)
            tested[place] = chances[one.metric], len(first)
    judged = dict(zip(tested, _judge(list(tested.values())), strict=True))
    return [judged[place][1] if place in judged else None for place in range(len(pairs))]


def _judge(tested: Sequence[tuple[float | None, int]]) -> list[tuple[float | None, str]]:
    """From p and number of clips of one family of tests to adjusted p, and APART, ALIKE, TOO_FEW or UNDEFINED.

    UNDEFINED where there are clips enough for a test and yet no p: the metric is NaN. TOO_FEW also where the test could
    not have told any two models apart: with n clips p is at least 2 / 2**n.
    """
    p = [one for one, _ in tested]
    judged = []
    for place, ((_, clips), adjusted) in enumerate(zip(tested, tests.holm(p), strict=True)):
        least = tests.holm([*p[:place], 2 / 2**clips, *p[place + 1 :]])[place]
        apart = adjusted is not None and adjusted < LEVEL
        hopeless = adjusted is None or least is None or least >= LEVEL
        undefined = adjusted is None and clips >= tests.FEWEST_PAIRS
        finding = APART if apart else UNDEFINED if undefined else TOO_FEW if hopeless else ALIKE
        judged.append((adjusted, finding))
    return judged


def _verdict(
    metric: str, names: tuple[str, str], paired: tests.Paired, finding: str, undefined: Sequence[str]
) -> str:
    if finding == UNDEFINED and undefined:
        return f"{UNDEFINED}: NaN in {', '.join(undefined)}"
    if finding != APART:
        return finding
    side = catalogue.find(metric).direction * (paired.first - paired.second)
    return f"{names[0] if side > 0 else names[1]} is better" if side else APART
