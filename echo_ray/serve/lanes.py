"""What answers a request: lanes (one per model version) and the plan that says which user goes where.

A plan is replaced as a whole, so a request sees the old one or the new one and nothing between.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from echo_ray.dialects.asked import Asked
from echo_ray.prompts import FastTokenizer, Template, template_for
from echo_ray.serve.arms import assign
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.engine import EngineSettings
from echo_ray.serve.proposals import Answer, Prompt


class Proposing(Protocol):
    """The engines of one version, as the gateway asks them (`engines`)."""

    @property
    def lines(self) -> int:
        """Engines that can be asked without Ray (count)."""

    async def propose(self, prompt: Prompt, session: str) -> Answer:
        """Complete a prompt of `session`; cancelling this ends the work. Raises ServeError."""

    async def check_health(self) -> None:
        """Raises ServeError when nobody would answer."""

    def close(self) -> None:
        """End the lines to the engines."""


@dataclass(frozen=True, slots=True)
class Lane:
    """All that one version needs to answer: its engine, its tokenizer and its sentinels."""

    version: str
    model: Path
    engine: "Proposing"
    tokenizer: FastTokenizer
    template: Template

    def prompt(self, config: ServeConfig, asked: Asked) -> Prompt:
        """What the engine is sent: the prompt that `pack` trains on."""
        tokens = self.template.render(
            self.tokenizer,
            asked.prefix,
            asked.suffix,
            config.context_tokens,
            config.suffix_share,
            asked.snippets if config.snippets else (),
            repository=asked.repository or "",
            path=asked.file or "",
        )
        return Prompt(
            version=self.version,
            tokens=tokens,
            max_tokens=min(asked.max_tokens or config.max_tokens, config.max_tokens),
            temperature=config.temperature if asked.temperature is None else asked.temperature,
            top_p=1.0 if asked.top_p is None else asked.top_p,
            n=asked.n,
            stop=asked.stop,
            stop_ids=self.template.ends,
            seed=asked.seed,
            log_probs=config.silence_below > 0,
        )


def lane(settings: EngineSettings, engine: Proposing) -> Lane:
    """Lane of one engine. Raises SchemaError for a tokenizer without known sentinels."""
    tokenizer = FastTokenizer(settings.model)
    return Lane(settings.version, settings.model, engine, tokenizer, template_for(tokenizer))


@dataclass(frozen=True, slots=True)
class Plan:
    """Which version answers which user."""

    versions: Mapping[str, str]
    """Version by arm."""
    weights: Mapping[str, float]
    """Share of the users by arm, relative."""
    salt: str = "1"
    on: bool = True
    """False answers every request with silence and asks no engine: the kill switch."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Model folder by version."""

    def arm(self, user: str) -> str:
        """Arm of `user`, the same as long as the weights and the salt are."""
        return assign(user, self.weights, self.salt)

    def plain(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "on": self.on,
            "salt": self.salt,
            "arms": {
                name: {"weight": self.weights[name], "version": version, "model": self.models.get(version)}
                for name, version in self.versions.items()
            },
        }
