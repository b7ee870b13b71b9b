"""What runs leave and find again, changed in between; options of the command line; trainings."""

import atexit
import json
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from contextlib import chdir
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import save_file

from tests.corpus.cases import DAVIS16, DEEP, DETS, MOT, NO_END, Case, Make, detections, mot, vos
from tests.corpus.models import CHECKPOINT, network
from tests.datasets import layouts
from unibench.cli import main
from unibench.joint import systems
from unibench.joint.training import export
from unibench.models import cards
from unibench.results import store

BOTH = DAVIS16.replace("lab-colour", "lab-colour -m hog")
CACHED = f"{DAVIS16} --cache cache --overwrite always"
WORK = "work plan.json -o out"
BOARD = "leaderboard -o out"
RETINA = "train retinatrack --data synthetic:clips --steps 1 -o out"
TDT = "train tdt --config c.toml --data synthetic:stills#20 --steps 1 -o out"
CHANGED = "changed after it was written"


def unibench(root: Path, *commands: str) -> None:
    """Run commands in a folder; all must succeed."""
    with chdir(root):
        for command in commands:
            done = CliRunner().invoke(main, command.split())
            assert done.exit_code == 0, done.output


def clip(root: Path) -> None:
    vos((1,), root, folder="DAVIS2016")


@cache
def _run(*commands: str) -> Path:
    root = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    clip(root)
    unibench(root, *commands)
    return root


def after(change: Callable[[Path], object], *commands: str) -> Make:
    """What commands left, then changed; they run once for all rows."""

    def make(root: Path) -> None:
        shutil.copytree(_run(*commands), root, dirs_exist_ok=True)
        change(root)

    return make


def record(
    name: str, change: Callable[[dict[str, Any]], object], *, sealed: bool = False, model: str = "hog"
) -> Make:
    """What a run of two models left, one file of it changed: with the checksum as it was, or with that of the change."""

    def edit(root: Path) -> None:
        (path,) = root.glob(f"out/{model}/**/{name}")
        held = json.loads(path.read_text())
        change(held)
        if sealed:
            del held["checksum"]
            held["checksum"] = store._checksum(held)
        path.write_text(json.dumps(held))

    return after(edit, BOTH)


def content(name: str, text: str) -> Make:
    def edit(root: Path) -> None:
        (path,) = root.glob(f"out/hog/**/{name}")
        path.write_text(text)

    return after(edit, BOTH)


def tripled(held: dict[str, Any]) -> None:
    held["tally"] = {name: 3 * value for name, value in held["tally"].items()}


def halved(held: dict[str, Any]) -> None:
    for name in list(held["tally"])[::2]:
        del held["tally"][name]


def score(**fields: object) -> Callable[[dict[str, Any]], None]:
    return lambda held: [one.update(fields) for one in held["scores"]] and None


def maps(change: Callable[[dict[str, np.ndarray]], dict[str, Any]]) -> Make:
    def edit(root: Path) -> None:
        for path in root.glob("cache/*@*@*/??/*.npz"):
            with np.load(path) as held:
                fields = dict(held)
            np.savez(path, **change(fields))

    return after(edit, CACHED)


def swapped(root: Path) -> None:
    paths = sorted(root.glob("cache/*@*@*/??/*.npz"))
    held = [path.read_bytes() for path in paths]
    for path, other in zip(paths, [*held[1:], held[0]], strict=True):
        path.write_bytes(other)


def repainted(root: Path) -> None:
    """Other pixels in every frame, of the size that was there."""
    for path in root.glob("data/**/*.jpg"):
        if "Annotations" not in path.parts:
            layouts.images(path.parent, [int(path.stem) + 50], digits=5, suffix=".jpg")
            path.with_name(f"{int(path.stem) + 50:05}.jpg").replace(path)


def mot_changed(root: Path) -> None:
    mot(root)
    unibench(root, MOT)
    for number in (1, 2, 3):
        path = root / f"data/MOT17/train/C/img1/{number:06}.jpg"
        layouts.images(path.parent, [number + 50], suffix=".jpg")
        path.with_name(f"{number + 50:06}.jpg").replace(path)


