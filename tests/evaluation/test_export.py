"""Exports: what the benchmark's own format gives back scores as the run did, by our reader and by TrackEval's."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from trackeval import Evaluator
from trackeval.datasets import MotChallenge2DBox, MOTSChallenge
from trackeval.metrics import CLEAR, HOTA, Identity
from vos_benchmark.benchmark import VideoEvaluator

import unibench
from tests.evaluation import sweeps
from unibench.cli import main
from unibench.datasets import BENCHMARKS, exchange
from unibench.datasets.clips import frame_numbers
from unibench.errors import DataError, UnknownNameError
from unibench.evaluation.score_again import predicted_of
from unibench.geometry import masks
from unibench.records import Clip, Labels, Truth
from unibench.results import store
from unibench.tasks import registry

FRAMES = 6
MODELS = {"det/synthetic-easy": "tdt-tiny", "det/shapes": "tdt-tiny"}
TASKS = [task for task in BENCHMARKS if task.endswith(("/shapes", "/synthetic-hard"))]


def command(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def assert_alike(found: Labels, expected: Labels, task: str) -> None:
    """The same objects in the same order; edges of boxes to the last digit."""
    for name in ("boxes", "keypoints"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        exact = name == "keypoints" and not task.startswith(("pose/", "points/"))
        assert ours.shape == theirs.shape
        kept = slice(None) if exact else slice(4 if name == "boxes" else 2)
        np.testing.assert_allclose(ours[..., kept], theirs[..., kept], rtol=0, atol=0 if exact else 1e-12)
    if task.startswith("vos"):
        seen = [index for index, mask in enumerate(expected.masks) if masks.decode(mask).any()]
        order = sorted(seen, key=lambda index: expected.ids[index])
        assert found.ids.tolist() == expected.ids[order].tolist()
        assert list(found.masks) == [expected.masks[index] for index in order]
        return
    if not task.startswith(("sot", "det")):
        assert found.ids.tolist() == expected.ids.tolist()
    assert found.masks == expected.masks
    if len(expected.scores) and task.startswith(("mot/", "det")):
        assert found.scores.tolist() == expected.scores.tolist()


@pytest.mark.parametrize("task", TASKS)
def test_what_is_exported_and_read_back_scores_as_the_run(task: str, tmp_path: Path) -> None:
    model = MODELS.get(task, "lab-colour")
    made = unibench.evaluate([model], [task], output=tmp_path / "out", frames=FRAMES)
    assert not made.failed
    said = command("export", "-o", tmp_path / "out", "-m", model, "-t", task, "--to", tmp_path / "to")
    form = exchange.find(task)
    assert form.name in said
    family = registry.family_of(task)
    (run,) = dict.fromkeys(map(store.run_of, made.rows))
    tallies = []
    for stored in store.read_clips(tmp_path / "out", run):
        clip, truth = registry.load_clip(registry.find(task), Path(), stored.key.clip, FRAMES)
        found = form.read(tmp_path / "to", clip)
        with predicted_of(tmp_path / "out", stored) as expected:
            for one, other in zip(found, expected, strict=True):
                assert_alike(one, other, task)
        tallies.append(family.scoring.tally(truth, found))
    pooled = family.scoring.pool(tallies)
    assert {row.metric: row.value for row in made.rows} == pytest.approx(
        pooled, rel=0, abs=1e-12, nan_ok=True
    )


def write_mot_truth(folder: Path, clip: Clip, truth: Truth) -> None:
    """The truth as MOT17 has it: what is excused becomes a distractor of class 8."""
    (folder / "gt").mkdir(parents=True)
    info = f"[Sequence]\nname={clip.name}\nframeRate={clip.fps:g}\nseqLength={clip.length}\n"
    (folder / "seqinfo.ini").write_text(info)
    rows = []
    for number, labels, ignored in zip(frame_numbers(clip), truth.labels, truth.ignored, strict=True):
        excused = [(1000 + place, box, 8) for place, box in enumerate(ignored.boxes)]
        for identity, box, kind in [
            *((i, b, 1) for i, b in zip(labels.ids, labels.boxes, strict=True)),
            *excused,
        ]:
            sides = map(float, [*box[:2], *(box[2:] - box[:2])])
            rows.append(f"{number},{identity},{','.join(map(repr, sides))},1,{kind},1\n")
    (folder / "gt" / "gt.txt").write_text("".join(rows))


def trackeval_scores(
    truths: Path, trackers: Path, names: Sequence[str], reader: type = MotChallenge2DBox
) -> dict[str, float]:
    """What TrackEval's own readers and metrics say of a folder."""
    quiet = {"PRINT_CONFIG": False, "PRINT_RESULTS": False, "TIME_PROGRESS": False, "OUTPUT_SUMMARY": False,
             "OUTPUT_DETAILED": False, "PLOT_CURVES": False, "BREAK_ON_ERROR": True, "LOG_ON_ERROR": None}  # fmt: skip
    data = reader(
        {
            "GT_FOLDER": str(truths),
            "TRACKERS_FOLDER": str(trackers),
            "SEQ_INFO": dict.fromkeys(names),
            "SKIP_SPLIT_FOL": True,
            "PRINT_CONFIG": False,
        }
    )
    metrics = [HOTA(), CLEAR({"PRINT_CONFIG": False}), Identity({"PRINT_CONFIG": False})]
    results, _ = Evaluator(quiet).evaluate([data], metrics)
    (found,) = results[reader.__name__].values()
    whole = found["COMBINED_SEQ"]["pedestrian"]
    scores = {name: float(np.mean(whole["HOTA"][name])) for name in ("HOTA", "DetA", "AssA", "LocA")}
    for metric, fields in {
        "CLEAR": ("MOTA", "sMOTA", "MOTP", "IDSW", "Frag"),
        "Identity": ("IDF1", "IDP", "IDR"),
    }.items():
        scores |= {name: float(whole[metric][name]) for name in fields}
    return scores | {"FP": float(whole["CLEAR"]["CLR_FP"]), "FN": float(whole["CLEAR"]["CLR_FN"])}


