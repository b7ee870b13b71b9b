"""Checkpoint files, known by their content and read as data: no code in them is run."""

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unibench.errors import WeightsError
from unibench.models import pickles
from unibench.models.pickles import MAKERS, Maker, StandIn, Unpickler

CONTAINERS = ("", "state_dict", "model", "teacher", "student", "module", "resnet", "network", "net")
"""Where tensors usually lie, the preferred first; any other place in a file is searched after these."""
DEPTH = 3
"""Levels of containers in containers."""
TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""What a torch file of the format before 1.6 begins with, after the pickle's own header."""
FOREIGN = {
    b"\x89HDF": "an HDF5 file (Keras); convert it to safetensors",
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"BZh": "a bzip2 file; unpack it first",
    b"\xfd7zXZ": "an xz file; unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd file; unpack it first",
    b"7z\xbc\xaf": "a 7z file; unpack it first",
    b"Rar!": "a rar file; unpack it first",
    b"GGUF": "a GGUF file of a language model; give a checkpoint of a vision network",
    b"\x93NUMPY": "one NumPy array (npy); save names and arrays with numpy.savez",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself: git lfs pull",
}
"""First bytes of formats that are not read -> what they are."""


def read(path: Path, container: str = "") -> dict[str, dict[str, Tensor]]:
    """Read a checkpoint without running any code in it; its name says nothing, its content is looked at.

    Args:
        path: A torch file, safetensors, an npz, or a pickle of arrays (Detectron2).
        container: Dotted path of keys to the tensors; empty: wherever there are any.

    Returns:
        Dotted path of a container -> names and tensors in it, the usual ones first; an empty path: the file itself.

    Raises:
        WeightsError: The file is missing, damaged, of another format, asks for code, or holds no tensors there.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; say where the weights are with --weights or --checkpoint")
    loaded = _load(path)
    found = dict(_containers(loaded))
    if container and container not in found:
        raise WeightsError(
            f"{path}: no tensors in {container!r}, but in {_list(found)}; correct weights.container"
        )
    if not found:
        if isinstance(loaded, StandIn):
            held = "an object of a class that is not imported, a whole network?"
        else:
            held = _list(loaded) if isinstance(loaded, Mapping) else type(loaded).__name__
        raise WeightsError(
            f"{path}: no tensors (found: {held}), expected names and tensors, flat or in a container; "
            "save model.state_dict()"
        )
    return {container: found[container]} if container else _preferred_first(found)


def _list(names: Mapping[Any, object]) -> str:
    return ", ".join(str(name)[:100] or "the file itself" for name in list(names)[:5]) or "nowhere"


def _containers(
    loaded: object, path: str = "", depth: int = DEPTH
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping from names to tensors or arrays, outer ones first."""
    if isinstance(loaded, (list, tuple)) and not path:  # (state_dict, epoch)
        loaded = {str(place): value for place, value in enumerate(loaded[:100])}
    if not isinstance(loaded, Mapping) or not depth:
        return
    named = {name: value for name, value in loaded.items() if isinstance(name, str)}
    tensors = {name: one for name, value in named.items() if (one := _tensor(value)) is not None}
    if tensors:
        yield path, tensors
    for name, value in named.items():
        yield from _containers(value, f"{path}.{name}" if path else name, depth - 1)


