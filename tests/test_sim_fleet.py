"""A crew of developers: what it asks, what it writes, how it fails and how it goes on.

The flows are small ones written here; `test_simulate.py` lets whole developers work.
"""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from echo_ray import schema, sealed
from echo_ray.errors import ServeError
from echo_ray.log import reader
from echo_ray.schema import EventType, Kind
from jobs import service_log
from simulator import doubles, engines
from simulator.config import SimulateConfig
from simulator.engines import Engine, Material, StandIn
from simulator.fleet import client, ledger
from simulator.fleet.client import CompletionClient
from simulator.fleet.crew import Completer, Crew, Flow, InProcess
from simulator.steps import Answer, Ask, Report, Withdrawal
from simulator.truth import Tally, Truth, TruthKind

CONFIG = SimulateConfig(attempts=2, cancel_after_ms=200, request_timeout_s=5)
INTENTS = ("compute(1)\n", "value + 2", "", "é😀 = 'x'")
USERS = ("t00000", "t00001", "t00002")
ORACLE = engines.engine("oracle", Material(()))
BEGIN_MS = 1_767_225_600_000


def asked(user: str, number: int) -> Ask:
    """Request `number` of `user`; every fourth is cancelled, every fifth speculative."""
    return Ask(
        request_id=f"{user}-{number:04d}",
        user=user,
        session=f"{user}-0",
        file="f",
        language="python",
        prefix=f"# {user}\n" * 50 + "x = " * number,
        suffix="\nprint(x)\n",
        prefix_complete=True,
        suffix_complete=number % 2 == 0,
        ts_ms=BEGIN_MS + 1000 * number,
        kind=Kind.SPECULATIVE if number % 5 == 4 else Kind.AUTOMATIC,
        client="copilot/1.57",
        cancelled=number % 4 == 1,
        latency_ms=200.0 + number,
        intent=INTENTS[number % len(INTENTS)],
    )


@dataclass
class Work:
    """Flows of `count` requests per user in two sessions, and the answers that they were sent."""

    count: int = 12
    late: Callable[[Ask], bool] = lambda ask: False
    """Whose answers come too late."""
    change: Callable[[Ask], Ask] = lambda ask: ask
    answers: dict[str, Answer | None] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)

    def asks(self, user: str) -> list[Ask]:
        """All requests of `user`."""
        return [self.change(asked(user, number)) for number in range(self.count)]

    def flow(self, user: str) -> Flow:
        """The work of `user`."""
        self.begun.append(user)
        tally = Tally(user)
        for number, ask in enumerate(self.asks(user)):
            if number in (0, self.count // 2):
                yield self._truth(TruthKind.SESSION_START, ask, session=number)
            yield self._truth(TruthKind.REQUEST, ask, request_id=ask.request_id, intent=ask.intent)
            answer = yield ask
            self.answers[ask.request_id] = answer
            tally.requests += 1
            if self.late(ask):
                assert (yield Withdrawal(ask.request_id)) is None
            elif answer is not None and answer.text:
                tally.accepted += 1
                report = Report(
                    ask.request_id, ask.ts_ms + 300, user, EventType.ACCEPTED, len(answer.text), 250
                )
                assert (yield report) is None
        return tally

    def _truth(self, kind: TruthKind, ask: Ask, **detail: Any) -> Truth:
        return Truth(kind, ask.ts_ms + 0.25, ask.user, "item", 0, detail)


def let_work(
    folder: Path,
    work: Work,
    engine: Engine | str,
    users: Sequence[str] = USERS,
    config: SimulateConfig = CONFIG,
    arm: str | None = None,
    concurrency: int = 2,
) -> list[Tally]:
    """A crew on `work` with an engine in place, or at an address; the tallies of all users."""
    ledger.prepare(folder, "mark")

    async def main() -> None:
        http = client.session()
        try:
            completer: Completer = (
                CompletionClient(http, engine, config, arm) if isinstance(engine, str) else InProcess(engine)
            )
            crew = Crew(
                folder, work.flow, lambda user: {"kind": "run", "arm": arm, "user": user}, completer,
                arm=arm, measured=config.latency == "measured", concurrency=concurrency,
            )  # fmt: skip
            await crew.work(ledger.left(folder, users))
            assert crew.count.requests == sum(map(work.count.__mul__, [crew.count.users]))
        finally:
            await http.close()

    asyncio.run(main())
    return ledger.tallies(folder, users)


@contextmanager
def server(answer: Callable[[web.Request], Awaitable[web.Response]]) -> Iterator[str]:
    """The address of a server that answers completions with `answer`; other shapes than `doubles` has."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    url: list[str] = []

    async def main() -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/completions", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url.append("http://{}:{}".format(*runner.addresses[0][:2]))
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    try:
        assert ready.wait(timeout=10)
        yield url[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)
        loop.close()


def replying(body: bytes, status: int = 200) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, status=status)

    return answer


def records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Request and event rows of the log, as an import reads them; nothing of it is refused."""
    found: dict[str, list[dict[str, Any]]] = {"request": [], "event": []}
    for path in reader.files(ledger.log_folder(folder), "import.input"):
        piece = reader.read(path)
        assert (not piece.rejected, not piece.unknown) == (True, True)
        found["request"] += piece.requests.to_pylist()
        found["event"] += piece.events.to_pylist()
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Every byte of the log and the truth."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for place in (ledger.log_folder(folder), folder / ledger.TRUTH)
        for path in sorted(place.iterdir())
    }


