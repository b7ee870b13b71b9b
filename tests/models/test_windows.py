"""Clip encoders: which frames they are shown, that none of them lies too far ahead, and that image models stay as they
are.
"""

import json
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import unibench
from unibench import models, plugins
from unibench.cli import main
from unibench.errors import CardError, UnknownNameError
from unibench.features.batching import Steps, follow, look
from unibench.features.cache import FeatureCache
from unibench.models import cards, draft_card, frozen, windows
from unibench.models.cards import Architecture, Card, Layer, Preprocessing, Window
from unibench.models.windows import Span
from unibench.records import Clip, Frame, Labels
from unibench.tasks import protocols, registry

ABSENT = "transformers is not installed: uv sync --extra transformers"
SHORT = 6
"""Frames of a rendered clip."""


@pytest.fixture(autouse=True)
def known_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "MODULES", plugins.MODULES | {"tests.models.clips"})


def card(network: str, window: Window | None, channels: int = 6) -> Card:
    tubelet = window.tubelet if window else 1
    plain = cards.find("random-resnet18")
    return replace(
        plain, name=network, window=window, layers={"map": Layer("map", 8, channels, 3.5)}, default_layer="map",
        architecture=Architecture("python", f"tests.models.clips:{network}", options={"tubelet": tubelet}),
        preprocessing=Preprocessing("rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    )  # fmt: skip


def flat_clip(length: int) -> Clip:
    """Every pixel of a frame has the value of its number."""

    def frames() -> Iterator[Frame]:
        for number in range(length):
            yield Frame(number, np.full((16, 16, 3), number, dtype=np.uint8))

    return Clip("flat", 16, 16, 25.0, length, frames)


def shown(window: Window, windowing: str, length: int) -> list[list[int]]:
    """Numbers of the frames that an encoder is shown for each frame of a clip."""
    span = windows.span(window, windowing)
    assert span is not None
    return [list(one) for _, _, one in windows.around(range(length), span)]


def test_windows_by_hand() -> None:
    assert shown(Window(3), "causal", 4) == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]
    assert shown(Window(4, 2), "causal", 3) == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 2]]
    assert shown(Window(3), "centred", 3) == [[0, 0, 1], [0, 1, 2], [1, 2, 2]]
    assert shown(Window(6, 2), "centred", 5) == [[0, 0, 0, 1, 2, 3]] * 2 + [[0, 1, 2, 3, 4, 4]] * 2 + [
        [2, 3, 4, 4, 4, 4]
    ]
    spans = [windows.span(Window(16, 2), windowing) for windowing in windows.WINDOWINGS]
    assert spans == [None, Span(16, 15, 1, 7), Span(16, 8, 2, 4)]
    assert [one and one.lookahead for one in spans] == [None, 0, 7]
    assert windows.span(None, "causal") is None
    with pytest.raises(UnknownNameError, match="no windowing 'casual'; did you mean 'causal'"):
        windows.span(None, "casual")


@pytest.mark.parametrize("windowing", ["causal", "centred"])
@pytest.mark.parametrize("window", [Window(1), Window(5), Window(8, 2), Window(12, 4)])
def test_no_frame_is_read_beyond_the_lookahead_that_is_stated(window: Window, windowing: str) -> None:
    span = windows.span(window, windowing)
    assert span is not None
    pulled: list[int] = []

    def items() -> Iterator[int]:
        for number in range(30):
            pulled.append(number)
            yield number

    ahead = []
    for item, _, frames in windows.around(items(), span):
        assert frames[span.before + item % span.hop] == item, "a frame lies in the tubelet that is read"
        assert max(frames) <= item + span.lookahead
        ahead.append(max(pulled) - item)
    assert max(ahead) == span.lookahead
    assert len(ahead) == 30


def test_a_map_is_of_the_frames_that_are_shown() -> None:
    model = frozen.load(card("clock", Window(4, 2), channels=4))
    seen = replace(model, span=windows.span(Window(4, 2), "centred"))
    taken: list[list[float]] = []

    def keep(state: int, frame: Frame, maps: Mapping[str, Tensor]) -> tuple[int, dict[str, Labels]]:
        taken.append(maps["map"][:, 0, 0].tolist())
        return state, {"map": Labels()}

    steps: Steps[None, int] = Steps(lambda frame, *_: frame.image, lambda *_: 0, keep)
    assert len(list(follow(steps, flat_clip(5), seen, ["map"], None))) == 5
    assert taken == [[0, 0, 0, 1]] * 2 + [[0, 1, 2, 3]] * 2 + [[2, 3, 4, 4]]
    taken.clear()
    list(follow(steps, flat_clip(2), model, ["map"], None))
    assert taken == [[0, 0, 0, 0], [1, 1, 1, 1]], "an image is repeated"


