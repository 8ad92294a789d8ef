"""What the importers of foreign logs share: bytes, checked fields, times, pseudonyms, record shapes.

An importer turns one entry of a foreign log into version-1 records or raises `Malformed`, whose message
becomes the reason in the quarantine; `from_lines` is that loop for JSON Lines and holds one line at a
time. Compression is recognised by content, so a file may have any name. Pseudonyms are 64-bit digests
without a key: they keep names and paths out of a log, but who guesses a path can confirm the guess.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import IO, Any, TypeVar

import orjson
import zstandard

from echo_ray.rng import digest
from echo_ray.schema import VERSION, EventType, Kind

T = TypeVar("T")
Record = dict[str, Any]
Result = tuple[int, Record | str]
"""Line or entry number, and a record or the reason why there is none."""

UNREADABLE = (OSError, EOFError, zlib.error, zstandard.ZstdError)
"""What reading a file that is missing, torn or wrongly compressed raises."""
UNKNOWN = "unknown"
"""User of entries that name none."""

_BOM = b"\xef\xbb\xbf"
_DAY_MS = 86_400_000
_ENDINGS = {
    "c": "c",
    "cpp": "cc cpp cxx h hpp",
    "csharp": "cs",
    "css": "css",
    "go": "go",
    "html": "htm html",
    "java": "java",
    "javascript": "js mjs",
    "javascriptreact": "jsx",
    "json": "json",
    "kotlin": "kt",
    "lua": "lua",
    "markdown": "md",
    "php": "php",
    "python": "ipynb py",
    "ruby": "rb",
    "rust": "rs",
    "shellscript": "sh",
    "sql": "sql",
    "svelte": "svelte",
    "swift": "swift",
    "typescript": "ts",
    "typescriptreact": "tsx",
    "vue": "vue",
    "yaml": "yaml yml",
}
_LANGUAGES = {ending: name for name, endings in _ENDINGS.items() for ending in endings.split()}


class Malformed(ValueError):
    """An entry is not what its format promises; the message says why."""


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of `path`, unpacked when they begin like gzip or zstd; may raise `UNREADABLE`."""
    with path.open("rb") as raw:
        start = raw.peek(4)[:4]
        if start.startswith(b"\x1f\x8b"):
            yield io.BufferedReader(gzip.GzipFile(fileobj=raw))
        elif start == b"\x28\xb5\x2f\xfd":
            unpacked = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            yield io.BufferedReader(unpacked)
        else:
            yield raw


def unreadable(error: Exception) -> str:
    """Reason for one of `UNREADABLE`, without the path that the system's message may hold."""
    return f"the file cannot be read: {getattr(error, 'strerror', None) or error or type(error).__name__}"


def whole(path: Path) -> tuple[Any, str]:
    """JSON value of a file that is one document, and a pseudonym of its bytes. Raises Malformed."""
    try:
        with opened(path) as stream:
            raw = stream.read().removeprefix(_BOM)
        return orjson.loads(raw), mark(raw)
    except UNREADABLE as error:
        raise Malformed(unreadable(error)) from None
    except orjson.JSONDecodeError:
        raise Malformed("not JSON") from None


def from_lines(path: Path, convert: Callable[[Record, str], Iterable[T]]) -> Iterator[tuple[int, T | str]]:
    """What `convert` makes of each JSON line and the line's pseudonym; bad lines as reasons."""
    number = 0
    try:
        with opened(path) as stream:
            for number, line in enumerate(stream, start=1):
                line = line.removeprefix(_BOM).strip()
                if not line:
                    continue
                try:
                    made = list(convert(mapping(orjson.loads(line), "the line"), mark(line)))
                except orjson.JSONDecodeError:
                    yield number, "not JSON"
                except Malformed as error:
                    yield number, str(error)
                else:
                    yield from ((number, item) for item in made)
    except UNREADABLE as error:
        yield number + 1, unreadable(error)


def mapping(value: Any, name: str) -> Record:
    """`value` as a JSON object. Raises Malformed."""
    if not isinstance(value, dict):
        raise Malformed(f"{name} is {_kind(value)}, expected an object")
    return value


