"""Offline replay: features by hand, the curve against scipy, predictions against an oracle."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from echo_ray.replay.acceptance import Scale, chance, fit, folds
from echo_ray.replay.features import FEATURES, features, is_silent
from echo_ray.replay.predict import Answers, Log, Settings, predict

SLOPES = np.array([0.4, 1.0, 1.0, 1.5, 0.1, -0.2, 0.3])
TEXT = st.text(alphabet="ab (\n", max_size=12)


def by_name(proposal, truth):
    return dict(zip(FEATURES, features(proposal, truth).tolist(), strict=True))


# --- features


@pytest.mark.parametrize(
    ("proposal", "truth", "told"),
    [
        (
            "f(x)",
            "f(x)",
            {"exact": 1, "whole": 1, "leading": 1, "similarity": 1, "lines": 1, "first_line": 1},
        ),
        ("f(x)  ", "f(x)\n", {"exact": 1, "whole": 1, "log_chars": math.log(4)}),
        ("f(x)", "f(x)\nreturn", {"exact": 0, "whole": 1, "similarity": 1, "first_line": 1}),
        ("f(y)", "f(x)", {"exact": 0, "whole": 0, "leading": 0.5, "similarity": 0.75, "first_line": 0}),
        ("f(x)\ng()", "f(x)\nh()", {"lines": 2, "first_line": 1, "leading": 5 / 8}),
        ("f(x)", "", {"exact": 0, "whole": 0, "leading": 0, "similarity": 0, "first_line": 0}),
        ("abcd", "bcd", {"leading": 0, "similarity": 0.75}),
    ],
)
def test_features_by_hand(proposal, truth, told):
    found = by_name(proposal, truth)
    assert told == {name: pytest.approx(found[name]) for name in told}


@given(TEXT, TEXT, TEXT)
def test_features_are_shares_and_what_comes_later_does_not_matter(proposal, truth, more):
    if is_silent(proposal):
        with pytest.raises(ValueError, match="silence"):
            features(proposal, truth)
        return
    found = by_name(proposal, truth)
    for name in ("exact", "whole", "leading", "similarity", "first_line"):
        assert 0 <= found[name] <= 1
    assert found["exact"] <= found["whole"] or found["exact"] <= found["leading"]
    assert (found["leading"] == 1) == bool(found["whole"])
    longer = by_name(proposal, truth + more)
    if len(truth) >= len(proposal.rstrip()):
        for name in ("whole", "leading", "similarity", "log_chars", "lines"):
            assert longer[name] == found[name]


# --- the curve


def drawn(seed, rows=300, columns=3):
    random = np.random.default_rng(seed)
    x = random.normal(0, [1.0, 5.0, 0.1][:columns], (rows, columns))
    y = (random.random(rows) < special.expit(x @ np.array([1.0, -0.2, 3.0])[:columns] - 1)).astype(float)
    return x, y, random


@pytest.mark.parametrize("ridge", [0.1, 1.0, 30.0])
def test_the_curve_is_the_one_that_scipy_finds(ridge):
    x, y, random = drawn(1)
    design, weight = Scale.of(x).apply(x), random.integers(0, 4, len(y)).astype(float)

    def loss(curve):
        linear = design @ curve
        return weight @ (np.logaddexp(0, linear) - y * linear) + ridge / 2 * np.sum(curve[1:] ** 2)

    wanted = optimize.minimize(loss, np.zeros(4), tol=1e-12)
    assert wanted.x == pytest.approx(fit(design, y, weight, ridge), abs=2e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_predictions_add_up_to_what_happened_and_twice_a_row_is_weight_two(seed, shares):
    x, y, random = drawn(seed, rows=80)
    if shares:
        y = y * random.random(len(y))
    design, weight = Scale.of(x).apply(x), random.integers(1, 3, len(y)).astype(float)
    curve = fit(design, y, weight, 1.0)
    assert weight @ y == pytest.approx(weight @ chance(design, curve), abs=0.01)
    times = weight.astype(int)
    again = fit(np.repeat(design, times, axis=0), np.repeat(y, times), np.ones(times.sum()), 1.0)
    assert curve == pytest.approx(again, abs=1e-3)


def test_outcomes_that_are_all_alike_or_perfectly_told_give_finite_curves():
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    for y in (np.zeros(4), np.ones(4), np.array([0.0, 0, 1, 1])):
        design = Scale.of(x).apply(x)
        curve = fit(design, y, np.ones(4), 1.0)
        assert np.isfinite(curve).all()
        assert np.abs(y - chance(design, curve)).max() < 0.5


@given(st.sets(st.text(max_size=5), min_size=2, max_size=40), st.integers(2, 6), st.integers(0, 9))
def test_folds_are_even_and_do_not_depend_on_the_order(names, count, seed):
    users = sorted(names)
    found = folds(users, count, seed)
    sizes = np.bincount(found, minlength=count)
    assert max(sizes) - min(sizes) <= 1
    back = folds(users[::-1], count, seed)
    assert found.tolist() == back[::-1].tolist()


# --- predictions


def proposals(random, rows, quality):
    """Features of proposals of a model, better for a higher `quality`."""
    x = np.zeros((rows, len(FEATURES)))
    leading = random.beta(0.4 * quality, 1.0, rows) * (random.random(rows) < 0.8)
    whole = random.random(rows) < 0.1 * quality
    leading[whole] = 1
    x[:, 0], x[:, 1], x[:, 6] = whole & (random.random(rows) < 0.5), whole, whole
    x[:, 2], x[:, 3] = leading, np.clip(leading + 0.2 * random.random(rows), 0, 1)
    x[:, 4], x[:, 5] = np.log(random.integers(3, 80, rows)), 1 + random.poisson(0.3, rows)
    return x


def accepts(x, taste):
    return special.expit(-2.8 + x @ SLOPES + taste)


def looks(x, taste):
    return special.expit(1 + 0.3 * x[:, 2] + 0.2 * taste)


def rate(quality, rows=1_000_000):
    """True acceptance rate of a model, over everybody."""
    random = np.random.default_rng(7)
    x, taste = proposals(random, rows, quality), random.normal(0, 0.4, rows)
    yes = accepts(x, taste)
    return float(yes.sum() / (yes + (1 - yes) * looks(x, taste)).sum())


def world(seed, users, qualities=(2.0,), part=0.5):
    """(log, the control's proposals in a part of the contexts, those of every other model)."""
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), 5 + random.poisson(random.gamma(2, 20, users)))
    taste = random.normal(0, 0.4, users)[user]
    x = proposals(random, len(user), 1.0)
    accepted = (random.random(len(user)) < accepts(x, taste)).astype(float)
    shown = np.maximum(accepted, random.random(len(user)) < looks(x, taste))
    drawn = random.random(len(user)) < part
    chars = np.exp(x[:, 4])

    def of(x, rows):
        return Answers(user[rows], x[rows], np.exp(x[rows][:, 4]))

    log = Log(
        users=[f"u{number}" for number in range(users)],
        answers=of(x, slice(None)),
        shown=shown.astype(float),
        accepted=accepted,
        taken=accepted,
        accepted_chars=np.bincount(user, accepted * chars, minlength=users),
        typed_chars=np.full(users, 1000.0),
    )
    others = {f"m{n}": of(proposals(random, len(user), q), drawn) for n, q in enumerate(qualities)}
    return log, of(x, drawn), others


