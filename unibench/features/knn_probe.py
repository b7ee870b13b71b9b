"""k-NN accuracy on a folder of class folders: an x-axis for a checkpoint whose ImageNet accuracy nobody has published.

Features are frozen and nothing is trained: an image gets the class for which its nearest images vote, each with the
weight exp(similarity / temperature). The network is the card's, its strides included, so it is seen as the heads see
it: a published k-NN accuracy of the same weights at stride 32 is another number.

Reference:
    Wu et al.: Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018, section 3.4;
    Caron et al.: Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, section 3.2 (k = 20).
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import faiss
import numpy as np
import tomli_w
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image

from unibench.datasets.files import fail, require_folder, subfolders
from unibench.datasets.images import SUFFIXES, read_image
from unibench.errors import UnknownNameError, WeightsError
from unibench.models.cards import Card
from unibench.models.frozen import FrozenModel
from unibench.results.atomic import replace_file

K = 20
TEMPERATURE = 0.07
RESIZE, CROP = 256, 224
"""Length of an image's shorter side (bicubic), and side of the square cut out of its middle, in pixels."""
BATCH = 32
"""Images in one pass."""
IMAGENET_CLASSES = 1000
_LAYOUT = "train/<class>/* and val/<class>/*, or <class>/*"
Watch = Callable[[Sequence[Path]], Iterable[Path]]


@dataclass(frozen=True)
class ImageFolder:
    """Images by class; labels index `classes`."""

    root: Path
    classes: tuple[str, ...]
    train: tuple[tuple[Path, int], ...]
    val: tuple[tuple[Path, int], ...]
    """Empty: every image of `train` is asked about in turn, with the others as neighbours (leave-one-out)."""


@dataclass(frozen=True)
class Probed:
    """What a probe found."""

    model: str
    layer: str
    top1: float
    """Fraction of the images asked about that got their own class."""
    n: int
    """Images asked about."""
    train: int
    """Images that may be neighbours."""
    classes: int
    leave_one_out: bool
    k: int
    temperature: float
    folder: str
    weights_hash: str
    data_hash: str
    """Over names and pixels, as they were given to the model."""


def find_images(root: Path) -> ImageFolder:
    """List the images of a folder of class folders; files that do not end as images do are passed over.

    Args:
        root: Holds `train/<class>/*` and `val/<class>/*`, or just `<class>/*`.

    Raises:
        DataError: There are fewer than two classes, or a class has too few images or stands in `val` only.
    """
    require_folder(root, _LAYOUT)
    parts = [name for name in ("train", "val") if (root / name).is_dir()]
    if len(parts) == 1:
        fail(root, f"a folder {parts[0]!r} alone", f"expected {_LAYOUT}")
    train = _by_class(root / "train" if parts else root, least=1 if parts else 2)
    val = _by_class(root / "val", least=1) if parts else {}
    if unknown := sorted(set(val) - set(train)):
        fail(root / "val", f"class {unknown[0]!r}, which is not in train", "give both the same class folders")
    classes = tuple(train)
    if len(classes) < 2:
        fail(root, f"1 class, {classes[0]!r}", f"expected two or more as {_LAYOUT}")
    return ImageFolder(root, classes, *(_labelled(part, classes) for part in (train, val)))


def _by_class(folder: Path, least: int) -> dict[str, list[Path]]:
    found = {one.name: _image_files(one) for one in subfolders(folder)}
    if not found:
        fail(folder, "no class folders", f"expected {_LAYOUT}")
    for name, paths in found.items():
        if len(paths) < least:
            fail(
                folder / name,
                f"{len(paths)} images",
                f"expected {least} or more that end in {', '.join(SUFFIXES)}",
            )
    return found


def _image_files(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."
    )


def _labelled(found: dict[str, list[Path]], classes: Sequence[str]) -> tuple[tuple[Path, int], ...]:
    return tuple((path, classes.index(name)) for name, paths in found.items() for path in paths)


def deepest(card: Card) -> str:
    """The layer to probe: the last of the card, as published k-NN and linear probes read the end of a network."""
    return list(card.layers)[-1]


def probe(
    model: FrozenModel, layer: str, images: ImageFolder, *, batch: int = BATCH, watch: Watch = iter
) -> Probed:
    """Classify the images of a folder by their nearest neighbours.

    Args:
        model: Frozen; its average-pooled map, L2-normalised, is an image's feature.
        layer: Of the model.
        images: What to classify.
        batch: Images in one pass; changes nothing but speed and rounding.
        watch: Passes the files on one by one; shows how far it has come.

    Raises:
        UnknownNameError: The model has no such layer.
        DataError: An image cannot be read.
        WeightsError: Features are not finite.
    """
    if layer not in model.strides:
        raise UnknownNameError(f"layer of model {model.name!r}", layer, model.strides)
    asked = images.val or images.train
    listed = images.train + images.val
    names = [path.relative_to(images.root).as_posix() for path, _ in listed]
    digest = hashlib.sha256(json.dumps(names).encode())

    def crops() -> Iterator[UInt8[np.ndarray, "side side 3"]]:
        for path in watch([path for path, _ in listed]):
            image = crop(read_image(path))
            digest.update(image.tobytes())
            yield image

    features = embed(model, layer, crops(), batch)
    labels = np.array([label for _, label in images.train], dtype=np.int64)
    known, queries = features[: len(labels)], features[-len(asked) :]
    k = min(K, len(labels) - (not images.val))
    said = classify(known, labels, queries, k, leave_one_out=not images.val)
    right = said == np.array([label for _, label in asked])
    return Probed(
        model.name, layer, float(right.mean()), len(asked), len(labels), len(images.classes), not images.val,
        k, TEMPERATURE, images.root.resolve().name, model.fingerprint, digest.hexdigest()[:12],
    )  # fmt: skip


