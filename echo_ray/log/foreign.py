"""Foreign logs as version-1 records: which format a file has, and its records one by one.

| name | source | module |
|---|---|---|
| `tabby` | a Tabby server's `events/*.json` | `tabby` |
| `continue` | Continue's `autocomplete.jsonl`, or what it posts | `continue_dev` |
| `llamacpp` | captured `/infill` traffic: JSON Lines or HAR | `llamacpp` |
| `vscode` | VS Code workspace recordings | `recordings` |
| `trace` | editing traces | `recordings` |

Invariants: content never raises, a bad entry becomes its number and a reason; formats of lines are read
line by line. A format is recognised by the keys of the file's first objects, never by its name. Not
covered: version-1 JSON Lines and Parquet (the reader's own), and telling whether the records are valid.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from echo_ray.log import continue_dev, llamacpp, recordings, source, tabby
from echo_ray.log.source import Result

FORMATS: dict[str, Callable[[Path], Iterator[Result]]] = {
    "tabby": tabby.records,
    "continue": continue_dev.records,
    "llamacpp": llamacpp.records,
    "vscode": recordings.records,
    "trace": recordings.records,
}
"""Importers by the name of their format."""

_HEAD_BYTES = 1 << 16
_TRIES = 16
"""Lines that are looked at: the first ones of a capture may be torn."""
_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|["{}\[\]:,]')


def sniff(path: Path) -> str | None:
    """Name in `FORMATS` by the file's first bytes; None for version 1, and for what nobody knows."""
    try:
        with source.opened(path) as stream:
            head = stream.read(_HEAD_BYTES)
    except source.UNREADABLE:
        return None
    starts = [0, *(found.end() for found in re.finditer(rb"\n(?=\{)", head))]
    for start in starts[:_TRIES]:
        name = _format(_outline(head[start:]))
        if name is not None:
            return name
    return None


def records(path: Path, name: str) -> Iterator[Result]:
    """(line or entry number, record) or (number, reason), lazily. Raises KeyError for an unknown name."""
    return FORMATS[name](path)


def _format(keys: dict[str, str]) -> str | None:
    if any(f"event.{kind}" in keys for kind in tabby.KINDS):
        return "tabby"
    if keys.get("eventName") == "autocomplete" or {"completionId", "accepted"} <= keys.keys():
        return "continue"
    if {"name", "data", "schema"} <= keys.keys() or "data.completionId" in keys:
        return "continue"
    if "log.entries" in keys or "log.creator" in keys:
        return "llamacpp"
    if any(f"{place}input_prefix" in keys for place in ("", *(f"{key}." for key in llamacpp.BODIES))):
        return "llamacpp"
    if any(llamacpp.is_infill(keys.get(key, "")) for key in llamacpp.ADDRESSES):
        return "llamacpp"
    if "log[].kind" in keys:
        return "vscode"
    if {"txns", "startContent", "endContent"} & keys.keys():
        return "trace"
    return None


def _outline(head: bytes) -> dict[str, str]:
    """Paths of the keys in the first JSON object of `head`, which may be torn, with their text values."""
    keys: dict[str, str] = {}
    places: list[str] = []  # where the open objects and lists stand
    latest, key = "", ""
    for token in (found.group() for found in _TOKEN.finditer(head)):
        if token == b'"':  # a text that is cut short, or no JSON
            break
        if token == b":":
            key = f"{places[-1]}.{latest}".removeprefix(".") if places else latest
            keys[key] = ""
        elif token == b",":
            key = ""
        elif token in b"{[":
            inside = key or (places[-1] if places else "")
            places.append(inside if token == b"{" else f"{inside}[]")
            key = ""
        elif token in b"}]":
            places, key = places[:-1], ""
            if not places:
                break
        else:
            latest = token[1:-1].decode("utf-8", "replace")
            if key:
                keys[key], key = latest, ""
    return keys
