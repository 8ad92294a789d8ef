"""One real service for the tests of real clients: keys on, privacy as by default, the bundled model.

A start takes some twenty seconds, so consecutive modules share it. The log is compared with what an
independent reader knows: the names that clients sent, turned into pseudonyms with the key beside the log.
"""

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from echo_ray import cluster
from echo_ray.access import keys
from echo_ray.privacy.pseudonyms import Pseudonyms, key_path, load_key
from echo_ray.schema import EVENT, REQUEST
from echo_ray.serve import launch
from echo_ray.serve.arms import assign
from echo_ray.serve.config import Arm, ServeConfig

PREFIX = "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def "
SUFFIX = "\n\n\nprint(Stack())\n"
"""A place where the bundled model proposes two lines."""

LONG = "def area(width, height):\n    "
LONG_SUFFIX = "\n\n\nprint(area(2, 3))\n"
"""A place where it goes on and on, for clients that leave."""

SLOW_RATE_PER_S = 0.5
"""What the key `slow` may do; its burst is one request."""

WRONG = "ek_wrong-key-of-nobody"
HOLDERS = ("openai", "mistral", "tabby", "continue", "lsp", "llama")
LIMITED = ("slow", "slower")
HIDDEN = ("person-", "sitting-", "secret_plan", "git.example.com", WRONG)
"""How names begin that tests send; no byte of a log may have them."""

WEIGHTS = {"control": 1.0, "treatment": 1.0}
PATIENCE_S = 20.0
"""A wait that takes longer fails the test."""


@dataclass(frozen=True)
class Live:
    """A running service, and what a test may know of it."""

    url: str
    arms: dict[str, str]
    keys: dict[str, str]
    """API key by the name of its holder."""
    log_dir: Path
    names: Pseudonyms
    flush: Callable[[], None]

    def log(self, **wanted: Any) -> list[dict[str, Any]]:
        """Records with these values, after all that was answered so far is on disk."""
        self.flush()
        raw = b"".join(path.read_bytes() for path in sorted(self.log_dir.rglob("*")) if path.is_file())
        for secret in (*self.keys.values(), *HIDDEN):
            assert secret.encode() not in raw, secret
        records = [
            json.loads(line)
            for path in sorted(self.log_dir.glob("*.jsonl"))
            for line in path.read_bytes().splitlines()
        ]
        return [record for record in records if wanted.items() <= record.items()]

    def request(self, **wanted: Any) -> dict[str, Any]:
        """The only request record with these values, less what is checked here: contract, arm, times."""
        [record] = self.log(record="request", **wanted)
        assert {"record", *REQUEST.names} == set(record)
        assert "1" == record.pop("schema")
        assert assign(record["user"], WEIGHTS) == record["arm"]
        assert self.arms[record.pop("arm")] == record.pop("model")
        assert (record.pop("latency_ms") is not None) is record["delivered"]
        assert 0 <= time.time_ns() // 1_000_000 - record.pop("ts_ms") < 600_000
        del record["record"]
        return record

    def events(self, request_id: str) -> list[dict[str, Any]]:
        """Event records of one request, in their order in the log, less their times."""
        found = self.log(record="event", request_id=request_id)
        for event in found:
            assert set(EVENT.names) <= set(event)
            assert 0 <= time.time_ns() // 1_000_000 - event.pop("ts_ms") < 600_000
        return [
            {name: event[name] for name in ("user", "type", "accepted_chars", "visible_ms")}
            for event in found
        ]

    def pseudonyms(
        self, user: str, session: str | None = None, file: str = "unknown", repository: str = ""
    ) -> dict[str, Any]:
        """What the log calls them; without a session it is the user's day."""
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        return {
            "user": self.names.user(user),
            "session": self.names.session(session or f"{user}@{day}"),
            "file": self.names.file(file, repository),
        }

    def expected(
        self,
        request_id: str,
        proposal: str | None,
        who: dict[str, Any],
        *,
        prefix: str = PREFIX,
        suffix: str = SUFFIX,
        **more: Any,
    ) -> dict[str, Any]:
        """What `request` should give: an automatic request of a window, delivered, unless `more` differs.

        The line at the edge of a window is never stored, for the edge may cut a secret in two: here the first
        line, since every suffix of these tests ends with a line end.
        """
        if not more.get("prefix_complete"):
            prefix = prefix.partition("\n")[2]
        usual = {
            "request_id": request_id, "prefix": prefix, "suffix": suffix, "prefix_complete": False,
            "suffix_complete": False, "kind": "automatic", "delivered": True, "proposal": proposal,
            "language": "plaintext",
        }  # fmt: skip
        return usual | who | more

    def asked(self, dialect: str) -> float:
        """Requests in a dialect that the service has begun to answer (count)."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE_S) as reply:
            lines = reply.read().decode().splitlines()
        mark = f'echo_requests_total{{dialect="{dialect}"'
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(mark))

    def post(self, path: str, body: Any, holder: str, **headers: str) -> tuple[int, bytes]:
        """(status, body) of one request with the key of `holder` (or with this key, if it is none)."""
        sent = {
            "content-type": "application/json",
            "authorization": f"Bearer {self.keys.get(holder, holder)}",
        }
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), sent | headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def until(self, done: Callable[[], Any]) -> Any:
        """The first truth that `done` says."""
        until = time.monotonic() + PATIENCE_S
        while not (found := done()):
            assert time.monotonic() < until, "nothing came"
            time.sleep(0.02)
        return found


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[Live]:
    tokens = {}
    for name in (*HOLDERS, *LIMITED):
        limits: dict[str, Any] = {"rate_per_s": SLOW_RATE_PER_S, "burst": 1} if name in LIMITED else {}
        tokens[name], key = keys.issue(name, **limits)
        keys.add(folder / "keys.yaml", key)
    config = ServeConfig(
        port=0,
        log_dir=folder / "log",
        arms={name: Arm(weight=weight) for name, weight in WEIGHTS.items()},
        max_tokens=400,
        kv_cache_gb=0.05,
        flush_ms=10,
        upkeep_s=0,
        keys_file=folder / "keys.yaml",
        rate_per_s=1000,
        burst=1000,
    )
    with cluster.running(cluster.ClusterConfig(min_memory_gb=2)), launch.start(config) as service:
        names = Pseudonyms(load_key(key_path(None, service.log_dir)))
        yield Live(service.url, service.arms, tokens, service.log_dir, names, service.flush)


@pytest.fixture(scope="session")
def _lives() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


_now: list[Live] = []


@pytest.fixture(scope="module")
def live(
    request: pytest.FixtureRequest, _lives: contextlib.ExitStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """The service, which stays for the next module if that asks for it too."""
    if not _now:
        _now.append(_lives.enter_context(_running(tmp_path_factory.mktemp("live"))))
        _lives.callback(_now.clear)
    yield _now[0]
    items = request.session.items
    last = max(at for at, item in enumerate(items) if item.path == request.path)
    if not any("live" in getattr(item, "fixturenames", ()) for item in items[last + 1 : last + 2]):
        _lives.close()
