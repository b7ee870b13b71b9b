"""What the page of a model shows: its scores, its card, how the scores came about, what it has seen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from unibench.metrics.catalogue import show
from unibench.models.cards import Card
from unibench.records import LoadReport
from unibench.report.boards import BoardModel
from unibench.site import contents as reading
from unibench.site.contents import Contents
from unibench.site.tasks import ranking


def page(site: Contents, model: BoardModel) -> dict[str, Any]:
    """What the page of a model shows."""
    board, card = site.board, site.cards.get(model.name)
    runs = [
        run for (name, _), of_row in site.runs.items() if name == model.name for run in of_row.values() if run
    ]
    overlap = card.pretraining.overlap if card else ()
    return {
        "name": model.name,
        "kind": reading.model_kind(board, model),
        "card": card,
        "facts": _facts(card) if card else [],
        "weights": _weights(card, site.loaded.get(model.name)),
        "tensors": _tensors(site.loaded[model.name]) if model.name in site.loaded else [],
        "layers": list(card.layers.items()) if card else [],
        "overlap": overlap,
        "warnings": [*_contamination(overlap), *_notes(site, model.name)],
        "scores": [
            {
                "setting": setting,
                "metric": board.metrics[setting][0],
                "rows": len(site.results[setting]),
                "clips": site.results[setting][row["name"], row["layer"]].score.clips,
                **row,
                "file": site.files.settings[setting],
            }
            for setting in board.settings
            for row in ranking(site, setting)
            if row["name"] == model.name
        ],
        "provenance": _provenance(site, model.name, runs),
        "commands": reading.commands(runs),
    }


def _contamination(overlap: Sequence[str]) -> list[str]:
    if not overlap:
        return []
    return [
        f"Clips or images of {', '.join(overlap)} were among its training data: scores there are not comparable."
    ]


def _notes(site: Contents, name: str) -> list[str]:
    """What casts doubt on its scores, each thing once."""
    found = (score.note for key, score in site.board.scores.items() if key[0] == name and score.note)
    return list(dict.fromkeys(found))


def _facts(card: Card) -> list[tuple[str, str]]:
    """What a card says, in words; what it leaves out is left out."""
    training, top1 = card.pretraining, card.imagenet_top1
    facts = {
        "kind": card.kind,
        "paper": card.paper,
        "licence": card.license,
        "released": card.released,
        "architecture": f"{card.architecture.name} ({card.architecture.loader})",
        "parameters": f"{card.architecture.parameters:,}" if card.architecture.parameters else "",
        "computes in": card.architecture.dtype,
        "trained by": training.method,
        "trained on": training.data,
        "supervision": training.supervision,
        "epochs": f"{training.epochs:g}" if training.epochs else "",
        "overlap with benchmarks": ", ".join(training.overlap) or "none that the card knows of",
        "ImageNet top-1": f"{show('top-1', top1.value)}, {top1.source}" if top1 else "",
        "preprocessing": _preprocessing(card) if card.layers else "",
        "aliases": ", ".join(card.aliases),
    }  # fmt: skip
    return [(name, value) for name, value in facts.items() if value]


WITHOUT_FILE = {
    "none": "it has no parameters",
    "random": "its parameters are random, and nothing was loaded",
}
"""Source of weights -> why there is no file."""
NOT_STORED = "not stored: the run is older than this record, or it read feature maps from a cache"
TENSORS = {
    "random": "Tensors that stay random, as the card or the command allows",
    "adapted": "Tensors that were given another shape",
    "left_over": "Tensors of the file that fit nowhere",
    "alike": "Other copies of the backbone in the file",
}
"""Fields of a report on loading -> what is said of the tensors in them; one with any other fault is refused."""


def _weights(card: Card | None, loaded: LoadReport | None) -> list[tuple[str, str]]:
    """Where the weights come from, and how much of the network they fill."""
    if card and card.weights.source in WITHOUT_FILE:
        return [("source", f"{card.weights.source}: {WITHOUT_FILE[card.weights.source]}")]
    stated, found = card.weights.sha256 if card else "", loaded.sha256 if loaded else ""
    facts = {
        "source": card.weights.source if card else "",
        "sha256": f"{found or stated}{_checked(stated, found)}" if found or stated else "",
        "verified": _verified(card) if card else "",
        "loaded": _share(loaded) if loaded else NOT_STORED,
    }  # fmt: skip
    return [(name, value) for name, value in facts.items() if value]


def _checked(stated: str, found: str) -> str:
    if not found:
        return ", as the card says"
    return " of the file that was loaded" + (", as the card says" if stated == found else "")


def _share(loaded: LoadReport) -> str:
    container = f", from {loaded.container!r} in the file" if loaded.container else ""
    prefix = f", without the prefix {loaded.prefix!r}" if loaded.prefix else ""
    return f"{len(loaded.loaded)} of {loaded.total} tensors ({loaded.share:.1%}){container}{prefix}"


def _tensors(loaded: LoadReport) -> list[tuple[str, tuple[str, ...]]]:
    """What is to be said of some tensors, and their names."""
    listed = {name: getattr(loaded, name) for name in TENSORS}
    found = [(f"{TENSORS[name]}: {len(names)}", names) for name, names in listed.items() if names]
    return [*found, (f"Tensors loaded: {len(loaded.loaded)}", loaded.loaded)]


def _verified(card: Card) -> str:
    return (
        "yes: this very file was loaded" if card.weights.verified else "no: this very file was never loaded"
    )


def _preprocessing(card: Card) -> str:
    told = asdict(card.preprocessing)
    mean, std = (", ".join(f"{one:g}" for one in told[name]) for name in ("mean", "std"))
    return f"{told['color']}, divided by {told['divisor']:g}, mean {mean}, deviation {std}"


def _provenance(site: Contents, name: str, runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """How its results came about; what several runs say differently stands side by side."""
    hashes = {score.weights_hash for key, score in site.board.scores.items() if key[0] == name}
    packages = [run["packages"] for run in runs if isinstance(run.get("packages"), dict)]
    machines = [run["machine"] for run in runs if isinstance(run.get("machine"), dict)]
    facts = {
        "hash of card and weights": _several(hashes),
        "started": _several(str(run.get("start", "")) for run in runs),
        "ended": _several(str(run.get("end", "")) for run in runs),
        "code": _several(str(run.get("git", "")) for run in runs),
        "device": _several(str(run.get("device", "")) for run in runs),
        "computed in": _several(str(run.get("dtype", "")) for run in runs),
        "machine": _several(f"{_system(one)}, Python {one.get('python', '')}" for one in machines),
        "packages": _several(", ".join(f"{key} {value}" for key, value in sorted(one.items())) for one in packages),
    }  # fmt: skip
    return [(key, value) for key, value in facts.items() if value]


def _system(machine: Mapping[str, Any]) -> str:
    """`Linux` of `Linux-6.1.0-x86_64-with-glibc2.36`."""
    return str(machine.get("system", "")).partition("-")[0]


def _several(texts: Iterable[str]) -> str:
    return "; ".join(sorted({text for text in texts if text}))
