"""Files are known by their content; what lies beside the tensors is data, or becomes a stand-in, and nothing is run."""

import argparse
import collections
import datetime
import enum
import functools
import gzip
import pathlib
import pickle
import random
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from unibench.errors import WeightsError
from unibench.models import checkpoints

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3)}


class Colour(enum.Enum):
    RED = 1


class Meter:
    """As training scripts define it; its module is not imported when the file is read."""

    def __init__(self) -> None:
        self.history = collections.deque([1.0], maxlen=3)


def elsewhere(module: str, name: str) -> Any:
    """An object whose class is found under another module's name while it is pickled, and not after."""
    made = types.ModuleType(module)
    kind = type(name, (dict,), {"__module__": module})
    setattr(made, name, kind)
    for depth in range(1, module.count(".") + 2):
        sys.modules[".".join(module.split(".")[:depth])] = made
    thing = kind(lr=0.1)
    thing.extra = 3
    return thing


FOREIGN = [
    ("mmengine.logging.history_buffer", "HistoryBuffer"),
    ("omegaconf.dictconfig", "DictConfig"),
    ("yacs.config", "CfgNode"),
    ("pytorch_lightning.utilities.parsing", "AttributeDict"),
    ("addict.addict", "Dict"),
]
BESIDE: dict[str, Callable[[], Any]] = {
    "arrays": lambda: {
        "rng": np.random.MT19937(0).state,
        "history": np.zeros(3),
        "names": np.array(["x"], dtype=object),
    },
    "generator": lambda: np.random.default_rng(0),
    "python's random state": random.getstate,
    "torch's": lambda: [torch.get_rng_state(), torch.device("cuda:0"), torch.bfloat16, torch.Size([1])],
    "paths": lambda: argparse.Namespace(data=pathlib.PosixPath("/data"), out=pathlib.PurePosixPath("x")),
    "collections": lambda: [
        collections.defaultdict(dict, {0: {}}),
        collections.Counter("ab"),
        {1, 2},
        frozenset([3]),
    ],
    "times": lambda: [datetime.datetime.now(datetime.UTC), datetime.timedelta(1)],
    "namespace": lambda: types.SimpleNamespace(a=1),
    "partial": lambda: functools.partial(nn.LayerNorm, eps=1e-6),
    "numbers": lambda: [np.bool_(True), np.str_("x"), np.float16(1), np.dtype("f8"), 3 + 2j, slice(1)],
    "enumeration": lambda: Colour.RED,
    "classes": lambda: [Meter(), nn.ReLU(), torch.optim.SGD([torch.ones(1)], lr=0.1)],
    **{f"{module}.{name}": functools.partial(elsewhere, module, name) for module, name in FOREIGN},
}


@pytest.mark.parametrize("what", BESIDE)
@pytest.mark.parametrize("new", [True, False])
def test_what_lies_beside_the_tensors_does_not_matter(tmp_path: Path, what: str, new: bool) -> None:
    before = set(sys.modules)
    content = {"epoch": 3, "state_dict": collections.OrderedDict(TENSORS), "beside": BESIDE[what]()}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
    for name in set(sys.modules) - before:
        del sys.modules[name]
    found = checkpoints.read(tmp_path / "x.pth")["state_dict"]
    assert all(torch.equal(found[name], value) for name, value in TENSORS.items())


def written(path: Path, kind: str) -> None:
    if kind == "safetensors":
        safetensors.torch.save_file(TENSORS, path)
    elif kind == "npz":
        with path.open("wb") as stream:
            np.savez(stream, **{name: value.numpy() for name, value in TENSORS.items()})
    elif kind == "Detectron2":
        arrays = {name: value.numpy() for name, value in TENSORS.items()}
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "x", "matching_heuristics": True}))
    else:
        torch.save(TENSORS, path, _use_new_zipfile_serialization=kind == "torch")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz", ".pkl", ""])
