"""From a run's folders to the inputs of its report: tallies, funnel, losses, example samples."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from echo_ray import models
from echo_ray.config import fingerprint
from echo_ray.data import Manifest, read_manifest
from echo_ray.errors import SchemaError
from echo_ray.rng import unit
from echo_ray.text import head, tail
from jobs.report_inputs import Arm, Example, Inputs, Provenance, Stage, engines_here, machine_here
from jobs.settings import RunConfig
from simulator.rules import policy

EXAMPLES = 5


def inputs(config: RunConfig, folders: Mapping[str, Path], caveats: tuple[str, ...] = ()) -> Inputs:
    """Inputs of a report from the stage folders that exist; `experiment` must be one of them."""
    manifests = {name: _manifest(folder) for name, folder in folders.items()}
    tallies = {arm: _lines(folders["experiment"] / f"{arm}.jsonl") for arm in ("base", "echo")}
    versions = manifests["experiment"].notes["models"]
    training = manifests["train"].notes if "train" in manifests else {}
    curve = _lines(folders["train"] / "metrics.jsonl") if "train" in folders else []
    facts = ("steps", "tokens", "target_tokens", "padding_share", "first_loss", "last_loss", "heldout_loss")
    rule = policy.load(config.simulate.policy)
    return Inputs(
        base=Arm(versions["base"], tallies["base"]),
        echo=Arm(versions["echo"], tallies["echo"]),
        twins=manifests["experiment"].notes["design"] == "twins",
        language=", ".join(config.simulate.languages),
        policy=_named(rule),
        policy_hash=rule.hash,
        funnel=funnel(manifests),
        loss=losses(curve),
        seconds={name: manifest.seconds for name, manifest in manifests.items()},
        examples=examples(folders["balance"]) if "balance" in folders else [],
        provenance=Provenance(
            base_model_hash=models.version(config.experiment.base or models.BASE),
            config_fingerprint=fingerprint(config),
            seed=config.simulate.seed,
            machine=machine_here(),
            engines=engines_here(),
        ),
        training={name: training[name] for name in facts if training.get(name) is not None},
        caveats=caveats,
        resamples=config.experiment.resamples,
    )


def losses(curve: list[dict[str, Any]]) -> list[dict[str, float | int | None]]:
    """Points of the loss curve; step 0 is the model before training, known for held-out users only."""
    points: list[dict[str, float | int | None]] = [
        {"step": point["step"], "train": point["loss"], "held_out": point.get("heldout_loss")}
        for point in curve
    ]
    untrained = curve[0].get("heldout_loss_untrained") if curve else None
    return points if untrained is None else [{"step": 0, "train": None, "held_out": untrained}, *points]


def funnel(manifests: Mapping[str, Manifest]) -> list[Stage]:
    """What was left after each stage, and what each stage put aside by reason."""
    steps = []
    if "simulate" in manifests:
        steps.append(Stage("Requests logged", manifests["simulate"].rows_out, unit="requests"))
    labels = {"mine": "Gaps mined", "distil": "Distilled", "verify": "Verified", "select": "Selected"}
    labels["balance"] = "Balanced"
    earlier: dict[str, int] = {}
    for name, label in labels.items():
        if name in manifests:
            drops = manifests[name].drops
            more = {reason: count - earlier.get(reason, 0) for reason, count in drops.items()}
            new = {reason: count for reason, count in more.items() if count > 0}
            left = manifests[name].rows_out - sum(drops.values())
            steps.append(Stage(label, left, new))
            earlier = drops
    if "train" in manifests:
        trained, notes = manifests["train"], manifests["train"].notes
        steps.append(Stage("Trained on, repeats counted", trained.rows_out, trained.drops))
        steps.append(Stage("Target tokens trained on", notes["target_tokens"], unit="tokens"))
    return steps


def examples(folder: Path, count: int = EXAMPLES) -> list[Example]:
    """Samples to show, by keyed draw among the trained ones with a proposal that was not what was left."""
    wanted = [
        *("sample_id", "request_id", "language", "prefix", "suffix", "proposal", "commit"),
        *("target", "end_reason", "drop", "copies"),
    ]
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.parquet")):
        rows.extend(row for row in pq.read_table(path, columns=wanted).to_pylist() if row["copies"])
    told = [row for row in rows if row["proposal"] and row["target"] and row["proposal"] != row["target"]]
    rest = [row for row in rows if row not in told] if len(told) < count else []
    chosen = sorted(told, key=lambda row: unit(0, "example", row["sample_id"]))[:count]
    chosen += sorted(rest, key=lambda row: unit(0, "example", row["sample_id"]))[: count - len(chosen)]
    return [
        Example(
            request_id=row["request_id"],
            language=row["language"],
            context_tail=tail(row["prefix"], 400),
            context_head=head(row["suffix"], 160),
            proposal=row["proposal"],
            commit=row["commit"][:600],
            target=row["target"],
            end_reason=row["end_reason"],
            drop=row["drop"],
            copies=row["copies"],
        )
        for row in chosen
    ]


def _manifest(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    if manifest is None:
        raise SchemaError(f"{folder} holds no finished stage: run it first")
    return manifest


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _named(rule: policy.Policy) -> str:
    """The rule's name for people, with its calibrated shift if it has one."""
    return rule.name.upper() + (f" (shift {rule.shift:+.2f})" if rule.shift else "")
