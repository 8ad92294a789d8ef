import itertools
import time

import orjson
import pyarrow as pa
import pytest

from echo_ray import schema
from echo_ray.errors import ServeError
from simulator import doubles, fleet, policy
from simulator.config import SimulateConfig
from simulator.developer import Developer
from simulator.sources import load
from simulator.truth import TruthKind
from simulator.work import plan

CONFIG = SimulateConfig(
    sources=["asyncio", "json"],
    users=4,
    sessions_per_user=1,
    files_per_session=2,
    attempts=2,
    cancel_after_ms=5,
)
USERS = fleet.names("heldout", CONFIG.users)


@pytest.fixture(scope="module")
def work():
    files = load(CONFIG, "heldout")
    return {user: plan(CONFIG, files, user) for user in USERS}


@pytest.fixture(scope="module")
def oracle(work):
    return doubles.oracle(item for items in work.values() for item in items)


def test_over_http_as_in_place(work, oracle, tmp_path):
    seen = []
    with doubles.serving(oracle, delay_s=0.03) as server:
        result = fleet.run(
            CONFIG, server.url, users=USERS, split="heldout", truth_path=tmp_path / "truth.jsonl",
            progress=lambda done, requests: seen.append((done, requests)),
        )  # fmt: skip
    for user, tally in zip(USERS, result.tallies, strict=True):
        assert tally == doubles.drive(Developer(CONFIG, user, work[user]), oracle)[0]
    assert result.requests == sum(tally.requests for tally in result.tallies)
    assert seen[-1] == (len(USERS), result.requests)
    assert 0.6 <= result.acceptance_rate <= 1.0
    assert result.generation_rate > 0.5
    assert result.policy_hash == policy.policy_hash()

    # What a gateway would log: production schema, nothing else; cancelled requests were not delivered.
    table = pa.Table.from_pylist(server.records, schema=schema.REQUEST)
    assert all(set(record) == set(schema.REQUEST.names) for record in server.records)
    truth_only = {"intent", "p_accept", "u_draw", "distance", "matched", "offset", "gate_draw"}
    assert not truth_only & set(table.column_names)
    undelivered = sum(not record["delivered"] for record in server.records)
    cancelled = sum(tally.cancelled for tally in result.tallies)
    assert 0 < undelivered <= cancelled  # an abort may overtake the request
    for user in USERS:
        stamps = [record["ts_ms"] for record in server.records if record["user"] == user]
        assert all(one < other for one, other in itertools.pairwise(stamps))

    rows = [orjson.loads(line) for line in (tmp_path / "truth.jsonl").read_bytes().splitlines()]
    assert rows[0]["policy_hash"] == result.policy_hash
    assert {row["kind"] for row in rows[1:]} <= {kind.value for kind in TruthKind}
    sent = {(row["user"], row["request_ts_ms"]) for row in rows if row["kind"] == "request"}
    assert {(record["user"], record["ts_ms"]) for record in server.records} <= sent


def test_twins_with_the_same_answers_are_identical(work, oracle):
    asks = [ask for user in USERS for ask in doubles.drive(Developer(CONFIG, user, work[user]), oracle)[1]]
    sent = {(ask.user, ask.ts_ms, ask.file, ask.prefix, ask.suffix) for ask in asks}
    aborted = {(ask.user, ask.ts_ms, ask.file, ask.prefix, ask.suffix) for ask in asks if ask.cancelled}
    tallies = []
    for arm in ("control", "echo"):
        with doubles.serving(oracle, delay_s=0.02) as server:
            result = fleet.run_work(CONFIG, server.url, work, arm=arm)
        tallies.append(result.tallies)
        assert {record["arm"] for record in server.records} == {arm}
        assert all(record["session"].endswith(f".{arm}") for record in server.records)
        names = ("user", "ts_ms", "file", "prefix", "suffix")
        seen = {tuple(record[name] for name in names) for record in server.records}
        assert sent - aborted <= seen <= sent  # an abort may overtake its request
    assert tallies[0] == tallies[1]


def test_a_busy_server_is_asked_again(work):
    with doubles.serving(doubles.empty, fail_first=1) as server:
        user = USERS[0]
        result = fleet.run_work(CONFIG.updated(cancel_after_ms=500), server.url, {user: work[user]})
    assert len(server.records) == result.requests
    assert result.acceptance_rate is None


def test_no_server_is_one_sentence(work):
    with pytest.raises(ServeError, match=r"http://127.0.0.1:9/v1/completions did not answer") as caught:
        fleet.run_work(CONFIG, "http://127.0.0.1:9", work)
    assert "\n" not in str(caught.value)


def test_a_server_that_stays_busy_is_one_sentence(work):
    with (
        doubles.serving(doubles.empty, fail_first=10**6) as server,
        pytest.raises(ServeError, match="status 503"),
    ):
        fleet.run_work(CONFIG, server.url, work)


def test_the_simulator_is_fast_enough(work):
    """At least 3,000 keys per second; a tenth of what one core does, so a busy machine passes."""
    begin = time.process_time()
    edits = 0
    for user in USERS:
        edits += doubles.drive(Developer(CONFIG, user, work[user]), doubles.empty)[0].edits
    assert edits / (time.process_time() - begin) > 3000
