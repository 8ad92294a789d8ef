"""The completion service as the language server sees it: one pool of connections, and nothing that raises.

A completion is asked for once; whatever goes wrong, the answer is None. What must arrive goes through an
`Outbox`, whose sender is `deliver`. Neither code nor keys are logged.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from echo_ray.lsp.config import LspConfig
from echo_ray.lsp.outbox import Message, Sent

log = logging.getLogger(__name__)

COMPLETIONS, EVENTS, SNAPSHOTS = "/v1/completions", "/v1/echo/events", "/v1/echo/snapshots"
DELIVERY_TIMEOUT_S = 10.0
_CONNECT_SHARE = 0.8
"""Part of a completion's time in which the service must at least accept a connection."""
_IDLE_S = 4.0
"""Connections are given up before the service does (uvicorn: 5 s), or a request meets a closed one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said to one completion request; `""` is silence."""

    request_id: str
    text: str


class Service:
    """Client of one service. `report` gets a sentence when it stops answering, `back` is called whenever it
    answered.
    """

    def __init__(
        self,
        config: LspConfig,
        key: str | None,
        agent: str,
        report: Callable[[str], None],
        back: Callable[[], None],
    ) -> None:
        self._config, self._report, self._back = config, report, back
        self._away = False
        self._place = urlsplit(config.url).netloc.rpartition("@")[2]  # an address may hold a password
        headers = {"user-agent": agent} | ({"authorization": f"Bearer {key}"} if key else {})
        self._http = httpx.AsyncClient(
            base_url=config.url,
            headers=headers,
            timeout=httpx.Timeout(None, connect=_CONNECT_SHARE * config.timeout_ms / 1000),
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=8, keepalive_expiry=_IDLE_S),
            trust_env=not _loopback(config.url),
        )

    async def complete(self, body: dict[str, Any], headers: dict[str, str]) -> Answer | None:
        """The answer to a completion request; cancelling closes its connection."""
        try:
            async with asyncio.timeout(self._config.timeout_ms / 1000):
                reply = await self._http.post(COMPLETIONS, json=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            self._failed("cannot be reached")
            return None
        except TimeoutError:
            log.info("no completion within %d ms", self._config.timeout_ms)
            return None
        except httpx.HTTPError as error:
            log.info("no completion: %s", type(error).__name__)
            return None
        if reply.status_code in (401, 403):
            self._failed(f"refuses the key in {self._config.api_key_env} (HTTP {reply.status_code})")
            return None
        if reply.status_code == 404 or reply.status_code >= 500:
            self._failed(f"answers HTTP {reply.status_code}")
            return None
        if reply.status_code != 200:
            log.info("no completion: HTTP %d", reply.status_code)
            return None
        self._worked()
        return answer(reply)

    async def deliver(self, messages: Sequence[Message]) -> Sent:
        """Send messages for the same address with the same headers; several as one list of events."""
        first = messages[0]
        body = first.body if len(messages) == 1 else {"events": [message.body for message in messages]}
        try:
            reply = await self._http.post(
                first.path, json=body, headers=first.headers, timeout=DELIVERY_TIMEOUT_S
            )
        except httpx.HTTPError as error:
            log.info("%s: %s", first.path, type(error).__name__)
            return Sent.LATER
        if reply.is_success:
            return Sent.TAKEN
        log.info("%s: HTTP %d", first.path, reply.status_code)
        return (
            Sent.LATER if reply.status_code in (401, 403, 408, 429) or reply.is_server_error else Sent.NEVER
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    def _failed(self, what: str) -> None:
        log.info("the completion service at %s %s", self._place, what)
        if not self._away:
            self._away = True
            self._report(f"echo-ray: the completion service at {self._place} {what}; see lsp.url")

    def _worked(self) -> None:
        if self._away:
            self._away = False
            log.info("the completion service at %s answers again", self._place)
        self._back()


def answer(reply: httpx.Response) -> Answer | None:
    """The first choice in a completion object; None for anything else."""
    try:
        body = reply.json()
    except ValueError:
        return None
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    text = first.get("text") if isinstance(first, dict) else None
    if not isinstance(text, str) or not isinstance(body.get("id"), str):
        return None
    return Answer(body["id"], text)


def _loopback(url: str) -> bool:
    """Whether an address is on this machine, where no proxy is wanted."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
