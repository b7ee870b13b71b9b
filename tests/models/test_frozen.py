"""Models: a network is built, loaded and frozen as its card says; loading is never silent."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from unibench.errors import CardError, UnknownNameError, WeightsError
from unibench.models import cards, checkpoints, frozen, weights


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def built(name: str) -> tuple[cards.Card, nn.Module]:
    """The network of a card without its weights: shapes do not depend on them."""
    card = cards.find(name)
    return card, frozen.build(card, None)[0]


def test_random_weights_are_the_same_every_time_and_leave_the_generator_alone() -> None:
    card = cards.find("random-resnet18")
    before = torch.random.get_rng_state()
    first, second = frozen.build(card, None)[0], frozen.build(card, None)[0]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    other = frozen.build(replace(card, weights=replace(card.weights, seed=1)), None)[0]
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


def test_one_pass_gives_all_layers_and_the_same_values_as_each_alone() -> None:
    card, module = built("random-resnet18")
    model = frozen.freeze(card, module, None, torch.device("cpu"))
    prepared = model.prepare(image(64, 96))[None]
    both = model.network(prepared, ["layer3", "layer4"])
    assert torch.equal(both["layer3"], model.network(prepared, ["layer3"])["layer3"])


@pytest.mark.parametrize(
    "name", ["random-resnet18", "random-vit-tiny", "hog", "lab-colour", "efficientnet-lite0"]
)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_lower_precision_gives_nearly_the_same_maps_as_float32(name: str, dtype: str) -> None:
    card = cards.find(name)
    exact, rough = (frozen.load(cards.running(card, one)) for one in ("float32", dtype))
    prepared = exact.prepare(image(64, 96))[None]
    for layer, expected in exact.network(prepared, list(card.layers)).items():
        found = rough.network(prepared, list(card.layers))[layer]
        assert found.dtype == expected.dtype == torch.float32
        assert nn.functional.cosine_similarity(found, expected, dim=1).min() > 0.995
    assert not torch.is_autocast_enabled("cpu")


def test_float32_is_float32_on_gpus_and_the_setting_ends_with_the_pass() -> None:
    seen = []

    class Spy(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic))
            return images

    card, module = built("random-resnet18")
    module.conv1 = nn.Sequential(Spy(), module.conv1)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic
    model = frozen.freeze(card, module, None, torch.device("cpu"))
    seen.clear()
    model.network(model.prepare(image(64, 96))[None], ["layer3"])
    assert set(seen) == {(False, True)} != {before}
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == before


def test_maps_of_convolutions_lie_channels_last_and_do_not_depend_on_how_the_image_lies() -> None:
    model = frozen.load(cards.find("random-resnet18"))
    prepared = model.prepare(image(64, 96))[None]
    maps = [model.network(one, ["layer3"])["layer3"] for one in (prepared, prepared.contiguous())]
    assert torch.equal(*maps)
    assert maps[0].is_contiguous(memory_format=torch.channels_last)
    assert maps[0].is_inference()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer"), [("random-resnet18", "layer3"), ("random-vit-tiny", "block6")])
@pytest.mark.filterwarnings("ignore")
def test_compiled_networks_give_the_same_maps(name: str, layer: str) -> None:
    card = cards.find(name)
    model, compiled = frozen.load(card), frozen.load(cards.running(card, compiled=True))
    for height in (64, 96):
        prepared = model.prepare(image(height, 96))[None]
        expected, found = (one.network(prepared, [layer])[layer] for one in (model, compiled))
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize(("device", "batch"), [("cpu", 1), ("meta", frozen.BATCH)])
def test_the_batch_depends_on_nothing_but_the_device(device: str, batch: int) -> None:
    card, module = built("random-resnet18")
    assert frozen.freeze(card, module, None, torch.device(device)).batch == batch


def test_the_stride_position_changes_the_features(shared_data: Path) -> None:
    """The v1 checkpoint in a network with the stride in the 3x3 loads whole and computes something else."""
    card = cards.find("resnet50-imagenet-v1")
    strides = {"layer3": 1, "layer4": 1}  # torchvision's own position: layer2.0.conv2
    wrong = replace(card, architecture=replace(card.architecture, strides=strides))
    path = weights.locate(card, shared_data / "weights")
    maps = []
    for one in (card, wrong):
        module, report = frozen.build(one, path)
        assert report is not None
        assert report.share == 1.0
        model = frozen.freeze(one, module, path, torch.device("cpu"))
        maps.append(model.network(model.prepare(image(96, 96))[None], ["layer3"])["layer3"])
    right, other = maps
    assert (right - other).norm() > 0.2 * right.norm()


@pytest.mark.parametrize(
    ("photograph", "kinds"),
    [("chelsea", range(281, 286)), ("rocket", (657, 744)), ("coffee", (504, 967, 968))],
)
def test_the_packaged_network_knows_the_photographs(photograph: str, kinds: range) -> None:
    """ImageNet's classes: 281-285 domestic cats; 657, 744 missile, projectile; 504, 967, 968 mug, espresso, cup."""
    from skimage import data, transform

    card = cards.find("efficientnet-lite0")
    classifier = replace(card, architecture=replace(card.architecture, options={}, head=()))
    module, report = frozen.build(classifier, weights.locate(classifier, None))
    assert report is not None
    assert (report.share, report.left_over, report.missing) == (1.0, (), ())
    assert len(report.loaded) == 247
    picture = getattr(data, photograph)()
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    square = transform.resize(picture[top : top + side, left : left + side], (224, 224), anti_aliasing=True)
    prepared = frozen.freeze(classifier, module, None, torch.device("cpu")).prepare(
        (square * 255).astype(np.uint8)
    )
    with torch.inference_mode():
        best = module(prepared[None]).softmax(1)[0]
    assert int(best.argmax()) in kinds


