"""The feature cache: what was there and what was not give the same bytes, and nothing can make it lie."""

import multiprocessing
import os
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from unibench.errors import OutputError
from unibench.features import cache as feature_cache
from unibench.features import cache_folder
from unibench.features.cache import FeatureCache, cached, pack, unpack
from unibench.models import cards, frozen
from unibench.models.frozen import FrozenModel

LAYERS = ("layer3", "layer4")


class Counting:
    """A network that notes what it is shown."""

    def __init__(self, model: FrozenModel) -> None:
        self.model = model
        self.shown: list[tuple[int, tuple[str, ...]]] = []

    def __call__(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        self.shown.append((len(images), tuple(layers)))
        return self.model.network(images, layers)


@pytest.fixture(scope="module")
def model() -> FrozenModel:
    return frozen.load(cards.find("random-resnet18"))


@pytest.fixture
def counting(model: FrozenModel) -> tuple[FrozenModel, Counting]:
    network = Counting(model)
    return replace(model, network=network), network


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


def images(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, 40, 56, generator=torch.Generator().manual_seed(seed))


def files(cache: FeatureCache) -> list[Path]:
    return sorted(entry.path for entry in cache_folder.entries(cache.folder))


def fail(shown: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    pytest.fail("the network was run for nothing")


def test_a_hit_and_a_miss_have_the_same_bytes_near_the_networks_own(
    model: FrozenModel, cache: FeatureCache
) -> None:
    shown = images(2)
    missed = cached(model, cache).network(shown, LAYERS)
    hit = cached(replace(model, network=fail), cache).network(shown, LAYERS)
    own = model.network(shown, LAYERS)
    for layer in LAYERS:
        assert torch.equal(missed[layer], hit[layer])
        assert missed[layer].dtype == torch.float32
        assert missed[layer].stride() == hit[layer].stride() == own[layer].stride()
        assert not torch.equal(own[layer], hit[layer])
        torch.testing.assert_close(hit[layer], own[layer], rtol=2**-11, atol=float(own[layer].max()) * 2**-29)


def test_only_what_is_missing_is_computed(
    counting: tuple[FrozenModel, Counting], cache: FeatureCache
) -> None:
    model, network = counting
    shown = images(4)
    sight = cached(model, cache).network
    sight(shown[1:2], ["layer3"])
    sight(shown[3:4], LAYERS)
    maps = sight(shown, LAYERS)
    assert network.shown == [(1, ("layer3",)), (1, LAYERS), (3, LAYERS)]
    assert {name: len(one) for name, one in maps.items()} == {"layer3": 4, "layer4": 4}
    sight(shown[:2], ["layer4"])
    assert len(network.shown) == 3
    for row, image in enumerate(shown):  # each map lies where its image was
        assert torch.equal(sight(image[None], ["layer3"])["layer3"][0], maps["layer3"][row])
    assert len(files(cache)) == 8


@pytest.mark.parametrize("change", ["pixel", "size", "name", "fingerprint", "version"])
def test_anything_that_changes_a_map_makes_another_entry(
    model: FrozenModel, cache: FeatureCache, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = images(1)
    cached(model, cache).network(shown, ["layer3"])
    if change == "pixel":
        shown[0, 0, 0, 0] += 1e-6
    elif change == "size":
        shown = shown.reshape(1, 3, 56, 40)
    elif change == "version":
        monkeypatch.setattr(feature_cache, "version", lambda package: "0.0.0")
    else:
        model = replace(model, **{change: "other"})
    cached(model, cache).network(shown, ["layer3"])
    assert len(files(cache)) == 2


def test_layout_of_memory_makes_no_other_entry(
    counting: tuple[FrozenModel, Counting], cache: FeatureCache
) -> None:
    model, network = counting
    cached(model, cache).network(images(2), ["layer3"])
    cached(model, cache).network(images(2).to(memory_format=torch.channels_last), ["layer3"])
    assert len(network.shown) == 1


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6, 1e30])
def test_no_scale_of_features_overflows_or_vanishes(scale: float) -> None:
    features = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(1)) * scale
    found = unpack([pack(features)], torch.device("cpu"))[0]
    torch.testing.assert_close(found, features, rtol=2**-11, atol=float(features.abs().max()) * 2**-29)


