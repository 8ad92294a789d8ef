"""From a study's settings to its steps, in order, with everything that arms share present once. Pure.

A step is a stage with its settings and its inputs. Its folder is named by all three, so two arms that share
mining share the folder, two studies that write to one place share it too, and changed settings lead to new
folders while the old ones stay. (Within a folder the manifests decide as always whether work is done.)
Training seeds make steps of their own from `train` on, and earlier where a trained model answered.

What is measured of an arm is measured once; comparisons are between measurements. All arms of a population
meet the same developers with the same draws, so each comparison is one of twins under common random numbers.

Not covered: doing it, and how long it takes.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from echo_ray.config import build, fingerprint
from echo_ray.errors import ConfigError
from jobs.settings import RunConfig
from jobs.study_config import BASE, PARTS, Arm, Population
from jobs.study_stages import BALANCE_OFF, SECTIONS, SELECT_OFF, VERIFY_OFF, check_sections, check_sources

Settings = Mapping[str, Mapping[str, Any]]
"""Settings that differ from the run's, by section; section `control` is the step's own."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of a study."""

    name: str
    """Unique in the plan, and the name of the folder under `study.output`."""
    stage: str
    settings: Settings = field(compare=False)
    """What differs from the run's own settings."""
    inputs: Mapping[str, str] = field(compare=False)
    """Steps by what they are to this one: `input`, `model`, `donors`, `tokens`, `control`, `treatment`, or
    the name of an arm."""
    arms: tuple[str, ...] = ()
    """Arms that need it, in the order of the settings."""
    seed: int | None = None
    """Training seed; None before training."""
    population: str | None = None
    """Who is measured or compared."""


@dataclass(frozen=True, slots=True)
class Places:
    """Which step made what, by name."""

    trained: Mapping[tuple[str, int], str]
    """`train` of an arm and seed."""
    measured: Mapping[tuple[str, int, str], str]
    """`measure` of an arm (also `base`), seed and population."""
    benches: Mapping[int, str]
    """`evaluate` of a seed."""


def places(config: RunConfig) -> Places:
    """Where `plan` puts the results of each arm."""
    study, built = config.study, _Builder(config)
    arms = [arm.name for arm in study.arms if "simulated" in study.measured(arm)]
    arms += [BASE] if _compares_base(config) else []
    return Places(
        trained={(arm.name, seed): built.trained(arm, seed) for arm in study.arms for seed in study.seeds},
        measured={
            (name, seed, population.name): built.measured(name, seed, population)
            for name in arms
            for seed in study.seeds
            for population in study.populations
        },
        benches={seed: name for seed in study.seeds if (name := built.benched(seed)) is not None},
    )


def plan(config: RunConfig) -> tuple[Step, ...]:
    """All steps of the study, each after its inputs; the same for equal settings.

    Raises ConfigError for a study without arms, and for settings of an arm that no stage has.
    """
    study = config.study
    if not study.arms:
        raise ConfigError("study.arms is empty: name at least one arm")
    check_sections(study.arms)
    check_sources(config)
    build_ = _Builder(config)
    for arm in study.arms:
        for seed in study.seeds:
            build_.trained(arm, seed)
    simulated = [arm for arm in study.arms if "simulated" in study.measured(arm)]
    for population in study.populations:
        for seed in study.seeds:
            for name in ([BASE] if _compares_base(config) else []) + [arm.name for arm in simulated]:
                build_.measured(name, seed, population)
            for contrast in study.contrasts:
                build_.compared(contrast.treatment, contrast.control, seed, population)
    for seed in study.seeds:
        build_.benched(seed)
    return build_.steps()


def counts(steps: tuple[Step, ...]) -> dict[str, int]:
    """Steps by stage, in the order in which stages first come."""
    return dict(Counter(step.stage for step in steps))


