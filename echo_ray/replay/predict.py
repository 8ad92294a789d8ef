"""Predicted acceptance of arms in the contexts of a log, the difference to the control, and its interval.

Three curves are fitted on the control's delivered proposals with text: was it shown, was it accepted if it
was shown, which share of its characters was taken (weighted by length). An arm's proposals in the drawn
contexts get what the curves of other users' folds say:

- AR: sum of predicted acceptances / sum of predicted exposures;
- GR: accepted over typed characters are the control's logged ones, times predicted characters of the arm over
  predicted characters of the control. That takes as many contexts for every typed character as the control
  had: typing asks, so who types less is asked less.

The control's logged proposals are predicted by the same curves, so what is wrong with a curve is in both arms
and equal proposals differ by nothing. Intervals (95%): bootstrap over users, every draw fits all curves
again; BCa at levels for few users (t, times sqrt(n / (n - 1)), Hesterberg 2015). A fold whose training users
are all absent from a draw falls back on the curve of the whole.

Not covered: the choice of features is taken as given; one interval says nothing of a candidate trained with
another seed. Sums over requests count a gap as often as it was asked for, as AR does; a candidate that is
accepted earlier would be asked less often.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from echo_ray import metrics
from echo_ray.replay.acceptance import Array, Ints, Scale, chance, fit, folds
from echo_ray.resampling import bca
from echo_ray.rng import digest

RATES = ("acceptance_rate", "generation_rate")
DECILES = 10
Interval = tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Answers:
    """Proposals of one arm that are not silent: (n,) each, `x` (n, features)."""

    user: Ints
    """Place of the user in `Log.users`."""
    x: Array
    chars: Array


@dataclass(frozen=True, slots=True)
class Log:
    """The control's delivered proposals with text, and what became of them."""

    users: Sequence[str]
    answers: Answers
    shown: Array
    """0 or 1, as `accepted`; (n,)."""
    accepted: Array
    taken: Array
    """Share of the characters that was taken, 0..1; (n,)."""
    accepted_chars: Array
    """(users,): of the whole log, as `typed_chars`."""
    typed_chars: Array


@dataclass(frozen=True, slots=True)
class Settings:
    """How to fit and to resample."""

    folds: int = 5
    ridge: float = 1.0
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """A rate or a difference; None where it does not exist."""

    value: float | None
    ci95: Interval


@dataclass(frozen=True, slots=True)
class Predicted:
    """One arm: its rates, and what they are above the control's, by `RATES`."""

    rates: dict[str, Figure]
    difference: dict[str, Figure]


@dataclass(frozen=True, slots=True)
class Decile:
    """Logged proposals with neighbouring predictions."""

    proposals: int
    predicted: float
    observed: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """How well the curve of acceptance does on users whom it has not seen."""

    deciles: list[Decile]
    log_loss: float
    log_loss_of_mean: float
    """Of one number for all, the observed share (nats per proposal)."""
    auc: float | None
    """Area under the ROC curve: how often an accepted proposal is above one that was not."""
    curves: dict[str, list[float]]
    """Intercept and slopes of standardised features, fitted on everybody."""


def predict(
    log: Log,
    control: Answers,
    arms: Mapping[str, Answers],
    settings: Settings,
    tick: Callable[[int], object] = lambda count: None,
) -> tuple[Predicted, dict[str, Predicted], Fitted]:
    """(control, candidates by name, the curves). `control` are its logged proposals in the drawn contexts;
    `tick` is told of every resample. Raises ValueError with fewer than two users or without an acceptance.
    """
    if len(log.users) < 2 or not log.accepted.any():
        raise ValueError("a replay needs two users and an accepted proposal")
    curves = _Curves.of(log, settings)
    names = ["", *arms]
    answers = [control, *arms.values()]
    ones = np.ones(len(log.users))
    sums = [curves.sums(one, curves.whole) for one in answers]
    value = _rates(sums, log, ones)
    draws = np.full((settings.resamples, len(names), len(RATES)), np.nan)
    random = np.random.default_rng(digest(settings.seed, "replay", *log.users))
    for number in range(settings.resamples):
        picked = random.integers(0, len(log.users), len(log.users))
        times = np.bincount(picked, minlength=len(log.users)).astype(np.float64)
        refitted = curves.refitted(times)
        draws[number] = _rates([curves.sums(one, refitted) for one in answers], log, times)
        tick(1)
    shares = _shares(sums, log)
    found = []
    for place in range(len(names)):
        rates, difference = {}, {}
        for column, name in enumerate(RATES):
            own, base = (value[where, column] for where in (place, 0))
            moved, from_base = (draws[:, where, column] for where in (place, 0))
            share, of_base = (shares[where][column] for where in (place, 0))
            rates[name] = _figure(own, moved, share)
            difference[name] = _figure(own - base, moved - from_base, share - of_base)
        found.append(Predicted(rates, difference))
    return found[0], dict(zip(arms, found[1:], strict=True)), curves.fitted()


