"""Predictions whose scores are known beforehand, and these scores, counted from the truth alone.

No prediction here has to be matched: each row is the truth's row under some identity, or it is not there. So the
scores follow from counting, and the metrics can be held to them on any data.
"""

from unibench.tasks.association.known_answers import ASSOCIATION
from unibench.tasks.known_answer_cases import Answers, Case
from unibench.tasks.prompted_answers import PROMPTED

__all__ = ["ANSWERS", "Answers", "Case"]

ANSWERS: dict[str, Answers] = {**PROMPTED, **ASSOCIATION}
"""Family of tasks -> what its metrics must say."""
