"""The sparser logs and the termination policies that `compare` sets side by side, and their scores.

Every piece is thinned to each density, linked once and mined with each policy; the keystroke oracle's own
line shows what a miner that saw every key would give.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from echo_ray import schema
from echo_ray.link_table import link_table
from echo_ray.schema import EndReason
from echo_ray.stages.mine import MineConfig, Termination, mine
from jobs.compare_inputs import Piece
from jobs.settings import CompareConfig
from simulator.judge.scores import Agreement, Mined, Score

ORACLE = "oracle"
"""Name of the line of the keystroke oracle among the policies."""
EVERY = "every request"

_ORDER = ("session", "user", "ts_ms", "request_id")
_LINKED_ORDER = ("session", "user", "seq")


@dataclass(slots=True)
class Comparison:
    """All scores of a run."""

    scores: dict[tuple[str, str, str], Score] = field(default_factory=lambda: defaultdict(Score))
    """By source, density and policy."""
    clients: dict[tuple[str, str, str], Score] = field(default_factory=lambda: defaultdict(Score))
    """By type of client, density and policy, of the requests whose client is known."""
    agreements: dict[str, Agreement] = field(default_factory=lambda: defaultdict(Agreement))
    """By reporter of acceptances."""
    requests: int = 0
    elsewhere: int = 0
    """Requests that the truth does not know."""

    def add(self, piece: Piece, config: CompareConfig, mining: MineConfig) -> None:
        """Mine `piece` at every density with every policy."""
        self.requests += piece.requests.num_rows
        self.elsewhere += piece.elsewhere
        for density, table in densities(piece, config):
            if piece.gaps:
                self._judge(piece, density, ORACLE, oracle(piece, table))
            for policy in Termination:
                settings = mining.updated(termination=policy)
                samples = mine(table, settings)
                self._judge(piece, density, policy.value, mined(samples, settings))
                if density == EVERY and policy is Termination.CONTEXTUAL_BREAK:
                    self._agree(piece, samples)

    def pooled(self) -> dict[tuple[str, str], Score]:
        """Scores by density and policy, all sources together."""
        whole: dict[tuple[str, str], Score] = defaultdict(Score)
        for (_, density, policy), score in self.scores.items():
            whole[density, policy].merge(score)
        return dict(whole)

    def _judge(self, piece: Piece, density: str, policy: str, found: Iterable[tuple[str, Mined]]) -> None:
        score = self.scores[piece.source, density, policy]
        for name, sample in found:
            gap = piece.gaps.get(name)
            text, intent = None if gap is None else gap.text, piece.intents.get(name)
            score.add(sample, text, intent)
            client = piece.clients.get(name)
            if client is not None:
                self.clients[client, density, policy].add(sample, text, intent)

    def _agree(self, piece: Piece, samples: pa.Table) -> None:
        chars = samples["accepted_chars"].to_pylist()
        inferred = dict(zip(samples["request_id"].to_pylist(), chars, strict=True))
        for reporter, reports in piece.accepted.items():
            for name, reported in reports.items():
                self.agreements[reporter].add(bool(inferred[name]), reported)


def densities(piece: Piece, config: CompareConfig) -> Iterator[tuple[str, pa.Table]]:
    """(name, linked requests) of the piece at each density that the settings want."""
    requests = piece.requests.select(schema.REQUEST.names)
    order = _LINKED_ORDER if "seq" in piece.requests.column_names else _ORDER
    ranks = pc.sort_indices(piece.requests, sort_keys=[(name, "ascending") for name in order])
    requests = requests.take(ranks)
    sessions = list(zip(requests["session"].to_pylist(), requests["user"].to_pylist(), strict=True))
    for step in config.every:
        if step == 1:
            stored = "seq" in piece.requests.column_names
            yield EVERY, piece.requests if stored else link_table(requests)
        else:
            yield f"every {_ordinal(step)} request", link_table(requests.take(pa.array(_nth(sessions, step))))
    if config.uncancelled_ms is not None:
        kept = pc.is_in(requests["request_id"], pa.array(piece.uncancelled, pa.string()))
        yield "uncancelled requests", link_table(requests.filter(kept))
    if config.window_lines is not None:
        yield (
            f"windows of {config.window_lines} + {config.window_lines} lines",
            link_table(windows(requests, config.window_lines)),
        )


def windows(requests: pa.Table, lines: int) -> pa.Table:
    """The requests with at most `lines` lines on either side of the cursor, its own counted on both."""
    for name, cut in (("prefix", _last_lines), ("suffix", _first_lines)):
        texts = pa.array([cut(text, lines) for text in requests[name].to_pylist()], pa.large_string())
        same = pc.equal(pc.utf8_length(requests[name]), pc.utf8_length(texts))
        complete = pc.and_(requests[f"{name}_complete"], same)
        requests = _replaced(_replaced(requests, name, texts), f"{name}_complete", complete)
    return requests


def mined(samples: pa.Table, config: MineConfig) -> Iterator[tuple[str, Mined]]:
    """(request id, what a policy says) of every sample, with both delays."""
    wanted = ("session", "user", "request_id", "ts_ms", "end_ts_ms", "end_reason", "commit", "drop")
    rows = list(zip(*(samples[name].to_pylist() for name in wanted), strict=True))
    stamps: dict[tuple[str, str], list[int]] = defaultdict(list)
    for session, user, _, ts_ms, *_ in rows:
        stamps[session, user].append(ts_ms)
    for times in stamps.values():
        times.sort()
    for session, user, name, ts_ms, end_ms, reason, commit, drop in rows:
        known_ms = _known_ms(stamps[session, user], ts_ms, end_ms, reason, config)
        yield name, Mined(commit, drop is not None, (end_ms - ts_ms) / 1000, (known_ms - ts_ms) / 1000)


def oracle(piece: Piece, table: pa.Table) -> Iterator[tuple[str, Mined]]:
    """(request id, what really happened) of the rows of `table` whose gap is known."""
    names, stamps = table["request_id"].to_pylist(), table["ts_ms"].to_pylist()
    for name, ts_ms in zip(names, stamps, strict=True):
        gap = piece.gaps.get(name)
        if gap is not None:
            stood_s, ended_s = ((when - ts_ms) / 1000 for when in (gap.stood_ms, gap.ended_ms))
            yield name, Mined(gap.text, False, max(0.0, stood_s), max(0.0, ended_s))


def _known_ms(times: list[int], ts_ms: int, end_ms: int, reason: str, config: MineConfig) -> float:
    """When a live miner could give the commit: a break shows in the session's next request."""
    limits = []
    if config.termination is Termination.TTL:
        limits.append(ts_ms + config.ttl_s * 1000)
    if config.termination is Termination.QUIESCENCE:
        limits.append(end_ms + config.quiescence_s * 1000)
    if reason in (EndReason.IDLE, EndReason.SESSION_END):
        limits.append(end_ms + config.idle_s * 1000)
    else:
        later = bisect_right(times, end_ms)
        limits.append(times[later] if later < len(times) else end_ms)
    return max(float(end_ms), min(limits))


def _nth(sessions: list[tuple[str, str]], step: int) -> list[int]:
    """Rows of every `step`-th request of each session, the first included."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    kept = []
    for row, session in enumerate(sessions):
        if counts[session] % step == 0:
            kept.append(row)
        counts[session] += 1
    return kept


def _last_lines(text: str, lines: int) -> str:
    start = len(text)
    for _ in range(lines):
        start = text.rfind("\n", 0, start)
        if start < 0:
            return text
    return text[start + 1 :]


def _first_lines(text: str, lines: int) -> str:
    stop = -1
    for _ in range(lines):
        stop = text.find("\n", stop + 1)
        if stop < 0:
            return text
    return text[: stop + 1]


def _replaced(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), schema.REQUEST.field(name), values)


def _ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
