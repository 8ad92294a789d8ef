"""What every dialect is turned into: a completion request, its answer, or why there is none."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from echo_ray.prompts import Snippet
from echo_ray.schema import Kind

JSON: TypeAlias = Any
"""A value as `orjson` reads it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One completion request, checked. None means that the client did not say."""

    prefix: str
    suffix: str
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    """Choices asked for (count)."""
    seed: int | None = None
    stream: bool = False
    include_usage: bool = False
    """A stream ends with a chunk of token counts."""
    user: str | None = None
    session: str | None = None
    file: str | None = None
    repository: str | None = None
    """Address of the file's repository."""
    language: str | None = None
    prefix_complete: bool | None = None
    """Whether the prefix reaches the start of the document."""
    suffix_complete: bool | None = None
    snippets: tuple[Snippet, ...] = ()
    """Text of other files, most important first."""
    kind: Kind = Kind.AUTOMATIC
    limit_ms: int | None = None
    """Time that the client gives the model (milliseconds)."""
    fields: tuple[str, ...] | None = None
    """Names of the fields that the reply is to have, for clients that choose them."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer; `cached` prompt tokens came from the engine's prefix cache."""

    prompt: int
    completion: int
    cached: int

    def plain(self) -> dict[str, Any]:
        """In OpenAI's shape, which others took over."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request is answered with: one text a choice, `""` is silence."""

    request_id: str
    model: str
    """Immutable version."""
    arm: str
    created_s: int
    """UTC seconds."""
    texts: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    """`stop` or `length`, one a text."""
    usage: Usage
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered; each dialect renders it in its own shape."""

    status: int
    """HTTP status."""
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    """Key of the body that is wrong."""
