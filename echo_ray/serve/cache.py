"""Answers without the engine: the same question again, and typing along a proposal.

A question is a `Place` (who asks where, of which model, sampled how) and the text on both sides of the
cursor. Three ways to be answered:

- `exact`: the question was answered within `ttl_s` (Tabby's re-asks, llama.vim's speculative request that
  comes true);
- `joined`: the question is being answered right now (minuet's three requests at once): one engine call for
  all;
- `typed`: the user has typed the first characters of a proposal, and everything else is as it was: the answer
  is the rest. Not when all of it was typed or accepted: what comes next only the engine knows.

A proposal is what post-processing left of the model's text in its own context. The rest of it stands in
another one (more text before the cursor: other lines to repeat, other brackets open), so `refit`, the
post-processing itself, is run on it again; where it leaves nothing, the engine is asked.

Nothing is shared across users, sessions, files, versions or sampling parameters, since they are the place.
Bounded by entries, bytes and age; the least recently used goes first. For one event loop, no threads.

Not covered: windows that moved by a line between two requests, which miss; typing along an answer that is
still being made.
"""

import asyncio
import contextvars
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from echo_ray.dialects.asked import Asked

V = TypeVar("V")


class Hit(StrEnum):
    """How a question was answered."""

    EXACT = "exact"
    JOINED = "joined"
    TYPED = "typed"
    MISS = "miss"


@dataclass(frozen=True, slots=True)
class Place:
    """All that an answer depends on beside the text around the cursor, and who may see it."""

    version: str
    """Immutable model version of the arm."""
    user: str
    session: str
    file: str
    sampling: tuple[Any, ...]
    snippets: bytes
    """Digest of the text of other files that the model sees."""


@dataclass(frozen=True, slots=True)
class Question:
    """One place and the text on both sides of the cursor."""

    place: Place
    prefix: str
    suffix: str


@dataclass(frozen=True, slots=True)
class Reply(Generic[V]):
    """What was answered: `text` is the first choice's, `value` whatever the caller keeps with it."""

    text: str
    value: V


@dataclass(frozen=True, slots=True)
class Found(Generic[V]):
    """A reply and where it came from. Of one that was typed along, only `reply.text` is the answer: `value`
    is that of the whole.
    """

    reply: Reply[V]
    hit: Hit


def question(asked: Asked, *, version: str, user: str, session: str, file: str) -> Question | None:
    """What `asked` is cached under; None when every answer is drawn anew (a temperature and no seed).

    `asked` must hold what the engine is given: the service's defaults are filled in before. Identities are
    those that the service resolved.
    """
    if asked.temperature != 0 and asked.seed is None:
        return None
    digest = blake2b(digest_size=16)
    for snippet in asked.snippets:
        digest.update(repr(snippet).encode("utf-8", "surrogatepass"))
    sampling = (asked.temperature, asked.top_p, asked.max_tokens, asked.stop, asked.n, asked.seed)
    place = Place(version, user, session, file, (*sampling, asked.language), digest.digest())
    return Question(place, asked.prefix, asked.suffix)


@dataclass(slots=True)
class _Entry(Generic[V]):
    reply: Reply[V]
    size: int
    number: int


@dataclass(slots=True)
class _Flight(Generic[V]):
    task: "asyncio.Task[Reply[V]]"
    waiting: int = 0
    settled: bool = False
    """Whether its reply was kept, or denied."""


