"""Figures of many simulated developers, with intervals over users (sections 3.6 and 5).

A `Table` stacks what `measure` left of each user; `figures` turns weighted sums of its columns into
the figures that `published` has targets for. One call serves many weights, so an interval costs
no second pass over the truth. Intervals resample users, never exposures. Quantiles come from histograms
with 40 cells per factor of ten: their error is below 3%.

Not covered: what a developer would have done without suggestions, except by `twins` of a second run.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from echo_ray.rng import digest
from simulator.judge.measure import SECOND_EDGES, User
from simulator.judge.measure_bins import SIZE_EDGES, Array, Columns, quantile, ratio
from simulator.judge.measure_edits import GAP_S, LIFE_S, edit_figures, name_of
from simulator.judge.published import LENGTH_BINS, MATCH_BINS, PERSIST_S

ENOUGH_SHOWN = 30
"""Users with fewer suggestions shown are left out of the spread between users (count)."""


class Table:
    """Columns of several users, one user per row; users who lack a column have zeros."""

    def __init__(self, users: Sequence[User]) -> None:
        self.users = [user.user for user in users]
        self.clients = [user.client for user in users]
        widths = {name: len(value) for user in users for name, value in user.columns.items()}
        self._columns = {
            name: np.array([user.columns.get(name, np.zeros(width)) for user in users])
            for name, width in sorted(widths.items())
        }

    def column(self, name: str) -> Array:
        """(users, width) array of a column; zeros when nobody has it."""
        found = self._columns.get(name)
        return np.zeros((len(self.users), 1)) if found is None else found

    def names(self, prefix: str) -> list[str]:
        """Columns whose name begins with `prefix`."""
        return [name for name in self._columns if name.startswith(prefix)]

    def sums(self, weights: Array) -> "Sums":
        """Columns summed over users; `weights` has one weight per user, with any leading axes."""
        return Sums({name: weights @ column for name, column in self._columns.items()}, weights.shape[:-1])

    def resamples(self, count: int, seed: int) -> Array:
        """(count, users) weights: how often each user is drawn, users drawn with replacement."""
        random = np.random.default_rng(digest(seed, "users", len(self.users)))
        size = len(self.users)
        return random.multinomial(size, np.full(size, 1 / size), size=count).astype(np.float64)


class Sums(dict[str, Array]):
    """Summed columns; `scalar` gives zero for what nobody counted."""

    def __init__(self, columns: Columns, shape: tuple[int, ...]) -> None:
        super().__init__(columns)
        self._shape = shape

    def scalar(self, name: str) -> Array:
        """A column of width one, without its last axis."""
        found = self.get(name)
        return np.zeros(self._shape) if found is None else found[..., 0]


def figures(table: Table, weights: Array | None = None) -> dict[str, Any]:
    """Every figure by its key, for one vector of user weights or for many (a leading axis).

    Shares run from 0 to 1; NaN where there is nothing to divide by. Without weights every user counts once.
    """
    weights = np.ones(len(table.users)) if weights is None else weights
    sums = table.sums(weights)
    n = sums.scalar
    days, written = n("days"), n("accepted_chars") + n("typed_chars")
    found = edit_figures(sums) | {
        "requests_per_day": ratio(n("requests"), days),
        "opportunities_per_day": ratio(n("opportunities"), days),
        "shown_per_day": ratio(n("shown"), days),
        "accepted_per_day": ratio(n("accepted"), days),
        "typed_chars_per_day": ratio(n("typed_chars"), days),
        "accepted_chars_per_day": ratio(n("accepted_chars"), days),
        "active_minutes_per_day": ratio(n("active_s") / 60, days),
        "requests_per_minute": ratio(n("requests"), n("active_s") / 60),
        "ar": ratio(n("accepted"), n("shown")),
        "ar_all": ratio(n("whole"), n("painted")),
        "ar_250": ratio(n("whole"), n("shown_250")),
        "ar_char": ratio(n("shown_accepted_chars"), n("shown_chars")),
        "ar_with_partial": ratio(n("whole") + n("partial"), n("shown")),
        "ar_per_1000_opportunities": ratio(1000 * n("accepted"), n("opportunities")),
        "gr": ratio(n("accepted_chars"), written),
        "paste_share": ratio(n("by_paste"), n("edits")),
        "undo_share": ratio(n("by_undo"), n("edits")),
        "slip_share": ratio(n("by_slip"), n("edits")),
        "cancelled_share": ratio(n("cancelled"), n("requests")),
        "silent_share": ratio(n("silent"), n("silent") + n("answered")),
        "shown_per_request": ratio(n("shown"), n("requests")),
        "shown_per_100_typed": ratio(100 * n("shown"), n("typed_chars")),
        "multiline_shown": ratio(n("shown_multiline"), n("shown")),
        "multiline_chars": ratio(n("accepted_multiline_chars"), n("accepted_chars")),
        "shown_mean": ratio(n("shown_chars"), n("shown")),
        "accepted_mean": ratio(n("shown_accepted_chars"), n("accepted")),
        "accepted_exactly": ratio(n("accepted_exactly"), n("whole")),
        "accept_after_accept": ratio(n("accepted_after_accept"), n("after_accept")),
        "accept_after_reject": ratio(n("accepted_after_reject"), n("after_reject")),
    }
    for name in ("accept", "reject"):
        counts = sums[f"{name}_hist"]
        for level in (10, 50, 90):
            found[f"{name}_s_p{level}"] = quantile(SECOND_EDGES, counts, level / 100)
        for limit_s in (0.5, 1.0):
            below = counts[..., : int(np.searchsorted(SECOND_EDGES, limit_s)) + 1].sum(axis=-1)
            found[f"{name}_below_{limit_s:g}s"] = ratio(below, counts.sum(axis=-1))
    for level in (5, 25, 50, 75, 95):
        found[f"accepted_p{level}"] = quantile(SIZE_EDGES, sums["length_hist"], level / 100)
    for name, width in (("length", len(LENGTH_BINS)), ("match", len(MATCH_BINS) + 1)):
        seen, taken = np.split(sums[f"{name}_bins"], 2, axis=-1)
        for place in range(width):
            found[f"ar_{name}_{place}"] = ratio(taken[..., place], seen[..., place])
            found[f"share_{name}_{place}"] = ratio(seen[..., place], seen.sum(axis=-1))
    found |= _persistence(sums)
    found["user_ar_sd"], found["user_ar_sd_corrected"] = _spread(table, weights)
    return found


def _persistence(sums: Sums) -> dict[str, Any]:
    found = {}
    checked, unchanged, third, half, chars, alive = np.split(sums["persist"], 6, axis=-1)
    for place, age_s in enumerate(PERSIST_S):
        for name, part, whole in (
            ("unchanged", unchanged, checked), ("nearly", third, checked), ("half", half, checked),
            ("retained", alive, chars),
        ):  # fmt: skip
            found[f"{name}_{age_s}s"] = ratio(part[..., place], whole[..., place])
    return found


def _spread(table: Table, weights: Array) -> tuple[Any, Any]:
    """Standard deviation of users' AR, and what is left of it without the noise of few exposures."""
    shown, accepted = table.column("shown")[:, 0], table.column("accepted")[:, 0]
    enough = shown >= ENOUGH_SHOWN
    each = np.where(enough, accepted / np.maximum(shown, 1), 0.0)
    noise = np.where(enough, each * (1 - each) / np.maximum(shown - 1, 1), 0.0)
    kept = weights * enough
    users = kept.sum(axis=-1)
    mean = ratio(kept @ each, users)
    squares = (kept * (each - mean[..., None]) ** 2).sum(axis=-1)
    variance = np.where(users > 1, squares / np.maximum(users - 1, 1), np.nan)
    own = np.maximum(variance - ratio(kept @ noise, users), 0.0)
    return np.sqrt(variance), np.sqrt(own)


