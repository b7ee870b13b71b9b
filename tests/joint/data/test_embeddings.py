from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch.nn import functional as F

from unibench.datasets.motchallenge import load_mot15
from unibench.errors import TrainingError, UnknownNameError, WeightsError
from unibench.geometry import canvas
from unibench.joint import embedder
from unibench.joint.data import registry
from unibench.joint.system import AnnotatedImage, EmbedderOptions, TrainingSet
from unibench.joint.tdt import SYSTEM
from unibench.joint.training import config as configs
from unibench.models.cards import find
from unibench.records import Labels

FLOOR = EmbedderOptions("random-resnet18", "layer3", (32, 16))
TINY = replace(configs.read("tiny", SYSTEM), teacher=FLOOR)


RANK1 = 0.8
"""It is .90 for the real OSNet x0.25 (63 crops of 6 people), and .68 for a ResNet-18 with random weights."""


def stills(count, name="synthetic:stills"):
    return TrainingSet(name, TINY.classes, registry.stills().images[:count])


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_embedding_is_the_mean_of_the_layer_over_the_crop_of_length_1():
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    one = embedder.load(FLOOR)
    box = np.array([[10.0, 4.0, 26.0, 36.0]])  # of the crop's own size, so that nothing is resized
    cut = one.model.prepare(image[4:36, 10:26])[None]
    mean = one.model.network(cut, ["layer3"])["layer3"].mean(dim=(2, 3))
    torch.testing.assert_close(torch.from_numpy(one.embed(image, box)), F.normalize(mean))


def test_a_rectified_embedding_has_no_negative_element():
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    boxes = np.array([[0.0, 0.0, 64.0, 64.0]])
    plain = EmbedderOptions("random-vit-tiny", find("random-vit-tiny").default_layer, (64, 64))
    raw = embedder.load(plain).embed(image, boxes)
    rectified = embedder.load(replace(plain, rectify=True)).embed(image, boxes)
    assert raw.min() < 0
    positive = np.maximum(raw, 0)
    np.testing.assert_allclose(rectified, positive / np.linalg.norm(positive), rtol=1e-5)


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ([-5, -5, 3, 4], (0, 4, 0, 3)),
        ([70, 50, 200, 300], (50, 60, 70, 80)),
        ([500, 500, 600, 600], (59, 60, 79, 80)),
        ([5, 5, 5, 5], (5, 6, 5, 6)),
    ],
)
def test_a_crop_is_what_of_the_box_lies_in_the_image_and_one_pixel_at_least(box, inside):
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    top, bottom, left, right = inside
    cut = canvas.crop(image, np.array([box], dtype=np.float64), (bottom - top, right - left))
    np.testing.assert_array_equal(cut[0], image[top:bottom, left:right])


def test_preparing_gives_every_object_its_embedding(tmp_path):
    made = SYSTEM.prepare([stills(70)], TINY, tmp_path)[0]
    one = embedder.load(FLOOR)
    for row in (0, 69):
        annotated = made.images[row]
        expected = one.embed(annotated.image(), annotated.labels.boxes)
        np.testing.assert_array_equal(annotated.embeddings, expected)
    assert len(files(tmp_path)) == 2  # of 64 and 6 images
    assert all(len(one.embeddings) == len(one.labels.boxes) for one in made.images)


