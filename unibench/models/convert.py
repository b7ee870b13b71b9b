"""Checkpoints of other frameworks, turned into safetensors with torchvision's names. Loads neither torch nor theirs.

BYOL's files are pickles of Haiku parameters, read as data (`pickles`).
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unibench.errors import OutputError, WeightsError
from unibench.models import pickles
from unibench.models.pickles import Unpickler
from unibench.results.atomic import replacing

Arrays = dict[str, np.ndarray]

FIELDS = ("online_params", "target_params", "online_state", "target_state", "opt_state")
"""Of the experiment's state, where the file names its class without saying them."""
STEM = re.compile(r"(?:.*/)?initial_(conv|batchnorm)(?:_1)?")
BLOCK = re.compile(r".*/block_group_(\d+)/~/block_(\d+)/~/(?:(shortcut)_)?(conv|batchnorm)(?:_(\d))?")
MOMENTS = {"mean_ema": "running_mean", "var_ema": "running_var"}


def convert(kind: str, source: Path, target: Path) -> int:
    """Turn a checkpoint into safetensors.

    Args:
        kind: A key of `CONVERTERS`.
        source: The checkpoint.
        target: Gets the tensors; must end in `.safetensors`.

    Returns:
        Number of tensors written.

    Raises:
        WeightsError: The file is missing, damaged, asks for code, or is laid out in another way.
        OutputError: The target cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    if target.suffix != ".safetensors":
        raise OutputError(f"{target}: expected a name that ends in .safetensors; choose another")
    tensors = CONVERTERS[kind](source)
    try:
        with replacing(target) as part:
            save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, part)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{target}: cannot be written ({error}); choose another place") from error
    return len(tensors)


def byol(path: Path) -> Arrays:
    """Read the online network of a BYOL checkpoint as a torchvision ResNet's parameters.

    Raises:
        WeightsError: The file is missing, damaged, asks for code, or is laid out in another way.

    Reference:
        Grill et al. 2020, "Bootstrap your own latent"; layout as its released training code writes it.
    """
    loaded = _unpickle(path)
    state = loaded.get("experiment_state") if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping) or not {"online_params", "online_state"} <= set(state):
        raise WeightsError(
            f"{path}: no experiment_state with online_params and online_state; expected a BYOL pretraining checkpoint"
        )
    try:
        arrays = {**_parameters(state["online_params"]), **_moments(state["online_state"])}
    except (AttributeError, TypeError, ValueError, LookupError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(
            f"{path}: parameters of another kind ({reason}), expected a BYOL pretraining checkpoint"
        ) from error
    layers = {name.rpartition(".")[0] for name in arrays}
    norms = {layer for layer in layers if f"{layer}.bias" in arrays}
    whole = all(f"{norm}.{moment}" in arrays for norm in norms for moment in MOMENTS.values())
    if "conv1.weight" not in arrays or not whole or 2 * len(norms) != len(layers):
        raise WeightsError(
            f"{path}: {len(arrays)} parameters of a ResNet found, expected a stem and a normalisation with its "
            "moments for every convolution; another network, or a damaged file"
        )
    return arrays


def _parameters(modules: Mapping[str, Mapping[str, np.ndarray]]) -> Arrays:
    """Kernels from (height, width, in, out) to (out, in, height, width); scales and offsets to one axis."""
    arrays = {}
    for module, values in modules.items():
        if (layer := _layer(module)) is None:
            continue  # projector, predictor, classifier
        for name, value in values.items():
            if name == "w":
                arrays[f"{layer}.weight"] = value.transpose(3, 2, 0, 1)
            elif name in ("scale", "offset"):
                arrays[f"{layer}.{'weight' if name == 'scale' else 'bias'}"] = value.reshape(-1)
    return arrays


def _moments(modules: Mapping[str, Mapping[str, np.ndarray]]) -> Arrays:
    arrays = {}
    for module, values in modules.items():
        owner, _, moment = module.rpartition("/~/")
        layer = _layer(owner)
        if layer is not None and moment in MOMENTS:
            arrays[f"{layer}.{MOMENTS[moment]}"] = values["average"].reshape(-1)
    return arrays


def _layer(module: str) -> str | None:
    """Name that torchvision has for a Haiku module; None: it is not part of the backbone."""
    if stem := STEM.fullmatch(module):
        return "conv1" if stem[1] == "conv" else "bn1"
    if (found := BLOCK.fullmatch(module)) is None:
        return None
    group, block, shortcut, kind, index = found.groups()
    if shortcut:
        last = f"downsample.{0 if kind == 'conv' else 1}"
    else:
        last = f"{'conv' if kind == 'conv' else 'bn'}{int(index or 0) + 1}"
    return f"layer{int(group) + 1}.{int(block)}.{last}"


def _unpickle(path: Path) -> Any:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give the checkpoint to convert")
    try:
        with path.open("rb") as stream:
            return pickles.reader(_Haiku, str(path))(stream).load()
    except pickles.DAMAGE as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise WeightsError(f"{path}: not a readable pickle of arrays ({reason}); fetch it again") from error


class _Haiku(Unpickler):
    """Makes plain dicts of Haiku's mappings and of named tuples."""

    def find_class(self, module: str, name: str, /) -> Any:
        package = module.partition(".")[0]
        if name in ("FlatMap", "FlatMapping", "frozendict") and package == "haiku":
            return dict
        if name == "_create_namedtuple" and package == "dill":
            return _fields
        if name == "_ByolExperimentState":
            return _fields(name, FIELDS)
        return super().find_class(module, name)


def _fields(name: str, fields: Any, *_: Any) -> type:
    """A named tuple's class that makes plain dicts, whatever its name is."""

    def new(cls: type, *values: Any) -> dict[str, Any]:
        return dict(zip(map(str, fields), values, strict=True))

    return type("Fields", (), {"__new__": new})


CONVERTERS: dict[str, Callable[[Path], Arrays]] = {"byol": byol}
"""Name of a format -> what reads a file of it."""
