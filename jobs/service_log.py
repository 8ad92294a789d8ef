"""Whether a service logged what the simulated developers sent: its own log against theirs.

Requests are matched by user, session and time stamp. A cancelled request may be missing, because an abort
can overtake it; anything else that differs is a fault of the service or of the client.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from echo_ray.log import reader

_COLUMNS = ("user", "session", "ts_ms", "prefix", "suffix", "delivered", "proposal")
Key = tuple[str, str, int]


class _Logged(NamedTuple):
    """One request as somebody logged it, texts as hashes."""

    context: bytes
    proposal: bytes | None
    """None unless delivered."""


def compare(segments: Path, logs: Sequence[Path], shadow: str | None = None) -> dict[str, int] | None:
    """Counts of what the service's `segments` say other than the clients' `logs`; None without segments.

    `missing`: answered requests that the service has not; `missing_cancelled`: unanswered ones;
    `unknown`: requests that only the service has; `contexts`, `proposals`: those that differ.
    With a `shadow` arm its requests, which no client logs, are counted by themselves.
    """
    files = sorted(segments.glob("*.jsonl")) if segments.is_dir() else []
    if not files:
        return None
    service: dict[Key, list[_Logged]] = {}
    for key, logged in _requests(files):
        service.setdefault(key, []).append(logged)
    found = dict.fromkeys(("requests", "missing", "missing_cancelled", "unknown", "contexts", "proposals"), 0)
    for key, logged in _requests(path for log in logs for path in reader.files(log, "import.input")):
        found["requests"] += 1
        others = service.pop(key, [])
        if not others:
            found["missing" if logged.proposal is not None else "missing_cancelled"] += 1
            continue
        found["contexts"] += all(other.context != logged.context for other in others)
        if logged.proposal is not None:
            found["proposals"] += all(other.proposal != logged.proposal for other in others)
    if shadow is not None:
        found["shadow"] = sum(session.endswith(f".{shadow}") for _, session, _ in service)
    found["unknown"] = len(service) - found.get("shadow", 0)
    return found


def _requests(paths: Iterable[Path]) -> Iterator[tuple[Key, _Logged]]:
    for path in paths:
        for piece in reader.batches(path):
            columns = (piece.requests[name].to_pylist() for name in _COLUMNS)
            for user, session, ts_ms, prefix, suffix, delivered, proposal in zip(*columns, strict=True):
                context = _digest(str(len(prefix)), prefix, suffix)
                yield (user, session, ts_ms), _Logged(context, _digest(proposal or "") if delivered else None)


def _digest(*texts: str) -> bytes:
    hasher = blake2b(digest_size=8)
    for text in texts:
        hasher.update(text.encode("utf-8", "surrogatepass"))
    return hasher.digest()
