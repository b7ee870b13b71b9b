"""What is written for pages and scripts, without a browser."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.site.conftest import FRAMES
from tests.site.made import COMMAND, spoil, store_run
from unibench.cli import main
from unibench.evaluation import explain
from unibench.metrics import mot, timelines
from unibench.metrics.association import clear_events
from unibench.metrics.catalogue import show
from unibench.models import cards, draft_card
from unibench.records import Labels, LoadReport, Truth
from unibench.results import store
from unibench.site import attributes, clips, contents, models
from unibench.site.build import build
from unibench.site.names import file_names, script
from unibench.tasks import registry
from unibench.tasks.registry import FAMILIES


def told(path: Path):
    """The value that a script sets."""
    return json.loads(re.fullmatch(r"\(window\.UNIBENCH \?\?= \{\}\)\[.*?\] = (.*);\n", path.read_text())[1])


def truth_of(task, name=None):
    found = registry.find(task)
    return registry.load_clip(found, Path(), name or found.benchmark.names(Path())[0])[1]


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_results_give_the_same_bytes(tmp_path):
    for task in ("sot/synthetic-easy", "vos/synthetic-easy"):
        for model, shift in (("hog", 1.0), ("lab-colour", 2.0)):
            store_run(tmp_path / "out", model, task, shift, frames=3)
    for folder in ("first", "second"):
        build(tmp_path / "out", tmp_path / folder)
    first = files(tmp_path / "first")
    assert first == files(tmp_path / "second")
    assert sum(path.suffix == ".webp" for path in first) == 12


def test_file_names_are_safe_and_differ():
    names = ["a/b", "a-b", "A-B", "<x>", "🦊", "..", "a@b+c", "x" * 300]
    found = file_names(names)
    assert list(found) == names
    assert len({one.lower() for one in found.values()}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_@+][A-Za-z0-9._@+-]{0,90}", one) for one in found.values())


def test_a_script_holds_no_markup():
    text = script("a</script>", {"b": "<!--&\u2028", "c": [None, 1.5]}).decode()
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text.partition(" = ")[2].removesuffix(";\n")) == {"b": "<!--&\u2028", "c": [None, 1.5]}


@pytest.mark.parametrize(("tally", "pairings", "task"), [
    (mot.tally_boxes, mot.box_pairings, "mot/synthetic"), (mot.tally_masks, mot.mask_pairings, "mots/synthetic"),
])  # fmt: skip
def test_events_of_frames_add_up_to_the_counts_of_the_clip(tally, pairings, task):
    truth = truth_of(task)
    rng = np.random.default_rng(3)
    said = []
    for labels in truth.labels:
        order = rng.permutation(len(labels.ids)) if rng.random() < 0.4 else np.arange(len(labels.ids))
        kept = rng.random(len(labels.ids)) < 0.8
        boxes = (
            (labels.boxes + rng.normal(0, 6, labels.boxes.shape))[kept] if len(labels.boxes) else labels.boxes
        )
        masks = tuple(mask for mask, keep in zip(labels.masks, kept, strict=False) if keep)
        ids, classes = labels.ids[order][kept], labels.classes[kept]
        said.append(replace(labels, ids=ids, boxes=boxes, masks=masks, classes=classes))
    counts = tally(truth, said)
    events = [one for frames in pairings(truth, said) for one in clear_events(frames)]
    assert sum(one.matches for one in events) == counts["CLR_TP"]
    assert sum(one.misses for one in events) == counts["CLR_FN"]
    assert sum(one.false_alarms for one in events) == counts["CLR_FP"]
    assert sum(len(one.switches) for one in events) == counts["IDSW"] > 0


def test_the_timeline_of_sot_is_the_overlap():
    truth = truth_of("sot/synthetic")
    said = [spoil(labels, 4.0, 0) for labels in truth.labels]
    found = timelines.timeline("sot", truth, said)
    counts = FAMILIES["sot"].scoring.tally(truth, said)
    assert sum(found.values[1:]) == pytest.approx(counts["AO"])
    assert sum(one > 0.5 for one in found.values[1:]) == counts["SR50"]


def test_the_timeline_of_vos_is_the_region():
    truth = truth_of("vos/synthetic")
    said = [replace(labels, masks=tuple(reversed(labels.masks))) for labels in truth.labels]
    found = timelines.timeline("vos", truth, said)
    assert found.values[0] is None, "the masks of frame 0 are given"
    counts = FAMILIES["vos"].scoring.tally(truth, said)
    assert np.mean(found.values[1:-1]) == pytest.approx(counts["J-mean"] / counts["objects"])


def test_the_timeline_of_poses_is_the_share_of_joints():
    truth = truth_of("pose/synthetic")
    perfect = timelines.timeline("pose", truth, truth.labels)
    assert perfect.values == (None, *[1.0] * (len(truth.labels) - 1))
    far = timelines.timeline("pose", truth, [spoil(one, 1000.0, 0) for one in truth.labels])
    assert set(far.values[1:]) == {0.0}


def test_the_timeline_of_pose_tracking_counts_joints_and_switches():
    truth = truth_of("posetrack/synthetic")
    perfect = timelines.timeline("posetrack", truth, truth.labels)
    assert set(perfect.values) <= {1.0, None}
    assert perfect.events == ()
    said = [spoil(one, 0.0, 100 if index > 1 else 0) for index, one in enumerate(truth.labels)]
    found = timelines.timeline("posetrack", truth, said)
    there = [set(one.ids.tolist()) for one in truth.labels]
    known = set.union(*there[:2]) & set.union(*there[2:])
    assert set(found.values) <= {1.0, None}
    assert {text for _, text in found.events} == {
        f"object {one}: id {one} becomes {one + 100}" for one in known
    }


def test_the_timeline_of_detection_counts_at_the_score_that_is_best_for_f1():
    """Three objects, of which two are found at .9 and .7; of the false ones, .8 counts, .3 and .2 do not."""
    here, there = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]

    def labels(boxes, scores=()):
        classes = np.ones(len(boxes), dtype=np.int64)
        return Labels(
            boxes=np.reshape(boxes, (-1, 4)).astype(float), scores=np.array(scores), classes=classes
        )

    truth = Truth((labels([here]), labels([here]), labels([]), labels([here])))
    said = [
        labels([here, there], [0.9, 0.3]), labels([there], [0.8]), labels([there], [0.2]), labels([here], [0.7])
    ]  # fmt: skip
    found = timelines.timeline("det", truth, said)
    assert found.values == (1.0, 0.0, None, 1.0)
    assert found.words[1] == "objects: 0 matched, 1 missed, 1 false"
    assert found.events == ((1, "misses: 0 before, 1 here"), (1, "false alarms: 0 before, 1 here"))
    drawn = clips._prediction(registry.find("det/noisy"), truth, said)["frames"]
    assert [len(frame.get("boxes", [])) for frame in drawn] == [1, 1, 0, 1]
    nothing = timelines.timeline("det", truth, [labels([])] * 4)
    assert nothing.values == (0.0, 0.0, None, 0.0)


def test_every_family_has_a_timeline():
    assert set(timelines.SCORES) == set(FAMILIES)


def test_labels_are_written_to_a_tenth_of_a_pixel(site):
    folder = site / "clips" / "mot-synthetic-easy@unitrack+public" / "crowd-1"
    truth = truth_of("mot/synthetic-easy", "crowd-1").labels[:FRAMES]
    said = told(folder / "lab-colour-pooled.js")
    for labels, frame in zip(truth, said["frames"], strict=True):
        assert frame.get("ids", []) == labels.ids.tolist()
        assert np.allclose(np.reshape(frame.get("boxes", []), (-1, 4)), labels.boxes + 5.0, atol=0.051)
    assert said["ids"] == sorted({one for labels in truth for one in labels.ids.tolist()})


def test_a_lost_joint_is_not_there():
    joints = np.array([[[3.0, 4.0, 0.5], [-1.0, -1.0, 0.0], [np.nan, 2.0, 1.0]]])
    labels = replace(truth_of("pose/synthetic").labels[0], keypoints=joints)
    assert clips._labels(labels, joints_seen=True)["joints"] == [[3.0, 4.0, None, None, None, None]]
    assert clips._labels(labels, joints_seen=False)["joints"] == [[3.0, 4.0, None, None, None, None]]


def test_a_hidden_point_is_there_and_marked():
    points = np.array([[[3.0, 4.0, 1.0]], [[5.0, 6.0, 0.0]], [[np.nan, 2.0, 1.0]]])
    found = clips._labels(Labels(ids=np.arange(3), keypoints=points), joints_seen=True)
    assert found == {"ids": [0, 1, 2], "joints": [[3.0, 4.0], [5.0, 6.0], [None, 2.0]], "hidden": [1]}


def test_the_timeline_of_points_is_aj_and_names_those_that_are_missed():
    truth = truth_of("points/synthetic")
    perfect = timelines.timeline("points", truth, truth.labels)
    assert perfect.name == "AJ"
    assert perfect.values[0] is None  # all are asked for there
    assert set(perfect.values[1:]) == {1.0}
    assert not any(perfect.missed)
    far = timelines.timeline("points", truth, [spoil(one, 1000.0, 0) for one in truth.labels])
    assert set(far.values[1:]) == {0.0}
    seen = int((truth.labels[1].keypoints[:, 0, 2] > 0).sum())
    assert 0 < len(far.missed[1]) <= seen
    assert far.words[1].startswith(f"points: {len(far.missed[1])} visible, {len(far.missed[1])} missed, ")


def test_protocols_of_one_task_are_compared(site):
    text = (site / "tasks" / "mot-synthetic-easy@bytetrack+public.html").read_text(encoding="utf-8")
    assert "How much the protocol matters" in text
    assert re.search(r">hog</th><td>layer</td>(<td class=\"n\">[0-9.]+ \(1\)</td>){2}", text)


@pytest.mark.parametrize("task", ["mot/synthetic-easy@unitrack+public", "vos/synthetic-easy@unitrack"])
def test_clips_with_an_attribute_are_pooled_as_explain_does(task, results):
    read = contents.read(results)
    (setting,) = (one for one in read.board.settings if str(one) == task)
    found = attributes.table(read, setting, None)
    (row, result), *_ = read.results[setting].items()
    (run,) = (
        one
        for one in store.find_runs(results, setting.task, setting.protocol)
        if (one.model, one.layer) == row
    )
    expected = explain.by_attribute(
        registry.find(setting.task), explain.explain(results, run, None), store.read_clips(results, run)
    )
    assert found["columns"] == [(one.name, one.having) for one in expected if one.having]
    assert found["columns"], "some clip is hard"
    (cells,) = (one["cells"] for one in found["rows"] if (one["name"], one["layer"]) == row)
    assert cells[0] == show(found["metric"], result.score.value)
    assert cells[1:] == [show(found["metric"], one.score) for one in expected if one.having]


def test_poses_have_no_attributes(results, site):
    read = contents.read(results)
    pages = {
        setting.task: (site / "tasks" / f"{read.files.settings[setting]}.html").read_text(encoding="utf-8")
        for setting in read.board.settings
    }
    assert "What makes clips hard" in pages["mot/synthetic-easy"]
    assert "What makes clips hard" not in pages["pose/synthetic-easy"]


def test_the_start_page_says_how_and_when(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "Last changed 2026-03-05." in text
    assert "unibench run -m &#39;a &amp; b&#39; -o out" in text
    assert str(Path(COMMAND[0]).parent) not in text
    assert (site / "leaderboard.csv").is_file()


def test_a_model_that_has_seen_a_benchmark_says_so(results, tmp_path):
    card = cards.find("lab-colour")
    seen = replace(card, pretraining=replace(card.pretraining, overlap=("sot/synthetic-easy",)))
    read = contents.read(results)
    site = replace(read, cards={**read.cards, "lab-colour": seen})
    (model,) = (one for one in site.board.models if one.name == "lab-colour")
    page = models.page(site, model)
    assert page["warnings"] == [
        "Clips or images of sot/synthetic-easy were among its training data: scores there are not comparable."
    ]
    assert models.page(read, model)["warnings"] == []


REPORT = LoadReport(
    loaded=("stem.weight", "stem.bias"),
    random=("<head>.weight",),
    left_over=("projector.0.weight",),
    sha256="5ha",
)


def test_the_model_page_says_what_became_of_the_weights(tmp_path):
    out, card = tmp_path / "out", cards.find("zoo-simclr")
    for model in ("zoo-simclr", "zoo-random", "zoo-mae"):
        store_run(out, model, "sot/synthetic-easy", frames=3)
    (run,) = (one for one in store.find_runs(out, "sot/synthetic-easy", "unitrack") if one.model == card.name)
    store.write_loaded(out, run.model, run.fingerprint, REPORT)
    build(out, tmp_path / "site", clips=0)
    pages = {
        path.stem: path.read_text(encoding="utf-8") for path in (tmp_path / "site/models").glob("*.html")
    }
    for text in (
        "2 of 3 tensors (66.7%)",
        'Tensors that stay random, as the card or the command allows: 1</summary><p class="names">&lt;head&gt;.weight',
        'Tensors of the file that fit nowhere: 1</summary><p class="names">projector.0.weight',
        "5ha of the file that was loaded",
        card.weights.source,
        card.license,
        "none that the card knows of",
    ):
        assert text in pages["zoo-simclr"], text
    assert f"{card.weights.sha256}, as the card says" not in pages["zoo-simclr"]
    assert f"{cards.find('zoo-mae').weights.sha256}, as the card says" in pages["zoo-mae"]
    assert models.NOT_STORED in pages["zoo-mae"]
    assert "its parameters are random, and nothing was loaded" in pages["zoo-random"]


def test_the_card_beside_the_results_is_shown(tmp_path):
    out = tmp_path / "out"
    store_run(out, "mine", "sot/synthetic-easy", frames=3)
    (run,) = store.find_runs(out, "sot/synthetic-easy", "unitrack")
    card = replace(cards.find("zoo-simclr"), name="mine", description="of my own")
    draft_card.write(card, store.card_file(out, run.model, run.fingerprint))
    build(out, tmp_path / "site", clips=0)
    assert "of my own" in (tmp_path / "site/models/mine.html").read_text(encoding="utf-8")


def test_worst_clips_alone_get_pages(tmp_path):
    store_run(tmp_path / "out", "hog", "sot/synthetic-easy", 3.0)
    folders = ["-o", str(tmp_path / "out"), "--to", str(tmp_path / "site")]
    run = CliRunner().invoke(main, ["site", *folders, "--clips", "worst:1"])
    assert run.exit_code == 0, run.output
    assert len(list((tmp_path / "site").glob("clips/*/*.html"))) == 1
    assert f"site: {(tmp_path / 'site' / 'index.html').as_uri()}" in run.output
    build(tmp_path / "out", tmp_path / "none", clips=0)
    assert not (tmp_path / "none" / "clips").exists()
    assert not (tmp_path / "none" / "frames").exists()


def test_clips_without_predictions_get_none_and_the_page_says_so(tmp_path):
    store_run(tmp_path / "out", "hog", "sot/synthetic-easy", 3.0, keep=False)
    built = build(tmp_path / "out", tmp_path / "site")
    assert built.notes == ("sot/synthetic-easy@unitrack: 2 clips have no stored predictions, so no page",)
    page = tmp_path / "site" / "tasks" / "sot-synthetic-easy@unitrack.html"
    assert "2 clips have no stored predictions" in page.read_text(encoding="utf-8")


def test_frames_of_a_data_set_are_shown_only_where_that_is_asked_for(shared_data, tmp_path):
    from unibench.datasets import exchange
    from unibench.evaluation.external import score_files

    out, folder, data = tmp_path / "out", tmp_path / "files", shared_data
    task = registry.find("sot/otb")
    root = registry.folder(task, data)
    for name in task.benchmark.names(root):
        clip, truth = task.benchmark.load(root, name)
        exchange.find(task.name).write(folder, clip, truth.labels)
    score_files(folder, "sot/otb", "elsewhere", out, data)
    plain = build(out, tmp_path / "without-data")
    assert "no data folder, expected --data DIR" in plain.notes[0]
    build(out, tmp_path / "plain", data=data, clips=1)
    (page,) = (tmp_path / "plain").glob("clips/*/*.html")
    assert "blank ground" in page.read_text(encoding="utf-8")
    assert not (tmp_path / "plain" / "frames").exists()
    build(out, tmp_path / "framed", data=data, clips=1, frames=True)
    framed = tmp_path / "framed" / page.relative_to(tmp_path / "plain")
    assert "blank ground" not in framed.read_text(encoding="utf-8")
    assert len(list((tmp_path / "framed").glob("frames/sot-otb/*/*.webp"))) > 10
    assert "external" in (tmp_path / "plain" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("arguments", "message"), [
    (["-o", "nothing", "--to", "site"], "nothing: no results, expected"),
    (["-o", "empty", "--to", "site"], "empty: no results, expected"),
    (["-o", "file", "--to", "site"], "Directory 'file' is a file"),
    (["-o", "out", "--to", "file"], "Directory 'file' is a file"),
    (["-o", "out", "--to", "out"], "out: lies within the results in out, expected a folder of its own"),
    (["-o", "out", "--to", "out/site"], "out/site: lies within the results in out"),
    (["-o", "out", "--to", "other"], "other: holds an index.html of something else"),
    (["-o", "out", "--to", "site", "--clips", "worst:0"], "--clips 'worst:0': expected worst:N, all or none"),
    (["-o", "out", "--to", "site", "--clips", "some"], "--clips 'some': expected worst:N, all or none"),
])  # fmt: skip
def test_mistakes_are_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store_run(tmp_path / "out", "hog", "sot/synthetic-easy", frames=3)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text("mine")
    run = CliRunner().invoke(main, ["site", *arguments])
    assert run.exit_code == 2, run.output
    assert message in run.output
    assert "Traceback" not in run.output
    assert not (tmp_path / "site").exists()
