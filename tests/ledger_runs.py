"""A small run made by hand, stage by stage, with every fate in it: for tests of the ledger.

Requests, samples, cuts and token ids come from the real rules (`link`, `mine`, `distil`, `pack`). What
verify, select, perplexity and balance say is dealt out here, so that every reason is there
whatever those stages think of the code.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import models, schema
from echo_ray.config import fingerprint
from echo_ray.ledger import people
from echo_ray.link_table import link_table
from echo_ray.log import store
from echo_ray.manifest import MARKER, Manifest, input_fingerprint, read_manifest, write_manifest, write_table
from echo_ray.schema import Drop, EventType
from echo_ray.stages import distil, mine, pack

USERS = ("person-alder", "person-birch", "person-cedar", "person-dorn")
SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
MAIL = "jane.roe@mail-of-somebody.net"
CODE = f'''import os


def total(prices, rate):
    """Sum with tax."""
    result = sum(prices)
    if result < 0:
        raise ValueError("negative")
    return result * (1 + rate)


def connect():
    token = "{SECRET}"
    author = "{MAIL}"
    return os.environ.get("HOST", token)
'''
DEALT = (
    *(
        "",
        Drop.SECRET_TOKEN,
        Drop.NAME_UNDEFINED,
        "",
        Drop.PII_EMAIL,
        Drop.SYNTAX_ERROR,
        "",
        Drop.VOID_MISSING,
    ),
    *(Drop.SELECT_DUPLICATE, Drop.SELECT_GAP, "", Drop.PERPLEXITY_TAIL, Drop.LENGTH_BAND, ""),
)
"""Reasons that are dealt to the samples that still have none, in turn."""
_LATER = {Drop.SELECT_DUPLICATE: 1, Drop.SELECT_GAP: 1, Drop.PERPLEXITY_TAIL: 2, Drop.LENGTH_BAND: 2}


@dataclass(frozen=True)
class Run:
    """Where the run is, and what went into it."""

    root: Path
    requests: list[dict[str, Any]]
    events: list[dict[str, Any]]


def requests_of(users: Sequence[str]) -> list[dict[str, Any]]:
    """Two sessions of each user, who types CODE between two comments, every seventh key logged."""
    rows = []
    for number, user in enumerate(users):
        for session in range(2):
            for step, stop in enumerate(range(0, len(CODE), 7)):
                rows.append(
                    schema.REQUEST_DEFAULTS
                    | {
                        "request_id": f"r-{number}{session}-{step:03d}",
                        "user": user,
                        "file": f"f{session}.py",
                    }
                    | {
                        "session": f"{user}@day{session}",
                        "ts_ms": 10**9 * (2 * number + session) + 700 * step,
                    }
                    | {"prefix": f"# written by {user}\n{CODE[:stop]}", "suffix": "\n# end\n"}
                    | {
                        "proposal": CODE[stop : stop + 5 + step % 9],
                        "model": "base-0123456789",
                        "arm": "base",
                    }
                    | {"language": "python", "latency_ms": 100.0 + step, "client": "echo-test"}
                )
    return rows


def events_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every fourth proposal was shown, every eighth accepted."""
    events = []
    for place, row in enumerate(rows):
        named = {"request_id": row["request_id"], "user": row["user"], "ts_ms": row["ts_ms"] + 200}
        if place % 4 == 0:
            shown = {"type": EventType.SHOWN.value, "visible_ms": 800, "accepted_chars": None}
            events.append(named | shown)
        if place % 8 == 0:
            taken = {"type": EventType.ACCEPTED.value, "accepted_chars": 5, "visible_ms": None}
            events.append(named | taken)
    return events


def make(root: Path, users: Sequence[str] = USERS) -> Run:
    """The whole run below `root`: log, all stages, an export-less training with its model."""
    requests = requests_of(users)
    run = Run(root, requests, events_of(requests))
    log(root / "log", run.requests, run.events)
    stage("mine", root, "log", lambda table: mine.mine(table, mine.MineConfig()), schema.SAMPLE)
    stage("distil", root, "mine", lambda t: distil.distil(t, distil.DistilConfig()), schema.DISTILLED)
    stage("verify", root, "distil", verified, schema.VERIFIED)
    stage("select", root, "verify", selected, schema.SELECTED)
    stage("perplexity", root, "select", scored, schema.SCORED)
    stage("balance", root, "perplexity", balanced, schema.BALANCED)
    config = pack.PackConfig(model=models.BASE)
    stage("pack", root, "balance", lambda table: pack.pack(table, config), pack.PACKED)
    training(root / "train", root / "pack")
    return run


