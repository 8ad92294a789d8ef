"""What clients tell beside asking: what became of completions, and documents between two requests.

An event is acknowledged once it is on disk. Not covered: events about requests of another service; they are
logged as told, and the miner joins by request id.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from echo_ray.dialects import native, openai, tabby
from echo_ray.dialects.asked import JSON, Answered, Asked, Refusal
from echo_ray.dialects.body import Body
from echo_ray.dialects.continue_dev import Join
from echo_ray.dialects.speculative import Sessions
from echo_ray.errors import ServeError
from echo_ray.serve import door, live
from echo_ray.serve.door import Caller
from echo_ray.serve.gateway import Gateway
from echo_ray.serve.records import Entry
from echo_ray.serve.replies import json_reply, refuse
from echo_ray.serve.who import NOBODY, Identity

WATCHED, WATCHED_RECORDS, RECENT = 64, 400, 200
"""Sessions whose records are kept for the live view, records of each, and records of all sessions that are
kept in memory for whoever begins to look (counts)."""

WATCHED_CHARS = 100_000
"""Longest text of a record that is kept for it: whoever looks must not fill the memory."""

UNWRITTEN = "the experience log cannot be written now: send the event again"


class Intake:
    """Handlers of events and snapshots, and what they must remember of answers."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._sessions = Sessions()
        self._join = Join()
        self._watched: dict[str, deque[dict[str, Any]]] = {}
        self._recent: deque[tuple[str, Entry]] = deque(maxlen=RECENT)
        gateway.watch = self._seen

    def classified(self, dialect: str, asked: Asked, who: Identity) -> Asked:
        """`asked` with its kind: clients of llama.cpp also ask ahead of the user."""
        if dialect != "infill":
            return asked
        return replace(asked, kind=self._sessions.kind(who.session, who.client, asked))

    def answered(self, dialect: str, asked: Asked, who: Identity, found: Answered, ts_ms: int) -> None:
        """Remember an answer for what the client will say of it."""
        if dialect == "infill":
            self._sessions.answered(who.session, who.client, asked, found.texts)
        else:
            for text in found.texts:
                self._join.served(found.request_id, who.user, ts_ms, asked.prefix, asked.suffix, text)

    async def native_events(self, request: Request, body: JSON, caller: Caller) -> Response:
        """`POST /v1/echo/events`: one, a list, or `{"events": [...]}`; logged all or not at all."""
        ts_ms = door.time_ms(request, self._gateway.config)
        if isinstance(ts_ms, Refusal):
            return refuse(openai, ts_ms, request)
        named = Body(body).text("user") if isinstance(body, dict) else None
        who = door.identify(request, Asked("", "", user=named), caller, ts_ms)
        found = native.events(body, who.user, ts_ms)
        if isinstance(found, Refusal):
            return refuse(openai, found, request)
        return await self._log(request, openai, found, who, {"logged": len(found)})

    async def tabby_event(self, request: Request, body: JSON, caller: Caller) -> Response:
        """`POST /v1/events`: view, select, dismiss."""
        now_ms = time.time_ns() // 1_000_000
        who = door.identify(request, NOBODY, caller, now_ms)
        found = tabby.events(body, request.query_params.get("select_kind"), who.user, now_ms)
        if isinstance(found, Refusal):
            return refuse(tabby, found, request)
        return await self._log(request, tabby, found, who, None)

    async def continue_data(self, request: Request, body: JSON, caller: Caller) -> Response:
        """`POST /v1/dev-data`: what Continue says of its suggestions."""
        now_ms = time.time_ns() // 1_000_000
        who = door.identify(request, NOBODY, caller, now_ms)
        found = self._join.log(body, now_ms)
        if isinstance(found, Refusal):
            return refuse(openai, found, request)
        said = {"logged": len(found.records), "outcome": found.outcome.value}
        return await self._log(request, openai, found.records, who, said)

    async def snapshot(self, request: Request, body: JSON, caller: Caller) -> Response:
        """`POST /v1/echo/snapshots`: `{"id", "prefix", "suffix", "ts_ms"}`: nobody asked."""
        given = Body(body)
        prefix, suffix = given.text("prefix"), given.text("suffix") or ""
        if prefix is None:
            given.wrong("prefix", "a string")
        sent_ms = given.whole("ts_ms", 0, 2**63 - 1)
        ts_ms = door.time_ms(request, self._gateway.config)
        fault = given.fault or (ts_ms if isinstance(ts_ms, Refusal) else None)
        if fault is not None or prefix is None or isinstance(ts_ms, Refusal):
            return refuse(openai, fault or Refusal(400, "prefix must be a string"), request)
        # Queued by the client while the service was away: its own time, but never the future.
        ts_ms = min(ts_ms, sent_ms) if sent_ms is not None else ts_ms
        asked = Asked(prefix, suffix)
        who = door.identify(request, asked, caller, ts_ms)
        self._gateway.snapshot(asked, who, ts_ms, given.text("id"))
        return json_reply({"logged": 1})

    async def session(self, request: Request, body: JSON, caller: Caller) -> Response:
        """`GET /v1/echo/session?session=...`: what the log holds of its newest records, and what would be
        mined from them.
        """
        name = request.query_params.get("session", "")
        if name not in self._watched:
            while len(self._watched) >= WATCHED:
                del self._watched[next(iter(self._watched))]
            self._watched[name] = deque(maxlen=WATCHED_RECORDS)
            for session, entry in list(self._recent):
                self._keep(entry, session)
        records = list(self._watched[name])
        # The miner takes milliseconds: not on the event loop.
        found = await asyncio.to_thread(live.mined, records)
        newest = [
            record | {"prefix": record["prefix"][-400:], "suffix": record["suffix"][:400]}
            if record["record"] == "request"
            else record
            for record in records[-50:]
        ]
        return json_reply(
            {
                "records": newest,
                "mined": found[:50],
                "collect": self._gateway.config.privacy.collect,
            }
        )

    def _seen(self, entry: Entry, session: str) -> None:
        self._recent.append((session, entry))
        self._keep(entry, session)

    def _keep(self, entry: Entry, session: str) -> None:
        kept = self._watched.get(session)
        texts = (entry.record.get("prefix", ""), entry.record.get("suffix", ""))
        if kept is not None and sum(map(len, texts)) <= WATCHED_CHARS:
            record = self._gateway.collected(entry)
            if record is not None:
                kept.append(record)

    async def _log(
        self, request: Request, dialect: Any, events: Sequence[dict[str, Any]], who: Identity, said: Any
    ) -> Response:
        """Acknowledge events once they are on disk."""
        try:
            await self._gateway.log_events(events, who)
        except (ServeError, TimeoutError):
            return refuse(dialect, Refusal(503, UNWRITTEN, "service_unavailable"), request)
        return Response(b"" if said is None else orjson.dumps(said), media_type="application/json")
