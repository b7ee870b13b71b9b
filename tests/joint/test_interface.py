"""Joint trackers behind the same commands as frozen models: what is run, what is left out, and what is kept to."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.evaluation.sweeps import left
from tests.joint import toy
from unibench import models as opening
from unibench.cli import main
from unibench.errors import CardError, PlanError, TrackerError, UnknownNameError
from unibench.evaluation import run_clip
from unibench.evaluation.units import Unit, list_units
from unibench.features.cache import FeatureCache
from unibench.joint import systems
from unibench.models import cards
from unibench.models import frozen as models
from unibench.records import Clip, Labels
from unibench.results import store
from unibench.tasks import registry

FRAMES = 5
FIELDS = {
    "layers": "[layers.x]\nnode = 'x'\nstride = 8\nchannels = 3",
    "preprocessing": "[preprocessing]\ncolor = 'rgb'\ndivisor = 1\nmean = [0, 0, 0]\nstd = [1, 1, 1]",
    "imagenet_top1": "[imagenet_top1]\nvalue = 0.5\nsource = 'x'",
}


def unibench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def asked(home: Path, *names: str, model: str = "toy", features: FeatureCache | None = None) -> list[Unit]:
    return list_units(
        [cards.find(model)], [registry.find(name) for name in names], None,
        weights_path=home / "weights", frames=FRAMES, features=features,
    )  # fmt: skip


def changed(home: Path, old: str, new: str) -> Path:
    path = home / "model_cards/toy.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return path


def test_a_card_without_layers_is_valid(home: Path) -> None:
    card = cards.find("toy")
    assert (card.kind, card.default_layer, card.layers) == ("joint", "joint", {})


@pytest.mark.parametrize("name", cards.FROZEN_ONLY)
def test_fields_of_frozen_models_are_refused(home: Path, name: str) -> None:
    table, _, field = name.rpartition(".")
    if name in FIELDS:
        path = changed(home, "[pretraining]", f"{FIELDS[name]}\n[pretraining]")
    else:
        head = f"[{table}]" if table else 'license = "MIT"'
        path = changed(home, head, f"{head}\n{field} = 0")
    with pytest.raises(
        CardError, match=rf"toy\.toml: {name} is for frozen models, not for joint trackers; take"
    ):
        cards.read(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'loader = "joint"',
            'loader = "timm"',
            r"architecture\.loader is 'timm', expected 'joint' for a joint",
        ),
        (
            '"file:toy.safetensors"',
            '"random"',
            r"weights\.source is 'random', expected a file, which says how a",
        ),
        ('kind = "joint"', 'kind = "frozen"', r"missing field 'default_layer'"),
    ],
)
def test_mistakes_in_a_card_are_named(home: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(CardError, match=rf"toy\.toml: {message}") as caught:
        cards.read(changed(home, old, new))
    assert "\n" not in str(caught.value)


def test_an_unknown_system_is_named_in_every_command(home: Path) -> None:
    changed(home, 'name = "toy"', 'name = "toyy"')
    for command in (("run", "-t", "mot/synthetic", "-o", "out", "-m", "toy"), ("models", "backbone", "toy")):
        done = unibench(*command, "--weights", "weights")
        assert done.exit_code == 2
        assert "unibench: no joint tracker 'toyy'; did you mean 'toy'?" in done.output


def test_a_run_scores_what_can_be_done_and_says_what_is_left_out(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = unibench(
        *("run", "-m", "toy", "-m", "lab-colour", "-t", "mot/synthetic-easy", "-t", "vos/synthetic-easy"),
        *("--weights", "weights", "--frames", FRAMES, "-o", "out"),
    )
    assert done.exit_code == 0, done.output
    stored = store.read_scores(Path("out"))
    assert {(one.model, one.layer, one.task, one.protocol, one.detections) for one in stored} == {
        ("toy", "joint", "mot/synthetic-easy", "private", ""),
        ("lab-colour", "pooled", "mot/synthetic-easy", "unitrack+public", "public"),
        ("lab-colour", "pooled", "vos/synthetic-easy", "unitrack", ""),
    }
    assert caplog.messages == ["left out: toy vos/synthetic-easy@unitrack: it draws no masks"]
    assert "toy† " in done.output
    assert "† trained for tracking; the other models are frozen" in done.output
    head, *rows = Path("out/leaderboard.csv").read_text().splitlines()
    assert head.startswith("model,kind,layer,imagenet_top1,")
    assert [row.split(",")[:3] for row in rows] == [
        ["lab-colour", "frozen", "pooled"],
        ["toy", "joint", "joint"],
    ]
    assert "toy†" not in Path("out/leaderboard.csv").read_text()


def test_where_nothing_is_left_there_is_nothing_to_run(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    tasks = ("-t", "vos/synthetic-easy", "-t", "sot/synthetic-easy", "-t", "mot/synthetic-easy@unitrack")
    for command in (["run"], ["plan"]):
        caplog.clear()
        done = unibench(*command, "-m", "toy", *tasks, "--weights", "weights", "-o", "out")
        assert done.exit_code == 2
        assert "unibench: nothing to run: none of 1 models can do any of 3 tasks; see" in done.output
        assert [line.partition(": ")[2] for line in caplog.messages] == [
            "toy vos/synthetic-easy@unitrack: it draws no masks",
            "toy sot/synthetic-easy@unitrack: it follows no single prompt",
            "toy mot/synthetic-easy@unitrack+public: protocol 'unitrack' is not for joint trackers; "
            "there are: private, public",
        ]


def test_frozen_models_cannot_do_what_joint_trackers_do(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(PlanError, match="none of 1 models can do any of 1 tasks"):
        asked(home, "mot/synthetic@private", model="lab-colour")
    assert "protocol 'private' is not for frozen models; there are: unitrack, " in caplog.text
    names = [unit.task.protocol.name for unit in asked(home, "mot/synthetic@unitrack", "mot/synthetic@private",
                                                       model="lab-colour")]  # fmt: skip
    assert set(names) == {"unitrack"}


def test_both_kinds_of_models_share_a_protocol(home: Path) -> None:
    for model in ("lab-colour", "toy"):
        names = {unit.task.protocol.name for unit in asked(home, "mot/synthetic@public", model=model)}
        assert names == {"public"}


def test_a_task_without_a_protocol_is_run_under_the_default_for_the_kind_of_model(home: Path) -> None:
    both = asked(home, "mot/synthetic", "mot/synthetic@private")
    assert both == asked(home, "mot/synthetic@private")
    assert {unit.layers for unit in both} == {("joint",)}
    with pytest.raises(UnknownNameError, match="no layer of model 'toy' 'layer3'; there are: joint"):
        list_units([cards.find("toy")], [registry.find("mot/synthetic")], None, layers=["layer3"])


def test_private_takes_published_detections_away_and_public_gives_them() -> None:
    seen = {}
    for name in ("private", "public"):
        task = registry.find(f"mot/synthetic@{name}")
        clip, _ = next(registry.clips(task, frames=FRAMES))
        seen[name] = [len(frame.detections.boxes) for frame in clip.frames()]
    assert seen["private"] == [0] * FRAMES
    assert min(seen["public"]) > 0
    assert registry.find("mot/synthetic@private", "oracle").protocol.detections == ""
    assert registry.find("mot/synthetic@public", "oracle").protocol.detections == "oracle"


def test_from_python_a_joint_tracker_is_bound_like_a_frozen_model(home: Path) -> None:
    model = opening.open(cards.find("toy"), home / "weights")
    task = registry.for_model(registry.find("mot/synthetic"), model)
    assert task.protocol.name == "private"
    clip, _ = next(registry.clips(task, frames=FRAMES))
    assert len(list(registry.bind(task, model, "joint")(clip))) == FRAMES
    with pytest.raises(UnknownNameError, match="no layer of model 'toy' 'c3'; there are: joint"):
        registry.bind(task, model, "c3")
    with pytest.raises(
        TrackerError, match="model 'toy': protocol 'unitrack' is not for joint trackers; there are"
    ):
        registry.bind(registry.find("mot/synthetic@unitrack"), model, "joint")
    with pytest.raises(TrackerError, match="model 'toy': it draws no masks"):
        registry.bind(registry.find("vos/synthetic"), model, "joint")


def test_results_do_not_depend_on_order_interruption_or_workers(home: Path) -> None:
    (home / "brings_toy.py").write_text(
        'from unibench.joint import systems\nsystems.SYSTEMS["toy"] = "tests.joint.toy"\n'
    )
    command = ("run", "-m", "toy", "-t", "mot/synthetic-easy", "-t", "mot/synthetic-easy@public", "--plugin",
               "brings_toy.py", "--weights", "weights", "--frames", FRAMES, "-o")  # fmt: skip
    assert unibench(*command, "whole").exit_code == 0
    units = asked(home, "mot/synthetic-easy", "mot/synthetic-easy@public")
    for unit in reversed(units):
        list(run_clip.execute([unit], home / "pieces", home / "weights"))
    again = unibench(*command, "pieces")
    assert again.output.count("there already") == len(units) == 4
    shared = unibench(*command, "shared", "--workers", 2)
    assert shared.exit_code == 0, shared.output
    assert left(home / "whole") == left(home / "pieces") == left(home / "shared")


def test_shards_of_a_plan_give_what_a_run_gives(home: Path) -> None:
    command = ("-m", "toy", "-m", "lab-colour", "-t", "mot/synthetic-easy", "--frames", FRAMES)
    assert unibench("run", *command, "--weights", "weights", "-o", "whole").exit_code == 0
    assert unibench("plan", *command, "--weights", "weights", "-o", "plan.json").exit_code == 0
    for shard in ("1/2", "2/2"):
        done = unibench("work", "plan.json", "--shard", shard, "-o", "parts")
        assert done.exit_code == 0, done.output
    assert unibench("merge", "-o", "parts").exit_code == 0
    assert left(home / "parts") == left(home / "whole")


def test_other_weights_are_other_work(home: Path) -> None:
    from tests.joint.conftest import save

    units = asked(home, "mot/synthetic-easy")
    assert all(one.seconds > 0 for one in run_clip.execute(units, home / "out", home / "weights"))
    assert all(one.seconds == 0 for one in run_clip.execute(units, home / "out", home / "weights"))
    save(home / "weights/toy.safetensors", toy.ToyConfig(least=0.4))
    others = asked(home, "mot/synthetic-easy")
    assert {unit.fingerprint for unit in others}.isdisjoint({unit.fingerprint for unit in units})
    assert all(one.seconds > 0 for one in run_clip.execute(others, home / "out", home / "weights"))


def rushed(network: object, config: object, clip: Clip, task: object) -> Iterator[Labels]:
    """Pulls one frame more before it yields labels."""
    frames = clip.frames()
    next(frames)
    for _ in frames:
        yield Labels()
    yield Labels()


def short(network: object, config: object, clip: Clip, task: object) -> Iterator[Labels]:
    yield from (Labels() for _, _ in zip(clip.frames(), range(2), strict=False))


@pytest.mark.parametrize(
    ("track", "message"),
    [
        (
            rushed,
            "frame 1 was pulled before the labels of frame 0 were given, expected at most 0 frames ahead",
        ),
        (short, f"labels of 2 frames, expected {FRAMES}"),
    ],
)
def test_a_joint_tracker_keeps_to_the_protocol(
    home: Path, track: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy, "SYSTEM", replace(toy.SYSTEM, track=track))
    for name in ("private", "public"):
        done = list(
            run_clip.execute(asked(home, f"mot/synthetic-easy@{name}"), home / "out", home / "weights")
        )
        assert all(message in one.error for one in done), done
    assert not list((home / "out").rglob("clips/*.json"))


def test_a_feature_cache_leaves_joint_trackers_as_they_are(home: Path) -> None:
    units = asked(home, "mot/synthetic-easy")
    cache = FeatureCache(home / "maps")
    assert asked(home, "mot/synthetic-easy", features=cache) == units
    frozen = [asked(home, "mot/synthetic-easy", model="lab-colour", features=one) for one in (None, cache)]
    assert frozen[0] != frozen[1]
    for out, features in (("with", cache), ("without", None)):
        assert not [one.error for one in run_clip.execute(units, home / out, home / "weights", features=features)
                    if one.error]  # fmt: skip
    assert left(home / "with") == left(home / "without")


def test_building_a_cache_leaves_joint_trackers_out(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    command = ("cache", "build", "maps", "-t", "mot/synthetic-easy", "-t", "mot/synthetic-easy@private",
               "--frames", 2, "-m", "toy")  # fmt: skip
    done = unibench(*command)
    assert done.exit_code == 2
    assert "toy: left out, a joint tracker has no maps to keep" in done.output
    assert "unibench: no frozen model; name one with -m" in done.output
    done = unibench(*command, "-m", "lab-colour")
    assert done.exit_code == 0, done.output
    assert (
        "left out: lab-colour mot/synthetic-easy@private: protocol 'private' is not for frozen" in caplog.text
    )
    assert "lab-colour, pooled: 2 clips, 4 frames" in done.output


@pytest.mark.parametrize("option", [("--dtype", "bfloat16"), ("--compile",)])
def test_precision_and_compilation_are_for_frozen_models(home: Path, option: tuple[str, ...]) -> None:
    done = unibench("run", "-m", "toy", "-t", "mot/synthetic", "--weights", "weights", "-o", "out", *option)
    assert done.exit_code == 2
    assert "unibench: model 'toy': a joint tracker runs in float32, uncompiled; run it without" in done.output
    card = cards.find("toy")
    assert cards.running(card, "float32") == card


def test_what_needs_a_frozen_model_says_so(home: Path) -> None:
    with pytest.raises(
        CardError, match="model 'toy': a joint tracker, expected a frozen model; to use its backbone"
    ):
        models.load(cards.find("toy"), weights_path=home / "weights")


def test_lists_and_checks_show_joint_trackers(home: Path) -> None:
    done = unibench("models")
    (row,) = (line for line in done.output.splitlines() if " toy " in line)
    assert " joint " in row
    assert "sha256" in unibench("models", "show", "toy").output
    done = unibench("models", "check", "toy", "--weights", "weights")
    assert "1 of 1 models can run here" in done.output
    assert "toy: 6 of 6 tensors loaded (100.0%)" in done.output
    changed(home, 'name = "toy"', 'name = "toy"\nparameters = 5')
    assert "expected 5; correct the card" in unibench("models", "check", "toy", "--weights", "weights").output
    assert "0 of 1 models can run here" in unibench("models", "check", "toy").output  # no weights
    assert "joint" in unibench("tasks").output


def test_a_loaded_tracker_says_what_it_is(home: Path) -> None:
    model = systems.load(cards.find("toy"), home / "weights")
    assert (model.name, model.device.type, len(model.fingerprint)) == ("toy", "cpu", 12)
    assert model.unsupported == toy.SYSTEM.unsupported
    with pytest.raises(UnknownNameError, match="no device 'nono'; there are: cpu"):
        systems.load(cards.find("toy"), home / "weights", "nono")


def test_a_tracker_of_images_is_left_out_of_video_detection(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = unibench("run", "-m", "toy", "-t", "det/noisy@video", "--weights", "weights", "-o", "out")
    assert done.exit_code == 2
    assert "nothing to run" in done.output
    assert caplog.messages == [
        "left out: toy det/noisy@video: it looks at one frame at a time, not at a clip"
    ]


def test_classes_are_chosen_on_the_command_line(home: Path) -> None:
    """Two ways to say it, one result; a column of its own beside all classes."""
    given = ("--weights", "weights", "--frames", 2, "-o", "out")
    done = unibench("run", "-m", "lab-colour", "-t", "mot/shapes", "--classes", "disc, square", *given)
    assert done.exit_code == 0, done.output
    stored = store.read_scores(Path("out"))
    assert {one.task for one in stored} == {"mot/shapes:disc,square"}
    again = unibench("run", "-m", "lab-colour", "-t", "mot/shapes:disc,square", "-t", "mot/shapes", *given)
    assert again.exit_code == 0, again.output
    assert len({one.task for one in store.read_scores(Path("out"))}) == 2
    assert unibench("leaderboard", "-o", "out").exit_code == 0
    scored = unibench("score", "-o", "out")
    assert scored.exit_code == 0, scored.output
    assert (
        "lab-colour mot/shapes:disc,square@unitrack+public pooled: 8 clips, 0 with other counts"
        in scored.output
    )
    refused = unibench(
        "export", "-o", "out", "-m", "lab-colour", "-t", "mot/shapes:disc,square", "--to", "files"
    )
    assert refused.exit_code == 2
    assert "files of its format count all classes of the benchmark" in refused.output
    wrong = unibench("run", "-m", "lab-colour", "-t", "mot/shapes", "--classes", "disk", *given)
    assert wrong.exit_code in (1, 2)
    assert "no class in clip 'shapes-1' 'disk'; did you mean 'disc'?" in wrong.output
    empty = unibench("run", "-m", "lab-colour", "-t", "mot/shapes", "--classes", "disc,", *given)
    assert empty.exit_code == 2
    assert "unibench: classes 'disc,': '' is no class name" in empty.output