def test_special_values_are_kept() -> None:
    features = torch.tensor([[[0.0, float("inf"), float("nan")]]])
    found = unpack([pack(features)], torch.device("cpu"))[0]
    torch.testing.assert_close(found, features, equal_nan=True)
    assert not pack(torch.zeros(1, 2, 2)).features.any()


def test_a_damaged_entry_is_reported_computed_again_and_replaced(
    counting: tuple[FrozenModel, Counting], cache: FeatureCache, caplog: pytest.LogCaptureFixture
) -> None:
    model, network = counting
    sight = cached(model, cache).network
    before = sight(images(1), ["layer3"])["layer3"]
    path = files(cache)[0]
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1], b"\x93NUMPY" + whole[6:]):
        path.write_bytes(damaged)
        assert torch.equal(sight(images(1), ["layer3"])["layer3"], before)
        assert path.read_bytes() == whole
    assert len(network.shown) == 5
    assert len(caplog.messages) == 4
    assert all(f"{path}: damaged" in line and "\n" not in line for line in caplog.messages)


@pytest.mark.parametrize(
    "spoilt", ["another frame's", "not a number", "other values", "another shape", "no seal"]
)
def test_a_map_that_is_not_the_one_that_was_kept_is_computed_again(
    counting: tuple[FrozenModel, Counting], cache: FeatureCache, caplog: pytest.LogCaptureFixture, spoilt: str
) -> None:
    model, network = counting
    sight = cached(model, cache).network
    before = sight(images(1), ["layer3"])["layer3"]
    (one,) = files(cache)
    sight(images(1, seed=1), ["layer3"])
    (other,) = set(files(cache)) - {one}
    whole = one.read_bytes()
    with np.load(one) as stored:
        fields = dict(stored)
    match spoilt:
        case "another frame's":
            one.write_bytes(other.read_bytes())
        case "not a number":
            np.savez(one, **fields | {"features": np.full_like(fields["features"], np.nan)})
        case "other values":
            np.savez(one, **fields | {"features": fields["features"][::-1]})
        case "another shape":
            np.savez(one, **fields | {"features": fields["features"][:2]})
        case "no seal":
            np.savez(one, features=fields["features"], exponent=fields["exponent"])
    assert torch.equal(sight(images(1), ["layer3"])["layer3"], before)
    assert len(network.shown) == 3
    assert one.read_bytes() == whole
    assert len(caplog.messages) == 1
    assert "damaged" in caplog.text


def test_no_flipped_bit_goes_unseen(cache: FeatureCache) -> None:
    packed = pack(torch.arange(6.0).reshape(1, 2, 3))
    path = cache.folder / "m@f@l" / "00" / "00.npz"
    cache.write(path, packed)
    whole = path.read_bytes()
    seen = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        found = cache.read(path)
        seen += found is None
        if found is not None:  # dates and the like, which say nothing of the map
            assert found.exponent == packed.exponent
            assert np.array_equal(found.features, packed.features)
    assert seen > packed.features.nbytes


def test_an_entry_that_is_no_map_is_damaged(cache: FeatureCache) -> None:
    path = cache.folder / "m@f@l" / "00" / "00.npz"
    path.parent.mkdir(parents=True)
    for features in (np.zeros((1, 2, 3)), np.zeros(6, np.float16), np.array([None])):
        np.savez(path, features=features, exponent=0)
        assert cache.read(path) is None
        assert not path.exists()


