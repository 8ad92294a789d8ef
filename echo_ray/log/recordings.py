"""VS Code workspace recordings and editing traces, replayed as if every change had sent a request.

Both formats become one: `changes` yields, per entry that changes text, sequential minimal edits with the
whole document around them. A recording gives all ranges of an entry in UTF-16 units of the document
before it, a trace gives patches in characters, each in the coordinates that the one before left.

| record | recording | trace |
|---|---|---|
| number, end of request_id | position in `log`, from 1 | position in `txns`, from 1 |
| ts_ms | `time` of the `changed` entry, never decreasing | `time` of the transaction, likewise |
| user, session | digest of `repoRootUri`; one session | digest of the file; a session ends after 30 minutes |
| file, language | digest of the relative path; its ending | `document`; plaintext |
| request | after each change, at its caret | the same |
| accepted event | `inlineSuggestion.accept`, for the file's previous request | none |

Nobody asked a model here: `delivered` is false and `proposal` null, except before an accept, where an
insertion at the caret shows what was proposed. A log is replayed by position, never by time: contents may
be stamped later than the edits that follow them. Edits are minimised, and an entry that changes nothing
gives nothing; the whole pre-existing file of a trace (stamped 1970) is content, not typing. Clocks may
be coarse: within one tick the number at the end of the request ids tells the order. Line ends stay as they
are, CRLF included. An edit out of bounds loses the document until its next `setContent`.
Not covered: `restoreContent` (loses the document too), `nextUserEdit`, carets that no change moved.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echo_ray.edits import Edit, apply
from echo_ray.log import source
from echo_ray.log.replay import (
    Change,
    Refused,
    applied,
    characters,
    in_sequence,
    minimise,
    tuples,
)
from echo_ray.log.source import Malformed, Record, Result
from echo_ray.schema import EventType

__all__ = ["Change", "Edit", "Refused", "apply", "changes", "minimise", "records", "replay"]

_SILENCE_MS = 30 * 60_000
_CARET_MS = 100
"""A selection later than this after a change is a step of the user, not the change's own caret."""
_LATEST_MS = 2**53
_CONTENT_BEFORE_MS = 86_400_000
"""A transaction of the first day of 1970 is the file that was there before."""


def changes(path: Path) -> Iterator[Change]:
    """Every change of text in a recording or trace, in log order; bad entries are left out."""
    return (item for item in replay(path) if isinstance(item, Change))


def replay(path: Path) -> Iterator[Change | Refused]:
    """Like `changes`, with the entries that could not be replayed among them."""
    try:
        value, mark = source.whole(path)
        document = source.mapping(value, "the file")
        if not isinstance(document.get("log", document.get("txns")), list):
            raise Malformed("neither a workspace recording nor an editing trace")
    except Malformed as error:
        yield Refused(0, str(error))
        return
    yield from _recording(document["log"], mark) if "log" in document else _trace(document, mark)


def records(path: Path) -> Iterator[Result]:
    """Version-1 requests and accepted events of a recording or trace."""
    pending: tuple[Change, Record] | None = None
    asked: dict[str, str] = {}
    for item in replay(path):
        if isinstance(item, Refused):
            yield item.number, item.reason
            continue
        if pending is not None:
            if item.accepted and item.file == pending[0].file:
                pending[1].update(delivered=True, proposal=_proposed(item, pending[0].caret))
            yield pending[0].number, pending[1]
        if item.accepted and item.file in asked:
            chars = sum(len(edit.text) for edit in item.edits)
            accepted = source.event(asked[item.file], item.ts_ms, item.user, EventType.ACCEPTED, chars)
            yield item.number, accepted
        name = f"{item.session}-{item.number}"
        asked[item.file] = name
        request = source.request(
            name,
            item.ts_ms,
            item.user,
            item.session,
            item.file,
            item.document[: item.caret],
            item.document[item.caret :],
            language=item.language,
            delivered=False,
            proposal=None,
        )
        pending = item, request
    if pending is not None:
        yield pending[0].number, pending[1]


@dataclass(slots=True)
class _Document:
    path: str
    text: str | None = None


