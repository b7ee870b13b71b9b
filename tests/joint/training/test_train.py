"""Trainings that are repeated, resumed, killed, stopped or shared by processes come to the same end."""

import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.joint.training.toy import SQUARES, TOY, ToyConfig, options
from unibench.errors import TrainingError
from unibench.joint import systems
from unibench.joint.system import Batch
from unibench.joint.training import distributed, export
from unibench.joint.training import log as training_log
from unibench.joint.training.config import Stage, TrainOptions, fill
from unibench.joint.training.train import train
from unibench.models import cards

CONFIG = ToyConfig()


def staged(train: TrainOptions, **changes: Any) -> TrainOptions:
    """The same options with another schedule in every stage."""
    return replace(train, stages=tuple(replace(one, **changes) for one in train.stages))


def learn(out: Path, config: ToyConfig = CONFIG, **more: Path) -> Path:
    return train(TOY, config, [SQUARES], out, name="toy", **more)  # type: ignore[arg-type]


def weights(out: Path) -> dict[str, Tensor]:
    return load_file(out / "toy.safetensors")


def log(out: Path) -> dict[str, list[float]]:
    """All but the time that a step took."""
    return {name: column for name, column in training_log.read(out).items() if name != "seconds"}


def assert_same_end(one: Path, other: Path) -> None:
    assert log(one) == log(other)
    assert (one / "toy.safetensors").read_bytes() == (other / "toy.safetensors").read_bytes()


def stopping(at: int) -> object:
    """Losses that fail at a step, as a machine does."""
    done = iter(range(1000))

    def losses(network: nn.Module, batch: Batch, config: ToyConfig, stage: str) -> dict[str, Tensor]:
        if next(done) == at:
            raise MemoryError("out of memory")
        return TOY.losses(network, batch, config, stage)

    return losses


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one uninterrupted training leaves."""
    out = tmp_path_factory.mktemp("whole")
    learn(out)
    return out


def test_it_learns(whole: Path) -> None:
    read = log(whole)
    assert list(read) == ["step", "lr", "loss", "corner", "end", "gradient"]
    assert read["step"] == list(range(60))
    assert np.mean(read["loss"][-10:]) < 0.25 * np.mean(read["loss"][:5])
    np.testing.assert_allclose(read["loss"], np.add(read["corner"], read["end"]), rtol=1e-6)


def test_the_same_training_twice_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    torch.manual_seed(17)  # nothing of the caller's comes in
    before = torch.get_rng_state()
    learn(tmp_path)
    assert_same_end(whole, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_another_training(whole: Path, tmp_path: Path) -> None:
    learn(tmp_path, replace(CONFIG, train=replace(CONFIG.train, seed=1)))
    assert log(tmp_path)["loss"] != log(whole)["loss"]


@pytest.mark.parametrize("at", [3, 10, 37])
def test_a_training_that_failed_goes_on_to_the_same_end(whole: Path, tmp_path: Path, at: int) -> None:
    failing = replace(TOY, losses=stopping(at))
    with pytest.raises(MemoryError, match="out of memory"):
        train(failing, CONFIG, [SQUARES], tmp_path, name="toy")
    assert len(log(tmp_path)["step"]) == at
    with (tmp_path / training_log.FILE).open("a") as stream:
        stream.write("99,0.1,0.")  # what a process that dies may leave
    learn(tmp_path)
    assert_same_end(whole, tmp_path)


def test_a_finished_training_is_left_as_it_is(whole: Path, tmp_path: Path) -> None:
    learn(tmp_path)
    log_before = (tmp_path / training_log.FILE).read_bytes()
    learn(tmp_path)
    assert (tmp_path / training_log.FILE).read_bytes() == log_before
    assert_same_end(whole, tmp_path)


def toy_command(out: Path, steps: int, batch: int, dropout: float, optimizer: str = "adamw") -> list[str]:
    return ["-m", "tests.joint.training.toy", str(out), str(steps), str(batch), str(dropout), optimizer]


def test_a_killed_training_goes_on_to_the_same_end(tmp_path: Path) -> None:
    steps = 150
    rows = int(np.random.default_rng().integers(1, steps // 2))
    with subprocess.Popen([sys.executable, *toy_command(tmp_path / "killed", steps, 4, 0.2)]) as worker:
        path = tmp_path / "killed" / training_log.FILE
        while not path.is_file() or path.read_bytes().count(b"\n") <= rows:
            assert worker.poll() is None, "it was done before it was killed"
            time.sleep(0.002)
        worker.send_signal(signal.SIGKILL)
    print(f"killed after {len(path.read_bytes().splitlines()) - 1} of {steps} steps")
    assert not (tmp_path / "killed" / "toy.toml").exists()
    config = ToyConfig(options(steps))
    learn(tmp_path / "killed", config)
    learn(tmp_path / "whole", config)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")
    logs = [(tmp_path / name / training_log.FILE).read_bytes() for name in ("whole", "killed")]
    assert logs[0] == logs[1]


def test_another_config_is_refused_in_one_line(tmp_path: Path) -> None:
    learn(tmp_path)
    changed = replace(CONFIG, train=staged(CONFIG.train, rate=0.5))
    with pytest.raises(
        TrainingError,
        match=r"checkpoint\.pt: made with config\.train\.stages\[0\]\.rate = 0\.01, found 0\.5; repeat .* -o$",
    ):
        learn(tmp_path, changed)


def test_other_data_and_another_start_are_refused(whole: Path, tmp_path: Path) -> None:
    learn(tmp_path)
    fewer = replace(SQUARES, images=SQUARES.images[:7])
    with pytest.raises(TrainingError, match=r"made with data\.squares = 30, found 7"):
        train(TOY, CONFIG, [fewer], tmp_path, name="toy")
    with pytest.raises(TrainingError, match=r"made with pretrained = null, found "):
        learn(tmp_path, pretrained=whole / "toy.safetensors")


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flip(data: bytes) -> bytes:
    """Change one bit in the midst of the tensors."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda data: b"", lambda data: b"junk" * 100])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, damage: object) -> None:
    learn(tmp_path)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(
        TrainingError, match=r"^\S+checkpoint\.pt: not a readable checkpoint \(.+\); delete it .*$"
    ):
        learn(tmp_path)


