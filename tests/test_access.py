"""API keys, the headers that carry them, and rate limits."""

import json
import logging
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_ray.access import keys
from echo_ray.access.keys import KeyRing
from echo_ray.access.limits import Buckets, RateLimits, network, retry_after
from echo_ray.access.tokens import authenticate, tokens
from echo_ray.dialects.asked import Refusal
from echo_ray.errors import ConfigError
from jobs.__main__ import main


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["keys.yaml", "keys.json"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / "new" / request.param


def made(file: Path, name: str, **rest: object) -> str:
    token, key = keys.issue(name, **rest)  # type: ignore[arg-type]
    keys.add(file, key)
    return token


def test_a_key_is_long_random_and_kept_as_a_hash_only(file: Path) -> None:
    token = made(file, "alice", tenant="team", rate_per_s=2.5, burst=7, admin=True)
    assert token.startswith("ek_")
    assert 46 == len(token)
    assert token not in file.read_text()
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    (key,) = keys.load(file)
    assert ("alice", "team", 2.5, 7, True) == (key.name, key.tenant, key.rate_per_s, key.burst, key.admin)
    assert key == keys.owner((key,), token)
    assert None is keys.owner((key,), token[:-1])
    assert [file.name] == [path.name for path in file.parent.iterdir()]


def test_a_name_is_taken_once_and_free_again_after_it_is_revoked(file: Path) -> None:
    first = made(file, "alice")
    with pytest.raises(ConfigError, match=r"keys.name=alice is in use"):
        made(file, "alice")
    keys.revoke(file, "alice")
    with pytest.raises(ConfigError, match=r"keys.name=alice is no key of .*, which has no key"):
        keys.revoke(file, "alice")
    second = made(file, "alice")
    ring = KeyRing(file)
    assert (None, "alice") == (ring.owner(first), ring.owner(second).name)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("a: 1", "must be a list of keys, got dict"),
        ("- [", "is not valid YAML"),
        ("- ek_secretsecret", r"keys\[0\].hash must be a SHA-256"),
        ("- {name: a, hash: ek_secretsecret}", r"keys\[0\].hash must be a SHA-256"),
        ("- {name: a b, hash: %s}".replace("%s", "0f" * 32), "name = 'a b' is refused"),
        (
            "- {name: a, hash: %s, rate_pers: 1}".replace("%s", "0f" * 32),
            r"keys\[0\]: unknown key rate_pers; .* rate_per_s\?",
        ),
        ("- {name: a, hash: %s, rate_per_s: .nan}".replace("%s", "0f" * 32), "rate_per_s = nan is refused"),
        (
            "- {name: a, hash: %s}\n- {name: a, hash: %s}".replace("%s", "0f" * 32, 1).replace(
                "%s", "0e" * 32
            ),
            "has name a 2 times",
        ),
        ("- {name: a, hash: %s}\n- {name: b, hash: %s}".replace("%s", "0f" * 32), "has hash 0f0f.* 2 times"),
    ],
)
def test_a_faulty_file_is_one_sentence_that_gives_no_key_away(
    tmp_path: Path, raw: str, sentence: str
) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(raw)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=sentence) as caught:
        keys.load(file)
    assert "\n" not in str(caught.value)
    assert "secretsecret" not in str(caught.value)


def test_a_file_that_others_may_write_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyRing(file)
    file.write_text("[]")
    file.chmod(0o666)
    with pytest.raises(ConfigError, match=r"written by others \(mode 0666\): chmod 600"):
        keys.load(file)
    file.write_text("- {name: a, hash: %s, created: 2026-01-02T03:04:05Z}".replace("%s", "0f" * 32))
    file.chmod(0o644)
    assert "2026-01-02T03:04:05+00:00" == keys.load(file)[0].created


def test_changes_count_within_a_second_and_faulty_ones_change_nothing(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    old = made(file, "old")
    ring = KeyRing(file, clock)
    new = made(file, "new")
    clock.now += 0.9
    assert (True, False) == (ring.owner(old) is not None, ring.owner(new) is not None)
    clock.now += 0.1
    assert (True, True) == (ring.owner(old) is not None, ring.owner(new) is not None)

    good = file.read_bytes()
    file.write_text("[")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.now += 1
            assert ring.owner(new) is not None
    assert 1 == len([record for record in caplog.records if record.levelname == "ERROR"])
    assert "the 2 keys from before stay valid" in caplog.text
    assert "is not valid" in (ring.fault or "")
    file.unlink()
    clock.now += 1
    assert ring.owner(old) is not None

    file.write_bytes(good)
    file.chmod(0o600)
    clock.now += 1
    assert (True, None) == (ring.owner(new) is not None, ring.fault)
    keys.revoke(file, "new")
    clock.now += 1
    assert (False, True) == (ring.owner(new) is not None, ring.owner(old) is not None)


def test_processes_that_add_at_once_lose_no_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    code = (
        "import sys; from pathlib import Path; from echo_ray.access import keys\n"
        "for number in range(10): keys.add(Path(sys.argv[1]), keys.issue(f'{sys.argv[2]}{number}')[1])"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(file), name]) for name in "abc"]
    assert [0, 0, 0] == [process.wait() for process in running]
    assert 30 == len(keys.load(file))
    assert [file] == list(tmp_path.iterdir())


