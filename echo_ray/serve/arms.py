"""Sticky assignment of users to experiment arms. Pure: no state, no table of users.

A user's arm depends on nothing but the salt, the user and the weights, so every gateway, the simulator
and a later analysis agree on it. Arms lie on [0, 1) in name order; when weights change, only the users
between an old and a new boundary move. Not covered: exposure caps and mutually exclusive experiments.
"""

from collections.abc import Mapping

from echo_ray import rng


def assign(user: str, weights: Mapping[str, float], salt: str = "1") -> str:
    """Arm of `user`; `weights` are relative and positive. Raises ValueError when there are no arms."""
    if not weights:
        raise ValueError("there are no arms to assign a user to")
    names = sorted(weights)
    point = rng.unit(0, "arm", salt, user) * sum(weights.values())
    for name in names:
        point -= weights[name]
        if point < 0:
            return name
    return names[-1]  # rounding can leave a point of 1e-17 past the last boundary
