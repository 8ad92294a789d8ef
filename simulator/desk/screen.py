"""What the user makes of suggestions between two keys: looks, decisions (section 3.3).

Until the next key comes, the debounce, the answer, Esc, expiry and the persistence checks race on the
virtual clock; `wait` runs that race, and a decision can move its end. `taking` puts accepted text in.

Our choices: a suggestion is judged once, in the first pause that leaves it 250 ms on screen. CUPS decision
times contain the time for which a decision was deferred, so DEFER is no state of its own.

The time to a rejection is the published lognormal, but not an independent draw: the pauses in which
suggestions are judged have, without any suggestion, nearly that distribution already (median 2.3 s, log sd
1.46 on our developers; rejections 3.3 s and 1.40). So a rejection takes the quantile of its distribution that
the pause has of its own, about 15% more than the pause. An independent draw would make users sit and look
for 6 s more at every wrong suggestion, which no study saw.
"""

from math import log

from echo_ray.schema import EventType
from echo_ray.text import common_suffix
from simulator.config import SimulateConfig
from simulator.desk.asking import Asking
from simulator.desk.books import Flow
from simulator.desk.decisions import Decision, Taking
from simulator.desk.shadow import Shade
from simulator.desk.timers import Check, Debounce, Dismissed, Escape, Expire, Place, Response, Timer
from simulator.rules import distance, equivalence, policy
from simulator.rules.policies import drifted
from simulator.rules.policy import Exposure, Policy, Reader, Verdict
from simulator.truth import Detail, How, Truth, TruthKind
from simulator.work.items import Plan

ESC_SHARE = 0.3
"""Rejections ended by Esc, of those decided before the next key [A]."""
PAUSE_LN_MEAN, PAUSE_SD = 1.04, 1.46
"""Log seconds of the pauses in which suggestions are judged, without the time that judging adds. Measured
on 30 developers."""
KEEP_SHARE = 0.8
"""Equivalent variants that a lenient user keeps (section 3.5)."""
_BEFORE_CHARS = 2_000  # of the text before the cursor that a judgement may look at
_RETRY_MS = 100.0  # llama.vim


