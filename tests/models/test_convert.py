"""Conversion: BYOL's Haiku pickle becomes a torchvision ResNet, and no code in it is run."""

import io
import pickle
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors import SafetensorError
from timm.models.resnet import Bottleneck, ResNet

from unibench.errors import OutputError, WeightsError
from unibench.models import convert, pickles, weights
from unibench.models.cards import Weights


class FlatMapping:
    """Pickles as Haiku's mapping does."""

    def __init__(self, held: dict) -> None:
        self.held = held

    def __reduce__(self) -> tuple:
        return FlatMapping, (self.held,)


class ScaleByLarsState:
    """An object of the optimiser, with a state of its own."""

    def __init__(self, step: int) -> None:
        self.step = step


def _create_namedtuple(name: str, fields: tuple, module: str) -> None:
    """Stands for dill's function; is only referred to."""


State = namedtuple("State", convert.FIELDS)
HOMES = {
    FlatMapping: "haiku._src.data_structures",
    ScaleByLarsState: "byol.utils.optimizers",
    _create_namedtuple: "dill._dill",
}


class Dill(pickle.Pickler):
    """Pickles classes of named tuples by value, as dill does."""

    def reducer_override(self, thing: Any) -> Any:
        if thing is State:
            return _create_namedtuple, ("_ByolExperimentState", convert.FIELDS, "byol.byol_experiment")
        return NotImplemented


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the time of writing, our classes live in the packages that wrote BYOL's files."""
    for thing, module in HOMES.items():
        monkeypatch.setattr(thing, "__module__", module)
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            home = sys.modules.get(name) or ModuleType(name)
            monkeypatch.setitem(sys.modules, name, home)
            setattr(home, thing.__name__, thing)


def network() -> torch.nn.Module:
    return ResNet(Bottleneck, [2, 1, 1, 1], channels=(8, 8, 8, 8), num_classes=5)


def haiku(name: str) -> tuple[str, str]:
    """Haiku's module and parameter of one of torchvision's names."""
    module, _, leaf = name.rpartition(".")
    parts = module.split(".")
    kind = "conv" if parts[-1].startswith("conv") or parts[-2:] == ["downsample", "0"] else "batchnorm"
    if len(parts) == 1:
        where = f"initial_{kind}"
    else:
        last = f"shortcut_{kind}" if "downsample" in parts else f"{kind}_{int(parts[2][-1]) - 1}"
        where = f"block_group_{int(parts[0][-1]) - 1}/~/block_{parts[1]}/~/{last}"
    where = f"res_net50/~/{where}"
    if leaf in ("running_mean", "running_var"):
        return f"{where}/~/{leaf.removeprefix('running_')}_ema", "average"
    return where, "w" if kind == "conv" else "scale" if leaf == "weight" else "offset"