def detections_changed(root: Path) -> None:
    detections("1,-1,2,3,8,9,.9\n2,-1,3,3,8,9,.9\n", root)
    unibench(root, DETS)
    layouts.text(root / "dets/C.txt", "1,-1,1,1,4,4,0.9\n")


def crowded(root: Path) -> None:
    rows = [f"{t},-1,{i % 32},{i // 32},3,3,.9\n" for t in (1, 2, 3) for i in range(300)]
    mot(root, det="".join(rows))


def plan(change: Callable[[dict[str, Any]], object], root: Path) -> None:
    clip(root)
    unibench(root, DAVIS16.replace("run", "plan").replace("-o out", "-o plan.json"))
    held = json.loads((root / "plan.json").read_text())
    change(held)
    (root / "plan.json").write_text(json.dumps(held))


def plan_of_other_pixels(root: Path) -> None:
    plan(lambda held: None, root)
    repainted(root)


def fails_on_one(root: Path) -> None:
    network("onenan", "plug_onefails", root)


def plug_in(text: str, root: Path, *, name: str) -> None:
    clip(root)
    layouts.text(root / f"{name}.py", text)


def config(system: str, old: str, new: str) -> Make:
    """A system's smallest config, a piece of its text replaced."""

    def make(root: Path) -> None:
        held = (systems.find(system).folder / "tiny.toml").read_text()
        assert held.count(old) == 1, old
        layouts.text(root / "c.toml", held.replace(old, new))

    return make


