"""One served arm beside its counts: versions, clients, latency, how its two witnesses agree. Pure."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from echo_ray.experiment import exposures
from echo_ray.experiment.exposures import Exposures, Flags, Ints

LATENCY_MS = np.geomspace(0.1, 1e7, 1852)
"""Edges of the latency histogram: 1% wide, so that a quantile is known within 1%."""


@dataclass(slots=True)
class ArmFacts:
    """One arm beside its users' counts."""

    models: Counter[str] = field(default_factory=Counter)
    """Answered requests by model version; what was given up names none."""
    clients: Counter[str] = field(default_factory=Counter)
    witness: Counter[str] = field(default_factory=Counter)
    """Users by whose word counted: `events` or `stream`."""
    latency: Ints = field(default_factory=lambda: np.zeros(len(LATENCY_MS) + 1, np.int64))
    """Delivered answers by `LATENCY_MS`."""
    agreement: Counter[str] = field(default_factory=Counter)
    """Delivered proposals with text of users who report events: `both`, `only_events`, `only_stream`,
    `neither`; and by each witness `shown_*` and `accepted_*`."""
    first_ms: int | None = None
    last_ms: int | None = None

    def add(self, other: "ArmFacts") -> None:
        """Put the facts of disjoint users together."""
        for counter in ("models", "clients", "witness", "agreement"):
            getattr(self, counter).update(getattr(other, counter))
        self.latency = self.latency + other.latency
        firsts = [ms for ms in (self.first_ms, other.first_ms) if ms is not None]
        lasts = [ms for ms in (self.last_ms, other.last_ms) if ms is not None]
        self.first_ms, self.last_ms = min(firsts, default=None), max(lasts, default=None)


def quantile_ms(latency: Ints, level: float) -> float | None:
    """Latency that the share `level` of the answers do not exceed (ms, within 1%); None of no answers."""
    total = int(latency.sum())
    if not total:
        return None
    place = int(np.searchsorted(np.cumsum(latency), level * total))
    place = min(max(place, 1), len(LATENCY_MS) - 1)
    return float(np.sqrt(LATENCY_MS[place - 1] * LATENCY_MS[place]))


def facts_of(
    rows: pa.Table, mine: Flags, heard: Flags, reports: Flags, client: Exposures, stream: Exposures
) -> ArmFacts:
    """Facts about the rows of `mine`; `heard`: the client's word counts, `reports`: it reports anything."""
    own = rows.filter(pa.array(mine))
    delivered = exposures.flags_of(own["delivered"])
    versions = own["model"].filter(pa.array(delivered))
    facts = ArmFacts(models=_counter(versions), clients=_counter(own["client"]))
    users = own["user"].to_pylist()
    facts.witness["events"] = len({u for u, told in zip(users, heard[mine].tolist(), strict=True) if told})
    facts.witness["stream"] = len(set(users)) - facts.witness["events"]
    latency = pc.fill_null(own["latency_ms"], np.nan).to_numpy()[delivered]
    latency = latency[np.isfinite(latency) & (latency >= 0)]
    facts.latency = np.bincount(np.searchsorted(LATENCY_MS, latency), minlength=len(LATENCY_MS) + 1)
    if own.num_rows:
        span = pc.min_max(own["ts_ms"]).as_py()
        facts.first_ms, facts.last_ms = span["min"], span["max"]
    both = mine & reports & exposures.with_text(rows)
    by_client, by_stream = ((one.accepted | one.partial)[both] for one in (client, stream))
    facts.agreement.update(
        both=int((by_client & by_stream).sum()),
        only_events=int((by_client & ~by_stream).sum()),
        only_stream=int((by_stream & ~by_client).sum()),
        neither=int((~by_stream & ~by_client).sum()),
        shown_events=int(client.shown[both].sum()),
        shown_stream=int(stream.shown[both].sum()),
        accepted_events=int(client.accepted[both].sum()),
        accepted_stream=int(stream.accepted[both].sum()),
    )
    return facts


def _counter(column: pa.ChunkedArray) -> Counter[str]:
    counted = pc.value_counts(pc.fill_null(column, "unknown").combine_chunks()).to_pylist()
    return Counter({item["values"]: item["counts"] for item in counted})
