import numpy as np
import pytest

from tests.datasets import layouts
from unibench import load_card, load_model
from unibench.datasets import truncate, youtube_vos
from unibench.errors import DataError
from unibench.geometry import masks
from unibench.tasks import registry

RED, GREEN = layouts.rectangle(2, 3, 10, 12), layouts.rectangle(14, 5, 24, 20)


def annotation(*objects):
    values = np.zeros((layouts.HEIGHT, layouts.WIDTH), dtype=np.uint8)
    for identity, mask in objects:
        values[mask] = identity
    return values


def write(root, frames, annotations, name="003234408d"):
    """Frames by their numbers, and the annotations of some of them."""
    layouts.images(root / "JPEGImages" / name, frames, digits=5, suffix=".jpg")
    for number, values in annotations.items():
        layouts.ids_png(root / "Annotations" / name / f"{number:05d}.png", values, "P")
    layouts.text(root / "meta.json", "{}")


def prompts_of(clip):
    return {frame.index: frame.prompt.ids.tolist() for frame in clip.frames() if len(frame.prompt.ids)}


def test_an_object_is_given_in_the_first_frame_that_shows_it(tmp_path):
    red, both = annotation((1, RED)), annotation((1, RED), (4, GREEN))
    write(tmp_path, range(0, 25, 5), {0: red, 5: red, 10: both, 15: annotation((4, GREEN)), 20: both})
    assert youtube_vos.names(tmp_path) == ["003234408d"]
    clip, truth = youtube_vos.load(tmp_path, "003234408d")
    assert (clip.length, clip.fps, clip.height, clip.width) == (5, 6.0, layouts.HEIGHT, layouts.WIDTH)
    assert prompts_of(clip) == {0: [1], 2: [4]}
    assert [labels.ids.tolist() for labels in truth.labels] == [[1], [1], [1, 4], [1, 4], [1, 4]]
    assert [masks.area(mask) for mask in truth.labels[3].masks] == [0, GREEN.sum()]
    np.testing.assert_array_equal(masks.decode(list(clip.frames())[2].prompt.masks[0]), GREEN)
    assert truth.scored == (0, 1, 2, 3, 4)


def test_of_all_frames_every_fifth_is_annotated_and_scored(tmp_path):
    red, both = annotation((1, RED)), annotation((1, RED), (2, GREEN))
    write(tmp_path, range(16), {5: red, 10: both, 15: both})
    clip, truth = youtube_vos.load(tmp_path, "003234408d")
    assert clip.fps == 30.0
    assert prompts_of(clip) == {5: [1], 10: [2]}
    assert truth.scored == (5, 10, 15)
    assert [index for index, labels in enumerate(truth.labels) if len(labels.ids)] == [5, 10, 15]
    short, cut = truncate(clip, truth, 8)
    assert (prompts_of(short), cut.scored) == ({5: [1]}, (5,))


def test_objects_that_come_later_are_tracked_and_scored(tmp_path):
    red, both = annotation((1, RED)), annotation((1, RED), (4, GREEN))
    split = tmp_path / "YouTube-VOS" / "train"
    write(split, range(0, 30, 5), {0: red, 5: red, 10: both, 15: both, 20: both, 25: both})
    task, model = registry.find("vos/youtube-vos"), load_model(load_card("lab-colour"))
    ((clip, truth),) = registry.clips(task, tmp_path)
    prediction = list(registry.bind(task, model)(clip))
    assert [labels.ids.tolist() for labels in prediction] == [[1], [1], [1, 4], [1, 4], [1, 4], [1, 4]]
    assert task.family.scoring.tally(truth, prediction)["objects"] == 2
    assert task.family.scoring.pool([task.family.scoring.tally(truth, truth.labels)])["J&F"] == 1


def test_prompts_alone_are_tracked_and_not_scored(tmp_path):
    write(tmp_path, range(0, 20, 5), {0: annotation((1, RED)), 10: annotation((2, GREEN))})
    clip, truth = youtube_vos.load(tmp_path, "003234408d")
    assert prompts_of(clip) == {0: [1], 2: [2]}
    assert truth.scored == ()


def test_255_is_void(tmp_path):
    write(tmp_path, [0, 5], {0: annotation((1, RED), (255, GREEN)), 5: annotation((255, GREEN))})
    clip, truth = youtube_vos.load(tmp_path, "003234408d")
    assert prompts_of(clip) == {0: [1]}
    assert [labels.ids.tolist() for labels in truth.labels] == [[1], [1]]
    assert masks.area(truth.labels[1].masks[0]) == 0


def test_a_smoothed_mask_is_refused(tmp_path):
    write(tmp_path, [0, 5], {0: annotation((1, RED)), 5: annotation((128, GREEN))})
    with pytest.raises(DataError, match=r"00005\.png: grey value 128, expected object ids 1 to 100"):
        youtube_vos.load(tmp_path, "003234408d")


def test_errors(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        youtube_vos.names(tmp_path)
    write(tmp_path, [0, 5], {0: annotation(), 5: annotation()})
    with pytest.raises(DataError, match="no object in any annotation, expected ids 1, 2"):
        youtube_vos.load(tmp_path, "003234408d")
    write(tmp_path, [0, 5], {0: annotation((1, RED)), 7: annotation((1, RED))}, "other")
    with pytest.raises(DataError, match=r"00007\.png: an annotation of no frame"):
        youtube_vos.load(tmp_path, "other")
    with pytest.raises(DataError, match="no such folder"):
        youtube_vos.load(tmp_path, "missing")
