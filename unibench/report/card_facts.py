"""What boards show of models beside their scores, read from their cards."""

from collections.abc import Iterable, Sequence

from unibench.errors import OutputError
from unibench.models import cards
from unibench.records import Score
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
            overlap=card.pretraining.overlap,
        )
        for card in found
    ]


def clean(scores: Sequence[Score]) -> list[Score]:
    """Leave out the scores of models on benchmarks whose clips they were trained on, as their cards say.

    Raises:
        OutputError: None is left.
    """
    overlap = {model.name: model.overlap for model in collect(score.model for score in scores)}
    kept = [score for score in scores if score.task.partition(":")[0] not in overlap.get(score.model, ())]
    if scores and not kept:
        raise OutputError("--clean: every model was trained on clips of its benchmarks, expected one that was not; "
                          "leave --clean out")  # fmt: skip
    return kept
