"""The stages that a study runs: which settings decide each, how each is switched off, what is refused. Pure.

A stage that an arm leaves out still runs, with settings that let everything pass: so all arms have the same
columns and the same accounts of what became of each row. Exceptions are `distil` and `mine`, in whose place
a control stands (`echo_ray.controls`).
"""

from collections.abc import Mapping
from typing import Any

from echo_ray.errors import ConfigError
from jobs.settings import RunConfig
from jobs.study_config import Arm

SECTIONS = {
    "experience": ("simulate", "serve"),
    "measure": ("simulate", "serve"),
    "mine": ("import", "mine"),
    "distil": ("distil", "teacher"),
    "verify": ("verify", "judge"),
    "select": ("select",),
    "perplexity": ("perplexity", "pack"),
    "balance": ("balance",),
    "pack": ("pack",),
    "train": ("train",),
    "evaluate": ("evaluate", "pack"),
}
"""Sections that decide what a stage makes; stages that are not named have `control` alone."""
_CHECKS = ("void", "sentinel", "repeat", "syntax", "indentation", "names", "secrets", "personal", "malice")
VERIFY_OFF: Mapping[str, Any] = {**dict.fromkeys(_CHECKS, False), "judge": "none"}
"""`verify` that lets everything pass."""
_ANYTHING = 1_000_000
SELECT_OFF: Mapping[str, Any] = {
    "per_gap": _ANYTHING,
    "duplicates": False,
    "max_user_factor": _ANYTHING,
    "max_model_share": 1.0,
    "max_pasted_share": 1.0,
}
"""`select` that lets everything pass but users who are never trained on."""
BALANCE_OFF: Mapping[str, Mapping[str, Any]] = {
    "void": {"void_ratio": _ANYTHING, "void_exponent": 0.0},
    "length": {"max_copies": 1.0, "keep_at_least": 1.0},
    "perplexity": {"perplexity_quantile": 1.0, "tail_keep": 1.0},
}
"""`balance` that leaves one part of the mixture as it came, by part."""


def check_sections(arms: tuple[Arm, ...]) -> None:
    """Raise ConfigError for an arm's settings of a section that no step of a study reads."""
    known = sorted({section for sections in SECTIONS.values() for section in sections})
    for arm in arms:
        for section in arm.settings:
            if section not in known:
                raise ConfigError(
                    f"study.arms: arm {arm.name} has settings of {section!r}, which no step of a study "
                    f"reads; sections are {', '.join(known)}"
                )


def check_sources(config: RunConfig) -> None:
    """Raise ConfigError for static sources that somebody works on: an arm would learn what is measured."""
    worked_on = dict.fromkeys(config.simulate.sources, "simulate.sources")
    for arm in config.study.arms:
        for source in arm.settings.get("simulate", {}).get("sources", ()):
            worked_on.setdefault(source, f"arm {arm.name}")
    for population in config.study.populations:
        for source in population.simulate.get("sources", ()):
            worked_on.setdefault(source, f"population {population.name}")
    for source in config.study.static_sources:
        if source in worked_on:
            raise ConfigError(
                f"study.static_sources: {source} is what {worked_on[source]} works on: name another project"
            )