def twins(table: Table, control: Table) -> dict[str, float | int | None]:
    """What suggestions saved the users who are in both tables: keys and active time, as shares of the
    control's; None without common users.
    """
    both = [user for user in table.users if user in set(control.users)]
    found: dict[str, float | int | None] = {"users": len(both)}
    for name, column in (("keys_saved", "keys"), ("time_saved", "active_s")):
        own = table.column(column)[[table.users.index(user) for user in both], 0].sum()
        base = control.column(column)[[control.users.index(user) for user in both], 0].sum()
        found[name] = float(1 - own / base) if base else None
    return found


def observations(table: Table) -> dict[str, int]:
    """How many observations each figure rests on, by its key; figures without a target are left out."""
    n = {name: float(table.column(name)[:, 0].sum()) for name in table.names("")}
    gaps, risk = n["changes"] - len(table.users), table.column("typed_risk").sum(axis=0)
    seen = {name: np.split(table.column(f"{name}_bins").sum(axis=0), 2)[0] for name in ("length", "match")}
    checked = np.split(table.column("persist").sum(axis=0), 6)[0]
    found: dict[str, float] = {f"gap_{name_of(limit_s)}": gaps for limit_s in GAP_S}
    found |= {f"typed_alive_{name_of(age_s)}": risk[place] for place, age_s in enumerate(LIFE_S)}
    for name, counts in seen.items():
        found |= {f"ar_{name}_{place}": count for place, count in enumerate(counts)}
    for name in ("unchanged", "nearly", "half", "retained"):
        found |= {f"{name}_{age_s}s": checked[place] for place, age_s in enumerate(PERSIST_S)}
    for name in ("accept", "reject"):
        total = table.column(f"{name}_hist").sum()
        found |= {f"{name}_s_p{level}": total for level in (10, 50, 90)}
        found |= {f"{name}_below_{limit_s:g}s": total for limit_s in (0.5, 1.0)}
    jumps, runs, sessions = table.column("jumps")[:, 1].sum(), n["runs"], n["session"]
    for level in (25, 50, 75, 90):
        found |= {f"jump_p{level}": jumps, f"between_p{level}": jumps, f"run_p{level}": runs}
    found |= {f"accepted_p{level}": n.get("accepted", 0.0) for level in (5, 25, 50, 75, 95)}
    found |= dict.fromkeys(("insert_share", "delete_share", "replace_share", "paste_share"), n["changes"])
    found |= {
        "jump_share": n["jumps"], "jump_backward": jumps, "jump_below_200": jumps, "between_mean": jumps,
        "run_mean": runs, "session_p50": sessions, "session_mean": sessions, "edits_per_minute": n["changes"],
        "requests_per_day": n["days"], "shown_per_day": n["days"], "accepted_per_day": n["days"],
        "typed_chars_per_day": n["days"], "shown_per_request": n.get("requests", 0.0),
        "ar": n.get("shown", 0.0), "multiline_shown": n.get("shown", 0.0),
        "accepted_mean": n.get("accepted", 0.0), "multiline_chars": n.get("accepted_chars", 0.0),
        "gr": n.get("accepted_chars", 0.0) + n.get("typed_chars", 0.0),
        "accept_after_accept": n.get("after_accept", 0.0), "accept_after_reject": n.get("after_reject", 0.0),
        "user_ar_sd": float((table.column("shown")[:, 0] >= ENOUGH_SHOWN).sum()),
    }  # fmt: skip
    return {key: int(value) for key, value in found.items()}