def test_a_full_disk_costs_one_line(
    counting: tuple[FrozenModel, Counting],
    cache: FeatureCache,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    model, network = counting
    sight = cached(model, cache).network
    assert torch.equal(sight(images(1), ["layer3"])["layer3"], sight(images(1), ["layer3"])["layer3"])
    assert len(network.shown) == 2
    assert len(caplog.messages) == 1
    assert "cannot be written (No space left on device)" in caplog.text
    assert [path.name for path in cache.folder.rglob("*") if path.is_file()] == [cache_folder.TAG]


def test_a_budget_is_kept(
    model: FrozenModel, cache: FeatureCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached(model, cache).network(images(1), ["layer3"])
    size = cache_folder.used(cache.folder)
    small = FeatureCache(tmp_path / "small", budget=3 * size + size // 2)
    for seed in range(5):
        cached(model, small).network(images(1, seed), ["layer3"])
    assert len(files(small)) == 3
    assert len(caplog.messages) == 1
    assert "budget of" in caplog.text


def test_what_was_not_used_for_longest_is_pruned_first(model: FrozenModel, cache: FeatureCache) -> None:
    sight = cached(model, cache).network
    sight(images(4), ["layer3"])
    there = files(cache)
    for age, path in enumerate(there):
        os.utime(path, (1000 + age, 1000 + age))
    sight(images(1), ["layer3"])  # used now
    first = cache.path(model, "layer3", feature_cache.digest(images(1)[0]))
    size = there[0].stat().st_size
    removed = [entry.path for entry in cache_folder.prune(cache.folder, 2 * size)]
    assert removed == [path for path in there if path != first][:2]
    assert set(files(cache)) == set(there) - set(removed)
    assert not cache_folder.prune(cache.folder, 2 * size)
    cache_folder.prune(cache.folder, 0)
    assert not files(cache)


def test_pruning_touches_nothing_else(model: FrozenModel, cache: FeatureCache) -> None:
    cached(model, cache).network(images(1), ["layer3"])
    shelf = files(cache)[0].parent
    mine = [cache.folder / "notes.npz", cache.folder / "folder" / "00" / "a.npz", shelf / "notes.txt"]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    part, old = shelf / ".a.part", shelf / ".b.part"
    part.write_text("being written")
    old.write_text("left behind")
    os.utime(old, (1000, 1000))
    outside = cache.folder.parent / "outside"
    outside.mkdir()
    (outside / "00").mkdir()
    (outside / "00" / "a.npz").write_text("mine")
    (cache.folder / "m@f@l").symlink_to(outside)
    cache_folder.prune(cache.folder, 0)
    assert all(path.read_text() == "mine" for path in [*mine, outside / "00" / "a.npz"])
    assert part.exists()
    assert not old.exists()


def test_a_folder_that_is_no_cache_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(OutputError, match="not a feature cache, expected one, or an empty or new folder"):
        FeatureCache(tmp_path)
    with pytest.raises(OutputError, match="no feature cache can be made here"):
        FeatureCache(tmp_path / "thesis.tex" / "below")
    with pytest.raises(OutputError, match="no feature cache; unibench cache build makes one"):
        cache_folder.require(tmp_path)


def test_names_of_models_and_layers_cannot_lead_out(cache: FeatureCache) -> None:
    model = frozen.load(cards.find("lab-colour"))
    odd = replace(model, name="../a@b", fingerprint="..")
    path = cache.path(odd, "../..", "0" * 64)
    assert path.resolve().is_relative_to(cache.folder.resolve())
    cache.write(path, pack(torch.ones(1, 2, 3)))
    (entry,) = cache_folder.entries(cache.folder)
    assert (entry.model, entry.fingerprint, entry.layer) == ("../a@b", "..", "../..")


def work(folder: Path, seed: int) -> list[float]:
    """Ask for 20 images twice, in an order of one's own; prune meanwhile."""

    def network(shown: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        return dict.fromkeys(layers, shown[:, :, ::4, ::4] ** 3)

    model = FrozenModel("cube", lambda image: torch.zeros(3, 1, 1), network, {}, {}, torch.device("cpu"), "f")
    model = cached(model, FeatureCache(folder))
    order = np.random.default_rng(seed).permutation(20)
    sums = [0.0] * 20
    for index in [*order, *order[::-1]]:
        sums[index] = float(model.network(images(1, int(index)), ["all"])["all"].double().sum())
        if index % 7 == seed:
            cache_folder.prune(folder, 5000)
    return sums


def check_shared(found: Iterable[list[float]], folder: Path) -> None:
    first, *others = found
    assert len(set(first)) == 20
    assert others == [first] * 3
    assert not list(folder.rglob("*.part"))
    for path in folder.rglob("*.npz"):
        assert zipfile.ZipFile(path).testzip() is None


def test_workers_share_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "cache"
    with ThreadPoolExecutor(4) as pool:
        check_shared(pool.map(work, [folder] * 4, range(4)), folder)
    assert not caplog.messages


@pytest.mark.slow
def test_processes_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        check_shared(pool.map(work, [folder] * 4, range(4)), folder)
