"""Kill -9 of every process of the real service under load of completions and events over HTTP.

`python -m tests.benchmarks.crash_service 50 [KIND ...]` prints the figures of 50 kills, the default test does
one of each. What is asked of the service: an event that was acknowledged is on disk; a completion that
was answered is, too, unless the answer came within the time that a commit may take before the kill; the
service comes back by itself, in answering and in writing; after a kill of `echo-ray serve` nothing is left
that holds the port, a model or the log, and it starts again on the same port and log. The next process is
killed when the service has come back: the gateway and its writer killed at once lose what is between them.

Not covered: Ray's two agents of the killed cluster, which try to tell it what happened for a while
and then end too.
"""

import itertools
import random
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.benchmarks import live_service as live_services
from tests.benchmarks.live_service import Live, ended, is_alive, killed_if_left

KINDS = ("writer", "gateway", "engine", "core", "proxy", "driver")
"""Which process is killed."""
TURNS = (
    *("writer", "gateway", "engine", "gateway", "writer", "driver"),
    *("gateway", "writer", "core", "writer", "gateway", "proxy"),
)
"""In turn; the processes that write more often than those that take long to come back."""
FLUSH_MS = 100
"""`serve.flush_ms`: a record is on disk within this time and one fsync."""
BACK_S = 120.0
"""Longest time that the service may be away."""
UNDER_WAY_S = 1.0
_CLIENTS, _TELLERS = 6, 6
_WORDS = ("total", "value", "items", "count", "stack", "first", "second", "result", "name", "index")


@dataclass(slots=True)
class Said:
    """What clients were told, with the time (monotonic seconds) of each answer."""

    answered: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When completions with status 200 were sent and answered, by id."""
    told: dict[str, float] = field(default_factory=dict)
    """Events with status 200, by the id that they name."""
    statuses: dict[int, int] = field(default_factory=dict)
    """Count of answers by status; 0 is a connection that broke."""
    first_after: dict[str, float] = field(default_factory=dict)
    """When the first completion (`ask`) and event (`tell`) was answered that was sent after `since`."""
    since: float = float("inf")
    slowest_ms: float = 0.0
    """Longest wait of an acknowledged event while nobody was killed."""


class Load:
    """Clients in threads that ask and tell until the block is left."""

    def __init__(self, url: str, said: Said) -> None:
        self._url, self.said = url, said
        self._ended, self._lock = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(number, work), daemon=True)
            for work, count in ((self._ask, _CLIENTS), (self._tell, _TELLERS))
            for number in range(count)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)

    def answers(self, wanted: int, limit_s: float = BACK_S) -> bool:
        """Wait for so many more answered completions; whether they came."""
        goal, deadline = len(self.said.answered) + wanted, time.monotonic() + limit_s
        while len(self.said.answered) < goal and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(self.said.answered) >= goal

    def _run(self, number: int, work: Callable[[httpx.Client, int, random.Random], int]) -> None:
        draws = random.Random(f"{work}-{number}-{time.time_ns()}")
        with httpx.Client(base_url=self._url, timeout=15, trust_env=False) as client:
            while not self._ended.is_set():
                try:
                    status = work(client, number, draws)
                except httpx.HTTPError:
                    status = 0
                with self._lock:
                    self.said.statuses[status] = self.said.statuses.get(status, 0) + 1
                # A client that was refused does not hammer: editors wait for the next keystroke.
                self._ended.wait(draws.expovariate(20) if status == 200 else 0.2)

    def _ask(self, client: httpx.Client, number: int, draws: random.Random) -> int:
        words = " ".join(draws.choices(_WORDS, k=12))
        body = {"prompt": f"def f():\n    {words} = ", "suffix": "\n", "user": f"u{number}", "max_tokens": 8}
        sent = time.monotonic()
        reply = client.post("/v1/completions", json=body)
        now = time.monotonic()
        if reply.status_code == 200:
            with self._lock:
                self.said.answered[reply.json()["id"]] = sent, now
                self._noted("ask", sent, now)
        return reply.status_code

    def _tell(self, client: httpx.Client, number: int, draws: random.Random) -> int:
        name = f"cmpl-{uuid.UUID(int=draws.getrandbits(128)).hex}"
        sent = time.monotonic()
        reply = client.post("/v1/echo/events", json={"request_id": name, "type": "shown"})
        now = time.monotonic()
        if reply.status_code == 200:
            with self._lock:
                self.said.told[name] = now
                self._noted("tell", sent, now)
                if self.said.since == float("inf"):
                    self.said.slowest_ms = max(self.said.slowest_ms, (now - sent) * 1000)
        return reply.status_code

    def _noted(self, what: str, sent: float, now: float) -> None:
        if sent > self.said.since:
            self.said.first_after.setdefault(what, now)


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill and what came of it."""

    kind: str
    back_s: float
    """From the kill until a completion and an event sent after it were answered; not of the driver."""
    gone_s: float
    """Until the killed process and all that came from it had ended."""
    left: int
    """Processes that did not end by themselves in 30 s."""
    at: float
    """When it, or the gateway with the driver, was killed (monotonic seconds)."""


@dataclass(frozen=True, slots=True)
class Result:
    """All kills of a run, and the log compared with what clients were told."""

    kills: tuple[Kill, ...]
    answered: int
    told: int
    missing_events: int
    missing_requests: int
    oldest_ms: float
    """Most time between the answer to a missing request and the next kill of who held it."""
    slowest_ms: float
    """Longest wait for an acknowledgement: what preparing, writing and one fsync take here."""
    repeated: int
    """Rows of requests and events that are there once more; import merges them."""
    torn: int
    strange: int
    statuses: dict[int, int]


