"""What a gateway and an engine say to each other: plain values that travel as arrays. Pure."""

from typing import NamedTuple


class Prompt(NamedTuple):
    """What an engine is asked: a rendered prompt, and how to go on from it."""

    version: str
    """The only model version that may answer."""
    tokens: list[int]
    max_tokens: int
    temperature: float
    top_p: float
    n: int
    stop: tuple[str, ...]
    stop_ids: tuple[int, ...]
    """Tokens that end the text and are not part of it."""
    seed: int | None
    log_probs: bool = False
    """Whether the answer is to hold the log-probability of each token; they cost time."""


class Choice(NamedTuple):
    """One text of an answer."""

    text: str
    finish_reason: str
    log_probs: tuple[tuple[int, float], ...] = ()
    """Of each token: where it begins in the text (characters), and its log-probability."""


class Answer(NamedTuple):
    """What an engine returned. With an `error` there are no choices and `status` is an HTTP status."""

    choices: tuple[Choice, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    error: str | None = None
    status: int = 200
