"""What boards show of models beside their scores, read from their cards."""

from collections.abc import Iterable

from unibench.models import cards
from unibench.report.boards import BoardModel

GROUPS = {"none": "untrained", "self": "self-supervised", "labels": "supervised"}


def collect(models: Iterable[str]) -> list[BoardModel]:
    """Look up models in the order of their cards: untrained ones first, then self-supervised, then supervised.

    Args:
        models: Names; one without a card (a checkpoint that was scored directly) is left out, and boards show its name.
    """
    known = cards.paths()
    found = [cards.read(known[name]) for name in sorted(set(models)) if name in known]
    order = list(GROUPS)
    found.sort(key=lambda card: (order.index(card.pretraining.supervision), card.name))
    return [
        BoardModel(
            name=card.name,
            imagenet_top1=card.imagenet_top1.value if card.imagenet_top1 else None,
            label=card.name,
            supervised_reference=card.reference,
            group=GROUPS[card.pretraining.supervision],
        )
        for card in found
    ]