class AnswerCache(Generic[V]):
    """Replies of one service. `refit(rest, prefix, suffix)` is its post-processing (see the module)."""

    def __init__(
        self,
        refit: Callable[[str, str, str], str],
        *,
        ttl_s: float = 30.0,
        max_entries: int = 4096,
        max_bytes: int = 64 << 20,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refit, self._now = refit, now
        self._ttl_s, self._max_entries, self._max_bytes = ttl_s, max_entries, max_bytes
        self._entries: OrderedDict[Question, _Entry[V]] = OrderedDict()
        self._by_suffix: dict[tuple[Place, str], dict[Question, None]] = {}
        # By number, so that what was dropped is not held in memory by the order of ages.
        self._ages: deque[tuple[float, int]] = deque()
        self._numbered: dict[int, Question] = {}
        self._count = 0
        self._flights: dict[Question, _Flight[V]] = {}
        self.bytes = 0
        """Memory that entries hold (bytes, by estimate)."""
        self.hits: Counter[Hit] = Counter()
        """Questions by how they were answered."""

    def __len__(self) -> int:
        return len(self._entries)

    async def ask(
        self,
        wanted: Question,
        call: Callable[[], Coroutine[Any, Any, Reply[V]]],
        keep: Callable[[Reply[V]], bool] = lambda reply: True,
    ) -> Found[V]:
        """The answer to `wanted`, by `call` at most once for all who ask at the same time.

        `call` runs in a task of its own that is cancelled when the last of them has gone: when the first one
        goes, the others keep its work. It sees none of the caller's context variables: with them, Ray Serve
        would cancel the engine's call together with the first request. What `call` raises, all get, and
        nothing is kept; nor is a reply that `keep` denies.
        """
        found = self.get(wanted)
        if found is not None:
            self.hits[found.hit] += 1
            return found
        while True:
            flight = self._flights.get(wanted)
            first = flight is None
            if flight is None:
                task = asyncio.create_task(call(), context=contextvars.Context())
                flight = self._flights[wanted] = _Flight(task)
            try:
                reply = await self._wait(wanted, flight)
            except asyncio.CancelledError:
                # Who is cancelled goes. Whose engine call was cancelled by others asks again, as a new first.
                if first or _is_cancelled() or not flight.task.cancelled():
                    raise
                continue
            if not flight.settled:
                flight.settled = True
                if keep(reply):
                    self.put(wanted, reply)
            hit = Hit.MISS if first else Hit.JOINED
            self.hits[hit] += 1
            return Found(reply, hit)

    def get(self, wanted: Question) -> Found[V] | None:
        """A kept reply to `wanted`: its own, or the rest of one along which the user has typed."""
        self._expire()
        entry = self._entries.get(wanted)
        if entry is not None:
            self._entries.move_to_end(wanted)
            return Found(entry.reply, Hit.EXACT)
        for earlier in reversed(self._by_suffix.get((wanted.place, wanted.suffix), {})):
            reply = self._entries[earlier].reply
            typed = len(wanted.prefix) - len(earlier.prefix)
            if (
                0 < typed < len(reply.text)
                and wanted.prefix.endswith(reply.text[:typed])
                and wanted.prefix.startswith(earlier.prefix)
            ):
                rest = self._refit(reply.text[typed:], wanted.prefix, wanted.suffix)
                if rest:
                    self._entries.move_to_end(earlier)
                    return Found(Reply(rest, reply.value), Hit.TYPED)
        return None

    def put(self, wanted: Question, reply: Reply[V]) -> None:
        """Keep `reply`, which is post-processed, for `ttl_s`."""
        self._drop(wanted)
        # Python keeps text in 1, 2 or 4 bytes a character; what people write takes one or two.
        size = 2 * (len(wanted.prefix) + len(wanted.suffix) + len(reply.text)) + 1024
        if size > self._max_bytes:
            return
        until_s = self._now() + self._ttl_s
        self._count += 1
        self._entries[wanted] = _Entry(reply, size, self._count)
        self._numbered[self._count] = wanted
        self._by_suffix.setdefault((wanted.place, wanted.suffix), {})[wanted] = None
        self._ages.append((until_s, self._count))
        self.bytes += size
        while self.bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self._drop(next(iter(self._entries)))

    def clear(self) -> None:
        """Forget all replies; calls that are under way go on."""
        self._entries.clear()
        self._by_suffix.clear()
        self._ages.clear()
        self._numbered.clear()
        self.bytes = 0

    async def _wait(self, wanted: Question, flight: _Flight[V]) -> Reply[V]:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.task.done() or not flight.waiting:
                if self._flights.get(wanted) is flight:
                    del self._flights[wanted]
                flight.task.cancel()

    def _expire(self) -> None:
        now = self._now()
        while self._ages and self._ages[0][0] <= now:
            old = self._numbered.get(self._ages.popleft()[1])
            if old is not None:
                self._drop(old)

    def _drop(self, old: Question) -> None:
        entry = self._entries.pop(old, None)
        if entry is None:
            return
        self.bytes -= entry.size
        del self._numbered[entry.number]
        group = self._by_suffix[old.place, old.suffix]
        del group[old]
        if not group:
            del self._by_suffix[old.place, old.suffix]


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