def text(record: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """Text of a field; `default` when it is absent or null. Raises Malformed."""
    value = record.get(name)
    if value is None:
        if default is None:
            raise Malformed(f"field {name} is missing")
        return default
    if not isinstance(value, str):
        raise Malformed(f"field {name} is {_kind(value)}, expected text")
    return value


def maybe_text(record: Mapping[str, Any], name: str) -> str | None:
    """Text of a field, None when it is absent, null or empty. Raises Malformed."""
    return text(record, name, "") or None


def maybe_int(record: Mapping[str, Any], name: str) -> int | None:
    """Whole number of a field, None when it is absent or null. Raises Malformed."""
    value = record.get(name)
    return None if value is None else _int64(value, name)


def whole_number(record: Mapping[str, Any], name: str) -> int:
    """Whole number of a field that must be there. Raises Malformed."""
    value = maybe_int(record, name)
    if value is None:
        raise Malformed(f"field {name} is missing")
    return value


def moment(value: Any, name: str) -> int:
    """UTC milliseconds of ISO 8601 text (UTC unless it says otherwise) or of a number.

    A number's size tells its unit: nanoseconds, microseconds, milliseconds or seconds since 1970.
    Raises Malformed.
    """
    if isinstance(value, str):
        try:
            when = datetime.fromisoformat(value)
            return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
        except (ValueError, OverflowError):
            raise Malformed(f"field {name} is {value[:40]!r}, expected a time") from None
    if value is None:
        raise Malformed(f"field {name} is missing")
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise Malformed(f"field {name} is {_kind(value)}, expected a time")
    size = abs(value)
    scale = 1e-6 if size >= 1e17 else 1e-3 if size >= 1e14 else 1 if size >= 1e11 else 1e3
    return _int64(round(value * scale), name)


def pseudonym(purpose: str, *parts: str | int) -> str:
    """Hex digest that stands for a name or a path; the same parts give the same pseudonym."""
    return f"{digest(purpose, *parts):016x}"


def mark(raw: bytes) -> str:
    """Pseudonym of bytes: the identity of an entry that names none."""
    return pseudonym("bytes", raw.decode("latin-1"))


def day_session(user: str, ts_ms: int) -> str:
    """Session of a format without sessions: one user's UTC day. It needs no state, so a file can be read
    alone; work across midnight is cut in two, and pauses are left to the miner's idle limit.
    """
    return pseudonym("session", user, ts_ms // _DAY_MS)


def file_name(path: str, *context: str) -> str:
    r"""Pseudonym of a document: `a\b` and `a/b` are one file; `context` keeps equal paths apart."""
    return pseudonym("file", *context, path.replace("\\", "/").removeprefix("./"))


def language_of(path: str) -> str:
    """VS Code language identifier by the file's ending, `plaintext` when it is not known."""
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    return _LANGUAGES.get(name.rsplit(".", 1)[-1].lower(), "plaintext") if "." in name else "plaintext"


def request(
    request_id: str,
    ts_ms: int,
    user: str,
    session: str,
    file: str,
    prefix: str,
    suffix: str,
    kind: Kind = Kind.AUTOMATIC,
    **optional: Any,
) -> Record:
    """A version-1 request; `optional` are further columns of `schema.REQUEST`."""
    return {
        "record": "request",
        "schema": VERSION,
        "request_id": request_id,
        "ts_ms": ts_ms,
        "user": user,
        "session": session,
        "file": file,
        "prefix": prefix,
        "suffix": suffix,
        "kind": kind.value,
        **optional,
    }


def event(
    request_id: str,
    ts_ms: int,
    user: str,
    kind: EventType,
    accepted_chars: int | None = None,
    visible_ms: int | None = None,
) -> Record:
    """A version-1 event."""
    return {
        "record": "event",
        "request_id": request_id,
        "ts_ms": ts_ms,
        "user": user,
        "type": kind.value,
        "accepted_chars": accepted_chars,
        "visible_ms": visible_ms,
    }


def _int64(value: Any, name: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(f"field {name} is {_kind(value)}, expected a whole number")
    if not -(2**63) <= value < 2**63:
        raise Malformed(f"field {name} is out of range")
    return value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
