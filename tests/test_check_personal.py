"""Personal data: checksums and numbering plans decide, not shapes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echo_ray.checks import identities, personal
from echo_ray.checks.case import Case, Verdict
from echo_ray.schema import Drop
from tests.corruption_safety import PERSONAL, payloads


def case(target: str) -> Case:
    return Case("x = 1\n", target, "\ny = 2\n", target, "python")


@pytest.mark.parametrize("kind", sorted(PERSONAL))
def test_every_kind_is_found_in_every_language_and_located(kind: str) -> None:
    planted = [payload for seed in range(6) for payload in payloads("pii", seed) if payload.kind == kind]
    assert len({payload.language for payload in planted}) == 8
    for payload in planted:
        finding = personal.check(case(payload.text))
        assert finding.verdict is Verdict.FAIL, payload.text
        assert finding.start is not None
        assert payload.text[finding.start : finding.stop] not in repr(finding)


@pytest.mark.parametrize(
    ("line", "drop"),
    [
        ("user = User(name='Max', email='max.mustermann@t-online.de')", Drop.PII_EMAIL),
        ('<a href="mailto:paul.smith@siemens.com">', Drop.PII_EMAIL),
        (" * @author Anna Berg <anna.berg+git@posteo.de>", Drop.PII_EMAIL),
        ("# Contact: Jane Roe, +1 (650) 253-0000", Drop.PII_PHONE),
        ('phone := "+442071838750"', Drop.PII_PHONE),
        ("phone: '212.736.5000'", Drop.PII_PHONE),
        ("phone: '+91 98765 43210',", Drop.PII_PHONE),
        ('card.setNumber("4012 8888 8888 1881");', Drop.PII_CARD),
        ("card = 378282246310005", Drop.PII_CARD),
        ("iban = 'GB82 WEST 1234 5698 7654 32'", Drop.PII_CARD),
        ("ssn = '123-45-6789'", Drop.PII_ID),
        ("cpf = '529.982.247-25'", Drop.PII_ID),
        ("codice = 'RSSMRA85T10A562S'", Drop.PII_ID),
        ("aadhaar = '2341 2341 2346'", Drop.PII_ID),
        ("nino: 'AB 12 34 56 C'", Drop.PII_ID),
        ('inet_addr("93.184.216.34")', Drop.PII_ADDRESS),
        ("url = 'http://93.184.216.34:8080/x'", Drop.PII_ADDRESS),
        ("ip = '2a00:1450:4001:81b::200e'", Drop.PII_ADDRESS),
    ],
)
def test_data_of_persons_is_found(line: str, drop: Drop) -> None:
    assert [drop] == [finding.drop for finding in personal.scan(line)]


@pytest.mark.parametrize(
    "line",
    [
        # Not a person's mail.
        'email = "john@example.com"',
        "addr = 'x@y.test'",
        'email: "foo@bar.com",',
        "from: 'noreply@github.com',",
        "git clone git@github.com:org/project.git",
        "url = 'https://user:pass@host.com/x'",
        "support@company.io is the role",
        'import "https://esm.sh/vue@3.4.21"',
        '<img src="logo@2x.png">',
        "user@app.component.ts",
        "@decorator.name",
        "a @ b.T @ c.d",
        # Not a telephone number.
        "x = a +12025550143",
        "date = '2024-01-15 10:30:00'",
        "id = 2125550143",
        "version = '555.123.4567.8'",
        "range = '100-200-3000'",
        "+1 234 567",
        # Not a card, an account or a number of a state: wrong check digit, wrong issuer, no name for it.
        "n = 4012888888881881",
        'card = "4012 8888 8888 1882"',
        'card = "9012 8888 8888 1881"',
        "iban = 'GB83 WEST 1234 5698 7654 32'",
        "iban = 'XX82 WEST 1234 5698 7654 32'",
        "x = '000-12-3456'",
        "x = '999-12-3456'",
        "cpf = '529.982.247-26'",
        "cpf = '111.111.111-11'",
        "codice = 'RSSMRA85T10A562T'",
        "aadhaar = '2341 2341 2347'",
        "nino = 'QQ 12 34 56 C'",
        "dni = '65183972A'",
        # Not a public address.
        "host = '127.0.0.1'",
        "host = '192.168.1.10'",
        "host = '10.1.2.3'",
        "host = '203.0.113.7'",
        "dns = '8.8.8.8'",
        "net = '62.4.0.0/16'",
        "version = '4.18.22.1'",
        "agent = 'Chrome/120.0.6099.109'",
        "v62.11.24.3",
        "oid = '2.5.29.17'",
        "x = '300.200.100.1'",
        "ip = '2001:db8::1'",
        "ip = '::1'",
        "t = '20:10:30'",
        "mac = '20:1A:2B:3C:4D:5E'",
        "std::vector<int>::iterator",
    ],
)
def test_what_only_looks_like_it_is_left_alone(line: str) -> None:
    assert personal.scan(line) == []


def test_only_what_shares_a_character_with_the_target_counts() -> None:
    line = "author = 'anna.berg@posteo.de'"
    assert personal.check(Case(line + "; ", "x = 1", "\n", "x = 1", "python")).verdict is Verdict.PASS
    begun = personal.check(Case(line[:15], line[15:], "\n", line[15:], "python"))
    assert (begun.verdict, begun.start, begun.stop) == (Verdict.FAIL, 0, len(line) - 16)
    assert personal.check(case("")).verdict is Verdict.NOT_APPLICABLE


_PIECES = [
    *(
        "anna@b",
        "berg@posteo.de",
        "+49",
        "151",
        "2345678",
        " ",
        "-",
        "4012 8888",
        "8888 1881",
        "GB82 ",
        "WEST",
        "123-45-",
    ),
    *(
        "6789",
        "529.982.",
        "247-25",
        "93.184.",
        "216.34",
        "2a00:1450:",
        "4001::1",
        "65183972V",
        "RSSMRA85T10",
        "A562S",
    ),
    *("110105199307043", "288", "id=", "'", "\n", "X", "٣٤", "²", "é", "/", "(", ")"),
]
_GATES = (
    (personal._emails, ("_AT",)),
    (personal._phones, ("_DIGITS", "_PHONE_HINT")),
    (personal._numbers, ("_DIGITS", "_GROUPED")),
    (personal._ipv4, ("_DIGITS", "_DOTTED")),
    (personal._ipv6, ("_COLONS",)),
)


@given(
    st.lists(st.one_of(st.sampled_from(_PIECES), st.text("0123456789+-. ()AZaz@:", max_size=6)), max_size=8)
)
@settings(max_examples=800, deadline=None)
def test_the_prefilters_lose_nothing(parts: list[str]) -> None:
    text = "".join(parts)
    for full, gates in _GATES:
        for found in full(text):
            assert all(getattr(personal, gate).search(text) for gate in gates), (found.kind, text)
            assert found in personal.scan(text)


@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(_PIECES), max_size=30).map("".join)))
@settings(max_examples=300, deadline=None)
def test_no_text_raises_and_spans_lie_inside(text: str) -> None:
    for found in personal.scan(text):
        assert 0 <= found.start < found.stop <= len(text)


@given(st.text("0123456789", min_size=12, max_size=18), st.integers(0, 9))
def test_luhn_accepts_one_check_digit_in_ten(digits: str, other: int) -> None:
    valid = [digit for digit in "0123456789" if identities.luhn(digits + digit)]
    assert len(valid) == 1 or set(digits) == {"0"}


@given(st.text("0123456789", min_size=11, max_size=11), st.integers(0, 11), st.integers(1, 9))
def test_verhoeff_sees_every_changed_digit(digits: str, place: int, step: int) -> None:
    number = next(digits + digit for digit in "0123456789" if identities._aadhaar(digits + digit))
    changed = f"{number[:place]}{(int(number[place]) + step) % 10}{number[place + 1 :]}"
    assert not identities._aadhaar(changed)


@given(st.text("0123456789", min_size=18, max_size=18), st.integers(0, 17), st.integers(1, 9))
def test_account_numbers_with_one_wrong_digit_are_refused(body: str, place: int, step: int) -> None:
    code = next(f"DE{check:02d}{body}" for check in range(2, 99) if identities.iban(f"DE{check:02d}{body}"))
    changed = f"{body[:place]}{(int(body[place]) + step) % 10}{body[place + 1 :]}"
    assert not identities.iban(code[:4] + changed)