def layout(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What BYOL's training code pickles; the stem comes last, as names are sorted."""
    parameters: dict[str, dict[str, np.ndarray]] = {
        "projector/linear": {"w": np.ones((4, 4), np.float32), "b": np.ones(4, np.float32)},
        "projector/batch_norm": {"scale": np.ones((1, 4), np.float32), "offset": np.ones((1, 4), np.float32)},
        "classifier": {"w": np.ones((4, 5), np.float32)},
    }
    moments: dict[str, dict[str, np.ndarray]] = {
        "projector/batch_norm/~/mean_ema": {"average": np.ones((1, 4), np.float32)},
    }
    for name, value in state.items():
        if name.startswith("fc.") or name.endswith("num_batches_tracked"):
            continue
        module, leaf = haiku(name)
        array = value.numpy()
        if leaf == "w":
            parameters.setdefault(module, {})[leaf] = array.transpose(2, 3, 1, 0)
        elif leaf == "average":
            hidden = {"hidden": array.reshape(1, 1, 1, -1), "counter": np.int32(9)}
            moments[module] = {leaf: array.reshape(1, 1, 1, -1), **hidden}
        else:
            parameters.setdefault(module, {})[leaf] = array.reshape(1, 1, 1, -1)

    def mapping(modules: dict[str, dict[str, np.ndarray]]) -> FlatMapping:
        return FlatMapping({name: FlatMapping(modules[name]) for name in sorted(modules)})

    wrong = mapping({"res_net50/~/initial_conv": {"w": np.zeros((7, 7, 3, 64), np.float32)}})
    online, moving = mapping(parameters), mapping(moments)
    return {"experiment_state": State(online, wrong, moving, wrong, ScaleByLarsState(3)), "step": 300_000,
            "rng": np.array([0, 7], np.uint32)}  # fmt: skip


def written(path: Path, thing: object) -> Path:
    stream = io.BytesIO()
    Dill(stream, protocol=2).dump(thing)
    path.write_bytes(stream.getvalue())
    return path


def filled() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    return {
        name: torch.rand(value.shape, generator=random) if value.is_floating_point() else value
        for name, value in network().state_dict().items()
    }


@pytest.fixture
def checkpoint(elsewhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = written(tmp_path / "pretrain_res50x1.pkl", layout(filled()))
    monkeypatch.undo()
    assert "haiku" not in sys.modules
    return path


def test_byol_becomes_a_torchvision_network(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "byol.safetensors"
    count = convert.convert("byol", checkpoint, target)
    assert [one.name for one in target.parent.iterdir()] == ["byol.safetensors"]
    other = network()
    report = weights.fit_file(other, target, Weights(source="file:x"), ("fc.",))
    assert (report.share, report.left_over, len(report.loaded)) == (1.0, (), count)
    state = filled()
    for name in report.loaded:
        assert torch.equal(other.state_dict()[name], state[name]), name


def test_a_class_by_reference_is_read_as_well(elsewhere: None, tmp_path: Path) -> None:
    """Without dill, the state's class is only named; its fields are known."""
    content = layout(filled())
    values = tuple(content["experiment_state"])
    opcodes = (
        b"\x80\x02cbyol.byol_experiment\n_ByolExperimentState\n" + pickle.dumps(values, 2)[2:-1] + b"\x81."
    )
    (tmp_path / "x.pkl").write_bytes(opcodes)
    loaded = convert._unpickle(tmp_path / "x.pkl")
    assert list(loaded) == list(convert.FIELDS)


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


class Posix:
    def __reduce__(self) -> tuple:
        return eval, ("1",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_by_name_and_not_run(tmp_path: Path, protocol: int) -> None:
    content = {"experiment_state": Evil(tmp_path / "harm")}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(
        WeightsError, match=r"x\.pkl: a pickle that holds more .*it asks for (pathlib|builtins|__builtin__)"
    ):
        convert.convert("byol", tmp_path / "x.pkl", tmp_path / "x.safetensors")
    (tmp_path / "y.pkl").write_bytes(pickle.dumps({"step": Posix()}, protocol))
    with pytest.raises(WeightsError, match=r"y\.pkl: .*it asks for builtins\.eval"):
        convert.convert("byol", tmp_path / "y.pkl", tmp_path / "y.safetensors")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["x.pkl", "y.pkl"]


def test_dills_own_functions_do_nothing(tmp_path: Path) -> None:
    """dill can run code by functions of its own: here they are stand-ins."""
    code = b"\x80\x02cdill._dill\n_eval_repr\nX\x0a\x00\x00\x00open('x',1)\x85R."
    (tmp_path / "x.pkl").write_bytes(
        code.replace(b"\x0a\x00\x00\x00", len("open('x',1)").to_bytes(4, "little"))
    )
    assert isinstance(convert._unpickle(tmp_path / "x.pkl"), pickles.StandIn)


def test_other_layouts_and_damage_are_named(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.safetensors"
    with pytest.raises(WeightsError, match=r"none\.pkl: no such file"):
        convert.convert("byol", tmp_path / "none.pkl", target)
    (tmp_path / "cut.pkl").write_bytes(checkpoint.read_bytes()[:999])
    with pytest.raises(WeightsError, match=r"cut\.pkl: not a readable pickle of arrays"):
        convert.convert("byol", tmp_path / "cut.pkl", target)
    (tmp_path / "flat.pkl").write_bytes(pickle.dumps({"w": np.ones(3)}))
    with pytest.raises(WeightsError, match=r"flat\.pkl: no experiment_state with online_params"):
        convert.convert("byol", tmp_path / "flat.pkl", target)
    odd = {
        "experiment_state": {"online_params": {"initial_conv": {"w": np.ones((2, 2))}}, "online_state": {}}
    }
    (tmp_path / "odd.pkl").write_bytes(pickle.dumps(odd))
    with pytest.raises(WeightsError, match=r"odd\.pkl: parameters of another kind \(axes don't match"):
        convert.convert("byol", tmp_path / "odd.pkl", target)
    with pytest.raises(OutputError, match=r"x\.pth: expected a name that ends in \.safetensors"):
        convert.convert("byol", checkpoint, tmp_path / "x.pth")


@pytest.mark.parametrize("lost", ["conv1.weight", "layer1.0.bn2.running_var", "layer3.0.conv2.weight"])
def test_a_network_that_lacks_something_is_refused(elsewhere: None, tmp_path: Path, lost: str) -> None:
    state = {name: value for name, value in filled().items() if name != lost}
    path = written(tmp_path / "x.pkl", layout(state))
    with pytest.raises(WeightsError, match=r"x\.pkl: \d+ parameters of a ResNet found, expected a stem and"):
        convert.convert("byol", path, tmp_path / "x.safetensors")


def test_what_is_written_is_plain(checkpoint: Path, tmp_path: Path) -> None:
    convert.convert("byol", checkpoint, tmp_path / "x.safetensors")
    arrays = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    assert arrays["conv1.weight"].shape == (64, 3, 7, 7)
    assert {value.dtype for value in arrays.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("I/O error")])
def test_a_full_disk_leaves_the_file_that_was_there(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(tensors: object, target: Path) -> None:
        target.write_bytes(b"half")
        raise error

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    folder = tmp_path / "to"
    folder.mkdir()
    (folder / "x.safetensors").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"x\.safetensors: cannot be written"):
        convert.convert("byol", checkpoint, folder / "x.safetensors")
    assert [(one.name, one.read_bytes()) for one in folder.iterdir()] == [("x.safetensors", b"old")]
