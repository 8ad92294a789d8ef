"""The completion path, free of HTTP and of dialects: a request in, an answer out, one record logged.

Per request: pick the arm, render the prompt to token ids, ask the cache or one engine, clean the answer, and
append one record. The record is written in every case, also when the client has gone (`delivered` false):
cancelled requests carry most of a developer's keystrokes.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from echo_ray.access.keys import KeyRing
from echo_ray.access.limits import RateLimits
from echo_ray.dialects.asked import Answered, Asked, Refusal, Usage
from echo_ray.errors import ServeError
from echo_ray.log.segment import SegmentWriter
from echo_ray.schema import EventType
from echo_ray.serve import policy, records
from echo_ray.serve.answers import Refused, Told, ask
from echo_ray.serve.cache import AnswerCache, Hit, Reply, question
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.lanes import Lane, Plan, Proposing
from echo_ray.serve.metrics import Labels, ServeMetrics
from echo_ray.serve.records import Entry, Preparing
from echo_ray.serve.who import Identity

GONE = Refusal(499, "the client has closed the connection", "client_closed_request")
"""What nobody will read."""

WRITTEN_S = 5.0
"""How long an event may take to the disk before it is refused (seconds)."""

_REMEMBERED = 1 << 14
"""Requests whose labels are kept for the events about them (count)."""


class Gateway:
    """All that one gateway process holds: the plan, the lanes, the cache, and the log's writer."""

    def __init__(
        self,
        config: ServeConfig,
        plan: Plan,
        lanes: dict[str, Lane],
        writer: SegmentWriter,
        preparing: Preparing,
        keys: KeyRing | None = None,
    ) -> None:
        self.config = config
        self.plan = plan
        self.lanes = lanes
        """Lane by version; every version of the plan has one."""
        self.writer = writer
        self.keys = keys
        self.limits = (
            RateLimits(time.monotonic, rate_per_s=config.rate_per_s, burst=config.burst)
            if config.rate_per_s
            else None
        )
        self.metrics = ServeMetrics()
        self.created_s = int(time.time())
        self.running: Counter[str] = Counter()
        """Requests that a version is answering now; what drains a version that has left the plan."""
        self.watch: Callable[[Entry, str], None] = lambda entry, session: None
        """Told of every record and the session it is of."""
        self._preparing = preparing
        self._cache: AnswerCache[Told] = AnswerCache(policy.proposal, ttl_s=config.cache_s)
        self._labels: dict[str, Labels] = {}
        self._counted = 0, 0

    async def complete(
        self,
        asked: Asked,
        who: Identity,
        *,
        dialect: str,
        ts_ms: int,
        gone: Coroutine[Any, Any, None],
        arm: str | None = None,
    ) -> Answered | Refusal:
        """Answer one request, sent at `ts_ms` (UTC milliseconds). `gone` ends when the client has left: the
        engine is stopped then. `arm` overrides the plan.
        """
        started = time.perf_counter()
        plan = self.plan
        arm = self._arm(who) if arm is None else arm
        lane = self.lanes[plan.versions[arm]]
        labels = Labels(lane.version, arm, who.language, dialect)
        self.metrics.requested(labels)
        request_id = f"cmpl-{uuid.uuid4().hex}"
        answered: Answered | None = None
        left = plan.on
        self.running[lane.version] += 1
        try:
            if not plan.on:
                gone.close()
                return self._silent(request_id, lane.version, arm, asked, ts_ms)
            found = await _first(self._told(lane, asked, who), gone)
            left = found is GONE
            if isinstance(found, Refusal):
                self.metrics.refused(found.type)
                return found
            told, hit = found
            latency_s = time.perf_counter() - started
            answered = Answered(
                request_id, lane.version, arm, ts_ms // 1000, told.texts, told.finish_reasons, told.usage,
                latency_s * 1000,
            )  # fmt: skip
            self.metrics.answered(
                labels,
                chars=len(told.texts[0]),
                latency_s=latency_s,
                engine_s=told.engine_s if hit is Hit.MISS else None,
                leaked=told.leaked and hit is Hit.MISS,
            )
            self._remember(request_id, labels)
            return answered
        finally:
            self.running[lane.version] -= 1
            if left:
                self.metrics.cancelled(labels)
            self._append(
                records.request_record(
                    who,
                    request_id=request_id,
                    ts_ms=ts_ms,
                    prefix=asked.prefix,
                    suffix=asked.suffix,
                    delivered=answered is not None,
                    proposal=answered.texts[0] if answered else None,
                    model=lane.version,
                    arm=arm,
                    latency_ms=answered.latency_ms if answered else None,
                    kind=asked.kind,
                ),
                who.session,
            )

    def silence(self, asked: Asked, who: Identity, ts_ms: int) -> Answered:
        """An answer without text that no engine was asked for and no record is kept of."""
        arm = self._arm(who)
        return self._silent(f"cmpl-{uuid.uuid4().hex}", self.plan.versions[arm], arm, asked, ts_ms)

    def snapshot(self, asked: Asked, who: Identity, ts_ms: int, name: str | None = None) -> None:
        """Log a document as an editor sent it between two requests; `name` tells repeats apart."""
        arm = self._arm(who)
        entry = records.request_record(
            who,
            request_id=f"snap-{name or uuid.uuid4().hex}",
            ts_ms=ts_ms,
            prefix=asked.prefix,
            suffix=asked.suffix,
            delivered=False,
            proposal=None,
            model=self.plan.versions[arm],
            arm=arm,
            latency_ms=None,
        )
        self._append(entry, who.session)

    async def log_events(self, events: Sequence[dict[str, Any]], who: Identity) -> None:
        """Return when `events` are on disk. Raises ServeError when they cannot be, TimeoutError when the disk
        is too slow; the client sends them again then.
        """
        tickets = []
        for event in events:
            entry = Entry(event, who.tenant, who.repository)
            tickets.append(self.writer.append(entry, must=True))
            self.watch(entry, who.session)
        if tickets:
            async with asyncio.timeout(WRITTEN_S):
                await self.writer.written(max(tickets))
        for event in events:
            labels = self._labels.get(event["request_id"])
            if labels is not None and event["type"] in (EventType.ACCEPTED, EventType.PARTIALLY_ACCEPTED):
                self.metrics.accepted(labels, event["accepted_chars"])

    def collected(self, entry: Entry) -> dict[str, Any] | None:
        """`entry` as it is written, None when it is not."""
        return self._preparing(entry)

    async def unhealthy(self) -> list[str]:
        """Arms whose engine does not answer its health check within 5 s."""
        plan, lanes = self.plan, self.lanes
        versions = sorted(set(plan.versions.values()))
        done = await asyncio.gather(*(_healthy(lanes[version].engine) for version in versions))
        bad = {version for version, healthy in zip(versions, done, strict=True) if not healthy}
        return [arm for arm, version in plan.versions.items() if version in bad]

    def rendered_metrics(self) -> bytes:
        """All metrics in Prometheus' text format."""
        state = self.writer.state()
        lost, failed = state.dropped + state.refused, state.failed
        self.metrics.logged(lost=lost - self._counted[0], failed=failed - self._counted[1])
        self._counted = lost, failed
        self.metrics.engines({version: lane.engine.lines for version, lane in self.lanes.items()})
        return self.metrics.render()

    def close(self) -> None:
        """Flush and close the log."""
        self.writer.close()

    def _arm(self, who: Identity) -> str:
        # By the name that the log has, so that an analysis can check the assignment.
        return self.plan.arm(self._preparing.collector.pseudonym(who.user))

    def _append(self, entry: Entry, session: str) -> None:
        self.writer.append(entry)
        self.watch(entry, session)

    def _remember(self, request_id: str, labels: Labels) -> None:
        self._labels[request_id] = labels
        if len(self._labels) > _REMEMBERED:
            del self._labels[next(iter(self._labels))]

    def _silent(self, request_id: str, version: str, arm: str, asked: Asked, ts_ms: int) -> Answered:
        texts, reasons = ("",) * asked.n, ("stop",) * asked.n
        return Answered(request_id, version, arm, ts_ms // 1000, texts, reasons, Usage(0, 0, 0), 0.0)

    async def _told(self, lane: Lane, asked: Asked, who: Identity) -> tuple[Told, Hit] | Refusal:
        """The answer to `asked` and where it came from."""
        if asked.temperature is None:
            asked = replace(asked, temperature=self.config.temperature)
        wanted = question(asked, version=lane.version, user=who.user, session=who.session, file=who.file)

        async def call() -> Reply[Told]:
            told = await ask(self.config, lane, asked, who.session)
            return Reply(told.texts[0], told)

        try:
            if wanted is None or not self.config.cache_s:
                return (await call()).value, Hit.MISS
            found = await self._cache.ask(wanted, call)
        except Refused as error:
            return error.refusal
        told = found.reply.value
        if found.hit is Hit.MISS:
            self.metrics.cache_miss()
        else:
            self.metrics.cache_hit(found.hit.value)
        if found.hit is Hit.TYPED:
            told = told._replace(texts=(found.reply.text, *told.texts[1:]))
        return told, found.hit


async def _first(
    work: Coroutine[Any, Any, tuple[Told, Hit] | Refusal], gone: Coroutine[Any, Any, None]
) -> tuple[Told, Hit] | Refusal:
    """What `work` gives, or GONE and an end of the work when the client leaves before."""
    task, left = asyncio.ensure_future(work), asyncio.ensure_future(gone)
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        return GONE if left.done() else await task
    finally:
        task.cancel()
        left.cancel()


async def _healthy(engine: Proposing) -> bool:
    try:
        async with asyncio.timeout(5):
            await engine.check_health()
    except (TimeoutError, ServeError):
        return False
    return True