def as_rows(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    """The plan as plain values, for `plan.json`."""
    return [
        {
            "name": step.name,
            "stage": step.stage,
            "inputs": dict(step.inputs),
            "settings": {section: dict(values) for section, values in step.settings.items()},
            "arms": list(step.arms),
            "seed": step.seed,
            "population": step.population,
        }
        for step in steps
    ]


def _compares_base(config: RunConfig) -> bool:
    return any(BASE in (one.treatment, one.control) for one in config.study.contrasts)


class _Builder:
    """Steps by what they are; asking for one twice gives the first."""

    def __init__(self, config: RunConfig) -> None:
        self._config, self._study = config, config.study
        self._steps: dict[str, Step] = {}
        self._arms: dict[str, set[str]] = {}
        self._sections: dict[str, dict[str, Any]] = config.model_dump(by_alias=True)

    def steps(self) -> tuple[Step, ...]:
        order = [BASE, *(arm.name for arm in self._study.arms)]
        return tuple(
            replace(step, arms=tuple(sorted(self._arms[step.name], key=order.index)))
            for step in self._steps.values()
        )

    def trained(self, arm: Arm, seed: int) -> str:
        packed = self._packed(arm, seed)
        if arm.tokens_of is not None:
            other = self._packed(self._study.arm(arm.tokens_of), seed)
            inputs = {"input": packed, "tokens": other}
            packed = self._add("match", inputs, self._control(), arm)
        inputs = {"input": packed} | self._model(arm.start_from, seed)
        settings = {"train": {**arm.settings.get("train", {}), "seed": seed}}
        return self._add("train", inputs, settings, arm, seed)

    def measured(self, name: str, seed: int, population: Population) -> str:
        settings: Settings = {
            "simulate": {**population.simulate, "users": population.users},
            "control": {"split": "heldout"},
        }
        of = None if name == BASE else seed
        arm = None if name == BASE else self._study.arm(name)
        return self._add("measure", self._model(name, seed), settings, arm or name, of, population.name)

    def compared(self, treatment: str, control: str, seed: int, population: Population) -> str:
        inputs = {
            role: self.measured(name, seed, population)
            for role, name in (("control", control), ("treatment", treatment))
        }
        who = {"treatment": treatment, "control": control, "population": population.name}
        settings: Settings = {"control": who}
        return self._add("compare", inputs, settings, treatment, seed, population.name)

    def benched(self, seed: int) -> str | None:
        arms = [arm for arm in self._study.arms if "bench" in self._study.measured(arm)]
        if not arms:
            return None
        settings: Settings = {"simulate": {"users": self._study.bench_users}, "control": {"split": "heldout"}}
        log = self._add("experience", {}, settings, BASE)
        mined = self._add("mine", {"input": log}, {}, BASE)
        cut = self._add("distil", {"input": mined}, {}, BASE)
        bench = self._add("verify", {"input": cut}, {}, BASE)
        models = {arm.name: self.trained(arm, seed) for arm in arms}
        return self._add("evaluate", {"input": bench, **models}, {}, BASE, seed)

    def _packed(self, arm: Arm, seed: int) -> str:
        data = self._own(arm, seed) if arm.samples in ("static", "same_files") else self._mixed(arm, seed)
        return self._stage("pack", data, arm)

    def _own(self, arm: Arm, seed: int) -> str:
        files = (
            self._sources(arm)
            if arm.samples == "static"
            else self._add("documents", {"input": self._mined(arm, seed)}, {}, arm)
        )
        control = self._control(cuts=self._study.static_cuts)
        return self._add("static", {"input": files}, control, arm)

    def _mixed(self, arm: Arm, seed: int) -> str:
        """Balanced samples of an arm that learns from the log."""
        data = self._mined(arm, seed)
        if arm.samples == "raw_log":
            data = self._add("raw_log", {"input": data}, {}, arm)
        if arm.paste_share:
            inputs = {"input": data, "donors": self._sources(arm)}
            data = self._add("paste_noise", inputs, self._control(share=arm.paste_share), arm)
        if arm.target == "intent":
            data = self._stage("distil", data, arm)
        else:
            stage = {"whole": "whole_commits", "accepted": "accepted_text"}[arm.target]
            data = self._add(stage, {"input": data}, {}, arm)
        off: Settings = {} if arm.verified else {"verify": VERIFY_OFF}
        data = self._stage("verify", data, arm, off)
        data = self._stage("select", data, arm, {} if arm.selected else {"select": SELECT_OFF})
        off = {} if "perplexity" in arm.proportions else {"perplexity": {"backend": "none"}}
        data = self._stage("perplexity", data, arm, off)
        left_out = [part for part in PARTS if part not in arm.proportions]
        natural = {key: value for part in left_out for key, value in BALANCE_OFF[part].items()}
        data = self._stage("balance", data, arm, {"balance": natural} if natural else {})
        if arm.placebo != "none":
            data = self._add(arm.placebo, {"input": data}, self._control(), arm)
        if arm.size is not None:
            data = self._add("subset", {"input": data}, self._control(samples=arm.size), arm)
        return data

    def _mined(self, arm: Arm, seed: int) -> str:
        settings: dict[str, dict[str, Any]] = {"control": {"split": "train"}}
        if "simulate" in arm.settings:
            settings["simulate"] = arm.settings["simulate"]
        log = self._add("experience", self._model(arm.log_of, seed), settings, arm, self._seed_of(arm, seed))
        return self._stage("mine", log, arm)

    def _sources(self, arm: Arm) -> str:
        simulate = self._config.simulate
        own: dict[str, Any] = {"sources": self._study.static_sources, "languages": simulate.languages}
        if simulate.max_files != type(simulate)().max_files:
            own["max_files"] = simulate.max_files
        return self._add("sources", {}, {"control": own}, arm)

    def _model(self, name: str, seed: int) -> dict[str, str]:
        return {} if name == BASE else {"model": self.trained(self._study.arm(name), seed)}

    def _seed_of(self, arm: Arm, seed: int) -> int | None:
        return None if arm.log_of == BASE else seed

    def _stage(self, stage: str, data: str, arm: Arm, off: Settings | None = None) -> str:
        """A stage on `data`, as the arm wants it; what the arm says itself wins over what `off` says."""
        settings: dict[str, dict[str, Any]] = {}
        for section in SECTIONS[stage]:
            found = {**(off or {}).get(section, {}), **arm.settings.get(section, {})}
            if found:
                settings[section] = found
        return self._add(stage, {"input": data}, settings, arm)

    def _control(self, **values: Any) -> Settings:
        return {"control": {"seed": self._study.draw_seed, **values}}

    def _add(
        self,
        stage: str,
        inputs: Mapping[str, str],
        settings: Settings,
        arm: Arm | str,
        seed: int | None = None,
        population: str | None = None,
    ) -> str:
        resolved = {
            section: self._resolved(section, settings.get(section, {})) for section in SECTIONS.get(stage, ())
        }
        own = dict(settings.get("control", {}))
        mark = {"stage": stage, "inputs": dict(inputs), "settings": resolved, "control": own}
        name = f"{stage.replace('_', '-')}-{fingerprint(mark)[:10]}"
        owner = arm if isinstance(arm, str) else arm.name
        self._arms.setdefault(name, set()).add(owner)
        if name not in self._steps:
            self._steps[name] = Step(name, stage, settings, inputs, (), seed, population)
        return name

    def _resolved(self, section: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What decides the result: the section with the changes, without folders."""
        present = self._sections[section]
        attribute = "import_" if section == "import" else section
        kind = type(getattr(self._config, attribute))
        wanted = build(kind, {**present, **changes}, source=f"study.arms: settings of {section}")
        plain: dict[str, Any] = wanted.model_dump(mode="json", exclude={"input", "output"})
        return plain