@dataclass(frozen=True, slots=True)
class _Curves:
    """Curves by fold and outcome."""

    log: Log
    settings: Settings
    scale: Scale
    fold: Ints
    design: Array
    outcomes: tuple[tuple[str, Array, Array], ...]
    """Name, outcome and weight of each row."""
    everybody: dict[str, Array]
    whole: dict[tuple[str, int], Array]

    @classmethod
    def of(cls, log: Log, settings: Settings) -> "_Curves":
        scale = Scale.of(log.answers.x)
        design = scale.apply(log.answers.x)
        ones = np.ones(len(design))
        chars = log.answers.chars / max(1.0, float(log.answers.chars.mean()))
        outcomes = (
            ("shown", log.shown, ones),
            ("accepted", log.accepted, log.shown),
            ("taken", log.taken, chars),
        )
        everybody = {name: fit(design, y, weight, settings.ridge) for name, y, weight in outcomes}
        fold = folds(log.users, min(settings.folds, len(log.users)), settings.seed)
        found = cls(log, settings, scale, fold, design, outcomes, everybody, {})
        whole = found.refitted(np.ones(len(log.users)), tolerance=1e-8)
        return cls(log, settings, scale, fold, design, outcomes, everybody, whole)

    def refitted(self, times: Array, tolerance: float = 1e-4) -> dict[tuple[str, int], Array]:
        """Curves by outcome and held-out fold when every user is there so many times."""
        rows = self.log.answers.user
        home = self.fold[rows]
        drawn = times[rows]
        found = {}
        for held in range(int(self.fold.max()) + 1):
            weights = np.where(home == held, 0.0, drawn)
            for name, y, weight in self.outcomes:
                # Not from the curve of everybody: even where a fit stops must not know who is left out.
                start = self.whole.get((name, held))
                found[name, held] = (
                    fit(self.design, y, weight * weights, self.settings.ridge, start, tolerance)
                    if weights.any()
                    else self.everybody[name]
                )
        return found

    def chances(self, answers: Answers, curves: Mapping[tuple[str, int], Array], name: str) -> Array:
        """What the curves of other folds say of every proposal; nobody accepts what was not shown."""
        if name == "accepted":
            return self.chances(answers, curves, "shown") * self._chances(answers, curves, name)
        return self._chances(answers, curves, name)

    def _chances(self, answers: Answers, curves: Mapping[tuple[str, int], Array], name: str) -> Array:
        design = self.scale.apply(answers.x)
        found = np.zeros(len(design))
        home = self.fold[answers.user]
        for held in range(int(self.fold.max()) + 1):
            mine = home == held
            found[mine] = chance(design[mine], curves[name, held])
        return found

    def sums(self, answers: Answers, curves: Mapping[tuple[str, int], Array]) -> Array:
        """(3, users): predicted exposures, acceptances and characters taken."""
        rows = []
        for name in ("shown", "accepted", "taken"):
            weight = self.chances(answers, curves, name)
            if name == "taken":
                weight = weight * answers.chars
            rows.append(np.bincount(answers.user, weight, minlength=len(self.log.users)))
        return np.vstack(rows)

    def fitted(self) -> Fitted:
        """Cross-fitted predictions of the log's proposals against what happened."""
        p, y = self.chances(self.log.answers, self.whole, "accepted"), self.log.accepted
        order = np.argsort(p, kind="stable")
        parts = [part for part in np.array_split(order, min(DECILES, len(order))) if len(part)]
        deciles = [Decile(len(part), float(p[part].mean()), float(y[part].mean())) for part in parts]
        mean = float(y.mean())
        return Fitted(
            deciles=deciles,
            log_loss=_loss(y, p),
            log_loss_of_mean=_loss(y, np.full(len(y), mean)),
            auc=_auc(y, p),
            curves={name: [float(one) for one in curve] for name, curve in self.everybody.items()},
        )


def _rates(sums: Sequence[Array], log: Log, times: Array) -> Array:
    """(arms, rates) when every user is there so many times."""
    accepted, typed = float(times @ log.accepted_chars), float(times @ log.typed_chars)
    base_chars = float(times @ sums[0][2])
    found = []
    for one in sums:
        shown, taken, chars = (one @ times).tolist()
        odds = _over(chars, base_chars) * _over(accepted, typed)
        found.append((_over(taken, shown), odds / (1 + odds)))
    return np.array(found)


def _shares(sums: Sequence[Array], log: Log) -> list[list[Array]]:
    """What each user adds to the error of each arm's rates, to first order, the curves as they are."""
    odds, z_odds = metrics.influence(log.accepted_chars, log.typed_chars)
    found = []
    for shown, taken, chars in sums:
        _, z_ar = metrics.influence(taken, shown)
        ratio, z_ratio = metrics.influence(chars, sums[0][2])
        found.append([z_ar, (z_ratio * odds + ratio * z_odds) / (1 + ratio * odds) ** 2])
    return found


def _figure(value: float, draws: Array, shares: Array) -> Figure:
    if not math.isfinite(value):
        return Figure(None, None)
    users = len(shares)
    there = np.isfinite(draws)
    if users < 2 or there.mean() < 0.99 or not np.isfinite(shares).all():
        return Figure(float(value), None)
    draws = draws[there]
    if np.ptp(draws) <= 1e-12 * max(1.0, abs(value)):
        return Figure(float(value), None)
    reach = float(stats.t.ppf(0.975, users - 1)) * math.sqrt(users / (users - 1))
    return Figure(float(value), bca(draws, value, shares, reach))


def _over(above: float, below: float) -> float:
    return float(above / below) if below > 0 else math.nan


def _loss(y: Array, p: Array) -> float:
    p = np.clip(p, 1e-15, 1 - 1e-15)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p)))


def _auc(y: Array, p: Array) -> float | None:
    right, wrong = int(y.sum()), int(len(y) - y.sum())
    if not right or not wrong:
        return None
    ranks = stats.rankdata(p)
    return float((ranks[y > 0].sum() - right * (right + 1) / 2) / (right * wrong))
