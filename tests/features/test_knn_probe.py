"""k-NN probe: the vote by hand, leave-one-out, folders of images, and one line for every mistake."""

import json
import math
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from unibench.cli import main
from unibench.errors import DataError, UnknownNameError, WeightsError
from unibench.features import knn_probe
from unibench.models import cards, frozen

COLOURS = {"blue": (30, 60, 200), "green": (40, 180, 60), "red": (200, 40, 40)}
LAB = frozen.load(cards.find("lab-colour"))


def paint(path: Path, colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (260, 300)) -> None:
    noise = np.random.default_rng(seed).normal(0, 15, (*size, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(noise + colour, 0, 255).astype(np.uint8)).save(path)


def paint_all(root: Path, count: int) -> None:
    for number, (name, colour) in enumerate(COLOURS.items()):
        for image in range(count):
            paint(root / name / f"{image}.png", colour, 10 * number + image)


def unit(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def unibench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["probe", *arguments])


def test_two_neighbours_farther_away_outvote_a_near_one_only_if_they_are_near_enough() -> None:
    # one of class 0 at similarity .9 against two of class 1: exp(.9/T) < 2 exp(s/T) where s > .9 - T ln 2
    limit = 0.9 - knn_probe.TEMPERATURE * math.log(2)
    similarity = np.array([[0.9, limit + 0.001, limit + 0.001], [0.9, limit - 0.001, limit - 0.001]])
    assert knn_probe.vote(similarity, np.array([[0, 1, 1], [0, 1, 1]])).tolist() == [1, 0]


def test_the_first_of_classes_with_equal_votes_wins() -> None:
    assert knn_probe.vote(np.array([[0.5, 0.5]]), np.array([[2, 1]])).tolist() == [1]
    assert knn_probe.vote(np.array([[0.5, 0.5, 0.5]]), np.array([[2, 1, 2]])).tolist() == [2]


def test_neighbours_are_the_k_most_similar() -> None:
    known, labels = unit(0, 10, 20, 90, 100, 110), np.array([0, 0, 1, 2, 2, 1])
    queries = unit(4, 97, 60)  # the last is nearest to 90, then to 20
    assert knn_probe.classify(known, labels, queries, 1).tolist() == [0, 2, 2]
    assert knn_probe.classify(known, labels, queries, 3).tolist() == [0, 2, 2]


def test_without_the_query_itself() -> None:
    known, labels = unit(0, 2, 50, 51, 53), np.array([0, 1, 2, 2, 1])
    assert knn_probe.classify(known, labels, known, 1).tolist() == labels.tolist()
    assert knn_probe.classify(known, labels, known, 1, leave_one_out=True).tolist() == [1, 0, 2, 2, 2]


def test_a_query_with_more_copies_than_neighbours_has_still_k_of_them() -> None:
    known = np.concatenate([unit(*[30.0] * 6), unit(80)])
    labels = np.array([0, 0, 0, 0, 0, 1, 1])
    assert knn_probe.classify(known, labels, known, 2, leave_one_out=True).shape == (7,)


def test_colours_are_told_apart_by_colour(tmp_path: Path) -> None:
    paint_all(tmp_path, 3)
    probed = knn_probe.probe(LAB, "pooled", knn_probe.find_images(tmp_path))
    assert probed.top1 == 1
    assert (probed.n, probed.train, probed.classes, probed.k) == (9, 9, 3, 8)
    assert probed.leave_one_out


def test_train_and_val(tmp_path: Path) -> None:
    paint_all(tmp_path / "train", 4)
    paint(tmp_path / "val" / "red" / "a.JPEG", COLOURS["red"], 1)
    paint(tmp_path / "val" / "red" / "b.jpg", COLOURS["green"], 2)
    paint(tmp_path / "val" / "blue" / "c.png", COLOURS["blue"], 3)
    (tmp_path / "val" / "blue" / "notes.txt").write_text("not an image")
    images = knn_probe.find_images(tmp_path)
    assert images.classes == ("blue", "green", "red")
    assert [(path.name, label) for path, label in images.val] == [("c.png", 0), ("a.JPEG", 2), ("b.jpg", 2)]
    probed = knn_probe.probe(LAB, "pooled", images)
    assert probed.top1 == pytest.approx(2 / 3)  # the one painted green is not red
    assert (probed.n, probed.train, probed.k, probed.leave_one_out) == (3, 12, 12, False)


def test_k_is_20_where_there_are_so_many(tmp_path: Path) -> None:
    for number in range(21):
        paint(
            tmp_path / ("red" if number % 2 else "blue") / f"{number}.png", COLOURS["red"], number, (32, 32)
        )
    assert knn_probe.probe(LAB, "pooled", knn_probe.find_images(tmp_path)).k == 20


def test_batches_change_no_feature_but_by_rounding() -> None:
    model = frozen.load(cards.find("random-resnet18"))
    pixels = list(np.random.default_rng(0).integers(0, 256, (9, 40, 40, 3), dtype=np.uint8))
    one, three, eight, again = (knn_probe.embed(model, "layer4", pixels, batch) for batch in (1, 3, 8, 8))
    np.testing.assert_allclose(three, one, atol=1e-5)
    np.testing.assert_allclose(eight, one, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-6)
    assert np.array_equal(eight, again)


def test_batches_change_no_result(tmp_path: Path) -> None:
    paint_all(tmp_path, 3)
    paint(tmp_path / "red" / "pale.png", (120, 90, 80), 0)
    images = knn_probe.find_images(tmp_path)
    found = [knn_probe.probe(LAB, "pooled", images, batch=batch) for batch in (1, 3, 8)]
    assert found[0] == found[1] == found[2]


def test_the_middle_of_the_scaled_image_is_seen() -> None:
    image = np.zeros((300, 600, 3), dtype=np.uint8)
    image[:, 300:] = 255
    seen = knn_probe.crop(image)
    assert seen.shape == (224, 224, 3)
    assert seen[:, :108].max() == 0
    assert seen[:, 116:].min() == 255
    assert knn_probe.crop(image[:, :100]).shape == knn_probe.crop(image[:37, :31]).shape == (224, 224, 3)


@pytest.mark.parametrize("name", sorted(cards.paths()))
def test_the_last_layer_of_every_card_is_its_deepest(name: str) -> None:
    """Numbers in the names of nodes count layers in every library; a pyramid and an embedding come behind them."""
    nodes = [str(layer.node) for layer in cards.read(cards.paths()[name]).layers.values()]
    depths = [
        (node == "embedding", bool(re.fullmatch(r"p\d", node)), *map(int, re.findall(r"\d+", node)))
        for node in nodes
    ]
    assert depths == sorted(depths), nodes


def test_the_deepest_layer_is_probed_unless_another_is_named(tmp_path: Path) -> None:
    paint_all(tmp_path, 2)
    done = unibench("-m", "random-resnet18", "--data", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert " of layer4 on " in done.output
    done = unibench("-m", "random-resnet18", "--data", str(tmp_path), "--layers", "layer3")
    assert " of layer3 on " in done.output


def test_the_result_is_said_written_and_fits_a_card(tmp_path: Path) -> None:
    data, out = tmp_path / 'my "images"', tmp_path / "out"
    paint_all(data, 3)
    arguments = ("-m", "lab-colour", "--data", str(data), "-o", str(out))
    done = unibench(*arguments)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(
        "lab-colour: 100.0%  k-NN top-1 (k = 8, T = 0.07) of pooled on 'my \"images\"': 9 images"
    )
    assert "3 classes are not ImageNet-1k" in done.output
    table = tomllib.loads(
        done.output[done.output.index("[imagenet_top1]") : done.output.index("3 classes are")]
    )
    assert table["imagenet_top1"]["value"] == 1
    assert table["imagenet_top1"]["source"].endswith("neighbours among the others (leave-one-out)")
    path = out / "lab-colour" / "probe-pooled.json"
    first = path.read_bytes()
    stored = json.loads(first)
    assert stored["top1"] == 1
    assert {"n": 9, "classes": 3, "k": 8, "temperature": 0.07, "layer": "pooled"}.items() <= stored.items()
    assert stored["weights_hash"] == LAB.fingerprint
    assert unibench(*arguments).exit_code == 0
    assert path.read_bytes() == first
    paint(data / "red" / "0.png", COLOURS["red"], 99)
    assert unibench(*arguments).exit_code == 0
    assert json.loads(path.read_bytes())["data_hash"] != stored["data_hash"]


def test_a_card_with_the_lines_is_valid(tmp_path: Path) -> None:
    paint_all(tmp_path / "images", 2)
    probed = knn_probe.probe(LAB, "pooled", knn_probe.find_images(tmp_path / "images"))
    text = cards.paths()["lab-colour"].read_text()
    path = tmp_path / "mine.toml"
    path.write_text(f"{text}\n{knn_probe.card_lines(probed)}")
    external = cards.read(path).imagenet_top1
    assert external is not None
    assert external.value == 1


def test_folders_that_are_no_image_folder(tmp_path: Path) -> None:
    def refuse(root: Path, message: str) -> None:
        with pytest.raises(DataError, match=message):
            knn_probe.find_images(root)

    refuse(tmp_path / "nowhere", r"nowhere: no such folder, expected train/<class>/\* and val/<class>/\*")
    refuse(tmp_path, r"no class folders; expected train/<class>/\* and val/<class>/\*, or <class>/\*$")
    paint(tmp_path / "one" / "red" / "0.png", COLOURS["red"], 0)
    paint(tmp_path / "one" / "red" / "1.png", COLOURS["red"], 1)
    refuse(tmp_path / "one", "one: 1 class, 'red'; expected two or more")
    (tmp_path / "one" / "blue").mkdir()
    refuse(tmp_path / "one", r"blue: 0 images; expected 2 or more that end in \.jpg, \.jpeg, \.png")
    paint(tmp_path / "one" / "blue" / "0.png", COLOURS["blue"], 0)
    refuse(tmp_path / "one", "blue: 1 images; expected 2 or more")
    paint_all(tmp_path / "two" / "train", 1)
    refuse(tmp_path / "two", "two: a folder 'train' alone; expected")
    (tmp_path / "two" / "val" / "white").mkdir(parents=True)
    refuse(tmp_path / "two", "white: 0 images; expected 1 or more")
    paint(tmp_path / "two" / "val" / "white" / "0.png", (255, 255, 255), 0)
    refuse(tmp_path / "two", "val: class 'white', which is not in train; give both the same class folders")


def test_an_image_that_is_broken_is_one_line(tmp_path: Path) -> None:
    paint_all(tmp_path, 2)
    broken = tmp_path / "red" / "1.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    done = unibench("-m", "lab-colour", "--data", str(tmp_path))
    assert done.exit_code == 2
    assert f"unibench: {broken}: not a whole image" in done.output
    assert "Traceback" not in done.output


def test_unknown_models_and_layers_are_named(tmp_path: Path) -> None:
    paint_all(tmp_path, 2)
    done = unibench("-m", "lab-color", "--data", str(tmp_path))
    assert (done.exit_code, "no model card 'lab-color'" in done.output) == (2, True)
    with pytest.raises(UnknownNameError, match="no layer of model 'lab-colour' 'layer4'; there are: pooled"):
        knn_probe.probe(LAB, "layer4", knn_probe.find_images(tmp_path))


def test_features_that_are_not_finite_are_refused() -> None:
    model = replace(LAB, network=lambda images, layers: dict.fromkeys(layers, images / 0))
    with pytest.raises(WeightsError, match="model 'lab-colour': features of 'pooled' are not finite"):
        knn_probe.embed(model, "pooled", [np.full((224, 224, 3), 90, dtype=np.uint8)], 1)
