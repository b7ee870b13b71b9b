"""Which cards can run on this machine, and why not the others."""

from dataclasses import dataclass, replace
from pathlib import Path

from unibench import models
from unibench.errors import UnibenchError
from unibench.models import fetch
from unibench.models.cards import Card


@dataclass(frozen=True)
class Availability:
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


def check(card: Card, weights_path: Path | None) -> Availability:
    """Look for a card's weights, hash them, and build its network without memory; nothing is fetched or loaded.

    Args:
        card: The model.
        weights_path: A weights file, or the folder that holds it; None: only the caches.
    """
    standing = fetch.status(card, weights_path)
    if standing.path is not None and card.weights.sha256:
        try:
            fetch.verify(card, standing.path)
            standing = replace(standing, text=f"{standing.text}, sha256 as the card says")
        except UnibenchError as error:
            standing = fetch.WeightsStatus(False, str(error))
    try:
        problem = models.open(card, weights_path).network_problem(standing.path)
    except UnibenchError as error:
        problem = str(error)
    return Availability(card.name, standing.text, not standing.here, problem or "builds", bool(problem))


def load(card: Card, weights_path: Path | None) -> str:
    """Load a card's weights, and say what became of them, or why they are refused."""
    try:
        report = models.open(card, weights_path).load_report()
    except UnibenchError as error:
        return f"refused: {error}"
    return "no weights to load" if report is None else str(report)
