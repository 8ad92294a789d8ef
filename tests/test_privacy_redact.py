"""Placeholders: nothing that a detector finds is left, and a document looks the same at every key."""

import random
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.checks import personal, placeholders, secrets
from echo_ray.privacy.redact import Redactor
from tests.corruption_safety import PERSONAL, TOKENS, Draw, lookalikes, payloads
from tests.privacy_typing import KEY

PLANTED = [payload.text for payload in (*payloads("secret", 1), *payloads("pii", 1), *lookalikes())]
BEGIN = "-----BEGIN RSA " + "PRIVATE KEY-----"
END = "-----END RSA " + "PRIVATE KEY-----"
PIECES = st.one_of(
    st.sampled_from(PLANTED),
    st.sampled_from([BEGIN, END, *Draw("body").text("ABCDEFabcdef0123456789+/", 192).split("F"), "x = 1"]),
    st.text(alphabet="aA1 é\"'`=:/@.,-_+(){}[]<>$%#;|&\\ud800 ", max_size=20),
    st.builds(
        lambda name, value: f'{name} = "{value}"', st.sampled_from(["password", "api_key", "x"]), st.text()
    ),
)
DOCUMENTS = st.lists(PIECES, max_size=12).map("\n".join)


def rest(text: str, start: int = 0, stop: int = 10**9) -> list[str]:
    """What detectors find that is no placeholder and has a character in [start, stop)."""
    held = placeholders.spans(text)
    spans = [(found.start, found.stop) for found in (*secrets.scan(text), *personal.scan(text))]
    spans = [(a, b) for a, b in spans if a < stop and b > start]
    return [text[a:b] for a, b in spans if not any(low <= a and b <= high for low, high in held)]


