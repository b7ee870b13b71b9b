"""The transformer of one frame and of two: the authors' results, gradients, padding."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.joint.known import arrays, close, fill
from unibench.joint.layers.deformable_transformer import (
    DeformableTransformer,
    Level,
    TrackQueries,
    TransformerOptions,
)
from unibench.joint.layers.sine import sine_2d, sine_3d

DEFORMABLE_DETR = TransformerOptions(
    dim=32, levels=4, frames=1, heads=4, points=4, feedforward=48, encoder_layers=2, decoder_layers=3, dropout=0.1
)  # fmt: skip
TRACKFORMER = replace(DEFORMABLE_DETR, dim=36, levels=2, frames=2)
SMALL = replace(DEFORMABLE_DETR, dim=12, levels=2, heads=2, points=2, feedforward=8, dropout=0.0)


def test_results_are_those_of_deformable_detr_s_code(gold: Path) -> None:
    known = arrays(gold, "deformable_detr_transformer")
    transformer = fill(DeformableTransformer(DEFORMABLE_DETR), gold, "deformable_detr_transformer")
    frame = [Level(known[f"src{i}"], known[f"pos{i}"], known[f"mask{i}"]) for i in range(4)]
    close(transformer.encode(frame, 0).tokens, known["memory"])
    decoded = transformer([frame], known["query_embed"])
    close(decoded.hidden, known["hidden"])
    close(decoded.boxes, known["references"])
    first = transformer.reference_points(known["query_embed"][:, :32]).sigmoid()
    close(first.expand(2, -1, -1), known["init_reference"])


def test_results_of_two_frames_with_track_queries_are_those_of_trackformer_s_code(gold: Path) -> None:
    known = arrays(gold, "trackformer_transformer")
    transformer = fill(DeformableTransformer(TRACKFORMER), gold, "trackformer_transformer")
    positions = [sine_3d(known[f"mask{i}"], 36, 2) for i in range(2)]
    frames = [
        [Level(known[f"{name}{i}"], positions[i][:, time], known[f"mask{i}"]) for i in range(2)]
        for time, name in enumerate(("previous", "current"))
    ]
    memories = [transformer.encode(levels, time) for time, levels in enumerate(frames)]
    close(memories[0].tokens, known["memory_previous"])
    close(memories[1].tokens, known["memory_current"])
    tracks = TrackQueries(known["track_content"], known["track_boxes"][..., :2])
    decoded = transformer(frames, known["query_embed"], tracks)
    close(decoded.hidden, known["hidden"])
    close(decoded.boxes, known["references"])


def random_frame(shapes: list[tuple[int, int]], *, rows: float = 1.0, batch: int = 1) -> list[Level]:
    """Maps whose last image is padding below a share of its rows, of at least one row."""
    levels = []
    for h, w in shapes:
        padding = torch.zeros(batch, h, w, dtype=torch.bool)
        padding[-1, max(1, round(h * rows)) :] = True
        features = torch.randn(batch, SMALL.dim, h, w, requires_grad=True)
        levels.append(Level(features, sine_2d(padding, SMALL.dim), padding))
    return levels


def spread(transformer: DeformableTransformer) -> DeformableTransformer:
    """Give every parameter that starts at 0 a value, so that all parts matter."""
    for one in transformer.parameters():
        if not one.any():
            torch.nn.init.normal_(one, std=0.1)
    return transformer


@pytest.mark.parametrize("shapes", [[(6, 5), (3, 3)], [(1, 1), (1, 1)], [(1, 7), (1, 4)], [(2, 1), (1, 1)]])
def test_an_image_of_one_row_and_a_level_of_one_cell_give_finite_boxes_and_gradients(
    shapes: list[tuple[int, int]],
) -> None:
    torch.manual_seed(0)
    transformer = spread(DeformableTransformer(SMALL))
    frame = random_frame(shapes, rows=0, batch=2)
    decoded = transformer([frame], torch.randn(5, 24))
    assert decoded.hidden.isfinite().all()
    assert ((decoded.boxes > 0) & (decoded.boxes < 1)).all()
    (decoded.hidden.square().sum() + decoded.boxes.sum()).backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in transformer.parameters())
    assert all(one.features.grad is not None and one.features.grad.isfinite().all() for one in frame)


def test_a_level_of_nothing_but_padding_gives_finite_boxes_and_gradients() -> None:
    torch.manual_seed(0)
    transformer = spread(DeformableTransformer(SMALL))
    fine, coarse = random_frame([(4, 4), (2, 2)])
    empty = replace(coarse, padding=torch.ones_like(coarse.padding))
    decoded = transformer([[fine, empty]], torch.randn(5, 24))
    assert ((decoded.boxes > 0) & (decoded.boxes < 1)).all()
    decoded.boxes.sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in transformer.parameters())


def test_what_is_in_the_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    transformer = spread(DeformableTransformer(SMALL)).eval()
    queries = torch.randn(5, 24)
    frame = random_frame([(6, 5), (4, 3)], rows=0.5)
    other = [replace(one, features=one.features + 9 * one.padding[:, None]) for one in frame]
    first, second = transformer([frame], queries), transformer([other], queries)
    assert torch.equal(first.boxes, second.boxes)
    assert torch.equal(first.hidden, second.hidden)


def test_gradients_of_a_layer_s_boxes_do_not_pass_into_the_box_networks_before_it() -> None:
    torch.manual_seed(0)
    transformer = spread(DeformableTransformer(SMALL))
    transformer([random_frame([(4, 4), (2, 2)])], torch.randn(3, 24)).boxes[1].sum().backward()
    touched = [network.layers[2].weight.grad.any().item() for network in transformer.decoder.bbox_embed]
    assert touched == [False, True, False]


def test_no_track_queries_are_the_same_as_none_and_their_positions_are_theirs_alone() -> None:
    torch.manual_seed(0)
    options = replace(SMALL, frames=2)
    transformer = spread(DeformableTransformer(options)).eval()
    frames, queries = [random_frame([(4, 4), (2, 2)]) for _ in range(2)], torch.randn(3, 24)
    none = TrackQueries(torch.zeros(1, 0, 12), torch.zeros(1, 0, 2))
    alone = transformer(frames, queries)
    assert torch.equal(transformer(frames, queries, none).boxes, alone.boxes)
    content, centres = torch.randn(1, 2, 12), torch.rand(1, 2, 2)
    both = transformer(frames, queries, TrackQueries(content, centres))
    swapped = transformer(frames, queries, TrackQueries(content.flip(1), centres.flip(1)))
    assert both.boxes.shape == (3, 1, 5, 4)
    close(swapped.boxes[:, :, :2], both.boxes[:, :, :2].flip(2))
    assert not torch.allclose(both.boxes[:, :, 2:], alone.boxes)


def test_frames_are_not_interchangeable() -> None:
    torch.manual_seed(0)
    transformer = spread(DeformableTransformer(replace(SMALL, frames=2))).eval()
    frames, queries = [random_frame([(4, 4), (2, 2)]) for _ in range(2)], torch.randn(3, 24)
    assert not torch.allclose(transformer(frames, queries).boxes, transformer(frames[::-1], queries).boxes)


def test_untrained_boxes_lie_at_the_references_and_are_small() -> None:
    torch.manual_seed(0)
    transformer = DeformableTransformer(SMALL).eval()
    queries = torch.randn(3, 24)
    boxes: Tensor = transformer([random_frame([(4, 4), (2, 2)])], queries).boxes
    points = transformer.reference_points(queries[:, :12]).sigmoid()
    close(boxes[..., :2], points.expand(3, 1, -1, -1))
    close(boxes[..., 2:], torch.tensor(-2.0).sigmoid().expand(3, 1, 3, 2))
