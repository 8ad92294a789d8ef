"""What a data card says, as plain values: figures of one data set, its funnel, and samples to look at.

One pass over narrow columns of the shards fills counters (a table never is in memory), a second reads the few
rows that are shown. Columns are found by name; a figure whose column is not there is None, so that the folder
of any stage has a card. "Before" is what came into `balance`, "after" what it made of it, in copies.

Invariants: users are counted and never named; all code is masked (`jobs.shown`); the samples shown are drawn
by their id, so another order or another number of shards shows the same ones.
"""

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from echo_ray.ledger import accounts, rows
from echo_ray.ledger.folders import Folder, Lineage
from echo_ray.ledger.reasons import stage_of
from echo_ray.rng import unit
from echo_ray.stages.surprisal import edge
from jobs import card_samples
from jobs.card_samples import KEPT

KIND = "echo_ray data card"
TOKEN_EDGES = (0, 1, 3, 5, 9, 17, 33, 65)
"""Lowest lengths of the bars (tokens): void, 1 to 2, ..., 65 and more."""
_NARROW = (
    *("sample_id", "user", "language", "drop", "target", "target_tokens", "perplexity", "band", "copies"),
    *("human_chars", "model_chars", "pasted_chars", "confidence"),
)
_BARS_PER_FACTOR = 6
"""Bars of the perplexity chart between a value and ten times it."""