def test_the_verb_makes_shows_and_revokes_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = f"keys.file={tmp_path / 'keys.yaml'}"

    def said(*words: str) -> tuple[int, str, str]:
        status = main(["keys", *words, where])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    assert "holds no key yet" in said("list")[1]
    token = said("add", "alice", "team", "keys.burst=3")[1].split("\n")[0]
    ring = KeyRing(tmp_path / "keys.yaml")
    assert ("alice", "team", 3) == ((key := ring.owner(token)).name, key.tenant, key.burst)
    assert token not in said("list")[1]
    assert ["alice"] == [one["name"] for one in json.loads(said("list", "keys.format=json")[1])]
    assert "hash" not in said("list", "keys.format=json")[1]
    assert (2, "") == said("add", "alice")[:2]
    assert (2, "echo-ray: keys.name is not set: echo-ray keys add NAME\n") == said("add")[::2]
    assert "alice is revoked" in said("revoke", "alice")[1]
    assert 2 == said("revoke", "alice")[0]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"authorization": "Bearer "}, ()),  # llama.vim without a key
        ({"authorization": "Bearer"}, ()),
        ({}, ()),
        ({"authorization": "Bearer k"}, ("k",)),
        ({"authorization": "bearer  k "}, ("k",)),
        ({"authorization": "Basic k"}, ()),
        ({"authorization": "Bearer k", "x-api-key": "k"}, ("k",)),  # Continue
        ({"authorization": "Bearer proxy", "x-api-key": "k"}, ("proxy", "k")),
        ({"api-key": "k"}, ("k",)),
    ],
)
def test_tokens_of_the_clients(headers: dict[str, str], expected: tuple[str, ...]) -> None:
    assert expected == tokens(headers)


def test_who_a_request_is_from(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    user, admin = made(file, "user"), made(file, "admin", admin=True)
    ring = KeyRing(file)

    def status(headers: dict[str, str], wanted: bool = False) -> object:
        found = authenticate(headers, ring, wanted)
        return found.status if isinstance(found, Refusal) else found and found.name

    assert None is authenticate({"authorization": "Bearer "}, None)
    assert 401 == status({"authorization": "Bearer "})
    assert 401 == status({"authorization": "Bearer \udcff\xe9"})
    assert "user" == status({"authorization": "Bearer nobody", "x-api-key": user})
    assert 403 == status({"api-key": user}, True)
    assert "admin" == status({"api-key": admin}, True)


@given(
    steps=st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abc")), max_size=80),
    rate=st.sampled_from([0.5, 1, 4]),
    burst=st.integers(1, 5),
)
def test_buckets_are_token_buckets(steps: list[tuple[int, str]], rate: float, burst: int) -> None:
    clock = Clock()
    buckets = Buckets(clock)
    tokens_: dict[str, tuple[float, float]] = {}
    for eighths, name in steps:
        clock.now += eighths / 8  # sums that floating point keeps exactly
        left, last = tokens_.get(name, (burst, clock.now))
        left = min(burst, left + (clock.now - last) * rate)
        expected = 0.0 if left >= 1 else (1 - left) / rate
        tokens_[name] = (left - (left >= 1), clock.now)
        assert pytest.approx(expected, abs=1e-6) == buckets.take(name, rate, burst)


def test_waiting_as_long_as_told_is_enough_and_no_longer_than_needed() -> None:
    clock, draw = Clock(), random.Random(1)
    buckets = Buckets(clock)
    for _ in range(2000):
        clock.now += draw.random() / 10
        wait_s = buckets.take("a", 3.7, 4)
        if wait_s:
            clock.now += wait_s * 0.99
            assert buckets.take("a", 3.7, 4) > 0
            clock.now += wait_s * 0.01
            assert 0 == buckets.take("a", 3.7, 4)


def test_the_number_of_buckets_is_bounded_and_idle_ones_go() -> None:
    clock = Clock()
    buckets = Buckets(clock, max_buckets=50)
    for number in range(1000):
        assert 0 == buckets.take(str(number), 1, 1)
        assert len(buckets) <= 50
    clock.now += 10
    for number in range(40):
        buckets.take(f"new {number}", 1000, 10)
        clock.now += 1
    assert len(buckets) <= 2


def test_keys_have_their_own_limits_and_a_crowd_of_addresses_takes_nobody_s() -> None:
    clock = Clock()
    limits = RateLimits(clock, rate_per_s=1, burst=2, max_buckets=5)
    key = keys.issue("a", rate_per_s=10, burst=1)[1]
    plain = keys.issue("b")[1]
    assert [0, 0.1] == [limits.wait_s(key, "1.1.1.1"), pytest.approx(limits.wait_s(key, "9.9.9.9"))]
    assert [0, 0, 1] == [limits.wait_s(plain, "1.1.1.1") for _ in range(3)]
    for number in range(100):
        limits.wait_s(None, f"10.0.0.{number}")
    assert limits.wait_s(plain, "") > 0
    assert [0, 0, 1] == [limits.wait_s(None, f"2001:db8::{number}") for number in range(3)]


def test_addresses_and_headers() -> None:
    assert "1.2.3.4" == network("::ffff:1.2.3.4") == network("1.2.3.4")
    assert "fe80::/64" == network("fe80::1%eth0")
    assert "unknown" == network("unknown")
    assert ["1", "1", "3"] == [retry_after(wait_s) for wait_s in (0.01, 1.0, 2.1)]


def test_the_owner_is_looked_for_among_all_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    made_ = [keys.issue(f"k{number}") for number in range(5)]
    ring = tuple(key for _, key in made_)
    compared: list[str] = []
    real = keys.hmac.compare_digest
    monkeypatch.setattr(keys.hmac, "compare_digest", lambda a, b: compared.append(a) or real(a, b))
    for token in (made_[0][0], made_[4][0], "ek_other"):
        compared.clear()
        keys.owner(ring, token)
        assert 5 == len(compared)
    assert os.sep not in made_[0][0]