def test_a_known_difference_is_predicted_without_bias_and_with_honest_intervals():
    runs, wanted = 80, rate(2.0) - rate(1.0)
    errors, covered = [], 0
    for seed in range(runs):
        log, control, others = world(seed, 20)
        _, found, _ = predict(log, control, others, Settings(folds=3, resamples=100))
        difference = found["m0"].difference["acceptance_rate"]
        errors.append(difference.value - wanted)
        covered += difference.ci95[0] <= wanted <= difference.ci95[1]
    assert wanted > 0.1
    assert abs(np.mean(errors)) < 3 * np.std(errors) / math.sqrt(runs)
    # 95% of 80 are 76; three standard errors are 6.
    assert 70 <= covered


def test_equal_proposals_differ_by_nothing_and_the_control_is_predicted_as_it_was():
    log, control, _ = world(1, 40, part=1.0)
    base, found, fitted = predict(log, control, {"same": control}, Settings(resamples=100))
    for name in ("acceptance_rate", "generation_rate"):
        assert (0.0, None) == (found["same"].difference[name].value, found["same"].difference[name].ci95)
        assert base.rates[name] == found["same"].rates[name]
    observed = log.accepted.sum() / log.shown.sum()
    assert observed == pytest.approx(base.rates["acceptance_rate"].value, abs=0.01)
    written = log.accepted_chars.sum() / (log.accepted_chars.sum() + log.typed_chars.sum())
    assert written == pytest.approx(base.rates["generation_rate"].value)
    assert len(log.accepted) == sum(one.proposals for one in fitted.deciles)
    assert all(abs(one.predicted - one.observed) < 0.08 for one in fitted.deciles)
    assert fitted.log_loss < fitted.log_loss_of_mean
    assert 0.6 < fitted.auc < 0.95