@pytest.mark.parametrize("task", ["mot/synthetic", "mot/synthetic-hard"])
def test_trackeval_reads_an_export_and_gives_the_same_scores(task: str, tmp_path: Path) -> None:
    made = unibench.evaluate(["lab-colour"], [task], output=tmp_path / "out", frames=12)
    to = tmp_path / "trackers" / "lab-colour" / "data"
    command("export", "-o", tmp_path / "out", "-m", "lab-colour", "-t", task, "--to", to)
    names = BENCHMARKS[task].names(Path())
    for name in names:
        clip, truth = registry.load_clip(registry.find(task), Path(), name, 12)
        write_mot_truth(tmp_path / "gt" / name, clip, truth)
    assert sorted(path.name for path in to.iterdir()) == sorted(f"{name}.txt" for name in names)
    found = trackeval_scores(tmp_path / "gt", tmp_path / "trackers", names)
    ours = {row.metric: row.value for row in made.rows}
    assert found["IDSW"] > 0
    del found["sMOTA"]  # of masks
    assert {name: ours[name] for name in found} == pytest.approx(found, rel=0, abs=1e-9)


def test_vos_benchmark_reads_an_export_and_gives_the_same_scores(tmp_path: Path) -> None:
    """Where every object is there from frame 0 on, as in DAVIS: of one that comes later, it scores the frame too."""
    task = "vos/synthetic"
    made = unibench.evaluate(["lab-colour"], [task], output=tmp_path / "out", frames=6)
    words = ("-o", tmp_path / "out", "-m", "lab-colour", "-t", task)
    command("export", *words, "--to", tmp_path / "masks")
    found: dict[str, list[float]] = {"J-mean": [], "F-mean": []}
    for name in BENCHMARKS[task].names(Path()):
        clip, truth = registry.load_clip(registry.find(task), Path(), name, 6)
        exchange.find(task).write(tmp_path / "truth", clip, truth.labels)
        _, *of_objects = VideoEvaluator(str(tmp_path / "truth"), str(tmp_path / "masks"))(name)
        for values, percent in zip(found.values(), of_objects, strict=True):
            values += [value / 100 for value in percent.values()]
    ours = {row.metric: row.value for row in made.rows}
    theirs = {name: float(np.mean(values)) for name, values in found.items()}
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, rel=0, abs=1e-9)
    assert 0 < theirs["J-mean"] < 1


def write_mots(folder: Path, clip: Clip, truth: Truth) -> None:
    """A clip as MOTS20 has it, every object a pedestrian."""
    (folder / "gt").mkdir(parents=True)
    (folder / "img1").mkdir()
    for number, frame in zip(frame_numbers(clip), clip.frames(), strict=True):
        Image.fromarray(frame.image).save(folder / "img1" / f"{number:06d}.png")
    size = f"imWidth={clip.width}\nimHeight={clip.height}\nimDir=img1\nimExt=.png\n"
    info = f"[Sequence]\nname={clip.name}\nframeRate={clip.fps:g}\nseqLength={clip.length}\n{size}"
    (folder / "seqinfo.ini").write_text(info)
    rows = []
    for number, labels, ignored in zip(frame_numbers(clip), truth.labels, truth.ignored, strict=True):
        objects = [
            (2000 + identity, 2, mask) for identity, mask in zip(labels.ids, labels.masks, strict=True)
        ]
        for identity, kind, mask in [*objects, *((10000, 10, mask) for mask in ignored.masks)]:
            height, width = mask["size"]
            rows.append(f"{number} {identity} {kind} {height} {width} {mask['counts'].decode()}\n")
    (folder / "gt" / "gt.txt").write_text("".join(rows))