def tiny() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))


RULES = cards.Weights(source="file:x")


@pytest.mark.parametrize(
    "prefix", ["", "module.", "module.encoder_q.", "backbone.", "encoder.", "teacher.backbone."]
)
@pytest.mark.parametrize("container", [None, "state_dict", "model", "teacher"])
def test_containers_and_prefixes_are_found(tmp_path: Path, prefix: str, container: str | None) -> None:
    saved = {prefix + name: value.half() for name, value in tiny().state_dict().items()}
    torch.save({container: saved, "epoch": 3} if container else saved, tmp_path / "x.pth")
    network = tiny()
    report = weights.fit_file(network, tmp_path / "x.pth", RULES, ())
    assert (report.share, report.left_over, report.prefix, report.alike) == (1.0, (), prefix, ())
    assert report.container == (container or "")
    assert torch.equal(network[0].weight, saved[prefix + "0.weight"].float())


def test_one_wrong_key_is_reported_and_refused() -> None:
    saved = {("wrong" if name == "2.bias" else name): value for name, value in tiny().state_dict().items()}
    report = weights.fit(tiny(), saved, RULES, ())
    assert (report.missing, report.left_over) == (("2.bias",), ("wrong",))
    with pytest.raises(WeightsError, match=r"here: 7 of 8 tensors loaded \(87\.5%\).*1 missing: 2\.bias"):
        weights.require(report, "here")


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    torch.save(tiny().state_dict(), tmp_path / "x.pth")
    card = replace(cards.find("random-resnet18"), weights=cards.Weights(source="file:x.pth"))
    with pytest.raises(WeightsError, match=r"0 of 100 tensors loaded.*another architecture"):
        frozen.load(card, weights_path=tmp_path)


def test_missing_weights_say_how_to_give_them() -> None:
    with pytest.raises(WeightsError, match=r"not found; .*--weights DIR or FILE"):
        frozen.load(cards.find("udt"))


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.pth"
    torch.save(tiny().state_dict(), whole)
    (tmp_path / "cut.pth").write_bytes(whole.read_bytes()[:700])
    (tmp_path / "cut.safetensors").write_bytes(b"123")
    for name in ("cut.pth", "cut.safetensors"):
        with pytest.raises(WeightsError, match=f"{name}: not a readable .*again"):
            checkpoints.read(tmp_path / name)
    with pytest.raises(WeightsError, match=r"none\.pth: no such file"):
        checkpoints.read(tmp_path / "none.pth")


@pytest.mark.parametrize("content", [b"", b"junk", b"(lp0", bytes(range(256)), b"PK\x03\x04 and no more"])
def test_bytes_that_are_no_checkpoint_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bytes.pth").write_bytes(content)
    with pytest.raises(
        WeightsError, match=r"bytes\.pth: (not a readable checkpoint|a pickle that holds more)[^\n]*$"
    ):
        checkpoints.read(tmp_path / "bytes.pth")


def test_a_wrong_sha256_is_refused(tmp_path: Path) -> None:
    torch.save(tiny().state_dict(), tmp_path / "x.pth")
    card = replace(cards.find("udt"), weights=cards.Weights(source="file:x.pth", sha256="0" * 64))
    with pytest.raises(WeightsError, match=r"x\.pth: sha256 is .*, expected 000000000000"):
        weights.locate(card, tmp_path)


