"""Calls of a running service's own routes, with its errors as sentences."""

import http.client
import json
import os
import urllib.error
import urllib.request
from typing import Any

from echo_ray.errors import ConfigError, ServeError


def call(
    url: str,
    path: str,
    key_env: str,
    setting: str,
    body: Any = None,
    method: str = "GET",
    timeout_s: float = 10,
) -> Any:
    """JSON that the service answers. Raises ConfigError, naming `setting`, when nobody is there or the key is
    wrong, ServeError when the service refuses.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"{setting}={url} is no address: it begins with http:// or https://")
    key = os.environ.get(key_env, "")
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url.rstrip("/") + path, data, headers, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:  # noqa: S310 - checked above
            return json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            said = _message(error.read())
        if error.code in (401, 403):
            raise ConfigError(f"{url} refuses: {said}; put an API key into {key_env}") from None
        raise ServeError(f"{url} answers {error.code}: {said}") from None
    except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ConfigError(
            f"no service answers at {url} ({reason}): start one with echo-ray serve, or change {setting}"
        ) from None
    except ValueError:
        raise ConfigError(f"what answers at {url} is no echo-ray service: change {setting}") from None


def _message(raw: bytes) -> str:
    try:
        return str(json.loads(raw)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return raw.decode("utf-8", "replace")[:200] or "no reason given"