def test_trackeval_reads_an_export_of_masks_and_gives_the_same_scores(tmp_path: Path) -> None:
    """The truth's own masks are linked, so that identities alone are wrong."""
    train, frames, names = tmp_path / "data" / "MOTS20" / "train", 10, []
    for name in BENCHMARKS["mots/synthetic-hard"].names(Path()):
        clip, truth = registry.load_clip(registry.find("mots/synthetic-hard"), Path(), name, frames)
        write_mots(train / name, clip, truth)
        names.append(name)
    task = registry.find("mots/mots20", "oracle")
    made = unibench.evaluate(["lab-colour"], [task], output=tmp_path / "out", data=tmp_path / "data")
    assert not made.failed
    to = tmp_path / "trackers" / "lab-colour" / "data"
    words = ("-o", tmp_path / "out", "-m", "lab-colour", "-t", "mots/mots20", "--to", to)
    command("export", *words, "--data", tmp_path / "data")
    found = trackeval_scores(train, tmp_path / "trackers", names, MOTSChallenge)
    ours = {row.metric: row.value for row in made.rows}
    renamed = {"MOTA": "MOTSA", "MOTP": "MOTSP", "sMOTA": "sMOTSA"}
    assert {name: ours[renamed.get(name, name)] for name in found} == pytest.approx(found, rel=0, abs=1e-9)
    assert 0 < found["IDF1"] < 1


