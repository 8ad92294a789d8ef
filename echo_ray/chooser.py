"""Questions with numbered answers, replies, and who gives them: the one protocol of teachers and judges.

A backend (`vllm_engine`, `openai_api`) only asks; `asking` puts a journal, spend limits and a limit on
failures around it. Not covered: explanations of an answer; a number costs one or two tokens.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from echo_ray.schema import Drop


class Question(NamedTuple):
    """One multiple-choice question about one sample."""

    key: str
    """The sample's id."""
    system: str
    """Instruction, the same for all questions of a stage, so that a prefix cache answers it."""
    prompt: str
    """The sample and the numbered answers."""
    choices: int
    """Answers are numbered 1 to `choices`."""
    before: tuple[int, int] = (0, 0)
    """Span of `prompt` that may lose its beginning when the prompt is too long."""
    after: tuple[int, int] = (0, 0)
    """Span of `prompt`, behind `before`, that may lose its end."""


class Failure(StrEnum):
    """Why a question has no usable answer."""

    TIMEOUT = "timeout"
    PROSE = "prose"
    """Anything but a bare number."""
    OUT_OF_RANGE = "out_of_range"
    RATE_LIMITED = "rate_limited"
    """HTTP 429, also after all retries."""
    ERROR = "error"
    """HTTP 5xx, a refused request, a connection that cannot be made."""


class Reply(NamedTuple):
    """What came back for one question: a choice or a failure, and what it cost."""

    choice: int | None
    """Index of the answer, from 0; None on failure."""
    failure: Failure | None = None
    note: str = ""
    """A few words about the failure, e.g. the first characters of the prose."""
    requests: int = 1
    """Requests sent for it, retries included (count)."""
    prompt_tokens: int = 0
    output_tokens: int = 0


class Watch(Protocol):
    """What a backend reports to while it works."""

    def may_send(self, tokens: int) -> bool:
        """Whether one more request of about `tokens` may be sent; it then counts as sent."""
        ...

    def heard(self, question: Question, reply: Reply, tokens: int) -> bool:
        """Take a reply as soon as it is there; `tokens` were announced for it. False: ask nothing more."""
        ...


class Backend(Protocol):
    """A model that can be asked."""

    name: str
    """Kind and model; equal names answer equally."""

    def answers(self, questions: Sequence[Question], watch: Watch) -> None:
        """Ask and report every reply to `watch`, in any order; stop early when it says so."""
        ...


class Chooser(Protocol):
    """Answers questions; never raises for a single bad answer."""

    name: str
    """Written to `cut_by` or into a finding: kind and model, e.g. `vllm:qwen-0.5b@1f3c`."""

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """One reply for each question, in order."""
        ...


DROPS = {
    Failure.TIMEOUT: Drop.TEACHER_TIMEOUT,
    Failure.PROSE: Drop.TEACHER_PROSE,
    Failure.OUT_OF_RANGE: Drop.TEACHER_OUT_OF_RANGE,
    Failure.RATE_LIMITED: Drop.TEACHER_RATE_LIMITED,
    Failure.ERROR: Drop.TEACHER_ERROR,
}
"""The reason that a failure gives to a row."""


_NUMBER = re.compile(r"\s*([0-9]{1,9})\s*", re.ASCII)
NOTE_CHARS = 60
"""Length of a note about a failure (characters)."""


def read(text: str | None, choices: int) -> Reply:
    """The reply that a model's `text` is: only a bare number is an answer. Costs keep their defaults."""
    number = _NUMBER.fullmatch(text or "")
    if number is None:
        return failed(Failure.PROSE, repr(text or ""))
    choice = int(number[1]) - 1
    if not 0 <= choice < choices:
        return failed(Failure.OUT_OF_RANGE, f"{choice + 1} of {choices}")
    return Reply(choice)


def failed(failure: Failure, note: str) -> Reply:
    """A reply without an answer."""
    line = " ".join(note.split())
    return Reply(None, failure, line if len(line) <= NOTE_CHARS else line[: NOTE_CHARS - 1] + "…")


def shortened(question: Question, chars: int) -> Question:
    """`question` with `chars` fewer characters of context, taken from its far ends: the beginning of `before`
    and the end of `after`, in proportion to their lengths. Never touches the numbered answers; takes less
    when there is less.
    """
    (start, cursor), (begin, stop) = question.before, question.after
    room = (cursor - start) + (stop - begin)
    chars = min(chars, room)
    if chars <= 0:
        return question
    left = chars * (cursor - start) // room
    right = chars - left
    text = question.prompt
    return question._replace(
        prompt=text[:start] + text[start + left : stop - right] + text[stop:],
        before=(start, cursor - left),
        after=(begin - left, stop - left - right),
    )
