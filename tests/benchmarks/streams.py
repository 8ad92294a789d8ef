"""Logs to measure with: keystrokes of many users in real source text, as clients would have sent them."""

import heapq
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from echo_ray import schema
from echo_ray.rng import generator

PREFIX_CHARS, SUFFIX_CHARS = 4500, 1500
"""The window of a request: 6 KB around the cursor."""


def modules() -> list[str]:
    """Real source texts, long enough that the context is a window."""
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return [text for text in texts if len(text) > 4 * PREFIX_CHARS]


def keystroke(draws: random.Random, text: str, cursor: int) -> tuple[str, int]:
    """(text, cursor) after one act: a key, a correction or a jump."""
    draw = draws.random()
    if draw < 0.02:
        return text, draws.randrange(len(text))
    if draw < 0.11 and cursor:
        return text[: cursor - 1] + text[cursor:], cursor - 1
    return text[:cursor] + draws.choice("etaoin srhl\n") + text[cursor:], cursor + 1


def stream(user: str, texts: list[str], requests: int) -> Iterator[dict[str, Any]]:
    """One developer typing: runs of keys, corrections, jumps; ids and times as random as real ones."""
    draws = generator(0, "bench", "store", user)
    text = draws.choice(texts)
    cursor, now = draws.randrange(len(text)), 1_700_000_000_000 + draws.randrange(5_000)
    for _ in range(requests):
        text, cursor = keystroke(draws, text, cursor)
        now += draws.randrange(80, 600)
        yield schema.REQUEST_DEFAULTS | {
            "record": "request",
            "request_id": f"cmpl-{draws.getrandbits(128):032x}",
            "ts_ms": now,
            "user": user,
            "session": f"{user}-0",
            "file": f"{user}-file",
            "language": "python",
            "prefix": text[max(0, cursor - PREFIX_CHARS) : cursor],
            "suffix": text[cursor : cursor + SUFFIX_CHARS],
            "prefix_complete": cursor <= PREFIX_CHARS,
            "suffix_complete": len(text) - cursor <= SUFFIX_CHARS,
            "delivered": draws.random() < 0.3,
            "proposal": text[cursor : cursor + draws.randrange(60)] if draws.random() < 0.4 else None,
            "model": "m-1",
            "arm": "base",
            "latency_ms": round(draws.uniform(30, 300), 3),
            "client": "editor/1.2",
        }


def lines(users: int, requests: int) -> Iterator[bytes]:
    """JSON Lines of `users` sessions of `requests` requests each, in the order of arrival."""
    texts = modules()
    rows = heapq.merge(
        *(stream(f"u{number}", texts, requests) for number in range(users)),
        key=lambda row: (row["ts_ms"], row["request_id"]),
    )
    for row in rows:
        yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def write(folder: Path, users: int, requests: int, files: int) -> int:
    """Write such a log in `files` files; returns its bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, per_file, size = users * requests, -(-users * requests // files), 0
    source = lines(users, requests)
    for number in range(files):
        with (folder / f"log-{number:03d}.jsonl").open("wb", buffering=1 << 20) as file:
            for _ in range(min(per_file, rows - number * per_file)):
                size += file.write(next(source))
    return size
