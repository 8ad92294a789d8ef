"""The rule of mining: gaps that open at requests, grow with edits inside and close (paper 4.2).

A gap [L, R] opens empty at the cursor. An edit inside it, its borders included, grows or shrinks it; any
other edit of the file touches an anchor and closes it. It also closes when the user edits another file,
after `idle_s` without a request, and at the end of the session. A cursor that merely looks elsewhere
closes nothing, and an anchor that comes back by undo does not open a gap again: the break was seen.

Every edit leaves only gaps that contain it, so live gaps are nested and form a stack: each is pushed and
popped once, and mining costs O(edits). Only text between the outermost anchors is kept, never a document.

Provenance: inserted text that goes on where a proposal was typed so far is the model's; other text that
came faster than anybody types is pasted; the rest is the human's. Between the requests of a sparse session
people type whole words, which often begin as the proposal did: there a mere part of a proposal is the
model's only if it came faster than people write. Not covered: text moved within a file
(counted as pasted), what came and went between two requests.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from echo_ray.edits import Edit
from echo_ray.link import LinkKind
from echo_ray.schema import Confidence, EndReason
from echo_ray.text import common_prefix

PASTE_CHARS = 20
"""Least length of a paste: shorter insertions at once are words from a popup or brackets."""
TYPING_CHARS_PER_S = 15
"""Nobody types faster for long."""
LEISURE_CHARS_PER_S = 3
"""People write this fast with their pauses for thought. On the log of 200 simulated developers whose clients
report acceptances, 155 of 169 parts of proposals that were typed by hand came slower, and 42 of 99 of those
that were accepted."""
_MODEL_CHARS = 2
_CLEAR_CHARS = 10
LOOK_BACK = 8
"""Innermost gaps whose proposals an insertion is compared with."""
FEW_ACTS = 5
"""Changes below which a session is taken for sparse."""


class Moment(NamedTuple):
    """One request of the timeline: where its cursor stands after `edits` (virtual coordinates)."""

    row: int
    ts_ms: int
    file: str
    kind: LinkKind
    cursor: int
    edits: tuple[Edit, ...] = ()
    proposal: str | None = None
    """What the user may have seen: null when nothing arrived."""
    whole: bool = True


class Outcome(NamedTuple):
    """What became of the gap that request `row` opened; fields as in `schema.SAMPLE`."""

    row: int
    commit: str
    end_reason: EndReason
    end_ts_ms: int
    snapshots: int
    confidence: Confidence
    human_chars: int = 0
    model_chars: int = 0
    pasted_chars: int = 0
    accepted_chars: int | None = None


class Rule(NamedTuple):
    """When a gap closes besides its contextual break; None is never (all in milliseconds)."""

    idle_ms: float
    quiescence_ms: float | None = None
    ttl_ms: float | None = None


class Gap(NamedTuple):
    """`left`: place of L. `right`: characters from R to the file's virtual end; both stay what they are
    while only the text between them changes.
    """

    row: int
    left: int
    right: int
    opened: int
    opened_ms: int
    proposal: str | None


@dataclass(slots=True)
class _File:
    """One document: its live gaps and the text between the outermost anchors.

    `nested` has seen an edit, outermost first; `fresh` has not. `text` begins at `start`; `origin` says of
    each of its characters who wrote it: h, m or p.
    """

    rule: Rule
    sparse: bool
    end: int = 0
    last_ms: int = 0
    seen: int = 0
    nested: list[Gap] = field(default_factory=list)
    fresh: list[Gap] = field(default_factory=list)
    start: int = 0
    text: str = ""
    origin: str = ""
    accepted: dict[int, int] = field(default_factory=dict)
    doubted: int = -1
    windowed: int = -1

    def open(self, moment: Moment) -> None:
        right = self.end - moment.cursor
        proposal = moment.proposal or None
        self.fresh.append(Gap(moment.row, moment.cursor, right, self.seen, moment.ts_ms, proposal))
        self.last_ms = moment.ts_ms
        self.seen += 1
        if not moment.whole:
            self.windowed = self.seen

    def close(self, gap: Gap, reason: EndReason, now_ms: int | None = None) -> Outcome:
        if now_ms is not None:
            reason = self._overdue(gap, now_ms) or reason
        first, last = gap.left - self.start, self.end - gap.right - self.start
        commit = self.text[first:last] if last > first else ""
        confidence = Confidence.EXACT
        if self.doubted >= gap.opened:
            confidence = Confidence.INFERRED
        elif self.windowed > gap.opened:
            confidence = Confidence.ALIGNED
        origin = self.origin[first:last] if commit else ""
        return Outcome(
            gap.row,
            commit,
            reason,
            self.last_ms,
            self.seen - 1 - gap.opened,
            confidence,
            origin.count("h"),
            origin.count("m"),
            origin.count("p"),
            None if gap.proposal is None else self.accepted.pop(gap.row, 0),
        )

    def _overdue(self, gap: Gap, now_ms: int) -> EndReason | None:
        rule = self.rule
        if rule.ttl_ms is not None and now_ms - gap.opened_ms > rule.ttl_ms:
            return EndReason.TTL
        if rule.quiescence_ms is not None and now_ms - self.last_ms > rule.quiescence_ms:
            return EndReason.QUIESCENCE
        return None

    def close_all(self, reason: EndReason, now_ms: int | None = None) -> Iterator[Outcome]:
        for gap in (*self.nested, *self.fresh):
            yield self.close(gap, reason, now_ms)
        self.nested, self.fresh = [], []

    def expire(self, now_ms: int) -> Iterator[Outcome]:
        """Close what the policy ends before the step that happens at `now_ms`."""
        due = [gap for gap in (*self.nested, *self.fresh) if self._overdue(gap, now_ms)]
        for gap in due:
            yield self.close(gap, EndReason.TTL, now_ms)
        if due:
            self.nested = [gap for gap in self.nested if gap not in due]
            self.fresh = [gap for gap in self.fresh if gap not in due]

    def change(self, edit: Edit, now_ms: int) -> Iterator[Outcome]:
        """Close the gaps that do not contain `edit`, then apply it."""
        start, stop, typed = edit
        right = self.end - stop
        kept = []
        for gap in self.fresh:
            if gap.left <= start and gap.right <= right:
                kept.append(gap)
            else:
                yield self.close(gap, EndReason.ANCHOR_EDITED, now_ms)
        self.fresh = []
        nested = self.nested
        while nested and (nested[-1].left > start or nested[-1].right > right):
            yield self.close(nested.pop(), EndReason.ANCHOR_EDITED, now_ms)
        if kept:
            if not nested:
                self.start, self.text, self.origin = kept[0].left, "", ""
            nested.extend(kept)
        if nested:
            first, last = start - self.start, stop - self.start
            origin = "h"
            taken: dict[int, int] = {}
            if len(typed) != 1:
                pause_ms = now_ms - self.last_ms
                origin, taken = who_wrote(typed, start, self.text, self.start, nested, pause_ms)
            for row, chars in taken.items():
                self.accepted[row] = self.accepted.get(row, 0) + chars
            self.text = self.text[:first] + typed + self.text[last:]
            self.origin = self.origin[:first] + origin + self.origin[last:]
        self.end += len(typed) - (stop - start)


def who_wrote(
    typed: str, at: int, text: str, start: int, gaps: Sequence[Gap], pause_ms: int
) -> tuple[str, dict[int, int]]:
    """(letter per character of an insertion of several, accepted characters by row of the proposal).

    `typed` came in at place `at`, `pause_ms` after the request before; `text` stood from `start` on, and
    `gaps` contain the place, outermost first. Letters: h typed, m from a proposal, p pasted.
    """
    leisure = len(typed) <= LEISURE_CHARS_PER_S * pause_ms / 1000
    size = len(typed)
    for gap in gaps[: -LOOK_BACK - 1 : -1]:
        if gap.proposal is None or size < _MODEL_CHARS:
            continue
        before = text[gap.left - start : at - start]
        rest = gap.proposal[len(before) :]
        if not rest or not gap.proposal.startswith(before):
            continue
        taken = common_prefix(typed, rest)
        if taken < len(rest) and leisure:
            continue
        if taken >= _MODEL_CHARS and _is_accept(typed, rest, taken):
            return "m" * taken + "h" * (size - taken), {gap.row: taken}
    fast = size > TYPING_CHARS_PER_S * pause_ms / 1000
    return ("p" if size >= PASTE_CHARS and fast else "h") * size, {}


def _is_accept(typed: str, rest: str, taken: int) -> bool:
    """Whether `taken` shared characters are an accept: all that was left, a word of it, or plainly many."""
    cut_word = taken < len(rest) and rest[taken - 1 : taken + 1].isalnum()
    return taken == len(rest) or taken >= _CLEAR_CHARS or (taken == len(typed) and not cut_word)


def _keys(edit: Edit) -> int:
    return len(edit.text) + edit.stop - edit.start


def is_sparse(moments: Iterable[Moment]) -> bool:
    """Whether most changes are more than one key, or too few are known: the log may lack requests."""
    keys = acts = 0
    for moment in moments:
        if moment.edits:
            acts += 1
            keys += len(moment.edits) == 1 and _keys(moment.edits[0]) == 1
    return 2 * keys < acts or acts < FEW_ACTS


def mine_session(moments: list[Moment], rule: Rule) -> Iterator[Outcome]:
    """One outcome per request of one session, given in the order of the timeline."""
    sparse = is_sparse(moments)
    files: dict[str, _File] = {}
    last_ms: int | None = None
    policy = rule.quiescence_ms is not None or rule.ttl_ms is not None
    for moment in moments:
        now = moment.ts_ms
        late = last_ms is not None and now - last_ms > rule.idle_ms
        last_ms = now
        known = files.get(moment.file)
        if late:
            for name, file in files.items():
                if name != moment.file or len(moment.edits) < 2:
                    yield from file.close_all(EndReason.IDLE, now)
        if known is None:
            # A first look at a file shows no edit; the next one that changes it closes the others.
            files[moment.file] = known = _File(rule, sparse)
        else:
            if policy:
                yield from known.expire(now)
            yield from _observe(known, moment, late)
            if (moment.edits or moment.kind is LinkKind.LOST) and len(files) > 1:
                for name, file in files.items():
                    if name != moment.file:
                        yield from file.close_all(EndReason.FILE_SWITCH, now)
        known.open(moment)
    for file in files.values():
        yield from file.close_all(EndReason.SESSION_END)


def _observe(file: _File, moment: Moment, late: bool) -> Iterator[Outcome]:
    """Apply one step. Of several places, only the last is sure to belong to the time after a pause."""
    edits = moment.edits
    if moment.kind is LinkKind.LOST:
        file.doubted = file.seen
        yield from file.close_all(EndReason.LOST, moment.ts_ms)
        return
    if len(edits) > 1 or (file.sparse and edits and _keys(edits[0]) > 1):
        file.doubted = file.seen
    for number, edit in enumerate(edits):
        if late and number == len(edits) - 1:
            yield from file.close_all(EndReason.IDLE, moment.ts_ms)
        yield from file.change(edit, moment.ts_ms)
