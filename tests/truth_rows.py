"""Synthetic truth of simulated developers for tests: plausible rows, drawn from a seed, no engine needed."""

import math
import random
from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]

PERSIST_S = (15, 30, 120, 300, 600)
STATES = ("plan", "write", "verify", "fix", "run")


def row(kind: str, ts_ms: float, user: str = "u", **detail: Any) -> Row:
    return {"kind": kind, "ts_ms": ts_ms, "user": user, "item": "i", "offset": 0, **detail}


def edit(ts_ms: float, at: int, removed: str, inserted: str, by: str = "key", user: str = "u") -> Row:
    return row("edit", ts_ms, user, at=at, removed=removed, inserted=inserted, by=by)


def developer(
    user: str, seed: int = 0, days: int = 1, edits: int = 800, ar: float = 0.26, assisted: bool = True
) -> Iterator[Row]:
    """A developer's days: typing with slips and jumps, requests, exposures, decisions, checks.

    Without `assisted` nothing is shown and every piece of work takes longer.
    """
    own = random.Random(f"{seed} {user}")
    leaning = own.gauss(0, 0.08)
    yield {"kind": "run", "user": user, "arm": None, "policy": "p1", "policy_hash": "h", "client": "default"}
    exposure, text = 0, "x" * 400
    for day in range(days):
        now = 86_400_000.0 * (day + 1) + own.random() * 3_600_000
        yield row("session_start", now, user, session=day, day=day)
        yield row("file_switch", now, user, file="f", repository="r", language="python", chars=len(text))
        cursor = len(text) // 2
        checks: list[Row] = []
        for number in range(edits if assisted else int(edits * 1.3)):
            gap_s = math.exp(own.gauss(-1.7, 1.0))
            draw = own.random()
            gap_s += (
                own.expovariate(1 / 200) if draw < 0.004 else own.expovariate(1 / 6) if draw < 0.12 else 0
            )
            now += 1000 * gap_s
            for check in [check for check in checks if check["ts_ms"] <= now]:
                checks.remove(check)
                yield check
            if number % 40 == 0:
                yield row("state", now, user, state=own.choice(STATES))
            if own.random() < 0.1:
                cursor = min(len(text), max(0, cursor + round(own.gauss(0, 120))))
                yield row("nav", now, user, cursor=cursor, origin=0)
            kind = own.random()
            if kind < 0.1 and cursor:
                cursor -= 1
                yield edit(now, cursor, text[cursor], "", "delete", user)
                text = text[:cursor] + text[cursor + 1 :]
            elif kind < 0.104:
                yield edit(now, cursor, "", "p" * 30, "paste", user)
                text, cursor = text[:cursor] + "p" * 30 + text[cursor:], cursor + 30
            else:
                yield edit(now, cursor, "", "t", "slip" if kind < 0.14 else "key", user)
                text, cursor = text[:cursor] + "t" + text[cursor:], cursor + 1
            if own.random() < 0.5:
                yield row("opportunity", now, user, situation="boundary", gate_share=0.4, gate_draw=0.2)
            if own.random() < 0.34:
                name = f"{user}-{day}-{number}"
                yield row("request", now, user, request_id=name, request_ts_ms=int(now), cursor=cursor,
                          request_kind="automatic", cancelled=own.random() < 0.3, latency_ms=280.0,
                          judging=True, intent="")  # fmt: skip
                if assisted and own.random() < 0.6:
                    exposure += 1
                    yield from _exposure(own, user, now, exposure, cursor, ar + leaning, checks)
        for check in sorted(checks, key=lambda check: float(check["ts_ms"])):
            yield check


def _exposure(
    own: random.Random, user: str, now: float, exposure: int, cursor: int, ar: float, checks: list[Row]
) -> Iterator[Row]:
    chars = max(1, round(math.exp(own.gauss(3.1, 1.0))))
    lines = 1 + (chars > 90)
    accept = own.random() < ar
    distance = 0 if own.random() < (0.6 if accept else 0.05) else own.randint(1, chars)
    seconds = math.exp(own.gauss(0.99, 1.0))
    yield row("response", now, user, request_id="", chars=chars)
    yield row("shown", now, user, exposure=exposure, request_id="", proposal="s" * chars)
    yield row("decision", now, user, exposure=exposure, accept=accept, p_accept=ar, u_draw=0.5,
              chars=chars, distance=distance, matched=chars - distance, mode="acceleration",
              decision_s=seconds)  # fmt: skip
    if accept:
        yield row("accepted", now, user, exposure=exposure, request_id="", chars=chars, lines=lines,
                  partial=False)  # fmt: skip
    yield row("exposure_end", now, user, exposure=exposure, how="accepted" if accept else "typed_over",
              visible_ms=1000 * seconds, counted=accept or seconds > 0.75, decided=True, chars=chars,
              lines=lines)  # fmt: skip
    if accept:
        yield edit(now, cursor, "", "s" * chars, "accept", user)
        yield edit(
            now, cursor, "s" * chars, "", "undo", user
        )  # the text that this generator keeps stays short
        dies_s = own.expovariate(1 / 30) if own.random() < 0.35 else 10_000
        for after_s in PERSIST_S:
            gone = min(chars, 1 + chars // 4) if dies_s < after_s else 0
            checks.append(
                row("persist", now + 1000 * after_s, user, exposure=exposure, after_s=after_s, chars=chars,
                    alive=chars - gone, unchanged=not gone, distance=gone)
            )  # fmt: skip