def test_masks_go_into_pngs_with_the_palette_of_davis_under_the_frames_names(tmp_path: Path) -> None:
    data = sweeps.davis(tmp_path / "data", 1)
    unibench.evaluate(["lab-colour"], [sweeps.TASK], output=tmp_path / "out", data=data)
    words = ["-o", tmp_path / "out", "-m", "lab-colour", "-t", sweeps.TASK, "--to", tmp_path / "to"]
    command("export", *words, "--data", data)
    files = sorted((tmp_path / "to" / "clip00").iterdir())
    assert [file.name for file in files] == ["00000.png", "00001.png", "00002.png"]
    with Image.open(files[0]) as image:
        assert image.mode == "P"
        palette = image.getpalette()
        assert palette is not None
        assert palette[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
        assert set(np.unique(np.array(image))) == {0, 1}
    missing = CliRunner().invoke(main, ["export", *map(str, words)])
    assert missing.exit_code == 2
    assert "--data" in missing.output


def test_got10k_and_otb_count_pixels_from_1(tmp_path: Path) -> None:
    clip = Clip("a-1", 20, 30, 10.0, 3, lambda: iter(()))
    box = Labels(ids=np.array([1]), boxes=np.array([[4.0, 5.0, 10.5, 9.0]]))
    for task, file in {"sot/got10k": "a-1/a-1_001.txt", "sot/otb": "a-1.txt", "sot/lasot": "a-1.txt"}.items():
        form = exchange.find(task)
        form.write(tmp_path / task, clip, [box, Labels(), box])
        assert (tmp_path / task / file).read_text() == "5.0,6.0,6.5,4.0\nnan,nan,nan,nan\n5.0,6.0,6.5,4.0\n"
        found = form.read(tmp_path / task, clip)
        assert [len(labels.boxes) for labels in found] == [1, 0, 1]
        assert found[2].boxes.tolist() == box.boxes.tolist()
        (tmp_path / task / file).write_text("5,6,6,4\n")
        with pytest.raises(DataError, match=r"a-1.*txt: 1 boxes, expected 3 as the clip has frames"):
            form.read(tmp_path / task, clip)


@pytest.mark.parametrize("row", ["nan,6,6,4", "5,6,6,nan", "5,6,-6,4"])
def test_a_box_that_is_half_a_number_or_negative_is_refused(tmp_path: Path, row: str) -> None:
    clip = Clip("a", 20, 30, 10.0, 3, lambda: iter(()))
    (tmp_path / "a.txt").write_text(f"5,6,6,4\nnan,nan,nan,nan\n{row}\n")
    with pytest.raises(
        DataError, match=r"a\.txt: box 3 is \[.*\], expected numbers, width and height of 0 or more"
    ):
        exchange.find("sot/otb").read(tmp_path, clip)


def test_classes_of_mots_are_the_benchmarks_own_numbers(tmp_path: Path) -> None:
    drawn = np.zeros((4, 5), dtype=bool)
    drawn[1:3, 2:4] = True
    mask = masks.encode(drawn)
    labels = Labels(ids=np.array([7, 3]), masks=(mask, masks.encode(~drawn)), classes=np.array([2, 1]))
    for vocabulary, first in {("", "car", "pedestrian"): "1 7 2 4 5 ", ("a", "b", "c"): "1 7 3 4 5 "}.items():
        clip = Clip("a", 4, 5, 10.0, 1, lambda: iter(()), vocabulary)
        form = exchange.find("mots/kitti-mots")
        form.write(tmp_path, clip, [labels])
        assert (tmp_path / "a.txt").read_text().startswith(first)
        (found,) = form.read(tmp_path, clip)
        assert found.ids.tolist() == [7, 3]
        assert found.classes.tolist() == [2, 1]
        assert found.masks == labels.masks
    (tmp_path / "a.txt").write_text("1 7 10 4 5 " + mask["counts"].decode() + "\n")
    with pytest.raises(DataError, match=r"a\.txt:1: class 10, expected one of \(1, 2, 3\)"):
        form.read(tmp_path, clip)


def test_jhmdb_holds_one_person_a_frame(tmp_path: Path) -> None:
    clip = Clip("walk/a", 4, 5, 10.0, 2, lambda: iter(()))
    person = Labels(ids=np.array([1]), keypoints=np.ones((1, 15, 3)))
    form = exchange.find("pose/jhmdb")
    with pytest.raises(DataError, match="0 persons of 0 joints in frame 1, expected 1 of 15"):
        form.write(tmp_path, clip, [person, Labels()])
    form.write(tmp_path, clip, [person] * 3)
    with pytest.raises(DataError, match=r"walk/a/joint_positions\.mat: joints of 3 frames, expected 2"):
        form.read(tmp_path, clip)


def test_an_id_without_a_colour_is_refused(tmp_path: Path) -> None:
    clip = Clip("a", 4, 5, 10.0, 1, lambda: iter(()))
    labels = Labels(ids=np.array([255]), masks=(masks.encode(np.ones((4, 5), dtype=bool)),))
    with pytest.raises(DataError, match=r"00000\.png: ids \[255\], expected 1 to "):
        exchange.find("vos/davis2017").write(tmp_path, clip, [labels])


def test_tracks_with_a_fault_are_refused_with_their_line(tmp_path: Path) -> None:
    clip = Clip("a", 4, 5, 10.0, 2, lambda: iter(()))
    form = exchange.find("mot/mot17")
    for text, message in {
        "1,1,0,0,2,2,1,-1,-1,-1\n1,1,0,0,2,2,1,-1,-1,-1\n": r"a\.txt:2: an id that stands twice in this frame",
        "3,1,0,0,2,2,1,-1,-1,-1\n": r"a\.txt:1: no such frame .*; the clip has frames 1 to 2",
        "1,1.5,0,0,2,2,1,-1,-1,-1\n": r"a\.txt:1: an id that is not an integer",
    }.items():
        (tmp_path / "a.txt").write_text(text)
        with pytest.raises(DataError, match=message):
            form.read(tmp_path, clip)
    several = Clip("a", 4, 5, 10.0, 2, lambda: iter(()), ("car", "bus"))
    for kind in (0, -1, 3):
        (tmp_path / "a.txt").write_text(f"1,1,0,0,2,2,1,{kind},-1,-1\n")
        with pytest.raises(DataError, match=r"a\.txt:1: a class in '.*'; expected 1 to 2"):
            form.read(tmp_path, several)
    (tmp_path / "a.txt").write_text("")
    assert [len(labels.ids) for labels in form.read(tmp_path, clip)] == [0, 0]


def test_a_task_without_a_format_and_a_choice_of_several_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="format of predictions for the task"):
        exchange.find("depth/kitti")
    unibench.evaluate(
        ["random-resnet18"], ["vos/synthetic-easy"], output=tmp_path, frames=3, layers=["layer3", "layer4"]
    )
    words = [
        "export",
        "-o",
        tmp_path,
        "-m",
        "random-resnet18",
        "-t",
        "vos/synthetic-easy",
        "--to",
        tmp_path / "to",
    ]
    refused = CliRunner().invoke(main, [str(word) for word in words])
    assert refused.exit_code == 2
    assert (
        "2 results fit, expected one; say which with -m, -t and --layers: random-resnet18 (" in refused.output
    )
    assert "2 clips as DAVIS" in command(*words, "--layers", "layer4")
