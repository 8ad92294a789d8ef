"""Credentials typed key by key into source text, and what a log keeps of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from echo_ray.privacy.collect import Collector
from echo_ray.privacy.config import PrivacyConfig
from tests.corruption_safety import BASE64, NAMED, TOKENS, Draw
from tests.rows import request

KEY = b"0123456789abcdef0123456789abcdef"

HEADS = {
    "python": "import os\n\n\ndef connect(client):\n    ",
    "typescript": "import { Client } from './client';\n\nexport function connect(client: Client) {\n  ",
    "go": "package main\n\nfunc connect(client *Client) {\n\t",
    "java": "class Main {\n    void connect(Client client) {\n        ",
}
NAMED_LINES = {
    "python": '{name} = "',
    "typescript": 'const {name} = "',
    "go": '{name} := "',
    "java": 'String {name} = "',
}
CALLS = {
    "python": 'client.start("',
    "typescript": 'client.start("',
    "go": 'client.Start("',
    "java": 'client.start("',
}
TAILS = {"python": "\n    return client\n", "typescript": "\n}\n", "go": "\n}\n", "java": "\n    }\n}\n"}

PUBLIC_CHARS = {
    "aws key id": 4, "github classic": 4, "github fine-grained": 11, "gitlab": 6, "slack token": 5,
    "slack webhook": 33, "stripe": 8, "sendgrid": 3, "npm": 4, "pypi": 5, "jwt": 3, "openai": 3,
    "openai project": 8, "anthropic": 7, "google api": 4, "google oauth": 7, "hugging face": 3,
    "digitalocean": 7, "databricks": 4, "square": 8, "shopify": 6, "mailgun": 4, "artifactory": 4,
    "new relic": 5, "grafana": 5, "vault": 4, "linear": 8, "postman": 5, "azure storage": 64,
    "twilio": 2, "telegram bot": 0, "discord bot": 0, "mailchimp": 0, "rsa private key": 31,
    "ec private key": 30, "openssh private key": 35, "pkcs8 private key": 27,
    "basic auth url": 15, "database url": 30,
}  # fmt: skip
"""Characters at the start of a credential that say what it is and nothing of the secret (an upper limit)."""


class Typed(NamedTuple):
    """One credential, typed into one file."""

    kind: str
    language: str
    named: bool
    value: str
    kept: int
    """Longest beginning of the value that stands in the log (characters)."""


def credentials() -> Iterator[tuple[str, str, str | None]]:
    """(kind, value, telling name or None where there is only the form)."""
    for kind, make in TOKENS.items():
        yield kind, make(Draw("typed", kind)), None
    for kind, (name, make) in NAMED.items():
        yield kind, make(Draw("typed", kind)), name
    yield "plain password", "correcthorse", "password"
    yield "passphrase", "correct horse battery", "password"
    yield "random base64, no name", Draw("typed").text(BASE64, 43) + "=", None
    yield "random base62, no name", Draw("typed", 2).text(BASE64[:-2], 32), None


def keystrokes(head: str, text: str, tail: str, **changes: Any) -> Iterator[dict[str, Any]]:
    """Request records, one a key, while `text` is typed between `head` and `tail`, and two keys more."""
    for size in range(len(text) + 1):
        record = request(f"r{size:04d}", 1_000 + 200 * size, head + text[:size], tail, **changes)
        yield {"record": "request", **record}


def written(records: Iterator[dict[str, Any]], config: PrivacyConfig | None = None) -> bytes:
    """What a log would hold."""
    collector = Collector(config or PrivacyConfig(), KEY)
    kept = (collector.record(record) for record in records)
    return b"\n".join(orjson.dumps(record) for record in kept if record is not None)


def longest_kept(value: str, log: bytes) -> int:
    """Length of the longest beginning of `value` in `log`."""
    text = log.decode()
    shown = orjson.dumps(value).decode()[1:-1]
    size = 0
    while size < len(shown) and shown[: size + 1] in text:
        size += 1
    return size


def measured(closes: bool, leaves: float = 1.0) -> Iterator[Typed]:
    """Every credential in every language; `closes`: the editor puts the closing quote at once; `leaves`:
    share of the value after which the user goes on elsewhere."""
    for kind, value, name in credentials():
        for language, head in HEADS.items():
            for named in (True, False) if name is None else (True,):
                start = NAMED_LINES[language].format(name=name or "api_key") if named else CALLS[language]
                end = '"' if named else '")'
                typed = value[: max(1, int(len(value) * leaves))]
                tail = end + TAILS[language] if closes else TAILS[language]
                keys = start + typed + ("" if closes else end if leaves == 1 else "\n")
                records = [
                    *keystrokes(head, keys, tail, language=language),
                    *keystrokes(head + keys + tail, "x = 1", "", language=language),
                ]
                log = written(iter(records))
                yield Typed(kind, language, named, value, longest_kept(typed, log))
