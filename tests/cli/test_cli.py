"""The command line: quick to start, one line for every mistake, boards from stored scores alone."""

import os
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from unibench.cli import main
from unibench.cli.request import expand_tasks
from unibench.tasks.registry import FAMILIES

LIST = """
import sys
from unibench.cli import main
for arguments in {commands!r}:
    try:
        main(arguments)
    except SystemExit as end:
        assert end.code == 0, end.code
print("\\nloaded:", sorted({{"torch", "pandas", "timm", "torchvision"}} & set(sys.modules)))
"""


UNTIL_TORCH = """
import os, sys
from importlib.abc import MetaPathFinder
from unibench.cli import main
class Stop(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch":
            print(name, flush=True)
            os._exit(0)
sys.meta_path.insert(0, Stop())
main({arguments!r})
"""


def unibench(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def loaded(*commands: str) -> str:
    """Which heavy libraries a process has loaded after these commands."""
    code = LIST.format(commands=[command.split() for command in commands])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.rsplit("loaded: ", 1)[1].strip()


def tiny_run(out: Path, *more: str) -> Result:
    return unibench(
        "run", "-m", "lab-colour", "-t", "vos/synthetic-easy", "--frames", "3", "-o", str(out), *more
    )


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    assert loaded("--help") == "[]"
    times = []  # of the processor: what else runs here does not count
    for _ in range(5):
        start = _of_children()
        command = [sys.executable, "-m", "unibench", "--help"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        times.append(_of_children() - start)
        assert "quickstart" in done.stdout
    assert min(times) < 0.4


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_listings_load_no_torch(tmp_path: Path) -> None:
    assert loaded("models", "tasks", f"data check --data {tmp_path}") == "[]"


def test_a_run_says_what_it_does_before_torch_is_imported(tmp_path: Path) -> None:
    start = _of_children()
    arguments = ["run", "-m", "lab-colour", "-m", "hog", "-t", "sot/shapes", "-o", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", UNTIL_TORCH.format(arguments=arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2 models on 1 task: starting\ntorch\n"
    assert _of_children() - start < 2


def test_a_run_writes_every_board_and_boards_are_made_again_without_torch(tmp_path: Path) -> None:
    done = tiny_run(tmp_path)
    assert done.exit_code == 0, done.output
    names = ("leaderboard.csv", "long.csv", "radar.svg", "radar.png", "correlation.csv", "correlation.svg")
    before = {name: (tmp_path / name).read_bytes() for name in names}
    for name in names:
        assert f"written: {tmp_path / name}" in done.output
        (tmp_path / name).unlink()
    again = (f"leaderboard -o {tmp_path}", f"plot radar -o {tmp_path}", f"plot correlation -o {tmp_path}")
    assert loaded(again[0]) == "[]"
    assert "torch" not in loaded(*again[1:], f"site -o {tmp_path} --to {tmp_path.with_name('site')}")
    assert {name: (tmp_path / name).read_bytes() for name in names} == before


def test_the_second_run_finds_everything(tmp_path: Path) -> None:
    tiny_run(tmp_path)
    again = tiny_run(tmp_path)
    assert again.exit_code == 0
    assert again.output.count("there already") == again.output.count("lab-colour vos/synthetic-easy")


def test_patterns_before_and_behind_the_at() -> None:
    everything = [f"vos/davis2016@{name}" for name in FAMILIES["vos"].presets]
    assert expand_tasks(["vos/davis2016@*"]) == everything
    assert expand_tasks(["vos/davis2016@dino*", "vos/davis2016@dino"]) == [
        name for name in everything if "@dino" in name]  # fmt: skip
    assert expand_tasks(["*/mot15@*motion"]) == ["mot/mot15@unitrack-motion", "mot/mot15@as-coded-motion"]
    assert expand_tasks(["vos/davis201?@crw"]) == ["vos/davis2016@crw", "vos/davis2017@crw"]
    assert expand_tasks(["vos/davis2016", "vos/davis2016"]) == ["vos/davis2016"]


def test_sensitivity_reads_stored_scores_without_torch(tmp_path: Path) -> None:
    one = unibench("sensitivity", "-o", str(tmp_path))
    assert one.exit_code == 2
    assert "no results, expected " in one.output
    tiny_run(tmp_path)
    assert "no task was run under several protocols" in unibench("sensitivity", "-o", str(tmp_path)).output
    done = tiny_run(tmp_path, "-t", "vos/synthetic-easy@crw*")  # without cropmae, which takes 15 s a clip
    assert done.exit_code == 0, done.output
    assert "torch" not in loaded(f"sensitivity -o {tmp_path}")
    told = unibench("sensitivity", "-o", str(tmp_path), "-t", "vos/*")
    assert told.exit_code == 0, told.output
    assert "rank moves" in told.output
    lines = (tmp_path / "sensitivity.csv").read_text().splitlines()[1:]
    assert [line.split(",")[6] for line in lines] == ["unitrack", "crw"]
    unknown = unibench("sensitivity", "-o", str(tmp_path), "-t", "mot/*")
    assert "no task with results 'mot/*'; there are: vos/synthetic-easy" in unknown.output


def test_a_board_of_two_versions_of_a_protocol_names_rows_and_knobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_run(tmp_path)
    family = FAMILIES["vos"]
    default = family.presets["unitrack"]
    knobs = {**default.knobs, "propagation": {**default.knobs["propagation"], "topk": 5}}
    changed_presets = {**family.presets, "unitrack": replace(default, knobs=knobs, version="2.0")}
    monkeypatch.setitem(FAMILIES, "vos", replace(family, presets=changed_presets))
    changed = ("run", "-m", "hog", "-t", "vos/synthetic-easy", "--frames", "3", "-o", str(tmp_path))
    done = unibench(*changed)
    assert done.exit_code == 2
    told = "@unitrack: hog/hog | lab-colour/pooled differ in propagation.topk (5 | 10), version (2 | 1), expected"
    assert told in done.output
    assert told in unibench("leaderboard", "-o", str(tmp_path)).output


def test_a_checkpoint_without_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    monkeypatch.chdir(tmp_path)
    torch.save(torchvision.models.resnet18().state_dict(), "my.pth")
    done = unibench(
        *("run", "--checkpoint", "my.pth", "--arch", "resnet18", "--save-card", "mine"),
        *("-t", "vos/synthetic-easy", "--frames", "3", "-o", "out"),
    )
    assert done.exit_code == 0, done.output
    assert "mine: 100 of 100 tensors loaded (100.0%)" in done.output
    assert "card written: model_cards/mine.toml" in done.output
    again = unibench(
        *("run", "-m", "mine", "--weights", ".", "-t", "vos/synthetic-easy", "--frames", "3", "-o", "out")
    )
    assert again.exit_code == 0, again.output
    assert "there already" in again.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "resnet", "-t", "vos/synthetic"], "no model card 'resnet'; "),
        (
            ["-m", "hog", "-t", "vos/davis"],
            "no task 'vos/davis'; did you mean 'vos/davis2017' or 'vos/davis2016'",
        ),
        (["-m", "hog", "-t", "vos/synthetic@crv"], "no protocol of 'vos' 'crv'; did you mean 'crw'"),
        (
            ["-m", "hog", "-t", "vos/synthetic@z*"],
            "no protocol of 'vos' 'z*'; there are: box, cropmae, crw, dino",
        ),
        (["-m", "hog", "-t", "vos/nowhere@*"], "no task 'vos/nowhere'; "),
        (["-m", "hog", "-t", "vos/synthetic", "--layers", "layer9"], "no layer of model 'hog' 'layer9'"),
        (["-m", "hog", "-t", "vos/davis2016"], "vos/davis2016: no data folder, expected --data DIR"),
        (["-m", "udt", "-t", "vos/synthetic"], "model 'udt': weights 'udt_vid_unsupervised.pth' not found"),
        (["-m", "no-*", "-t", "vos/synthetic"], "no model card 'no-*'; "),
        (["-t", "vos/synthetic"], "no model; name one with -m"),
        (["-t", "vos/synthetic", "--checkpoint", "x.pth"], "--checkpoint goes with --arch or --like"),
        (["-t", "vos/synthetic", "--checkpoint", "x.pth", "--arch", "resnet18"], "x.pth: no such file"),
        (["-m", "hog", "-t", "mot/synthetic", "--detections", "oracl"], "detections 'oracl': no such folder"),
        (["-m", "hog", "-t", "vos/synthetic", "--device", "gpu"], "no device 'gpu'; "),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = unibench("run", "-o", str(tmp_path), *arguments)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("unibench: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_results_is_an_error(tmp_path: Path) -> None:
    done = unibench("leaderboard", "-o", str(tmp_path))
    assert done.exit_code == 2
    assert "no results, expected " in done.output


@pytest.mark.skipif(
    os.geteuid() == 0, reason="needs a user whom file permissions bind; root may write everywhere"
)
def test_no_permission_to_write_as_a_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written" in tiny_run(tmp_path / "out").output


def test_a_file_in_the_way_of_the_output(tmp_path: Path) -> None:
    (tmp_path / "lab-colour").write_text("in the way")
    done = tiny_run(tmp_path)
    assert done.exit_code == 2
    assert "lab-colour" in done.stderr
    assert done.stderr.count("\n") == 1


def test_data_check_names_what_is_there_missing_and_damaged(tmp_path: Path, shared_data: Path) -> None:
    whole = unibench("data", "check", "--data", str(shared_data))
    assert whole.exit_code == 0, whole.output
    assert "vos/davis2016" in whole.output
    assert "120" in whole.output
    clip = tmp_path / "OTB" / "Couple"
    (clip / "img").mkdir(parents=True)
    (clip / "groundtruth_rect.txt").write_text("1,2,3\n")
    damaged = unibench("data", "check", "--data", str(tmp_path))
    assert damaged.exit_code == 1
    assert "1 unreadable" in damaged.output


def test_damaged_clips_are_named_and_the_others_are_kept(tmp_path: Path, shared_data: Path) -> None:
    import shutil

    data = tmp_path / "data" / "DAVIS2016"
    shutil.copytree(shared_data / "DAVIS2016", data, copy_function=shutil.copyfile)
    frames = data / "JPEGImages" / "480p"
    truncated, missing = sorted((frames / "dog").iterdir())[2], sorted((frames / "libby").iterdir())[1]
    truncated.write_bytes(truncated.read_bytes()[:3000])
    missing.unlink()
    done = unibench(
        *("run", "-m", "lab-colour", "-t", "vos/davis2016", "--data", str(data.parent)),
        *("--frames", "3", "-o", str(tmp_path / "out")),
    )
    assert done.exit_code == 1
    assert "failed: lab-colour vos/davis2016@unitrack dog: " in done.output
    assert "not a whole image" in done.output
    assert "failed: lab-colour vos/davis2016@unitrack libby: " in done.output
    assert "2 of 4 clips failed, the others are kept" in done.output
    assert f"written: {tmp_path / 'out' / 'leaderboard.csv'}" in done.output
