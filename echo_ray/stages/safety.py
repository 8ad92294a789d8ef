"""Hard-coded credentials in a text (paper 4.4, "Safety"; 6.4).

The detectors are those of detect-secrets; this module only selects them, asks them about the few texts
that a prefilter lets through, and says where a finding lies. The secret itself is never returned.

Our choice: detectors are called directly (`analyze_string` and the library's own heuristics), not by
`scan_line`, whose ad-hoc mode drops the quotes that keep entropy detectors quiet on ordinary code, and
not through the library's settings, which are global to the process and can verify secrets over the
network. Our choice: three limits that code needs. A password-like name must be given a value of at
least six characters without white space that mixes letters with digits or symbols; base64 strings must
look random in case and digits too; hexadecimal strings must have the length of a key. An "allowlist" pragma
is not honoured: leaving out a harmless sample costs less than learning a secret.

The prefilter loses nothing: it matches a part that each detector's pattern needs, and an entropy limit
of h bits needs more than 2^h different characters, hence a longer string.

Not covered: passwords that are plain words; secrets split over lines or built from parts; personal data;
malicious patterns.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from detect_secrets.filters import heuristic
from detect_secrets.plugins import (
    aws,
    azure_storage_key,
    basic_auth,
    discord,
    github_token,
    gitlab_token,
    high_entropy_strings,
    jwt,
    keyword,
    mailchimp,
    npm,
    openai,
    private_key,
    pypi_token,
    sendgrid,
    slack,
    square_oauth,
    stripe,
    telegram_token,
    twilio,
)


class Finding(NamedTuple):
    """A credential: which detector says so, on which line (from 0), at which characters of the text."""

    kind: str
    line: int
    start: int
    stop: int


BASE64_BITS = 4.5
"""Entropy limit of quoted base64 strings, bits per character: the library's default."""

HEX_BITS = 3.0
"""Entropy limit of quoted hexadecimal strings, bits per character: the library's default."""

HEX_LENGTHS = (32, 40, 48, 64, 96, 128)
"""Lengths of quoted hexadecimal strings that are keys; other lengths are colours, constants, test data."""

_FORMATS: tuple[tuple[Any, str], ...] = (
    (aws.AWSKeyDetector(), r"A3T|ABIA|ACCA|AKIA|ASIA|(?i:aws)"),
    (azure_storage_key.AzureStorageKeyDetector(), r"AccountKey="),
    (discord.DiscordBotTokenDetector(), r"[\w-]{23}\.[\w-]{6}\.[\w-]{27}"),
    (github_token.GitHubTokenDetector(), r"gh[pousr]_"),
    (gitlab_token.GitLabTokenDetector(), r"gl[a-z]+-|GR1348941"),
    (jwt.JwtTokenDetector(), r"eyJ"),
    (mailchimp.MailchimpDetector(), r"[0-9a-z]{32}-us"),
    (npm.NpmDetector(), r":_authToken="),
    (openai.OpenAIDetector(), r"T3BlbkFJ"),
    (private_key.PrivateKeyDetector(), r"PRIVATE KEY|PuTTY-User-Key"),
    (pypi_token.PypiTokenDetector(), r"pypi-Ag"),
    (sendgrid.SendGridDetector(), r"SG\."),
    (slack.SlackDetector(), r"(?i:xox|hooks\.slack)"),
    (square_oauth.SquareOAuthDetector(), r"sq0csp-"),
    (stripe.StripeDetector(), r"k_live_"),
    (telegram_token.TelegramBotTokenDetector(), r"\d:[\w-]{35}"),
    (twilio.TwilioKeyDetector(), r"(?:AC|SK)[a-z0-9]{32}"),
)
"""Detectors of well-known token formats, each with a pattern that every one of its matches contains."""

_BASIC_AUTH = basic_auth.BasicAuthDetector()
_KEYWORD = keyword.KeywordDetector()
_BASE64 = high_entropy_strings.Base64HighEntropyString(limit=BASE64_BITS)
_HEX = high_entropy_strings.HexHighEntropyString(limit=HEX_BITS)