def test_a_checkpoint_of_another_network_is_one_line(tmp_path: Path) -> None:
    learn(tmp_path)
    other = replace(TOY, build=lambda config: nn.Sequential(nn.Flatten(), nn.Linear(768, 4)))
    with pytest.raises(
        TrainingError, match=r"^\S+checkpoint\.pt: not a readable checkpoint \(.+\); delete it .*$"
    ):
        train(other, CONFIG, [SQUARES], tmp_path, name="toy")


def test_a_checkpoint_that_would_run_code_is_not_read(tmp_path: Path) -> None:
    learn(tmp_path)
    torch.save({"step": Path("/")}, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        learn(tmp_path)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"optimizer": "sgd"}, r"step \d+: (loss|norm of the gradient) is (inf|nan)"),
        ({"optimizer": "sgd", "precision": "bfloat16"}, r"step \d+: .* is (inf|nan)"),
    ],
)
def test_a_loss_that_is_no_number_keeps_the_last_checkpoint(
    tmp_path: Path, changes: dict[str, object], found: str
) -> None:
    config = ToyConfig(replace(staged(CONFIG.train, rate=1e15), checkpoint=1, **changes))  # type: ignore[arg-type]
    with pytest.raises(
        TrainingError, match=rf"^{found}; the last checkpoint is kept: lower train\.rate, .*$"
    ):
        learn(tmp_path, config)
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert 0 < saved["step"] < 60
    assert all(one.isfinite().all() for one in saved["states"]["network"].values())
    with pytest.raises(TrainingError, match=found):  # the same command, the same line
        learn(tmp_path, config)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_learns_and_keeps_float32_parameters(tmp_path: Path, precision: str) -> None:
    config = ToyConfig(replace(CONFIG.train, precision=precision))
    learn(tmp_path, config)
    read = log(tmp_path)
    assert np.mean(read["loss"][-10:]) < 0.25 * np.mean(read["loss"][:5])
    assert all(one.dtype == torch.float32 for one in weights(tmp_path).values())
    assert len({np.float32(one) for one in read["loss"]}) > 30  # terms are summed in float32


def test_float16_resumes_with_its_scale(tmp_path: Path) -> None:
    config = ToyConfig(replace(CONFIG.train, precision="float16"))
    learn(tmp_path / "whole", config)
    with pytest.raises(MemoryError, match="out of memory"):
        train(replace(TOY, losses=stopping(25)), config, [SQUARES], tmp_path / "again", name="toy")
    learn(tmp_path / "again", config)
    assert_same_end(tmp_path / "whole", tmp_path / "again")


def test_the_gradient_is_clipped(tmp_path: Path) -> None:
    slow = replace(staged(CONFIG.train, rate=1.0, steps=1), optimizer="sgd", momentum=0.0)
    torch.manual_seed(0)
    start = TOY.build(CONFIG).state_dict()
    length = {}
    for clip in (0.0, 0.01):
        learn(tmp_path / str(clip), ToyConfig(replace(slow, clip=clip)))
        moved = [value - start[name] for name, value in weights(tmp_path / str(clip)).items()]
        length[clip] = torch.cat([one.flatten() for one in moved]).norm().item()
    assert length[0.0] == pytest.approx(log(tmp_path / "0.0")["gradient"][0], rel=1e-4)
    assert length[0.01] == pytest.approx(0.01, rel=1e-3)


