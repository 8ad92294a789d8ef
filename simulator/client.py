"""Sends the requests of simulated developers over real HTTP, cancelled ones included.

The body is the OpenAI text completion with `suffix`; who, where and when (virtual) travel in `X-Echo-*`
headers. A cancelled request is really sent and its connection really closed, so the service sees what an
editor's abort looks like. Retries happen here and nowhere else.
"""

import asyncio
from typing import Any

import aiohttp
import orjson

from echo_ray.errors import ServeError
from simulator.assistant import Ask
from simulator.config import SimulateConfig

_RETRIED_STATUS = frozenset({429, 503})
_FIRST_RETRY_S = 0.2  # doubles with every attempt


class CompletionClient:
    """Asks the service at `url` (scheme, host, port) through the shared `http` session.

    `arm` is forced with a header when given; the session's name then carries it too, because one editing
    session belongs to one arm and twins must not look like one user who types everything twice.
    """

    def __init__(
        self, http: aiohttp.ClientSession, url: str, config: SimulateConfig, arm: str | None = None
    ) -> None:
        self._http = http
        self._url = url.rstrip("/") + "/v1/completions"
        self._config = config
        self._arm = arm

    async def complete(self, ask: Ask) -> str | None:
        """The proposal, or None for a cancelled request.

        Raises ServeError with one sentence when the service fails after `attempts` tries.
        """
        failure = ""
        for attempt in range(self._config.attempts):
            if attempt:
                await asyncio.sleep(_FIRST_RETRY_S * 2 ** (attempt - 1))
            try:
                if ask.cancelled:
                    await self._abort(ask)
                    return None
                status, body = await self._post(ask)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                failure = f"{type(error).__name__}: {error}".rstrip(": ")
                continue
            if status == 200:
                return self._text(body)
            failure = f"status {status}: {body[:200].decode('utf-8', 'replace')}"
            if status not in _RETRIED_STATUS:
                break
        raise ServeError(f"completion service {self._url} did not answer: {' '.join(failure.split())}")

    async def _post(self, ask: Ask) -> tuple[int, bytes]:
        async with self._http.post(self._url, data=self._body(ask), headers=self._headers(ask)) as reply:
            return reply.status, await reply.read()

    async def _abort(self, ask: Ask) -> None:
        """Send and hang up. An answer that was faster than the abort is thrown away."""
        sending = asyncio.create_task(self._post(ask))
        try:
            await asyncio.wait({sending}, timeout=self._config.cancel_after_ms / 1000)
        finally:
            sending.cancel()  # closes the connection of an exchange that has not ended
        await asyncio.wait({sending})
        error = None if sending.cancelled() else sending.exception()
        if error is not None:
            raise error

    def _body(self, ask: Ask) -> bytes:
        body: dict[str, Any] = {"prompt": ask.prefix, "suffix": ask.suffix}
        if self._config.model is not None:
            body["model"] = self._config.model
        if self._config.max_tokens is not None:
            body["max_tokens"] = self._config.max_tokens
        return orjson.dumps(body)

    def _headers(self, ask: Ask) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "X-Echo-User": ask.user,
            "X-Echo-Session": ask.session if self._arm is None else f"{ask.session}.{self._arm}",
            "X-Echo-File": ask.file,
            "X-Echo-Language": ask.language,
            "X-Echo-Ts-Ms": str(ask.ts_ms),
        }
        # Only what differs from the default of the schema: contexts are complete unless said otherwise.
        if not ask.prefix_complete:
            headers["X-Echo-Prefix-Complete"] = "false"
        if not ask.suffix_complete:
            headers["X-Echo-Suffix-Complete"] = "false"
        if self._arm is not None:
            headers["X-Echo-Arm"] = self._arm
        return headers

    def _text(self, body: bytes) -> str:
        try:
            text = orjson.loads(body)["choices"][0]["text"]
        except (orjson.JSONDecodeError, LookupError, TypeError):
            text = None
        if not isinstance(text, str):
            raise ServeError(
                f"completion service {self._url} answered {body[:120]!r}, wanted an OpenAI text completion"
            )
        return text