def test_the_log_is_the_production_schema_and_tells_what_was_delivered(tmp_path: Path) -> None:
    work = Work()
    tallies = let_work(tmp_path, work, ORACLE)
    assert list(USERS) == [tally.user for tally in tallies]
    found = records(tmp_path)
    rows = {row["request_id"]: row for row in found["request"]}
    asks = [ask for user in USERS for ask in work.asks(user)]
    assert {ask.request_id for ask in asks} == set(rows)
    for ask in asks:
        row = rows[ask.request_id]
        assert set(schema.REQUEST.names) == set(row)
        same = ("ts_ms", "user", "session", "file", "prefix", "suffix", "suffix_complete", "kind", "client")
        assert {name: getattr(ask, name) for name in same} == {name: row[name] for name in same}
        if ask.cancelled:
            expected = (False, None, None, None)
        else:
            expected = (True, ORACLE.complete(ask), ORACLE.version, ask.latency_ms)
        assert expected == tuple(row[name] for name in ("delivered", "proposal", "model", "latency_ms"))
        assert row["arm"] is None
    assert sum(tally.accepted for tally in tallies) == len(found["event"]) > 0
    assert {"accepted"} == {row["type"] for row in found["event"]}
    # What was meant at a cancelled request is in the truth and nowhere else.
    assert INTENTS[1] not in json.dumps(found)
    truth = list(ledger.rows(tmp_path / "truth" / "t00001.jsonl.zst"))
    assert {"kind": "run", "arm": None, "user": "t00001"} == truth[0]
    assert [ask.intent for ask in work.asks("t00001")] == [
        r["intent"] for r in truth if r["kind"] == "request"
    ]
    assert all("intent" not in row for row in found["request"])


def test_over_http_as_in_place_byte_for_byte(tmp_path: Path) -> None:
    work = Work()
    let_work(tmp_path / "place", work, ORACLE)
    known = doubles.Remembering(ORACLE, (ask for user in USERS for ask in work.asks(user)))
    with doubles.serving(known, delay_s=0.01) as double:
        let_work(tmp_path / "http", Work(), double.url, concurrency=3)
    assert contents(tmp_path / "place") == contents(tmp_path / "http")
    sent = {(row["user"], row["ts_ms"], row["prefix"], row["client"]) for row in double.records}
    every = {(a.user, a.ts_ms, a.prefix, a.client) for user in USERS for a in work.asks(user)}
    assert every == sent  # aborted ones too: 200 ms are enough for this server
    # A user's next request is sent when the one before has ended.
    for user in USERS:
        stamps = [row["ts_ms"] for row in double.records if row["user"] == user]
        assert sorted(stamps) == stamps


