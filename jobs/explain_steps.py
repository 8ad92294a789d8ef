"""What one stage did to one request, as plain values: the steps of `jobs.explain`.

Columns are read by name and may be missing: a folder of an older version, or of somebody else, tells less.
All code in a step is masked.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echo_ray import models
from echo_ray.ledger import people
from echo_ray.ledger.folders import Folder
from jobs import shown

Row = Mapping[str, Any]
Step = dict[str, Any]

ANCHOR_CHARS = 80
_HASHED_BYTES = 1 << 30
"""Models up to this size are named by their content (about a second per GB)."""
_HIDES = ("secret", "pii")
"""Checks whose spans are never shown."""


def of(folder: Folder, rows: Sequence[Row]) -> Step:
    """The step of the stage `folder`, of which `rows` are the request's."""
    row = rows[0]
    match folder.stage:
        case "log":
            step = logged(folder, row, row.get("events", []))
        case "mine":
            step = mined(row)
        case "distil":
            step = distilled(row)
        case "verify":
            step = verified(row)
        case "select":
            step = {key: row.get(key) for key in ("gap", "twin")}
        case "perplexity":
            step = {key: row.get(key) for key in ("target_tokens", "perplexity")}
        case "balance":
            step = {key: row.get(key) for key in ("band", "copies", "target_tokens", "perplexity")}
        case _:
            step = packed(rows)
    return _head(folder) | step


def _head(folder: Folder) -> Step:
    manifest = folder.manifest
    return {
        "stage": folder.stage,
        "folder": str(folder.path),
        "data_set": manifest.fingerprint,
        "made_from": manifest.input_fingerprint,
    }


def logged(folder: Folder | None, row: Row, events: Sequence[Row]) -> Step:
    """The request as it was logged; `folder` is None for a log that is not imported.

    A `commit` in `row`, from the miner, only helps to mask: a request may come in the middle of a secret.
    """
    wanted = ("ts_ms", "user", "session", "file", "language", "kind", "delivered", "model", "arm", "client")
    told = [
        {key: event.get(key) for key in ("type", "ts_ms", "accepted_chars", "visible_ms")} for event in events
    ]
    step: Step = {"stage": "log", "folder": None, "data_set": None, "made_from": None}
    before, after = _anchors(row)
    proposal = row.get("proposal")
    return (step if folder is None else _head(folder)) | {
        **{key: row.get(key) for key in wanted},
        "latency_ms": row.get("latency_ms"),
        "before": before,
        "after": after,
        "proposal": None if proposal is None else _middle(row, [proposal])[0],
        "events": sorted(told, key=lambda event: (event["ts_ms"], event["type"])),
    }


def mined(row: Row) -> Step:
    """What was left between the anchors."""
    wanted = ("end_reason", "snapshots", "confidence", "last_edit")
    written = ("human_chars", "model_chars", "pasted_chars", "accepted_chars")
    before, after = _anchors(row)
    commit = row.get("commit")
    end, start = row.get("end_ts_ms"), row.get("ts_ms")
    return {
        "before": before,
        "after": after,
        "commit": None if commit is None else _middle(row, [commit])[0],
        "commit_chars": None if commit is None else len(commit),
        **{key: row.get(key) for key in (*wanted, *written)},
        "end_ts_ms": end,
        "watched_ms": end - start if end is not None and start is not None else None,
    }


def distilled(row: Row) -> Step:
    """Every place where the target could have ended, and the one that was chosen."""
    commit, target = row.get("commit") or "", row.get("target")
    cuts = [
        {
            "rule": cut["rule"],
            "text": _middle(row, [commit[: cut["stop"]], commit[cut["stop"] :]])[0],
            "chosen": target is not None and commit[: cut["stop"]].rstrip() == target.rstrip(),
        }
        for cut in row.get("cuts") or []
    ]
    return {
        "target": None if target is None else _middle(row, [target])[0],
        "cut_by": row.get("cut_by"),
        "candidates": cuts,
    }