_BASE64_MIN = int(2**BASE64_BITS) + 1
_PREFILTER = re.compile(
    "|".join(
        (
            *(needed for _, needed in _FORMATS),
            "://[^\\s]*:[^\\s]*@",
            f"(?i:{'|'.join(keyword.DENYLIST)})",
            rf"['\"][\w+/\\=-]{{{_BASE64_MIN},}}['\"]",
        )
    )
)
_GUESS_FILTERS: tuple[Callable[[str], bool], ...] = (
    heuristic.is_sequential_string,
    heuristic.is_potential_uuid,
    heuristic.is_templated_secret,
    heuristic.is_prefixed_with_dollar_sign,
    heuristic.is_not_alphanumeric_string,
)
_PASSWORD = re.compile(r"(?=.*[A-Za-z])(?=.*[\d!#$%&*+=?@^~|])\S{6,}\Z")
_REFERENCE = re.compile(r"%|[$#@]?[{<(]|\$[A-Za-z_]|[\w.]*\(|process\.env|[a-z]+(?:[-_./:][a-z]+)+\Z")
_WORDY = re.compile(r"[A-Za-z]{4,}(?:[-_/][A-Za-z]{2,}){2,}|(.)\1{5}")


def suspicious(text: str) -> bool:
    """Whether `text` may hold a credential; False is certain, True is not. Microseconds a line."""
    return _PREFILTER.search(text) is not None


def scan(text: str) -> list[Finding]:
    """Credentials in `text`, in order of position."""
    if not suspicious(text):
        return []
    found: list[Finding] = []
    offset = 0
    for number, line in enumerate(text.split("\n")):
        if suspicious(line):
            found += {
                Finding(kind, number, offset + start, offset + stop) for kind, start, stop in _scan_line(line)
            }
        offset += len(line) + 1
    return sorted(found, key=lambda finding: (finding.start, finding.stop, finding.kind))


def _scan_line(line: str) -> tuple[tuple[str, int, int], ...]:
    found: list[tuple[str, int, int]] = []
    for plugin, _ in _FORMATS:
        if any(not heuristic.is_templated_secret(value) for value in plugin.analyze_string(line)):
            matches = (match for pattern in plugin.denylist for match in pattern.finditer(line))
            found += [(plugin.secret_type, *match.span()) for match in matches]
    guesses = (
        (_BASIC_AUTH, _is_password_in_url),
        (_KEYWORD, functools.partial(_is_password, line=line)),
        (_BASE64, _is_random_base64),
        (_HEX, _is_random_hex),
    )
    for plugin, plausible in guesses:
        for value in plugin.analyze_string(line):
            if not any(harmless(value) for harmless in _GUESS_FILTERS) and plausible(value):
                start = line.find(value)
                stop = start + len(value)
                # A token of a known format is reported under that name only.
                if not any(low < stop and start < high for _, low, high in found):
                    found.append((plugin.secret_type, start, stop))
    return tuple(found)


def _is_password_in_url(value: str) -> bool:
    return not _REFERENCE.match(value) and value.lower() not in ("password", "pass", "pwd", "secret", "token")


def _is_password(value: str, line: str) -> bool:
    if heuristic.is_indirect_reference(line) or _REFERENCE.match(value):
        return False
    return _PASSWORD.match(value) is not None


def _is_random_base64(value: str) -> bool:
    if _BASE64.calculate_shannon_entropy(value) <= BASE64_BITS or _WORDY.search(value):
        return False
    kinds = (r"[a-z]", r"[A-Z]", r"\d")
    return all(len(re.findall(kind, value)) >= 2 for kind in kinds)


def _is_random_hex(value: str) -> bool:
    return len(value) in HEX_LENGTHS and _HEX.calculate_shannon_entropy(value) > HEX_BITS