def test_order_and_number_at_once_change_nothing(tmp_path: Path) -> None:
    let_work(tmp_path / "one", Work(), ORACLE, concurrency=1)
    let_work(tmp_path / "many", Work(), ORACLE, users=USERS[::-1], concurrency=8)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_an_arm_marks_rows_and_sessions(tmp_path: Path) -> None:
    work = Work(count=4)
    let_work(tmp_path, work, ORACLE, arm="echo")
    rows = records(tmp_path)["request"]
    assert {"echo"} == {row["arm"] for row in rows}
    assert {f"{user}-0.echo" for user in USERS} == {row["session"] for row in rows}
    with doubles.serving(ORACLE) as double:
        let_work(tmp_path / "http", Work(count=4), double.url, arm="echo")
    assert {"echo"} == {row["arm"] for row in double.records}
    assert {f"{user}-0.echo" for user in USERS} == {row["session"] for row in double.records}


def test_measured_latency_reaches_the_developer_and_withdrawn_answers_leave_the_log(tmp_path: Path) -> None:
    config = CONFIG.updated(latency="measured")
    work = Work(
        late=lambda ask: int(ask.request_id[-4:]) % 3 == 0, change=lambda a: replace(a, cancelled=False)
    )
    with doubles.serving(doubles.Remembering(ORACLE, work.asks(USERS[0])), delay_s=0.05) as double:
        let_work(tmp_path, work, double.url, USERS[:1], config)
    rows = {row["request_id"]: row for row in records(tmp_path)["request"]}
    assert work.count == len(rows)
    for ask in work.asks(USERS[0]):
        row, answer = rows[ask.request_id], work.answers[ask.request_id]
        assert answer is not None
        assert answer.text is not None
        assert answer.latency_ms is not None
        assert answer.latency_ms >= 50
        if work.late(ask):
            assert (False, None, None) == (row["delivered"], row["proposal"], row["latency_ms"])
        else:
            assert (True, round(answer.latency_ms, 1)) == (row["delivered"], row["latency_ms"])


def test_drawn_latency_does_not_depend_on_the_service(tmp_path: Path) -> None:
    with doubles.serving(doubles.Remembering(ORACLE, Work().asks(USERS[0])), delay_s=0.05) as double:
        let_work(tmp_path, Work(), double.url, USERS[:1])
    latencies = [row["latency_ms"] for row in records(tmp_path)["request"] if row["delivered"]]
    assert [ask.latency_ms for ask in Work().asks(USERS[0]) if not ask.cancelled] == latencies


def test_a_run_that_stopped_goes_on_with_the_others(tmp_path: Path) -> None:
    """The last user's engine fails; what the others left stays, and the end is as if nothing had been."""

    def fails(ask: Ask) -> str:
        if ask.user == "t00002" and ask.ts_ms > BEGIN_MS + 6000:
            raise ServeError("gone")
        return ORACLE.complete(ask) or ""

    let_work(tmp_path / "whole", Work(), ORACLE)
    with pytest.raises(ServeError, match="gone"):
        let_work(tmp_path / "run", Work(), StandIn(ORACLE.name, ORACLE.version, fails), concurrency=1)
    folder = tmp_path / "run"
    assert ["t00002"] == ledger.left(folder, USERS)
    assert {"SEALED", "t00000.jsonl.zst", "t00001.jsonl.zst"} == {
        path.name for path in (folder / "truth").iterdir()
    }
    assert not list(folder.rglob("*.part"))
    again = Work()
    let_work(folder, again, ORACLE)
    assert ["t00002"] == again.begun
    assert contents(tmp_path / "whole") == contents(folder)
    # Another configuration does not go on with this one's.
    ledger.prepare(folder, "other")
    assert list(USERS) == ledger.left(folder, USERS)
    assert {"SEALED"} == {path.name for path in (folder / "truth").iterdir()}


