"""Secrets that are not whole: being typed, left half-way, or cut by the edge of a window.

The detectors of `checks.secrets` know finished credentials. Between the first key and the last a credential
is not one yet, and every key is a request. Two rules close that time:

- `spans` finds what a complete line gives away without its end: the value given to a telling name, closed or
  not and however plain; the beginning of a token with a known prefix; a password in an address without its
  `@`. These hold wherever the cursor stands, so what is left half-way stays replaced.
- `pending` says whether the cursor stands in a value that may become a secret. It is generous, since it only
  decides that a request is stored without text: any text without spaces that is given on a line with a
  telling name, a run of characters that looks random, the authority of an address.

What leaks of a secret that is typed key by key (measured in the tests, 50 kinds in 4 languages): beginnings
that are public (`AKIA`, `ghp_`); of a random string without telling name or known beginning the first 5 to 9
characters, until it looks random; up to 5 digits that begin a password in an address, which may be a port.

Not covered: such a random string that is left half-way (the part that was typed is no credential to any
detector); secrets split over lines; plain words given to names that say nothing; passphrases with spaces
unless their name ends in "password", "passphrase" or "secret".
"""

import re
from collections.abc import Iterator
from itertools import pairwise

RANDOM_CHARS = 8
"""Shortest run at the cursor that can look random."""
_CHANGES = 0.4
"""Share of neighbours of different class (lower case, upper case, digit) from which on a run looks random:
0.6 is expected of random letters and digits, 0.47 of hexadecimal digits, 0.3 of names in camel case."""

PLAIN_LANGUAGES = frozenset(
    (
        *(
            "dotenv",
            "env",
            "properties",
            "ini",
            "toml",
            "yaml",
            "dockercompose",
            "dockerfile",
            "conf",
            "nginx",
        ),
        *("shellscript", "shell", "sh", "bash", "zsh", "fish", "powershell", "bat", "makefile", "http"),
        *("ssh_config", "ansible", "helm", "systemd-conf"),
    )
)
"""Languages (VS Code identifiers) in which a value needs no quotes."""
PLAIN_ENDINGS = frozenset(
    (
        *("env", "properties", "ini", "toml", "yaml", "yml", "conf", "cfg", "cnf", "config", "dockerfile"),
        *("sh", "bash", "zsh", "fish", "ps1", "bat", "cmd", "mk", "http", "service", "tfvars"),
    )
)
"""Endings of such files, for clients that do not tell the language."""

_STRONG = (
    r"pass(?:word|wd|phrase|code)|pwd|(?<![a-z])(?:pass|pw)(?![a-z])|secret|contrase|credential"
    r"|(?:api|auth|access|account|service|private|priv|client|db|database|encryption|signing|master|session"
    r"|shared|storage|license)[-_ ]?(?:key|pass(?![a-z]))"
    r"|(?:auth|access|refresh|bearer|api|bot|deploy)[-_ ]?token"
)
_WEAK = r"token|key|auth|signature|bearer|webhook|cert"
_WORDS = (
    *("pass", "pwd", "pw", "secret", "contrase", "credential", "key", "token", "auth", "signature", "bearer"),
    *("webhook", "cert", "sig=", "basic", "storage", "license"),
)
"""Every name above, and every pattern below that has a name in it, has one of these in it."""