def log(folder: Path, requests: list[dict[str, Any]], events: list[dict[str, Any]], parts: int = 2) -> None:
    """A partitioned log as `import` leaves it, with a line in quarantine for every user."""
    (folder / "events").mkdir(parents=True)
    users = sorted({row["user"] for row in requests})
    for part in range(parts):
        chosen = [user for place, user in enumerate(users) if place % parts == part]
        table = pa.Table.from_pylist([r for r in requests if r["user"] in chosen], schema.REQUEST)
        store.write(folder / f"part-{part:04d}.parquet", [link_table(table)], schema.LOGGED)
        told = pa.Table.from_pylist([e for e in events if e["user"] in chosen], schema.EVENT)
        store.write(folder / "events" / f"part-{part:04d}.parquet", [told], schema.EVENT)
    with (folder / "quarantine.jsonl").open("w", encoding="utf-8") as file:
        for number, user in enumerate(users):
            text = json.dumps({"record": "request", "user": user, "prefix": CODE})[:200]
            entry = {"file": "a.jsonl", "line": number, "reason": "field ts_ms is missing", "text": text}
            file.write(json.dumps(entry | {"kind": "request", "rows": 1}) + "\n")
        torn = {"file": "a.jsonl", "line": 99, "reason": "not JSON", "text": '{"prefix": "def secret_of'}
        file.write(json.dumps(torn | {"kind": "other", "rows": 1}) + "\n")
    bad = len(users)
    counts = {
        "request": {"read": len(requests) + bad, "kept": len(requests), "merged": 0, "quarantined": bad},
        "event": {"read": len(events), "kept": len(events), "merged": 0, "quarantined": 0},
        "other": {"read": 1, "kept": 0, "merged": 0, "quarantined": 1},
    }
    notes = {"accounts": counts, "events": len(events), "quarantined": bad + 1, "quarantine_lines": bad + 1}
    _commit("log", folder, "raw", "feedfeedfeedfeed", len(requests), {}, schema.LOGGED, notes)


def stage(
    name: str,
    root: Path,
    source: str,
    rule: Callable[[pa.Table], pa.Table],
    columns: pa.Schema,
    **changes: Any,
) -> Path:
    """Run `rule` over the shards of `root/source` into `root/name`, as `data.run_stage` would."""
    folder, parent = root / changes.get("folder", name), root / source
    folder.mkdir(parents=True)
    rows_in, rows_out, drops = 0, 0, {}
    for path in sorted(parent.glob("*.parquet")):
        before = pq.read_table(path)
        after = rule(before).cast(columns)
        metadata = {b"rows_in": str(before.num_rows).encode(), b"facts": b"{}"}
        write_table(after.replace_schema_metadata(metadata), folder / path.name)
        rows_in, rows_out = rows_in + before.num_rows, rows_out + after.num_rows
        for reason in after["drop"].drop_null().to_pylist():
            drops[reason] = drops.get(reason, 0) + 1
    manifest = _commit(
        name,
        folder,
        str(parent),
        input_fingerprint(parent),
        rows_out,
        drops,
        columns,
        changes.get("notes", {}),
    )
    write_manifest(folder, replace(manifest, rows_in=rows_in))
    return folder


def _commit(
    name: str,
    folder: Path,
    source: str,
    before: str,
    rows: int,
    drops: dict[str, int],
    columns: pa.Schema,
    notes: dict[str, Any],
) -> Manifest:
    mark = fingerprint({"stage": name, "input": before, "folder": folder.name})
    (folder / MARKER).write_text(mark)
    described = {column.name: str(column.type) for column in columns}
    manifest = Manifest(
        name,
        mark,
        source,
        before,
        {},
        described,
        rows,
        rows,
        dict(sorted(drops.items())),
        0.1,
        "test",
        notes=notes,
    )
    write_manifest(folder, manifest)
    return manifest


def _dealt(table: pa.Table, when: int) -> tuple[list[str | None], list[str]]:
    """Reasons of the table after the stage number `when`, and what was dealt to every row."""
    known = table["drop"].to_pylist()
    hands = [DEALT[int(name[-3:]) % len(DEALT)] for name in table["sample_id"].to_pylist()]
    told = [hand if hand and _LATER.get(hand, 0) == when else None for hand in hands]
    return [old or (new and new.value) or None for old, new in zip(known, told, strict=True)], hands


