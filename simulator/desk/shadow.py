"""The shadow: what another engine's proposals would have come to at the control's requests (section 5, v).

Both engines are asked with the same bytes; the developer lives with the control's answer alone. A shade is
what the shadow would have painted. The same rule judges it with the same draws, intent, state, mode and pause
as the suggestion on the screen, and nothing of it reaches the document, the clock, the drift of trust, a draw
or a count of the control. So both arms have the same opportunities, and the treatment cannot choose its own
denominator.

Every shade is a world of its own that leaves the control's at its request: until then nothing of the shadow
was ever shown. There the next key comes when the user's decision about the shade lets it come, not when the
decision about the control's suggestion does, so a shade has a lag against the clock: what its own decision
adds to the pause, less what the control's decisions add. It ends as a suggestion does: taken, dismissed,
typed over, typed through, left or expired.

Not covered: what follows an acceptance of the shadow (repairs, retained text, time, typed characters, later
requests), so there is no generation rate of a shadow and no time saved. When the control's own proposal is
taken, the user of the shade's world would have typed on; a shade that agrees with the next key would have
stayed for a time that nobody knows, and one that was not counted by then is not counted (`cut` says how
many). A shadow that speaks where the control is silent is offered, and may be taken, again at the control's
next request; its characters add up per request, not to a document. `pairs` have no such excess: requests at
which both were on the screen and judged. Requests that the control's plug-in makes because of what it showed
(speculative ones) carry the control's text.
"""

from dataclasses import dataclass

from echo_ray.experiment.lengths import length_of
from echo_ray.scores.texts import is_void, sentinel_leak
from simulator.config import SimulateConfig
from simulator.desk.books import Desk, Flow
from simulator.desk.decisions import Decision
from simulator.desk.timers import EXPIRE_MS, Place
from simulator.rules.policy import MIN_VISIBLE_MS, Policy
from simulator.steps import Answer, Ask
from simulator.truth import COUNTED_MS, Detail, TruthKind
from simulator.work.items import Plan

MAX_PROPOSAL_CHARS = 2_000
"""No editor shows more; the rest of a longer answer is not read. Our choice."""


@dataclass(slots=True)
class Shade:
    """What the shadow would show; `text` is what of it has not been typed yet."""

    request_id: str
    place: Place
    text: str
    proposal: str
    """As it would have been painted."""
    shown_ms: float
    lag_ms: float = 0.0
    """How much later it is in the shade's world than on the clock."""
    decision: Decision | None = None
    escape_ms: float | None = None
    """When Esc takes it away, in its world."""


