"""The completion plug-in at work: opportunities, requests, what is painted and how it goes again.

Section 3.3. When to ask is decided by `clients`, what becomes of a suggestion by `screen`. A request that a
key makes void is sent and aborted, as editors do; the virtual latency is drawn from a table that all arms
share, or measured.
"""

from echo_ray.experiment.lengths import length_of
from echo_ray.schema import EventType, Kind
from echo_ray.scores.texts import is_void, sentinel_leak
from simulator.config import SimulateConfig
from simulator.desk import clients
from simulator.desk.books import Desk, Flow
from simulator.desk.clients import Touch
from simulator.desk.document import Edit
from simulator.desk.timers import Dismissed, Expire, Ghost, Place, Response
from simulator.rules import policy
from simulator.rules.policy import Policy
from simulator.steps import Answer, Ask, Report, Withdrawal
from simulator.truth import COUNTED_MS, By, How, TruthKind
from simulator.work.items import Plan

EXPIRE_MS = 10_000.0
"""An undecided or rejected suggestion goes after this long (section 3.3)."""
MAX_PROPOSAL_CHARS = 2_000
"""No editor shows more; the rest of a longer answer is not read. Our choice."""


class Asking(Desk):
    """A desk with an editor that completes."""

    def __init__(self, config: SimulateConfig, plan: Plan, rule: Policy) -> None:
        super().__init__(config, plan, rule)
        self.ghost: Ghost | None = None
        self.until_ms = 0.0  # when the next key comes, as far as is known now
        self.busy_until_ms = 0.0  # of a plug-in that has one request in flight
        self.exposures = 0
        self._requests = 0
        self._last_ts_ms = 0
        self._ahead: tuple[str, str, str] | None = (
            None  # speculative: text before the cursor, answer, request
        )

    def edited(self, edit: Edit, by: By, typed: int = 0, keyed: str | None = None) -> Flow[None]:
        """Book one change; `keyed` is what was typed of it, when the editor added something."""
        yield self.book(edit, by, typed)
        if self.ghost is not None:
            yield from self.follow("" if edit.removed else edit.inserted if keyed is None else keyed)

    def follow(self, keyed: str) -> Flow[None]:
        """The text at the cursor went on with `keyed`; the suggestion stays while it agrees."""
        ghost = self.ghost
        if ghost is None:
            return
        if not keyed or not ghost.text.startswith(keyed):
            yield from self.drop_ghost(How.TYPED_OVER)
            return
        ghost.text = ghost.text[len(keyed) :]
        if not ghost.text:
            yield from self.drop_ghost(How.TYPED_THROUGH)

    def navigate(self, cursor: int) -> Flow[None]:
        """Move the cursor, unless it is there."""
        origin = self.document.cursor
        if cursor == origin:
            return
        self.document.move(cursor)
        self.touch = Touch.NAVIGATED
        yield from self.drop_ghost(How.NAV_AWAY)
        yield self.truth(TruthKind.NAV, cursor=cursor, origin=origin)

    def drop_ghost(self, how: How) -> Flow[None]:
        """The suggestion on the screen, if any, goes."""
        ghost, self.ghost = self.ghost, None
        if ghost is None:
            return
        tally, profile = self.tally, self.plugin.profile
        visible_ms = self.clock.now_ms - ghost.shown_ms
        took = how in (How.ACCEPTED, How.PARTIAL)
        counted = took or visible_ms >= COUNTED_MS
        tally.shown_250 += took or visible_ms >= policy.MIN_VISIBLE_MS
        tally.shown_750 += counted
        tally.shown_chars += ghost.size if counted else 0
        length = length_of(ghost.size)
        if counted and length is not None:
            tally.shown_by_length[length] = tally.shown_by_length.get(length, 0) + 1
            if how is How.ACCEPTED:
                tally.accepted_by_length[length] = tally.accepted_by_length.get(length, 0) + 1
        tally.multiline += counted and ghost.lines > 1
        yield self.truth(
            TruthKind.EXPOSURE_END,
            exposure=ghost.exposure,
            how=how.value,
            visible_ms=round(visible_ms, 1),
            counted=counted,
            decided=ghost.decided,
            chars=ghost.size,
            lines=ghost.lines,
        )
        if took or not profile.reports_dismissed or visible_ms < profile.dismissed_min_ms:
            return
        if profile.dismissed_after_ms is None:
            yield self.report(ghost.request_id, EventType.DISMISSED, visible_ms=round(visible_ms))
        else:
            at_ms = ghost.shown_ms + profile.dismissed_after_ms
            self.clock.at(at_ms, Dismissed(ghost.request_id, round(visible_ms)))

    def report(
        self, request_id: str, kind: EventType, chars: int | None = None, visible_ms: int | None = None
    ) -> Report:
        """What the plug-in tells the service."""
        return Report(request_id, int(self.clock.now_ms), self.tally.user, kind, chars, visible_ms)

    def opportunity(self, touch: Touch, judging: bool) -> Flow[None]:
        """The debounce ran out: perhaps a request, and the answer's timer unless the key comes first."""
        count = self.nth("ask")
        place = (self.frame.key, self.frame.left, count)
        where = clients.situation(self.document, touch, self.item.language)
        share = self.plugin.share(self.document, where)
        draw = self.draws.unit("gate", *place)
        self.tally.opportunities += 1
        yield self.truth(
            TruthKind.OPPORTUNITY,
            situation=where.value,
            gate_share=share,
            gate_draw=draw,
            place=place[0],
            occurrence=count,
        )
        if draw < share:
            by = self.tally.requests_by_situation
            by[where.value] = by.get(where.value, 0) + 1
            yield from self._request(place, judging)

    def _request(self, place: Place, judging: bool) -> Flow[None]:
        tally, config, document = self.tally, self.config, self.document
        sent_ms = self.clock.now_ms
        drawn_ms = self.draws.lognormal(config.latency_median_ms, config.latency_sd, "latency", *place)
        aborts, measured = self.plugin.profile.aborts, config.latency == "measured"
        cancelled = aborts and not measured and sent_ms + drawn_ms >= self.until_ms
        ask = self._ask(document.left, document.right, Kind.AUTOMATIC, cancelled, drawn_ms)
        tally.requests += 1
        yield self.truth(
            TruthKind.REQUEST,
            request_id=ask.request_id,
            request_ts_ms=ask.ts_ms,
            request_kind=ask.kind.value,
            cursor=document.cursor,
            cancelled=cancelled,
            latency_ms=round(drawn_ms, 1),
            judging=judging,
            intent=ask.intent,
        )
        answer = yield ask
        taken_ms = drawn_ms
        if measured and answer is not None and answer.latency_ms is not None:
            taken_ms = answer.latency_ms
            if aborts and sent_ms + taken_ms >= self.until_ms:
                cancelled = True
                yield Withdrawal(ask.request_id)
        if cancelled:
            tally.cancelled += 1
            return
        if not aborts:
            self.busy_until_ms = sent_ms + taken_ms
        yield from self._answered(ask, answer, sent_ms + taken_ms, place, judging)

    def _answered(
        self, ask: Ask, answer: Answer | None, at_ms: float, place: Place, judging: bool
    ) -> Flow[None]:
        tally = self.tally
        text = "" if answer is None or answer.text is None else answer.text[:MAX_PROPOSAL_CHARS]
        if answer is None or answer.text is None:
            tally.failed += 1
            return
        silent = is_void(text)
        tally.answered += not silent
        tally.silent += silent
        tally.leaks += not silent and sentinel_leak(text, ask.prefix, ask.suffix, ask.language)
        if judging and is_void(ask.intent):
            tally.voids += 1
            tally.silent_voids += silent
        yield self.truth(TruthKind.RESPONSE, request_id=ask.request_id, chars=len(text))
        document = self.document
        text = self.plugin.shown(text, document.left)
        if text:
            reply = Response(ask.request_id, text, place, document, document.left, len(document.right))
            self.clock.at(at_ms, reply)

    def _ask(self, left: str, right: str, kind: Kind, cancelled: bool, latency_ms: float) -> Ask:
        prefix, suffix = self.plugin.window(left, right)
        self._last_ts_ms = max(self._last_ts_ms + 1, int(self.clock.now_ms))
        self._requests += 1
        return Ask(
            request_id=f"{self.tally.user}-{self._requests:06d}",
            user=self.tally.user,
            session=f"{self.tally.user}-s{self.item.session}",
            file=self.item.file,
            language=self.item.language,
            prefix=prefix,
            suffix=suffix,
            prefix_complete=len(prefix) == len(left),
            suffix_complete=len(suffix) == len(right),
            ts_ms=self._last_ts_ms,
            kind=kind,
            client=self.plugin.profile.user_agent,
            cancelled=cancelled,
            latency_ms=latency_ms,
            intent=self.frame.rest,
        )

    def paint(self, reply: Response) -> Flow[bool]:
        """Show the answer; False when the text has gone another way meanwhile."""
        document = self.document
        if reply.document is not document or self.ghost is not None:
            return False
        if len(document.text) - document.cursor != reply.right_chars:
            return False
        left = document.left
        typed = left[len(reply.left) :]
        if not left.startswith(reply.left) or not reply.text.startswith(typed) or typed == reply.text:
            return False
        text = reply.text[len(typed) :]
        self.exposures += 1
        self.tally.shown += 1
        self.ghost = Ghost(
            self.exposures,
            reply.request_id,
            reply.place,
            text,
            len(text),
            text.strip("\n").count("\n") + 1,
            self.clock.now_ms,
        )
        self.touch = None
        self.clock.at(self.clock.now_ms + EXPIRE_MS, Expire(self.exposures))
        yield self.truth(TruthKind.SHOWN, exposure=self.exposures, request_id=reply.request_id, proposal=text)
        if self.plugin.profile.reports_shown:
            yield self.report(reply.request_id, EventType.SHOWN)
        if self.plugin.profile.speculates:
            yield from self._speculate(text)
        return True

    def _speculate(self, text: str) -> Flow[None]:
        """Ask for what follows the suggestion as if it had been taken (llama.vim)."""
        left = self.document.left + text
        latency_ms = self.draws.lognormal(
            self.config.latency_median_ms, self.config.latency_sd, "latency ahead", at=self._requests
        )
        ask = self._ask(left, self.document.right, Kind.SPECULATIVE, False, latency_ms)
        self.tally.speculative += 1
        answer = yield ask
        if answer is not None and answer.text is not None and answer.text.strip():
            self._ahead = (left, answer.text[:MAX_PROPOSAL_CHARS], ask.request_id)

    def shown_ahead(self) -> None:
        """After an acceptance: the answer to the speculative request, if it fits, comes at once."""
        if self._ahead is None or self._ahead[0] != self.document.left:
            return
        left, text, request_id = self._ahead
        self._ahead, self.touch = None, None
        place = (self.frame.key, self.frame.left, self.nth("ask"))
        reply = Response(request_id, text, place, self.document, left, len(self.document.right))
        self.clock.at(self.clock.now_ms + 1.0, reply)