class Evil:
    """A pickle that would create a file when it is read carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("save", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path, save) -> None:
    save({"state_dict": Evil(tmp_path / "harm")}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"holds more than tensors is not read.*convert it"):
        checkpoints.read(tmp_path / "x.pth")
    assert not (tmp_path / "harm").exists()


def test_a_package_path_does_not_leave_the_package() -> None:
    card = replace(cards.find("udt"), weights=cards.Weights(source="package:unibench/../README.md"))
    with pytest.raises(WeightsError, match="package 'unibench' has no file"):
        weights.locate(card, None)


def test_no_tensors_is_an_error(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"x\.pth: no tensors \(found: epoch\)"):
        checkpoints.read(tmp_path / "x.pth")


def test_wrong_architectures_are_named() -> None:
    card = cards.find("random-resnet18")

    def changed(**fields: object) -> cards.Card:
        return replace(card, architecture=replace(card.architecture, **fields))

    with pytest.raises(
        UnknownNameError, match="no torchvision architecture 'resnet19'; did you mean 'resnet18'"
    ):
        frozen.load(changed(name="resnet19"))
    with pytest.raises(UnknownNameError, match="no loader 'jax'; there are: python, timm, torchvision"):
        frozen.load(changed(loader="jax"))
    with pytest.raises(CardError, match=r"architecture\.strides names 'layer9'"):
        frozen.load(changed(strides={"layer9": 1}))
    with pytest.raises(CardError, match="'no_such_module:f', code outside unibench"):
        frozen.load(changed(loader="python", name="no_such_module:f"))


CARD = cards.find("dino-vit-s16")


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        ("weights", {"verified": True, "mirrors": (), "gated": True, "obtain": "ask", "sha256": "0" * 64}),
        ("weights", {"ignore": ("x",)}),
        ("architecture", {"parameters": 1}),
        ("pretraining", {"method": "m", "epochs": 3.0, "overlap": ("vos/davis2017",)}),
        ("", {"aliases": ("a",), "released": "1999", "description": "d", "license": "l", "imagenet_top1": None}),
        ("", {"name": "other", "default_layer": "block6", "reference": True}),
    ],
)  # fmt: skip
def test_what_is_only_said_does_not_change_the_fingerprint(tmp_path: Path, part: str, fields: dict) -> None:
    (tmp_path / "x").write_bytes(b"weights")
    changed = replace(CARD, **{part: replace(getattr(CARD, part), **fields)} if part else fields)
    assert changed != CARD
    assert frozen.fingerprint(changed, tmp_path / "x") == frozen.fingerprint(CARD, tmp_path / "x")


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        ("architecture", {"name": "vit_small_patch8_224"}),
        ("architecture", {"options": {"num_heads": 12}}),
        ("architecture", {"strides": {"patch_embed": 8}}),
        ("architecture", {"padding": "reflect"}),
        ("architecture", {"dtype": "bfloat16"}),
        ("architecture", {"compiled": True}),
        ("weights", {"container": "teacher"}),
        ("weights", {"prefix": "backbone."}),
        ("weights", {"rename": (("a", "b"),)}),
        ("preprocessing", {"color": "bgr"}),
        ("preprocessing", {"mean": (0.5, 0.5, 0.5)}),
        ("", {"layers": {**CARD.layers, "block12": replace(CARD.layers["block12"], norm=False)}}),
        ("", {"layers": {**CARD.layers, "block12": replace(CARD.layers["block12"], node=10)}}),
    ],
)
def test_what_changes_features_changes_the_fingerprint(tmp_path: Path, part: str, fields: dict) -> None:
    (tmp_path / "x").write_bytes(b"weights")
    changed = replace(CARD, **{part: replace(getattr(CARD, part), **fields)} if part else fields)
    assert frozen.fingerprint(changed, tmp_path / "x") != frozen.fingerprint(CARD, tmp_path / "x")


def test_other_weights_change_the_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"weights")
    (tmp_path / "y").write_bytes(b"others")
    assert frozen.fingerprint(CARD, tmp_path / "x") != frozen.fingerprint(CARD, tmp_path / "y")
    random = cards.find("random-resnet18")
    other = replace(random, weights=replace(random.weights, seed=1))
    assert frozen.fingerprint(random, None) != frozen.fingerprint(other, None)
