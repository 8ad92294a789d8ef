"""The key that a request carries, and what it means. Pure.

Clients send keys as `Authorization: Bearer KEY` (most), `x-api-key` (Continue, beside the bearer) or
`api-key` (Azure's dialect). llama.vim always sends a bearer and leaves it empty when it has no key: an empty
one is none.
"""

from collections.abc import Mapping

from echo_ray.access.keys import Key, KeyRing
from echo_ray.dialects.asked import Refusal

_PLAIN = ("x-api-key", "api-key")


def tokens(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Keys in a request's headers (names in lower case), each once, the bearer first."""
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    bearer = rest.strip() if scheme.lower() == "bearer" else ""
    found = (bearer, *(headers.get(name, "").strip() for name in _PLAIN))
    return tuple(dict.fromkeys(token for token in found if token))


def authenticate(
    headers: Mapping[str, str], ring: KeyRing | None, admin: bool = False
) -> Key | Refusal | None:
    """Whose request it is: None for anybody's where no keys are configured (`ring` is None), a `Refusal` when
    it carries no valid key, or none of an administrator where `admin` asks for one. Without keys everybody is
    an administrator: keep such a service on loopback.
    """
    if ring is None:
        return None
    given = tokens(headers)
    if not given:
        message = "no API key: send one as Authorization: Bearer KEY, x-api-key or api-key"
        return Refusal(401, message, "authentication_error")
    # Not the first alone: a proxy in front may put its own bearer beside the client's key.
    for token in given:
        key = ring.owner(token)
        if key is not None:
            if admin and not key.admin:
                return Refusal(403, f"the key {key.name} is not an administrator's", "permission_error")
            return key
    return Refusal(401, "the API key is not valid: it was mistyped or revoked", "authentication_error")
