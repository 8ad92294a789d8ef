"""Figures that real developers left in public, as targets for simulated ones (sections 1 and 3.7).

`CALIBRATION` is the table of section 3.7: a figure, what it may miss by, and the one knob that was turned
to reach it. A target without a knob is a prediction: nothing was turned to reach it, so it can be wrong.
`PREDICTED` are further published figures that nothing was turned for; they have no tolerance. `SET` are
inputs: the model draws from the published distribution, so agreement says only that it does. Keys are those
of `simulator.judge.measure.figures`.

Shares run from 0 to 1, times are seconds, lengths characters. Tags of sources: [V] published, [D] computed
from released raw data, [C] arithmetic on the paper's figures. A simulated figure is never a human one: a
target says where a simulation should land, not that the two are comparable (section 4, rule 10).
"""

from dataclasses import dataclass

SVELTE = "code trace of one author without AI [D]"
MARKDOWN = "Markdown trace of one author, milliseconds [D]"
CUPS = "21 programmers with Copilot (CUPS) [D]"
ECHO = "Echo paper, M0"

LENGTH_BINS: tuple[int, ...] = (1, 6, 11, 21, 31, 41, 61, 81, 121, 201)
"""First length of each bin of AR by length (characters); the last bin is open."""
LENGTH_AR = (0.117, 0.279, 0.368, 0.391, 0.385, 0.278, 0.327, 0.404, 0.692, 0.579)
MATCH_BINS = (0.0, 0.1, 0.25, 0.5, 0.75)
"""Upper ends of the bins of D/L: exactly 0, up to .1, .25, .5, .75 (exclusive), and the rest."""
MATCH_NAMES = ("0", "0 to .1", ".1 to .25", ".25 to .5", ".5 to .75", ".75 or more")
MATCH_AR = (0.87, 0.78, 0.67, 0.47, 0.11, 0.03)
PERSIST_S = (15, 30, 120, 300, 600)
"""When the fate of accepted text is checked (seconds)."""
NEARLY_UNCHANGED = (0.92, 0.90, 0.86, 0.82, 0.81)
"""Relative edit distance of at most .33."""
STATE_SHARES = {
    "verify": 0.224, "write": 0.141, "fix": 0.119, "prompt": 0.116, "run": 0.113, "plan": 0.109,
    "lookup": 0.075, "edit_own": 0.043, "wait": 0.042, "defer": 0.014, "doc": 0.005,
}  # fmt: skip
"""Share of time in each state (section 1.2, `CUPS`); states by the names of section 3.3."""


