"""The samples that a data card shows: a few of every reason, as masked pieces of code with what decided.

They are drawn by their id among the rows of their reason (`card_figures.Tally`); the rows themselves are read
here, for the few that were drawn. Context is cut to a few lines after it was masked.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echo_ray.ledger import rows
from echo_ray.ledger.reasons import meaning, stage_of
from jobs import shown
from jobs.explain_steps import hides

KEPT = "kept"
"""Stands where a reason stands for samples that have none."""
Drawn = Mapping[str, Sequence[tuple[float, str, str, int]]]
"""By reason: (minus draw, sample id, file, row)."""
_SHOWN = (
    *("sample_id", "request_id", "language", "prefix", "suffix", "commit", "target", "drop", "evidence"),
    *("checks", "twin", "band", "copies", "perplexity", "target_tokens", "end_reason", "cut_by"),
)
_CONTEXT_LINES, _CODE_LINES, _AFTER_LINES = 8, 14, 4
_LINE_CHARS = 160


def reasons(counts: Counter[str], chosen: Drawn) -> list[dict[str, Any]]:
    """Every reason with its number and its samples, most frequent first, what was kept last."""
    found = []
    for reason, number in sorted(counts.items(), key=lambda pair: (pair[0] == KEPT, -pair[1], pair[0])):
        drawn = sorted(chosen.get(reason, []), reverse=True)
        places = [rows.Place(Path(path), row) for _, _, path, row in drawn]
        found.append(
            {
                "reason": reason,
                "stage": None if reason == KEPT else stage_of(reason),
                "meaning": "trained on" if reason == KEPT else meaning(reason),
                "count": number,
                "examples": [example(row) for row in rows.read(places, _SHOWN)],
            }
        )
    return found


def example(row: Mapping[str, Any]) -> dict[str, Any]:
    """One sample in masked pieces: context, target before, in and after the span that decided, the rest."""
    commit, target = row["commit"] or "", row["target"]
    kept = target or ""
    check = _decided(row)
    start, stop = (check["start"], check["stop"]) if check and check["start"] is not None else (0, 0)
    middle = [kept[:start], kept[start:stop], kept[stop:]]
    rest = commit[len(kept) :] if commit.startswith(kept) else ""
    spans = [*hides(row), *([(start, stop)] if check and check["check"] in ("secret", "pii") else [])]
    before, *parts, after = shown.around(row["prefix"] or "", [*middle, rest], row["suffix"] or "", spans)
    pieces = dict(
        zip(("target_before", "span", "target_after", "rest"), map(_first_lines, parts), strict=True)
    )
    if target is None:  # nothing was cut: all of it is what the user left
        pieces["rest"] = _first_lines(parts[3].rstrip())
    return {
        "sample_id": row["sample_id"],
        "language": row["language"] or "unknown",
        "before": _last_lines(before),
        **pieces,
        "after": _first_lines(after, _AFTER_LINES),
        "silent": target == "" or (target is None and not commit.strip()),
        "why": _why(row, check),
        "copies": row["copies"],
    }


def _decided(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The finding that named the reason."""
    failed: list[Mapping[str, Any]] = [one for one in row["checks"] or [] if one["verdict"] == "fail"]
    return failed[0] if failed and stage_of(row["drop"] or "") == "verify" else None


def _why(row: Mapping[str, Any], check: Mapping[str, Any] | None) -> str:
    """A few words about what decided, with the pipeline's own numbers."""
    if check is not None:
        return ", ".join(filter(None, (check["rule"].replace("_", " "), check["note"])))
    drop = row["drop"] or ""
    if row["twin"]:
        return f"like sample {row['twin']}"
    if drop == "perplexity_tail" and row["perplexity"] is not None:
        return f"perplexity {row['perplexity']:,.1f}, band {(row['band'] or '').replace('_', ' ')}"
    if stage_of(drop) == "balance" and row["band"]:
        return f"band {row['band'].replace('_', ' ')}"
    if not drop and row["cut_by"]:
        return f"cut by {row['cut_by']}"
    return row["evidence"] or "" if stage_of(drop) == "verify" else ""


def _last_lines(text: str) -> str:
    lines = text.split("\n")
    return _short(lines[-_CONTEXT_LINES:])


def _first_lines(text: str, most: int = _CODE_LINES) -> str:
    lines = text.split("\n")
    return _short(lines) if len(lines) <= most else _short([*lines[:most], "\N{HORIZONTAL ELLIPSIS}"])


def _short(lines: Sequence[str]) -> str:
    return "\n".join(
        line if len(line) <= _LINE_CHARS else f"{line[:_LINE_CHARS]}\N{HORIZONTAL ELLIPSIS}" for line in lines
    )
