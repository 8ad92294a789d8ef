"""Histograms that may be summed, and the shares and quantiles read from them.

A histogram over `n` edges has `n + 1` cells: below the first edge, from each edge to the next, and from the
last edge on. Shares at an edge are exact; a quantile is interpolated within its cell, exact for whole
numbers that have a cell of their own. All functions take histograms with leading axes (resamples).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Columns = dict[str, Array]
"""Additive vectors by name. With leading axes they are several sums at once (resamples)."""


def log_edges(low: float, high: float, per_decade: int, also: tuple[float, ...] = ()) -> Array:
    """Bin edges, equally spaced in the logarithm, with `also` among them."""
    count = round(np.log10(high / low) * per_decade)
    edges = set(np.round(np.geomspace(low, high, count + 1), 9).tolist()) | set(map(float, also))
    return np.array(sorted(edges))


SIZE_EDGES = np.concatenate([np.arange(51.0), log_edges(60, 1e6, 20, (200.0,))])
"""Whole numbers up to 50 have bins of their own."""


def histogram(edges: Array, values: Any) -> Array:
    """Counts below the first edge, from each edge to the next, and from the last edge on."""
    places = np.searchsorted(edges, np.asarray(values, dtype=np.float64), side="right")
    return np.bincount(places, minlength=len(edges) + 1).astype(np.float64)


def at_least(edges: Array, counts: Array, value: float) -> Any:
    """Share of values of `value`, which is one of the edges, or more; NaN of nothing."""
    place = int(np.searchsorted(edges, value))
    return ratio(counts[..., place + 1 :].sum(axis=-1), counts.sum(axis=-1))


def quantile(edges: Array, counts: Array, level: float) -> Any:
    """The `level` quantile, interpolated within its bin; exact for whole numbers in bins of their own."""
    counts = np.asarray(counts, dtype=np.float64)
    total = counts.sum(axis=-1)
    running = np.cumsum(counts, axis=-1)
    wanted = np.maximum(level * total, 1e-9)
    place = np.minimum((running < wanted[..., None] - 1e-9).sum(axis=-1), len(edges))
    low = np.where(place == 0, 0.0, edges[np.maximum(place - 1, 0)])
    high = edges[np.minimum(place, len(edges) - 1)]
    held = np.take_along_axis(counts, place[..., None], axis=-1)[..., 0]
    before = np.take_along_axis(running, place[..., None], axis=-1)[..., 0] - held
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.clip((wanted - before) / held, 0.0, 1.0)
    whole = (low == np.floor(low)) & (high - low == 1) & (edges[0] == 0)
    found = np.where(whole, low, low + part * (high - low))
    return np.where(total > 0, found, np.nan)


def ratio(part: Any, whole: Any) -> Any:
    """`part / whole`, NaN of nothing; arrays or numbers."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.asarray(whole) > 0, np.divide(part, whole), np.nan)