def verified(row: Row) -> Step:
    """Every check with what it looked at."""
    target = row.get("target") or ""
    checks = []
    for check in row.get("checks") or []:
        start, stop = check.get("start"), check.get("stop")
        around = None
        if start is not None and stop is not None and target:
            parts = _middle(row, [target[:start], target[start:stop], target[stop:]])
            around = dict(zip(("before", "span", "after"), parts, strict=True))
        checks.append(
            {key: check.get(key) for key in ("check", "verdict", "rule", "note")} | {"where": around}
        )
    return {"checks": checks, "evidence": row.get("evidence")}


def hides(row: Row) -> list[shown.Span]:
    """Spans of the target that a check for secrets or personal data found."""
    return [
        (check["start"], check["stop"])
        for check in row.get("checks") or []
        if check["check"] in _HIDES and check["verdict"] in ("fail", "unsure") and check["start"] is not None
    ]


def packed(rows: Sequence[Row]) -> Step:
    """The token rows of one sample."""
    kept = [row for row in rows if row.get("drop") is None]
    lengths = sorted({len(row["input_ids"]) for row in kept})
    prompts = sorted({row["prompt_tokens"] for row in kept})
    return {"rows": len(kept), "tokens": lengths, "prompt_tokens": prompts}


def trained(folder: Folder, rows: Sequence[Row]) -> Step:
    """How often a model saw the sample whose packed `rows` are given."""
    manifest = folder.manifest
    config = manifest.config
    kept = [row for row in rows if row.get("drop") is None]
    measured = any(people.measured_only(row.get("user") or "", config) for row in kept)
    return _head(folder) | {
        "model": str(folder.path / "model"),
        "version": version(folder.path / "model"),
        "base": manifest.notes.get("base"),
        "rows": 0 if measured else len(kept),
        "measured_rows": len(kept) if measured else 0,
        "epochs": config.get("epochs"),
        "cut_short": bool(config.get("max_minutes")),
        "steps": manifest.notes.get("steps"),
        "left": None,
    }


def exported(folder: Folder, rows: Sequence[Row]) -> Step:
    """Into which files for other trainers the sample went."""
    notes = folder.manifest.notes
    copies = sum(row.get("copies") or 0 for row in rows)
    return _head(folder) | {"format": notes.get("format"), "copies": copies, "left": None}


def version(model: Path) -> str | None:
    """Name of a model's content; None when it is not there, or too large to be read for a look."""
    weights = list(model.glob("*.safetensors"))
    if not weights or sum(path.stat().st_size for path in weights) > _HASHED_BYTES:
        return None
    return models.version(model)


def _anchors(row: Row) -> tuple[str, str]:
    """What stands on the line before the cursor, and on the line after it."""
    # What was left between them is masked with them: half a credential is not recognised as one.
    middle = row.get("commit") or ""
    before, _, after = shown.around(row.get("prefix") or "", [middle], row.get("suffix") or "")
    lines = before.splitlines(keepends=True)
    last = lines[-1] if lines else ""
    if not last.strip() and len(lines) > 1:
        last = "".join(lines[-2:])
    first = after.partition("\n")[0]
    if not first.strip():
        rest = after[len(first) :].lstrip("\n")
        first = after[: len(after) - len(rest)] + rest.partition("\n")[0]
    return last[-ANCHOR_CHARS:], first[:ANCHOR_CHARS]


def _middle(row: Row, middle: Sequence[str]) -> list[str]:
    """Pieces of the commit or target of `row`, masked within its document."""
    commit, whole = row.get("commit") or "", "".join(middle)
    rest = commit[len(whole) :] if commit.startswith(whole) else ""
    found = shown.around(row.get("prefix") or "", [*middle, rest], row.get("suffix") or "", hides(row))
    return found[1:-2]
