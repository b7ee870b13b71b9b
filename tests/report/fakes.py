"""Small boards, made by hand or from a seed."""

import math

import numpy as np

from unibench.records import Score
from unibench.report.boards import BoardModel

TASKS = {
    "sot/otb2015": "AUC",
    "vos/davis2017": "J-mean",
    "mot/mot16": "IDF1",
    "mots/mots20": "IDF1",
    "posetrack/posetrack18": "IDF1",
}


def score(
    model="dino", layer="layer3", task="vos/davis2017", metric="J-mean", value=0.5, *, protocol="unitrack",
    detections="", clips=30, frames=1999, partial=False, headline=True, protocol_hash="p1", weights_hash="w1",
    data_hash="d1", ci_low=math.nan, ci_high=math.nan,
):  # fmt: skip
    return Score(
        model, layer, task, task.split("/")[1], protocol, "1.0", detections, metric, value, ci_low, ci_high,
        clips, frames, partial, headline, protocol_hash, weights_hash, data_hash,
    )  # fmt: skip


def fact(name, top1=None, reference=False, group="image"):
    return BoardModel(name, top1, name.upper(), reference, group)


def board_of(count, tasks=TASKS, missing=()):
    """Scores and facts of so many models with two layers, the first a supervised reference."""
    rng = np.random.default_rng(5)
    scores, facts = [], []
    for index in range(count):
        facts.append(fact(f"m{index}", 0.6 + 0.01 * index, index == 0, ["image", "video"][index % 2]))
        for task, metric in tasks.items():
            if (f"m{index}", task) not in missing:
                scores += [
                    score(f"m{index}", layer, task, metric, float(rng.random()))
                    for layer in ("layer3", "layer4")
                ]
    return scores, facts
