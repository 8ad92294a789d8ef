"""The mixtures that a search tries, and what comes out: pure, without Ray."""

import math
from typing import Any

import numpy as np
import yaml

from echo_ray.errors import StageError
from echo_ray.stages import balance as balancing
from jobs.search_config import SearchConfig
from jobs.search_trial import MIXTURE

BETTER = {"loss": "min", "exact_match": "max", "silence_f1": "max"}


def points(config: SearchConfig, present: balancing.BalanceConfig) -> list[dict[str, Any]]:
    """The mixtures to try, the present one first and second: settings of `balance`, seed of training."""
    shown = {name: getattr(present, name) for name in MIXTURE}
    found = [shown | {"number": n, "seed": config.seed + n} for n in range(2)]
    fresh = config.trials - len(found)
    draw = np.random.default_rng(config.seed)
    names = ("void_ratio", "short_share", "long_share", "tail_keep", "max_copies")
    # A Latin hypercube: each setting's range in as many parts as there are mixtures, each part used once.
    places = [(draw.permutation(fresh) + draw.random(fresh)) / fresh for _ in names]
    for number in range(fresh):
        point: dict[str, Any] = {}
        for name, place in zip(names, places, strict=True):
            low, high = getattr(config, name)
            if name == "void_ratio":
                value = math.exp(math.log(low) + place[number] * (math.log(high) - math.log(low)))
            else:
                value = low + place[number] * (high - low)
            point[name] = round(float(value), 4)
        point["medium_share"] = round(1 - point["short_share"] - point["long_share"], 4)
        found.append(point | {"number": number + 2, "seed": config.seed})
    return found


def summary(trials: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    """The best of the trials, and what it gains over the present mixture beside the noise.

    Raises StageError, with the first reason, when no trial has a value.
    """
    sign = 1 if BETTER[metric] == "max" else -1
    known = [trial for trial in trials if trial.get(metric) is not None]
    if not known:
        reason = next((trial["error"] for trial in trials if trial["error"]), f"nothing has a {metric}")
        raise StageError(f"no trial of the search gave a result: {reason}")
    best = max(known, key=lambda trial: (sign * trial[metric], -trial["number"]))
    present = [trial[metric] for trial in known if trial["number"] < 2]
    noise = abs(present[0] - present[1]) if len(present) == 2 else None
    here = sum(present) / len(present) if present else None
    gain = None if here is None else sign * (best[metric] - here)
    return {
        "metric": metric,
        "better": BETTER[metric],
        "best": best["number"],
        "present": here,
        "noise": noise,
        "gain": gain,
        "trials": trials,
    }


def mixture_file(found: dict[str, Any], present: balancing.BalanceConfig) -> str:
    """Text of a configuration file with the best mixture; what was not searched stays as it was."""
    best = next(trial for trial in found["trials"] if trial["number"] == found["best"])
    chosen = present.updated(**{name: best[name] for name in MIXTURE})
    shown = chosen.model_dump(mode="json", exclude={"input", "output"}, exclude_defaults=True)
    shown |= {name: best[name] for name in MIXTURE}
    told = ", ".join(
        f"{name} {found[name]:.4g}" for name in ("gain", "noise", "present") if found[name] is not None
    )
    return (
        f"# The best of {len(found['trials'])} mixtures by held-out {found['metric']}: {told}.\n"
        f"# A candidate for an experiment; a gain below the noise is none.\n"
        + yaml.safe_dump({"balance": shown}, sort_keys=False)
    )
