"""Masks by dynamic convolutions: the authors' features, logits and probabilities."""

from pathlib import Path

import pytest
import torch

from tests.joint.known import arrays, close, fill
from unibench.joint.layers import condinst
from unibench.joint.layers.condinst import MaskBranch, MaskHead, aligned_bilinear, convex_upsample
from unibench.joint.layers.losses import dice


@pytest.mark.parametrize("factor", [2, 4])
def test_aligned_up_sampling_is_that_of_the_authors_code(gold: Path, factor: int) -> None:
    known = arrays(gold, "unicorn_aligned_bilinear")
    close(aligned_bilinear(known["x"], factor), known[f"x{factor}"])
    assert aligned_bilinear(known["x"], 1) is known["x"]


def test_masks_are_those_of_the_authors_code(gold: Path) -> None:
    known = arrays(gold, "unicorn_condinst")
    branch = MaskBranch((32, 64, 128), 16, groups=16, eps=1e-3)
    fill(branch, gold, "unicorn_condinst")
    features, weights = branch((known["p3"], known["p4"], known["p5"]))
    close(features, known["mask_features"])
    close(weights, known["up_masks"])
    logits = MaskHead()(features[0], known["params"], known["locations"], known["levels"])
    close(logits[:, None], known["logits_stride8"])
    fine = convex_upsample(logits, weights[0]).sigmoid()
    close(fine[:, None], known["probabilities_stride2"])
    close(aligned_bilinear(fine[:, None], 2), known["probabilities_stride1"])
    close(dice(fine, known["true_masks"]).mean(), known["dice_loss"])


def test_parameters_are_split_as_in_the_authors_code(gold: Path) -> None:
    known = arrays(gold, "unicorn_condinst")
    assert known["params"].shape[1] == condinst.PARAMETERS
    parts = known["params"].split(condinst.SPLIT, dim=1)
    for part, name in zip(parts, ("w0", "w1", "w2", "b0", "b1", "b2"), strict=True):
        assert torch.equal(part.flatten(), known[name].flatten())