def _tensor(value: object) -> Tensor | None:
    """A tensor as it is, or one of an array's numbers; None: it is neither."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in "bifc":
        native = np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
        try:
            return torch.from_numpy(native)
        except TypeError:  # float128
            return None
    return None


def _preferred_first(found: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    known = [name for name in CONTAINERS if name in found]
    return {name: found[name] for name in dict.fromkeys([*known, *found])}


def _load(path: Path) -> object:
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
        size = path.stat().st_size
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); give a file that can") from error
    if head.startswith(b"PK\x03\x04"):
        return _read_zip(path)
    if size > 8 and head[8:9] == b"{" and 0 < int.from_bytes(head[:8], "little") <= size - 8:
        return _read_safetensors(path)
    if (told := what(head)) is not None:
        raise WeightsError(f"{path}: {told}")
    if TORCH_MAGIC in head[:32]:
        return _read_torch(path)
    return _read_pickle(path)


def what(head: bytes) -> str | None:
    """Say what a file is that is no checkpoint.

    Args:
        head: Its first bytes.

    Returns:
        What it is and what to do; None: it may be a checkpoint.
    """
    for start, told in FOREIGN.items():
        if head.startswith(start):
            return told
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it first"
    if b"pytorch" in head[:32] and head[:1] == b"\x08":
        return "an ONNX network; save the state_dict() of the network that it was made from"
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml", b"<body")):
        return "a web page, not weights (the answer of a proxy or a login page?); fetch the file again"
    return None


def _damaged(path: Path, reason: object, kind: str = "checkpoint") -> WeightsError:
    line = next(iter(str(reason).splitlines()), "") or type(reason).__name__
    return WeightsError(
        f"{path}: not a readable {kind}, truncated or damaged ({line[:200]}); fetch or save it again"
    )


def _read_zip(path: Path) -> object:
    """Read what torch or NumPy packs, when its checksums are right."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            wrong = archive.testzip()
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, NotImplementedError, EOFError) as error:
        raise _damaged(path, error) from error
    except Exception as error:  # zlib's own
        raise _damaged(path, error) from error
    if wrong is not None:
        raise _damaged(path, f"the checksum of {wrong!r} in it is wrong")
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        raise WeightsError(
            f"{path}: a TorchScript archive, which holds code; where you trust it: "
            f"torch.save(torch.jit.load({str(path)!r}).state_dict(), 'new.pth')"
        )
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return _read_torch(path)
    if names and all(name.endswith(".npy") for name in names):
        return _read_npz(path)
    raise WeightsError(
        f"{path}: a zip archive of {_list(dict.fromkeys(names))}, expected a checkpoint; unpack it"
    )


def _read_npz(path: Path) -> object:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (*pickles.DAMAGE, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{path}: an npz that holds more than arrays of numbers ({str(error).splitlines()[0]}); "
            "save names and arrays with numpy.savez"
        ) from error


def _read_torch(path: Path) -> object:
    """Read a torch file; where there are other objects beside the tensors, these become stand-ins."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unusual pickles: read or refused
        try:
            with path.open("rb") as stream:  # given a path, torch goes by its suffix
                return torch.load(stream, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            pass
        except Exception as error:
            raise _damaged(path, error) from error
        kind = pickles.reader(_Torch, str(path))
        module = SimpleNamespace(
            Unpickler=kind,
            load=lambda stream, **_: kind(stream).load(),
            __name__="unibench.models.pickles",
        )
        try:  # every name in the file is looked up by that reader, and TorchScript never comes here
            with path.open("rb") as stream:
                return torch.load(stream, map_location="cpu", weights_only=False, pickle_module=module)
        except WeightsError:
            raise
        except Exception as error:
            raise _damaged(path, error) from error


def _read_pickle(path: Path) -> object:
    try:
        with path.open("rb") as stream:
            return pickles.reader(_Torch, str(path))(stream).load()
    except pickles.DAMAGE as error:
        raise _damaged(path, error) from error


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, MemoryError) as error:
        raise _damaged(path, error, "safetensors file") from error


def _rebuilt(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Any:
    return torch._utils._rebuild_tensor(storage, offset, size, stride)  # type: ignore[no-untyped-call]


def _retyped(make: Any, _: Any, arguments: Any, __: Any = None) -> Any:
    """A tensor of a subclass, as a plain tensor."""
    return make(*arguments)


_UTILS = "torch._utils"
TORCH: dict[tuple[str, str], Any] = {
    (_UTILS, "_rebuild_tensor"): Maker(_rebuilt),
    (_UTILS, "_rebuild_tensor_v2"): Maker(_rebuilt),
    (_UTILS, "_rebuild_tensor_v3"): Maker(torch._utils._rebuild_tensor_v3),
    (_UTILS, "_rebuild_parameter"): Maker(lambda data, *_: data),
    (_UTILS, "_rebuild_parameter_with_state"): Maker(lambda data, *_: data),
    (_UTILS, "_rebuild_sparse_tensor"): Maker(torch._utils._rebuild_sparse_tensor),
    (_UTILS, "_rebuild_qtensor"): Maker(torch._utils._rebuild_qtensor),
    (_UTILS, "_rebuild_meta_tensor_no_storage"): Maker(torch._utils._rebuild_meta_tensor_no_storage),
    ("torch._tensor", "_rebuild_from_type_v2"): Maker(_retyped),
    ("torch.serialization", "_get_layout"): Maker(torch.serialization._get_layout),
    ("torch", "Size"): Maker(torch.Size),
    ("torch", "device"): Maker(torch.device),
    **{("torch", name): one for name, one in vars(torch).items() if isinstance(one, (torch.dtype, torch.qscheme))},
}  # fmt: skip
"""What torch's tensors are made with."""


class _Torch(Unpickler):
    known = MAKERS | TORCH
    advice = "convert it where you trust it: torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'new.pth')"
