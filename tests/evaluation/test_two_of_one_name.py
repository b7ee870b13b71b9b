"""`unibench.evaluate`: two models of one name stay two, a weights file is read once, a release changes no result."""

import hashlib
import json
import shutil
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from click.testing import CliRunner, Result

import unibench
from tests.models.test_cards import CARD
from unibench.cli import main
from unibench.evaluation.fingerprints import tracking_fingerprint
from unibench.evaluation.units import list_units
from unibench.models import cards, download, fetch
from unibench.results import store
from unibench.tasks import registry

TASK, FRAMES = "vos/synthetic-easy", 3
COLOUR = Path(__file__).parents[2] / "model_cards" / "lab-colour.toml"


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture
def twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two cards of one name in two folders; their cells are of 8 and of 16 pixels."""
    monkeypatch.chdir(tmp_path)
    other = COLOUR.read_text().replace("cell = 8", "cell = 16").replace("stride = 8", "stride = 16")
    for folder, text in (("a", COLOUR.read_text()), ("b", other.replace("offset = 3.5", "offset = 7.5"))):
        Path(folder).mkdir()
        Path(folder, "lab-colour.toml").write_text(text)
    return ["a/lab-colour.toml", "b/lab-colour.toml"]


def clip_files(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("clips/*.json"))}


def test_two_models_of_one_name_are_two_models(twins: list[str]) -> None:
    both = unibench.evaluate(twins, [TASK], output="both", frames=FRAMES)
    assert not both.failed
    rows = both.scores[both.scores.headline]
    assert rows.model.tolist() == ["lab-colour", "lab-colour"]
    assert rows.weights_hash.nunique() == rows.value.nunique() == 2
    apart: dict[str, bytes] = {}
    for number, twin in enumerate(twins):
        alone = unibench.evaluate([twin], [TASK], output=f"alone{number}", frames=FRAMES)
        assert alone.scores[alone.scores.headline].value.item() == rows.value.tolist()[number]
        apart |= clip_files(Path(f"alone{number}"))
    assert clip_files(Path("both")) == apart
    again = unibench.evaluate(twins[::-1], [TASK], output="both", frames=FRAMES)
    assert [one.seconds for one in again.done] == [0.0] * len(both.done)


def test_plans_keep_two_models_of_one_name_apart(twins: list[str]) -> None:
    asked = [*("-m", twins[0], "-m", twins[1], "-t", TASK, "--frames", FRAMES)]
    made = command("plan", *asked, "-o", "plan.json")
    assert made.exit_code == 0, made.output
    for shard in ("2/2", "1/2"):
        done = command("work", "plan.json", "--shard", shard, "-o", "parts")
        assert done.exit_code == 0, done.output
    merged = command("merge", "-o", "parts")
    assert merged.exit_code == 0, merged.output
    whole = unibench.evaluate(twins, [TASK], output="whole", frames=FRAMES)
    assert sorted(map(repr, store.read_scores(Path("parts")))) == sorted(map(repr, whole.rows))
    assert clip_files(Path("parts")) == clip_files(Path("whole"))


def test_a_card_by_path_is_shown(twins: list[str]) -> None:
    shown = command("models", "show", twins[1])
    assert shown.exit_code == 0, shown.output
    assert "b/lab-colour.toml" in shown.output.replace("\n", "")
    assert "16" in next(line for line in shown.output.splitlines() if "pooled.stride" in line)


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two cards of one name and their files of one name, in two folders."""
    monkeypatch.chdir(tmp_path)
    text = CARD.replace('source = "random"', 'source = "file:mine.pth"')
    for seed, folder in enumerate("ab"):
        Path(folder).mkdir()
        Path(folder, "mine.toml").write_text(text)
        torch.manual_seed(seed)
        torch.save(torchvision.models.resnet18().state_dict(), Path(folder, "mine.pth"))
    return ["a/mine.toml", "b/mine.toml"]


def test_each_card_finds_the_weights_beside_its_own_file(networks: list[str]) -> None:
    for name in networks:
        path = Path(name).resolve().with_name("mine.pth")
        assert fetch.status(cards.find(name), None).path == path
        assert str(path) in command("models", "show", name).output.replace("\n", "")
    made = unibench.evaluate(networks, [TASK], output="out", frames=FRAMES)
    assert not made.failed
    assert made.scores.weights_hash.nunique() == 2
    shutil.copy("a/mine.pth", "b/mine.pth")
    same = list_units([cards.find(name) for name in networks], [registry.find(TASK)], None)
    assert len({unit.fingerprint for unit in same}) == 1