@dataclass(frozen=True, slots=True)
class Target:
    """One published figure. `low` and `high` are equal unless the sources give an interval."""

    key: str
    title: str
    low: float
    high: float
    source: str
    unit: str = "share"
    """`share`, `s`, `chars`, `min`, or `count`."""
    tolerance: float | None = None
    """What the figure may miss by; None for figures that are only reported."""
    relative: bool = False
    """The tolerance is a share of the figure, not a difference."""
    fitted: bool = False
    """A knob was turned to reach it, or it is an input."""
    knob: str | None = None
    why: str = ""
    """What the figure depends on; said when it is missed."""

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Lowest and highest value that meet the target; None without a tolerance."""
        if self.tolerance is None:
            return None
        if self.relative:
            return self.low * (1 - self.tolerance), self.high * (1 + self.tolerance)
        return self.low - self.tolerance, self.high + self.tolerance

    def met(self, value: float | None) -> bool | None:
        """Whether `value` is within the tolerance; None when there is no value or no tolerance."""
        if value is None or self.bounds is None:
            return None
        low, high = self.bounds
        # Rounding must not decide: .275 - .257 is a hair more than .018.
        return low - 1e-9 <= value <= high + 1e-9


def _fitted(key: str, title: str, value: float, tolerance: float, knob: str, source: str, why: str,
            *, high: float | None = None, unit: str = "share", relative: bool = True) -> Target:  # fmt: skip
    return Target(
        key, title, value, value if high is None else high, source, unit, tolerance, relative, True, knob, why
    )


_PAUSES = (
    "The share of long pauses hangs on the pauses between pieces of work and on how many keys a piece takes; "
    "time spent on suggestions adds pauses that the trace, written without AI, does not have."
)
_EDITS = (
    "The share hangs on slips, false starts and revisions, and on the mixture of work: commits that change "
    "existing code need more jumps and removals than new code. What is accepted need not be typed."
)
_SURVIVAL = (
    "The published figure reads the trace as the editor logged it, where a popup completion deletes the "
    "letters that it puts back. Of the same trace in minimal edits, the only kind that the simulator makes, "
    "more typed text survives (see the plot); the simulated figure should lie between the two readings."
)
_UNCHANGED = (
    "Accepted text that is not what the developer meant must be repaired, so no more of it can stay "
    "unchanged than was right; errors of a small model are spread over many suggestions, those of real "
    "assistants are mostly all or nothing (finding 2)."
)
_DECISION = (
    "Nothing is turned for it: the time to accept grows with the length of what is accepted "
    "(ln t = -.50 + .433 ln L), so shorter accepted suggestions give shorter times."
)

CALIBRATION: tuple[Target, ...] = (
    _fitted("requests_per_day", "Requests per user-day", 273, 0.10, "gate scale", ECHO,
            "It is active minutes times requests per active minute; the gate scale was turned with another "
            "model or other work, or active minutes differ.", unit="count"),
    _fitted("ar", "Acceptance rate (AR)", 0.257, 0.015, "b0 shift", ECHO,
            "AR follows how much of what is shown is right; the one scalar shift of the policy was set on "
            "another model, on other users, or is limited to 1.", relative=False),
    Target("gr", "Generation rate (GR)", 0.352, 0.352, ECHO, "share", 0.03, False, False, None,
           "GR is a prediction. GR/(1-GR) is accepted per typed character: suggestions per typed character, "
           "times AR, times accepted length. A model that says less per suggestion reaches the same AR with "
           "a lower GR."),
    _fitted("gap_2s", "Gaps between edits of 2 s or more", 0.108, 0.25, "pause scale", SVELTE, _PAUSES),
    _fitted("gap_15s", "Gaps of 15 s or more", 0.027, 0.25, "pause scale", SVELTE, _PAUSES),
    _fitted("gap_180s", "Gaps of 180 s or more", 0.0032, 0.25, "pause scale", SVELTE, _PAUSES),
    _fitted("delete_share", "Edits that only delete", 0.09, 0.25, "slip and revision rates", SVELTE, _EDITS),
    _fitted("jump_share", "Edits after a cursor jump", 0.11, 0.25, "navigation rates", SVELTE, _EDITS),
    _fitted("paste_share", "Pastes of all edits", 0.004, 0.25, "paste rate", "44 students (CS1 2021) [V]",
            _EDITS),
    _fitted("typed_alive_30s", "Typed characters alive after 30 s", 0.72, 0.07, "false-start rate", SVELTE,
            _SURVIVAL, relative=False),
    _fitted("typed_alive_600s", "Typed characters alive after 10 min", 0.52, 0.07, "false-start rate", SVELTE,
            _SURVIVAL, relative=False),
    _fitted("unchanged_15s", "Accepted text unchanged after 15 s", 0.70, 0.07, "repairs and churn", CUPS,
            _UNCHANGED, relative=False),
    _fitted("unchanged_600s", "Accepted text unchanged after 10 min", 0.59, 0.07, "repairs and churn", CUPS,
            _UNCHANGED, relative=False),
    Target("accept_s_p50", "Time to accept, median", 2.3, 2.3, CUPS, "s", 0.20, True, False, None, _DECISION),
    Target("accept_s_p90", "Time to accept, 90th percentile", 10.3, 10.3, CUPS, "s", 0.20, True, False, None,
           _DECISION),
    _fitted("user_ar_sd", "Standard deviation of users' AR", 0.098, 0.25, "sd of users' taste", CUPS,
            "Users differ by taste and by work; few exposures per user add sampling noise, few users make "
            "the figure itself uncertain.", high=0.11),
)  # fmt: skip
"""Section 3.7, rows with a tolerance."""

REPORTED: tuple[Target, ...] = (
    Target("multiline_shown", "Multi-line share of shown", 0.15, 0.16, f"{CUPS}; Meta [V]"),
    Target("multiline_chars", "Multi-line share of accepted characters", 0.42, 0.59, f"{CUPS}; Meta [V]"),
    Target("shown_per_request", "Shown per request", 0.31, 0.75, "Mellum [V]; Cody [V]"),
)
"""Section 3.7, rows that are only to be reported."""


def bin_name(place: int) -> str:
    """`1 to 5`, ..., `over 200`: a bin of `LENGTH_BINS`."""
    if place + 1 == len(LENGTH_BINS):
        return f"over {LENGTH_BINS[-1] - 1}"
    return f"{LENGTH_BINS[place]} to {LENGTH_BINS[place + 1] - 1}"


def _each(prefix: str, title: str, values: dict[str, float], source: str, unit: str) -> list[Target]:
    return [
        Target(f"{prefix}{name}", title.format(name), value, value, source, unit)
        for name, value in values.items()
    ]


PREDICTED: tuple[Target, ...] = (
    *(
        Target(f"ar_match_{place}", f"AR where D/L is {MATCH_NAMES[place]}", value, value, CUPS)
        for place, value in enumerate(MATCH_AR)
    ),
    *(
        Target(f"ar_length_{place}", f"AR of {bin_name(place)} characters", value, value, CUPS)
        for place, value in enumerate(LENGTH_AR)
    ),
    Target("accept_after_accept", "AR after an acceptance", 0.45, 0.45, CUPS),
    Target("accept_after_reject", "AR after a rejection", 0.288, 0.288, CUPS),
    *_each("accept_s_p", "Time to accept, percentile {}", {"10": 0.92}, CUPS, "s"),
    *_each("accepted_p", "Accepted length, percentile {}",
           {"5": 7, "25": 17, "50": 27, "75": 52.5, "95": 211.5}, CUPS, "chars"),
    Target("accepted_mean", "Accepted length, mean", 55, 55, CUPS, "chars"),
    *_each("unchanged_", "Accepted text unchanged after {}", {"30s": 0.68, "120s": 0.65, "300s": 0.62},
           CUPS, "share"),
    *_each("nearly_", "Accepted text changed by a third at most after {}",
           {f"{age}s": value for age, value in zip(PERSIST_S, NEARLY_UNCHANGED, strict=True)}, CUPS,
           "share"),
    *_each("gap_", "Gaps of {} or more", {"0.3s": 0.31, "1s": 0.16}, MARKDOWN, "share"),
    *_each("jump_p", "Jump distance, percentile {}", {"25": 11, "50": 41, "75": 271, "90": 1966}, SVELTE,
           "chars"),
    Target("jump_backward", "Jumps backward", 0.53, 0.53, SVELTE),
    Target("jump_below_200", "Jumps shorter than 200 characters", 0.72, 0.72, SVELTE),
    *_each("between_p", "Edits between jumps, percentile {}", {"50": 2, "75": 10, "90": 24}, SVELTE, "count"),
    Target("between_mean", "Edits between jumps, mean", 8.2, 8.2, SVELTE, "count"),
    *_each("run_p", "Deletes in a row, percentile {}", {"50": 1, "75": 2, "90": 3}, SVELTE, "count"),
    Target("run_mean", "Deletes in a row, mean", 1.74, 1.74, SVELTE, "count"),
    *_each("typed_alive_", "Typed characters alive after {}",
           {"2s": 0.83, "15s": 0.742, "120s": 0.645, "300s": 0.598}, SVELTE, "share"),
    Target("insert_share", "Edits that only insert", 0.87, 0.87, SVELTE),
    Target("replace_share", "Edits that replace", 0.042, 0.042, SVELTE),
    Target("edits_per_minute", "Edits per active minute", 26.6, 26.6, SVELTE, "count"),
    Target("shown_per_day", "Shown per user-day", 164, 164, "Echo paper at 60% shown [C]", "count"),
    Target("accepted_per_day", "Accepted per user-day", 31, 42, "Copilot 2022 [V]; Echo paper [C]", "count"),
    Target("typed_chars_per_day", "Typed characters per user-day", 4_300, 4_300, "Echo paper [C]", "chars"),
)  # fmt: skip
"""Published figures that no knob was turned for, without a tolerance."""

SET: tuple[Target, ...] = (
    Target("session_p50", "Session, median", 10.4, 10.4, SVELTE, "min", fitted=True, knob="input"),
    Target("session_mean", "Session, mean", 25.5, 25.5, SVELTE, "min", fitted=True, knob="input"),
    Target("reject_s_p50", "Time to reject, median", 3.06, 3.06, CUPS, "s", fitted=True, knob="input"),
    Target("reject_below_0.5s", "Rejections within 0.5 s", 0.08, 0.08, CUPS, fitted=True, knob="input"),
    Target("reject_below_1s", "Rejections within 1 s", 0.22, 0.22, CUPS, fitted=True, knob="input"),
)
"""Inputs of the model."""
