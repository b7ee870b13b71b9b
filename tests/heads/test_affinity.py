import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from heads import affinity
from heads.affinity import LARGE_TILE, TILE, WHOLE_TILE, Source, Window, attend, nearest, reference

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
@pytest.mark.parametrize("size", [(12, 12), (13, 35), (5, 3), (1, 40)], ids=str)
@pytest.mark.parametrize("k", [1, 10, 40])
def test_tiles_agree_with_the_dense_reference(window, size, k):
    queries, sources = scene(*size, window)
    torch.testing.assert_close(
        attend(queries, sources, k, 0.05), reference(queries, sources, k, 0.05), rtol=0, atol=1e-5
    )


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs on other devices, where there is no oneDNN and tiles are large."""
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(affinity, "TILE", LARGE_TILE)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("size", [(32, 32), (33, 40), (5, 3)], ids=str)
def test_what_runs_off_the_cpu_agrees_too(window, size):
    queries, sources = scene(*size, window)
    torch.testing.assert_close(
        attend(queries, sources, 10, 0.05), reference(queries, sources, 10, 0.05), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("window", [Window(5.0), None], ids=str)
def test_half_precision_chooses_keys_but_does_not_weigh_them(dtype, window):
    queries, sources = scene(17, 20, window, repeats=2, dtype=dtype)
    exact = [Source(one.keys.float(), one.labels.float(), one.window, one.repeats) for one in sources]
    sources = [Source(one.keys, one.labels.float(), one.window, one.repeats) for one in sources]
    everything = 3 * 17 * 20

    read = attend(queries, sources, everything, 0.05)  # no choice to make
    assert read.dtype == torch.float32
    torch.testing.assert_close(read, reference(queries.float(), exact, everything, 0.05), rtol=0, atol=1e-5)
    # Either of two keys may be kept that differ by less than the rounding of their products, a unit in the last place.
    chosen = nearest(queries, [sources[1].keys], 10, window).similarity.sort(dim=1).values
    truth = nearest(queries.float(), [exact[1].keys], 10, window).similarity.sort(dim=1).values
    torch.testing.assert_close(chosen, truth, rtol=0, atol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("window", [Window(4.0), None], ids=str)
@pytest.mark.parametrize("repeats", [2, 5])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_a_repeated_source_competes_as_often_as_it_is_repeated(window, repeats, k):
    queries, sources = scene(18, 20, window, repeats)
    listed = [sources[0], *[Source(sources[1].keys, sources[1].labels, window)] * repeats, sources[2]]
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
    found = nearest(queries, [few[0].keys], 10, window)
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
    middle = nearest(keys, [keys], 700, window).similarity[20 * 41 + 20]
    assert torch.isfinite(middle).sum() == seen


@pytest.mark.parametrize("shape", ["circle", "disc", "square"])
@pytest.mark.parametrize("radius", [0.5, 1, 1.0, 1.5, 2, 3.7, 12, 12.0])
def test_the_reach_is_the_farthest_offset_that_is_seen(shape, radius):
    window = Window(radius, shape)
    offsets = torch.arange(20)
    assert window.reach == offsets[window.inside(offsets, torch.tensor(0))].max()


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("k", [1, 10, 600])
def test_whole_frames_are_searched_together(frames, k):
    queries, *keys = (grid(seed, 13, 17, dtype=torch.float64) for seed in range(frames + 1))
    found = nearest(queries, keys, k, None)
    scores = queries.flatten(1).T @ torch.cat([key.flatten(1) for key in keys], dim=1)
    best = scores.topk(min(k, scores.shape[1]), dim=1)
    assert torch.equal(found.key[:, : best.indices.shape[1]], best.indices)
    torch.testing.assert_close(found.similarity[:, : best.values.shape[1]], best.values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_fewer_keys_than_k_are_filled_up_with_nothing(dtype):
    keys = torch.eye(3, dtype=dtype)[:, None]
    found = nearest(keys, [keys], 5, None)
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_nothing_of_the_size_of_the_affinity_matrix_is_ever_held(dtype):
    queries, sources = scene(45, 60, Window(12.0), dtype=dtype)
    with _Largest() as largest:
        attend(queries, sources, 10, 0.05)
    # One frame's scores of a tile; the keys that a tile sees in two frames.
    assert largest.numel <= max(WHOLE_TILE**2 * 45 * 60, 2 * (TILE + 2 * 11) ** 2 * max(16, TILE**2))
    with _Largest() as largest:
        reference(queries, sources, 10, 0.05)
    assert largest.numel == 3 * (45 * 60) ** 2


def test_equal_features_are_read_alike_time_after_time():
    queries, sources = scene(20, 30, Window(5.0))
    tied = [Source(one.keys.round(decimals=1), one.labels, one.window) for one in sources]
    first = attend(queries.round(decimals=1), tied, 10, 0.05)
    for _ in range(3):
        assert torch.equal(attend(queries.round(decimals=1), tied, 10, 0.05), first)


def test_a_window_says_what_is_wrong_with_it():
    with pytest.raises(ValueError, match=r"window: shape 'round'; there are: circle, disc, square"):
        Window(3.0, "round")
    with pytest.raises(ValueError, match=r"window: radius -1.0, expected more than 0 cells"):
        Window(-1.0)
