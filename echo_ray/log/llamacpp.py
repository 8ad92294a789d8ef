"""Captured llama.cpp `/infill` traffic: JSON Lines of exchanges or of bare bodies, and HAR 1.2 files.

A line holds `ts_ms`, `time` or `timestamp`; the body under `body`, `request` or `json`, or the body's
fields themselves; and, where the capture has them, `path` or `url`, `headers`, `response`, `user`,
`session`, `file`, `language`, `latency_ms`, `request_id`. A HAR file is read whole.

| field | version-1 |
|---|---|
| `input_prefix` + `prompt`, `input_suffix` | prefix, suffix |
| `response`: an object, a list, a stream, or text | proposal (first choice); none: not delivered |
| `n_predict` 0, or no text at all | kind `warmup` |
| speculative requests, see `dialects.speculative` | kind `speculative` |
| X-Echo headers, query, `/u/<user>/s/<session>/`, body, bearer token | user, session, file, as digests |

Who names no user is `unknown`, and without a session it is the user's UTC day. These clients never name
the file: without one every request belongs to `document`, and telling documents apart by their text is the
miner's work. A window counts as complete below 256 lines before and 64 after the cursor. Not covered:
accepts (never sent); and what llama.vim changes before it sends: the white space of a blank line is
dropped, and on the first and last line of a file one line end too many is sent.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from echo_ray.dialects.infill import complete
from echo_ray.dialects.speculative import REAL_MS, Expected
from echo_ray.log import exchange, source
from echo_ray.log.source import Malformed, Record, Result
from echo_ray.rng import digest
from echo_ray.schema import Kind

BODIES = ("body", "request", "json")
"""Fields of a captured exchange that may hold the request's body."""
ADDRESSES = ("path", "url", "request.url")
"""Where an exchange may say which endpoint was called."""

_REMEMBERED = 1 << 16


class _Exchange(NamedTuple):
    """One request and its answers, whatever it was captured with."""

    request_id: str
    ts_ms: int
    user: str
    session: str
    file: str
    language: str
    client: str | None
    body: Record
    answers: list[str]
    latency_ms: float | None


def is_infill(address: str) -> bool:
    """Whether a path or URL is that of the infill endpoint."""
    return address.split("?", 1)[0].rstrip("/").endswith("/infill")


def records(path: Path) -> Iterator[Result]:
    """Version-1 requests of one capture; the file is read twice, for the clients come first."""
    kinds = _Kinds(item for _, item in _exchanges(path) if isinstance(item, _Exchange))
    for number, item in _exchanges(path):
        if isinstance(item, str):
            yield number, item
            continue
        try:
            yield number, _request(item, kinds)
        except Malformed as error:
            yield number, str(error)


class _Kinds:
    """Tells real requests from what clients send ahead of the user, by the rules of `dialects.speculative`.

    The whole capture is known, so a client counts as one that sends both limits from its first request on.
    The last 65,536 expectations are kept.
    """

    def __init__(self, exchanges: Iterable[_Exchange]) -> None:
        seen: dict[tuple[str, str | None], set[bool]] = defaultdict(set)
        for item in exchanges:
            limit = item.body.get("t_max_predict_ms")
            if limit is not None and item.body.get("n_predict") != 0:
                seen[item.session, item.client].add(limit == REAL_MS)
        self._timed = {client for client, kinds in seen.items() if len(kinds) == 2}
        self._expected = Expected(_REMEMBERED, _REMEMBERED)

    def of(self, item: _Exchange, prefix: str, suffix: str) -> Kind:
        """Kind of the next request, which is remembered with its answers."""
        if item.body.get("n_predict") == 0 or not (prefix or suffix):
            return Kind.WARMUP
        session = digest(item.session)
        if (item.session, item.client) in self._timed:
            guessed = item.body.get("t_max_predict_ms") not in (None, REAL_MS)
        else:
            guessed = self._expected.holds(session, prefix, suffix)
        self._expected.add(session, prefix, suffix, item.answers)
        return Kind.SPECULATIVE if guessed else Kind.AUTOMATIC


def _request(item: _Exchange, kinds: _Kinds) -> Record:
    prefix = source.text(item.body, "input_prefix") + source.text(item.body, "prompt", "")
    suffix = source.text(item.body, "input_suffix", "")
    starts, ends = complete(prefix, suffix)
    return source.request(
        item.request_id,
        item.ts_ms,
        item.user,
        item.session,
        item.file,
        prefix,
        suffix,
        kinds.of(item, prefix, suffix),
        language=item.language,
        prefix_complete=starts,
        suffix_complete=ends,
        delivered=bool(item.answers),
        proposal=item.answers[0] if item.answers else None,
        model=source.maybe_text(item.body, "model"),
        latency_ms=item.latency_ms,
        client=item.client,
    )


def _exchanges(path: Path) -> Iterator[tuple[int, _Exchange | str]]:
    try:
        with source.opened(path) as stream:
            whole = re.match(rb'\s*\{\s*"log"\s*:\s*\{', stream.read(1 << 12).removeprefix(b"\xef\xbb\xbf"))
        entries = source.mapping(source.whole(path)[0].get("log"), "log").get("entries") if whole else None
    except source.UNREADABLE as error:
        yield 0, source.unreadable(error)
        return
    except Malformed as error:
        yield 0, str(error)
        return
    if not whole:
        yield from source.from_lines(path, lambda line, mark: [_exchange(line, mark)])
        return
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        try:
            yield number, _exchange(source.mapping(entry, "the entry"), "")
        except Malformed as error:
            yield number, str(error)


def _exchange(value: Record, mark: str) -> _Exchange:
    asked = value.get("request")
    if isinstance(asked, dict) and "url" in asked:  # an entry of a HAR file
        posted = asked.get("postData")
        body = posted.get("text") if isinstance(posted, dict) else None
        latency = value.get("time")
        given: dict[str, Any] = {"url": asked["url"], "headers": asked.get("headers")}
        when, name = value.get("startedDateTime"), "startedDateTime"
        mark = mark or source.pseudonym(
            "har", str(when)[:40], str(asked["url"]), body if isinstance(body, str) else ""
        )
    else:
        body = next((value[key] for key in BODIES if value.get(key) is not None), value)
        latency, given = value.get("latency_ms"), value
        name = next((key for key in ("ts_ms", "time", "timestamp") if value.get(key) is not None), "ts_ms")
        when = value.get(name)
    address = next((text for key in ("url", "path") if isinstance(text := given.get(key), str)), "")
    if address and not is_infill(address):
        last = address.split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1]
        raise Malformed(f"endpoint is {last[:40]!r}, expected 'infill'")
    body = source.mapping(exchange.parsed(body), "the request's body")
    ts_ms = source.whole_number(value, "ts_ms") if name == "ts_ms" else source.moment(when, name)
    headers = exchange.headers_of(given.get("headers"))
    user, session, file = exchange.identity(given, headers, address, body)
    return _Exchange(
        source.maybe_text(given, "request_id") or f"infill-{mark}",
        ts_ms,
        user,
        source.day_session(user, ts_ms) if session is None else source.pseudonym("session", user, session),
        "document" if file is None else source.file_name(file),
        source.maybe_text(given, "language") or source.language_of(file or ""),
        headers.get("user-agent"),
        body,
        exchange.answers(value.get("response")),
        float(latency) if isinstance(latency, int | float) and latency >= 0 else None,
    )