def run(
    kinds: Sequence[str],
    folder: Path,
    model: Path,
    draws: random.Random,
    progress: Callable[[Kill], None] = lambda kill: None,
) -> Result:
    """Kill the processes named, one after another, under load; then compare."""
    said, kills = Said(), list[Kill]()
    port, left = live_services.free_port(), list(kinds)
    while left:
        with Live(folder, model, port) as live, Load(live.url, said) as load:
            assert load.answers(10)
            while left:
                kind = left.pop(0)
                kills.append(_kill(kind, live, load, draws))
                progress(kills[-1])
                if kind == "driver":
                    break
    with Live(folder, model, port) as live, Load(live.url, said) as load:
        assert load.answers(10)
    return compared(said, kills, folder / "log")


def _kill(kind: str, live: Live, load: Load, draws: random.Random) -> Kill:
    load.answers(draws.randrange(10, 60))
    said = load.said
    said.since, said.first_after = float("inf"), {}
    if kind == "driver":
        family = [process for process in live.family() if not live_services.is_agent(process)]
        gateway = live.find("gateway")
        said.since = killed_s = time.monotonic()
        live.process.kill()
        live.process.wait()
        # The gateway goes on until Ray sees what happened: what it holds is lost only then.
        ended([gateway], 30)
        at = time.monotonic()
        _, left = ended(family, 30)
        while (holders := live_services.listening(live.port)) and time.monotonic() < at + 30:
            time.sleep(0.05)
        with killed_if_left(left):
            assert not holders, f"port {live.port} is held by {holders}"
        said.since = float("inf")
        return Kill(kind, 0.0, time.monotonic() - killed_s, len(left), at)
    found = live.find(kind)
    offspring = [found, *found.children(recursive=True)]
    at = time.monotonic()
    said.since = at
    found.kill()
    gone_s, left = ended(offspring, 30)
    deadline = at + BACK_S
    while len(said.first_after) < 2 and time.monotonic() < deadline:
        time.sleep(0.005)
    back_s = max(said.first_after.values()) - at if len(said.first_after) == 2 else float("inf")
    said.since = float("inf")
    with killed_if_left(left):
        assert is_alive(live.find(kind))
    return Kill(kind, back_s, gone_s, len(left), at)


def compared(said: Said, kills: Sequence[Kill], log: Path) -> Result:
    """What the log holds beside what clients were told."""
    found = live_services.held(log)
    there = {name for name, _ in found.events}
    # What can take an answered request with it: a process that holds records that nobody has written.
    times = sorted(kill.at for kill in kills if kill.kind in ("gateway", "driver"))

    def age_ms(sent: float, answered: float) -> float:
        # An answer on its way at the kill arrives after it; what comes back is not so fast.
        if any(sent <= at <= answered < at + UNDER_WAY_S for at in times):
            return 0.0
        return (next((at for at in times if at >= answered), float("inf")) - answered) * 1000

    missing = [when for name, when in said.answered.items() if name not in found.requests]
    ages = sorted(age_ms(*when) for when in missing)
    rows = [*found.requests.values(), *found.events.values()]
    return Result(
        kills=tuple(kills),
        answered=len(said.answered),
        told=len(said.told),
        missing_events=sum(name not in there for name in said.told),
        missing_requests=len(missing),
        oldest_ms=max(ages, default=0.0),
        slowest_ms=said.slowest_ms,
        repeated=sum(rows) - len(rows),
        torn=found.torn,
        strange=found.strange,
        statuses=dict(said.statuses),
    )


def table(result: Result) -> Iterator[str]:
    """The figures, a line each."""
    yield f"{'killed':<10}{'times':>6}{'back after s: median':>22}{'most':>8}{'gone after s':>14}{'left':>6}"
    for kind in KINDS:
        of = [kill for kill in result.kills if kill.kind == kind]
        if of:
            back = sorted(kill.back_s for kill in of)
            gone, left = max(kill.gone_s for kill in of), sum(kill.left for kill in of)
            yield f"{kind:<10}{len(of):>6}{back[len(back) // 2]:>22.2f}{back[-1]:>8.2f}{gone:>14.2f}{left:>6}"
    yield f"acknowledged events {result.told}, missing {result.missing_events}"
    yield f"answered requests {result.answered}, missing {result.missing_requests}"
    yield (
        f"oldest missing request, ms before the kill: {result.oldest_ms:.0f} "
        f"(bound {FLUSH_MS} + {result.slowest_ms:.0f})"
    )
    yield f"rows that are there again {result.repeated}, torn lines {result.torn}, strange {result.strange}"
    yield f"statuses {dict(sorted(result.statuses.items()))} (0: the connection broke)"


def main(kills: int, turns: Sequence[str] = TURNS) -> None:
    """Kill so many, the kinds in turn, and print what came of it."""
    from tests import tiny

    kinds = list(itertools.islice(itertools.cycle(turns), kills))
    with tempfile.TemporaryDirectory() as name:
        model = tiny.write_model(Path(name, "model"), seed=1)

        def told(kill: Kill) -> None:
            print(f"  {kill.kind}: back {kill.back_s:.2f} s, gone {kill.gone_s:.2f} s", flush=True)

        for line in table(run(kinds, Path(name), model, random.Random(0), told)):
            print(line)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:] or TURNS)
