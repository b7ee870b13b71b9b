"""Which cards can run on this machine, and why not the others. Loads torch only where a network is built."""

from dataclasses import dataclass, replace
from pathlib import Path

from unibench.errors import UnibenchError
from unibench.models import fetch
from unibench.models.cards import Card


@dataclass(frozen=True)
class Readiness:
    """What stands between a card and its use; a problem that is empty is none."""

    model: str
    weights: str
    """Where the file is, or how to get it."""
    weights_problem: bool
    architecture: str
    """`builds`, or why it does not."""
    architecture_problem: bool

    @property
    def runs(self) -> bool:
        """Whether the model can run here and now."""
        return not (self.weights_problem or self.architecture_problem)


def check(card: Card, given: Path | None) -> Readiness:
    """Look for a card's weights, hash them, and build its network without memory; nothing is fetched or loaded.

    Args:
        card: The model.
        given: A weights file, or the folder that holds it; None: only the caches.
    """
    standing = fetch.standing(card, given)
    if standing.path is not None and card.weights.sha256:
        try:
            fetch.verify(card, standing.path)
            standing = replace(standing, text=f"{standing.text}, sha256 as the card says")
        except UnibenchError as error:
            standing = fetch.Standing(False, str(error))
    problem = _build_joint(card, standing.path) if card.kind == "joint" else _build(card)
    return Readiness(card.name, standing.text, not standing.here, problem or "builds", bool(problem))


def _build(card: Card) -> str:
    import torch

    from unibench.models import frozen

    try:
        with torch.device("meta"):
            module = frozen.build(card, None)[0]
    except UnibenchError as error:
        return str(error)
    return _counted(card, frozen.parameters(module, card.architecture.head))


def _build_joint(card: Card, path: Path | None) -> str:
    """The network of a joint tracker is described in its weights file, so without it only the name is checked."""
    from unibench.joint import systems
    from unibench.models import frozen

    try:
        if path is None:
            systems.find(card.architecture.name)
            return ""
        network = systems.build(card, path)[2]
    except UnibenchError as error:
        return str(error)
    return _counted(card, frozen.parameters(network, ()))


def _counted(card: Card, count: int) -> str:
    stated = card.architecture.parameters
    wrong = stated and count != stated
    return f"{count:,} parameters, expected {stated:,}; correct the card" if wrong else ""


def load(card: Card, given: Path | None) -> str:
    """Load a card's weights for real, and say what became of them, or why they are refused."""
    from unibench.joint import systems
    from unibench.models import frozen, weights

    try:
        path = weights.locate(card, given)
        if card.kind == "joint":
            network = systems.build(card, path)[2]
            return f"all {len(network.state_dict())} tensors loaded"
        report = frozen.build(card, path)[1]
        if report is None:
            return "no weights to load"
        weights.require(report, f"{path} for model {card.name!r}")
    except UnibenchError as error:
        return f"refused: {error}"
    return str(report)