def test_bundles_hold_every_record_in_the_order_of_names(tmp_path: Path) -> None:
    users = [f"t{number:05d}" for number in range(ledger.BUNDLE + 3)]
    let_work(tmp_path, Work(count=2), ORACLE, users)
    paths = reader.files(ledger.bundle(tmp_path, users[::-1]), "import.input")
    assert 2 == len(paths)
    rows = [row for path in paths for row in reader.read(path).requests.to_pylist()]
    assert [f"{user}-{number:04d}" for user in users for number in range(2)] == [
        r["request_id"] for r in rows
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows, {}),
        (lambda rows: [row for row in rows if row["delivered"]], {"missing_cancelled": 9}),
        (lambda rows: rows[1:], {"missing": 1}),
        (lambda rows: [row | {"proposal": f"{row['proposal']} "} for row in rows], {"proposals": 27}),
        (lambda rows: [*rows, rows[0] | {"ts_ms": 1}], {"unknown": 1}),
        (lambda rows: [rows[0] | {"prefix": "y"}, *rows[1:]], {"contexts": 1}),
        (lambda rows: [rows[0] | {"prefix": "y"}, *rows], {}),  # a retry is no difference
    ],
)  # fmt: skip
def test_what_a_service_logged_is_compared(
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], expected: dict[str, int], tmp_path: Path
) -> None:
    let_work(tmp_path, Work(), ORACLE)
    rows = change(records(tmp_path)["request"])
    lines = [
        json.dumps({"record": "request", **row, "request_id": f"cmpl-{n}"}) for n, row in enumerate(rows)
    ]
    (tmp_path / "service").mkdir()
    assert service_log.compare(tmp_path / "service", [ledger.log_folder(tmp_path)]) is None
    (tmp_path / "service" / "segment-1.jsonl").write_text("\n".join(lines) + "\n")
    zero = dict.fromkeys(("missing", "missing_cancelled", "unknown", "contexts", "proposals"), 0)
    found = service_log.compare(tmp_path / "service", [ledger.log_folder(tmp_path)])
    assert zero | {"requests": 36} | expected == found


def test_a_busy_service_is_asked_again(tmp_path: Path) -> None:
    work = Work(change=lambda ask: replace(ask, cancelled=False))
    with doubles.serving(engines.engine("empty", Material(())), fail_first=1) as double:
        let_work(tmp_path, work, double.url, USERS[:1])
    assert [ask.ts_ms for ask in work.asks(USERS[0])] == [row["ts_ms"] for row in double.records]
    assert {""} == {row["proposal"] for row in records(tmp_path)["request"]}


COMPLETION = b'{"model": "m", "choices": [{"index": 0, "text": "a"}]}'


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (replying(b"busy", 503), "did not answer a request in 2 of 2 attempts: status 503: busy"),
        (replying(b"broken\nhere", 500), "in 2 of 2 attempts: status 500: broken here"),
        (replying(b"no such path", 404), "in 1 of 2 attempts: status 404: no such path"),
        (replying(b"<html>hello</html>"), "answered b'<html>hello</html>', wanted an OpenAI text completion"),
        (replying(b'{"choices": [{"message": {"content": "a"}}]}'), "wanted an OpenAI text completion"),
        (replying(b'{"choices": [{"text": null}]}'), "wanted an OpenAI text completion"),
        (replying(b'{"choices": null}'), "wanted an OpenAI text completion"),
        (replying(b"[1]"), "wanted an OpenAI text completion"),
    ],
)
def test_a_service_that_fails_ends_the_run_with_one_sentence(
    answer: Callable[[web.Request], Awaitable[web.Response]], sentence: str, tmp_path: Path
) -> None:
    with server(answer) as url, pytest.raises(ServeError) as caught:
        let_work(tmp_path, Work(), url)
    assert sentence in str(caught.value)
    assert f"the completion service at {url} (simulate.engine)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(USERS) == ledger.left(tmp_path, USERS)
    assert not list(tmp_path.rglob("*.part"))