@dataclass(slots=True)
class Tally:
    """Counters over the rows of a data set."""

    rows: int = 0
    columns: set[str] = field(default_factory=set)
    reasons: Counter[str] = field(default_factory=Counter)
    languages: dict[str, Counter[str]] = field(
        default_factory=lambda: {"before": Counter(), "after": Counter()}
    )
    tokens: dict[str, Counter[int]] = field(default_factory=lambda: {"before": Counter(), "after": Counter()})
    bands: dict[str, Counter[str]] = field(default_factory=lambda: {"before": Counter(), "after": Counter()})
    perplexity: dict[str, Counter[int]] = field(
        default_factory=lambda: {"before": Counter(), "tail": Counter(), "after": Counter()}
    )
    chars: Counter[str] = field(default_factory=Counter)
    confidence: Counter[str] = field(default_factory=Counter)
    users: Counter[str] = field(default_factory=Counter)
    drawn: dict[str, list[tuple[float, str, str, int]]] = field(default_factory=dict)
    """By reason, the samples with the smallest draws: (minus draw, id, file, row)."""

    def add(self, row: Mapping[str, Any], path: str, number: int, seed: int, examples: int) -> None:
        """Count one row."""
        self.rows += 1
        drop = row["drop"]
        copies = row["copies"] if row["copies"] is not None else int(drop is None)
        self.reasons[drop or KEPT] += 1
        self._draw(drop or KEPT, row["sample_id"] or "", path, number, seed, examples)
        if drop is None or stage_of(drop) == "balance":
            self._count("before", row, 1)
            if drop == "perplexity_tail" and row["perplexity"] is not None:
                self.perplexity["tail"][_bar(row["perplexity"])] += 1
        if drop is None:
            self._count("after", row, copies)
            self.users[row["user"] or ""] += copies
            self.confidence[row["confidence"] or "unknown"] += copies
            for name in ("human_chars", "model_chars", "pasted_chars"):
                self.chars[name] += (row[name] or 0) * copies

    def _count(self, when: str, row: Mapping[str, Any], weight: int) -> None:
        target = row["target"]
        self.languages[when][row["language"] or "unknown"] += weight
        if row["band"] is not None:
            self.bands[when][row["band"]] += weight
        tokens = row["target_tokens"]
        if target is not None:
            size = tokens if tokens is not None else -(-len(target) // 4)
            self.tokens[when][max(1, size) if target else 0] += weight
        if row["perplexity"] is not None and target:
            self.perplexity[when][_bar(row["perplexity"])] += weight

    def _draw(self, reason: str, sample: str, path: str, number: int, seed: int, examples: int) -> None:
        held = self.drawn.setdefault(reason, [])
        item = (-unit(seed, "card", sample), sample, path, number)
        if len(held) < examples:
            heapq.heappush(held, item)
        elif examples and item > held[0]:
            heapq.heapreplace(held, item)


def _bar(perplexity: float) -> int:
    """Number of the perplexity bar."""
    return int(_BARS_PER_FACTOR * math.log10(max(1.0, min(perplexity, 1e6))) + 1e-9)


def count(paths: Sequence[Path], seed: int, examples: int, done: Any = None) -> Tally:
    """One pass over the shards; `done`, if given, is called after each."""
    tally = Tally()
    for path in paths:
        tally.columns |= set(pq.read_schema(path).names)
        number = 0
        for batch in rows.batches(path, _NARROW):
            for row in batch.to_pylist():
                tally.add(row, str(path), number, seed, examples)
                number += 1
        if done is not None:
            done()
    return tally


def figures(folder: Folder, lineage: Lineage, tally: Tally) -> dict[str, Any]:
    """Value of `card.json`."""
    chain = lineage.chain(folder)
    audits = accounts.audit(Lineage(lineage.root, tuple(chain)))
    manifest = folder.manifest
    return {
        "kind": KIND,
        "version": "1",
        "stage": folder.stage,
        "folder": str(folder.path),
        "data_set": manifest.fingerprint,
        "rows": tally.rows,
        "samples": tally.reasons[KEPT],
        "copies": sum(tally.languages["after"].values()),
        "balanced": "copies" in tally.columns,
        "funnel": [_stage(account) for account in audits],
        "agrees": not any(account.problems for account in audits),
        "problems": [f"{one.folder.path}: {text}" for one in audits for text in one.problems],
        "checked_rows": sum(account.rows for account in audits),
        "reasons": card_samples.reasons(tally.reasons, tally.drawn),
        "languages": _pairs(tally.languages),
        "lengths": _lengths(tally),
        "bands": _pairs(tally.bands) if tally.bands["before"] else None,
        "perplexity": _perplexity(tally, manifest.notes.get("plan", {})),
        "voids": _voids(tally, manifest.notes.get("plan", {}), manifest.config),
        "chars": dict(tally.chars) if "human_chars" in tally.columns else None,
        "confidence": dict(tally.confidence.most_common()) if "confidence" in tally.columns else None,
        "users": _users(tally.users),
        "models": _models(chain),
        "stages": [_settings(one) for one in chain],
        "erased": _erased(chain),
    }


def _stage(account: accounts.Account) -> dict[str, Any]:
    return {
        "stage": account.folder.stage,
        "rows": account.rows,
        "kept": account.kept,
        "dropped": account.new_drops,
        "unit": "requests" if account.folder.stage == "log" else "samples",
    }


def _pairs(counters: Mapping[str, Counter[str]]) -> list[dict[str, Any]]:
    names = sorted(counters["before"], key=lambda name: (-counters["before"][name], name))
    return [
        {"name": name, "before": counters["before"][name], "after": counters["after"][name]} for name in names
    ]


def _lengths(tally: Tally) -> dict[str, Any] | None:
    """Target lengths: bars, and quantiles of those that are not empty."""
    if not tally.tokens["before"]:
        return None
    tops = [*TOKEN_EDGES[1:], None]
    bars = []
    for low, high in zip(TOKEN_EDGES, tops, strict=True):
        name = (
            "void"
            if not low
            else f"{low}+"
            if high is None
            else str(low)
            if high == low + 1
            else f"{low}\N{EN DASH}{high - 1}"
        )
        within = {
            when: sum(n for size, n in counter.items() if size >= low and (high is None or size < high))
            for when, counter in tally.tokens.items()
        }
        bars.append({"name": name, **within})
    return {
        "counted": "target_tokens" in tally.columns,
        "bars": bars,
        "quantiles": {when: _quantiles(counter) for when, counter in tally.tokens.items()},
    }


def _quantiles(counter: Mapping[int, int]) -> dict[str, int | None]:
    sizes = sorted((size, number) for size, number in counter.items() if size)
    total = sum(number for _, number in sizes)
    found: dict[str, int | None] = {}
    for name, share in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        seen, found[name] = 0, None
        for size, number in sizes:
            seen += number
            if seen >= share * total:
                found[name] = size
                break
    return found


def _perplexity(tally: Tally, plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """Perplexity of targets that are not empty: bars of equal factors, and where each band's tail begins."""
    before = tally.perplexity["before"]
    if not before:
        return None
    factor = 10 ** (1 / _BARS_PER_FACTOR)
    bars = [
        {"low": round(factor**place, 3), "high": round(factor ** (place + 1), 3)}
        | {when: counter[place] for when, counter in tally.perplexity.items()}
        for place in range(min(before), max(before) + 1)
    ]
    tails = {band: round(edge(first), 2) for band, first in (plan.get("tails") or {}).items()}
    return {"bars": bars, "tails": tails}


def _voids(tally: Tally, plan: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Silence: its share before and after, and what the schedule asked for (voids for each other copy)."""
    if not tally.tokens["before"]:
        return None
    found: dict[str, Any] = {
        "asked": plan.get("ratio"),
        "pivot": config.get("void_pivot"),
        "at_pivot": config.get("void_ratio"),
    }
    for when, counter in tally.tokens.items():
        voids, total = counter[0], sum(counter.values())
        found[when] = {
            "voids": voids,
            "others": total - voids,
            "ratio": voids / (total - voids) if total > voids else None,
        }
    return found


def _users(users: Counter[str]) -> dict[str, Any]:
    """How many persons, and whether few of them are most of it; nobody is named."""
    total = sum(users.values())
    known = Counter({name: number for name, number in users.items() if name and number})
    top = known.most_common(1)
    squares = sum((number / total) ** 2 for number in known.values()) if total else 0.0
    return {
        "count": len(known),
        "largest_share": top[0][1] / total if top and total else None,
        "as_good_as": 1 / squares if squares else None,
        "unknown": users[""],
    }


def _models(chain: Sequence[Folder]) -> list[dict[str, Any]]:
    """Teachers and judges with what they cost."""
    found = []
    for folder in chain:
        for role in ("teacher", "judge"):
            told = folder.manifest.notes.get(role)
            if isinstance(told, Mapping):
                found.append({"role": role, "stage": folder.stage, **told})
    return found


def _settings(folder: Folder) -> dict[str, Any]:
    manifest = folder.manifest
    plain = {key: value for key, value in manifest.config.items() if not isinstance(value, dict | list)}
    return {
        "stage": manifest.stage,
        "data_set": manifest.fingerprint,
        "made_from": manifest.input_fingerprint,
        "code": manifest.code,
        "engine": manifest.engine,
        "seconds": manifest.seconds,
        "config": plain,
    }


def _erased(chain: Sequence[Folder]) -> list[dict[str, Any]]:
    """Erasures that this data set has been through."""
    entries = chain[-1].manifest.notes.get("erased", [])
    return [{"at": entry["at"], "rows": entry["rows"]} for entry in entries]
