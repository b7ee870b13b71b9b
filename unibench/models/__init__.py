"""A model card becomes a model that can be bound to tasks."""

from pathlib import Path
from typing import TYPE_CHECKING

from unibench import plugins
from unibench.models.cards import Card
from unibench.records import Model

if TYPE_CHECKING:
    from unibench.features.cache import FeatureCache

KINDS = {
    "frozen": "unibench.tasks.model_kinds:open_frozen",
    "joint": "unibench.tasks.model_kinds:open_joint",
}
"""Kind of a card -> the function that opens such models; imported when one is opened."""


def open(
    card: Card, weights_path: Path | None = None, device: str = "cpu", features: "FeatureCache | None" = None
) -> Model:
    """Open a model. Nothing is loaded yet: weights are hashed, and networks built, when that is first needed.

    Args:
        card: The model.
        weights_path: A weights file, or the folder that holds it; None: the card's own source.
        device: A torch device.
        features: Where feature maps of frozen models are kept; None: nowhere.

    Raises:
        UnknownNameError: The card names a joint tracker that does not exist.
    """
    opened: Model = plugins.resolve(KINDS[card.kind])(card, weights_path, device, features)
    return opened
