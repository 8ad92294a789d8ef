"""A file of JSON Lines without one person, packed (gzip, zstd) or not.

Records go whose `user` is the person or whose `owner` is their mark; a line that is no JSON goes when it
quotes the pseudonym. Lines of foreign logs go when the importer reads a record of the person from them. In a
log's quarantine, lines that could be anybody's lose their text. The lines that stay keep their bytes. Memory:
one line. Not covered: foreign logs that are one document (`whole_document`).
"""

import contextlib
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard

from echo_ray.log import foreign, source
from echo_ray.log.reader import ENDINGS
from jobs.erase_values import IDS, QUARANTINE, Found, Person, replaced

LINES = tuple(ending for ending in ENDINGS if ending != ".parquet")
_LINE_FORMATS = ("tabby", "continue", "llamacpp")
_NAMED = re.compile(r'"user"\s*:\s*"(?:[^"\\]|\\.)*"')


def is_lines(path: Path) -> bool:
    """Whether the file is one of lines that this module reads."""
    return path.name.endswith(LINES) or foreign_lines(path) is not None


def foreign_lines(path: Path) -> str | None:
    """Format of a foreign log of lines; None for everything else."""
    name = _foreign(path)
    return name if name in _LINE_FORMATS and not path.name.endswith(".har") and not _is_har(path) else None


def shared_ids(path: Path, person: Person) -> set[str]:
    """Those of `person.ids` that requests of others have too."""
    found: set[str] = set()
    with source.opened(path) as stream:
        for record in map(_parsed, stream):
            if isinstance(record, dict) and record.get("user") != person.user and "prefix" in record:
                found |= {record[name] for name in IDS if _known(record.get(name), person)}
    return found


def whole_document(path: Path, person: Person) -> bool:
    """Whether the file is a foreign log in one document, with records of the person: it cannot be cut."""
    name = _foreign(path)
    return (
        name is not None
        and foreign_lines(path) is None
        and any(_theirs(record, person) for _, record in foreign.records(path, name))
    )


def _foreign(path: Path) -> str | None:
    looks = path.name.endswith((*LINES, ".json", ".json.gz", ".json.zst", ".har"))
    return foreign.sniff(path) if looks and path.name not in (QUARANTINE, "manifest.json") else None


def _is_har(path: Path) -> bool:
    with source.opened(path) as stream:
        start = stream.read(400).lstrip()
    return re.match(rb'\{\s*"log"\s*:\s*\{', start) is not None


def _theirs(record: Any, person: Person) -> bool:
    return isinstance(record, dict) and record.get("user") == person.user


def look(path: Path, person: Person, attributed: bool) -> Found:
    """What of the file is the person's; `attributed` as in `erase_files.look`."""
    found = Found()
    try:
        for line, after in _changes(path, person, attributed):
            if after is None:
                found.rows += 1
                record = _parsed(line)
                if isinstance(record, dict):
                    ids = {record[name] for name in IDS if isinstance(record.get(name), str)}
                    (found.ids if record.get("user") == person.user else found.named).update(ids)
                    kind = record.get("kind" if path.name == QUARANTINE else "record")
                    found.drops[kind if isinstance(kind, str) else "request"] += _weight(record)
            else:
                found.others += 1
                found.cleaned += after is not line
    except source.UNREADABLE:
        return found  # torn where nobody can read it; the caller names it
    return found


def _weight(record: dict[str, Any]) -> int:
    rows = record.get("rows")
    return rows if isinstance(rows, int) and "reason" in record else 1


def rewrite(path: Path, person: Person, attributed: bool) -> None:
    """Replace the file by one without the person."""
    with replaced(path) as part, _packed_like(path, part) as out:
        for _, after in _changes(path, person, attributed):
            if after is not None:
                out.write(after)


def _changes(path: Path, person: Person, attributed: bool) -> Iterator[tuple[bytes, bytes | None]]:
    """Every line with what becomes of it: itself, another, or None."""
    name = foreign_lines(path)
    numbers: set[int] = set()
    if name is not None:
        numbers = {number for number, record in foreign.records(path, name) if _theirs(record, person)}
    quarantine = path.name == QUARANTINE
    with source.opened(path) as stream:
        for number, line in enumerate(stream, start=1):
            if number in numbers:
                yield line, None
            elif quarantine:
                yield line, _quarantined(line, person, attributed)
            else:
                yield line, None if _gone_line(line, person) else line


def _gone_line(line: bytes, person: Person) -> bool:
    record = _parsed(line)
    if not isinstance(record, dict):
        return _quotes(line.decode("utf-8", "replace"), person)
    if record.get("user") == person.user or record.get("owner") in person.owners:
        return True
    free = ("user" not in record and "owner" not in record) or record.get("record") == "event"
    return bool(person.ids) and free and any(_known(record.get(name), person) for name in IDS)


def _known(value: Any, person: Person) -> bool:
    return isinstance(value, str) and value in person.ids


def _quarantined(line: bytes, person: Person, attributed: bool) -> bytes | None:
    """A line of a quarantine: gone when it quotes the person, without its text when it may be theirs."""
    entry = _parsed(line)
    if not isinstance(entry, dict):
        return None if _quotes(line.decode("utf-8", "replace"), person) else line
    text = entry.get("text")
    if not isinstance(text, str) or not text:
        return line
    if _quotes(text, person):
        return None
    if not attributed or _NAMED.search(text):
        return line
    return orjson.dumps(entry | {"text": ""}, option=orjson.OPT_APPEND_NEWLINE)


def _quotes(text: str, person: Person) -> bool:
    quoted = {json.dumps(person.user, ensure_ascii=ascii_only) for ascii_only in (True, False)}
    return any(name in text or name.replace('"', "'") in text for name in quoted)


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


@contextlib.contextmanager
def _packed_like(path: Path, part: Path) -> Iterator[Any]:
    """A stream into `part`, packed as `path` is."""
    with path.open("rb") as file:
        start = file.read(4)
    with part.open("wb") as raw:
        if start.startswith(b"\x1f\x8b"):
            # No time and no name: the same lines give the same bytes.
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
                yield packed
        elif start == b"\x28\xb5\x2f\xfd":
            with zstandard.ZstdCompressor(level=3).stream_writer(raw, closefd=False) as stream:
                yield stream
        else:
            yield raw
