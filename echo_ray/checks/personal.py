"""Personal data in a text: addresses, telephone, account and identity numbers (paper 4.4, "Safety"; 6.4).

Every rule asks for more than a shape: telephone numbers must be valid by Google's numbering plans
(`phonenumbers`), cards, accounts and identity numbers must have the right check digits, network addresses
must be public (`ipaddress`), and an e-mail address must be one that a person could have: reserved domains
(RFC 2606, RFC 6761), role names (RFC 2142), placeholders such as foo@bar.com, packages and images
(`vue@3.4.1`, `logo@2x.png`) and remotes (`git@host`) are none. The datum itself is never returned.

Our choice: Presidio was tried first; its recognizers import spaCy, which is too large for what they add.
Published test cards and fictional telephone numbers count as data: nobody can tell them by their form.

Invariant: the prefilter of each kind matches a part that every match of that kind contains.

Not covered: names and postal addresses (they need a language model); numbers without separators, quotes or
a telling name; telephone numbers without country code outside North America; data split over lines.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import NamedTuple

import phonenumbers

from echo_ray.checks import lines
from echo_ray.checks.case import NOT_APPLICABLE, PASS, Case, Check, Finding, Verdict
from echo_ray.checks.identities import CARD_ISSUERS, DIGITS_START, IDENTITIES, iban, luhn
from echo_ray.schema import Drop


class Found(NamedTuple):
    """A personal datum: the reason it gives, what it is, at which characters of the text."""

    drop: Drop
    kind: str
    start: int
    stop: int


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\S+", text))


_EMAIL = re.compile(
    r"(?<![\w.+/@%#$-])([A-Za-z0-9_][\w.+-]{0,63})"
    r"@((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.)+[A-Za-z]{2,18})"
    r"(?![\w@(-]|\.\w)"
)
_AT = re.compile(r"\w@[A-Za-z0-9]")
_RESERVED = _words("example test invalid localhost local internal lan localdomain onion arpa alt home corp")
"""Top-level domains that nobody's mail can be in."""
_PLACEHOLDER_DOMAINS = _words(
    """example examples test testing tests foo bar baz qux foobar domain mydomain yourdomain somedomain
    host hostname myhost server email mail mymail company mycompany yourcompany acme site mysite website
    fake dummy sample demo somewhere nowhere none abc xyz xxx aaa bbb ccc address provider users noreply"""
)
_PLACEHOLDER_NAMES = _words(
    """a b c d e f x y z aa bb cc abc xyz foo bar baz qux foobar test tests tester testing test1 test2 user
    user1 user2 username name first.last firstname.lastname email mail me you your yourname someone
    somebody anyone nobody example sample demo dummy fake xxx"""
)
_ROLES = _words(
    """git noreply no-reply donotreply do-not-reply postmaster hostmaster webmaster usenet news uucp www
    ftp abuse noc security info marketing sales support help hello hi contact admin administrator root
    office team press billing legal privacy jobs feedback bugs bug dev developers opensource oss npm bot
    bots actions builds ci mailer mailer-daemon newsletter notifications notification service services
    system www-data ubuntu"""
)
_FILE_ENDINGS = _words(
    """png jpg jpeg gif svg webp ico avif js mjs cjs ts tsx jsx css scss less vue html htm json yml yaml
    toml md py pyi so dll java jar go mod c h cc cpp hpp rs rb php sh txt zip gz tgz tar whl lock map
    wasm d exe"""
)

_PHONE = re.compile(
    r"(?<![\w.+/-])(?:\+[1-9](?:[ ./()-]{0,2}\d){7,14}"
    r"|\(?[2-9]\d{2}\)?[ .-]{1,2}[2-9]\d{2}[ .-]\d{4})(?![\w-]|[.,]\d)"
)
_PHONE_HINT = re.compile(r"\+[1-9][ ./()-]{0,2}\d|\d[ .-]\d{4}(?!\d)")

_CARD = re.compile(
    DIGITS_START
    + r"(?:[2-6]\d{3}([ -])\d{4}\1\d{4}\1\d{4}|3[47]\d{2}([ -])\d{6}\2\d{5}|[2-6]\d{12,18})(?![\w-]|\.\d)"
)
_IBAN = re.compile(r"(?<![\w-])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![\w-])")

_NAMED = re.compile(
    r"(?i)card|credit|debit|visa|amex|account|acct|\bpan\b|\bcc\b|\bid|_id|dni|nif|aadha|resident"
)
_VERSION = re.compile(
    r"(?i)\bv[\s'\":=.-]*\Z|\b(?:ver|\w*version|\w*release|chrome|safari|firefox|edge?|opera|webkit"
    r"|mozilla|build|revision|oid|since|sdk)\w*[\s'\":=(/>-]*\Z"
)
_IPV4 = re.compile(r"(?<![\w.,-])(?<![\w.]/)(\d{1,3}(?:\.\d{1,3}){3})(?![\w-]|\.\d|/\d|\.x)")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-fA-F]{3}:(?:[0-9a-fA-F]{0,4}:){1,6}[0-9a-fA-F]{0,4}(?![\w:.]|/\d)")
_PUBLIC_SERVERS = _words("8.8.8.8 8.8.4.4 1.1.1.1 1.0.0.1 9.9.9.9 208.67.222.222 208.67.220.220")
"""Name servers that everybody uses."""

