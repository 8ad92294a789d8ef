"""Settings that name a model folder may name a version in a registry: `REGISTRY@champion` is its folder."""

from collections.abc import Collection
from typing import Any

from echo_ray import models, registry
from echo_ray.serve.config import Arm
from jobs.settings import RunConfig

MODELS = (
    *("serve.model", "pack.model", "train.model", "perplexity.model", "search.model", "export.model"),
    *("experiment.base", "experiment.echo"),
)
"""Settings that name a model folder. `evaluate.models` is looked up where its labels are made."""


def resolved(config: RunConfig, sections: Collection[str]) -> RunConfig:
    """`config` with the references in `sections` replaced by folders, looked up once for the whole command.

    Raises ConfigError, naming the setting, for a registry, version or alias that is not there.
    """
    changes: dict[str, Any] = {}
    for key in MODELS:
        name, field = key.split(".")
        section = changes.get(name, getattr(config, name))
        reference = getattr(section, field)
        if name in sections and reference is not None and "@" in str(reference):
            changes[name] = section.updated(**{field: registry.resolve(reference, key)})
    if "serve" in sections and config.serve.arms:
        serve = changes.get("serve", config.serve)
        arms = {name: _arm(name, arm) for name, arm in serve.arms.items()}
        changes["serve"] = serve.updated(arms={name: arm.model_dump() for name, arm in arms.items()})
    return config.updated(**changes) if changes else config


def from_one_base(config: RunConfig) -> RunConfig:
    """`config` with the model that is served as that of every stage that names none; the bundled base when
    nothing names one.
    """
    base = config.serve.model or models.BASE
    return config.updated(
        pack={**config.pack.model_dump(), "model": config.pack.model or base},
        perplexity={**config.perplexity.model_dump(), "model": config.perplexity.model or base},
        train={**config.train.model_dump(), "model": config.train.model or base},
        experiment={**config.experiment.model_dump(), "base": config.experiment.base or base},
    )


def _arm(name: str, arm: Arm) -> Arm:
    if arm.model is None or "@" not in str(arm.model):
        return arm
    return arm.updated(model=registry.resolve(arm.model, f"serve.arms.{name}.model"))
