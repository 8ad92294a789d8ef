"""What of a run's own figures explains a missed target: one sentence, or nothing.

A cause is only named when it is measured: an identity between figures, or a figure of the same run that
bounds the missed one. Everything else is left to the general words of the target.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from jobs.charts import percent

Figures = Mapping[str, Any]

_LENGTH = 55.0
"""Published mean length of an accepted suggestion (characters; `CUPS`)."""
_MINUTES = (52.0, 93.0)
"""Editor minutes per day that agree with the paper's figures (section 1.4)."""


def cause(key: str, own: Figures, idle: Figures | None) -> str | None:
    """The measured cause of missing the target `key`; `idle` are figures of the run without suggestions."""
    found = _CAUSES.get(key)
    text = None if found is None else found(own)
    if idle is not None and key.startswith(("gap_", "delete", "jump", "paste", "typed_alive")):
        text = " ".join(
            filter(None, (text, f"Without suggestions the same developers have {percent(idle[key], 2)}."))
        )
    return text


def _requests(own: Figures) -> str | None:
    minutes, rate = own["active_minutes_per_day"], own["requests_per_minute"]
    if not minutes > 0:
        return None
    return (
        f"Measured: {minutes:.0f} active minutes per day (published figures agree with {_MINUTES[0]:.0f} to "
        f"{_MINUTES[1]:.0f}) and {rate:.2f} requests per active minute."
    )


def _acceptance(own: Figures) -> str | None:
    wrong = own["share_match_5"] + own["share_match_4"]
    right = own["share_match_0"]
    if math.isnan(wrong):
        return None
    return (
        f"Measured: {100 * right:.0f}% of what was judged was exactly right, {100 * wrong:.0f}% was mostly "
        "wrong (D/L of .5 or more)."
    )


def _generation(own: Figures) -> str | None:
    gr, length = float(own["gr"]), float(own["accepted_mean"])
    if math.isnan(gr) or math.isnan(length) or not 0 < gr < 1:
        return None
    odds = gr / (1 - gr) * _LENGTH / length
    return (
        f"Measured: an accepted suggestion has {length:.0f} characters on average ({_LENGTH:.0f} published), "
        f"and {own['shown_per_100_typed']:.1f} suggestions are shown per 100 typed characters; at the "
        f"published length, all else equal, GR would be {100 * odds / (1 + odds):.1f}%."
    )


def _unchanged(own: Figures) -> str | None:
    exact = float(own["accepted_exactly"])
    if math.isnan(exact):
        return None
    return f"Measured: {100 * exact:.0f}% of the accepted suggestions were exactly what was meant."


def _decision(own: Figures) -> str | None:
    length = float(own["accepted_p50"])
    if math.isnan(length) or length <= 0:
        return None
    median_s = math.exp(-0.50 + 0.433 * math.log(length))
    return (
        f"Measured: the median accepted suggestion has {length:.0f} characters (27 published), for which the "
        f"formula gives {median_s:.1f} s."
    )


def _spread(own: Figures) -> str | None:
    value = float(own["user_ar_sd_corrected"])
    return None if math.isnan(value) else f"Without the noise of few exposures per user it is {value:.3f}."


def _survival(own: Figures) -> str | None:
    share = float(own["slip_share"])
    return (
        None if math.isnan(share) else f"Measured: {100 * share:.0f}% of the edits are slips or false starts."
    )


_CAUSES: dict[str, Callable[[Figures], str | None]] = {
    "requests_per_day": _requests,
    "ar": _acceptance,
    "gr": _generation,
    "unchanged_15s": _unchanged,
    "unchanged_600s": _unchanged,
    "accept_s_p50": _decision,
    "accept_s_p90": _decision,
    "user_ar_sd": _spread,
    "typed_alive_30s": _survival,
    "typed_alive_600s": _survival,
}
