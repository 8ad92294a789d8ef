"""Sends the requests of simulated developers over real HTTP, cancelled ones included.

The body is the OpenAI text completion with `suffix`; who, where and when (virtual) travel in `X-Echo-*`
headers. A cancelled request is really sent and its connection really closed, so the service sees what an
editor's abort looks like. Retries happen here and nowhere else.

What fails how: a service that cannot be reached, is busy (429) or broken (5xx) is asked again, then the
run ends; one that answers something else than a completion, or refuses a request, ends it at once. An
answer that takes too long (ours, or the service's own 504) is no answer, and the developer lives with it;
but a service that never answers ends the run after `SILENCE` such requests.
"""

import asyncio
import time
from typing import Any

import aiohttp
import orjson

from echo_ray.errors import ServeError
from simulator.config import SimulateConfig
from simulator.steps import Answer, Ask

SILENCE = 20
"""Requests in a row without an answer after which a service that never answered is given up (count)."""
SILENCE_LATER = 200
"""The same for one that has answered before: it hangs (count)."""

_FIRST_RETRY_S = 0.2  # doubles with every attempt
_GATEWAY_TIMEOUT = 504
_NO_ANSWER = Answer(None)


def session() -> aiohttp.ClientSession:
    """Connections for any number of clients in one event loop; the caller closes it."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30))


class CompletionClient:
    """Asks the service at `url` (scheme, host, port) through the shared `http` session.

    `arm` is forced with a header when given.
    """

    def __init__(
        self, http: aiohttp.ClientSession, url: str, config: SimulateConfig, arm: str | None = None
    ) -> None:
        self._http = http
        self._url = url.rstrip("/") + "/v1/completions"
        self._name = f"the completion service at {url} (simulate.engine)"
        self._config = config
        self._arm = arm
        self._timeout = aiohttp.ClientTimeout(total=config.request_timeout_s)
        self._answered = False
        self._silent = 0

    async def complete(self, ask: Ask) -> Answer:
        """The answer; its text is None when the request was cancelled or took too long.

        Raises ServeError with one sentence when the service fails after `attempts` tries.
        """
        begin_s = time.perf_counter()
        failure = ""
        for attempt in range(self._config.attempts):
            if attempt:
                await asyncio.sleep(_FIRST_RETRY_S * 2 ** (attempt - 1))
            try:
                if ask.cancelled:
                    await self._abort(ask)
                    return _NO_ANSWER
                status, body = await self._post(ask)
            except TimeoutError:
                return self._late()
            except (aiohttp.ClientError, OSError) as error:
                failure = f"{type(error).__name__}: {error}".rstrip(": ")
                continue
            if status == 200:
                self._answered, self._silent = True, 0
                text, model = self._read(body)
                return Answer(text, 1000 * (time.perf_counter() - begin_s), model)
            if status == _GATEWAY_TIMEOUT:
                return self._late()
            failure = f"status {status}: {body[:200].decode('utf-8', 'replace')}"
            if status < 500 and status != 429:
                break
        raise ServeError(
            f"{self._name} did not answer a request in {attempt + 1} of {self._config.attempts} attempts: "
            f"{' '.join(failure.split())}"
        )

    async def _post(self, ask: Ask) -> tuple[int, bytes]:
        async with self._http.post(
            self._url, data=self._body(ask), headers=self._headers(ask), timeout=self._timeout
        ) as reply:
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

    def _late(self) -> Answer:
        self._silent += 1
        limit = SILENCE_LATER if self._answered else SILENCE
        if self._silent >= limit:
            raise ServeError(
                f"{self._name} did not answer one of {limit} requests within "
                f"{self._config.request_timeout_s:g} s each; look at the service, or raise "
                "simulate.request_timeout_s if it is only slow"
            )
        return _NO_ANSWER

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
            "User-Agent": ask.client,
            "X-Echo-User": ask.user,
            "X-Echo-Session": session_name(ask, self._arm),
            "X-Echo-File": ask.file,
            "X-Echo-Language": ask.language,
            "X-Echo-Ts-Ms": str(ask.ts_ms),
            "X-Echo-Prefix-Complete": str(ask.prefix_complete).lower(),
            "X-Echo-Suffix-Complete": str(ask.suffix_complete).lower(),
        }
        if self._arm is not None:
            headers["X-Echo-Arm"] = self._arm
        return headers

    def _read(self, body: bytes) -> tuple[str, str | None]:
        """(proposal, model) of a reply; a completion without choices is silence."""
        try:
            reply = orjson.loads(body)
            choices = reply["choices"]
            text = choices[0]["text"] if choices or not isinstance(choices, list) else ""
            model = reply.get("model")
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
            text = model = None
        if not isinstance(text, str):
            raise ServeError(f"{self._name} answered {body[:120]!r}, wanted an OpenAI text completion")
        return text, model if isinstance(model, str) else None


def session_name(ask: Ask, arm: str | None) -> str:
    """The editing session as sent and logged. It carries the arm, if there is one: a session belongs to one
    arm, and twins must not look like one user who types everything twice.
    """
    return ask.session if arm is None else f"{ask.session}.{arm}"
