"""Many questions to one experiment: Benjamini-Hochberg across groups, fixed order across metrics. Pure.

- **False discovery rate** (Benjamini, Hochberg 1995) for questions of equal rank, such as languages: of the
  differences called real, at most a share q is expected to be none. Valid for independent and for
  positively dependent tests; users with several languages give the latter.
- **Fixed sequence** (Maurer, Hothorn, Lehmacher 1995) for metrics in an order fixed beforehand (AR, GR,
  retained characters, time saved): each is tested at the full alpha as long as all before it moved, and in
  the wanted direction; after the first that did not, nothing more may be claimed. The chance of any false
  claim stays at alpha.

- **Holm** (1979) for a few comparisons each of which must hold, such as ablations against one model: the
  chance of any false claim stays at alpha, whatever the dependence.

A question without a p-value gets None and is not counted among the tests; in a sequence it closes the gate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True, slots=True)
class Discovery:
    """One of several questions of equal rank."""

    p_value: float | None
    q_value: float | None
    """Adjusted p-value: to be compared with q or alpha."""
    rejected: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """One metric of a fixed sequence."""

    name: str
    p_value: float | None
    adjusted_p: float | None
    """Largest p-value up to here; 1.0 after a gate that is closed for its direction; None after a gate
    without a p-value."""
    tested: bool
    """All before were passed."""
    passed: bool
    """Tested, moved, and for the better."""


def false_discoveries(p_values: Mapping[str, float | None], q: float = 0.05) -> dict[str, Discovery]:
    """Benjamini-Hochberg over the p-values that exist, in the order given."""
    there = {name: p for name, p in p_values.items() if p is not None}
    adjusted = stats.false_discovery_control(list(there.values()), method="bh") if there else []
    by_name = dict(zip(there, map(float, adjusted), strict=True))
    return {
        name: Discovery(p, by_name.get(name), name in by_name and by_name[name] <= q)
        for name, p in p_values.items()
    }


def holm(p_values: Mapping[str, float | None], alpha: float = 0.05) -> dict[str, Discovery]:
    """Holm's step-down over the p-values that exist, in the order given."""
    ranked = sorted((p, name) for name, p in p_values.items() if p is not None)
    by_name: dict[str, float] = {}
    worst = 0.0
    for rank, (p, name) in enumerate(ranked):
        worst = max(worst, min(1.0, (len(ranked) - rank) * p))
        by_name[name] = worst
    return {
        name: Discovery(p, by_name.get(name), name in by_name and by_name[name] <= alpha)
        for name, p in p_values.items()
    }


def gates(ordered: Sequence[tuple[str, float | None, float | None]], alpha: float = 0.05) -> tuple[Gate, ...]:
    """(name, p-value, gain) in the order fixed beforehand; a gain above 0 is for the better."""
    result: list[Gate] = []
    open_, worst = True, 0.0
    known = True
    for name, p_value, gain in ordered:
        wanted = gain is not None and gain > 0
        known = known and p_value is not None
        worst = 1.0 if p_value is None else max(worst, p_value if wanted else 1.0)
        passed = open_ and p_value is not None and wanted and p_value <= alpha
        result.append(Gate(name, p_value, worst if known else None, open_, passed))
        open_ = passed
    return tuple(result)