def test_a_window_is_passed_once_and_frames_without_objects_are_filled() -> None:
    calls: list[list[float]] = []
    model = frozen.load(card("clock", Window(4, 2), channels=4))

    def network(images: Tensor, layers: list[str], slot: int) -> dict[str, Tensor]:
        calls.append(images.mean(dim=(0, 2, 3, 4)).tolist())
        return model.network(images, layers, slot)

    seen = replace(model, network=network, span=windows.span(Window(4, 2), "centred"))
    empty: list[int] = []

    def note(state: int, frame: Frame, maps: Mapping[str, Tensor]) -> tuple[int, dict[str, Labels]]:
        empty.extend([] if maps else [frame.index])
        return state, {"map": Labels()}

    steps: Steps[None, int] = Steps(
        lambda frame, *_: None if frame.index == 1 else frame.image, lambda *_: 0, note
    )
    list(follow(steps, flat_clip(6), seen, ["map"], None))
    assert calls == [[0, 0, 0, 0], [0, 0, 2, 3], [2, 3, 4, 5]]
    assert empty == [1]


def test_memory_is_flat_over_a_long_clip() -> None:
    model = replace(frozen.load(card("blind", Window(16, 2))), span=windows.span(Window(16, 2), "centred"))
    alive: set[int] = set()
    most = 0

    def frames() -> Iterator[Frame]:
        for number in range(500):
            frame = Frame(number, np.full((16, 16, 3), number % 256, dtype=np.uint8))
            alive.add(number)
            weakref.finalize(frame, alive.discard, number)
            yield frame

    for number, _ in enumerate(look(frames(), model)):
        if number % 50 == 0:
            most = max(most, len(alive))
    assert most <= 16 + 2 + 1, "nothing waits for the garbage collector, either"


def labels_of(one: Card, task: str, windowing: str) -> list[Labels]:
    chosen = registry.find(task, None, windowing)
    model = models.open(one)
    root = registry.folder(chosen, None)
    clip, _ = registry.load_clip(chosen, root, chosen.benchmark.names(root)[0], SHORT)
    return list(registry.bind(chosen, model)(clip))


def bits(found: list[Labels]) -> list[list[Any]]:
    return [
        [
            value.tobytes() if isinstance(value := getattr(one, field.name), np.ndarray) else value
            for field in fields(one)
        ]
        for one in found
    ]


@cache
def of_the_image_model(task: str) -> list[list[Any]]:
    return bits(labels_of(card("blind", None), task, "repeat"))


@pytest.mark.parametrize("windowing", windows.WINDOWINGS)
@pytest.mark.parametrize(
    "task", ["vos/synthetic", "sot/synthetic", "mot/synthetic", "pose/synthetic", "points/synthetic"]
)
def test_an_encoder_blind_to_time_is_the_image_model_bit_for_bit(task: str, windowing: str) -> None:
    assert bits(labels_of(card("blind", Window(4)), task, windowing)) == of_the_image_model(task)


@pytest.mark.parametrize("task", ["vos/synthetic", "sot/synthetic"])
def test_a_lookahead_that_is_not_stated_is_caught(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"models": [card("blind", Window(4))], "frames": SHORT}
    chosen = registry.find(task, None, "centred")
    fine = unibench.evaluate(tasks=[chosen], output=tmp_path / "fine", **asked)
    assert not fine.failed
    run = json.loads(next(tmp_path.glob("fine/**/run.json")).read_text())
    assert (run["lookahead"], run["protocol"]["windowing"]) == (1, "centred")
    monkeypatch.setattr(Span, "lookahead", 0)
    failed = unibench.evaluate(tasks=[chosen], output=tmp_path / "caught", **asked).failed
    assert failed
    assert all("expected at most 0 frames ahead; the protocol is online" in one.error for one in failed)