@given(DOCUMENTS, st.floats(0, 1), st.one_of(st.none(), PIECES), st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_detector_finds_anything_in_what_is_written(
    text: str, share: float, proposal: str | None, plain: bool, from_start: bool, to_end: bool
) -> None:
    cursor = int(share * len(text))
    redactor = Redactor(KEY)
    found = redactor.request(text[:cursor], text[cursor:], proposal, plain, from_start, to_end)
    if found.withheld:
        return
    assert [] == rest(found.prefix + found.suffix)
    answer, start = found.proposal or "", len(found.prefix)
    assert [] == rest(found.prefix + answer + found.suffix, start, start + len(answer))
    assert (proposal is None) == (found.proposal is None)
    again = redactor.request(*found[:3], plain, *found[3:5])
    if from_start and to_end:
        assert (found.prefix, found.suffix, found.proposal) == (again.prefix, again.suffix, again.proposal)


@given(st.lists(DOCUMENTS, min_size=1, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_what_was_seen_before_changes_nothing(texts: list[str], chance: random.Random) -> None:
    seen, fresh = Redactor(KEY), Redactor(KEY, cached=False)
    for text in [*texts, *texts]:
        cursor, plain = chance.randint(0, len(text)), chance.random() < 0.5
        prefix, suffix = text[:cursor], text[cursor:]
        assert seen.request(prefix, suffix, "x", plain) == fresh.request(prefix, suffix, "x", plain)


@pytest.mark.parametrize("kind", sorted({*TOKENS, *PERSONAL}))
def test_the_same_secret_is_the_same_placeholder_and_another_is_another(kind: str) -> None:
    make = TOKENS.get(kind) or PERSONAL[kind]
    values = [make(Draw("stable", kind, seed)) for seed in (1, 2)]
    texts = [f'a = 1\nvalue = "{values[0]}"\nb = "{value}"\n' for value in (*values[:1], *values)]
    shown = [Redactor(KEY).text(text) for text in texts]
    assert shown[0] == shown[1]
    if "private key" not in kind:
        assert shown[1] != shown[2]
        assert shown[0] != Redactor(b"another key of sixteen").text(texts[0])
        first, second = (shown[1].split("\n")[line].split("= ")[1] for line in (1, 2))
        assert first == second
    assert values[0] not in shown[0]


@given(st.binary(min_size=16, max_size=32), st.text(), st.sampled_from(PLANTED))
@settings(max_examples=60, deadline=None)
def test_a_placeholder_is_no_secret(key: bytes, secret: str, around: str) -> None:
    for kind in (
        placeholders.SECRET,
        placeholders.PRIVATE_KEY,
        "email",
        "phone",
        "payment_card",
        "public_ipv4",
    ):
        name = placeholders.placeholder(key, kind, secret)
        assert placeholders.holds_placeholder(f"x{name}y")
        for text in (
            name,
            f'password = "{name}"',
            f"https://u:{name}@host/",
            f"Bearer {name}",
            f"key={name};",
        ):
            assert [] == rest(text)
            assert text == Redactor(KEY).text(text)


def documents(text: str, prefix_chars: int, suffix_chars: int) -> Iterator[tuple[str, str, str]]:
    """(prefix, suffix, document) of a cursor that goes through `text`, as windows."""
    for cursor in range(len(text) + 1):
        yield text[max(0, cursor - prefix_chars) : cursor], text[cursor : cursor + suffix_chars], text


SECRET_LINE = 'API_KEY = "sk' + '_live_51HabcDEF1234567890abcd"'
FILE = (
    f"import os\n\n{SECRET_LINE}\nDATABASE = 'postgres://app:Tiger99xx@db.acme-corp.io/main'\n"
    "\ndef f():\n    pass\n"
)


def test_a_cursor_that_walks_through_a_document_never_shows_the_secret_and_always_the_same_rest() -> None:
    redactor = Redactor(KEY)
    shown = set()
    withheld = 0
    for prefix, suffix, _ in documents(FILE, 10_000, 10_000):
        found = redactor.request(prefix, suffix, None)
        withheld += found.withheld
        if not found.withheld:
            shown.add(found.prefix + found.suffix)
    assert 1 == len(shown)
    # A password and its host read like an address of a person together.
    values = (SECRET_LINE.split('"')[1], "Tiger99xx@db.acme-corp.io")
    assert withheld == sum(map(len, values))
    assert shown == {redactor.text(FILE)}
    assert all(piece in next(iter(shown)) for piece in ('import os\n\nAPI_KEY = "', "def f():\n    pass\n"))


@pytest.mark.parametrize("size", [5, 12, 20, 40, 80])
@pytest.mark.parametrize("said", [True, False])
def test_windows_that_begin_or_end_inside_a_secret_show_nothing_of_it(size: int, said: bool) -> None:
    redactor = Redactor(KEY)
    for value in (make(Draw("edge", kind)) for kind, make in TOKENS.items() if "private" not in kind):
        text = f'import os\nTOKEN_KEY = "{value}"\nresult = compute(1, 2)\nprint(result)\n'
        at, end = text.index(value), text.index(value) + len(value)
        for start in range(at + 1, end - 8, 7):
            for cursor in (end + 2, end + 10):
                prefix, suffix = text[start:cursor], text[cursor : cursor + size]
                found = redactor.request(prefix, suffix, None, False, not said, not said)
                # Where the client says that it is the whole document, only what looks cut is.
                if said or re.fullmatch(r"[\w+/=.~:-]{8,}", text[start:end]):
                    assert text[start:end] not in found.prefix
        for stop in range(at + 40, end, 7):
            found = redactor.request(text[:5], text[5:stop], None, False, True, False)
            assert value[: stop - at][-12:] not in found.suffix


def key_lines(lines: int) -> list[str]:
    draw = Draw("pem", lines)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return [BEGIN, *(draw.text(letters, 64) for _ in range(lines)), draw.text(letters, 22) + "==", END]


def test_a_private_key_is_hidden_at_every_key_and_in_every_window() -> None:
    redactor = Redactor(KEY)
    key = key_lines(6)
    body = [line[at : at + 16] for line in key[1:-1] for at in (0, 30) if line[at : at + 16]]
    text = "\n".join(["import os", 'KEY = """', *key, '"""', "x = compute(1)", "y = 2", ""])
    views = [(prefix, suffix, True, True) for prefix, suffix, _ in documents(text, 10_000, 10_000)]
    views += [(text[:cursor], "", True, True) for cursor in range(len(text))]
    for size in (150, 300, 1_000):
        views += [
            (prefix, suffix, cursor <= size, len(text) - cursor <= size)
            for cursor, (prefix, suffix, _) in enumerate(documents(text, size, size))
        ]
    shown = 0
    for prefix, suffix, from_start, to_end in views:
        found = redactor.request(prefix, suffix, None, False, from_start, to_end)
        if not found.withheld:
            shown += 1
            assert [] == [line for line in body if line in found.prefix + found.suffix], (prefix, suffix)
    assert shown > 100


def test_a_private_key_that_is_typed_is_never_written() -> None:
    redactor = Redactor(KEY)
    for head, tail in (('k = """', '"""\n'), ("", ""), ("key: |\n", "")):
        text = head + "\n".join(key_lines(2))
        begin = text.index(BEGIN) + len(BEGIN)
        for cursor in range(begin + 2, len(text) - len(END)):
            found = redactor.request(text[:cursor], "\n" + tail, None)
            assert found.withheld or text[:cursor].endswith("\n"), text[:cursor]


@pytest.mark.parametrize("kind", sorted({*TOKENS}))
def test_a_proposal_is_read_in_its_place(kind: str) -> None:
    value = TOKENS[kind](Draw("place", kind))
    redactor = Redactor(KEY)
    found = redactor.request('x = 1\napi_key = "', '"\ny = 2\n', value)
    assert not found.withheld
    assert found.proposal is not None
    assert value not in found.proposal
    assert placeholders.holds_placeholder(found.proposal)
    assert 'x = 1\napi_key = "' == found.prefix
    assert '"\ny = 2\n' == found.suffix
    # Accepted, it is what the document shows then.
    after = redactor.request(f'x = 1\napi_key = "{value}"', "\ny = 2\n", None)
    if "private key" not in kind:
        assert after.prefix == found.prefix + found.proposal + '"'


def test_a_password_that_the_proposal_only_completes_is_seen() -> None:
    found = Redactor(KEY).request('password = "', "\n", 'hunter2"')
    assert found.proposal is not None
    assert "hunter2" not in found.proposal
    assert found.proposal.endswith('"')
    assert "result = 1" == Redactor(KEY).request("x = 2\n", "\n", "result = 1").proposal


def test_ordinary_code_stays_what_it_is() -> None:
    text = "def f(key, value):\n    return key\n" + "\n".join(
        payload.text for payload in lookalikes() if not re.search("user_password|user:pass@", payload.text)
    )
    for cursor in (3, 11, 20, 33):
        found = Redactor(KEY).request(text[:cursor], text[cursor:], "x")
        assert (text[:cursor], text[cursor:], "x", False) == (*found[:3], found.withheld)
