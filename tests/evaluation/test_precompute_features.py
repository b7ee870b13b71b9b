"""Runs with a feature cache, and caches that are filled before: the network is left alone, and nothing else changes."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from unibench import plugins
from unibench.cli import main
from unibench.errors import OutputError
from unibench.evaluation import pool_clips, precompute_features, run_clip
from unibench.evaluation.precompute_features import Need, map_bytes, require_room
from unibench.evaluation.units import Unit, list_units
from unibench.features import cache_folder
from unibench.features.batching import Steps
from unibench.features.cache import FeatureCache
from unibench.models import cards, frozen
from unibench.models.frozen import FrozenModel
from unibench.report import boards
from unibench.results import store
from unibench.tasks import registry
from unibench.tasks.registry import FAMILIES

FRAMES = 3
MODEL = "random-resnet18"
BUILT = [
    name
    for name, family in FAMILIES.items()
    if family.tracker and isinstance(plugins.resolve(family.tracker), Steps)
]


def unibench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def units(
    *names: str, model: str = MODEL, layers: Sequence[str] = (), features: FeatureCache | None = None
) -> list[Unit]:
    found = list_units(
        [cards.find(model)], [registry.find(name) for name in names], None,
        layers=layers, frames=FRAMES, features=features,
    )  # fmt: skip
    return found[:1] if len(names) == 1 else found


def finish(units: list[Unit], out: Path, features: FeatureCache | None = None) -> None:
    done = list(run_clip.execute(units, out, features=features))
    assert not [one.error for one in done if one.error]
    pool_clips.pool(units, out, {})


def clips(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("clips/*.json"))}


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, building a network fails."""
    monkeypatch.setattr(frozen, "build", lambda *_: pytest.fail("a network was built for nothing"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Results of a run that filled a cache, and the cache."""
    root = tmp_path_factory.mktemp("filled")
    cache = FeatureCache(root / "cache")
    finish(units("vos/synthetic-easy", features=cache), root / "out", cache)
    return root / "out", root / "cache"


def test_a_second_run_reads_what_the_first_computed(
    filled: tuple[Path, Path], tmp_path: Path, forbid: None
) -> None:
    out, cache = filled
    finish(units("vos/synthetic-easy", features=FeatureCache(cache)), tmp_path, FeatureCache(cache))
    assert clips(tmp_path) == clips(out)


def test_other_knobs_of_the_head_touch_no_network(
    filled: tuple[Path, Path], tmp_path: Path, forbid: None
) -> None:
    _, cache = filled
    before = sorted(entry.path for entry in cache_folder.entries(cache))
    finish(units("vos/synthetic-easy@crw", features=FeatureCache(cache)), tmp_path, FeatureCache(cache))
    assert sorted(entry.path for entry in cache_folder.entries(cache)) == before
    assert len(before) == FRAMES


def test_scores_are_those_without_a_cache_but_for_the_rounding(
    filled: tuple[Path, Path], tmp_path: Path
) -> None:
    out, _ = filled
    finish(units("vos/synthetic-easy"), tmp_path)
    plain, rounded = (
        {one.metric: one.value for one in store.read_scores(folder)} for folder in (tmp_path, out)
    )
    assert rounded == pytest.approx(plain, abs=1e-3)


def test_a_board_does_not_mix_rounded_maps_with_others(filled: tuple[Path, Path], tmp_path: Path) -> None:
    _, cache = filled
    finish(units("vos/synthetic-easy", features=FeatureCache(cache)), tmp_path, FeatureCache(cache))
    finish(units("pose/synthetic-easy"), tmp_path)
    stored = store.read_scores(tmp_path)
    assert {one.weights_hash.partition("+")[2] for one in stored} == {"features=float16", ""}
    assert len(boards.arrange(stored).models) == 2  # of one name, told apart by the hash


def test_results_without_a_cache_are_not_taken_for_those_with_one(
    filled: tuple[Path, Path], tmp_path: Path
) -> None:
    _, cache = filled
    finish(units("vos/synthetic-easy"), tmp_path)
    kept = FeatureCache(cache)
    (done,) = run_clip.execute(units("vos/synthetic-easy", features=kept), tmp_path, features=kept)
    assert done.seconds > 0


def test_windows_of_sot_are_kept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(tmp_path / "cache")
    finish(units("sot/synthetic-easy", model="lab-colour", features=cache), tmp_path / "first", cache)
    monkeypatch.setattr(frozen, "build", lambda *_: pytest.fail("a network was built for nothing"))
    finish(units("sot/synthetic-easy", model="lab-colour", features=cache), tmp_path / "second", cache)
    assert clips(tmp_path / "first") == clips(tmp_path / "second")


@pytest.mark.parametrize("family", BUILT)
def test_what_is_built_ahead_is_what_a_run_asks_for(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = units(f"{family}/synthetic-easy", model="lab-colour")
    cache = FeatureCache(tmp_path / "cache")
    needs = precompute_features.needs(asked)
    (built,) = precompute_features.build(asked, cache)
    assert built.frames == FRAMES
    overhead = 850  # bytes that the archive of a map takes beside it: its exponent, its seal, and three heads
    there = cache_folder.used(cache.folder)
    assert there - FRAMES * overhead <= sum(need.bytes for need in needs) <= there
    monkeypatch.setattr(frozen, "build", lambda *_: pytest.fail("a network was built for nothing"))
    finish(units(f"{family}/synthetic-easy", model="lab-colour", features=cache), tmp_path / "out", cache)


def test_protocols_that_show_the_same_are_counted_once(forbid: None) -> None:
    one = precompute_features.needs(units("vos/synthetic-easy@unitrack", "pose/synthetic-easy"))
    two = precompute_features.needs(
        units("vos/synthetic-easy@unitrack", "vos/synthetic-easy@crw", "pose/synthetic-easy")
    )
    assert one == two
    both = precompute_features.needs(units("vos/synthetic-easy", layers=("layer3", "layer4")))
    assert [(need.layer, need.clips, need.frames) for need in both] == [
        ("layer3", 1, FRAMES),
        ("layer4", 1, FRAMES),
    ]
    assert both[1].bytes == 2 * both[0].bytes


@pytest.mark.parametrize("name", ["efficientnet-lite0", "hog", "lab-colour", MODEL, "random-vit-tiny"])
@pytest.mark.parametrize("size", [(96, 160), (81, 118)])
def test_the_size_of_maps_is_known_without_a_network(name: str, size: tuple[int, int]) -> None:
    card = cards.find(name)
    height, width = (side // 16 * 16 for side in size) if name == "random-vit-tiny" else size
    maps = frozen.load(card).network(torch.zeros(1, 3, height, width), list(card.layers))
    assert {layer: map_bytes(card.layers[layer], height, width) for layer in card.layers} == {
        layer: 2 * one.numel() for layer, one in maps.items()
    }


def test_davis_takes_what_the_facts_say() -> None:
    layer = cards.find("random-resnet50").layers["layer3"]
    assert map_bytes(layer, 480, 854) == 60 * 107 * 1024 * 2
    assert cache_folder.human(1999 * map_bytes(layer, 480, 854)) == "24.5 GiB"


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(tmp_path / "cache", budget=1000)
    cache.folder.joinpath("m@f@l", "00").mkdir(parents=True)
    cache.folder.joinpath("m@f@l", "00", "00.npz").write_bytes(bytes(400))
    require_room(cache, [Need("other", "f", "l", 1, 1, 600)])
    require_room(cache, [Need("m", "f", "l", 1, 1, 1000)])  # the 400 are some of it
    with pytest.raises(
        OutputError, match="601 B to build beside 400 B of other models or layers, expected at most"
    ):
        require_room(cache, [Need("m", "other", "l", 1, 1, 601)])
    monkeypatch.setattr(precompute_features.shutil, "disk_usage", lambda _: SimpleNamespace(free=500))
    require_room(cache, [Need("m", "f", "l", 1, 1, 900)])
    with pytest.raises(OutputError, match="901 B to build, 400 B of it there, expected at most the 500 B"):
        require_room(cache, [Need("m", "f", "l", 1, 1, 901)])


def test_a_build_that_fills_the_budget_stops(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = units("vos/synthetic-easy", model="lab-colour")
    (need,) = precompute_features.needs(asked)
    cache = FeatureCache(tmp_path / "cache", budget=need.bytes // 2)
    with pytest.raises(OutputError, match="full before clip 'objects-1' was built; what was is kept"):
        list(precompute_features.build(asked, cache))
    assert len(list(cache_folder.entries(cache.folder))) == 1
    assert "the budget of" in caplog.text


def test_a_deferred_model_is_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    card = cards.find(MODEL)
    loaded = frozen.load(card)
    loads: list[FrozenModel] = []

    def load() -> FrozenModel:
        loads.append(loaded)
        return loaded

    deferred = frozen.defer(card, load, loaded.fingerprint)
    functions = ("network", "prepare")
    said, known = ({k: v for k, v in vars(one).items() if k not in functions} for one in (deferred, loaded))
    assert said == known
    assert not loads
    image = torch.rand(1, 3, 40, 56)
    maps: list[Tensor] = [one.network(image, ["layer3"])["layer3"] for one in (loaded, deferred, deferred)]
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[1], maps[2])
    assert len(loads) == 1


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, asked = tmp_path / "cache", ("-m", "lab-colour", "--frames", FRAMES)
    done = unibench("cache", "build", cache, *asked, "-t", "vos/synthetic-easy", "-t", "sot/synthetic-easy")
    assert done.exit_code == 0, done.output
    assert "sot/synthetic-easy@unitrack: left out" in done.output
    assert "to build: " in done.output
    monkeypatch.setattr(frozen, "build", lambda *_: pytest.fail("a network was built for nothing"))
    again = unibench("cache", "build", cache, *asked, "-t", "vos/synthetic-easy")
    assert again.output.splitlines()[-1] == done.output.splitlines()[-1]
    out = tmp_path / "out"
    ran = unibench("run", *asked, "-t", "vos/synthetic-easy@crw", "-o", out, "--cache", cache)
    assert ran.exit_code == 0, ran.output
    assert all(one.weights_hash.endswith("+features=float16") for one in store.read_scores(out))
    info = unibench("cache", "info", cache)
    assert "lab-colour" in info.output
    maps = len(list(cache_folder.entries(cache)))
    assert f"in {maps} maps" in info.output
    assert f"in {maps} maps; left: 0 B in 0 maps" in unibench("cache", "prune", cache, "--budget", 0).output


@pytest.mark.parametrize(("arguments", "message"), [
    (("build", "cache", "-t", "vos/synthetic-easy"), "no model; name one with -m"),
    (("build", "cache", "-m", "lab-colour", "-t", "vos/synthetic-easy", "--budget", "1K"),
     "to build beside 0 B of other models or layers, expected at most the budget of 1.0 KiB"),
    (("build", "cache", "-m", "lab-colour", "-t", "vos/synthetic-easy", "--budget", "1X"), "'1X' is not a size"),
    (("info", "cache"), "no feature cache; unibench cache build makes one"),
    (("prune", ".", "--budget", "0"), "no feature cache"),
])  # fmt: skip
def test_mistakes_get_exit_code_2(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = unibench("cache", *arguments)
    assert done.exit_code == 2
    assert message in done.output