def test_hashes_of_image_models_and_their_protocols_stay(tmp_path: Path) -> None:
    known = {
        "vos/davis2016": "24fdd7a4e3fc",
        "sot/otb@xcorr": "180c9296261d",
        "mot/mot16": "ec08f5ce4534",
        "pose/jhmdb": "f8582ab46952",
    }
    assert {name: protocols.fingerprint(registry.find(name).protocol) for name in known} == known
    of_models = {"random-resnet18": "473ac86870b2", "random-vit-tiny": "1c1805c637bd", "hog": "60b70d308e3a"}
    assert {name: frozen.fingerprint(cards.find(name), None) for name in of_models} == of_models
    causal = registry.find("mot/mot16@unitrack", None, "causal")
    assert protocols.label(causal.protocol) == "unitrack+causal+public"
    assert protocols.fingerprint(causal.protocol) != known["mot/mot16"]
    image = registry.for_model(causal, models.open(cards.find("hog")))
    assert (protocols.label(image.protocol), protocols.fingerprint(image.protocol)) == (
        "unitrack+public",
        known["mot/mot16"],
    )


def test_a_cache_tells_maps_of_one_window_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame 1 is the last of its causal window, and amid the same frames of another: two maps in time."""
    one, features = card("clock", Window(4)), FeatureCache(tmp_path / "cache")
    tasks = [registry.find("vos/synthetic", None, windowing) for windowing in ("causal", "centred")]
    asked: dict[str, Any] = {"models": [replace(one, layers={"map": Layer("map", 8, 4, 3.5)})], "frames": 4}
    plain = unibench.evaluate(tasks=tasks, output=tmp_path / "a", features=features, **asked)
    monkeypatch.setattr(
        frozen, "load", lambda *_, **__: pytest.fail("the network is run, expected its maps in the cache")
    )
    again = unibench.evaluate(tasks=tasks, output=tmp_path / "b", features=features, **asked)
    assert [row.value for row in plain.rows] == [row.value for row in again.rows]
    assert not again.failed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 5, "tubelet": 2}, "window: 5 frames in tubelets of 2, expected whole tubelets"),
        ({"frames": 4, "read": "last"}, "window.read is 'last', expected one of own, mean"),
    ],
)
def test_windows_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CardError, match=message):
        cards.check(card("blind", Window(**changes)), "x")
    with pytest.raises(CardError, match="window is for the loaders python and transformers, found 'timm'"):
        cards.check(replace(cards.find("random-vit-tiny"), window=Window(4)), "x")


def test_a_window_that_the_network_does_not_have_is_named() -> None:
    wrong = card("blind", Window(4))
    model = frozen.load(replace(wrong, architecture=replace(wrong.architecture, options={"tubelet": 2})))
    with pytest.raises(CardError, match=r"expected \(batch, 4, channels, h, w\); correct window in the card"):
        model.network(torch.zeros(1, 3, 16, 16), ["map"])


def test_the_mean_over_a_window() -> None:
    window = Window(4, read="mean")
    model = frozen.load(card("blind", window))
    frames = torch.arange(4.0)[None, :, None, None, None].expand(1, 4, 3, 16, 16)
    assert model.network(frames, ["map"], 0)["map"][0, :3].unique().tolist() == [1.5]


VJEPA2 = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "crop_size": 64, "frames_per_clip": 4,
          "patch_size": 16, "tubelet_size": 2, "pred_hidden_size": 48, "pred_num_attention_heads": 2,
          "pred_num_hidden_layers": 1}  # fmt: skip


def vjepa2(folder: Path) -> Any:
    transformers = pytest.importorskip("transformers", reason=ABSENT)
    torch.manual_seed(0)
    network = transformers.AutoModel.from_config(transformers.AutoConfig.for_model("vjepa2", **VJEPA2)).eval()
    network.save_pretrained(folder)
    processor = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return network


def test_a_tiny_vjepa2_is_the_librarys_on_the_grid_of_its_training(tmp_path: Path) -> None:
    network = vjepa2(tmp_path)
    one = cards.find(str(tmp_path))
    assert (one.window, list(one.layers), one.layers["block3"].norm) == (
        Window(4, 2),
        ["block1", "block2", "block3"],
        True,
    )
    assert one.architecture.head == ("predictor.",)
    video = torch.randn(1, 4, 3, 64, 64)
    model = frozen.load(one)
    with torch.inference_mode():
        expected = network(video, skip_predictor=True).last_hidden_state.reshape(2, 4, 4, 48)
    for slot in range(2):
        torch.testing.assert_close(
            model.network(video, ["block3"], slot)["block3"][0], expected[slot].permute(2, 0, 1)
        )


def test_a_tiny_vjepa2_counts_rows_of_any_image(tmp_path: Path) -> None:
    """A wide image is where its patches are, whatever the grid of the training: shown as a part of a square one."""
    vjepa2(tmp_path)
    model = frozen.load(cards.find(str(tmp_path)))
    network = frozen.build(cards.find(str(tmp_path)), tmp_path / "model.safetensors")[0]
    encoder: Any = network.get_submodule("encoder")
    video = torch.randn(1, 4, 3, 64, 64)
    with torch.inference_mode():
        tokens = encoder.embeddings(video)[
            :, [*range(8), *range(16, 24)]
        ]  # the upper half of the grid of 4 x 4
        places = torch.tensor([[*range(8), *range(16, 24)]])
        for layer in encoder.layer:
            tokens = layer(tokens, places)[0]
        expected = encoder.layernorm(tokens).reshape(2, 2, 4, 48)[1].permute(2, 0, 1)
    torch.testing.assert_close(model.network(video[..., :32, :], ["block3"], 1)["block3"][0], expected)


@pytest.mark.parametrize("windowing", windows.WINDOWINGS)
def test_a_tiny_vjepa2_tracks(tmp_path: Path, windowing: str) -> None:
    vjepa2(tmp_path)
    one = cards.find(str(tmp_path))
    for task in ("vos/synthetic", "sot/synthetic", "points/synthetic"):
        assert len(labels_of(one, task, windowing)) == SHORT


def test_videomae_is_the_librarys(tmp_path: Path) -> None:
    """The library's network under the names of the hub's files, at the size of the training."""
    transformers = pytest.importorskip("transformers", reason=ABSENT)
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        "videomae", hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96, num_frames=4,
        use_mean_pooling=False, layer_norm_eps=1e-6,
    )  # fmt: skip
    network = transformers.VideoMAEModel(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    network.save_pretrained(tmp_path)
    zoo = cards.find("videomae-vit-b16")
    options = {"width": 24, "depth": 2, "heads": 2, "nodes": [1, 2]}
    small = replace(
        zoo, architecture=replace(zoo.architecture, options=options), window=Window(4, 2), default_layer="block2",
        layers={f"block{number}": Layer(f"block{number}", 16, 24, 7.5) for number in (1, 2)},
    )  # fmt: skip
    model = frozen.load(small, weights_path=tmp_path / "model.safetensors")
    video = torch.randn(1, 4, 3, 224, 224)
    with torch.inference_mode():
        expected = network(video).last_hidden_state.reshape(2, 14, 14, 24)
    for slot in range(2):
        torch.testing.assert_close(
            model.network(video, ["block2"], slot)["block2"][0],
            expected[slot].permute(2, 0, 1),
            atol=1e-5,
            rtol=1e-4,
        )
    assert model.network(video[..., :40, :100], ["block1"], 0)["block1"].shape == (1, 24, 3, 7)


def test_an_inflated_resnet_shown_a_still_image_is_a_plain_one_away_from_the_windows_ends() -> None:
    zoo = cards.find("slow-resnet50")
    small = replace(
        zoo, architecture=replace(zoo.architecture, options={"depths": [1, 1, 1, 1], "strides": [1, 2, 1, 1]})
    )
    network, _ = frozen.build(replace(small, weights=replace(small.weights, source="random")), None)
    with torch.inference_mode():
        maps = network(torch.randn(1, 1, 3, 64, 64).expand(-1, 8, -1, -1, -1))
    for node, channels in (("res3", 512), ("res4", 1024), ("res5", 2048)):
        assert maps[node].shape == (1, 8, channels, 8, 8)
        torch.testing.assert_close(maps[node][:, 3], maps[node][:, 4])


def test_run_takes_the_windowing_from_the_command_and_leaves_image_models_alone(tmp_path: Path) -> None:
    arguments = ["run", "-m", "hog", "-t", "vos/synthetic", "--frames", "3", "--windowing", "causal"]
    result = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert [path.parents[1].name for path in tmp_path.glob("hog/*/vos/*/*/result.json")] == [
        "synthetic@unitrack"
    ]


def test_a_plan_carries_the_windowing_to_the_machines_that_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draft_card.write(card("blind", Window(4)), tmp_path / "model_cards" / "blind.toml")
    asked = ["-m", "blind", "-t", "vos/synthetic", "--frames", "4", "--windowing", "centred"]
    for command in (
        ["plan", *asked, "-o", "plan.json"],
        ["work", "plan.json", "--shard", "1/1", "-o", "shards"],
        ["merge", "-o", "shards"],
        ["run", *asked, "-o", "plain"],
    ):
        result = CliRunner().invoke(main, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    made, plain = (next(Path(name).glob("blind/**/result.json")) for name in ("shards", "plain"))
    assert made.relative_to("shards") == plain.relative_to("plain")
    assert unquote(made.parents[1].name) == "synthetic@unitrack+centred"
    assert made.read_bytes() == plain.read_bytes()
