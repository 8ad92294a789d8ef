"""From answers to figures: every metric per model and language, with intervals clustered by user.

Pure. A sample becomes a row of counts (`counts`), rows add up over the samples of a user, and every metric
is a function of such a sum, BLEU and CodeBLEU included. So a resample of users (drawn with replacement, the
same draws for all models) costs one product of matrices, and BLEU is recomputed on it, never averaged.

Text metrics are over the targets that are not void; void precision and recall say the rest. Perplexity is
exp(nats / tokens) over targets with their end token, of the samples that every model could score.

Intervals: 95%, bias-corrected and accelerated (Efron 1987) with the acceleration of a jackknife over users,
at levels widened for few users (Hesterberg 2015: the t quantile, times sqrt(n / (n - 1)), through the
normal distribution). No interval: fewer than two users, no variation between users, or a figure that hangs
on one user or is missing in more than 1% of the resamples. Samples of nobody known count as one user.

Not covered: correction for several metrics; the variance of another training seed.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from echo_ray import scores
from echo_ray.resampling import bca
from echo_ray.rng import digest

Array = npt.NDArray[np.float64]
Row = Mapping[str, Any]

ALL = "all"
"""Group of all languages."""
_PLAIN = (
    *("samples", "code", "voids", "exact", "first_line", "edit", "silent", "right_silence"),
    *("spoken", "repeats", "leaks", "chars"),
    *("code_nats", "code_tokens", "code_bytes", "nats", "tokens"),
)
_AT = {name: place for place, name in enumerate(_PLAIN)}
_BLEU = slice(len(_PLAIN), len(_PLAIN) + scores.BLEU_COUNTS)
_CODE = slice(_BLEU.stop, _BLEU.stop + scores.CODE_COUNTS)
_KNOWN = _CODE.stop
_WIDTH = _KNOWN + 1


def _ratio(above: str, below: str) -> Callable[[Array], float]:
    def value(sums: Array) -> float:
        return float(sums[_AT[above]] / sums[_AT[below]]) if sums[_AT[below]] else math.nan

    return value


def _perplexity(above: str, below: str) -> Callable[[Array], float]:
    mean = _ratio(above, below)
    return lambda sums: math.exp(min(mean(sums), 700.0))  # NaN stays NaN; what follows is no number any more


def _bleu(sums: Array) -> float:
    return scores.bleu_of(sums[_BLEU].tolist()) if sums[_AT["code"]] else math.nan


def _code_bleu(sums: Array) -> float:
    return scores.code_bleu_of(sums[_CODE].tolist()) if sums[_KNOWN] else math.nan


@dataclass(frozen=True)
class Metric:
    """One figure of the table."""

    value: Callable[[Array], float]
    """Of summed counts; NaN where it does not exist."""
    of: str | None
    """Column that counts what the figure is over."""
    better: int
    """1: more is better, -1: less is better, 0: neither."""


METRICS: dict[str, Metric] = {
    "exact_match": Metric(_ratio("exact", "code"), "code", 1),
    "first_line_match": Metric(_ratio("first_line", "code"), "code", 1),
    "edit_similarity": Metric(_ratio("edit", "code"), "code", 1),
    "bleu": Metric(_bleu, "code", 1),
    "code_bleu": Metric(_code_bleu, None, 1),
    "void_precision": Metric(_ratio("right_silence", "silent"), "silent", 1),
    "void_recall": Metric(_ratio("right_silence", "voids"), "voids", 1),
    "suffix_repetition": Metric(_ratio("repeats", "spoken"), "spoken", -1),
    "sentinel_leaks": Metric(lambda sums: float(sums[_AT["leaks"]]), "samples", -1),
    "perplexity": Metric(_perplexity("code_nats", "code_tokens"), None, -1),
    "perplexity_all": Metric(_perplexity("nats", "tokens"), None, -1),
    "bits_per_byte": Metric(lambda sums: _ratio("code_nats", "code_bytes")(sums) / math.log(2), None, -1),
    "answer_chars": Metric(_ratio("chars", "samples"), "samples", 0),
}
"""Every metric, in the order of the table. Shares are 0..1; `sentinel_leaks` is a count, `answer_chars` a
mean."""


def counts(row: Row, scored: bool = True) -> Array:
    """What one answered sample adds to every metric. Of `row`: `target`, `answer`, `prefix`, `suffix`,
    `language`; optional: `raw`, `special_tokens`, and `nats` with `target_tokens`, which count only if
    `scored`.
    """
    target, answer, language = row["target"], row["answer"], row["language"]
    prefix, suffix = row["prefix"], row["suffix"]
    void, silent = scores.is_void(target), scores.is_void(answer)
    leaks = bool(row.get("special_tokens")) or scores.sentinel_leak(answer, prefix, suffix, language)
    found = np.zeros(_WIDTH)
    values: dict[str, float] = {
        "samples": 1,
        "voids": void,
        "code": not void,
        "silent": silent,
        "right_silence": void and silent,
        "spoken": not silent,
        "repeats": not silent and scores.suffix_repetition(answer, prefix, suffix, language),
        "leaks": leaks,
        "chars": len(answer),
    }
    nats = row.get("nats")
    if scored and nats is not None:
        values |= {"nats": nats, "tokens": row["target_tokens"]}
    if not void:
        values["exact"] = scores.exact_match(target, answer)
        values["first_line"] = scores.first_line_match(target, answer)
        values["edit"] = scores.edit_similarity(target, answer)
        found[_BLEU] = scores.bleu_counts(target, answer)
        code = scores.code_counts(target, answer, language)
        if code is not None:
            found[_CODE] = code
            found[_KNOWN] = 1
        if scored and nats is not None:
            values |= {"code_nats": nats, "code_tokens": row["target_tokens"]}
            values["code_bytes"] = len(target.encode("utf-8", "replace"))
    for name, value in values.items():
        found[_AT[name]] = value
    return found


def figures(rows: Sequence[Row], resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Every metric of every model (`row["model"]`, in order of appearance), overall and per language.

    `rows`: one per model and sample, with `model`, `sample_id`, `user` and what `counts` needs. Returns
    `{"models": [...], "groups": {"all": {...}, language: {...}}}`; a group has `samples`, `voids`, `users`,
    `reason` (why it has no interval) and `models`: `{model: {metric: {"value", "of", "ci95",
    "difference"}}}`, where `difference` is to the first model, `{"value", "ci95"}`, None for the first.
    What does not exist is None. Raises ValueError when the models have answered different samples.
    """
    models = list(dict.fromkeys(row["model"] for row in rows))
    by_model: dict[str, dict[str, Row]] = {model: {} for model in models}
    for row in rows:
        by_model[row["model"]][row["sample_id"]] = row
    ids = sorted(by_model[models[0]]) if models else []
    if any(sorted(answered) != ids for answered in by_model.values()):
        raise ValueError("the models have answered different samples")
    scored = {
        sample: all(by_model[model][sample].get("nats") is not None for model in models) for sample in ids
    }
    table = np.array(
        [[counts(by_model[model][sample], scored[sample]) for sample in ids] for model in models]
    ).reshape(len(models), len(ids), _WIDTH)
    languages = Counter(by_model[models[0]][sample]["language"] for sample in ids) if models else Counter()
    wanted = [ALL, *(name for name, _ in sorted(languages.items(), key=lambda item: (-item[1], item[0])))]
    groups = {}
    for group in wanted:
        chosen = [
            place
            for place, sample in enumerate(ids)
            if group in (ALL, by_model[models[0]][sample]["language"])
        ]
        users = [by_model[models[0]][ids[place]]["user"] for place in chosen]
        groups[group] = _group(models, table[:, chosen], users, resamples, seed)
    return {"models": models, "scored": sum(scored.values()), "groups": groups}


