"""What becomes of records: levels, excluded files, names, and what the miner makes of the result."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray import schema
from echo_ray.checks import placeholders
from echo_ray.log import contract
from echo_ray.privacy.collect import Collector, Reason
from echo_ray.privacy.config import PrivacyConfig
from echo_ray.privacy.levels import Level, level, plain_repository
from echo_ray.stages.mine import MineConfig, Termination, mine
from tests.privacy_typing import KEY, keystrokes
from tests.rows import request, table_of

ORDER = ("off", "metrics", "no_code", "all")
REPOSITORY = "git@git.example.com:payroll/Core.git"


def event(request_id: str = "r", **changes: Any) -> dict[str, Any]:
    fields = {"request_id": request_id, "ts_ms": 5, "user": "u", "type": "accepted"}
    return {"record": "event", **fields, "accepted_chars": 7, "visible_ms": 900} | changes


def asked(request_id: str = "r", **changes: Any) -> dict[str, Any]:
    return {"record": "request", **request(request_id, 1, "a = ", "\n", proposal="1")} | changes


def collected(records: list[dict[str, Any]], **config: Any) -> list[dict[str, Any]]:
    """What is kept, names as sent so that it can be compared."""
    collector = Collector(PrivacyConfig(**{"pseudonyms": False} | config), KEY)
    return [kept for record in records if (kept := collector.record(record)) is not None]


@pytest.mark.parametrize("base", ORDER)
@pytest.mark.parametrize("tenant", [None, *ORDER])
@pytest.mark.parametrize("user", [None, *ORDER])
@pytest.mark.parametrize("repository", [None, *ORDER])
def test_the_strictest_level_wins(base: str, tenant: Any, user: Any, repository: Any) -> None:
    config = PrivacyConfig(
        collect=base,
        tenants={"acme": tenant} if tenant else {},
        users={"u": user} if user else {},
        repositories={"git.example.com/payroll/*": repository} if repository else {},
    )
    named = [name for name in (base, tenant, user, repository) if name]
    assert Level(min(named, key=ORDER.index)) is level(config, "acme", "u", REPOSITORY)
    assert Level(base) is level(config, "other", "v", "https://git.example.com/open/core")
    assert Level(base) is level(config, None, None, None)


def test_a_user_is_known_by_pseudonym_too() -> None:
    name = Collector(PrivacyConfig(), KEY).pseudonym("anna@acme.io")
    collector = Collector(PrivacyConfig(users={name: "off"}), KEY)
    assert collector.record(asked(user="anna@acme.io")) is None
    assert collector.record(asked(user="bob@acme.io")) is not None


@pytest.mark.parametrize(
    "address",
    [
        "git@Git.Example.com:team/Proj.git",
        "https://git.example.com/team/proj.git",
        "https://user:token@git.example.com/team/proj/",
        "ssh://git@git.example.com:2222/team/proj.git",
        "git.example.com/team/proj",
    ],
)
def test_forms_of_an_address_are_one_repository(address: str) -> None:
    assert "git.example.com/team/proj" == plain_repository(address)


@pytest.mark.parametrize(
    ("name", "requests", "events", "reason"),
    [
        ("off", 0, 0, Reason.LEVEL_OFF),
        ("metrics", 0, 0, Reason.LEVEL_METRICS),
        ("no_code", 1, 1, Reason.LEVEL_NO_CODE),
        ("all", 1, 1, Reason.KEPT),
    ],
)
def test_what_each_level_keeps(name: str, requests: int, events: int, reason: Reason) -> None:
    collector = Collector(PrivacyConfig(collect=name), KEY)
    kept = collector.record(asked(prefix="secret_code = ", client="code/1.0"))
    told = collector.record(event())
    assert (requests, events) == (int(kept is not None), int(told is not None))
    assert collector.counts[reason] >= 1
    if kept is not None:
        assert contract.problem(kept, "request") is None
        assert (name == "all") == (b"secret_code" in orjson.dumps(kept))
        assert (1, "code/1.0", "automatic") == (kept["ts_ms"], kept["client"], kept["kind"])
    if told is not None:
        assert contract.problem(told, "event") is None
        assert (7, 900, 5) == (told["accepted_chars"], told["visible_ms"], told["ts_ms"])


def test_an_excluded_file_leaves_nothing_and_neither_do_its_events() -> None:
    collector = Collector(PrivacyConfig(exclude=["*.sealed"]), KEY)
    for number, path in enumerate(("/home/a/p/.env", "conf/x.sealed", "file:///c%3A/Users/a/.ssh/id_rsa")):
        assert collector.record(asked(f"p{number}"), path=path) is None
        assert collector.record(asked(f"f{number}", file=path)) is None
        assert collector.record(event(f"p{number}")) is None
    assert collector.record(asked("r"), path="src/main.py") is not None
    assert collector.record(event("r")) is not None
    assert (6, 3) == (collector.counts[Reason.EXCLUDED_PATH], collector.counts[Reason.EVENT_OF_UNLOGGED])
    assert Level.OFF is collector.level(None, "u", None, "a/.env")
    assert Level.ALL is collector.level(None, "u", None, "a/b.py")


SECRET = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"


def test_nothing_in_a_record_says_who_or_what() -> None:
    record = asked(
        request_id=f"/home/anna/{SECRET}", user="anna@acme-corp.io", session="/home/anna/work",
        language=SECRET + " x", file="file:///home/anna/payroll/salaries.PY",
        client=f"vim/9 (/home/anna/.vim; anna@acme-corp.io) {SECRET}",
        prefix=f'token = "{SECRET}"\n', proposal=f'use("{SECRET}")', code="def f(): ...", arm="base",
    )  # fmt: skip
    for config in (PrivacyConfig(), PrivacyConfig(collect="no_code")):
        collector = Collector(config, KEY)
        before = dict(record)
        kept = collector.record(record, repository=f"https://{SECRET}@git.example.com/payroll")
        assert record == before
        assert kept is not None
        text = orjson.dumps(kept).decode().lower()
        assert [] == [
            word
            for word in ("anna", "home", "payroll", "salaries", SECRET[:8].lower(), "def f")
            if word in text
        ]
        assert (kept["file"][16:], kept["arm"], kept["language"]) == (".py", "base", "plaintext")
        assert kept["client"].startswith("vim/9")
        assert contract.problem(kept, "request") is None
        assert 1 == collector.counts[Reason.NOT_OF_CONTRACT]
        told = collector.record(event(request_id=record["request_id"], user="anna@acme-corp.io", note="x"))
        assert told is not None
        assert (told["request_id"], told["user"]) == (kept["request_id"], kept["user"])
        assert "note" not in told


def test_names_as_sent_still_hold_no_secret() -> None:
    kept = Collector(PrivacyConfig(pseudonyms=False), KEY).record(
        asked(user="u-17", session=SECRET, file="a.py")
    )
    assert kept is not None
    assert ("u-17", "a.py") == (kept["user"], kept["file"])
    assert placeholders.holds_placeholder(kept["session"])


def test_replicas_agree_and_another_key_does_not() -> None:
    record = asked(user="anna", session="s1", file="src/a.py")
    first, second = (Collector(PrivacyConfig(), KEY).record(record) for _ in range(2))
    assert first == second
    other = Collector(PrivacyConfig(), b"0" * 32).record(record)
    assert first is not None
    assert other is not None
    assert not {first[name] for name in ("user", "session", "file")} & {
        other[name] for name in ("user", "session")
    }


@given(
    st.recursive(st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner)), st.text(), st.text()
)
@settings(max_examples=100, deadline=None)
def test_odd_values_raise_nothing(odd: Any, name: str, code: str) -> None:
    record = asked(
        user=name or "u", session=name or "s", file=name or "f", prefix=code, client=odd, language=odd
    )
    kept = Collector(PrivacyConfig(), KEY).record(record, path=name, repository=code)
    assert kept is None or contract.problem(kept, "request") is None


TEXT = "import os\n\n\ndef f(values):\n    total = sum(values)\n    return total\n"
WITH_SECRET = 'import os\nAPI_KEY = "' + SECRET + '"\n\n\ndef f(values):\n'
NAMES = [name for name in schema.SAMPLE.names if name not in ("prefix", "suffix", "proposal", "commit")]

WINDOWED = ("drop", "end_reason", "end_ts_ms", "snapshots", "human_chars", "pasted_chars", "last_edit")


def typed(head: str, **changes: Any) -> list[dict[str, Any]]:
    return list(
        keystrokes(head, "    total = sum(values)\n    return total\n", "\nprint(f([1]))\n", **changes)
    )


@pytest.mark.parametrize("policy", list(Termination))
@pytest.mark.parametrize("window", [None, 60])
def test_mining_what_was_redacted_gives_the_same_samples(policy: Termination, window: int | None) -> None:
    raw = typed(WITH_SECRET)
    if window:
        # The left edge of these windows goes through the secret's line.
        raw = [
            record
            | {"prefix": record["prefix"][-window:], "prefix_complete": len(record["prefix"]) <= window}
            for record in raw
        ]
    config = MineConfig(termination=policy)
    kept = collected(raw)
    assert len(raw) == len(kept)
    before = {row["request_id"]: row for row in mine(table_of(raw), config).to_pylist()}
    after = {row["request_id"]: row for row in mine(table_of(kept), config).to_pylist()}
    assert SECRET not in str(kept)
    for name, row in before.items():
        assert row["commit"] == after[name]["commit"]
        compared = NAMES if window is None else WINDOWED
        assert [row[column] for column in compared] == [after[name][column] for column in compared]
    assert any(row["commit"] for row in before.values())


def test_a_typed_secret_is_one_insertion_and_its_keys_are_no_samples() -> None:
    value = SECRET
    raw = list(keystrokes("import os\n", f'API_KEY = "{value}"\nx = 1\n', "\n"))
    kept = collected(raw)
    assert len(raw) == len(kept)
    rows = {row["request_id"]: row for row in mine(table_of(kept), MineConfig()).to_pylist()}
    hidden = [record["request_id"] for record in kept if not record["prefix"]]
    assert len(hidden) == len(value)
    assert {"unobserved"} == {rows[name]["drop"] for name in hidden}
    seen = [row for name, row in rows.items() if name not in hidden and row["drop"] is None]
    assert all(row["commit"] for row in seen)
    first = rows["r0000"]["commit"]
    assert first.startswith('API_KEY = "REDACTED_secret_')
    assert first.endswith('"\nx = 1\n')


@pytest.mark.parametrize("policy", list(Termination))
def test_requests_without_code_are_dropped_by_the_miner_and_harm_no_others(policy: Termination) -> None:
    open_work = typed("def f(values):\n")
    closed_work = typed("def g(values):\n", file="g", session="s")
    for record in closed_work:
        record |= {
            "request_id": "closed-" + record["request_id"],
            "ts_ms": record["ts_ms"] + 1,
            "delivered": True,
        }
    collector = Collector(PrivacyConfig(pseudonyms=False, repositories={"payroll": "no_code"}), KEY)
    kept = []
    for first, second in zip(open_work, closed_work, strict=True):
        kept += [collector.record(first, repository="open"), collector.record(second, repository="payroll")]
    rows = mine(
        table_of([row for row in kept if row is not None]), MineConfig(termination=policy)
    ).to_pylist()
    assert len(open_work) + len(closed_work) == len(rows)
    closed = [row for row in rows if row["request_id"].startswith("closed-")]
    assert {("unobserved", "", "")} == {(row["drop"], row["commit"], row["prefix"]) for row in closed}
    alone = mine(table_of(collected(open_work)), MineConfig(termination=policy)).to_pylist()
    key = lambda row: row["request_id"]  # noqa: E731
    assert sorted(alone, key=key) == sorted((row for row in rows if row not in closed), key=key)


def test_without_a_session_of_their_own_they_would_be_voids() -> None:
    naive = [record | {"prefix": "", "suffix": "", "proposal": None} for record in typed("def f(values):\n")]
    rows = mine(table_of(naive), MineConfig()).to_pylist()
    assert any(row["drop"] is None and row["commit"] == "" for row in rows)
