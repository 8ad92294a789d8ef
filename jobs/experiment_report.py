"""What `report.json` of a served A/B holds: the analysis, and what a sceptic asks for beside it.

`experiment_figures` is the trunk; added are languages, latency, the two witnesses' agreement, the accounts of
every row and event. Pure: counts in, a JSON value out. Words are `experiment_words`, drawing is
`experiment_page`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from echo_ray.errors import SchemaError
from echo_ray.experiment.analyse import AnalysisConfig
from echo_ray.experiment.arm_facts import ArmFacts, quantile_ms
from echo_ray.experiment.decision import GUARDRAILS, NOT_CONCURRENT
from echo_ray.experiment.estimates import plain
from echo_ray.experiment.groups import analyse_groups
from echo_ray.experiment.inputs import METRICS, Arm, Metric
from echo_ray.experiment.tally import GROUPED, Tallies
from jobs import experiment_words, verdict
from jobs.experiment_config import ExperimentConfig
from jobs.experiment_figures import COMMON, ROLES, figures
from simulator.judge.scores import Agreement, share

VERSION = "1"
SERVED = (
    *METRICS,
    *COMMON,
    Metric("retained_share", ("retained_chars",), ("retainable_chars",), 1, share=True),
)
"""Metrics of a served log."""
MOST_LANGUAGES = 12
"""Languages with a row of their own, the most shown ones; the others are put together."""
OTHERS = "other languages"
_CROSSED = 0.05  # share of an arm's users in both arms from which the arms are not independent


def build(counts: Tallies, config: ExperimentConfig) -> dict[str, Any]:
    """Value of `report.json`, but for its provenance. Raises SchemaError when the arms share their users."""
    assert config.control is not None
    assert config.treatment is not None
    names = (config.control, config.treatment)
    _independent(counts, names, config.twins)
    arms = [_arm(counts, name, config.start_ms is not None) for name in names]
    settings = AnalysisConfig(
        twins=config.twins, seed=config.seed, resamples=config.resamples, weights=config.weights
    )
    together = _concurrent(counts, names)
    invalid = [NOT_CONCURRENT] if together["share"] == 0 else []
    value: dict[str, Any] = {"version": VERSION, "design": "log"}
    value |= figures(arms[0], arms[1], settings, SERVED, GUARDRAILS, invalid)
    for role, name in zip(ROLES, names, strict=True):
        value["arms"][role] |= _about(counts.arms[name])
    value["concurrent"] = together
    value["languages"] = _languages(counts, names, settings)
    value["acceptance"] = {"mode": config.acceptance.value, **_agreement(counts, names)}
    value["accounts"] = {
        "requests": dict(sorted(counts.rows.items(), key=_by_size)),
        "events": dict(sorted(counts.events.items(), key=_by_size)),
    }
    value["gain"] = verdict.gain(value)
    value["verdict"] = experiment_words.sentence(value)
    value["reasons"] = experiment_words.reasons(value)
    value["caveats"] = experiment_words.caveats(value)
    return value


def _independent(counts: Tallies, names: tuple[str, str], twins: bool) -> None:
    users = [{user for arm, user in counts.users if arm == name} for name in names]
    both = len(users[0] & users[1])
    if twins and len(users[0] ^ users[1]):
        raise SchemaError(
            f"experiment.twins=true, but only {both:,} of {len(users[0] | users[1]):,} users met both arms: "
            "set experiment.twins=false if users were assigned to an arm"
        )
    if not twins and both > _CROSSED * min(map(len, users)):
        raise SchemaError(
            f"{both:,} of {len(users[0] | users[1]):,} users met both arms (was the plan changed?), so the "
            "arms are not independent: set experiment.start_ms and experiment.end_ms to a span of one plan, "
            "or experiment.twins=true if every user was to work in both"
        )


def _concurrent(counts: Tallies, names: tuple[str, str]) -> dict[str, Any]:
    """Share of the time from the first to the last request in which both arms were served; None: unknown."""
    facts = [counts.arms[name] for name in names]
    firsts = [one.first_ms for one in facts if one.first_ms is not None]
    lasts = [one.last_ms for one in facts if one.last_ms is not None]
    if len(firsts) < len(names):
        return {"share": None, "start_ms": None, "end_ms": None}
    whole = max(lasts) - min(firsts)
    start, end = max(firsts), min(lasts)
    share = max(0, end - start) / whole if whole else 1.0
    return {"share": share, "start_ms": start, "end_ms": end + 1}


def _arm(counts: Tallies, name: str, before: bool) -> Arm:
    own = {user: row for (arm, user), row in counts.users.items() if arm == name}
    earlier = [{"user": user, **counts.before[user]} for user in own if user in counts.before]
    found = Arm.of(name, [{"user": user, **row} for user, row in own.items()])
    if not (before and earlier):
        return found
    return Arm.of(name, [{"user": user, **row} for user, row in own.items()], before=earlier)


def _about(facts: ArmFacts) -> dict[str, Any]:
    return {
        "models": dict(facts.models.most_common()),
        "clients": dict(facts.clients.most_common()),
        "users_by_witness": dict(facts.witness),
        "latency_p50_ms": quantile_ms(facts.latency, 0.5),
        "latency_p95_ms": quantile_ms(facts.latency, 0.95),
        "first_ms": facts.first_ms,
        "last_ms": facts.last_ms,
    }


def _languages(counts: Tallies, names: tuple[str, str], settings: AnalysisConfig) -> dict[str, Any]:
    shown: dict[str, float] = defaultdict(float)
    for (_, language, _), row in counts.languages.items():
        shown[language] += row["shown"]
    first = sorted(shown, key=lambda name: (-shown[name], name))[:MOST_LANGUAGES]
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for (arm, language, user), row in counts.languages.items():
        group = language if language in first else OTHERS
        rows.setdefault(group, {name: [] for name in names})[arm].append({"user": user, **row})
    whole = {group: by_arm for group, by_arm in rows.items() if all(by_arm.values())}
    groups = {g: (Arm.of(names[0], a[names[0]]), Arm.of(names[1], a[names[1]])) for g, a in whole.items()}
    found = plain(analyse_groups(groups, settings)) if groups else {}
    order = [name for name in (*first, OTHERS) if name in groups]
    table = {
        name: {
            "users": [len(arm.users) for arm in groups[name]],
            **{what: [float(arm.counts[what].sum()) for arm in groups[name]] for what in GROUPED},
            **{metric: found[metric][name] for metric in found if name in found[metric]},
        }
        for name in order
    }
    alone = {name: _users_alone(by_arm) for name, by_arm in rows.items() if name not in groups}
    return {"groups": table, "one_arm_only": dict(sorted(alone.items()))}


def _users_alone(by_arm: Mapping[str, list[Any]]) -> dict[str, int]:
    return {arm: len(rows) for arm, rows in by_arm.items()}


def _agreement(counts: Tallies, names: tuple[str, str]) -> dict[str, Any]:
    """Events against stream over delivered proposals with text of users who report events."""
    facts = [counts.arms[name].agreement for name in names]
    found = {role: _witnesses([own]) for role, own in zip(ROLES, facts, strict=True)}
    return {"agreement": {"both_arms": _witnesses(facts), **found}}


def _witnesses(facts: Iterable[Mapping[str, int]]) -> dict[str, Any] | None:
    """Counts, Cohen's kappa, and AR by each witness; None where nobody reports."""
    total: dict[str, int] = defaultdict(int)
    for own in facts:
        for name, number in own.items():
            total[name] += number
    agreement = Agreement(total["both"], total["only_stream"], total["only_events"], total["neither"])
    if not agreement.total:
        return None
    return {
        "proposals": agreement.total,
        "both": agreement.both,
        "only_events": agreement.only_reported,
        "only_stream": agreement.only_inferred,
        "neither": agreement.neither,
        "kappa": agreement.figures()["kappa"],
        "acceptance_rate_events": share(total["accepted_events"], total["shown_events"]),
        "acceptance_rate_stream": share(total["accepted_stream"], total["shown_stream"]),
        "shown_events": total["shown_events"],
        "shown_stream": total["shown_stream"],
    }


def _by_size(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
