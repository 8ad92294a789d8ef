"""A backend with a memory, a purse and a limit to its patience: what stages get as their `Chooser`.

`Asker` looks answers up before it asks, writes new ones down as they arrive, refuses to spend more than the
limits, and stops a job whose model fails too often. Such a stop is a StageError with one sentence: finished
shards and the answers heard so far stay, and the same command goes on.

The early check of failures needs `ENOUGH` questions and a share that is over the limit by three standard
deviations, so that bad luck at the beginning stops nothing; the whole is judged at the end (`refinery`).
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from echo_ray.chooser import Backend, Question, Reply
from echo_ray.config import fingerprint
from echo_ray.errors import StageError
from echo_ray.llm.config import LlmConfig
from echo_ray.llm.journal import Journal, Meter, key

ENOUGH = 50
"""Questions after which failures are judged while the work goes on (count)."""


class Asker:
    """Asks `backend` under the limits of `config`; `section` is the section of settings that errors name."""

    def __init__(
        self, backend: Backend, config: LlmConfig, section: str, journal: Journal, meter: Meter
    ) -> None:
        self.name = backend.name
        self._backend, self._config, self._section = backend, config, section
        self._journal, self._meter = journal, meter
        self._identity = f"{backend.name} {fingerprint(config.identity())}"
        self._heard: dict[str, Reply] = {}
        self._asked = 0  # of the model, in this process
        self._failures: Counter[str] = Counter()
        self._notes: dict[str, str] = {}
        self._stop: str | None = None
        self._spent = False
        self._facts: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._seconds = 0.0

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """One reply for each question, in order; equal questions are asked once.

        Raises StageError when a spend limit is reached or too many questions failed.
        """
        began = time.monotonic()
        keys = [key(self._identity, question) for question in questions]
        self._heard = {}
        todo: dict[str, Question] = {}
        for question, mark in zip(questions, keys, strict=True):
            known = self._journal.get(mark)
            if known is not None:
                self._heard[mark] = Reply(known, requests=0)
                self._facts["cached"] += 1
            else:
                todo.setdefault(mark, question)
        if todo:
            self._backend.answers(list(todo.values()), self)
        if self._spent:
            raise StageError(self._used_up())  # said now, when what was on its way is counted too
        if self._stop is not None:
            raise StageError(self._stop)
        replies = [self._heard[mark] for mark in keys]
        self._facts["asked"] += len(replies)
        self._failed.update(reply.failure.value for reply in replies if reply.failure is not None)
        self._seconds += time.monotonic() - began
        return replies

    def may_send(self, tokens: int) -> bool:
        """`chooser.Watch`: takes a request out of the purse."""
        if self._stop is None and not self._spent:
            self._spent = not self._meter.take(1, tokens)
        return self._stop is None and not self._spent

    def heard(self, question: Question, reply: Reply, tokens: int) -> bool:
        """`chooser.Watch`: takes a reply, keeps an answer for good, and counts failures."""
        mark = key(self._identity, question)
        self._heard[mark] = reply
        self._meter.correct(reply.prompt_tokens + reply.output_tokens - tokens)
        self._asked += 1
        if reply.choice is not None:
            self._journal.put(mark, reply.choice)
        elif reply.failure is not None:
            self._failures[reply.failure.value] += 1
            self._notes.setdefault(reply.failure.value, reply.note)
            if self._stop is None and self._hopeless():
                counts = {kind: int(count) for kind, count in self._failures.items()}
                self._stop = failing(self._section, self._config, self._asked, counts, self._notes)
        return self._stop is None and not self._spent

    def facts(self) -> dict[str, Any]:
        """What was asked since the last call: counts, seconds, failures by kind with one note each."""
        facts = {
            "asked": self._facts["asked"],
            "cached": self._facts["cached"],
            "seconds": round(self._seconds, 3),
            "failed": dict(self._failed),
            "failure_notes": {kind: self._notes[kind] for kind in self._failed},
        }
        self._facts, self._failed, self._seconds = Counter(), Counter(), 0.0
        return facts

    def _hopeless(self) -> bool:
        limit, failed = self._config.max_failed_share, self._failures.total()
        spread: float = (limit * (1 - limit) * self._asked) ** 0.5
        return self._asked >= ENOUGH and failed > limit * self._asked + 3 * spread

    def _used_up(self) -> str:
        spent, config = self._meter.spent(), self._config
        name, limit = "max_tokens", config.max_tokens
        if config.max_requests is not None and spent.requests >= config.max_requests:
            name, limit = "max_requests", config.max_requests
        return (
            f"{self._section}.{name}={limit} is used up ({spent.requests:,} requests, {spent.tokens:,} "
            "tokens): raise it and run the same command again, which keeps what was answered"
        )


def failing(
    section: str, config: LlmConfig, asked: int, failed: dict[str, int], notes: dict[str, str]
) -> str:
    """The sentence about a model that fails too often."""
    total = sum(failed.values())
    kind = max(sorted(failed), key=lambda name: failed[name])
    return (
        f"{total:,} of {asked:,} questions to {section}.model have no usable answer, more than "
        f"{section}.max_failed_share={config.max_failed_share:g}; most often {kind} ({notes.get(kind, '')}): "
        "run the same command again when it is mended, only those are asked again"
    )