@pytest.mark.parametrize("kind", ["safetensors", "npz", "Detectron2", "torch", "torch before 1.6"])
def test_a_file_is_known_by_its_content(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    written(path, kind)
    found = checkpoints.read(path)["model" if kind == "Detectron2" else ""]
    assert all(torch.equal(found[name], value) for name, value in TENSORS.items())


def scripted(path: Path) -> None:
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.jit.script(nn.Linear(2, 2)).save(path)


OTHERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "TorchScript": (scripted, r"a TorchScript archive.*torch\.jit\.load\('.*x\.pth'\)\.state_dict\(\)"),
    "web page": (
        lambda path: path.write_text("\n<!DOCTYPE html><html>Sign in</html>"),
        "a web page, not weights",
    ),
    "LFS": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0"),
        "git lfs pull",
    ),
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"x")), "a gzip file; unpack it"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64)), "an HDF5 file"),
    "npy": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00" + bytes(64)), "one NumPy array"),
    "zip": (lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "x"), r"a zip archive of a\.txt"),
    "whole network": (
        lambda path: torch.save(nn.Linear(2, 2), path),
        r"no tensors \(found: an object of a class",
    ),
    "empty": (lambda path: path.write_bytes(b""), "not a readable checkpoint"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_formats_are_named_in_one_line(tmp_path: Path, kind: str) -> None:
    write, told = OTHERS[kind]
    write(tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=rf"x\.pth: [^\n]*{told}[^\n]*$"):
        checkpoints.read(tmp_path / "x.pth")


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_a_flipped_byte_is_found(tmp_path: Path, place: float) -> None:
    torch.save({"a": torch.rand(100, 100)}, tmp_path / "x.pth")
    content = bytearray((tmp_path / "x.pth").read_bytes())
    content[int(len(content) * place)] ^= 1
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(
        WeightsError, match=r"truncated or damaged \(the checksum of .*data/0' in it is wrong\)"
    ):
        checkpoints.read(tmp_path / "x.pth")


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("torch_file", [True, False])
@pytest.mark.parametrize("function", [exec, eval, __import__, compile, pathlib.Path.touch, breakpoint, open])
def test_a_function_of_the_library_is_refused_by_name(
    tmp_path: Path, function: Any, torch_file: bool, protocol: int
) -> None:
    content = {
        "state_dict": {"a": torch.ones(1).numpy()},
        "x": Call(function, f"open({str(tmp_path / 'harm')!r}, 'w')"),
    }
    if torch_file:
        torch.save(content, tmp_path / "x.pth", pickle_protocol=max(protocol, 2))
    else:
        (tmp_path / "x.pth").write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(
        WeightsError, match=r"could run code \(it asks for (builtins|io|_io|pathlib)\.[\w.]+\); convert it"
    ):
        checkpoints.read(tmp_path / "x.pth")
    assert not (tmp_path / "harm").exists()


def test_a_function_of_another_package_is_not_called(tmp_path: Path) -> None:
    content = {"state_dict": TENSORS, "x": Call(np.savetxt, str(tmp_path / "harm"), [1.0])}
    torch.save(content, tmp_path / "x.pth")
    assert list(checkpoints.read(tmp_path / "x.pth")) == ["state_dict"]
    assert not (tmp_path / "harm").exists()


def test_a_pickle_cannot_change_what_reads_it(tmp_path: Path) -> None:
    """BUILD writes attributes: it must reach neither the functions that make tensors nor NumPy's own types."""
    code = (
        b"\x80\x02}(X\x01\x00\x00\x00acnumpy.core.multiarray\n_reconstruct\n}X\x0c\x00\x00\x00__defaults__K\x01sb"
        b"X\x01\x00\x00\x00bcnumpy\ndtype\n(X\x02\x00\x00\x00f8K\x00K\x00tR(K\x03X\x01\x00\x00\x00>NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tbu."
    )
    (tmp_path / "x.pkl").write_bytes(code)
    with pytest.raises(WeightsError, match="no tensors"):
        checkpoints.read(tmp_path / "x.pkl")
    assert np.dtype("f8").byteorder == "="


def test_fifos_loops_and_folders_are_no_files(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("fifo", "loop", "."):
        with pytest.raises(WeightsError, match="no such file"):
            checkpoints.read(tmp_path / name)