_ASSIGNED = (
    r"\w{0,40}['\"`]?\]?\s{0,20}(?:[:=!]?={1,2}>?|:(?:\s{0,4}[\w\[\]<>|?.]{1,40}\s{0,4}=)?|,|\()\s{0,20}"
)
_QUOTED = r"(?:[a-z@$]{0,2})(?P<quote>['\"`]|\\['\"])(?P<value>(?:(?!(?P=quote))[^\s])*)"
_CLOSED = r"(?=(?P=quote)|\Z)"
_STRONG_VALUE = re.compile(rf"(?i:{_STRONG}){_ASSIGNED}{_QUOTED}{_CLOSED}")
_WEAK_VALUE = re.compile(rf"(?i:{_WEAK}){_ASSIGNED}{_QUOTED}{_CLOSED}")
_PHRASE = re.compile(
    r"(?i:pass(?:word|wd|phrase|code)|pwd|secret(?:[-_]?key)?)['\"`]?\]?\s{0,20}(?::\s{0,4}\w{1,40}\s{0,4})?:?=\s{0,20}"
    r"(?P<quote>['\"`])(?!\s*\+)(?P<value>(?:(?!(?P=quote)).)+)"
)
"""A whole text given to a name that ends in "password": passphrases have spaces."""
_PLAIN_VALUE = re.compile(
    rf"(?i:^[\w\s.$:-]{{0,60}}?(?:{_STRONG}|{_WEAK})\w{{0,40}})(?:\s{{0,4}}[:=]\s{{0,4}}|\s)(?P<value>[^\s'\"`]+)"
)
_FIELD = re.compile(
    r"(?i:[;?&'\"`\s](?:password|passwd|pwd|accountkey|sharedaccesskey|secret|token|sig|api[-_]?key|access_token)=)"
    r"(?P<value>[^\s;&'\"`]+)"
)
_HEADER = re.compile(r"(?i:\b(?:bearer|basic|token)\s)(?P<value>[\w+/=.~-]{6,})")
_AUTHORITY = re.compile(r"://[^\s/:@'\"`\[]*:(?!\d{1,5}(?!\w)|(?i:port\b))(?P<value>[^\s/@'\"`]+)")
_NAME_HINT = re.compile(rf"(?i:{_STRONG}|{_WEAK}|login\(|connect\w*\()")

_REFERENCE = re.compile(
    r"[$%#@]?[{<(]|%[a-z]|\$[A-Za-z_]|[\w.]*\(|process\.env|os\.environ|(?i:your|example|change_?-?me"
    r"|placeholder|dummy|redacted|\*{3}|x{4}|\.{3}|null\b|none\b|true\b|false\b|undefined\b)"
)
_MIXED = re.compile(r"(?=.*[A-Za-z])(?=.*\d)")

_PREFIXED = re.compile(
    r"(?<![\w-])(?:AKIA[A-Z0-9]+|A(?:SIA|BIA|CCA)(?=[A-Z0-9]*\d)[A-Z0-9]+|gh[pousr]_[A-Za-z0-9]+|github_pat_\w+"
    r"|gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas)-[\w-]+|xox[abeoprs]-[\w-]+|[sr]k_(?:live|test)_\w+"
    r"|whsec_\w+|sk-(?:proj|svcacct|admin|ant|or)-[\w-]+|sk-(?=[A-Za-z0-9]*\d)[A-Za-z0-9]{8,}"
    r"|AIza[\w-]+|ya29\.[\w-]+|GOCSPX-[\w-]+|eyJ[\w-]+(?:\.[\w-]*){0,2}|npm_(?=[A-Za-z]*\d)[A-Za-z0-9]{6,}"
    r"|pypi-Ag[\w-]+|hf_(?=[a-z]*[A-Z])[A-Za-z]{4,}|SG\.(?=[\w-]*\d)[\w.-]{6,}|do[opr]_v1_[a-f0-9]+"
    r"|dapi(?=[a-f]*\d)[a-f0-9]{4,}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]+|NRAK-[A-Z0-9]+|hv[sb]\.[\w-]{4,}"
    r"|sq0(?:csp|atp)-[\w-]+|EAAA(?=[\w-]*\d)[\w-]{4,}|lin_api_\w+|gls[ao]_\w+|PMAK-[\w-]+|AKCp\d\w+"
    r"|SK(?=[a-f]*\d)[a-f0-9]{6,}|\d{8,10}:AA[\w-]+|key-(?=[a-f]*\d)[a-f0-9]{6,})"
    r"|(?i:hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)[\w/-]+"
)
_BEGUN = re.compile(
    r"(?<![\w-])(?:(?:AKIA|ASIA|ABIA|ACCA)|gh[pousr]_|github_pat_|gl[a-z]{2,5}-|xox[abeoprs]-|[sr]k_(?:live|test)_"
    r"|whsec_|sk-|AIza|ya29\.|GOCSPX-|eyJ|npm_|pypi-|hf_|SG\.|do[opr]_v1_|dapi\d|shp(?:at|ca|pa|ss)_|NRAK-|hv[sb]\."
    r"|sq0(?:csp|atp)-|EAAA|lin_api_|gls[ao]_|PMAK-|AKCp|\d{8,10}:|key-[0-9a-f])[\w./+=-]+\Z"
)
_WORD_AT = re.compile(r"[A-Za-z0-9+/=_.~-]+\Z")
_REST_AT = re.compile(r"[A-Za-z0-9+/=_.~-]*")
_OPEN_VALUE = re.compile(r"(?:['\"`=:,(]\s{0,4}|\s)(?=[^\s'\"`]*\w)[^\s'\"`]+\Z")
_EMAIL_AT = re.compile(r"(?<![\w.+:/-])[\w.+-]+@[\w.-]*\Z")


