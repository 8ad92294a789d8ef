"""Continue's development data, `dev_data/0.2.0/autocomplete.jsonl`: one suggestion shown a line.

The same fields arrive over HTTP as `{name: "autocomplete", data: {...}, schema, level}`; both are read.

| field | version-1 |
|---|---|
| `completionId`, `modelName`, `userAgent` | request_id, model, client |
| `timestamp` (end of generation, ISO 8601) minus `time` (ms, debounce included) | ts_ms of the request |
| `prefix`, `suffix`, `completion`, `time` | prefix (less the header), suffix, proposal, latency_ms |
| `userId`, else `uniqueId` (the machine) | user, as a digest |
| `gitRepo` and `filepath` | file, as a digest; language by its ending |
| the line itself | event `shown` at `timestamp`: only displayed suggestions are logged |
| `accepted` true | event `accepted` with the whole completion, at `timestamp`: when is not logged |
| `accepted` false | event `dismissed` 10 s later: Continue waits that long before it says so |

The header that Continue puts before the code is a block of comments (`# Path: other.py` and snippets,
then `# dir/file.py`) or the multi-file form of some models; it goes only where its last line names the
request's own file. Continue prunes by tokens and does not say so: both windows count as incomplete.
Sessions are a user's UTC days. A suggestion taken after its 10 s gives two lines: one request, dismissed
and accepted. Not covered: suggestions never shown or shown under half a second (not logged); an empty
suffix, which Continue records as a line end; level `noCode` (refused: it holds no text); other events.
"""

from collections.abc import Iterator
from pathlib import Path

from echo_ray.dialects.templated import without_header
from echo_ray.log import source
from echo_ray.log.source import Malformed, Record, Result
from echo_ray.schema import EventType

_DISMISSED_MS = 10_000


def records(path: Path) -> Iterator[Result]:
    """Version-1 requests and events of one file."""
    return source.from_lines(path, _convert)


def _convert(line: Record, mark: str) -> Iterator[Record]:
    data = line
    if isinstance(line.get("data"), dict):
        data = line["data"] | {"eventName": line.get("name")}
    name = data.get("eventName") or "autocomplete"
    if name != "autocomplete":
        raise Malformed(f"event is {str(name)[:40]!r}, expected 'autocomplete'")
    if data.get("prefix") is None:
        raise Malformed("field prefix is missing; level noCode logs no text")
    path = source.text(data, "filepath", "")
    user = source.maybe_text(data, "userId") or source.maybe_text(data, "uniqueId")
    user = source.UNKNOWN if user is None else source.pseudonym("user", user)
    shown_ms = source.moment(data.get("timestamp"), "timestamp")
    latency_ms = max(0, source.maybe_int(data, "time") or 0)
    completion = source.text(data, "completion")
    request_id = source.maybe_text(data, "completionId") or f"continue-{mark}"
    yield source.request(
        request_id,
        shown_ms - latency_ms,
        user,
        source.day_session(user, shown_ms - latency_ms),
        source.file_name(path, source.text(data, "gitRepo", "")),
        without_header(source.text(data, "prefix"), path),
        source.text(data, "suffix"),
        language=source.language_of(path),
        prefix_complete=False,
        suffix_complete=False,
        delivered=True,
        proposal=completion,
        model=source.maybe_text(data, "modelName"),
        latency_ms=float(latency_ms),
        client=source.maybe_text(data, "userAgent"),
    )
    yield source.event(request_id, shown_ms, user, EventType.SHOWN)
    if data.get("accepted") is True:
        yield source.event(request_id, shown_ms, user, EventType.ACCEPTED, accepted_chars=len(completion))
    elif data.get("accepted") is False:
        later_ms = shown_ms + _DISMISSED_MS
        yield source.event(request_id, later_ms, user, EventType.DISMISSED, visible_ms=_DISMISSED_MS)