def tracker_of_a_huge_view(root: Path) -> None:
    """A joint tracker whose weights file asks for a canvas that no machine has."""
    folder = systems.find("tdt").folder
    with safe_open(folder / "tiny.safetensors", "pt") as held:
        metadata, tensors = held.metadata(), {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    held = json.loads(metadata[export.CONFIG])
    held["view"]["height"] = 10**18
    save_file(tensors, root / "w.safetensors", metadata | {export.CONFIG: json.dumps(held)})
    card = tomllib.loads(cards.paths()["tdt-tiny"].read_text())
    card["weights"] = {"source": "file:w.safetensors"}
    layouts.text(root / "j.toml", tomli_w.dumps(card))


def trained(change: Callable[[Path], object]) -> Make:
    return after(change, RETINA)


def checkpoint(**fields: object) -> Make:
    def edit(root: Path) -> None:
        path = root / "out/checkpoint.pt"
        torch.save({**torch.load(path, weights_only=True), **fields}, path)

    return trained(edit)


CASES = (
    # cached maps
    Case("cache_good", after(lambda root: None, CACHED), CACHED, 0, "written:"),
    Case("cache_nan", maps(lambda held: held | {"features": np.full_like(held["features"], np.nan)}), CACHED, 0, "written:"),
    Case("cache_swapped", after(swapped, CACHED), CACHED, 0, "written:"),
    Case("cache_other_shape", maps(lambda held: held | {"features": held["features"][:1]}), CACHED, 0, "written:"),
    Case("cache_other_values", maps(lambda held: held | {"features": held["features"] * 0}), CACHED, 0, "written:"),
    Case("cache_build_over", clip, "cache build c -m lab-colour -t vos/davis2016 --data data --budget 1", 2, "expected at most the budget of 1 B"),
    Case("cache_budget_text", clip, f"{CACHED} --cache-budget much", 2, "is not a size, such as 30G"),
    Case("cli_budget_400digits", clip, f"{CACHED} --cache-budget {NO_END}", 2, "is not a size|too large"),
    Case("cache_no_folder", lambda root: (clip(root), layouts.text(root / "cache/x", "")), CACHED, 2, "not a feature cache"),
    # results of clips
    Case("res_clip_5000", content("clips/dog.json", "9" * 5000), BOTH, 0, "written:"),
    Case("res_clip_deep", content("clips/dog.json", DEEP), BOTH, 0, "written:"),
    Case("res_clip_inf", content("clips/dog.json", '{"tally": {"J": Infinity}}'), BOTH, 0, "written:"),
    Case("res_clip_empty", content("clips/dog.json", ""), BOTH, 0, "written:"),
    Case("res_clip_tally_edited", record("clips/dog.json", tripled), BOTH, 0, "written:"),
    Case("res_clip_tally_missing", record("clips/dog.json", halved), BOTH, 0, "written:"),
    Case("y_tally_x3_hog", record("clips/dog.json", tripled), BOARD, 2, CHANGED),
    Case("y_tally_half_hog", record("clips/dog.json", halved), BOARD, 2, CHANGED),
    Case("res_lb_tally_missing", record("clips/dog.json", halved, model="lab-colour"), BOARD, 2, CHANGED),
    Case("res_compare_tally_missing", record("clips/dog.json", halved), "compare hog lab-colour -o out", 2, CHANGED),
    Case("res_tally_resealed", record("clips/dog.json", lambda held: held.update(frames=9), sealed=True), BOARD, 2, "lie beside it"),
    # pooled results
    Case("res_result_edited", record("result.json", score(value=0.999)), BOARD, 2, CHANGED),
    Case("res_result_interval", record("result.json", score(ci_low=0.1)), BOARD, 2, CHANGED),
    Case("res_result_over1", record("result.json", score(value=77), sealed=True), BOARD, 2, "is 77, but the clips beside it give"),
    Case("res_result_empty_list", record("result.json", lambda held: held["scores"].clear(), sealed=True), BOARD, 2, "no scores, expected at least one"),
    Case("res_result_task_noslash", record("result.json", score(task=""), sealed=True), BOARD, 2, "empty name, expected a model, task"),
    Case("res_result_task_other", record("result.json", score(task="sot/otb"), sealed=True), BOARD, 2, "holds scores of out/hog/.*/sot/otb@"),
    Case("res_result_deep", content("result.json", DEEP), BOARD, 2, "nested too deeply"),
    Case("res_result_huge", content("result.json", NO_END), BOARD, 2, "an integer of 400 digits"),
    Case("res_nothing", clip, BOARD, 2, "no results, expected"),
    # what the runs read
    Case("img_changed", mot_changed, MOT, 0, "written:"),
    Case("detfolder_changed", detections_changed, DETS, 0, "written:"),
    Case("det_10k", crowded, MOT, 0, "IDF1"),
    Case("x_onefails_boards", fails_on_one, "--plugin plug_onefails.py run -m lab-colour -m m.toml -t vos/synthetic --frames 3 -o out", 1,
         "1 of 4 clips failed"),
    # plans
    Case("plan_cost_hugeint", partial(plan, lambda held: held["units"][0].update(cost=10**400)), WORK, 2, "an integer of 401 digits"),
    Case("plan_cost_nan", partial(plan, lambda held: held["units"][0].update(cost=float("nan"))), WORK, 2, "NaN is no number"),
    Case("plan_cost_neg", partial(plan, lambda held: held["units"][0].update(cost=-1)), WORK, 2, "expected a positive number"),
    Case("plan_model", partial(plan, lambda held: held["units"][0].update(model=7)), WORK, 2, "expected an index of the 1 models"),
    Case("plan_clip", partial(plan, lambda held: held["units"][0].update(clip="../x")), WORK, 2, "clip is not listed in its task"),
    Case("work_data_changed", plan_of_other_pixels, WORK, 1, "dog"),
    # options
    Case("cli_detections_on_vos", clip, f"{DAVIS16} --detections oracle", 2, "detections"),
    Case("cli_device_meta", clip, f"{DAVIS16} --device meta", 2, "no device 'meta'"),
    Case("cli_device_text", clip, f"{DAVIS16} --device gpu", 2, "no device 'gpu'"),
    Case("cli_out_empty", clip, DAVIS16.replace("-o out", "-o ''"), 2, "is empty, expected a file or a folder"),
    Case("cli_data_empty", clip, DAVIS16.replace("--data data", "--data ''"), 2, "is empty, expected a file or a folder"),
    Case("cli_weights_empty", clip, f"{DAVIS16} --weights ''", 2, "is empty"),
    Case("cli_checkpoint_empty", clip, CHECKPOINT.replace("w.pth", "''"), 2, "is empty"),
    Case("cli_out_file", lambda root: (clip(root), layouts.text(root / "out", "")), DAVIS16, 2, "out"),
    Case("cli_frames_zero", clip, f"{DAVIS16} --frames 0", 2, "frames"),
    Case("cli_frames_huge", clip, f"{DAVIS16} --frames {NO_END}", 2, "frames|an integer"),
    Case("cli_frames_mixed", after(lambda root: None, BOTH), f"{BOTH} --frames 2", 2, "choose another folder with -o, or another --frames"),
    Case("cli_plugin_exit", partial(plug_in, "import sys\nsys.exit(0)\n", name="plug_exit"), f"--plugin plug_exit.py {DAVIS16}", 2,
         "plug-in 'plug_exit.py': SystemExit: 0"),
    Case("cli_plugin_lines", partial(plug_in, "raise ValueError('a\\nb')\n", name="plug_lines"), f"--plugin plug_lines.py {DAVIS16}", 2,
         "ValueError: a b"),
    Case("cli_plugin_gone", clip, f"--plugin gone.py {DAVIS16}", 2, "no such file"),
    # configs of trainings; every field of every system: tests/joint/test_config_ranges.py
    *(
        Case(f"tc_{name}", config("tdt", old, new), TDT, 2, rf"c\.toml.*{expected}")
        for name, old, new, expected in (
            ("400", "rate = 0.004", f"rate = {NO_END}", "train.stages.rate: found an integer of more than 64 bits"),
            ("5000", "rate = 0.004", f"rate = {'9' * 5000}", "not a readable TOML file"),
            ("channels", "\nchannels = 48", "\nchannels = 0", "network.channels: found 0, expected int, at least 1"),
            ("dim", "dim = 64", "dim = 0", "network.dim: found 0, expected int, at least 1"),
            ("flip", "flip = 0.5", "flip = 7.0", r"sample.flip: found 7\.0, expected float, at least 0, at most 1"),
            ("huge", "height = 128", "height = 99999999999999999999", "not a readable|height: found an integer of more than 64"),
            ("height", "height = 128", "height = 1000000000", "view.height: found 1000000000, expected int, at least 1, at most"),
            ("levels", "levels = [3, 5]", "levels = [5, 3]", r"network.levels: found \[5, 3\]"),
            ("prior", "prior = 0.01", "prior = 2.0", r"network.prior: found 2\.0"),
            ("prior0", "prior = 0.01", "prior = 0.0", r"network.prior: found 0\.0"),
            ("ratios", "ratios = [0.6, 1.0, 1.6]", "ratios = []", r"anchors.ratios: found \[\]"),
            ("ratios_neg", "ratios = [0.6, 1.0, 1.6]", "ratios = [-1.0]", r"anchors.ratios\[0\]: found -1\.0"),
            ("seedhuge", "seed = 0", "seed = 1180591620717411303424", "train.seed: found an integer of more than 64 bits"),
            ("teachersize", "size = [48, 48]", "size = [0, 0]", r"teacher.size: found \[0, 0\]"),
            ("teachersize_neg", "size = [48, 48]", "size = [-48, 48]", r"teacher.size: found \[-48, 48\]"),
            ("warmup", "warmup = 50", "warmup = -50", r"train.stages\[0\].warmup: found -50, expected int, at least 0"),
            ("gate", "use_kalman = true", "use_kalman = false\ngate = true", "not a readable|without use_kalman"),
            ("nms", "nms_iou = 0.5", "nms_iou = -1", "detections.nms_iou: found -1, expected float, at least 0, at most 1"),
            ("alpha", "alpha = 0.25", "alpha = 7", "losses.alpha: found 7, expected float, at least 0, at most 1"),
            ("classes", 'classes = ["square", "disc", "triangle"]', "classes = []", r"classes: found \[\]"),
        )
    ),
    Case("x_joint_meta_huge", tracker_of_a_huge_view, "run -m j.toml -t mot/shapes --frames 3 -o out", 2,
         "view.height: found 1000000000000000000, expected int, at least 1, at most"),
    Case("train_seed_huge", lambda root: None, f"{RETINA} --seed {2**70}", 2, "--seed"),
    Case("train_steps_huge", lambda root: None, f"{RETINA} --steps {NO_END}", 2, "--steps"),
    Case("train_data_n5000", lambda root: None, f"train tdt --data synthetic:stills#{'9' * 5000} --steps 1 -o out", 2, "expected stills#N"),
    Case("train_name_trav", lambda root: None, "train tdt --data synthetic:stills#20 --steps 1 --name ../../evil -o out", 2,
         "model '../../evil': no name"),
    Case("y_train_model_trav", lambda root: None, f"{RETINA} --name ../evil", 2, "model '../evil': no name"),
    Case("train_ckpt_step", checkpoint(step="seven"), RETINA, 2, "checkpoint.pt: not a readable checkpoint"),
    Case("train_ckpt_step_big", checkpoint(step=10**9), RETINA, 2, "checkpoint.pt: not a readable checkpoint"),
    Case("train_ckpt_step_neg", checkpoint(step=-3), RETINA, 2, "checkpoint.pt: not a readable checkpoint"),
    Case("train_ckpt_made_with", checkpoint(made_with="no JSON"), RETINA, 2, "checkpoint.pt: not a readable checkpoint"),
    Case("train_ckpt_list", checkpoint(made_with="[]", states=[]), RETINA, 2, "checkpoint.pt"),
    Case("train_ckpt_states", checkpoint(states={"network": 3}), RETINA, 2, "checkpoint.pt: not a readable checkpoint"),
    Case("train_ckpt_garbage", trained(lambda root: (root / "out/checkpoint.pt").write_bytes(b"\xad" * 99)), RETINA, 2,
         "checkpoint.pt: not a readable checkpoint"),
    Case("train_log_garbage", trained(lambda root: (root / "out/log.csv").write_bytes(b"\xad\xff\0")), RETINA, 0, "written:"),
    Case("train_log_folder", lambda root: (root / "out/log.csv").mkdir(parents=True), RETINA, 2, "log.csv: cannot be written"),
    Case("train_again", trained(lambda root: None), RETINA, 0, "written:"),
)  # fmt: skip

HARMLESS = {
    "res_compare_same": "a model differs from itself by 0, which the table says",
    "cache_build_sot": "a cache of maps of rendered clips is what was asked for",
    "x_lookahead": "a list of tasks; a tracker that pulls ahead is stopped: tests/evaluation/test_run_clip.py",
}
"""Rows of break.tsv that are accepted rightly -> why."""
SAME = {
    "ini_fps_neg": "ini_fps_-3",
    "ini_fps_zero": "ini_fps_0",
    "detfolder_json_hugescore": "dets_json_hugescore",
    "detfolder_json_score": "dets_json_score",
    "cli_stdout_full": "test_a_terminal_that_takes_nothing_or_ascii_alone_is_no_traceback",
    "c03": "tests/models/test_zoo_timm.py",
    "c04": "tests/models/test_formats.py",
    "c05": "tests/models/test_weights.py",
    "c06": "tests/models/test_formats.py",
}
"""Rows of break.tsv that another row or test stands for."""
FOLDERS = {
    "c01": "ck_stem", "c02": "ck_nan", "c03": "c03", "c04": "c04", "c05": "c05", "c06": "c06", "c07": "ck_sparse",
    "c08": "pt_hidden", "c09": "mot15_noini", "c10": "dets_spaces", "c11": "ini_fps_0", "c12": "img_16_bits",
    "c13": "void_255_youtube", "c14": "mask_0_255",
}  # fmt: skip
"""Cases with a folder of their own -> the row that stands for each."""
