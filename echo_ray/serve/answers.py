"""One answer of an engine: the prompt that it is asked, and what of its text a client may see."""

import asyncio
import logging
import time
from dataclasses import replace
from typing import NamedTuple

from echo_ray.dialects.asked import Asked, Refusal, Usage
from echo_ray.errors import ServeError
from echo_ray.serve import policy
from echo_ray.serve.config import ServeConfig
from echo_ray.serve.lanes import Lane

log = logging.getLogger("ray.serve")  # reaches the replica's log file

GREEDY_BELOW = 1e-5
"""Sampling temperature from which on vLLM samples at all."""


class Told(NamedTuple):
    """One engine's answer after post-processing: what the client sees, and what it cost."""

    texts: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    usage: Usage
    engine_s: float
    leaked: bool


class Refused(Exception):
    """Carries a refusal through the cache, which keeps no failures."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


async def ask(config: ServeConfig, lane: Lane, asked: Asked, session: str) -> Told:
    """One engine's answer, post-processed. Cancelling this cancels the engine's work. Raises Refused."""
    began = time.perf_counter()
    # The likeliest tokens are the same for every choice, and vLLM refuses to look for them again.
    greedy = asked.temperature is not None and asked.temperature < GREEDY_BELOW
    prompt = lane.prompt(config, replace(asked, n=1) if greedy else asked)
    try:
        async with asyncio.timeout(config.deadline_s):
            answer = await lane.engine.propose(prompt, session)
    except TimeoutError:
        raise Refused(Refusal(504, f"no answer within {config.deadline_s:g} s", "timeout")) from None
    except ServeError as error:
        log.error("%s", error)
        raise Refused(Refusal(503, str(error), "server_error")) from None
    if answer.error is not None:
        kind = "invalid_request_error" if answer.status < 500 else "server_error"
        raise Refused(Refusal(answer.status, answer.error, kind))
    engine_s = time.perf_counter() - began
    texts, leaked = [], False
    for choice in answer.choices:
        shown = policy.refine(
            choice.text, asked.prefix, asked.suffix, asked.stop, choice.finish_reason != "length"
        )
        sure = policy.confidence(choice.text, choice.log_probs) >= config.silence_below
        texts.append(shown.text if sure else "")
        leaked |= shown.leaked
    usage = Usage(answer.prompt_tokens, answer.completion_tokens, answer.cached_tokens)
    reasons = [choice.finish_reason for choice in answer.choices]
    times = asked.n if greedy else 1
    return Told(tuple(texts * times), tuple(reasons * times), usage, engine_s, leaked)