def test_nobody_predicts_themselves():
    """A user who takes what everybody else refuses does not move their own prediction."""
    log, control, _ = world(3, 20, part=1.0)
    mine = log.answers.user == 4

    def own(accepted):
        changed = Log(log.users, log.answers, log.shown, accepted, log.taken, log.accepted_chars,
                      log.typed_chars)  # fmt: skip
        alone = Answers(control.user[mine], control.x[mine], control.chars[mine])
        return predict(changed, alone, {}, Settings(resamples=100))[0].rates["acceptance_rate"].value

    assert own(log.accepted) == own(np.where(mine, 1.0, log.accepted))


def test_the_order_of_rows_and_the_seed_alone_decide():
    log, control, others = world(5, 15)
    order = np.random.default_rng(0).permutation(len(log.accepted))

    def turned(answers, rows):
        return Answers(answers.user[rows], answers.x[rows], answers.chars[rows])

    told = (column[order] for column in (log.shown, log.accepted, log.taken))
    mixed = Log(log.users, turned(log.answers, order), *told, log.accepted_chars, log.typed_chars)
    found = [predict(one, control, others, Settings(resamples=100))[1]["m0"] for one in (log, log, mixed)]
    assert found[0] == found[1]
    for name, figure in found[0].difference.items():
        assert figure.value == pytest.approx(found[2].difference[name].value, abs=1e-6)
        assert figure.ci95 == pytest.approx(found[2].difference[name].ci95, abs=1e-4)


def test_a_model_that_says_nothing_has_no_rate():
    log, control, _ = world(6, 10)
    nothing = Answers(np.zeros(0, np.int64), np.zeros((0, len(FEATURES))), np.zeros(0))
    _, found, _ = predict(log, control, {"silent": nothing}, Settings(resamples=100))
    assert (None, None) == (
        found["silent"].rates["acceptance_rate"].value,
        found["silent"].difference["acceptance_rate"].value,
    )
    assert 0.0 == found["silent"].rates["generation_rate"].value


def test_what_cannot_be_learned_from_is_refused():
    log, control, _ = world(6, 10)
    never = Log(log.users, log.answers, log.shown, 0 * log.accepted, log.taken, log.accepted_chars,
                log.typed_chars)  # fmt: skip
    with pytest.raises(ValueError, match="an accepted proposal"):
        predict(never, control, {}, Settings(resamples=100))
