"""What a frame costs: counted by hand, shown on boards, and no part of what must be equal from run to run."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from unibench import plugins
from unibench.cli import main
from unibench.errors import OutputError
from unibench.evaluation import cost
from unibench.evaluation.fingerprints import unit_key
from unibench.evaluation.units import Unit, list_units
from unibench.models import cards
from unibench.models.cards import Architecture, Card, Layer, Preprocessing, Window
from unibench.records import Cost
from unibench.results import store
from unibench.tasks import registry

CELLS = 24 * 32
"""Of a rendered frame of 192 x 256 pixels at stride 8."""


@pytest.fixture(autouse=True)
def known_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "MODULES", plugins.MODULES | {"tests.models.clips"})


def card(network: str, window: Window | None = None, channels: int = 6) -> Card:
    return replace(
        cards.find("random-resnet18"), name=network, window=window,
        layers={"map": Layer("map", 8, channels, 3.5)}, default_layer="map",
        architecture=Architecture("python", f"tests.models.clips:{network}",
                                  options={"tubelet": window.tubelet} if window else {}),
        preprocessing=Preprocessing("rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    )  # fmt: skip


def measured(out: Path, model: Card, name: str, windowing: str = "repeat", frames: int | None = None) -> Cost:
    units = list_units([model], [registry.find(name, windowing=windowing)], None, frames=frames)
    cost.write_missing(units, out)
    found = store.read_cost(out, unit_key(units[0], model.default_layer).run)
    assert found is not None
    return found


def test_a_convolution_by_hand(tmp_path: Path) -> None:
    found = measured(tmp_path, card("convolution"), "vos/synthetic-easy", frames=3)
    weights, image, maps = 6 * 3 * 8 * 8, 3 * 192 * 256, 6 * CELLS
    assert (found.parameters, found.channels, found.stride) == (weights, 6, 8)
    assert found.shown == {"1 x 3 x 192 x 256": 1.0}
    assert found.flops == 2 * weights * CELLS
    # the image, and it with its channels last; one number is the norm that shows whether the map is finite
    assert found.memory == 4 * (weights + 2 * image + maps + 1)
    assert found.seconds > 0
    assert (found.device.split()[0], found.threads) == ("cpu", 1)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (
            "sot/synthetic-easy",
            {"3 x 3 x 520 x 520": 1.0, "1 x 3 x 520 x 520": 1.0},
        ),  # scales; then it learns
        ("sot/synthetic-easy@xcorr", {"3 x 3 x 520 x 520": 1.0}),
        ("points/synthetic-easy@nearest", {"1 x 3 x 256 x 256": 1.0}),
        ("points/synthetic-easy@nearest-strided", {"1 x 3 x 256 x 256": 2.0}),  # both ways
        ("mot/synthetic-easy@bytetrack", {}),  # reads no pixel
    ],
)
def test_passes_of_a_frame_after_the_first(tmp_path: Path, name: str, shown: dict[str, float]) -> None:
    found = measured(tmp_path, card("convolution"), name)
    assert found.shown == shown
    cells = sum(int(one[0]) * passes * (int(one.split()[-1]) // 8) ** 2 for one, passes in shown.items())
    assert found.flops == 2 * 6 * 3 * 8 * 8 * cells


def test_frames_of_a_tubelet_share_the_cost_of_a_pass(tmp_path: Path) -> None:
    encoder = card("blind", Window(4, 2))
    for windowing, shown in (
        ("repeat", {"1 x 3 x 192 x 256": 1.0}),
        ("causal", {"1 x 4 x 3 x 192 x 256": 1.0}),
        ("centred", {"1 x 4 x 3 x 192 x 256": 0.5}),
    ):
        assert measured(tmp_path, encoder, "vos/synthetic-easy", windowing).shown == shown


def test_a_clip_of_one_frame_has_a_cost(tmp_path: Path) -> None:
    (unit, *_) = list_units([card("convolution")], [registry.find("vos/synthetic-easy")], None)
    cost.write_missing([replace(unit, frames=1)], tmp_path)
    found = store.read_cost(tmp_path, unit_key(unit, "map").run)
    assert found is not None
    assert found.shown == {"1 x 3 x 192 x 256": 1.0}


def test_a_joint_tracker_costs_what_all_of_it_does(tmp_path: Path) -> None:
    found = measured(tmp_path, cards.find("tdt-tiny"), "mot/shapes@private")
    assert found.parameters == cards.find("tdt-tiny").architecture.parameters
    assert found.flops > 1e7
    assert found.memory > 4 * found.parameters
    assert (found.channels, found.stride, dict(found.shown)) == (0, 0, {})


def test_what_is_counted_does_not_change_and_is_counted_once(tmp_path: Path) -> None:
    first = measured(tmp_path / "a", card("convolution"), "pose/synthetic-easy")
    other = measured(tmp_path / "b", card("convolution"), "pose/synthetic-easy")
    assert replace(first, seconds=other.seconds) == other
    (path,) = (tmp_path / "a").rglob("cost.json")
    stored = path.read_bytes()
    measured(tmp_path / "a", card("convolution"), "pose/synthetic-easy")
    assert path.read_bytes() == stored


def test_a_model_whose_weights_are_elsewhere_has_no_cost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    units = list_units([card("convolution")], [registry.find("vos/synthetic-easy")], None)
    gone = replace(units[0].card, weights=replace(units[0].card.weights, source="file:gone.pth"))
    with caplog.at_level(logging.WARNING):
        cost.write_missing([replace(units[0], card=gone)], tmp_path)
    assert "cost not measured: model 'convolution'" in caplog.text
    assert not list(tmp_path.rglob("cost.json"))


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.output


def test_a_run_puts_costs_on_every_board(tmp_path: Path) -> None:
    output = run("run", "-m", "random-resnet18", "-m", "lab-colour", "-t", "vos/synthetic-easy", "--frames", 3,
                 "-o", tmp_path)  # fmt: skip
    assert "What a frame costs" in output
    assert "cpu" in output.partition("ms: median, on")[2]
    head, first, *_ = [line.split(",") for line in (tmp_path / "leaderboard.csv").read_text().splitlines()]
    row = dict(zip(head, first, strict=False))
    assert row["model"] == "lab-colour"
    assert (row["parameters"], row["channels"], row["stride"]) == ("0", "3", "8")
    assert row["vos/synthetic-easy@unitrack GFLOPs"] == "0"
    told = json.loads(run("leaderboard", "-o", tmp_path, "--json"))["costs"]
    assert [one["model"] for one in told] == ["lab-colour", "random-resnet18"]
    assert told[1]["flops"] == pytest.approx(5.16e9, rel=2e-3)
    assert told[1]["shown"] == {"1 x 3 x 192 x 256": 1.0}


def a_unit() -> Unit:
    return list_units([cards.find("lab-colour")], [registry.find("vos/synthetic-easy")], None)[0]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    cost.write_missing([a_unit()], tmp_path)
    (path,) = tmp_path.rglob("cost.json")
    path.write_text(path.read_text().replace('"flops"', '"flop"'))
    with pytest.raises(OutputError, match=r"cost\.json: .*flop.*; delete the file or rerun"):
        store.read_cost(tmp_path, unit_key(a_unit(), "pooled").run)
