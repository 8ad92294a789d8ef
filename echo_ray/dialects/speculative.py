"""Tells what a user asked for from what llama.vim and llama.vscode ask ahead, as if a suggestion were taken.

Two rules, for `/infill` alone: from a client that does not ask ahead, a context that holds a completion means
that the user took it.

- llama.vim gives real requests 250 ms and those on top of a suggestion it shows more. For a client that sends
  both, that decides. It fails for users who set 250 ms for both.
- For all others a request is speculative when its context is an earlier one of the session plus a completion
  of it (less its last line ends), with the same suffix: clients do not ask in that state after an accept.
  White space inside is not compared, for llama.vim changes indentation. White space at the end is: a space or
  a line end after a suggestion was taken is the user's.

Long contexts are compared by their last 2,000 characters that are no white space, for a window slides.
`Sessions` works request by request; `log.llamacpp`, which sees a whole capture, uses `Expected` alone.
Not covered: what a client that has just begun asks ahead before any real request of it was seen.
"""

from collections.abc import Iterable

from echo_ray.dialects.asked import Asked
from echo_ray.dialects.memory import Recent
from echo_ray.rng import digest
from echo_ray.schema import Kind

REAL_MS = 250
"""What llama.vim gives a request of the user (milliseconds)."""

_COMPARED_CHARS = 2000
_PER_SESSION, _TOTAL = 256, 1 << 16
_CLIENTS = 8
"""Clients of one session whose limits are remembered (count)."""


class Expected:
    """Contexts that a client may ask for ahead of its user, by session."""

    def __init__(self, per_session: int = _PER_SESSION, total: int = _TOTAL) -> None:
        self._known: Recent[bool] = Recent(per_session, total)

    def add(self, session: int, prefix: str, suffix: str, texts: Iterable[str]) -> None:
        """Remember what follows from a request that was answered with `texts`."""
        line = suffix.split("\n", 1)[0]
        for text in (text.rstrip("\n") for text in texts if text.strip()):
            self._known.put(session, _key(prefix + text, suffix), True)
            # llama.vim puts the whole current line before the completion
            self._known.put(session, _key(prefix + line + text, suffix[len(line) :]), True)

    def holds(self, session: int, prefix: str, suffix: str) -> bool:
        """Whether a request with this context was expected."""
        return self._known.get(session, _key(prefix, suffix)) is not None

    def __len__(self) -> int:
        return len(self._known)


class Sessions:
    """The kind of each request as it arrives, in bounded memory."""

    def __init__(self, per_session: int = _PER_SESSION, total: int = _TOTAL) -> None:
        self._expected = Expected(per_session, total)
        self._limits: Recent[frozenset[bool]] = Recent(_CLIENTS, total)

    def kind(self, session: str, client: str | None, asked: Asked) -> Kind:
        """Kind of a request that is about to be answered; `client` is the user agent."""
        if asked.kind is not Kind.AUTOMATIC:
            return asked.kind
        owner, program = digest(session), digest(client or "")
        limits = self._limits.get(owner, program) or frozenset()
        if asked.limit_ms is not None:
            limits |= {asked.limit_ms == REAL_MS}
            self._limits.put(owner, program, limits)
        if len(limits) == 2:
            ahead = asked.limit_ms not in (None, REAL_MS)
        else:
            ahead = self._expected.holds(digest(session, client or ""), asked.prefix, asked.suffix)
        return Kind.SPECULATIVE if ahead else Kind.AUTOMATIC

    def answered(self, session: str, client: str | None, asked: Asked, texts: Iterable[str]) -> None:
        """Remember what a request was answered with, speculative ones too: they come in chains."""
        if asked.kind is not Kind.WARMUP:
            self._expected.add(digest(session, client or ""), asked.prefix, asked.suffix, texts)


def _key(context: str, suffix: str) -> int:
    # Most of a text is no white space: a short tail is enough nearly always.
    tail = "".join(context[-2 * _COMPARED_CHARS :].split())
    if len(tail) < _COMPARED_CHARS < len(context):
        tail = "".join(context.split())
    return digest(tail[-_COMPARED_CHARS:], context[len(context.rstrip()) :], suffix)