def is_plain(language: str, path: str) -> bool:
    """Whether values need no quotes in the file at `path`."""
    return language in PLAIN_LANGUAGES or path.rpartition(".")[2].lower() in PLAIN_ENDINGS


def spans(line: str, plain: bool) -> Iterator[tuple[int, int]]:
    """Values on `line` that are taken for secrets without being complete ones, in no order; they may overlap.

    `plain`: a value needs no quotes in this file.
    """
    folded = line.lower() if line.isascii() else line.casefold()
    if any(word in folded for word in _WORDS):
        yield from _named(line, plain)
    if "://" in line:
        for match in _AUTHORITY.finditer(line):
            if _telling(match["value"], 3):
                yield match.span("value")
    for match in _PREFIXED.finditer(line):
        yield match.span()


def _named(line: str, plain: bool) -> Iterator[tuple[int, int]]:
    for match in _STRONG_VALUE.finditer(line):
        if _telling(match["value"], 1):
            yield match.span("value")
    for match in _PHRASE.finditer(line):
        if _telling(match["value"].strip(), 1):
            yield match.span("value")
    for pattern, least, mixed in ((_WEAK_VALUE, 8, True), (_FIELD, 3, False), (_HEADER, 8, True)):
        for match in pattern.finditer(line):
            if _telling(match["value"], least) and (not mixed or _MIXED.match(match["value"])):
                yield match.span("value")
    if plain and (found := _PLAIN_VALUE.match(line)) and _telling(found["value"], 4):
        yield found.span("value")


def _telling(value: str, least: int) -> bool:
    return len(value) >= least and _REFERENCE.match(value) is None


def pending(line: str, column: int, plain: bool, personal: bool) -> bool:
    """Whether the cursor at `column` stands in, or right behind, a value that may become a secret."""
    before = line[:column]
    if not before or before[-1].isspace():
        return False
    if _BEGUN.search(before) or (personal and _EMAIL_AT.search(before)):
        return True
    if "://" in before:
        authority = _last(_AUTHORITY, before)
        if authority is not None and authority.end() == column:
            return True
    quoted = _in_string(before)
    if not quoted and not plain:
        return False
    value = _OPEN_VALUE.search(before)
    if value is not None and _NAME_HINT.search(before, 0, value.start() + 1):
        return True
    word = _WORD_AT.search(before)
    rest = _REST_AT.match(line, column)
    return word is not None and looks_random(word.group() + (rest.group() if rest else ""))


def looks_random(run: str) -> bool:
    """Whether a run of characters changes its class too often for words, in any part of it."""
    classes = [
        "d" if letter.isdigit() else "u" if letter.isupper() else "l" for letter in run if letter.isalnum()
    ]
    changes = [one != two for one, two in pairwise(classes)]
    size = RANDOM_CHARS - 1
    return any(sum(changes[at : at + size]) >= _CHANGES * size for at in range(len(changes) - size + 1))


def _in_string(before: str) -> bool:
    """Whether a string literal is open at the end of `before`, the part of its line before the cursor."""
    opened = ""
    escaped = False
    for letter in before:
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif opened:
            if letter == opened:
                opened = ""
        elif letter in "'\"`":
            opened = letter
    return opened != ""


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007 - the last one is wanted
        pass
    return found
