"""The completion path, free of HTTP and of dialects: a request in, an answer out, one record logged.

Per request: pick the arm, render the prompt to token ids, call one engine once, clean the answer, and
append one record. The record is written in every case, also when the client has gone (`delivered` false):
cancelled requests carry most of a developer's keystrokes.
"""

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Awaitable
from typing import Any

from ray.exceptions import RayError

from echo_ray.dialects.asked import Answered, Asked, Refusal, Usage
from echo_ray.log.segment import SegmentWriter
from echo_ray.schema import Kind
from echo_ray.serve import policy, records
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.engine import Answer
from echo_ray.serve.lanes import Lane, Plan
from echo_ray.serve.who import Identity

log = logging.getLogger("ray.serve")  # reaches the replica's log file

GONE = Refusal(499, "the client has closed the connection", "client_closed_request")
"""What nobody will read."""


class Gateway:
    """All that one gateway process holds: the plan, the lanes and the log's writer."""

    def __init__(self, config: ServeConfig, plan: Plan, lanes: dict[str, Lane], writer: SegmentWriter) -> None:
        self.config = config
        self.plan = plan
        self.lanes = lanes
        """Lane by version; every version of the plan has one."""
        self.writer = writer
        self.running: Counter[str] = Counter()
        """Requests that a version is answering now; what drains a version that has left the plan."""

    async def complete(
        self,
        asked: Asked,
        who: Identity,
        *,
        ts_ms: int,
        gone: Awaitable[None],
        arm: str | None = None,
    ) -> Answered | Refusal:
        """Answer one request, sent at `ts_ms` (UTC milliseconds). `gone` is done when the client has left:
        the engine is stopped then. `arm` overrides the plan.
        """
        started = time.perf_counter()
        plan = self.plan
        arm = plan.arm(who.user) if arm is None else arm
        lane = self.lanes[plan.versions[arm]]
        request_id = f"cmpl-{uuid.uuid4().hex}"
        answered: Answered | Refusal = GONE
        self.running[lane.version] += 1
        try:
            found = await self._first(self._ask(lane, asked), gone) if plan.on else Answer()
            if isinstance(found, Refusal):
                answered = found
                return answered
            texts = self._shown(found, asked)
            answered = Answered(
                request_id,
                lane.version,
                arm,
                ts_ms // 1000,
                texts,
                tuple(choice.finish_reason for choice in found.choices) or ("stop",),
                Usage(found.prompt_tokens, found.completion_tokens, found.cached_tokens),
                (time.perf_counter() - started) * 1000,
            )
            return answered
        finally:
            self.running[lane.version] -= 1
            served = isinstance(answered, Answered) and plan.on
            self.writer.append(
                records.request_record(
                    who,
                    request_id=request_id,
                    ts_ms=ts_ms,
                    prefix=asked.prefix,
                    suffix=asked.suffix,
                    delivered=served,
                    proposal=answered.texts[0] if isinstance(answered, Answered) and plan.on else None,
                    model=lane.version,
                    arm=arm,
                    latency_ms=answered.latency_ms if isinstance(answered, Answered) and plan.on else None,
                    kind=asked.kind,
                )
            )

    def snapshot(self, asked: Asked, who: Identity, ts_ms: int) -> None:
        """Log a document as an editor sent it between two requests."""
        arm = self.plan.arm(who.user)
        self.writer.append(
            records.request_record(
                who,
                request_id=f"snap-{uuid.uuid4().hex}",
                ts_ms=ts_ms,
                prefix=asked.prefix,
                suffix=asked.suffix,
                delivered=False,
                proposal=None,
                model=self.plan.versions[arm],
                arm=arm,
                latency_ms=None,
                kind=Kind.AUTOMATIC,
            )
        )

    def _shown(self, found: Answer, asked: Asked) -> tuple[str, ...]:
        """What the client sees of each of the engine's texts."""
        texts = []
        for choice in found.choices:
            text = policy.proposal(
                choice.text, asked.prefix, asked.suffix, asked.stop, choice.finish_reason != "length"
            )
            sure = policy.confidence(choice.text, choice.log_probs) >= self.config.silence_below
            texts.append(text if sure else "")
        return tuple(texts) or ("",) * asked.n

    async def _ask(self, lane: Lane, asked: Asked) -> Answer | Refusal:
        """The engine's answer. Cancelling this cancels the engine's work."""
        call = lane.ask(lane.prompt(self.config, asked))
        try:
            async with asyncio.timeout(self.config.deadline_s):
                answer: Answer = await call
        except TimeoutError:
            call.cancel()
            return Refusal(504, f"no answer within {self.config.deadline_s:g} s", "timeout")
        except asyncio.CancelledError:
            call.cancel()
            raise
        except RayError as error:
            log.exception("the engine of %s failed", lane.version)
            reason = str(error).strip().rpartition("\n")[2]
            return Refusal(503, f"the engine of {lane.version} failed: {reason[:300]}", "server_error")
        if answer.error is not None:
            kind = "invalid_request_error" if answer.status < 500 else "server_error"
            return Refusal(answer.status, answer.error, kind)
        return answer

    @staticmethod
    async def _first(work: Any, gone: Awaitable[None]) -> Answer | Refusal:
        """What `work` gives, or GONE and an end of the work when the client leaves before."""
        task = asyncio.ensure_future(work)
        left = asyncio.ensure_future(gone)
        try:
            await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                return GONE
            found: Answer | Refusal = await task
            return found
        finally:
            for one in (task, left):
                one.cancel()
            await asyncio.wait({task, left})
