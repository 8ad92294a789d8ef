"""What a log holds of credentials that are typed key by key."""

import pytest

from echo_ray.privacy.config import PrivacyConfig
from tests.privacy_typing import (
    HEADS,
    PUBLIC_CHARS,
    Typed,
    credentials,
    keystrokes,
    longest_kept,
    measured,
    written,
)

CHANCE_CHARS = 3
"""So many characters of anything stand somewhere in a log."""
RANDOM_LEAK_CHARS = 12
"""What may be kept of a random string without telling name or known beginning."""
UNKNOWN = ("mailchimp", "discord bot", "twilio", "random base64, no name", "random base62, no name")
BOT_ID_CHARS = 11
"""The public number before a Telegram bot's secret."""


def bound(typed: Typed) -> int:
    """Most characters of the beginning that may be in the log."""
    if typed.kind in UNKNOWN and not typed.named:
        return RANDOM_LEAK_CHARS
    if typed.kind == "telegram bot" and not typed.named:
        return BOT_ID_CHARS
    return PUBLIC_CHARS.get(typed.kind, 0) + CHANCE_CHARS


def test_there_are_more_than_thirty_kinds() -> None:
    assert len({kind for kind, _, _ in credentials()}) > 50
    assert 4 == len(HEADS)


@pytest.mark.parametrize("closes", [True, False])
def test_a_typed_secret_is_nowhere_in_the_log_beyond_the_bound(closes: bool) -> None:
    over = [(typed, bound(typed)) for typed in measured(closes) if typed.kept > bound(typed)]
    assert [] == over


@pytest.mark.parametrize("closes", [True, False])
def test_a_secret_that_is_left_half_way_stays_hidden_where_a_name_or_its_beginning_tells(
    closes: bool,
) -> None:
    told = [typed for typed in measured(closes, 0.5) if typed.named or typed.kind not in UNKNOWN]
    assert [] == [(typed, bound(typed)) for typed in told if typed.kept > bound(typed)]


@pytest.mark.parametrize(
    "line", ["password: {}", "  api_key: {}", "TOKEN={}", "export DB_PASSWORD={}", "secret = {}"]
)
def test_values_without_quotes_in_files_of_settings(line: str) -> None:
    for value in ("correcthorse", "Tr0ub4dor&3", "9f8e7d6c5b4a"):
        head, text = "name: app\n", line.format(value) + "\n"
        log = written(keystrokes(head, text, "port: 80\n", language="yaml"))
        assert longest_kept(value, log) <= CHANCE_CHARS
        assert b"name: app" in log
        unknown = written(keystrokes(head, text, "port: 80\n", file="settings.yml"))
        assert longest_kept(value, unknown) <= CHANCE_CHARS


def test_without_redaction_everything_is_there() -> None:
    log = written(keystrokes("", 'password = "hunter2xyz"', "\n"), PrivacyConfig(redact=False))
    assert 10 == longest_kept("hunter2xyz", log)


def test_an_address_of_a_person_that_is_typed() -> None:
    keys = 'author = "anna.kowalska@proton.me"'
    log = written(keystrokes("", keys, "\n"))
    assert longest_kept("anna.kowalska@proton.me", log) <= len("anna.kowalska")
    assert b"anna.kowalska@proton.me" in written(keystrokes("", keys, "\n"), PrivacyConfig(personal=False))