def test_an_interrupted_preparation_goes_on_where_it_stood(tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    SYSTEM.prepare([stills(70)], TINY, whole)
    embed, seen = embedder.Embedder.embed, []

    def dying(self, image, boxes):
        seen.append(len(boxes))
        if len(seen) == 67:
            raise KeyboardInterrupt("stopped")
        return embed(self, image, boxes)

    monkeypatch.setattr(embedder.Embedder, "embed", dying)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        SYSTEM.prepare([stills(70)], TINY, broken)
    assert len(files(broken)) == 1
    SYSTEM.prepare([stills(70)], TINY, broken)
    assert len(seen) == 67 + 6  # the 64 images of the first file were not embedded again
    assert [path.read_bytes() for path in files(broken)] == [path.read_bytes() for path in files(whole)]


def test_what_is_stored_is_read_and_the_model_not_run(tmp_path, monkeypatch):
    first = SYSTEM.prepare([stills(5)], TINY, tmp_path)[0]
    monkeypatch.delattr(embedder.Embedder, "embed")
    again = SYSTEM.prepare([stills(5)], TINY, tmp_path)[0]
    for one, other in zip(first.images, again.images, strict=True):
        np.testing.assert_array_equal(one.embeddings, other.embeddings)


def test_another_embedder_and_other_boxes_make_other_files(tmp_path):
    SYSTEM.prepare([stills(5)], TINY, tmp_path)
    SYSTEM.prepare([stills(5)], replace(TINY, teacher=replace(FLOOR, size=(32, 32))), tmp_path)
    moved = [
        replace(one, labels=Labels(boxes=one.labels.boxes + 1, classes=one.labels.classes))
        for one in stills(5).images
    ]
    SYSTEM.prepare([replace(stills(5), images=moved)], TINY, tmp_path)
    assert len(files(tmp_path)) == 3
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_of_another_embedder_is_refused_in_one_line(tmp_path):
    other = replace(TINY, teacher=replace(FLOOR, layer="layer4"))
    SYSTEM.prepare([stills(3)], TINY, tmp_path / "mine")
    SYSTEM.prepare([stills(3)], other, tmp_path / "other")
    (mine,), (theirs,) = files(tmp_path / "mine"), files(tmp_path / "other")
    mine.write_bytes(theirs.read_bytes())
    with pytest.raises(
        TrainingError, match=r"\w+\.safetensors: embeddings of embedder '\w+', expected '\w+'; delete"
    ):
        SYSTEM.prepare([stills(3)], TINY, tmp_path / "mine")


def test_damaged_and_short_files_are_refused_in_one_line(tmp_path):
    SYSTEM.prepare([stills(3)], TINY, tmp_path)
    (path,) = files(tmp_path)
    stored = load_file(path)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    save_file({name: value[:1] for name, value in stored.items()}, path, metadata=metadata)
    with pytest.raises(
        TrainingError, match=r"embeddings of 1 objects of image 'train/still-0', expected 7; delete it"
    ):
        SYSTEM.prepare([stills(3)], TINY, tmp_path)
    path.write_bytes(b"what is this")
    with pytest.raises(TrainingError, match=r"not readable embeddings .*; delete it to make it again"):
        SYSTEM.prepare([stills(3)], TINY, tmp_path)


def test_a_detector_alone_asks_no_teacher(tmp_path):
    alone = replace(TINY, losses=replace(TINY.losses, embedding=0.0))
    assert SYSTEM.prepare([stills(3)], alone, tmp_path)[0].images is not None
    assert files(tmp_path) == []


def test_images_without_objects_are_stored_too(tmp_path):
    empty = AnnotatedImage("nothing", lambda: np.zeros((9, 9, 3), np.uint8), Labels())
    made = SYSTEM.prepare([TrainingSet("one", ("a",), [empty])], TINY, tmp_path)[0]
    assert made.images[0].embeddings.shape[0] == 0
    assert len(files(tmp_path)) == 1


def test_an_embedder_that_is_not_there_gives_one_line(tmp_path):
    with pytest.raises(
        UnknownNameError, match=r"no model card 'random-resnet81'; did you mean 'random-resnet18'"
    ):
        embedder.load(replace(FLOOR, card="random-resnet81"))
    with pytest.raises(
        UnknownNameError, match=r"no layer of the embedder 'random-resnet18' 'layer9'; did you mean"
    ):
        embedder.load(replace(FLOOR, layer="layer9"))
    with pytest.raises(WeightsError, match=r"osnet-ain-x1.0-msmt17"):
        embedder.load(replace(configs.read("paper", SYSTEM).teacher, weights=str(tmp_path)))


def test_the_real_osnet_knows_pedestrians_again(shared_data: Path):
    """PETS09-S2L1, every 10th of 120 frames: the most similar of all other crops shows the same person."""
    options = EmbedderOptions(
        "osnet-x0.25-msmt17", "embedding", (256, 128), rectify=True, weights=str(shared_data / "weights")
    )
    one = embedder.load(options)
    clip, truth = load_mot15(shared_data / "MOT15", "PETS09-S2L1")
    shown = [(frame.image, truth.labels[frame.index]) for frame in clip.frames() if frame.index % 10 == 0]
    embeddings = np.concatenate([one.embed(image, labels.boxes) for image, labels in shown])
    ids = np.concatenate([labels.ids for _, labels in shown])
    assert embeddings.shape[1] == 512
    assert embeddings.min() == 0
    alike = embeddings @ embeddings.T
    np.fill_diagonal(alike, -1)
    assert (ids[alike.argmax(axis=1)] == ids).mean() > RANK1
