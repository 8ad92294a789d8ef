"""What stands in the log in place of a secret: `REDACTED_<kind>_<8 hexadecimal digits>`.

The digits are a keyed hash of the secret, so the same secret has the same placeholder in every record and on
every replica, and a document looks the same from one keystroke to the next: anchors hold. No detector takes a
placeholder for a secret. The hash cannot be tried with guesses without the key; 32 bits tell secrets of one
log apart, not of all logs.
"""

import hmac
import re

SECRET = "secret"  # noqa: S105 - a kind of placeholder
"""Kind of every credential: a finer one would change while a secret is completed, and with it the anchors."""
PRIVATE_KEY = "private_key"
"""Kind of private keys. Their hash is that of nothing: a window may show any part of a key."""

PATTERN = re.compile(r"REDACTED_[a-z0-9_]{2,20}_[0-9a-f]{8}")
"""Any placeholder."""


def placeholder(key: bytes, kind: str, secret: str) -> str:
    """The text that replaces `secret`."""
    message = b"redact\0" + secret.encode("utf-8", "surrogatepass")
    return f"REDACTED_{kind}_{hmac.digest(key, message, 'sha256').hex()[:8]}"


def spans(text: str) -> list[tuple[int, int]]:
    """Where placeholders stand in `text`."""
    if "REDACTED_" not in text:
        return []
    return [match.span() for match in PATTERN.finditer(text)]


def holds_placeholder(text: str) -> bool:
    """Whether `text` has a placeholder in it: such a target must not be learned."""
    return "REDACTED_" in text and PATTERN.search(text) is not None
