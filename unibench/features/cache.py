"""Feature maps on disk: a second run that only turns the knobs of a head does not run the network again.

An entry is found by its content: the model's hash (card and weights), the layer, and the digest of the prepared image
that the network is shown, bit by bit. So nothing can be out of date, and whatever shows a network the same image
(another protocol, another task) finds it. Entries are float16; a run that uses a cache also rounds the maps that it
computes, so a map has the same bytes whether it was there or not. `features.cache_folder` says what lies where.
"""

import hashlib
import json
import logging
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch import Tensor

from unibench.features import cache_folder
from unibench.models.frozen import FrozenModel

BUDGET = 30 << 30
"""Bytes: DAVIS-2017 val of a ResNet-50's layer3 takes 24.5 GiB."""
FEATURES = "float16"
MEASURED = 256 << 20
"""Bytes after which a process checks again how much the others have written."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A map as it is stored, channels last as networks give it and heads like it."""

    features: Float16[np.ndarray, "h w channel"]
    exponent: int
    """The map is `features * 2 ** exponent`: no value overflows, and hardly one is lost."""


def pack(features: Float[Tensor, "channel h w"]) -> Packed:
    """Round a map to float16, its largest value scaled by a power of two to between 2^14 and 2^15."""
    peak = float(features.abs().amax())
    exponent = (
        max(math.frexp(peak)[1] - 15, -126) if math.isfinite(peak) else 0
    )  # 2 ** 127 and less are finite
    scaled = features.permute(1, 2, 0).float() * 2.0**-exponent
    return Packed(scaled.half().contiguous().cpu().numpy(), exponent)


def unpack(maps: Sequence[Packed], device: torch.device) -> Float[Tensor, "batch channel h w"]:
    """What heads read of maps of one size."""
    halves = torch.stack([torch.from_numpy(one.features) for one in maps])
    scales = torch.tensor([2.0**one.exponent for one in maps], device=device)
    return halves.to(device).float().mul_(scales.view(-1, 1, 1, 1)).permute(0, 3, 1, 2)


class FeatureCache:
    """A folder of feature maps; what it writes stays within a budget."""

    def __init__(self, folder: Path, budget: int = BUDGET) -> None:
        """Open a cache, or make one of a folder that is empty or not there.

        Args:
            folder: Where it is.
            budget: Bytes that all entries together may take; with several processes, each may go beyond it by 256 MiB.

        Raises:
            OutputError: The folder holds something else, or cannot be made.
        """
        self.folder = folder
        self.budget = budget
        self._allowance = 0
        self.full = False
        """Whether it gave up keeping maps."""
        cache_folder.make(folder)

    def path(self, model: FrozenModel, layer: str, digest: str) -> Path:
        """Where the map of a layer is, or would be."""
        return cache_folder.path_of(self.folder, model.name, model.fingerprint, layer, digest)

    def read(self, path: Path) -> Packed | None:
        """Read an entry, and note that it was used.

        Returns:
            None: there is none, or it is damaged, was edited or belongs elsewhere; the log says so.
        """
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                features, exponent = stored["features"], int(stored["exponent"])
                kept = stored["seal"].tobytes()
            if features.dtype != np.float16 or features.ndim != 3:
                raise ValueError(f"{features.dtype} of {features.ndim} axes")
            if kept != _seal(path, features, exponent):
                raise ValueError("not the map that was kept here")
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever ails the file, the map can be computed
            _warn(f"{path}: damaged ({_line(error)}); the map is computed again")
            cache_folder.remove(path)
            return None
        with suppress(OSError):  # a cache may be shared read-only
            os.utime(path)
        return Packed(features, exponent)

    def write(self, path: Path, packed: Packed) -> None:
        """Keep a map, if there is room; otherwise the log says so, once."""
        if self.full or not self._has_room(packed.features.nbytes):
            return
        part = path.with_name(f".{uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as stream:
                    seal = _seal(path, packed.features, packed.exponent)
                    np.savez(
                        stream,
                        features=packed.features,
                        exponent=np.int16(packed.exponent),
                        seal=np.frombuffer(seal, np.uint8),
                    )
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            self._give_up(f"cannot be written ({error.strerror or error})")

    def _has_room(self, size: int) -> bool:
        if size > self._allowance:
            left = self.budget - cache_folder.used(self.folder)
            if size > left:
                self._give_up(f"the budget of {cache_folder.human(self.budget)} is used up")
                return False
            self._allowance = max(size, min(left, MEASURED))
        self._allowance -= size
        return True

    def _give_up(self, reason: str) -> None:
        self.full = True
        _warn(f"{self.folder}: {reason}; further maps are computed and not kept (see: unibench cache prune)")


def cached(model: FrozenModel, cache: FeatureCache) -> FrozenModel:
    """Put a cache in front of a model: its network is run for those images and layers only that are not there.

    Args:
        model: The model. Its network is not touched where everything is there.
        cache: Where maps are looked for and kept.

    Returns:
        The same model; its maps have been rounded to float16, those that were there and those that were not.
    """

    @torch.inference_mode()
    def network(
        images: Float[Tensor, "*batch 3 height width"], layers: Sequence[str], *slot: int
    ) -> dict[str, Tensor]:
        digests = [digest(image, *slot) for image in images.float().cpu()]
        paths = {
            (row, layer): cache.path(model, layer, one) for row, one in enumerate(digests) for layer in layers
        }
        found = {key: packed for key, path in paths.items() if (packed := cache.read(path)) is not None}
        missing = [key for key in paths if key not in found]
        if missing:
            rows = list(dict.fromkeys(row for row, _ in missing))
            wanted = [layer for layer in layers if any(layer == one for _, one in missing)]
            maps = model.network(images[rows], wanted, *slot)
            for row, layer in missing:
                found[row, layer] = packed = pack(maps[layer][rows.index(row)])
                cache.write(paths[row, layer], packed)
        return {
            layer: unpack([found[row, layer] for row in range(len(images))], images.device)
            for layer in layers
        }

    return replace(model, network=network, fingerprint=fingerprint(model.fingerprint))


def fingerprint(model: str) -> str:
    """Hash of a model -> what stands for it in the scores of a run with a cache, whose maps are rounded."""
    return f"{model}+features={FEATURES}"


def digest(image: Float[Tensor, "*frame 3 height width"], *slot: int) -> str:
    """Hash over all that the map of a model depends on, beside the model: the image or the window with the number of
    the map that is read of it, and this version of unibench.
    """
    known = [version("unibench-tracking"), list(image.shape), str(image.dtype), *slot]
    found = hashlib.sha256(json.dumps(known).encode())
    found.update(image.contiguous().numpy().data)
    return found.hexdigest()


def _seal(path: Path, features: Float16[np.ndarray, "h w channel"], exponent: int) -> bytes:
    """Hash over a map, its shape and its place: one that was edited, or belongs to another image, does not fit it."""
    found = hashlib.sha256(json.dumps([*path.parts[-3:], *features.shape, exponent]).encode())
    found.update(np.ascontiguousarray(features).data)
    return found.digest()


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())


def _warn(line: str) -> None:
    logging.getLogger(__name__).warning("unibench: %s", line)