def test_a_weights_file_is_hashed_once_a_run(networks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []

    def file_digest(stream, name):
        hashed.append(stream.name)
        return hashlib.file_digest(stream, name)

    monkeypatch.setattr(download, "hashlib", SimpleNamespace(file_digest=file_digest))
    card = replace(cards.find(networks[0]))
    stated = hashlib.sha256(Path("a/mine.pth").read_bytes()).hexdigest()
    card = replace(card, weights=replace(card.weights, sha256=stated))
    assert not unibench.evaluate([card], [TASK], output="out", frames=FRAMES).failed
    assert hashed == [str(Path("a/mine.pth").resolve())]


def test_a_weights_file_that_changed_is_hashed_again(networks: list[str]) -> None:
    path = Path("a/mine.pth")
    before = download.sha256(path)
    path.write_bytes(path.read_bytes() + b"0")
    longer = download.sha256(path)
    shutil.copy("b/mine.pth", "new.pth")
    Path("new.pth").replace(path)
    assert len({before, longer, download.sha256(path)}) == 3
    assert download.sha256(path) == download.sha256(Path("b/mine.pth"))


def test_two_folders_of_detections_of_one_name_are_two_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = registry.find("mot/synthetic-easy")
    shift = {"da": 0.0, "db": 40.0}
    for folder, aside in shift.items():
        Path(folder, "det").mkdir(parents=True)
        for clip, _ in registry.clips(task, frames=FRAMES):
            lines = [
                f"{frame.index + 1},-1,{x1 + aside},{y1},{x2 - x1},{y2 - y1},1"
                for frame in clip.frames()
                for x1, y1, x2, y2 in frame.detections.boxes
            ]
            Path(folder, "det", f"{clip.name}.txt").write_text("\n".join(lines) + "\n")
    for folder in shift:
        done = command("run", "-m", "lab-colour", "-t", task.name, "--frames", FRAMES, "-o", "out",
                       "--detections", f"{folder}/det")  # fmt: skip
        assert done.exit_code == 0, done.output
    heads = [score for score in store.read_scores(Path("out")) if score.headline]
    assert len({score.protocol for score in heads}) == len({score.value for score in heads}) == 2
    assert all(score.detections.startswith("det-") for score in heads)
    command(
        "run", "-m", "lab-colour", "-t", task.name, "--frames", FRAMES, "-o", "out", "--detections", "db/det"
    )
    assert [score for score in store.read_scores(Path("out")) if score.headline] == heads


def test_a_release_leaves_results_valid_and_another_version_of_a_protocol_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (unit, *_) = list_units([cards.find("lab-colour")], [registry.find(TASK)], None, frames=FRAMES)
    clip, truth = registry.load_clip(unit.task, unit.root, unit.clip, FRAMES)

    def fingerprint(**changes: str) -> str:
        task = replace(unit.task, protocol=replace(unit.task.protocol, **changes))
        return tracking_fingerprint(replace(unit, task=task), "pooled", clip, truth)

    now = fingerprint()
    monkeypatch.setattr(metadata, "version", lambda name: "99.0.0")
    assert fingerprint() == now
    (later, *_) = list_units([cards.find("lab-colour")], [registry.find(TASK)], None, frames=FRAMES)
    assert later.fingerprint == unit.fingerprint
    assert fingerprint(version="1.9") == now  # a minor version changes no number
    assert fingerprint(version="9.0") != now


@pytest.mark.parametrize("damage", ["empty", "edited"])
def test_a_damaged_or_edited_clip_is_computed_again_with_a_warning(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unibench.evaluate(["lab-colour"], [TASK], output=tmp_path, frames=FRAMES)
    before = clip_files(tmp_path)
    path = next(tmp_path.rglob("clips/*.json"))
    record = json.loads(path.read_text())
    record["tally"]["J-mean"] = 0.999
    path.write_text("" if damage == "empty" else json.dumps(record))
    made = unibench.evaluate(["lab-colour"], [TASK], output=tmp_path, frames=FRAMES)
    assert sorted(one.seconds > 0 for one in made.done) == [False, True]
    assert f"computed again: {path}: " in caplog.text
    assert clip_files(tmp_path) == before