def crop(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "side side 3"]:
    """Scale the shorter side to 256 pixels, bicubic, and cut 224 x 224 out of the middle: RGB, 0 to 255."""
    height, width = image.shape[:2]
    size = width * RESIZE // min(height, width), height * RESIZE // min(height, width)
    scaled = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    left, top = ((side - CROP) // 2 for side in size)
    return np.asarray(scaled.crop((left, top, left + CROP, top + CROP)))


def embed(
    model: FrozenModel, layer: str, images: Iterable[UInt8[np.ndarray, "height width 3"]], batch: int
) -> Float[np.ndarray, "image channel"]:
    """Average-pool one layer's map of every image and scale it to length 1.

    Raises:
        WeightsError: Features are not finite.
    """
    rest = iter(images)
    rows = []
    while chunk := [model.prepare(image) for image in islice(rest, batch)]:
        maps = model.network(torch.stack(chunk), [layer])[layer]
        pooled = torch.nn.functional.normalize(maps.float().mean(dim=(2, 3)), dim=1)
        rows.append(pooled.cpu().numpy())
        if not np.isfinite(rows[-1]).all():
            raise WeightsError(
                f"model {model.name!r}: features of {layer!r} are not finite; are these the right weights?"
            )
    return np.concatenate(rows)


def classify(
    known: Float[np.ndarray, "known channel"],
    labels: Int[np.ndarray, " known"],
    queries: Float[np.ndarray, "query channel"],
    k: int,
    *,
    leave_one_out: bool = False,
) -> Int[np.ndarray, " query"]:
    """Give every query the class for which its k nearest neighbours vote.

    Args:
        known: Features of length 1.
        labels: Their classes, 0 to the number of classes - 1.
        queries: Features of length 1.
        k: Neighbours that vote.
        leave_one_out: The queries are `known` itself, and none is a neighbour of its own.
    """
    index = faiss.IndexFlatIP(known.shape[1])
    index.add(np.ascontiguousarray(known, dtype=np.float32))
    similarity, nearest = index.search(np.ascontiguousarray(queries, dtype=np.float32), k + leave_one_out)
    if leave_one_out:
        own = nearest == np.arange(len(queries))[:, None]
        own[:, -1] |= ~own.any(axis=1)  # pushed out by copies of itself: the last one goes
        similarity, nearest = (rows[~own].reshape(-1, k) for rows in (similarity, nearest))
    return vote(similarity.astype(np.float64), labels[nearest])


def vote(
    similarity: Float[np.ndarray, "query neighbour"], labels: Int[np.ndarray, "query neighbour"]
) -> Int[np.ndarray, " query"]:
    """Add exp(similarity / temperature) of the neighbours of each class; the first of equal classes wins.

    Args:
        similarity: Cosine, -1 to 1.
        labels: Class of each neighbour.
    """
    votes = np.zeros((len(labels), int(labels.max()) + 1))
    np.add.at(votes, (np.arange(len(labels))[:, None], labels), np.exp(similarity / TEMPERATURE))
    winners: Int[np.ndarray, " query"] = votes.argmax(axis=1)
    return winners


def describe(probed: Probed) -> str:
    """Say in one line what was measured."""
    neighbours = "the others (leave-one-out)" if probed.leave_one_out else f"{probed.train} of train"
    return (
        f"k-NN top-1 (k = {probed.k}, T = {probed.temperature}) of {probed.layer} on {probed.folder!r}: "
        f"{probed.n} images of {probed.classes} classes, neighbours among {neighbours}"
    )


def card_lines(probed: Probed) -> str:
    """The TOML table that makes the result a card's place on the x-axis of the correlation study."""
    external = {"value": round(probed.top1, 4), "source": f"unibench probe: {describe(probed)}"}
    return tomli_w.dumps({"imagenet_top1": external})


def write(out: Path, probed: Probed) -> Path:
    """Write `<out>/<model>/probe-<layer>.json` in one step.

    Raises:
        OutputError: It cannot be written.
    """
    record = {**asdict(probed), "resize": RESIZE, "crop": CROP, "interpolation": "bicubic"}
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False)
    path = Path(out, quote(probed.model, safe=""), f"probe-{quote(probed.layer, safe='')}.json")
    return replace_file(path, f"{text}\n".encode())
