"""From the folders of a study's steps to the plain value that `study_result` judges.

Reads what the steps left and computes what takes seconds: rates, comparisons of twins, volumes. Nothing here
looks at a sealed truth.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echo_ray import __version__, data, models
from echo_ray.config import fingerprint
from echo_ray.controls import facts
from echo_ray.controls.noise import NoiseConfig
from echo_ray.data import Manifest
from echo_ray.errors import SchemaError
from jobs.report_inputs import counted, engines_here, machine_here
from jobs.settings import RunConfig
from jobs.study_config import BASE, Arm
from jobs.study_measure import compared, measured
from jobs.study_plan import Places, Step, places
from jobs.study_run import LOG
from simulator.rules import policy

Value = dict[str, Any]


def results(config: RunConfig, steps: Sequence[Step], command: str) -> Value:
    """The `Results` of `study_result`, all steps being done. Raises SchemaError for one that is not."""
    return _Gathering(config, steps).results(command)


class _Gathering:
    """Looks up what the steps of one study left."""

    def __init__(self, config: RunConfig, steps: Sequence[Step]) -> None:
        self._config, self._study = config, config.study
        self._steps = {step.name: step for step in steps}
        self._places: Places = places(config)
        self._tallies = {
            key: counted(key[0], _lines(self._folder(name) / "tallies.jsonl"))
            for key, name in self._places.measured.items()
        }
        self._benches = {
            seed: _json(self._folder(name) / "evaluate.json") for seed, name in self._places.benches.items()
        }

    def results(self, command: str) -> Value:
        study, config = self._study, self._config
        rule = policy.load(config.simulate.policy)
        names = {name for name, *_ in self._places.measured}
        arms = [self._base()] if BASE in names else []
        return {
            "figure": study.figure,
            "title": study.title,
            "command": command,
            "seeds": list(study.seeds),
            "correction": study.correction,
            "policy": rule.name,
            "policy_hash": rule.hash,
            "machine": machine_here(),
            "seconds": sum(self._seconds()),
            "version": __version__,
            "model": models.version(config.train.model or config.serve.model or models.BASE),
            "settings": fingerprint(config),
            "engines": engines_here(),
            "experience": list(self._experience()),
            "arms": arms + [self._arm(arm) for arm in study.arms],
            "contrasts": list(self._contrasts()),
        }

    def _base(self) -> Value:
        return {
            "name": BASE,
            "about": "before training",
            "measured": self._measured(BASE, self._study.seeds[:1]),
        }

    def _arm(self, arm: Arm) -> Value:
        trained = self._steps[self._places.trained[arm.name, self._study.seeds[0]]]
        packed = self._steps[trained.inputs["input"]]
        volumes: Value = dict(facts.trained_on(_table(self._folder(packed.name))))
        # Some users' samples are packed and only measure the loss.
        own = self._manifest(trained.name)
        volumes |= {"samples": own.rows_out, "target_tokens": own.notes["target_tokens"]}
        control = self._manifest(packed.name).notes.get("control", {})
        volumes |= {key: control[key] for key in ("missing_tokens",) if key in control}
        return {
            "name": arm.name,
            "about": arm.about,
            "size": arm.size,
            "data": volumes,
            "facts": self._facts(arm, packed),
            "measured": self._measured(arm.name, self._study.seeds),
            "bench": list(self._bench(arm)),
        }

    def _measured(self, arm: str, seeds: Sequence[int]) -> list[Value]:
        return [
            measured(self._tallies[arm, seed, one.name], seed, one.name)
            for one in self._study.populations
            for seed in seeds
            if (arm, seed, one.name) in self._tallies
        ]

    def _contrasts(self) -> Iterator[Value]:
        for one in self._study.contrasts:
            for population in self._study.populations:
                for seed in self._study.seeds:
                    control, treatment = (
                        self._tallies[name, seed, population.name] for name in (one.control, one.treatment)
                    )
                    yield compared(
                        control,
                        treatment,
                        seed,
                        population.name,
                        primary=one.primary,
                        resamples=self._config.experiment.resamples,
                    )

    def _bench(self, arm: Arm) -> Iterator[Value]:
        """BLEU and exact match of the arm, by seed; the step's inputs are in the order of its models."""
        for seed, value in self._benches.items():
            asked = [role for role in self._steps[self._places.benches[seed]].inputs if role != "input"]
            if arm.name not in asked:
                continue
            group = value["groups"]["all"]
            found = group["models"][value["models"][asked.index(arm.name)]["label"]]
            yield {
                "seed": seed,
                "users": group["users"],
                "samples": group["samples"],
                **{
                    name: {key: found[name][key] for key in ("value", "ci95")}
                    for name in ("bleu", "exact_match")
                },
            }

    def _facts(self, arm: Arm, packed: Step) -> Value:
        """What is asked of some studies alone: noise that was found, signs that a model narrows."""
        behind = {step.stage: step for step in self._behind(packed)}
        found: Value = {}
        if arm.paste_share:
            noise = NoiseConfig(share=arm.paste_share, seed=self._study.draw_seed)
            noisy, balanced = (
                _table(self._folder(behind[stage].name)) for stage in ("paste_noise", "balance")
            )
            found |= facts.noise_found(noisy, balanced, noise)
        if self._study.figure == "loop":
            found["from_model"] = facts.from_model(_table(self._folder(behind["mine"].name)))
            found |= facts.diversity(self._answers(arm.name))
        return found

    def _answers(self, arm: str) -> list[str]:
        """What the model of the first seed said to the first population; as many as the arm with fewest."""
        seed, population = self._study.seeds[0], self._study.populations[0].name
        said = {
            name: _proposals(self._folder(place) / LOG)
            for (name, own, who), place in self._places.measured.items()
            if (own, who) == (seed, population)
        }
        return said[arm][: min(map(len, said.values()))]

    def _behind(self, step: Step) -> Iterator[Step]:
        while "input" in step.inputs:
            yield step
            step = self._steps[step.inputs["input"]]
        yield step

    def _experience(self) -> Iterator[Value]:
        """Who gave experience, and how much."""
        for step in self._steps.values():
            if step.stage == "experience":
                manifest = self._manifest(step.name)
                yield {
                    "split": step.settings["control"]["split"],
                    "users": manifest.config["users"],
                    "sources": manifest.config["sources"],
                    "requests": manifest.rows_out,
                }

    def _seconds(self) -> Iterator[float]:
        for step in self._steps.values():
            manifest = data.read_manifest(self._folder(step.name))
            yield manifest.seconds if manifest is not None else 0.0

    def _manifest(self, name: str) -> Manifest:
        manifest = data.read_manifest(self._folder(name))
        if manifest is None:
            raise SchemaError(f"{self._folder(name)} holds no finished step: run the study again")
        return manifest

    def _folder(self, name: str) -> Path:
        return self._study.output / name


def _proposals(log: Path) -> list[str]:
    """Delivered answers in the order of their request ids."""
    rows = [
        row
        for path in sorted(log.rglob("*.parquet"))
        for row in pq.read_table(path, columns=["request_id", "delivered", "proposal"]).to_pylist()
        if row["delivered"]
    ]
    return [row["proposal"] or "" for row in sorted(rows, key=lambda row: row["request_id"])]


def _table(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for unit in data.units_of(folder) for path in unit.paths)


def _lines(path: Path) -> list[Mapping[str, Any]]:
    return [json.loads(line) for line in _text(path).splitlines()]


def _json(path: Path) -> Value:
    value: Value = json.loads(_text(path))
    return value


def _text(path: Path) -> str:
    if not path.is_file():
        raise SchemaError(f"{path} is missing: run the study again")
    return path.read_text(encoding="utf-8")