def _widened(table: pa.Table, columns: pa.Schema, new: dict[str, list[Any]]) -> pa.Table:
    arrays = [
        pa.array(new[field.name], field.type) if field.name in new else table[field.name] for field in columns
    ]
    return pa.Table.from_arrays(arrays, schema=columns)


def verified(table: pa.Table) -> pa.Table:
    """Verdicts dealt out, with their spans in the target."""
    drops, _ = _dealt(table, 0)
    checks, evidence = [], []
    for earlier, drop, target in zip(
        table["drop"].to_pylist(), drops, table["target"].to_pylist(), strict=True
    ):
        if earlier is not None:
            checks.append(None)
            evidence.append(None)
            continue
        passed = {"check": "void", "verdict": "pass", "rule": "", "start": None, "stop": None, "note": ""}
        found = [passed]
        if drop is not None:
            category = drop.partition("_")[0].replace("secret", "secret")
            span = {"start": 0, "stop": min(8, len(target or ""))}
            found.append(
                passed | {"check": category, "verdict": "fail", "rule": "dealt", "note": "by hand"} | span
            )
        checks.append(found)
        evidence.append("dealt" if drop else "errors 0")
    return _widened(table, schema.VERIFIED, {"drop": drops, "checks": checks, "evidence": evidence})


def selected(table: pa.Table) -> pa.Table:
    """Gaps by session and document; a duplicate's twin is a sample of the first user."""
    drops, hands = _dealt(table, 1)
    gaps = [
        f"{session}/{file}"
        for session, file in zip(*(table[n].to_pylist() for n in ("session", "file")), strict=True)
    ]
    twins = [
        "r-00-000" if hand == Drop.SELECT_DUPLICATE and drop == hand else None
        for hand, drop in zip(hands, drops, strict=True)
    ]
    return _widened(table, schema.SELECTED, {"drop": drops, "gap": gaps, "twin": twins})


def scored(table: pa.Table) -> pa.Table:
    """Lengths and perplexities from the length of the target."""
    targets = [
        None if drop else target
        for drop, target in zip(table["drop"].to_pylist(), table["target"].to_pylist(), strict=True)
    ]
    tokens = [None if target is None else len(target) // 3 for target in targets]
    scores = [None if target is None else 1.5 + len(target) ** 1.5 / 10 for target in targets]
    return _widened(table, schema.SCORED, {"target_tokens": tokens, "perplexity": scores})


def balanced(table: pa.Table) -> pa.Table:
    """Bands by length; one or two copies of what is left."""
    drops, _ = _dealt(table, 2)
    bands: list[str | None] = []
    copies = []
    for earlier, drop, target in zip(
        table["drop"].to_pylist(), drops, table["target"].to_pylist(), strict=True
    ):
        size = len(target or "")
        band = "void" if not size else "short" if size < 8 else "medium" if size < 40 else "long"
        bands.append(None if earlier else band)
        copies.append(0 if drop else 1 + (band == "medium"))
    return _widened(table, schema.BALANCED, {"drop": drops, "band": bands, "copies": copies})


def training(folder: Path, packed: Path, keep_users: bool = True, **config: Any) -> None:
    """What `train` leaves: a model folder (its weights are a few bytes here), losses, and the manifest."""
    model = folder / "model"
    model.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (model / name).write_text(f"{name} of {folder.name}")
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    before = read_manifest(packed)
    assert before is not None
    users = [
        u
        for p in sorted(packed.glob("*.parquet"))
        for u in pq.read_table(p, columns=["user"])["user"].to_pylist()
    ]
    mark = fingerprint({"stage": "train", "input": before.fingerprint, "folder": folder.name})
    settings = {"epochs": 2, "seed": 0, "heldout_share": 0.0, "max_minutes": 0.0} | config
    held = [user for user in users if people.measured_only(user, settings)]
    if keep_users:
        people.write_users(folder, people.trained(packed, settings), mark)
    notes = {"base": "base-a477c622ba", "steps": 20, "model": str(model)}
    drops = {"heldout": len(held)} if held else {}
    write_manifest(
        folder,
        Manifest(
            "train", mark, str(packed), before.fingerprint, settings, {}, len(users), len(users) - len(held),
            drops, 1.0, "test", notes=notes,
        ),
    )  # fmt: skip
    (folder / MARKER).write_text(mark)
