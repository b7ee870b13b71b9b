"""`unibench detect`: the truth is perfect through the canvas and back, and scores go to the terminal and to a file."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.cli.test_cli import loaded
from unibench.cli import main
from unibench.errors import DataError, OutputError
from unibench.geometry import canvas
from unibench.joint import systems
from unibench.joint.data.sampling import SampleOptions, ViewOptions
from unibench.joint.system import AnnotatedImage, Detections, System, TrainingSet
from unibench.joint.training import config as configs
from unibench.joint.training import evaluate
from unibench.joint.training.config import Stage, TrainOptions
from unibench.metrics.detection import ORDER
from unibench.records import Clip, Frame, Labels


@dataclass(frozen=True)
class Config:
    classes: tuple[str, ...] = ("dark", "bright")
    view: ViewOptions = field(default_factory=lambda: ViewOptions(100, 160))
    sample: SampleOptions = field(default_factory=SampleOptions)
    train: TrainOptions = field(default_factory=lambda: TrainOptions((Stage("all", 1, 0.1),), 1))


def things(image: Tensor) -> Iterator[tuple[list[float], int]]:
    """Boxes of the grey (class 0) and white (class 1) things on black."""
    for name, level in enumerate((100, 200)):
        seen = (image.float().mean(dim=0) - level).abs() < 30  # edges are soft
        rows, columns = torch.nonzero(seen, as_tuple=True)
        if len(rows):
            sides = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            yield [float(side) for side in sides], name


def find(network: nn.Module, images: Tensor, config: Config) -> list[Detections]:
    inside = images[0].clone()
    inside[:, (images[0] == torch.tensor(canvas.BORDER)[:, None, None]).all(dim=0)] = 0
    rows = list(things(inside))
    return [
        Detections(
            torch.tensor([box for box, _ in rows]).reshape(-1, 4),
            torch.ones(len(rows)),
            torch.tensor([name for _, name in rows], dtype=torch.int64),
        )
    ]


def unused(*_: object) -> None:
    raise NotImplementedError


def build(config: Config) -> nn.Module:
    return nn.Conv2d(3, 1, 1)


SYSTEM = System("seer", Config, Path(__file__).parent, build, unused, find, unused, unused, {})
NETWORK = build(Config()).eval()


def annotated(name: str, *, seen: bool = True, **more: object) -> AnnotatedImage:
    image = np.zeros((200, 240, 3), dtype=np.uint8)
    boxes = np.array([[20, 40, 80, 100], [120, 20, 220, 180]], dtype=np.float64)
    for (x1, y1, x2, y2), level in zip(boxes.astype(int), (100, 200), strict=True):
        image[y1:y2, x1:x2] = level if seen else 0
    return AnnotatedImage(name, lambda: image, Labels(boxes=boxes, classes=np.array([0, 1])), **more)


def score(*images: AnnotatedImage, limit: int | None = None) -> evaluate.DetectionScores:
    return evaluate.score(
        SYSTEM, Config(), NETWORK, TrainingSet("set", ("dark", "bright"), images), limit=limit
    )


def test_what_is_found_goes_back_to_the_annotated():
    found = score(annotated("one"), annotated("two"))
    assert found.images == 2
    assert found.milliseconds > 0
    assert tuple(found.scores) == ORDER
    assert found.scores["AP"] == pytest.approx(1)
    assert found.scores["APm"] == found.scores["APl"] == pytest.approx(1)


def test_what_is_not_found_costs_recall():
    found = score(annotated("one"), annotated("two", seen=False))
    assert found.scores["AR100"] == pytest.approx(0.5)
    assert score(annotated("one"), annotated("two", seen=False), limit=1).scores["AR100"] == pytest.approx(1)


def test_ignored_regions_excuse_whatever_the_class():
    alone = Labels(boxes=np.array([[20.0, 40.0, 80.0, 100.0]]), classes=np.array([0]))
    excused = replace(annotated("one", ignored=np.array([[115.0, 15.0, 225.0, 185.0]])), labels=alone)
    other = annotated("two")
    assert score(excused, other).scores["AP"] == pytest.approx(1)
    plain = replace(excused, ignored=np.zeros((0, 4)))
    assert score(plain, other).scores["AP"] < 0.9


def test_classes_are_matched_by_name():
    data = TrainingSet("set", ("Bright", "other"), [annotated("one")])
    with pytest.raises(DataError, match="data 'set': classes cat, expected some of dark, bright"):
        evaluate.score(SYSTEM, Config(), NETWORK, replace(data, classes=("cat",)))
    found = evaluate.score(SYSTEM, Config(), NETWORK, data)
    assert found.scores["AP"] == 0  # what the set calls bright is the grey thing
    with pytest.raises(DataError, match="data 'set': no images; name data that have some"):
        score()


def test_a_table_of_scores(tmp_path):
    found = evaluate.DetectionScores({"AP": 0.51234567, "APs": math.nan}, 3, 1.26)
    row = evaluate.row("mine", "coco:x.json", found)
    assert row == {
        "model": "mine",
        "data": "coco:x.json",
        "images": "3",
        "ms": "1.3",
        "AP": "0.5123",
        "APs": "",
    }
    evaluate.write([row], tmp_path / "new/scores.csv")
    assert (
        tmp_path / "new/scores.csv"
    ).read_text() == "model,data,images,ms,AP,APs\nmine,coco:x.json,3,1.3,0.5123,\n"
    with pytest.raises(OutputError, match="cannot be written"):
        evaluate.write([row], tmp_path)


CARD = """
kind = "joint"
description = "sees grey and white"
paper = "none"
license = "MIT"
[architecture]
loader = "joint"
name = "seer"
[weights]
source = "file:seer.safetensors"
[pretraining]
method = "none"
data = "none"
supervision = "none"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a training leaves it, with data beside; the working directory."""
    monkeypatch.setitem(systems.SYSTEMS, "seer", "tests.joint.training.test_evaluate")
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path("out/seer.toml").write_text(CARD)
    metadata = {"unibench_system": "seer", "unibench_config": configs.as_json(Config())}
    save_file(NETWORK.state_dict(), "out/seer.safetensors", metadata)
    rows = []
    for number, seen in ((1, True), (2, True), (3, False)):
        Image.fromarray(annotated("", seen=seen).image()).save(f"{number}.png")
        rows += [
            {"image_id": number, "category_id": 1, "bbox": [20, 40, 60, 60]},
            {"image_id": number, "category_id": 2, "bbox": [120, 20, 100, 160]},
        ]
    table = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in (1, 2, 3)],
        "categories": [{"id": 1, "name": "dark"}, {"id": 2, "name": "bright"}],
        "annotations": rows,
    }
    Path("data.json").write_text(json.dumps(table))
    return tmp_path


def test_the_command(home):
    asked = ["detect", "-m", "out/seer.toml", "--data", "coco:data.json"]
    done = CliRunner().invoke(main, [*asked, "--images", "2", "-o", "scores.csv"])
    assert done.exit_code == 0, done.output
    assert "model seer  data coco:data.json  images 2  ms " in done.output
    assert "AP 1.0000  AP50 1.0000" in done.output
    assert "written: scores.csv" in done.output
    header, line = Path("scores.csv").read_text().splitlines()
    assert header == ",".join(("model", "data", "images", "ms", *ORDER))
    assert line.startswith("seer,coco:data.json,2,")
    whole = CliRunner().invoke(main, asked)
    assert "images 3" in whole.output
    assert "AR100 0.6667" in whole.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-m", "out/seer.toml", "--data", "x:y"), "data 'x:y': no kind 'x'; there are: synthetic:stills"),
        (("-m", "out/none.toml", "--data", "coco:data.json"), "out/none.toml"),
        (("-m", "seer", "--data", "coco:data.json"), "no model card 'seer'"),
        (("-m", "out/seer.toml", "--data", "synthetic:test"), "data 'synthetic:test': classes square, disc"),
        (("-m", "hog", "--data", "coco:data.json"), "model 'hog': a frozen model, expected a joint tracker"),
    ],
)
def test_what_is_wrong_is_one_line(home, arguments, message):
    done = CliRunner().invoke(main, ["detect", *arguments])
    assert done.exit_code == 2
    assert done.output.startswith(f"unibench: {message}")
    assert done.output.count("\n") == 1


def test_help_loads_no_torch():
    assert "torch" not in loaded("detect --help")


@pytest.mark.parametrize(
    ("length", "frames", "expected"),
    [
        (4, 1, [[0], [1], [2], [3]]),
        (4, 3, [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]),
        (2, 7, [[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1]]),
        (1, 3, [[0, 0, 0]]),
        (0, 3, []),
    ],
    ids=["images", "clips", "a clip shorter than that", "one frame", "none"],
)
def test_a_frame_lies_in_the_middle_of_those_around_it(
    length: int, frames: int, expected: list[list[int]]
) -> None:
    """Beyond its ends a clip stands still; no frame is pulled before it is needed."""
    pulled, shown = [], []

    def show() -> Iterator[Frame]:
        for index in range(length):
            pulled.append(index)
            yield Frame(index, np.full((100, 160, 3), 10 * index, np.uint8))

    def look(network: nn.Module, images: Tensor, config: Config) -> Detections:
        shown.append((images[:, 0, 0, 0] // 10).tolist())
        return Detections()

    system = replace(SYSTEM, detect=lambda *given: [look(*given)], detect_clip=look)
    clip = Clip("c", 100, 160, 1.0, length, show, ("dark", "bright"))
    for index, labels in enumerate(evaluate.detect_frames(system, Config(), NETWORK, clip, frames)):
        assert len(pulled) == min(length, index + frames // 2 + 1)
        assert len(labels.boxes) == 0
    assert shown == expected
