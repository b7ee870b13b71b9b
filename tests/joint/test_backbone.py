"""The backbone of a joint tracker on a card of its own: the same file, frozen, under the heads of all tasks."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from unibench.cli import main
from unibench.errors import CardError, TrainingError, UnknownNameError
from unibench.joint import backbone, systems
from unibench.joint.layers import resnet_fpn
from unibench.models import cards, frozen
from unibench.results import store
from unibench.tasks.registry import FAMILIES


def unibench(line: str) -> Result:
    return CliRunner().invoke(main, line.split())


@pytest.fixture
def written(home: Path) -> Path:
    done = unibench("models backbone toy --weights weights")
    assert done.exit_code == 0, done.output
    assert "layers: c2 (stride 4), c3 (stride 8); default: c3" in done.output
    return home / "model_cards/toy-backbone.toml"


def test_the_card_is_written_once_and_is_valid(written: Path) -> None:
    card = cards.find("toy-backbone")
    assert {name: (one.stride, one.channels) for name, one in card.layers.items()} == {
        "c2": (4, 4),
        "c3": (8, 8),
    }
    assert (card.kind, card.default_layer, card.architecture.parameters) == ("frozen", "c3", 112 + 296)
    done = unibench("models backbone toy --weights weights")
    assert done.exit_code == 2
    assert "toy-backbone.toml: exists already" in done.output


def test_its_maps_are_those_inside_the_tracker(written: Path) -> None:
    model = frozen.load(cards.find("toy-backbone"), weights_path=written.parents[1] / "weights")
    network = systems.build(cards.find("toy"), written.parents[1] / "weights/toy.safetensors")[2]
    image = torch.randint(0, 256, (64, 96, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    maps = model.network(model.prepare(image.numpy())[None], ["c2", "c3"])
    with torch.no_grad():
        expected = network.backbone(resnet_fpn.normalise(image.permute(2, 0, 1).float()[None]))
    assert maps.keys() == expected.keys()
    for name in maps:
        assert torch.allclose(maps[name], expected[name], atol=1e-5)
        assert expected[name].abs().max() > 0


def test_the_same_file_runs_all_tasks_through_the_heads(written: Path) -> None:
    done = unibench("run -m toy-backbone -m toy -t */synthetic-easy --weights weights --frames 3 -o out")
    assert done.exit_code == 0, done.output
    tasks = {model: {one.task.partition("/")[0] for one in store.read_scores(Path("out")) if one.model == model}
             for model in ("toy", "toy-backbone")}  # fmt: skip
    assert tasks["toy-backbone"] == {name for name, row in FAMILIES.items() if row.tracker}
    assert tasks["toy"] == {"mot"}


def test_other_weights_do_not_fit_the_card(written: Path) -> None:
    from tests.joint.conftest import save
    from tests.joint.toy import ToyConfig

    save(written.parents[1] / "weights/toy.safetensors", ToyConfig(width=8))
    done = unibench("run -m toy-backbone -t mot/synthetic-easy --weights weights -o out")
    assert done.exit_code == 2
    assert "sha256 is " in done.output
    text = written.read_text().splitlines()
    written.write_text("\n".join(line for line in text if not line.startswith("sha256")))
    done = unibench("run -m toy-backbone -t mot/synthetic-easy --weights weights -o out")
    assert done.exit_code == 2
    assert "0 of 4 tensors loaded" in done.output


def test_mistakes_in_its_options_are_named(home: Path) -> None:
    with pytest.raises(UnknownNameError, match="no joint tracker 'toi'; did you mean 'toy'"):
        backbone.build("toi", "{}")
    with pytest.raises(
        CardError, match=r"architecture\.options\.config: no JSON \(.*\); write the card anew"
    ):
        backbone.build("toy", "{x")
    with pytest.raises(TrainingError, match=r"architecture\.options\.config: unknown field 'depth'"):
        backbone.build("toy", json.dumps({"depth": 3}))
    with pytest.raises(UnknownNameError, match="no toy config or TOML file 'huge'"):
        backbone.build("toy", "huge")
    with pytest.raises(
        CardError, match="model 'lab-colour': a frozen model already, expected a joint tracker"
    ):
        backbone.draft(cards.find("lab-colour"))