@dataclass(slots=True)
class _Log:
    """State while a recording is replayed."""

    log: list[Any]
    session: str
    user: str = source.UNKNOWN
    now_ms: int = 0
    documents: dict[int, _Document] = field(default_factory=dict)

    def take(self, number: int, entry: Record, accepted: bool) -> Change | None:
        """What entry `number` changes. Raises Malformed."""
        kind = entry.get("kind")
        if kind in ("header", "meta"):
            facts = entry.get("data") if kind == "meta" else entry
            root = facts.get("repoRootUri") if isinstance(facts, dict) else None
            if isinstance(root, str):
                self.user = source.pseudonym("user", root)
        elif kind == "documentEncountered":
            self.documents[source.whole_number(entry, "id")] = _Document(source.text(entry, "relativePath"))
        elif kind in ("setContent", "restoreContent"):
            document = self._document(entry)
            document.text = None if kind == "restoreContent" else source.text(entry, "content")
        elif kind == "changed":
            return self._change(number, entry, accepted)
        return None

    def _document(self, entry: Record) -> _Document:
        name = source.whole_number(entry, "id")
        if name not in self.documents:
            raise Malformed(f"document {name} was never encountered")
        return self.documents[name]

    def _change(self, number: int, entry: Record, accepted: bool) -> Change | None:
        document = self._document(entry)
        before, document.text = document.text, None  # lost, unless the edits turn out to be sound
        if before is None:
            raise Malformed("the document's content is not known here")
        after, edits = applied(before, in_sequence(before, entry.get("edit")))
        document.text = after
        time = entry.get("time")
        if isinstance(time, int) and time < _LATEST_MS:  # without one, the last time stands
            self.now_ms = max(self.now_ms, time)
        if after == before:
            return None
        caret = self._caret(number, entry, after)
        return Change(
            number=number,
            user=self.user,
            session=self.session,
            file=source.file_name(document.path),
            language=source.language_of(document.path),
            ts_ms=self.now_ms,
            before=before,
            edits=edits,
            document=after,
            caret=edits[-1].start + len(edits[-1].text) if caret is None else caret,
            accepted=accepted,
        )

    def _caret(self, number: int, entry: Record, after: str) -> int | None:
        """Where the editor put the caret after the change, when it says so at once and says one place."""
        for later in self.log[number:]:
            if not isinstance(later, dict) or later.get("kind") == "changed":
                return None
            if later.get("kind") == "selectionChanged" and later.get("id") == entry.get("id"):
                match later.get("selection"), later.get("time"), entry.get("time"):
                    case [[int(start), int(stop)]], int(then), int(now) if (
                        start == stop and 0 <= then - now <= _CARET_MS
                    ):
                        return characters(after, [start])[0]
                return None
        return None


def _recording(log: list[Any], mark: str) -> Iterator[Change | Refused]:
    state = _Log(log, source.pseudonym("session", mark))
    accepts = _accepts(log)
    for number, entry in enumerate(log, start=1):
        try:
            change = state.take(number, source.mapping(entry, "the entry"), number in accepts)
        except Malformed as error:
            yield Refused(number, str(error))
        else:
            if change is not None:
                yield change


def _accepts(log: list[Any]) -> set[int]:
    """Numbers of the `changed` entries that an accept event names by document and version."""
    changed: dict[tuple[Any, Any], int] = {}
    found: set[int] = set()
    for number, entry in enumerate(log, start=1):
        match entry:
            case {"kind": "changed", "id": int(name), "v": int(version)}:
                changed[name, version] = number
            case {"kind": "documentEvent", "id": int(name), "data": {"source": why, "v": int(version)}}:
                if why == "inlineSuggestion.accept" and (name, version) in changed:
                    found.add(changed[name, version])
    return found


def _trace(trace: Record, mark: str) -> Iterator[Change | Refused]:
    user, file = source.pseudonym("user", mark), "document"
    document = trace.get("startContent") or ""
    now_ms, part, number = 0, 0, 0
    try:
        document = source.text(trace, "startContent", "")
        for number, entry in enumerate(trace["txns"], start=1):
            transaction = source.mapping(entry, "the transaction")
            ts_ms = source.moment(transaction.get("time"), "time")
            before = document
            document, edits = applied(before, tuples(transaction.get("patches"), counted=True))
            if ts_ms < _CONTENT_BEFORE_MS:
                continue
            part += bool(now_ms) and ts_ms - now_ms > _SILENCE_MS
            now_ms = max(now_ms, ts_ms)
            if document != before:
                session = source.pseudonym("session", mark, part)
                caret = edits[-1].start + len(edits[-1].text)
                yield Change(number, user, session, file, "plaintext", now_ms, before, edits, document, caret)
        if trace.get("endContent", document) != document:
            raise Malformed("the replay does not end in endContent")
    except Malformed as error:  # every later transaction builds on this one
        yield Refused(number, str(error))


def _proposed(change: Change, caret: int) -> str | None:
    """Accepted text, when it was inserted exactly where the request stood."""
    if len(change.edits) == 1 and change.edits[0][:2] == (caret, caret):
        return change.edits[0].text
    return None