class Screen(Asking):
    """A developer who looks at suggestions."""

    def __init__(self, config: SimulateConfig, plan: Plan, rule: Policy) -> None:
        super().__init__(config, plan, rule)
        self._taking: Taking | None = None
        self._drift = 0.0

    def wait(self, gap_ms: float, judging: bool = True) -> Flow[Taking | None]:
        """Let `gap_ms` pass before the next key; what the user decides to take instead of it, if anything.

        `judging`: whether the user would take a suggestion now.
        """
        clock, touch = self.clock, self.touch
        begin_ms = clock.now_ms
        self.until_ms = begin_ms + gap_ms
        self._taking = None
        self.shadow_pause()
        for shade in list(self.shades):
            yield from self._look_at_shadow(shade, judging)
        if self.ghost is not None:
            yield from self._look(judging)
        elif touch is not None:
            delay_ms = self.plugin.delay_ms(self.document)
            while begin_ms + delay_ms < self.busy_until_ms:
                delay_ms += _RETRY_MS
            if delay_ms < gap_ms:
                self.touch = None
                clock.at(begin_ms + delay_ms, Debounce(touch, self.tally.edits))
        while (timer := clock.pop(self.until_ms)) is not None:
            yield from self._fire(timer, judging)
        return self._taking

    def finish(self) -> Flow[None]:
        """Everything that no key waits for; the documents are final."""
        yield from self.drop_ghost(How.NAV_AWAY)
        yield from self.shadow_gone()
        while (timer := self.clock.pop(float("inf"))) is not None:
            if isinstance(timer, Check | Dismissed):
                yield from self._fire(timer, False)

    def _fire(self, timer: Timer, judging: bool) -> Flow[None]:
        ghost = self.ghost
        if isinstance(timer, Debounce):
            if timer.edits == self.tally.edits and ghost is None:
                yield from self.opportunity(timer.touch, judging)
        elif isinstance(timer, Response):
            shade = self.paint_shadow(timer)
            if shade is not None:
                yield from self._look_at_shadow(shade, judging)
            if (yield from self.paint(timer)):
                yield from self._look(judging)
        elif isinstance(timer, Escape):
            if ghost is not None and ghost.exposure == timer.exposure:
                yield from self.drop_ghost(How.DISMISSED)
        elif isinstance(timer, Expire):
            if ghost is not None and ghost.exposure == timer.exposure and self._taking is None:
                yield from self.drop_ghost(How.EXPIRED)
        elif isinstance(timer, Dismissed):
            yield self.report(timer.request_id, EventType.DISMISSED, visible_ms=timer.visible_ms)
        else:
            yield self._checked(timer)

    def _look(self, judging: bool) -> Flow[None]:
        """The user sees the suggestion until the next key; a decision may move that key."""
        ghost = self.ghost
        assert ghost is not None  # there is a suggestion whenever this is called
        if ghost.decided or not judging or self.until_ms - ghost.shown_ms < policy.MIN_VISIBLE_MS:
            return
        ghost.decided = True
        decision = self._judged(ghost.text, ghost.place)
        verdict = decision.verdict
        self.tally.decided += 1
        if self.config.trust_drift:
            self._drift = drifted(self._drift, verdict.accept, verdict.p_accept)
        self._taking = decision.taking
        self.shadow_pair(ghost.request_id, decision.whole)
        self.shadow_wait(decision.until_ms - self.until_ms)
        self.until_ms = decision.until_ms
        if decision.escape_ms is not None:
            self.clock.at(decision.escape_ms, Escape(ghost.exposure))
        self.tally.read_s += min(decision.decision_s, (self.until_ms - ghost.shown_ms) / 1000)
        yield self.truth(
            TruthKind.DECISION,
            exposure=ghost.exposure,
            place=ghost.place[0],
            asked_left=ghost.place[1],
            occurrence=ghost.place[2],
            accept=verdict.accept,
            partial=self._taking is not None and self._taking.partial,
            p_accept=verdict.p_accept,
            u_draw=verdict.u_draw,
            chars=verdict.chars,
            distance=verdict.distance,
            matched=verdict.matched,
            mode=verdict.mode.value,
            attended=verdict.attended,
            decision_s=round(decision.decision_s, 3),
        )

    def _look_at_shadow(self, shade: Shade, judging: bool) -> Flow[None]:
        """The same look at what the shadow would show; nothing follows from it for the user.

        It comes before the look at the suggestion on the screen, whose decision moves the next key.
        """
        if judging and self.shadow_may_be_judged(shade, self.until_ms):
            yield from self.shadow_decided(shade, self._judged(shade.text, shade.place), self.until_ms)

    def _judged(self, text: str, place: Place) -> Decision:
        """What the user decides about `text`, offered at `place`, in this pause; changes nothing."""
        variants = self._variants(text)
        exposure = Exposure(
            suggestion=text,
            intent=self.frame.rest,
            intents=variants,
            before=self.document.left[-_BEFORE_CHARS:],
            language=self.item.language,
            state=self.state,
            mode=policy.mode(self.draws.unit("mode", self.item.key)),
            pause_ms=self.until_ms - self.clock.now_ms,
        )
        reader = Reader(self.person.taste, self.person.role, self._drift)
        verdict = self.policy.decide(
            exposure, reader, self.draws.unit("accept", *place), self.draws.unit("attend", *place)
        )
        variant = variants[verdict.nearest] if verdict.nearest >= 0 else None
        if variant is not None and self.draws.unit("keep", *place) >= KEEP_SHARE:
            variant = None
        return self._decided(text, place, verdict, variant)

    def _decided(self, text: str, place: Place, verdict: Verdict, variant: str | None) -> Decision:
        """What follows from the verdict."""
        now_ms, patience = self.clock.now_ms, self.person.patience
        if not verdict.attended and not verdict.accept:
            return Decision(verdict, None, 0.0, self.until_ms)  # nobody looked
        partial = "" if verdict.accept else self._beginning(text, place)
        if verdict.accept or partial:
            chars = len(partial) or verdict.chars
            take_s = patience * policy.accept_s(chars, self.draws.normal("accept time", *place))
            # A beginning was right as it was meant; only a whole suggestion can make the user think again.
            taking = Taking(partial or text, None if partial else variant, bool(partial))
            return Decision(verdict, taking, take_s, now_ms + 1000 * take_s)
        pause_s = max(self.until_ms - now_ms, 1.0) / 1000
        reject_s = patience * policy.reject_s((log(pause_s) - PAUSE_LN_MEAN) / PAUSE_SD)
        done_ms = now_ms + 1000 * reject_s
        if done_ms >= self.until_ms:
            return Decision(verdict, None, reject_s, done_ms)
        escapes = self.draws.unit("esc", *place) < ESC_SHARE
        return Decision(verdict, None, reject_s, self.until_ms, done_ms if escapes else None)

    def _beginning(self, text: str, place: Place) -> str:
        """The words of a rejected suggestion that a user takes of it; mostly none (section 3.5)."""
        if self.draws.unit("partial", *place) >= self.config.partial_share:
            return ""
        return distance.common_words(text, self.frame.rest)

    def _variants(self, suggestion: str) -> tuple[str, ...]:
        """Other texts that a lenient user would be as happy with; none while brackets wait to be closed."""
        frame = self.frame
        if not self.person.lenient or frame.pending:
            return ()
        rest, right = frame.rest, self.document.right
        ahead = [
            revision.start - frame.written for revision in frame.revisions if revision.stop > frame.written
        ]
        before = self.document.left[-_BEFORE_CHARS:]
        found = equivalence.variants(suggestion, rest, before, right[:_BEFORE_CHARS], self.item.language)
        # A variant must leave alone the places where revisions wait.
        return tuple(
            text for text in found if not ahead or len(rest) - common_suffix(rest, text) <= min(ahead)
        )

    def _checked(self, check: Check) -> Truth:
        now = check.document.text[check.span.start : check.span.stop]
        detail: dict[str, Detail] = {
            "exposure": check.exposure,
            "after_s": check.after_s,
            "chars": len(check.taken),
            "alive": check.document.alive(check.exposure),
            "unchanged": now == check.taken,
            "distance": 0 if now == check.taken else distance.levenshtein(check.taken, now),
        }
        return Truth(TruthKind.PERSIST, self.clock.now_ms, self.tally.user, check.item, -1, detail)
