import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from heads.affinity import BLOCK, TILE, Source, Window, attend, global_topk, nearest, reference, windowed_topk

WINDOWS = [
    Window(3.0, "circle"),
    Window(2.5, "circle"),
    Window(3.0, "disc"),
    Window(2.0, "square"),
    Window(12.0, "circle"),
    None,
]


def grid(seed: int, h: int, w: int, channels: int = 16, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    values = torch.randn(channels, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(values, dim=0).to(dtype)


def scene(h: int, w: int, window: Window | None, repeats: int = 1, dtype: torch.dtype = torch.float32):
    labels = [grid(seed, h, w, 3, dtype).abs() for seed in (10, 11, 12)]
    sources = [
        Source(grid(1, h, w, dtype=dtype), labels[0], None),
        Source(grid(2, h, w, dtype=dtype), labels[1], window, repeats),
        Source(grid(3, h, w, dtype=dtype), labels[2], window),
    ]
    return grid(0, h, w, dtype=dtype), sources


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("size", [(16, 16), (17, 35), (5, 3), (1, 40)], ids=str)
@pytest.mark.parametrize("k", [1, 10, 40])
def test_tiles_and_search_agree_with_the_dense_reference(window, size, k):
    queries, sources = scene(*size, window)
    torch.testing.assert_close(
        attend(queries, sources, k, 0.05), reference(queries, sources, k, 0.05), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("repeats", [2, 5])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_a_repeated_source_competes_as_often_as_it_is_repeated(repeats, k):
    queries, sources = scene(18, 20, Window(4.0), repeats)
    listed = [sources[0], *[Source(sources[1].keys, sources[1].labels, Window(4.0))] * repeats, sources[2]]
    once = [Source(source.keys, source.labels, source.window) for source in sources]

    got = attend(queries, sources, k, 0.05)

    torch.testing.assert_close(got, reference(queries, listed, k, 0.05), rtol=0, atol=1e-5)
    if k > 1:
        assert not torch.allclose(got, attend(queries, once, k, 0.05), atol=1e-2)


@pytest.mark.parametrize("window", [Window(1.0, "circle"), Window(1.0, "disc")], ids=str)
def test_k_larger_than_what_is_seen_reads_what_is_seen(window):
    queries, sources = scene(6, 7, window)
    few = sources[1:]
    torch.testing.assert_close(
        attend(queries, few, 10_000, 0.05), reference(queries, few, 10_000, 0.05), rtol=0, atol=1e-5
    )
    found = windowed_topk(queries, [few[0].keys], 10, window)
    corner = 1 if window.shape == "circle" else 3
    assert torch.isfinite(found.similarity[0]).sum() == corner


@pytest.mark.parametrize(
    ("window", "seen"),
    [
        (Window(2.0, "circle"), 9),
        (Window(2.0, "disc"), 13),
        (Window(2.0, "square"), 25),
        (Window(12.0, "circle"), 437),  # lattice points with x^2 + y^2 < 144
        (Window(12.0, "disc"), 441),
        (Window(12.0, "square"), 625),
    ],
    ids=str,
)
def test_windows_hold_the_right_number_of_cells(window, seen):
    keys = grid(0, 41, 41)
    middle = windowed_topk(keys, [keys], 700, window).similarity[20 * 41 + 20]
    assert torch.isfinite(middle).sum() == seen


def test_global_search_is_the_same_through_faiss_and_through_blocks():
    queries, *parts = (
        grid(seed, *size).flatten(1).T for seed, size in enumerate([(15, 20), (13, 11), (4, 5)])
    )
    through_faiss = global_topk(queries, parts, 10)
    through_blocks = global_topk(queries.double(), [part.double() for part in parts], 10)
    assert through_faiss.key.max() >= 13 * 11
    assert torch.equal(through_faiss.key, through_blocks.key)
    torch.testing.assert_close(through_faiss.similarity, through_blocks.similarity.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fewer_keys_than_k_are_filled_up_with_nothing(dtype):
    found = global_topk(torch.eye(3, dtype=dtype), [torch.eye(3, dtype=dtype)], 5)
    assert found.similarity[:, :3].tolist() == [[1, 0, 0]] * 3
    assert found.key[:, 0].tolist() == [0, 1, 2]
    assert torch.isneginf(found.similarity[:, 3:]).all()
    assert (found.key[:, 3:] == 0).all()


def test_double_precision_is_kept():
    queries, sources = scene(9, 10, Window(3.0), dtype=torch.float64)
    got = attend(queries, sources, 10, 0.05)
    torch.testing.assert_close(got, reference(queries, sources, 10, 0.05), rtol=0, atol=1e-12)


def test_the_best_match_of_a_shifted_frame_is_the_shift():
    keys = grid(0, 20, 24)
    queries = keys.roll((2, -3), dims=(1, 2))
    best = nearest(queries, [keys], 1, Window(5.0)).key.view(20, 24)
    rows, columns = torch.meshgrid(torch.arange(2, 20), torch.arange(21), indexing="ij")
    assert torch.equal(best[2:, :21], (rows - 2) * 24 + columns + 3)


class _Largest(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, torch.Tensor):
                self.numel = max(self.numel, value.numel())
        return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["faiss", "blocks"])
def test_nothing_of_the_size_of_the_affinity_matrix_is_ever_held(dtype):
    queries, sources = scene(45, 60, Window(12.0), dtype=dtype)
    with _Largest() as largest:
        attend(queries, sources, 10, 0.05)
    block, tile = BLOCK * 45 * 60, TILE**2 * 2 * (TILE + 2 * 12) ** 2  # of one frame, of two frames
    assert largest.numel <= max(block, tile) < 3 * (45 * 60) ** 2 / 20
    with _Largest() as largest:
        reference(queries, sources, 10, 0.05)
    assert largest.numel == 3 * (45 * 60) ** 2


def test_a_window_says_what_is_wrong_with_it():
    with pytest.raises(ValueError, match=r"window: shape 'round'; there are: circle, disc, square"):
        Window(3.0, "round")
    with pytest.raises(ValueError, match=r"window: radius -1.0, expected more than 0 cells"):
        Window(-1.0)