def _group(
    models: Sequence[str], table: Array, users: Sequence[str], resamples: int, seed: int
) -> dict[str, Any]:
    names = sorted(set(users))
    place = {user: number for number, user in enumerate(names)}
    sums = np.zeros((len(models), len(names), _WIDTH))
    for number, user in enumerate(users):
        sums[:, place[user]] += table[:, number]
    totals = sums.sum(axis=1)
    enough = len(names) > 1
    drawn = _drawn(names, resamples, seed) if enough else None
    found: dict[str, Any] = {model: {} for model in models}
    for metric, described in METRICS.items():
        first: _Spread | None = None
        for number, model in enumerate(models):
            spread = _Spread.of(described.value, sums[number], totals[number], drawn)
            found[model][metric] = {
                "value": _known(spread.value),
                "of": None if described.of is None else int(totals[number][_AT[described.of]]),
                "ci95": spread.interval(),
                "difference": None,
            }
            if first is None:
                first = spread
            else:
                change = spread.minus(first)
                found[model][metric]["difference"] = {
                    "value": _known(change.value),
                    "ci95": change.interval(),
                }
    return {
        "samples": len(users),
        "voids": int(totals[0][_AT["voids"]]) if models else 0,
        "users": len([name for name in names if name]),
        "reason": None if enough else "fewer than two users",
        "models": found,
    }


def _drawn(names: Sequence[str], resamples: int, seed: int) -> Array:
    """How often each user is in each resample."""
    random = np.random.default_rng(digest(seed, "evaluate", *names))
    picked = random.integers(0, len(names), (resamples, len(names)))
    return np.array([np.bincount(line, minlength=len(names)) for line in picked], dtype=np.float64)


@dataclass(frozen=True)
class _Spread:
    """A figure, its values on resampled users, and its values without each user."""

    value: float
    draws: Array
    without: Array

    @classmethod
    def of(cls, value: Callable[[Array], float], sums: Array, total: Array, drawn: Array | None) -> "_Spread":
        if drawn is None:
            return cls(value(total), np.empty(0), np.empty(0))
        resampled = drawn @ sums
        return cls(
            value(total),
            np.array([value(line) for line in resampled]),
            np.array([value(total - user) for user in sums]),
        )

    def minus(self, other: "_Spread") -> "_Spread":
        return _Spread(self.value - other.value, self.draws - other.draws, self.without - other.without)

    def interval(self) -> list[float] | None:
        """The 95% interval, or None where there is none."""
        return interval(self.value, self.draws, self.without)


def interval(value: float, draws: Array, without: Array) -> list[float] | None:
    """BCa interval (95%) of a figure from its values on resampled users and without each user; see above."""
    users = len(without)
    if users < 2 or not math.isfinite(value) or not np.isfinite(without).all():
        return None
    there = np.isfinite(draws)
    if there.mean() < 0.99:
        return None
    draws = draws[there]
    if np.ptp(draws) <= 1e-12 * max(1.0, abs(value)):
        return None
    reach = float(stats.t.ppf(0.975, users - 1)) * math.sqrt(users / (users - 1))
    return list(bca(draws, value, without.mean() - without, reach))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