class Shadows(Desk):
    """A desk with a shadow beside the engine that answers; without one nothing here does anything."""

    def __init__(self, config: SimulateConfig, plan: Plan, rule: Policy) -> None:
        super().__init__(config, plan, rule)
        self.shades: list[Shade] = []
        self._judged_now: dict[str, bool] = {}  # whether taken whole, by request; of this pause

    def shadow_count(self, **counts: int) -> None:
        """Add to the tally's counts of the shadow."""
        sums = self.tally.shadow
        for name, number in counts.items():
            if number:
                sums[name] = sums.get(name, 0) + number

    def shadow_answered(self, ask: Ask, answer: Answer | None, judging: bool) -> str:
        """Count the shadow's answer, if there is one; what of it would be shown, "" for nothing."""
        if answer is None:
            return ""
        if answer.text is None:
            self.shadow_count(failed=1)
            return ""
        text = answer.text[:MAX_PROPOSAL_CHARS]
        silent = is_void(text)
        leaks = not silent and sentinel_leak(text, ask.prefix, ask.suffix, ask.language)
        self.shadow_count(answered=not silent, silent=silent, leaks=leaks)
        if judging and is_void(ask.intent):
            self.shadow_count(voids=1, silent_voids=silent)
        return self.plugin.shown(text, self.document.left)

    def shadow_shown(self, request_id: str, place: Place, text: str) -> Shade:
        """The shadow shows `text`."""
        shade = Shade(request_id, place, text, text, self.clock.now_ms)
        self.shades.append(shade)
        self.shadow_count(shown=1)
        return shade

    def shadow_follow(self, keyed: str) -> Flow[None]:
        """The text at the cursor went on with `keyed`; what the shadow shows stays while it agrees."""
        for shade in list(self.shades):
            if keyed and shade.text.startswith(keyed) and shade.text != keyed:
                shade.text = shade.text[len(keyed) :]
            else:
                yield from self._end(shade)

    def shadow_may_be_judged(self, shade: Shade, until_ms: float) -> bool:
        """Whether it is on the screen, undecided, and will be visible long enough before the next key."""
        return (
            shade.decision is None
            and self.clock.now_ms + shade.lag_ms <= shade.shown_ms + EXPIRE_MS
            and until_ms + shade.lag_ms - shade.shown_ms >= MIN_VISIBLE_MS
        )

    def shadow_decided(self, shade: Shade, decision: Decision, until_ms: float) -> Flow[None]:
        """The user of its world decides, in a pause that ends at `until_ms` of the clock."""
        self.shadow_count(decided=1)
        shade.decision = decision
        if decision.escape_ms is not None:
            shade.escape_ms = decision.escape_ms + shade.lag_ms
        shade.lag_ms += decision.until_ms - until_ms
        taking = decision.taking
        self._judged_now[shade.request_id] = decision.whole
        if taking is not None:
            chars = len(taking.text)
            self.shadow_count(accepted=decision.whole, partial=taking.partial, accepted_chars=chars)
            yield from self._end(shade, until_ms)

    def shadow_wait(self, added_ms: float) -> None:
        """The control's decision moves the next key by `added_ms`, which happens in no shade's world."""
        for shade in self.shades:
            shade.lag_ms -= added_ms

    def shadow_pause(self) -> None:
        """Another pause begins."""
        self._judged_now.clear()

    def shadow_pair(self, request_id: str, taken: bool) -> None:
        """The user has judged what the control shows, and has `taken` it whole or not."""
        other = self._judged_now.get(request_id)
        if other is not None:
            self.shadow_count(pairs=1, pairs_control=taken, pairs_shadow=other)

    def shadow_gone(self, meant: str | None = None) -> Flow[None]:
        """Everything that the shadow shows goes; `meant`: what was to be written when the control's proposal
        was taken, if that is why.
        """
        for shade in list(self.shades):
            yield from self._end(shade, cut=meant is not None and shade.text.startswith(meant[:1]))

    def _end(self, shade: Shade, at_ms: float | None = None, cut: bool = False) -> Flow[None]:
        """It goes, at `at_ms` of the clock, now by default."""
        self.shades.remove(shade)
        decision = shade.decision
        taking = None if decision is None else decision.taking
        end_ms = (self.clock.now_ms if at_ms is None else at_ms) + shade.lag_ms
        if taking is None:
            own_ms = shade.shown_ms + EXPIRE_MS if shade.escape_ms is None else shade.escape_ms
            cut = cut and end_ms < own_ms
            end_ms = min(end_ms, own_ms)
        visible_ms = end_ms - shade.shown_ms
        counted = taking is not None or visible_ms >= COUNTED_MS
        accepted = decision is not None and decision.whole
        chars = len(shade.proposal)
        lines = shade.proposal.strip("\n").count("\n") + 1
        self.shadow_count(
            shown_250=taking is not None or visible_ms >= MIN_VISIBLE_MS,
            shown_750=counted,
            shown_chars=chars if counted else 0,
            multiline=counted and lines > 1,
            cut=cut and not counted,
        )
        length = length_of(chars)
        if counted and length is not None:
            self.shadow_count(**{f"shown_from_{length}": 1, f"accepted_from_{length}": accepted})
        judged: dict[str, Detail] = {}
        if decision is not None:
            verdict = decision.verdict
            judged = {
                "accept": verdict.accept,
                "partial": taking is not None and taking.partial,
                "p_accept": verdict.p_accept,
                "u_draw": verdict.u_draw,
                "distance": verdict.distance,
                "matched": verdict.matched,
                "mode": verdict.mode.value,
                "attended": verdict.attended,
            }
        yield self.truth(
            TruthKind.SHADOW,
            request_id=shade.request_id,
            proposal=shade.proposal,
            place=shade.place[0],
            asked_left=shade.place[1],
            occurrence=shade.place[2],
            decided=decision is not None,
            visible_ms=round(visible_ms, 1),
            counted=counted,
            cut=cut,
            lines=lines,
            **judged,
        )