_DIGITS = re.compile(r"\d[ ./()-]{0,2}\d")
_COLONS = re.compile(r"[23][0-9a-fA-F]{3}:[0-9a-fA-F:]")
_DOTTED = re.compile(r"\d\.\d{1,3}\.\d")
_GROUPED = re.compile(r"\d[ .-]\d|\d{8}|\d{7}[A-Z]|[A-Z]\d\d[A-Z]|[A-Z]{2} ?\d{2}")


def scan(text: str) -> list[Found]:
    """Personal data in `text`, in order of position. Never raises, whatever the text."""
    found: list[Found] = []
    if "@" in text and _AT.search(text):
        found += _emails(text)
    if _DIGITS.search(text):
        if _PHONE_HINT.search(text):
            found += _phones(text)
        if _GROUPED.search(text):
            found += _numbers(text)
        if _DOTTED.search(text):
            found += _ipv4(text)
    if text.count(":") >= 3 and _COLONS.search(text):
        found += _ipv6(text)
    return sorted(set(found), key=lambda item: (item.start, item.stop, item.kind))


def check(case: Case) -> Finding:
    """A FAIL when a personal datum shares a character with the target, else a PASS."""
    if not case.target:
        return NOT_APPLICABLE
    place = lines.around(case)
    for found in scan(place.text):
        span = place.span(found.start, found.stop)
        if span is not None:
            size = span[1] - span[0]
            return Finding(Verdict.FAIL, found.kind, found.drop, *span, f"{Check.PII}, {size} characters")
    return PASS


def _emails(text: str) -> Iterator[Found]:
    for match in _EMAIL.finditer(text):
        if _is_person(match[1].lower().strip("."), match[2].lower()):
            yield Found(Drop.PII_EMAIL, "email", *match.span())


def _is_person(name: str, domain: str) -> bool:
    *labels, top = domain.split(".")
    if top in _RESERVED or top in _FILE_ENDINGS or len(labels[-1]) < 2 or labels[-1].isdigit():
        return False
    plain = name.partition("+")[0]
    return not (
        _PLACEHOLDER_DOMAINS.intersection(labels)
        or any(label.startswith(("example", "your", "my-", "test-")) for label in labels)
        or plain in _PLACEHOLDER_NAMES
        or plain in _ROLES
        or plain.startswith(("noreply", "no-reply", "no_reply", "your", "example"))
        or "noreply" in domain
    )


def _phones(text: str) -> Iterator[Found]:
    for match in _PHONE.finditer(text):
        number = match.group()
        if number.isdigit() or (number[1:].isdigit() and not _is_text(text, match.start())):
            continue
        try:
            parsed = phonenumbers.parse(number, "US")
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(parsed):
            yield Found(Drop.PII_PHONE, "phone", *match.span())


def _is_text(text: str, offset: int) -> bool:
    """Whether a quote or comment has begun on the line: else `a +12025550143` is a sum."""
    return re.search(r"['\"`#*:<]|//", text[text.rfind("\n", 0, offset) + 1 : offset]) is not None


def _numbers(text: str) -> Iterator[Found]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        plain = match[1] is None and match[2] is None
        if CARD_ISSUERS.match(digits) and luhn(digits) and not (plain and not _told(text, *match.span())):
            yield Found(Drop.PII_CARD, "payment_card", *match.span())
    for match in _IBAN.finditer(text):
        code = match.group().replace(" ", "")
        if iban(code):
            yield Found(Drop.PII_CARD, "iban", *match.span())
    for kind, pattern, valid in IDENTITIES:
        for match in pattern.finditer(text):
            if valid(match.group()) and (not match.group().isalnum() or _told(text, *match.span())):
                yield Found(Drop.PII_ID, kind, *match.span())


def _told(text: str, start: int, stop: int) -> bool:
    """Whether a number without separators is a text of its own, or its line has a name for it."""
    quotes = text[max(0, start - 1) : start], text[stop : stop + 1]
    if quotes[0] == quotes[1] and quotes[0] in ("'", '"', "`"):
        return True
    return _NAMED.search(text, text.rfind("\n", 0, start) + 1, start) is not None


def _ipv4(text: str) -> Iterator[Found]:
    for match in _IPV4.finditer(text):
        octets = [int(octet) for octet in match[1].split(".")]
        # Small numbers are versions and examples; 1.3.* and 2.5.* are object identifiers.
        if (
            max(octets) > 255
            or max(octets) < 10
            or octets[:2] in ([1, 3], [2, 5])
            or match[1] in _PUBLIC_SERVERS
        ):
            continue
        if not ipaddress.IPv4Address(".".join(map(str, octets))).is_global or octets[0] >= 224:
            continue
        if not _VERSION.search(text, max(0, match.start() - 40), match.start()):
            yield Found(Drop.PII_ADDRESS, "public_ipv4", *match.span(1))


def _ipv6(text: str) -> Iterator[Found]:
    for match in _IPV6.finditer(text):
        try:
            address = ipaddress.IPv6Address(match.group())
        except ValueError:
            continue
        if address.is_global:
            yield Found(Drop.PII_ADDRESS, "public_ipv6", *match.span())
