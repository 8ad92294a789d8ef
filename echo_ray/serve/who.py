"""Who asks: user, session, file and language of one call. Pure.

The first place that names one decides: headers `X-Echo-User`, `X-Echo-Session`, `X-Echo-File`,
`X-Echo-Language` (percent-encoded where they are not ASCII); the query (`?user=&session=&file=`) or the path
(`/u/<user>/s/<session>/v1/...`), for clients whose address is all that can be set; the body; then the API
key, and last a hash of address and user agent. Names are as sent; the experience log turns them into
pseudonyms. Keys and addresses are only ever hashed.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote

from echo_ray.dialects.asked import Asked
from echo_ray.schema import REQUEST_DEFAULTS

NAME_CHARS = 512
"""Longest name that is taken; what is longer is cut."""

_ROUTE = re.compile(r"(?:/u/(?P<user>[^/]+))?(?:/s/(?P<session>[^/]+))?(?P<rest>/.*)")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who was let in, as far as access control knows."""

    name: str | None = None
    """Name of the API key; None without one."""
    tenant: str | None = None
    admin: bool = False
    """May change what is served."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Names of one request, the program that sent it, and how much of the document it sent."""

    user: str
    session: str
    file: str
    language: str
    client: str | None
    tenant: str | None = None
    repository: str | None = None
    prefix_complete: bool = False
    """Whether the prefix reaches the start of the document: header `X-Echo-Prefix-Complete`."""
    suffix_complete: bool = False
    """Whether the suffix reaches its end: header `X-Echo-Suffix-Complete`."""


NOBODY = Asked("", "")
"""For calls that are no completion request."""


def identity(
    headers: Mapping[str, str],
    query: Mapping[str, str],
    asked: Asked,
    caller: Caller,
    peer: str,
    ts_ms: int,
) -> Identity:
    """Who sent a request at `ts_ms` (UTC milliseconds); header names are lower case.

    Without a session, one UTC day of a user is one. Peers behind one address with the same user agent are
    one user.
    """

    def first(name: str, said: str | None) -> str | None:
        found = unquote(headers.get(f"x-echo-{name}", "")) or query.get(name) or said
        return found[:NAME_CHARS] if found else None

    client = headers.get("user-agent")
    user = first("user", asked.user)
    if not user:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if caller.name is not None:
            user = f"key-{caller.name}"
        elif scheme.lower() == "bearer" and token.strip():
            user = _hashed("token", token.strip())
        else:
            user = _hashed("peer", f"{peer}\n{client or ''}")
    day = datetime.fromtimestamp(ts_ms / 1000, UTC).strftime("%Y-%m-%d")
    return Identity(
        user=user,
        session=first("session", asked.session) or f"{user}@{day}",
        file=first("file", asked.file) or "unknown",
        language=first("language", asked.language) or REQUEST_DEFAULTS["language"],
        client=client[:NAME_CHARS] if client else None,
        tenant=caller.tenant,
        repository=first("repository", asked.repository),
        prefix_complete=_complete(headers.get("x-echo-prefix-complete"), asked.prefix_complete),
        suffix_complete=_complete(headers.get("x-echo-suffix-complete"), asked.suffix_complete),
    )


def routed(path: str) -> tuple[str, dict[str, str]]:
    """`path` without the user and session that it may begin with, and these by name.

    `path` is percent-encoded, as it was sent: a name may hold an encoded slash.
    """
    found = _ROUTE.fullmatch(path)
    if found is None:
        return path, {}
    names = {name: unquote(found[name]) for name in ("user", "session") if found[name]}
    return found["rest"], names


def _complete(header: str | None, said: bool | None) -> bool:
    # Most clients send windows and do not say so: what is not known to be whole counts as a window.
    return said is True if header is None else header == "true"


def _hashed(kind: str, value: str) -> str:
    return f"{kind}-{hashlib.blake2b(value.encode(), digest_size=8, person=kind.encode()).hexdigest()}"
