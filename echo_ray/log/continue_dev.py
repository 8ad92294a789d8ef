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

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from echo_ray.log import source
from echo_ray.log.source import Malformed, Record, Result
from echo_ray.schema import EventType

_DISMISSED_MS = 10_000
_REPOSITORY_END = "<|system_separator_istruction_repository_level|>"
"""What Continue puts between other files and the code for Qwen models (its spelling)."""
_FILE_LINE = re.compile(r"(?:\A|\n\n)\+{5} (.+)\n")
"""What begins a file in the form for Codestral models."""
_COMMENTS = ("//", "#", "--", ";")


def records(path: Path) -> Iterator[Result]:
    """Version-1 requests and events of one file."""
    return source.from_lines(path, _convert)


def without_header(prefix: str, path: str) -> str:
    """`prefix` without what Continue wrote before the code of the file `path`."""
    if prefix.startswith("<|repo_name|>") and _REPOSITORY_END in prefix:
        return prefix.split(_REPOSITORY_END, 1)[1]
    for found in _FILE_LINE.finditer(prefix):
        if _names(path, found[1]):
            return prefix[found.end() :]
    lines = prefix.split("\n")
    plain = lines[0] == ""  # no snippets: an empty line, then the path
    comment = lines[min(plain, len(lines) - 1)].split(" ", 1)[0]
    for number, line in enumerate(lines[plain:-1], start=plain + 1):
        if comment not in _COMMENTS or not line.startswith(comment + " "):
            break
        if _names(path, line[len(comment) + 1 :]):
            snippets = any(above.startswith(comment + " Path: ") for above in lines[: number - 1])
            return "\n".join(lines[number:]) if plain or snippets else prefix
        if plain:
            break
    return prefix


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


def _names(path: str, shown: str) -> bool:
    """Whether `shown` is the end of `path`, as a header shows it (one or two parts)."""
    return bool(shown) and f"/{unquote(path)}".replace("\\", "/").endswith("/" + shown.strip())
