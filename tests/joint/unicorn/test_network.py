"""Unicorn's network: the authors' tensors, arrays and losses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.joint.known import arrays, close, fill, manifest
from tests.joint.test_assign import corners
from unibench.joint import systems
from unibench.joint.layers.losses import dice
from unibench.joint.system import Targets
from unibench.joint.training import config as configs
from unibench.joint.training import pretrained
from unibench.joint.unicorn import interaction, loss
from unibench.joint.unicorn.config import UnicornConfig
from unibench.joint.unicorn.head import Head, prior_pyramid
from unibench.joint.unicorn.network import Pair, Unicorn
from unibench.joint.unicorn.tracker import choose, on_canvas

SYSTEM = systems.find("unicorn")
OFFICIAL = ("tiny_mask", "tiny", "large_mask", "large_mot_challenge_mask", "r50_mask")
TOY: UnicornConfig = configs.read("toy", SYSTEM)
NARROW = replace(TOY.network, groups=16, head_channels=32, head_blocks=3, tower_convs=4, mask_channels=0)


def targets(
    boxes: Tensor, classes: Tensor, ids: Tensor | None = None, masks: Tensor | None = None
) -> Targets:
    count = len(boxes)
    given = {} if masks is None else {"masks": masks}
    return Targets(
        boxes=boxes, classes=classes.long(), ids=torch.arange(count) if ids is None else ids,
        embeddings=torch.zeros(count, 0), ignored=torch.zeros(0, 4), **given,
    )  # fmt: skip


def test_a_detector_of_coco_gives_its_rows_and_its_twins(tmp_path: Path) -> None:
    """As the authors' code: eight of the 80 classes, and objects and boxes for the prompted head as well."""
    classes = ("pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    torch.manual_seed(0)
    detector = Unicorn(replace(TOY, classes=tuple(f"coco {number}" for number in range(80))))
    tensors = {
        name: value
        for name, value in detector.state_dict().items()
        if name.startswith(("backbone.", "head.")) and "_sot" not in name
    }
    torch.save({"model": tensors}, tmp_path / "detector.pth")
    network = Unicorn(replace(TOY, classes=classes))
    fresh = network.head.cls_preds_sot[0].bias.clone()
    report = pretrained.start(network, tmp_path / "detector.pth")
    assert report.misshapen == ()
    rows = [0, 0, 2, 7, 5, 6, 3, 1]
    for level in range(3):
        assert torch.equal(network.head.cls_preds[level].weight, detector.head.cls_preds[level].weight[rows])
        for name in ("obj_preds", "reg_preds"):
            twin = getattr(network.head, f"{name}_sot")[level]
            assert torch.equal(twin.weight, getattr(detector.head, name)[level].weight)
    assert torch.equal(network.head.cls_preds_sot[0].bias, fresh)
    own = {name.partition(".")[0] for name in report.fresh}
    assert own == {"head", "bottleneck", "upsample_layer", "pos_emb", "transformer"}
    assert {name for name in report.fresh if name.startswith("head.")} == {
        f"head.cls_preds_sot.{level}.{one}" for level in range(3) for one in ("weight", "bias")
    }


@pytest.mark.parametrize("name", OFFICIAL)
def test_tensors_and_constants_are_those_of_the_official_file(gold: Path, name: str) -> None:
    with torch.device("meta"):
        network = Unicorn(configs.read(name, SYSTEM))
    assert {key: tuple(one.shape) for key, one in network.state_dict().items()} == manifest(gold, name)
    for key, module in network.named_modules():
        if isinstance(module, nn.GroupNorm):
            assert (module.num_groups, module.eps) == ((32, 1e-5) if key == "bottleneck.1" else (16, 1e-3)), (
                key
            )
        if isinstance(module, nn.LayerNorm):
            assert module.eps == (1e-5 if key.startswith("transformer.") else 1e-6), key
        if isinstance(module, nn.BatchNorm2d):
            assert module.eps == 1e-3, key


def test_embeddings_priors_and_correspondence_losses_are_those_of_the_authors_code(gold: Path) -> None:
    known = arrays(gold, "unicorn_interaction_embedding")
    options = replace(
        TOY.network, interaction_channels=64, interaction_groups=32, heads=8, points=4, feedforward=96, positions=6,
        embedding=32, widths=(12, 24, 48, 96), groups=4,
    )  # fmt: skip
    network = Unicorn(replace(TOY, network=options))
    for unused in ("backbone", "head"):
        delattr(network, unused)
    fill(network, gold, "unicorn_interaction_embedding")
    close(network.pos_emb(5, 8), known["pos"])
    first, second = network.embed(known["ref"], known["cur"])
    close(first, known["embed_ref"])
    close(second, known["embed_cur"])
    scale, boxes = known["embed_scale"].float(), known["targets"]
    first, second = first * scale, second * scale
    size = (80, 128)
    before, after = (corners(boxes[0, time, :, 1:5]) for time in (0, 1))
    label = interaction.label_maps(before[:1], size)
    close(label[None], known["label_ref"])
    close(interaction.label_maps(after[:1], size)[None], known["label_cur"])
    prior = interaction.propagate(first[0], second[0], label)
    for found, stride in zip(prior_pyramid(prior), (8, 16, 32), strict=True):
        close(found[None], known[f"prior{stride}"])
    cells = torch.eye(160).view(160, 10, 16)
    correspondence = interaction.propagate(first[0], second[0], cells)  # one label a cell of the reference
    close(correspondence.sum(dim=0).flatten()[None], known["correspondence_colsum"])
    close(dice(prior.flatten()[None], known["label_cur"].flatten()[None])[0], known["dice_loss"])
    ids = boxes[0, :, :, 5].long()
    pair = Pair(first, second, None, None, None, None)
    clips = [
        targets(box[row > 0], torch.zeros(int((row > 0).sum())), row[row > 0])
        for box, row in zip((before, after), ids, strict=True)
    ]
    close(loss.instance_correspondence(pair, clips[:1], clips[1:]), known["mot_corr_loss"])


def test_priors_are_the_same_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    first, second, labels = torch.randn(4, 6, 5), torch.randn(4, 6, 5), torch.rand(2, 6, 5)
    whole = interaction.propagate(first, second, labels)
    monkeypatch.setattr(interaction, "PAIRS", 100)
    torch.testing.assert_close(interaction.propagate(first, second, labels), whole)


def test_detections_and_losses_are_those_of_the_authors_code(gold: Path) -> None:
    known = arrays(gold, "unicorn_head")
    head = fill(Head(NARROW, (32, 64, 128), 3), gold, "unicorn_head")
    maps = {"p3": known["f8"], "p4": known["f16"], "p5": known["f32"]}
    for task in ("mot", "sot"):
        outputs = head(maps, known["prior8"][:, 0] if task == "sot" else None, task)
        decoded = known[f"{task}_decoded"]
        boxes = torch.stack([corners(one) for one in decoded[..., :4]])
        close(outputs.boxes, boxes)
        close(outputs.objects.sigmoid(), decoded[..., 4])
        close(outputs.classes.sigmoid(), decoded[..., 5:])
        labels = known[f"labels_{task}"]
        rows = [one[one.sum(dim=1) > 0] for one in labels]
        truth = [targets(corners(one[:, 1:]), one[:, 0]) for one in rows]
        terms = loss.detection_losses(outputs, truth, (64, 96), TOY.losses)
        for own, theirs in {"overlap": "iou", "offset": "l1", "object": "conf", "class": "cls"}.items():
            close(terms[own].double(), known[f"{task}_{theirs}_loss"])
        close(sum(terms.values()).double(), known[f"{task}_total_loss"])


def test_a_prior_of_zero_is_no_prior_bit_for_bit() -> None:
    torch.manual_seed(0)
    network = Unicorn(TOY).eval()
    maps = network.look(torch.rand(1, 3, 64, 64) * 255)
    with_zeros, without = (network.head(maps, prior, "mot") for prior in (torch.zeros(1, 8, 8), None))
    assert torch.equal(with_zeros.boxes, without.boxes)
    assert torch.equal(with_zeros.scores, without.scores)
    assert not torch.equal(network.head(maps, torch.ones(1, 8, 8), "mot").boxes, without.boxes)


def test_chosen_objects_are_those_of_the_authors_code(gold: Path) -> None:
    known = arrays(gold, "unicorn_postprocess")
    decoded = known["decoded"][0]
    options = replace(TOY.detections, min_score=known["conf"].item(), nms_iou=known["nms"].item())
    boxes, scores = corners(decoded[:, :4]), decoded[:, 4:5] * decoded[:, 5:]
    cells, classes = choose(scores, boxes, options)
    kept = known["kept"]
    close(boxes[cells], kept[:, :4])
    assert torch.equal(classes, kept[:, 6].long())
    close(scores[cells, classes], kept[:, 4] * kept[:, 5])
    # where there is one class, as of a prompted object, boxes of all kinds suppress each other
    alone, _ = choose(scores.max(dim=1, keepdim=True).values, boxes, options)
    close(boxes[alone], known["kept_class_agnostic"][:, :4])


def test_the_canvas_is_that_of_the_authors_code(gold: Path) -> None:
    known = arrays(gold, "unicorn_preprocess")
    image: np.ndarray = known["image_rgb"].numpy()
    drawn, placement = on_canvas(image, replace(TOY.view, height=64, width=96))
    assert placement.scale[0] == known["ratio"].item()
    assert int((drawn.flip(0) - known["tensor_bgr"][0].float()).abs().max()) <= 1  # OpenCV rounds otherwise
    label = interaction.label_maps(known["box_xyxy_image"][None].float() * 1.2, (64, 96))
    close(label[None], known["label_map_stride8"])