def test_nobody_at_the_address_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ServeError) as caught:
        let_work(tmp_path, Work(), "http://127.0.0.1:9")
    assert "the completion service at http://127.0.0.1:9 (simulate.engine) did not answer" in str(
        caught.value
    )
    assert "Cannot connect" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "text", "model"),
    [
        (b'{"choices": []}', "", None),
        (b'{"model": 3, "choices": [{"text": ""}]}', "", None),
        (COMPLETION, "a", "m"),
    ],
)
def test_odd_but_valid_replies(body: bytes, text: str, model: str | None, tmp_path: Path) -> None:
    with server(replying(body)) as url:
        let_work(tmp_path, Work(), url, USERS[:1])
    rows = [row for row in records(tmp_path)["request"] if row["delivered"]]
    assert {(text, model)} == {(row["proposal"], row["model"]) for row in rows}


def test_a_developer_lives_through_requests_without_an_answer(tmp_path: Path) -> None:
    """Every third request is never answered, every other third only by the service's own time-out."""

    async def answer(request: web.Request) -> web.Response:
        number = json.loads(await request.read())["prompt"].count("x = ")
        if number % 3 == 1:
            await asyncio.sleep(3600)
        return web.Response(body=COMPLETION, status=504 if number % 3 == 2 else 200)

    config = CONFIG.updated(request_timeout_s=0.1)
    work = Work(count=9, change=lambda ask: replace(ask, cancelled=False))
    with server(answer) as url:
        let_work(tmp_path, work, url, USERS[:1], config)
    rows = records(tmp_path)["request"]
    assert [number % 3 == 0 for number in range(9)] == [row["delivered"] for row in rows]
    assert {None} == {row["proposal"] for row in rows if not row["delivered"]}
    assert [Answer(None)] * 6 == [a for a in work.answers.values() if a is not None and a.text is None]


@pytest.mark.parametrize("answered", [0, 3])
def test_a_service_that_never_answers_ends_the_run(answered: int, tmp_path: Path) -> None:
    """20 requests without an answer at first; one that had answered is given more time."""
    seen: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        seen.append(1)
        return web.Response(body=COMPLETION, status=200 if len(seen) <= answered else 504)

    limit = client.SILENCE_LATER if answered else client.SILENCE
    work = Work(count=500, change=lambda ask: replace(ask, cancelled=False))
    with server(answer) as url, pytest.raises(ServeError) as caught:
        let_work(tmp_path, work, url, USERS[:1])
    assert answered + limit == len(seen)
    assert f"did not answer one of {limit} requests within 5 s" in str(caught.value)
    assert "simulate.request_timeout_s" in str(caught.value)


def test_cancelled_requests_never_reach_an_engine_in_place(tmp_path: Path) -> None:
    seen: list[Ask] = []

    def watches(ask: Ask) -> str:
        seen.append(ask)
        return ""

    work = Work()
    let_work(tmp_path, work, StandIn("watches", "1", watches))
    assert [ask for user in USERS for ask in work.asks(user) if not ask.cancelled] == seen


def test_the_seal_is_there_before_the_first_truth(tmp_path: Path) -> None:
    ledger.prepare(tmp_path, "mark")
    assert (tmp_path / ledger.TRUTH / sealed.SEALED).is_file()


def test_a_day_streams_to_disk(tmp_path: Path) -> None:
    """The files of a developer grow while the developer works."""
    ledger.prepare(tmp_path, "mark")
    own = ledger.Ledger(tmp_path, "u", {"kind": "run"})
    parts = list((tmp_path / ledger.WORK).glob("*.part"))
    before = sum(path.stat().st_size for path in parts)
    for number in range(3000):
        own.record({"record": "request", "prefix": f"{number * 7919 % 104729:x}" * 100})
    assert sum(path.stat().st_size for path in parts) > before
    own.discard()
    assert not list(tmp_path.rglob("*.part"))