def test_a_training_begins_with_the_pretrained_weights(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn(tmp_path, pretrained=whole / "toy.safetensors")
    assert log(tmp_path)["loss"][0] < 0.2 * log(whole)["loss"][0]
    assert "4 of 4 tensors" in capsys.readouterr().err.replace("\n", " ")


def test_the_card_is_read_and_its_network_built(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(systems.SYSTEMS, "toy", "tests.joint.training.toy")
    card = cards.read(whole / "toy.toml")
    assert (card.kind, card.architecture.name, card.pretraining.data) == ("joint", "toy", "squares")
    assert card.architecture.parameters == sum(one.numel() for one in weights(whole).values())
    name, table = export.metadata(whole / "toy.safetensors")
    assert name == "toy"
    assert fill(table, TOY, "metadata") == CONFIG
    system, config, network = systems.build(card, whole / "toy.safetensors")
    assert system is TOY
    assert config == CONFIG
    assert all(torch.equal(value, weights(whole)[key]) for key, value in network.state_dict().items())


def test_wrong_classes_and_no_images_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match=r"data 'squares': classes disc, expected square as the config says"
    ):
        train(TOY, CONFIG, [replace(SQUARES, classes=("disc",))], tmp_path, name="toy")
    with pytest.raises(TrainingError, match="no annotated image to learn from"):
        train(TOY, CONFIG, [replace(SQUARES, images=[])], tmp_path, name="toy")


def test_folders_and_devices_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"file/out: cannot be made \(Not a directory\)"):
        learn(tmp_path / "file" / "out")
    with pytest.raises(TrainingError, match=r"device 'nonsense': cannot be used"):
        train(TOY, CONFIG, [SQUARES], tmp_path, name="toy", device="nonsense")
    (tmp_path / training_log.FILE).mkdir()
    with pytest.raises(TrainingError, match=r"log\.csv: cannot be written"):
        learn(tmp_path)


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt.part").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: cannot be written \(.+\); make room"):
        learn(tmp_path)


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_the_whole_batch(tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launcher, *toy_command(tmp_path / "two", 40, 4, 0.0, "sgd")], check=True, timeout=200)
    config = ToyConfig(options(40, optimizer="sgd"), dropout=0.0)
    learn(tmp_path / "one", config)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    torch.manual_seed(0)
    start = TOY.build(config).state_dict()
    for name, value in one.items():
        assert (value - two[name]).abs().max() < 1e-5
        assert (value - start[name]).abs().max() > 1e-3, "nothing was learnt"
    np.testing.assert_allclose(log(tmp_path / "one")["loss"], log(tmp_path / "two")["loss"], atol=1e-5)
    with pytest.raises(TrainingError, match=r"made with processes = 2, found 1"):
        learn(tmp_path / "two", config)


def test_processes_that_cannot_meet_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "nowhere.invalid"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(
        TrainingError, match=r"^process 0 of 2: cannot join the others \(.+\); start with torchrun$"
    ):
        learn(tmp_path)


def test_a_batch_that_processes_cannot_share_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = distributed.ProcessGroup(0, 3, torch.device("cpu"))
    monkeypatch.setattr(distributed, "process_group", lambda device: nullcontext(three))
    with pytest.raises(TrainingError, match=r"train\.batch is 4, expected a multiple of the 3 processes"):
        learn(tmp_path)


def in_stages() -> ToyConfig:
    """All learn, with an average; then the last layer alone, from the averaged weights."""
    stages = (
        Stage("all", 20, 0.01, warmup=5, warmup_power=2, ema=0.9, floor=0.1, flat=3),
        Stage("last", 15, 0.01, learnt=("4",)),
    )
    return ToyConfig(TrainOptions(stages, 2, accumulate=2, optimizer="adamw", checkpoint=6))


@pytest.fixture(scope="module")
def whole_stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stages")
    learn(out, in_stages())
    return out


@pytest.mark.parametrize("at", [7, 38, 40, 41, 57])
def test_a_training_in_stages_goes_on_to_the_same_end(whole_stages: Path, tmp_path: Path, at: int) -> None:
    """Two batches a step: it fails within a stage, in its last step, and in the first ones of the next."""
    with pytest.raises(MemoryError, match="out of memory"):
        train(replace(TOY, losses=stopping(at)), in_stages(), [SQUARES], tmp_path, name="toy")
    learn(tmp_path, in_stages())
    assert_same_end(whole_stages, tmp_path)
    logs = [(out / training_log.FILE).read_bytes() for out in (whole_stages, tmp_path)]
    assert logs[0] == logs[1]


def test_what_does_not_learn_in_a_stage_stays_bit_identical(whole_stages: Path, tmp_path: Path) -> None:
    """The averaged weights of the first stage go on; in the second only the last layer changes."""
    config = in_stages()
    with pytest.raises(MemoryError, match="out of memory"):
        train(replace(TOY, losses=stopping(40)), config, [SQUARES], tmp_path, name="toy")
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert saved["step"] == 20
    first, end = saved["states"]["network"], weights(whole_stages)
    assert all(torch.equal(first[name], saved["states"]["mean"][name]) for name in first)
    changed = {name for name in first if not torch.equal(first[name], end[name])}
    assert changed == {"4.weight", "4.bias"}
