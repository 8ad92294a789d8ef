"""The fields of a request body, read one by one; the first that is wrong becomes the refusal.

Unknown keys are ignored and null means absent, as in every dialect that clients speak. Text that no encoding
can write (half of a surrogate pair) is refused: it could be neither tokenized nor logged.
"""

import reprlib
from collections.abc import Iterable
from typing import Any, TypeGuard

import orjson

from echo_ray.dialects.asked import JSON, Refusal
from echo_ray.prompts import Snippet

MAX_CHOICES = 8
"""Choices that one request may ask for (count)."""
MAX_STOPS = 32
"""Stop strings that one request may give (count)."""
MAX_SNIPPETS = 64
"""Texts of other files that are looked at, most important first (count)."""

_MAX_TOKENS = 2**31 - 1


class _Short(reprlib.Repr):
    """Representations that are short and never fail."""

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write a number of more than 4,300 digits."""
        return "a number of many digits" if x.bit_length() > 128 else repr(x)


_SHORT = _Short()
_SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict, _SHORT.maxstring, _SHORT.maxother = 2, 3, 3, 50, 50


class Body:
    """A JSON object whose fields are read by type; `fault` is the first that is not what was wanted."""

    __slots__ = ("fault", "fields")

    def __init__(self, value: JSON) -> None:
        self.fields: dict[str, Any] = value if isinstance(value, dict) else {}
        self.fault: Refusal | None = None
        if not isinstance(value, dict):
            self.fault = Refusal(400, f"the body must be a JSON object, got {shown(value)}")

    def wrong(self, name: str, wanted: str) -> None:
        """Note that the field `name` is not what was `wanted`."""
        if self.fault is None:
            got = shown(self.fields.get(name))
            self.fault = Refusal(400, f"{name} must be {wanted}, got {got}", param=name)

    def text(self, name: str) -> str | None:
        """A string; None when absent."""
        value = self.fields.get(name)
        if value is None or is_text(value):
            return value
        self.wrong(name, "a string that UTF-8 can write")
        return None

    def whole(self, name: str, least: int, most: int) -> int | None:
        """A whole number from `least` to `most`; None when absent."""
        value = self.fields.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.wrong(name, f"a whole number from {least} to {most}")
        return None

    def number(self, name: str, least: float, most: float) -> float | None:
        """A number from `least` to `most`; None when absent."""
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
            return float(value)
        self.wrong(name, f"a number from {least:g} to {most:g}")
        return None

    def flag(self, name: str) -> bool:
        """True or false; false when absent."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, bool):
            self.wrong(name, "true or false")
        return value is True

    def inner(self, name: str) -> dict[str, Any]:
        """An object; empty when absent."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, dict):
            self.wrong(name, "an object")
        return value if isinstance(value, dict) else {}

    def max_tokens(self, name: str = "max_tokens") -> int | None:
        """Tokens of an answer; None when absent."""
        return self.whole(name, 1, _MAX_TOKENS)

    def choices(self, name: str) -> int:
        """Choices asked for; 1 when absent."""
        return self.whole(name, 1, MAX_CHOICES) or 1

    def seed(self, name: str = "seed") -> int | None:
        """A 64-bit whole number; None when absent."""
        return self.whole(name, -(2**63), 2**63 - 1)

    def top_p(self) -> float | None:
        """Share of the probability that is sampled from; None when absent. Engines refuse 0, which asks for
        the likeliest token, so it is read as very little.
        """
        value = self.number("top_p", 0, 1)
        return None if value is None else max(value, 1e-6)

    def stops(self) -> tuple[str, ...]:
        """Strings that end an answer; empty ones mean nothing."""
        value = self.fields.get("stop")
        found = [] if value is None else [value] if isinstance(value, str) else value
        if isinstance(found, list) and len(found) <= MAX_STOPS and all(map(is_text, found)):
            return tuple(item for item in found if item)
        self.wrong("stop", f"a string or a list of at most {MAX_STOPS} strings")
        return ()


def decode(raw: bytes) -> JSON | Refusal:
    """The JSON value in `raw`, or why there is none."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return Refusal(400, f"the body is not valid JSON: {error}")


def is_text(value: JSON) -> TypeGuard[str]:
    """Whether a value is a string that UTF-8 can write."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def said(value: JSON, *names: str) -> str | None:
    """The first of the fields `names` that holds text, for hints that are no reason to refuse a request."""
    if not isinstance(value, dict):
        return None
    return next((found for name in names if is_text(found := value.get(name)) and found), None)


def shown(value: JSON) -> str:
    """A value as a message shows it: short, whatever its size and depth."""
    return _SHORT.repr(value)


def useful(snippets: Iterable[Snippet], prefix: str, suffix: str) -> tuple[Snippet, ...]:
    """The first `MAX_SNIPPETS` snippets, less those that are empty, repeated or around the cursor anyway."""
    kept: dict[str, Snippet] = {}
    for _, snippet in zip(range(MAX_SNIPPETS), snippets, strict=False):
        core = snippet.text.strip()
        if core and core not in kept and core not in prefix and core not in suffix:
            kept[core] = snippet
    return tuple(kept.values())
