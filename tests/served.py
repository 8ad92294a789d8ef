"""Logs of a served A/B for tests: developers who type, look and accept, and what they really did.

Small enough to say by hand what was typed and taken, and written with keystrokes, so that acceptance can be
read from the stream as well as from events.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

BEGIN_MS = 1_767_225_600_000
LOOK_MS, GLANCE_MS, LATENCY_MS = 1500, 200, 100.0
TEXTS = ("value", "total(a)", "return", "result_of_all(", "self.items[0]", "for_each_of_them_all(x)")


@dataclass
class Served:
    """Records of a log, and the truth about every user."""

    records: list[dict[str, Any]] = field(default_factory=list)
    truth: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(int)))

    def write(self, folder: Path, name: str = "log.jsonl") -> Path:
        """One JSON Lines file."""
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(record) + "\n" for record in self.records)
        (folder / name).write_text(text, encoding="utf-8")
        return folder


def arm_of(number: int, names: tuple[str, str]) -> str:
    return names[number % 2]


def served(
    users: int = 40,
    asks: int = 60,
    *,
    rates: tuple[float, float] = (0.25, 0.25),
    names: tuple[str, str] = ("old", "new"),
    seed: int = 1,
    events: bool = True,
    begin_ms: int = BEGIN_MS,
    begin_id: str = "",
    taste: float = 0.0,
    languages: tuple[str, ...] = ("python", "go"),
) -> Served:
    """`users` developers in turn in either arm, `asks` looks at proposals each; acceptance by arm in `rates`.

    `taste` is the standard deviation of acceptance between users. Odd looks are glances: not shown.
    """
    log = Served()
    tastes = np.random.default_rng(99).normal(0, taste, users)
    for number in range(users):
        arm = arm_of(number, names)
        user = f"u{number:04d}"
        rate = float(np.clip(rates[number % 2] + tastes[number], 0, 1))
        _work(log, user, arm, rate, asks, np.random.default_rng([seed, number]), events, begin_ms, begin_id,
              languages[number // 2 % len(languages)])  # fmt: skip
    return log


def _work(
    log: Served, user: str, arm: str, rate: float, asks: int, random: Any, events: bool, now: int,
    begin_id: str, language: str,
) -> None:  # fmt: skip
    truth, text, count = log.truth[user], "", 0
    now += int(random.integers(0, 60_000))

    def ask(proposal: str | None, delivered: bool = True) -> str:
        nonlocal count
        count += 1
        name = f"{begin_id}{user}-{count:05d}"
        answer = {"delivered": delivered, "proposal": proposal if delivered else None}
        answer |= {"latency_ms": LATENCY_MS if delivered else None, "model": f"model-{arm}"}
        log.records.append(
            {"record": "request", "schema": "1", "request_id": name, "ts_ms": now, "user": user, "arm": arm}
            | {"session": f"{user}-s", "file": "f", "language": language, "prefix": text, "suffix": "\n"}
            | answer
        )
        truth["requests"] += 1
        truth["cancelled"] += not delivered
        truth["silent"] += delivered and proposal == ""
        return name

    def tell(name: str, kind: str, **more: Any) -> None:
        if events:
            told = {"record": "event", "request_id": name, "ts_ms": now, "user": user, "type": kind}
            log.records.append(told | more)

    def key(char: str) -> None:
        nonlocal text, now
        text += char
        truth["typed_chars"] += 1

    for step in range(asks):
        for char in "ab ":
            ask(None, delivered=False)
            now += 150
            key(char)
        proposal = TEXTS[int(random.integers(len(TEXTS)))]
        name = ask("" if step % 10 == 9 else proposal)
        if step % 10 == 9:
            now += LOOK_MS
            key(";")
            continue
        tell(name, "shown")
        if step % 2:
            now += GLANCE_MS
            tell(name, "dismissed", visible_ms=GLANCE_MS - 100)
            key(",")
            continue
        truth["shown"] += 1
        truth["shown_chars"] += len(proposal)
        now += LOOK_MS
        if random.random() < rate:
            tell(name, "accepted", accepted_chars=len(proposal), visible_ms=LOOK_MS - 100)
            text += proposal
            truth["accepted"] += 1
            truth["accepted_chars"] += len(proposal)
        else:
            tell(name, "dismissed", visible_ms=LOOK_MS - 100)
        key("\n")
    ask(None, delivered=False)
