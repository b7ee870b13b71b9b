"""Predictions whose scores are known beforehand, and these scores, counted from the truth alone.

No prediction here has to be matched: each row is the truth's row under some identity, or it is not there. So the
scores follow from counting, and the metrics can be held to them on any data.
"""

from unibench.answers.association import ASSOCIATION
from unibench.answers.case import Answers, Case
from unibench.answers.prompted import PROMPTED

__all__ = ["ANSWERS", "Answers", "Case"]

ANSWERS: dict[str, Answers] = {**PROMPTED, **ASSOCIATION}
"""Family of tasks -> what its metrics must say."""
