"""Any endpoint that speaks the OpenAI protocol, asked through the official SDK (chat completions).

The SDK's own retries are off: retries live here, in one place, with exponential backoff whose jitter is
keyed by the sample, and every attempt goes through the purse (`Watch.may_send`). An endpoint that says
Retry-After is obeyed. Whatever goes wrong with one question is the failure of that question.

Our choice: the answer is asked for as JSON with an enumeration (`response_format`), because most servers
know it; vLLM's `structured_outputs` and plain text are settings, not silent fallbacks, so that the manifest
says how a data set was made. Then only a bare number counts as an answer.
Not covered: streaming, batch interfaces with a day's delay, models that must think aloud first (they need
`extra`).
"""

import asyncio
import email.utils
import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from echo_ray import rng
from echo_ray.chooser import Failure, Question, Reply, Watch, failed, read
from echo_ray.errors import StageError
from echo_ray.llm.config import LlmConfig

_AGAIN = frozenset({408, 409, 429})
"""HTTP statuses below 500 that are worth another attempt."""


def name_of(config: LlmConfig) -> str:
    """Kind, model and endpoint: what `cut_by` says."""
    return f"openai:{config.model}@{urlsplit(config.base_url or '').netloc.rpartition('@')[2]}"


class OpenAiBackend:
    """Asks the endpoint of `config`; `section` is the section of settings that errors name.

    Raises StageError when the variable that should hold the key is not set on this machine.
    """

    def __init__(self, config: LlmConfig, section: str) -> None:
        self.name = name_of(config)
        self._config = config
        self._key = "none"
        if config.api_key_env is not None:
            self._key = os.environ.get(config.api_key_env, "")
            if not self._key:
                raise StageError(
                    f"the environment variable {section}.api_key_env={config.api_key_env} is not set on a "
                    "machine with a worker"
                )

    def answers(self, questions: Sequence[Question], watch: Watch) -> None:
        """`chooser.Backend`: `concurrency` questions at a time."""
        asyncio.run(self._answers(questions, watch))

    async def _answers(self, questions: Sequence[Question], watch: Watch) -> None:
        import openai

        config = self._config
        client = openai.AsyncOpenAI(
            api_key=self._key, base_url=config.base_url, max_retries=0, timeout=config.timeout_s
        )
        waiting, state = iter(questions), _State()
        async with client:
            lanes = min(config.concurrency, len(questions))
            await asyncio.gather(*(self._lane(client, waiting, watch, state) for _ in range(lanes)))

    async def _lane(self, client: Any, waiting: Iterator[Question], watch: Watch, state: "_State") -> None:
        """Asks one question after the other until there are none, or until `watch` has enough.

        What is on its way then is still heard: it is paid for.
        """
        for question in waiting:
            if state.stopped.is_set():
                return
            reply, tokens = await self._persist(client, question, watch, state)
            if reply is None or not watch.heard(question, reply, tokens):
                state.stopped.set()

    async def _persist(
        self, client: Any, question: Question, watch: Watch, state: "_State"
    ) -> tuple[Reply | None, int]:
        """(reply after all retries, tokens announced for it); None when `watch` allows no first attempt."""
        config, reply, announced = self._config, None, 0
        estimate = (len(question.system) + len(question.prompt)) // 3 + config.answer_tokens
        for attempt in range(config.retries + 1):
            if state.stopped.is_set() or not watch.may_send(estimate):
                state.stopped.set()
                break
            announced += estimate
            reply, wait_s = await self._attempt(client, question)
            reply = reply._replace(requests=attempt + 1)
            if wait_s is None or attempt == config.retries:
                break
            backoff = config.backoff_s * 2**attempt * (0.5 + rng.unit(attempt, question.key))
            if wait_s > config.max_wait_s:
                break
            if await state.pause(wait_s or min(backoff, config.max_wait_s)):
                break
        return reply, announced

    async def _attempt(self, client: Any, question: Question) -> tuple[Reply, float | None]:
        """(reply, None), or (failure, seconds to wait before another attempt; 0 when nobody says)."""
        import openai

        config = self._config
        try:
            async with asyncio.timeout(config.timeout_s):  # the SDK's own limit is per read
                answer = await client.chat.completions.create(**self._request(question))
        except (TimeoutError, openai.APITimeoutError):
            return failed(Failure.TIMEOUT, f"no answer in {config.timeout_s:g} s"), 0.0
        except openai.APIStatusError as error:
            kind = Failure.RATE_LIMITED if error.status_code == 429 else Failure.ERROR
            reply = failed(kind, error.message)
            again = error.status_code in _AGAIN or error.status_code >= 500
            return reply, _retry_after(error.response.headers) if again else None
        except openai.APIConnectionError as error:
            return failed(Failure.ERROR, f"no connection: {error.__cause__ or error}"), 0.0
        except (openai.OpenAIError, ValueError, TypeError) as error:  # a body that is not JSON
            return failed(Failure.ERROR, f"not a chat completion: {error}"), 0.0
        return self._reply(answer, question)

    def _reply(self, answer: Any, question: Question) -> tuple[Reply, float | None]:
        try:
            text = answer.choices[0].message.content
            usage = answer.usage
            cost = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage is not None else (0, 0)
        except (AttributeError, IndexError, TypeError):
            return failed(Failure.ERROR, f"not a chat completion: {str(answer)[:40]!r}"), 0.0
        if text is not None and not isinstance(text, str):
            return failed(Failure.ERROR, "not a chat completion: the content is no text"), 0.0
        reply = read(self._number(text), question.choices)
        return reply._replace(prompt_tokens=cost[0], output_tokens=cost[1]), None

    def _number(self, text: str | None) -> str | None:
        """The number inside the JSON that was asked for; servers that ignore the request answer plainly."""
        if text is None or self._config.answers != "schema" or not text.lstrip().startswith("{"):
            return text
        try:
            value = json.loads(text)
        except ValueError:
            return text
        number = value.get("answer") if len(value) == 1 else None
        return str(number) if type(number) is int else text

    def _request(self, question: Question) -> dict[str, Any]:
        config, numbers = self._config, list(range(1, question.choices + 1))
        request: dict[str, Any] = {
            "model": config.model,
            "messages": [
                {"role": "system", "content": question.system},
                {"role": "user", "content": question.prompt},
            ],
            "temperature": 0,
            "max_tokens": config.answer_tokens,
        }
        if config.answers == "schema":
            answer = {"type": "integer", "enum": numbers}
            schema = {"type": "object", "properties": {"answer": answer}, "required": ["answer"]}
            described = {
                "name": "choice",
                "strict": True,
                "schema": schema | {"additionalProperties": False},
            }
            request["response_format"] = {"type": "json_schema", "json_schema": described}
        extra = dict(config.extra)
        if config.answers == "choice":
            extra.setdefault("structured_outputs", {"choice": [str(number) for number in numbers]})
        for name, value in extra.items():
            request.pop(name, None)
            if value is not None:
                request.setdefault("extra_body", {})[name] = value
        return request


class _State:
    """What the lanes of one call share."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    async def pause(self, seconds: float) -> bool:
        """Wait so long, or until the work is stopped (True)."""
        try:
            await asyncio.wait_for(self.stopped.wait(), seconds)
        except TimeoutError:
            return False
        return True


def _retry_after(headers: Any) -> float:
    """Seconds that an endpoint asks to wait; 0 when it does not say."""
    value = headers.get("retry-after") or ""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
