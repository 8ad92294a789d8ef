"""Hard-coded credentials in a text (paper 4.4, "Safety"; 6.4).

The detectors are those of `secret_rules`: Kingfisher on the whole text, detect-secrets on the lines that a
prefilter lets through. This module selects what they may say and says where a finding lies. The secret
itself is never returned.

Our choice: limits that code needs. A password-like name must be given a value of at least six characters
without white space that mixes letters with digits or symbols and is no placeholder; base64 strings must
look random in case and digits too; hexadecimal strings must have the length of a key. An "allowlist"
pragma is not honoured: leaving out a harmless sample costs less than learning a secret.

Not covered: passwords that are plain words; secrets split over lines or built from parts (the lines of a
private key are followed); random keys without quotes or a telling form.
"""

import base64
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from detect_secrets.filters import heuristic

from echo_ray.checks import lines, placeholders
from echo_ray.checks.case import NOT_APPLICABLE, PASS, Case, Check, Finding, Verdict
from echo_ray.checks.secret_rules import (
    BASE64,
    BASE64_BITS,
    BASIC_AUTH,
    BASIC_HEADER,
    FORMATS,
    HEX,
    HEX_BITS,
    KEYWORD,
    KEYWORD_CALL,
    LONG_RUN,
    PRIVATE_KEY_BLOCK,
    QUOTED_RUN,
    fold,
    has_name,
    scanner,
    suspicious,
)
from echo_ray.schema import Drop


class Found(NamedTuple):
    """A credential: what says so, on which line (from 0), at which characters of the text."""

    kind: str
    line: int
    start: int
    stop: int


HEX_LENGTHS = (32, 40, 48, 64, 96, 128)
"""Lengths of quoted hexadecimal strings that are keys; other lengths are colours, constants, test data."""

LINE_CHARS, OVERLAP_CHARS = 4_000, 1_000
"""Longest line that is looked at in one piece, and how much two pieces share: more than a token has."""

KEY_REACH_CHARS = 4_000
"""How far before the target the first line of a private key is looked for."""

_PASSWORD_KINDS = frozenset((BASIC_AUTH.secret_type, KEYWORD.secret_type))
_RANDOM_KINDS = frozenset((BASE64.secret_type, HEX.secret_type))
_PRIVATE_KEY = "Private Key"

_LEFT_TO_OURS = re.compile(r"credential-uri|connection-string|curl-auth|private-key$|-url|jwt$")
"""Rules of Kingfisher whose matches may be placeholders: our detectors see the same text and know them."""

_PASSWORD = re.compile(r"(?=.*[A-Za-z])(?=.*[\d!#$%&*+=?@^~|])\S{6,}\Z")
_REFERENCE = re.compile(
    r"%|[\w.-]+\.[a-z]{2,3}/|[$#@]?[{<(]|\$[A-Za-z_]|[\w.]*\(|process\.env|[a-z]+(?:[-_./:][a-z]+)+\Z"
)
_PLACEHOLDER = re.compile(r"(?i)your|example|change_?-?me|placeholder|dummy|redacted|\*{3}|x{4}|\.{3}")
_WORDY = re.compile(r"[A-Za-z]{4,}(?:[-_/][A-Za-z]{2,}){2,}|(.)\1{5}|(?i:abcdefgh|jklmnopq|bcdfghjk)")
_WEAK_URL_PASSWORDS = frozenset(
    re.findall(
        r"\w+", "password pass passwd pwd pw secret token user foo bar baz test x guest root admin postgres"
    )
)
_DIGEST = re.compile(
    r"(?i)sha|hash|digest|commit|checksum|md5|revision|etag|signature|integrity|expect|assert"
)
"""Names beside a hexadecimal string that make it the digest of something, which is no secret."""
_KEY_BODY = re.compile(r"[A-Za-z0-9+/]{20,}|-----END")


def scan(text: str) -> list[Found]:
    """Credentials in `text`, in order of position. Never raises, whatever the text."""
    found = scan_formats(text)
    if suspicious(text):
        for offset, line in _pieces(text):
            if suspicious(line):
                found += [(kind, offset + start, offset + stop) for kind, start, stop in _scan_line(line)]
        if "PRIVATE KEY" in text:
            found += [(_PRIVATE_KEY, *match.span()) for match in PRIVATE_KEY_BLOCK.finditer(text)]
    ordered = sorted(set(found), key=lambda item: (item[1], item[2], item[0]))
    return [Found(kind, text.count("\n", 0, start), start, stop) for kind, start, stop in ordered]


def check(case: Case) -> Finding:
    """A FAIL when a credential, or what the log has in place of one, is in the target in part, else a
    PASS.
    """
    if not case.target:
        return NOT_APPLICABLE
    for stands in placeholders.spans(case.target):
        return _fail("placeholder", *stands)
    place = lines.around(case)
    for found in scan(place.text):
        span = place.span(found.start, found.stop)
        if span is not None:
            return _fail(found.kind, *span)
    body = _KEY_BODY.search(case.target)
    if body is not None and _inside_key(case.prefix):
        return _fail(_PRIVATE_KEY, *body.span())
    return PASS


