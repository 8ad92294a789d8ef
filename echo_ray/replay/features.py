"""What of a proposal can be known beside the text that finally stood in its place.

Known for any proposal, also for one that nobody ever saw. The truth is often longer than what a proposal
reaches (a person goes on writing), so similarity is with as much of the truth as the proposal is long.
White space at a proposal's end is not compared.
"""

import math

import numpy as np
import numpy.typing as npt

from echo_ray import scores
from echo_ray.text import common_prefix

FEATURES = ("exact", "whole", "leading", "similarity", "log_chars", "lines", "first_line")
"""exact: the same as the truth; whole: all of it is what the truth begins with; leading: share of its
characters that agree before the first that differs; similarity: normalised edit similarity; log_chars:
natural logarithm of its length (characters); lines: how many (count); first_line: first lines are equal."""


def is_silent(proposal: str | None) -> bool:
    """Whether nothing is there to be shown."""
    return proposal is None or scores.is_void(proposal)


def features(proposal: str, truth: str) -> npt.NDArray[np.float64]:
    """`FEATURES` of a proposal that is not silent. Raises ValueError for one that is."""
    text = proposal.rstrip()
    if not text:
        raise ValueError("silence has no features")
    leading = common_prefix(text, truth)
    return np.array(
        [
            scores.exact_match(truth, text),
            leading == len(text),
            leading / len(text),
            scores.edit_similarity(truth[: len(text)], text),
            math.log(len(text)),
            text.count("\n") + 1,
            scores.first_line_match(truth, text),
        ],
        dtype=np.float64,
    )