def _fail(kind: str, start: int, stop: int) -> Finding:
    if kind in _PASSWORD_KINDS:
        drop = Drop.SECRET_PASSWORD
    elif kind in _RANDOM_KINDS:
        drop = Drop.SECRET_RANDOM
    else:
        drop = Drop.SECRET_PRIVATE_KEY if kind == _PRIVATE_KEY else Drop.SECRET_TOKEN
    rule = re.sub(r"[^a-z0-9]+", "_", kind.lower()).strip("_")
    return Finding(Verdict.FAIL, rule, drop, start, stop, f"{Check.SECRET}, {stop - start} characters")


def _inside_key(prefix: str) -> bool:
    begin = prefix.rfind("PRIVATE KEY", max(0, len(prefix) - KEY_REACH_CHARS))
    return begin >= 0 and "-----BEGIN " in prefix[max(0, begin - 30) : begin]


def scan_formats(text: str) -> list[tuple[str, int, int]]:
    """(kind, start, stop) of what Kingfisher finds: the part of `scan` that may look at several lines.

    It takes microseconds for a whole text.
    """
    # A lone surrogate cannot be encoded; "?" takes its place, so characters still correspond.
    data = text.encode("utf-8", "replace")
    found = []
    for finding in scanner().scan(data):
        kind = finding.rule_id.rpartition(".")[2].rpartition("/")[2]
        if not finding.visible or _LEFT_TO_OURS.search(kind) or _PLACEHOLDER.search(finding.secret):
            continue
        start, stop = finding.location["start_offset"], finding.location["end_offset"]
        found.append((kind, len(data[:start].decode("utf-8")), len(data[:stop].decode("utf-8"))))
    return found


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their offsets; longer ones in overlapping parts, since some patterns take quadratic time."""
    offset = 0
    for line in text.split("\n"):
        for start in range(0, max(1, len(line) - OVERLAP_CHARS), LINE_CHARS - OVERLAP_CHARS):
            yield offset + start, line[start : start + LINE_CHARS]
        offset += len(line) + 1


def _scan_line(line: str) -> set[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    folded, long = fold(line), LONG_RUN.search(line) is not None
    for plugin, needles in FORMATS:
        if not (any(needle in folded for needle in needles) if needles else long):
            continue
        if any(not heuristic.is_templated_secret(value) for value in plugin.analyze_string(line)):
            matches = (match for pattern in plugin.denylist for match in pattern.finditer(line))
            found += [(plugin.secret_type, *match.span()) for match in matches]
    guesses: list[tuple[Any, Callable[[str], bool]]] = []
    if "://" in line or "@tcp(" in folded or "@unix(" in folded:
        guesses.append((BASIC_AUTH, _is_password_in_url))
    if "basic " in folded:
        guesses.append((BASIC_HEADER, _is_name_and_password))
    if has_name(folded):
        guesses += [(KEYWORD, _is_password), (KEYWORD_CALL, _is_password)]
    if QUOTED_RUN.search(line):
        guesses += [(BASE64, _is_random_base64), (HEX, functools.partial(_is_random_hex, line=line))]
    for plugin, plausible in guesses:
        for value in plugin.analyze_string(line):
            if not _harmless(value) and plausible(value):
                start = line.find(value)
                stop = start + len(value)
                # A token of a known format is reported under that name only.
                if not any(low < stop and start < high for _, low, high in found):
                    found.append((plugin.secret_type, start, stop))
    return set(found)


def _harmless(value: str) -> bool:
    return (
        heuristic.is_sequential_string(value)
        or heuristic.is_templated_secret(value)
        or heuristic.is_prefixed_with_dollar_sign(value)
        or heuristic.is_not_alphanumeric_string(value)
        or _PLACEHOLDER.search(value) is not None
    )


def _is_password_in_url(value: str) -> bool:
    return not _REFERENCE.match(value) and value.lower() not in _WEAK_URL_PASSWORDS


def _is_name_and_password(value: str) -> bool:
    try:
        name, colon, password = base64.b64decode(value, validate=True).decode("ascii").partition(":")
    except ValueError:
        return False
    return bool(colon) and name.isprintable() and _is_password_in_url(password)


def _is_password(value: str) -> bool:
    return _REFERENCE.match(value) is None and _PASSWORD.match(value) is not None


def _is_random_base64(value: str) -> bool:
    if (
        heuristic.is_potential_uuid(value)
        or value.startswith("sha")
        or BASE64.calculate_shannon_entropy(value) <= BASE64_BITS
        or _WORDY.search(value)
    ):
        return False
    kinds = (r"[a-z]", r"[A-Z]", r"\d")
    return all(len(re.findall(kind, value)) >= 2 for kind in kinds)


def _is_random_hex(value: str, line: str) -> bool:
    if len(value) not in HEX_LENGTHS or _DIGEST.search(line):
        return False
    return bool(HEX.calculate_shannon_entropy(value) > HEX_BITS)
